//! The `flows` table over a lake: one pinned version, pruned by partition and by statistics before a file is opened, and by the values
//! that a filter names before a row is read.
//!
//! It emits a plain `DataSourceExec`, so that a plan over it can be serialised and run elsewhere; where values are looked up, its source is
//! a [`LookupSource`], which is a Parquet source with better eyes.

pub(super) mod chunk;
mod condition;
mod indices;
mod lookup;
mod reader;
mod rows;
mod source;
mod statistics;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{AsArray, Date32Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use object_store::ObjectMeta;

use self::reader::Readers;
use self::source::LookupSource;
use self::statistics::FileStatistics;
use crate::batch;
use crate::lake::DataFile;

/// The column that is in no file, but in the name of its folder.
const PARTITION: &str = "date";

/// Files are read in pieces of about this, which the streams of a scan take as they get to it. A piece is whole row groups: those that begin
/// in it.
const PIECE_BYTES: u64 = 16 << 20;

/// `flows` at one version of a lake.
#[derive(Debug)]
pub(super) struct FlowsTable {
    store: ObjectStoreUrl,
    schema: TableSchema,
    files: Arc<[DataFile]>,
}

/// The schema as queries see it: text columns as views, which a scan hands on without copying.
pub(super) fn viewed(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Utf8 => field.as_ref().clone().with_data_type(DataType::Utf8View),
            _ => field.as_ref().clone(),
        })
        .collect();
    Arc::new(Schema::new(fields))
}

impl FlowsTable {
    pub(super) fn new(store: ObjectStoreUrl, files: Arc<[DataFile]>) -> Self {
        let all = viewed(&batch::flows_schema());
        let (partition, stored): (Vec<_>, Vec<_>) = all
            .fields()
            .iter()
            .cloned()
            .partition(|field| field.name() == PARTITION);
        let schema = TableSchema::builder(Arc::new(Schema::new(stored)))
            .with_table_partition_cols(partition)
            .build();
        Self {
            store,
            schema,
            files,
        }
    }

    fn physical(
        &self,
        state: &dyn Session,
        filters: &[Expr],
    ) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let Some(filter) = conjunction(filters.iter().cloned()) else {
            return Ok(None);
        };
        let schema = DFSchema::try_from(self.schema.table_schema().as_ref().clone())?;
        Ok(Some(state.create_physical_expr(filter, &schema)?))
    }

    /// The files of the dates that pass: exactly those.
    fn of_dates(&self, filter: Option<&Arc<dyn PhysicalExpr>>) -> Result<Vec<&DataFile>> {
        let Some(filter) = filter else {
            return Ok(self.files.iter().collect());
        };
        let schema = self.schema.table_schema();
        let dates: Date32Array = self.files.iter().map(statistics::days).collect();
        let nulls = schema.fields().iter().map(|field| {
            if field.name() == PARTITION {
                Ok(Arc::new(dates.clone()) as _)
            } else {
                Ok(arrow::array::new_null_array(field.data_type(), dates.len()))
            }
        });
        let rows = RecordBatch::try_new(Arc::clone(schema), nulls.collect::<Result<_>>()?)?;
        let passes = filter.evaluate(&rows)?.into_array(rows.num_rows())?;
        let passes = cast(&passes, &DataType::Boolean)?;
        let passes = passes.as_boolean().iter();
        let files = self.files.iter().zip(passes);
        Ok(files
            .filter_map(|(file, passes)| (passes == Some(true)).then_some(file))
            .collect())
    }

    /// Of some files those whose statistics leave room for a row that passes.
    fn kept<'a>(
        &self,
        files: Vec<&'a DataFile>,
        filter: Option<&Arc<dyn PhysicalExpr>>,
    ) -> Result<Vec<&'a DataFile>> {
        let Some(filter) = filter.filter(|_| !files.is_empty()) else {
            return Ok(files);
        };
        let keep = self.may_pass(&files, filter)?;
        Ok(files
            .into_iter()
            .zip(keep)
            .filter_map(|(file, keep)| keep.then_some(file))
            .collect())
    }

    /// Of each file, whether its statistics leave room for a row that passes.
    fn may_pass(&self, files: &[&DataFile], filter: &Arc<dyn PhysicalExpr>) -> Result<Vec<bool>> {
        let schema = self.schema.table_schema();
        let pruning = PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(schema))
            .try_build(Arc::clone(filter))?;
        pruning.prune(&FileStatistics { files, schema })
    }

    /// The filters that not all rows of some files pass by their statistics: a day's files need not be asked for the time of each row.
    fn undecided(
        &self,
        state: &dyn Session,
        files: &[&DataFile],
        filters: Vec<Expr>,
    ) -> Result<Vec<Expr>> {
        let mut undecided = Vec::with_capacity(filters.len());
        for filter in filters {
            let columns = filter.column_refs();
            let may_be_null = files.iter().any(|file| {
                let nulls = |column: &&Column| file.columns.get(&column.name)?.nulls;
                columns.iter().any(|column| nulls(column) != Some(0))
            });
            let opposite = opposite(&filter).filter(|_| !may_be_null && !columns.is_empty());
            let opposite = self.physical(state, opposite.as_slice())?;
            let is_decided = match &opposite {
                Some(opposite) => !self.may_pass(files, opposite)?.contains(&true),
                None => false,
            };
            if !is_decided {
                undecided.push(filter);
            }
        }
        Ok(undecided)
    }
}

#[async_trait]
impl TableProvider for FlowsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match filter.column_refs().is_empty() || filter.is_volatile()
        {
            true => TableProviderFilterPushDown::Inexact,
            // By the choice of files, or row by row as they are read.
            false => TableProviderFilterPushDown::Exact,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (of_dates, of_rows): (Vec<Expr>, Vec<Expr>) =
            filters.iter().cloned().partition(is_about_dates);
        let files = self.of_dates(self.physical(state, &of_dates)?.as_ref())?;
        let files = self.kept(files, self.physical(state, &of_rows)?.as_ref())?;
        let filter = self.physical(state, &self.undecided(state, &files, of_rows)?)?;

        let schema = self.schema.table_schema();
        let every: Vec<usize> = (0..schema.fields().len()).collect();
        let columns = projection.unwrap_or(&every);
        let total = statistics::total(&files, schema, columns);

        let readers = Readers {
            store: state.runtime_env().object_store(&self.store)?,
            footers: state.runtime_env().cache_manager.get_file_metadata_cache(),
        };
        let source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(state.table_options().parquet.clone())
            .with_enable_page_index(true)
            .with_bloom_filter_on_read(true)
            .with_pushdown_filters(true)
            .with_parquet_file_reader_factory(Arc::new(readers.clone()));
        let source: Arc<dyn FileSource> = match filter {
            Some(filter) if source::is_worthwhile(&filter) => {
                // It asks the bloom filters itself.
                let source = source.with_bloom_filter_on_read(false);
                Arc::new(LookupSource::new(source, filter, readers))
            }
            Some(filter) => Arc::new(source.with_predicate(filter)),
            None => Arc::new(source),
        };
        let pieces = files.into_iter().flat_map(pieces).collect();
        let config = FileScanConfigBuilder::new(self.store.clone(), source)
            .with_file_groups(balanced(pieces, state.config().target_partitions()))
            .with_statistics(total)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// What is true where a comparison is false.
fn opposite(filter: &Expr) -> Option<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else {
        return None;
    };
    let opposite = match op {
        Operator::Lt => Operator::GtEq,
        Operator::LtEq => Operator::Gt,
        Operator::Gt => Operator::LtEq,
        Operator::GtEq => Operator::Lt,
        _ => return None,
    };
    Some(Expr::BinaryExpr(BinaryExpr::new(
        left.clone(),
        opposite,
        right.clone(),
    )))
}

fn is_about_dates(filter: &Expr) -> bool {
    let columns = filter.column_refs();
    !columns.is_empty()
        && columns.iter().all(|column| column.name == PARTITION)
        && !filter.is_volatile()
}

/// Cuts pieces into at most `groups` groups of about the same size, in the order in which they were written: which is nearly that of time, so
/// that a TopK by time finds its rows at one end. The streams of a scan take from each other what is left over.
fn balanced(mut pieces: Vec<PartitionedFile>, groups: usize) -> Vec<FileGroup> {
    let place = |piece: &PartitionedFile| piece.range.as_ref().map_or(0, |range| range.start);
    pieces.sort_by(|a, b| {
        (a.object_meta.location.cmp(&b.object_meta.location)).then_with(|| place(a).cmp(&place(b)))
    });
    let groups = groups.clamp(1, pieces.len().max(1));
    let total: u64 = pieces.iter().map(PartitionedFile::effective_size).sum();
    let mut cut: Vec<Vec<PartitionedFile>> = vec![Vec::new(); groups];
    let mut before = 0;
    for piece in pieces {
        let size = piece.effective_size();
        // Where its middle lies.
        let group = (before + size / 2) * groups as u64 / total.max(1);
        before += size;
        let group = usize::try_from(group).map_or(groups - 1, |group| group.min(groups - 1));
        cut[group].push(piece);
    }
    cut.into_iter().map(FileGroup::new).collect()
}

fn pieces(file: &DataFile) -> impl Iterator<Item = PartitionedFile> {
    let whole = PartitionedFile::new_from_meta(ObjectMeta {
        location: file.location.clone(),
        last_modified: file.modified,
        size: file.size,
        e_tag: None,
        version: None,
    })
    .with_partition_values(vec![ScalarValue::Date32(statistics::days(file))]);
    let count = file.size.div_ceil(PIECE_BYTES).max(1);
    let size = file.size;
    (0..count).map(move |number| {
        let place = |number: u64| i64::try_from(size * number / count).unwrap_or(i64::MAX);
        if count == 1 {
            whole.clone()
        } else {
            whole.clone().with_range(place(number), place(number + 1))
        }
    })
}
