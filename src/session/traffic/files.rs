//! Reads the files of a lake for `traffic`: row group by row group, and of each only the columns and rows that are wanted.
//!
//! ```text
//! footers ─> row groups within the bounds ─> columns that tell which rows ─> of those rows, all other columns
//! ```
//!
//! Files that are written in an unusual way are left to a general reader: texts by their dictionaries, no column that is empty, and
//! no filter where all rows pass.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
    parquet::metadata::DFParquetMetadata,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::TaskContext;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::logical_expr::Operator;
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use super::input::{Column, Columns, INPUT, Typed};
use super::read::Reader;
use super::slices::{Bound, spread};
use super::stored::{self, StoredColumn};
use crate::session::flows_table::chunk::Parts;

/// Footers that are read at once.
const FOOTERS: usize = 16;

/// Rows that are worked on at once: a page of ours.
const BATCH_ROWS: usize = 20_000;

/// What is to be read of a slice.
#[derive(Default)]
pub(super) struct Work {
    pub(super) row_groups: Vec<RowGroup>,
    /// Of files that we leave to a general reader.
    pub(super) plans: Vec<Arc<dyn ExecutionPlan>>,
}

/// A row group of a data file.
pub(super) struct RowGroup {
    store: Arc<dyn ObjectStore>,
    location: Path,
    metadata: Arc<ParquetMetaData>,
    number: usize,
    /// The place in the file of each column of [`INPUT`] that has values.
    columns: [Option<usize>; INPUT.len()],
    /// What some of its rows may not be within.
    bounds: Vec<Bound>,
}

/// What there is to read in the files of a slice.
pub(super) async fn open(
    files: &FileScanConfig,
    bounds: &[Bound],
    streams: usize,
    context: &TaskContext,
) -> Result<Work> {
    let source: &dyn Any = files.file_source().as_ref();
    let parquet = source.downcast_ref::<ParquetSource>();
    let Some(source) = parquet else {
        return Ok(Work {
            plans: vec![DataSourceExec::from_data_source(files.clone())],
            ..Work::default()
        });
    };
    let runtime = context.runtime_env();
    let store = runtime.object_store(&files.object_store_url)?;
    let footers = runtime.cache_manager.get_file_metadata_cache();
    // A large file stands there in several pieces.
    let mut pieces: Vec<&PartitionedFile> =
        files.file_groups.iter().flat_map(FileGroup::iter).collect();
    pieces.sort_by(|a, b| a.object_meta.location.cmp(&b.object_meta.location));
    pieces.dedup_by(|a, b| a.object_meta.location == b.object_meta.location);
    let footers: Vec<(PartitionedFile, Arc<ParquetMetaData>)> = stream::iter(pieces)
        .map(|piece| {
            let whole = PartitionedFile {
                range: None,
                ..piece.clone()
            };
            footer(whole, &store, &footers)
        })
        .buffered(FOOTERS)
        .try_collect()
        .await?;

    let mut work = Work::default();
    let mut others = Vec::new();
    for (file, metadata) in footers {
        match row_groups(&file, &metadata, bounds, &store) {
            Some(row_groups) => work.row_groups.extend(row_groups),
            None => others.push(other(file, metadata)?),
        }
    }
    if !others.is_empty() {
        let plan = plan_of(others, files, source)?;
        work.plans = vec![spread(plan, streams, context.session_config().options())?];
    }
    Ok(work)
}

async fn footer(
    file: PartitionedFile,
    store: &Arc<dyn ObjectStore>,
    footers: &Arc<FileMetadataCache>,
) -> Result<(PartitionedFile, Arc<ParquetMetaData>)> {
    let metadata = DFParquetMetadata::new(store.as_ref(), &file.object_meta)
        .with_file_metadata_cache(Some(Arc::clone(footers)))
        .with_page_index_policy(Some(PageIndexPolicy::Skip))
        .fetch_metadata()
        .await?;
    Ok((file, metadata))
}

/// The row groups of a file that may have rows within the bounds; `None` if we can't read them ourselves.
fn row_groups(
    file: &PartitionedFile,
    metadata: &Arc<ParquetMetaData>,
    bounds: &[Bound],
    store: &Arc<dyn ObjectStore>,
) -> Option<Vec<RowGroup>> {
    let schema = metadata.file_metadata().schema_descr();
    let places = INPUT.map(|name| {
        let mut columns = schema.columns().iter();
        columns.position(|column| column.path().parts() == [name])
    });
    let mut found = Vec::new();
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let columns = places.map(|place| place.filter(|&place| has_values(group, place)));
        if !stored::can_read(group, columns.iter().copied().flatten()) {
            return None;
        }
        let within = |bound: &Bound| {
            let times = columns[bound.column() as usize].and_then(|place| times(group, place));
            times.map_or(Within::Perhaps, |(first, last, nulls)| {
                bound.of_times(first, last, nulls)
            })
        };
        let within: Vec<Within> = bounds.iter().map(within).collect();
        if within.contains(&Within::Never) {
            continue;
        }
        let open = within.iter().zip(bounds);
        let open = open.filter(|(within, _)| **within != Within::Always);
        found.push(RowGroup {
            store: Arc::clone(store),
            location: file.object_meta.location.clone(),
            metadata: Arc::clone(metadata),
            number,
            columns,
            bounds: open.map(|(_, bound)| bound.clone()).collect(),
        });
    }
    Some(found)
}

fn has_values(group: &RowGroupMetaData, column: usize) -> bool {
    let statistics = group.column(column).statistics();
    let nulls = statistics.and_then(Statistics::null_count_opt);
    nulls.is_none_or(|nulls| i64::try_from(nulls) != Ok(group.num_rows()))
}

/// The first and the last time of a column, and whether some are NULL.
fn times(group: &RowGroupMetaData, column: usize) -> Option<(i64, i64, bool)> {
    let Some(Statistics::Int64(times)) = group.column(column).statistics() else {
        return None;
    };
    let (first, last) = times.min_opt().zip(times.max_opt())?;
    Some((*first, *last, times.null_count_opt() != Some(0)))
}

/// Whether the rows of a row group are within a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Always,
    Perhaps,
    Never,
}

impl Bound {
    /// Whether a time is within; NULL is not.
    fn has(&self, time: i64) -> bool {
        match self.op {
            Operator::Lt => time < self.at,
            Operator::LtEq => time <= self.at,
            Operator::Gt => time > self.at,
            _ => time >= self.at,
        }
    }

    fn of_times(&self, first: i64, last: i64, with_nulls: bool) -> Within {
        match (self.has(first), self.has(last)) {
            (true, true) if !with_nulls => Within::Always,
            (false, false) => Within::Never,
            _ => Within::Perhaps,
        }
    }

    fn column(&self) -> Column {
        if self.column == "start" {
            Column::Start
        } else {
            Column::End
        }
    }
}

/// The columns of some rows of a row group that were taken first.
struct Chosen {
    /// How many rows there are, and which of them are wanted; `None` for all.
    rows: usize,
    chosen: Option<Vec<u32>>,
    columns: Columns,
}

impl RowGroup {
    /// Reads what a reader wants of it.
    ///
    /// # Errors
    /// The file can't be read, or makes no sense.
    pub(super) async fn read(&self, reader: &mut Reader) -> Result<()> {
        let mut asked = reader.chooses.asks();
        asked.extend(self.bounds.iter().map(Bound::column));
        let all = (0..INPUT.len()).filter(|&column| self.columns[column].is_some());
        let (first, others): (Vec<usize>, Vec<usize>) =
            all.partition(|&column| asked.iter().any(|&asked| asked as usize == column));
        let group = self.metadata.row_group(self.number);
        let rows = usize::try_from(group.num_rows()).unwrap_or(usize::MAX);
        let mut columns = self.open_columns(&first, rows).await?;
        let spared = self.spared(&mut columns, reader)?;
        let mut batches = Vec::with_capacity(rows.div_ceil(BATCH_ROWS));
        let mut done = 0;
        while done < rows {
            let rows = BATCH_ROWS.min(rows - done);
            done += rows;
            let taken = take(&mut columns, rows, None, reader)?;
            batches.push(self.chosen(taken, rows, reader)?);
        }
        drop(columns);
        if batches.iter().all(Chosen::is_empty) {
            return Ok(());
        }
        let mut columns = self.open_columns(&others, rows).await?;
        columns.extend(spared);
        for batch in batches {
            if batch.is_empty() {
                columns
                    .iter_mut()
                    .for_each(|(_, column)| column.skip(batch.rows));
                continue;
            }
            let chosen = batch.chosen.as_deref();
            let mut taken = take(&mut columns, batch.rows, chosen, reader)?;
            for (column, first) in taken.0.iter_mut().zip(batch.columns.0) {
                if !matches!(first, Typed::Nothing) {
                    *column = first;
                }
            }
            reader.append(&taken, chosen.map_or(batch.rows, <[u32]>::len));
        }
        Ok(())
    }

    /// The column of interfaces, if all that it names are known: then it need not be looked at row by row to choose.
    fn spared(
        &self,
        columns: &mut Vec<(usize, StoredColumn)>,
        reader: &mut Reader,
    ) -> Result<Option<(usize, StoredColumn)>> {
        let is_of_interfaces =
            |(column, _): &(usize, StoredColumn)| *column == Column::InterfaceId as usize;
        let Some(place) = columns.iter().position(is_of_interfaces) else {
            reader.chooses.interfaces(None);
            return Ok(None);
        };
        let texts = columns[place].1.texts();
        let texts = texts.map_err(|error| self.unreadable(error))?;
        let is_spared = reader.chooses.interfaces(texts.as_deref());
        Ok(is_spared.then(|| columns.remove(place)))
    }

    /// Of some rows, which are wanted by a reader and within the bounds.
    fn chosen(&self, columns: Columns, rows: usize, reader: &mut Reader) -> Result<Chosen> {
        let mut chosen = reader.chooses.rows(&columns, rows);
        for bound in &self.bounds {
            let is_within = |row: &u32| {
                let time = columns.long(bound.column(), *row as usize);
                time.is_some_and(|time| bound.has(time))
            };
            match &mut chosen {
                Some(rows) => rows.retain(is_within),
                None => chosen = Some((0..).take(rows).filter(is_within).collect()),
            }
        }
        chosen.take_if(|chosen| chosen.len() == rows);
        let columns = match &chosen {
            Some(rows) => columns.taken(rows)?,
            None => columns,
        };
        Ok(Chosen {
            rows,
            chosen,
            columns,
        })
    }

    /// Fetches columns and opens them.
    async fn open_columns(
        &self,
        wanted: &[usize],
        rows: usize,
    ) -> Result<Vec<(usize, StoredColumn)>> {
        let group = self.metadata.row_group(self.number);
        let places = || wanted.iter().filter_map(|&column| self.columns[column]);
        let ranges: Vec<Range<u64>> = places()
            .map(|place| {
                let (start, length) = group.column(place).byte_range();
                start..start + length
            })
            .collect();
        let bytes = self.store.get_ranges(&self.location, &ranges).await?;
        let mut parts = Parts::default();
        for (range, bytes) in ranges.iter().zip(bytes) {
            parts.add(range.start, bytes);
        }
        let parts = Arc::new(parts);
        let open = |(&column, place): (&usize, usize)| {
            let opened = StoredColumn::open(&parts, group.column(place), rows);
            Ok((column, opened.map_err(|error| self.unreadable(error))?))
        };
        wanted.iter().zip(places()).map(open).collect()
    }

    fn unreadable(&self, error: parquet::errors::ParquetError) -> DataFusionError {
        DataFusionError::from(error).context(format!("{}", self.location))
    }
}

impl Chosen {
    fn is_empty(&self) -> bool {
        self.chosen.as_ref().is_some_and(Vec::is_empty)
    }
}

/// Takes the next rows of some columns, or those of them that are chosen.
fn take(
    columns: &mut [(usize, StoredColumn)],
    rows: usize,
    chosen: Option<&[u32]>,
    reader: &mut Reader,
) -> Result<Columns> {
    let mut taken = Columns::default();
    for (column, stored) in columns {
        let number = |text: &str| reader.number(*column, text);
        taken.0[*column] = stored.take(rows, chosen, number)?;
    }
    Ok(taken)
}

/// A file that a general reader reads.
struct Other {
    file: PartitionedFile,
    /// Of each column of [`INPUT`], whether some row has a value.
    has: [bool; INPUT.len()],
}

fn other(file: PartitionedFile, metadata: Arc<ParquetMetaData>) -> Result<Other> {
    let metadata = ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::new())?;
    let schema = metadata.schema();
    let groups = metadata.metadata().row_groups();
    // A file of ours is flat: its fields are its columns.
    let is_flat = metadata.parquet_schema().num_columns() == schema.fields().len();
    let has = INPUT.map(|name| {
        schema
            .index_of(name)
            .is_ok_and(|column| !is_flat || groups.iter().any(|group| has_values(group, column)))
    });
    Ok(Other {
        has,
        file: file.with_arrow_schema(Arc::new(by_dictionary(schema))),
    })
}

fn plan_of(
    others: Vec<Other>,
    files: &FileScanConfig,
    source: &ParquetSource,
) -> Result<Arc<dyn ExecutionPlan>> {
    let table = source.table_schema();
    let partition: Vec<_> = table.table_partition_cols().iter().cloned().collect();
    let with_dictionaries = TableSchema::builder(Arc::new(by_dictionary(table.file_schema())))
        .with_table_partition_cols(partition)
        .build();
    let schema = with_dictionaries.table_schema();
    let columns = (0..INPUT.len())
        .filter(|&column| others.iter().any(|other| other.has[column]))
        .map(|column| schema.index_of(INPUT[column]))
        .collect::<Result<Vec<usize>, _>>()?;
    let mut of_others = ParquetSource::new(with_dictionaries)
        .with_table_parquet_options(source.table_parquet_options().clone())
        .with_pushdown_filters(true)
        .with_enable_page_index(true);
    if let Some(filter) = source.filter() {
        of_others = of_others.with_predicate(filter);
    }
    let of_others_files = others.into_iter().map(|other| other.file).collect();
    let config = FileScanConfigBuilder::new(files.object_store_url.clone(), Arc::new(of_others))
        .with_file_groups(vec![FileGroup::new(of_others_files)])
        .with_projection_indices(Some(columns))?
        .build();
    Ok(DataSourceExec::from_data_source(config))
}

/// The schema with texts by dictionary.
fn by_dictionary(schema: &SchemaRef) -> Schema {
    let text = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let fields = schema.fields().iter().map(|field| {
        let field = field.as_ref().clone();
        match field.data_type() {
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => {
                field.with_data_type(text.clone())
            }
            _ => field,
        }
    });
    Schema::new(fields.collect::<Vec<Field>>())
}
