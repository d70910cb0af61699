//! Reads the files of a lake for `traffic`: texts by their dictionaries, no column that is empty, and no filter where all rows pass.
//!
//! A text of a data file stands in its dictionary once; rows carry its number. Read as such it is looked up once for each file's
//! row group, not for each row. The footers say all that is needed, so they are read first.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
    parquet::metadata::DFParquetMetadata,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::conjunction;
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt, TryStreamExt, stream};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::statistics::Statistics;

use super::company::Choice;
use super::read::INPUT;
use super::slices::{Bound, spread};

/// Footers that are read at once.
const FOOTERS: usize = 16;

/// What a file's footer says.
struct Footer {
    file: PartitionedFile,
    /// Of each column of [`INPUT`], whether some row has a value.
    has: [bool; INPUT.len()],
    /// Whether every row is within the bounds.
    is_whole: bool,
}

/// The scans of the files of a slice.
pub(super) async fn open(
    files: &FileScanConfig,
    bounds: &[Bound],
    choice: &Choice,
    streams: usize,
    context: &TaskContext,
) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
    let source: &dyn Any = files.file_source().as_ref();
    let Some(source) = source.downcast_ref::<ParquetSource>() else {
        return Ok(vec![DataSourceExec::from_data_source(files.clone())]);
    };
    let store = context
        .runtime_env()
        .object_store(&files.object_store_url)?;
    let all = files.file_groups.iter().flat_map(FileGroup::iter);
    let footers: Vec<Footer> = stream::iter(all.cloned().map(|file| {
        let store = Arc::clone(&store);
        async move {
            let footer_of = DFParquetMetadata::new(store.as_ref(), &file.object_meta);
            let metadata = footer_of.fetch_metadata().await?;
            let metadata = ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::new())?;
            Ok::<_, DataFusionError>(footer(file, &metadata, bounds))
        }
    }))
    .buffered(FOOTERS)
    .try_collect()
    .await?;

    let table = source.table_schema();
    let with_dictionaries = TableSchema::builder(Arc::new(by_dictionary(table.file_schema())))
        .with_table_partition_cols(
            table
                .table_partition_cols()
                .iter()
                .cloned()
                .collect::<Vec<_>>(),
        )
        .build();
    let schema = with_dictionaries.table_schema();
    let has = |column: usize| footers.iter().any(|footer| footer.has[column]);
    let columns = (0..INPUT.len())
        .filter(|&column| has(column))
        .map(|column| schema.index_of(INPUT[column]))
        .collect::<Result<Vec<usize>, _>>()?;
    let chosen = choice.filters(schema, |name| {
        let column = INPUT.iter().position(|column| *column == name);
        column.is_some_and(has)
    })?;
    let (whole, partial): (Vec<Footer>, Vec<Footer>) =
        footers.into_iter().partition(|footer| footer.is_whole);
    let mut plans = Vec::new();
    for (footers, predicate) in [(whole, None), (partial, source.filter())] {
        if footers.is_empty() {
            continue;
        }
        let mut source = ParquetSource::new(with_dictionaries.clone())
            .with_table_parquet_options(source.table_parquet_options().clone())
            .with_pushdown_filters(true)
            .with_enable_page_index(predicate.is_some());
        let filters: Vec<_> = predicate.into_iter().chain(chosen.clone()).collect();
        if !filters.is_empty() {
            source = source.with_predicate(conjunction(filters));
        }
        let files_of = footers.into_iter().map(|footer| footer.file).collect();
        let config = FileScanConfigBuilder::new(files.object_store_url.clone(), Arc::new(source))
            .with_file_groups(vec![FileGroup::new(files_of)])
            .with_projection_indices(Some(columns.clone()))?
            .build();
        let plan = DataSourceExec::from_data_source(config);
        plans.push(spread(plan, streams, context.session_config().options())?);
    }
    Ok(plans)
}

fn footer(file: PartitionedFile, metadata: &ArrowReaderMetadata, bounds: &[Bound]) -> Footer {
    let schema = metadata.schema();
    let groups = metadata.metadata().row_groups();
    // A file of ours is flat: its fields are its columns.
    let is_flat = metadata.parquet_schema().num_columns() == schema.fields().len();
    let has = INPUT.map(|name| {
        let Ok(column) = schema.index_of(name) else {
            return false;
        };
        !is_flat
            || groups.iter().any(|group| {
                let statistics = group.column(column).statistics();
                let nulls = statistics.and_then(Statistics::null_count_opt);
                nulls.is_none_or(|nulls| i64::try_from(nulls) != Ok(group.num_rows()))
            })
    });
    let is_whole = bounds.iter().all(|bound| {
        let Ok(column) = schema.index_of(bound.column) else {
            return false;
        };
        let in_micros = matches!(
            schema.field(column).data_type(),
            DataType::Timestamp(TimeUnit::Microsecond, _)
        );
        is_flat
            && in_micros
            && groups.iter().all(|group| {
                let Some(Statistics::Int64(times)) = group.column(column).statistics() else {
                    return false;
                };
                times.null_count_opt() == Some(0)
                    && times
                        .min_opt()
                        .zip(times.max_opt())
                        .is_some_and(|(&first, &last)| bound.holds_from(first, last))
            })
    });
    Footer {
        file: file.with_arrow_schema(Arc::new(by_dictionary(schema))),
        has,
        is_whole,
    }
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

impl Bound {
    /// Whether all times from one to another are within.
    fn holds_from(&self, first: i64, last: i64) -> bool {
        match self.op {
            Operator::Lt => last < self.at,
            Operator::LtEq => last <= self.at,
            Operator::Gt => first > self.at,
            Operator::GtEq => first >= self.at,
            _ => false,
        }
    }
}
