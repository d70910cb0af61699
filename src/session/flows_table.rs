//! The `flows` table over a lake: one pinned version, pruned by partition and by statistics before a file is opened.
//!
//! It emits a plain `DataSourceExec`, so that a plan over it can be serialised and run elsewhere.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::catalog::TableProvider;
use datafusion::common::pruning::PrunableStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DFSchema, Result, ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use object_store::ObjectMeta;

use crate::batch;
use crate::lake::{DataFile, LakeSnapshot, StatValue};

/// `flows` at one version of a lake.
#[derive(Debug)]
pub(super) struct FlowsTable {
    store: ObjectStoreUrl,
    schema: TableSchema,
    files: Vec<(PartitionedFile, Arc<Statistics>)>,
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
    pub(super) fn new(store: ObjectStoreUrl, snapshot: &LakeSnapshot) -> Self {
        let all = viewed(&batch::flows_schema());
        let (partition, stored): (Vec<_>, Vec<_>) = all
            .fields()
            .iter()
            .cloned()
            .partition(|field| field.name() == "date");
        let schema = TableSchema::builder(Arc::new(Schema::new(stored)))
            .with_table_partition_cols(partition)
            .build();
        let files = snapshot
            .files()
            .iter()
            .map(|file| {
                (
                    partitioned(file),
                    Arc::new(statistics(file, schema.table_schema())),
                )
            })
            .collect();
        Self {
            store,
            schema,
            files,
        }
    }

    /// The files whose statistics leave room for a row that passes.
    fn kept(
        &self,
        predicate: Option<&Arc<dyn PhysicalExpr>>,
    ) -> Result<Vec<&(PartitionedFile, Arc<Statistics>)>> {
        let Some(predicate) = predicate else {
            return Ok(self.files.iter().collect());
        };
        let schema = Arc::clone(self.schema.table_schema());
        let pruning = PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(&schema))
            .try_build(Arc::clone(predicate))?;
        let statistics = self
            .files
            .iter()
            .map(|(_, statistics)| Arc::clone(statistics))
            .collect();
        let keep = pruning.prune(&PrunableStatistics::new(statistics, schema))?;
        Ok(self
            .files
            .iter()
            .zip(keep)
            .filter_map(|(file, keep)| keep.then_some(file))
            .collect())
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
        // Pruning keeps what may match; what it keeps is filtered row by row above the scan.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let predicate = match conjunction(filters.iter().cloned()) {
            Some(filter) => {
                let schema = DFSchema::try_from(self.schema.table_schema().as_ref().clone())?;
                Some(state.create_physical_expr(filter, &schema)?)
            }
            None => None,
        };
        let kept = self.kept(predicate.as_ref())?;

        let mut source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(state.table_options().parquet.clone())
            .with_enable_page_index(true)
            .with_bloom_filter_on_read(true);
        if let Some(predicate) = predicate {
            source = source.with_predicate(predicate);
        }
        let mut total = Statistics::new_unknown(self.schema.table_schema());
        total.num_rows = kept.iter().fold(Precision::Exact(0), |sum, (_, file)| {
            sum.add(&file.num_rows)
        });

        let files: Vec<PartitionedFile> = kept.iter().map(|(file, _)| file.clone()).collect();
        let config = FileScanConfigBuilder::new(self.store.clone(), Arc::new(source))
            .with_file_groups(balanced(files, state.config().target_partitions()))
            .with_statistics(total)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// Spreads files over at most `groups` groups, the largest first to the emptiest group.
fn balanced(mut files: Vec<PartitionedFile>, groups: usize) -> Vec<FileGroup> {
    files.sort_by(|a, b| {
        b.object_meta
            .size
            .cmp(&a.object_meta.size)
            .then_with(|| a.object_meta.location.cmp(&b.object_meta.location))
    });
    let mut spread: Vec<(u64, Vec<PartitionedFile>)> =
        vec![(0, Vec::new()); groups.clamp(1, files.len().max(1))];
    for file in files {
        if let Some(group) = spread.iter_mut().min_by_key(|(bytes, _)| *bytes) {
            group.0 += file.object_meta.size;
            group.1.push(file);
        }
    }
    spread
        .into_iter()
        .map(|(_, files)| FileGroup::new(files))
        .collect()
}

fn partitioned(file: &DataFile) -> PartitionedFile {
    PartitionedFile::new_from_meta(ObjectMeta {
        location: file.location.clone(),
        last_modified: file.modified,
        size: file.size,
        e_tag: None,
        version: None,
    })
    .with_partition_values(vec![ScalarValue::Date32(days(file))])
}

/// The partition as days since 1970-01-01, which is how Arrow counts dates.
fn days(file: &DataFile) -> Option<i32> {
    file.date.map(arrow::datatypes::Date32Type::from_naive_date)
}

/// What the log says of a file, in the terms of the query engine.
fn statistics(file: &DataFile, schema: &Schema) -> Statistics {
    let exactly = |exact: bool, value: ScalarValue| {
        if exact {
            Precision::Exact(value)
        } else {
            Precision::Inexact(value)
        }
    };
    let column_statistics = schema
        .fields()
        .iter()
        .map(|field| {
            if field.name() == "date" {
                let value = Precision::Exact(ScalarValue::Date32(days(file)));
                let nulls = if file.date.is_none() { file.rows } else { 0 };
                return ColumnStatistics {
                    null_count: Precision::Exact(usize::try_from(nulls).unwrap_or(usize::MAX)),
                    max_value: value.clone(),
                    min_value: value,
                    ..ColumnStatistics::new_unknown()
                };
            }
            let Some(known) = file.columns.get(field.name()) else {
                return ColumnStatistics::new_unknown();
            };
            let precise = |value: &Option<StatValue>| {
                value
                    .as_ref()
                    .and_then(|value| scalar(value, field.data_type()))
                    .map_or(Precision::Absent, |value| exactly(known.exact, value))
            };
            ColumnStatistics {
                null_count: known
                    .nulls
                    .and_then(|nulls| usize::try_from(nulls).ok())
                    .map_or(Precision::Absent, Precision::Exact),
                min_value: precise(&known.min),
                max_value: precise(&known.max),
                ..ColumnStatistics::new_unknown()
            }
        })
        .collect();
    Statistics {
        num_rows: usize::try_from(file.rows).map_or(Precision::Absent, Precision::Exact),
        total_byte_size: Precision::Absent,
        column_statistics,
    }
}

fn scalar(value: &StatValue, data_type: &DataType) -> Option<ScalarValue> {
    match (value, data_type) {
        (StatValue::Int(value), DataType::Int32) => i32::try_from(*value)
            .ok()
            .map(|value| ScalarValue::Int32(Some(value))),
        (StatValue::Int(value), DataType::Int64) => Some(ScalarValue::Int64(Some(*value))),
        (StatValue::Micros(value), DataType::Timestamp(_, zone)) => Some(
            ScalarValue::TimestampMicrosecond(Some(*value), zone.clone()),
        ),
        (StatValue::Text(value), DataType::Utf8View) => {
            Some(ScalarValue::Utf8View(Some(value.clone())))
        }
        _ => None,
    }
}
