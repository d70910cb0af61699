//! A Parquet source that looks up which rows may pass before it reads any: row groups and pages without such rows stay unread.
//!
//! DataFusion prunes by literal guarantees, which `srcaddr = 'a' OR dstaddr = 'a'` gives none of. What a lookup has decided is not evaluated
//! again; all else, projection, the rest of the filter and limits, is left to DataFusion's own source.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccessPlanFilter};
use datafusion::datasource::physical_plan::{
    FileGroup, FileOpenFuture, FileOpener, FileScanConfig, FileScanConfigBuilder, FileSource,
    FileStreamBuilder, ParquetFileMetrics, ParquetSource,
};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::physical_expr::expressions::DynamicFilterTracking;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{
    EquivalenceProperties, PhysicalExpr, PhysicalSortExpr, conjunction, conjunction_opt,
    split_conjunction,
};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, PruningMetrics};
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};
use object_store::ObjectStore;
use parquet::arrow::arrow_reader::RowSelection;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::chunk::Parts;
use super::condition::{Term, terms};
use super::lookup::{Access, Counts, Lookup};
use super::reader::{AtHand, Readers};

/// Whether it is worth looking up what passes a filter.
pub(super) fn is_worthwhile(filter: &Arc<dyn PhysicalExpr>) -> bool {
    terms(filter).iter().any(|term| term.condition.is_some())
}

/// Whether a filter changes while the statement runs. It is there to save work, not to decide.
fn is_dynamic(filter: &Arc<dyn PhysicalExpr>) -> bool {
    DynamicFilterTracking::classify(filter).contains_dynamic_filter()
}

/// See the [module](self).
#[derive(Debug, Clone)]
pub(super) struct LookupSource {
    /// With the filter.
    filtered: ParquetSource,
    /// The same without it, for files where the lookup has decided.
    bare: ParquetSource,
    readers: Readers,
}

impl LookupSource {
    pub(super) fn new(
        source: ParquetSource,
        filter: Arc<dyn PhysicalExpr>,
        readers: Readers,
    ) -> Self {
        Self {
            filtered: source.with_predicate(filter),
            bare: source,
            readers,
        }
    }

    fn with(
        &self,
        change: impl Fn(&ParquetSource) -> Result<Option<Arc<dyn FileSource>>>,
    ) -> Result<Option<Self>> {
        let changed = |source: &ParquetSource| -> Result<Option<ParquetSource>> {
            let Some(source) = change(source)? else {
                return Ok(None);
            };
            let parquet = source.downcast_ref::<ParquetSource>().cloned();
            let other = || internal_datafusion_err!("a Parquet source became another");
            parquet.ok_or_else(other).map(Some)
        };
        let (filtered, bare) = (changed(&self.filtered)?, changed(&self.bare)?);
        Ok(filtered.zip(bare).map(|(filtered, bare)| Self {
            filtered,
            bare,
            readers: self.readers.clone(),
        }))
    }
}

impl FileSource for LookupSource {
    fn create_file_opener(
        &self,
        _object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let metrics = self.filtered.metrics().clone();
        let pruned =
            |name: &'static str| MetricBuilder::new(&metrics).pruning_metrics(name, partition);
        let filter = self.filter();
        let schema = self.table_schema().file_schema();
        // A footer knows nothing of the partition.
        let is_of_file = |filter: &&Arc<dyn PhysicalExpr>| {
            let mut columns = collect_columns(filter).into_iter();
            columns.all(|column| column.index() < schema.fields().len())
        };
        let of_file = filter.iter().flat_map(split_conjunction);
        let of_file = conjunction_opt(of_file.filter(is_of_file).cloned());
        Ok(Arc::new(LookupOpener {
            pruned: Pruned {
                statistics: pruned("row_groups_pruned_by_value_statistics"),
                bloom_filter: pruned("row_groups_pruned_by_value_bloom_filter"),
                dictionary: pruned("row_groups_pruned_by_value_dictionary"),
                indices: pruned("row_groups_pruned_by_value_indices"),
                rows: pruned("rows_pruned_by_value"),
            },
            terms: filter.as_ref().map(terms).unwrap_or_default(),
            of_file,
            source: self.clone(),
            config: base_config.clone(),
            partition,
        }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.filtered.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        let changed = self.with(|source| Ok(Some(source.with_batch_size(batch_size))));
        let changed = changed.ok().flatten();
        Arc::new(changed.expect("a Parquet source stays one"))
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.filtered.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.filtered.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.filtered.metrics()
    }

    fn file_type(&self) -> &str {
        self.filtered.file_type()
    }

    fn fmt_extra(
        &self,
        kind: DisplayFormatType,
        formatter: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        if let (DisplayFormatType::Default | DisplayFormatType::Verbose, Some(filter)) =
            (kind, self.filter())
        {
            return write!(formatter, ", lookup={filter}");
        }
        self.filtered.fmt_extra(kind, formatter)
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let known = self.filter();
        let known: Vec<&Arc<dyn PhysicalExpr>> =
            known.as_ref().map(split_conjunction).unwrap_or_default();
        let new: Vec<bool> = filters
            .iter()
            .map(|filter| !known.contains(&filter))
            .collect();
        let asked = filters
            .into_iter()
            .zip(&new)
            .filter_map(|(filter, new)| new.then_some(filter));
        let pushed = self
            .filtered
            .try_pushdown_filters(asked.collect(), config)?;
        let mut answers = pushed.filters.into_iter();
        let answers = new.iter().map(|new| match new {
            true => answers.next().unwrap_or(PushedDown::No),
            // It is evaluated here already.
            false => PushedDown::Yes,
        });
        let answer = FilterPushdownPropagation::with_parent_pushdown_result(answers.collect());
        let Some(updated) = pushed.updated_node else {
            return Ok(answer);
        };
        let other = || internal_datafusion_err!("a Parquet source became another");
        let filtered = updated
            .downcast_ref::<ParquetSource>()
            .cloned()
            .ok_or_else(other)?;
        Ok(answer.with_updated_node(Arc::new(Self {
            filtered,
            ..self.clone()
        })))
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        eq_properties: &EquivalenceProperties,
    ) -> Result<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        // Few rows are left to sort: nothing to gain from the order of their row groups.
        let _ = (order, eq_properties);
        Ok(SortOrderPushdownResult::Unsupported)
    }

    fn try_pushdown_projection(
        &self,
        projection: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn FileSource>>> {
        let changed = self.with(|source| source.try_pushdown_projection(projection))?;
        Ok(changed.map(|changed| Arc::new(changed) as Arc<dyn FileSource>))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.filtered.apply_expressions(f)
    }
}

/// What `EXPLAIN ANALYZE` tells.
#[derive(Debug, Clone)]
struct Pruned {
    statistics: PruningMetrics,
    bloom_filter: PruningMetrics,
    dictionary: PruningMetrics,
    indices: PruningMetrics,
    rows: PruningMetrics,
}

impl Pruned {
    fn add(&self, counts: &Counts) {
        let mut left = counts.by_statistics
            + counts.by_bloom_filter
            + counts.by_dictionary
            + counts.by_indices
            + counts.left;
        for (metric, pruned) in [
            (&self.statistics, counts.by_statistics),
            (&self.bloom_filter, counts.by_bloom_filter),
            (&self.dictionary, counts.by_dictionary),
            (&self.indices, counts.by_indices),
        ] {
            left -= pruned;
            metric.add_pruned(pruned);
            metric.add_matched(left);
        }
        self.rows.add_pruned(counts.rows - counts.rows_left);
        self.rows.add_matched(counts.rows_left);
    }
}

/// Opens pieces of files for one partition of a scan.
#[derive(Debug, Clone)]
struct LookupOpener {
    source: LookupSource,
    terms: Vec<Term>,
    /// What of the filter can be asked of a footer.
    of_file: Option<Arc<dyn PhysicalExpr>>,
    config: FileScanConfig,
    partition: usize,
    pruned: Pruned,
}

impl FileOpener for LookupOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let opener = self.clone();
        Ok(async move { opener.rows(file).await }.boxed())
    }
}

impl LookupOpener {
    async fn rows(self, file: PartitionedFile) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let path = file.object_meta.location.as_ref();
        let metrics = ParquetFileMetrics::new(self.partition, path, self.source.metrics());
        let mut reader = self
            .source
            .readers
            .open(&file, metrics.bytes_scanned.clone());
        let footer = reader.footer().await?;
        let groups = self.row_groups(&file, &footer);
        if groups.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let mut plan = ParquetAccessPlan::new_none(footer.num_row_groups());
        let (mut parts, mut counts) = (Parts::default(), Counts::default());
        let mut decided: Vec<usize> = (0..self.terms.len()).collect();
        let mut metadata = Arc::clone(&footer);
        let mut is_chosen = false;
        match Lookup::new(&self.terms, &footer) {
            None => {
                decided.clear();
                groups.iter().for_each(|&group| plan.scan(group));
            }
            Some(lookup) => {
                let access = lookup
                    .access(&mut reader, &footer, &groups, &mut parts, &mut counts)
                    .await?;
                self.pruned.add(&counts);
                let mut chosen = Vec::new();
                for (group, access) in &access {
                    plan.scan(*group);
                    match access {
                        Access::Some {
                            rows,
                            decided: here,
                        } => {
                            decided.retain(|term| here.contains(term));
                            let num_rows = usize::try_from(footer.row_group(*group).num_rows())
                                .unwrap_or(usize::MAX);
                            let ranges = rows.ranges().iter().cloned();
                            plan.scan_selection(
                                *group,
                                RowSelection::from_consecutive_ranges(ranges, num_rows),
                            );
                            chosen.push(*group);
                        }
                        _ => decided.clear(),
                    }
                }
                if access.is_empty() {
                    return Ok(stream::empty().boxed());
                }
                is_chosen = chosen.len() == access.len();
                if is_chosen {
                    metadata = Arc::new(reader.with_page_places(&footer, &chosen).await?);
                }
            }
        }
        let file = PartitionedFile {
            range: None,
            ..file
        }
        .with_extension(plan)
        .with_extension(AtHand {
            metadata,
            parts: Arc::new(parts),
        });
        self.stream(file, &decided, is_chosen)
    }

    /// The row groups of a piece of a file, without those that the filter cannot be true for.
    fn row_groups(&self, file: &PartitionedFile, footer: &ParquetMetaData) -> Vec<usize> {
        let all = footer.row_groups();
        let is_inside = |group: &RowGroupMetaData| {
            let first = group.column(0);
            let start = first
                .dictionary_page_offset()
                .unwrap_or_else(|| first.data_page_offset());
            file.range
                .as_ref()
                .is_none_or(|range| range.contains(start))
        };
        let mut plan = ParquetAccessPlan::new_none(all.len());
        for (number, group) in all.iter().enumerate() {
            if is_inside(group) {
                plan.scan(number);
            }
        }
        // Built for each piece: what a TopK has found by now may rule out all that follows.
        let schema = self.source.table_schema().file_schema();
        let pruning = self.of_file.as_ref().and_then(|filter| {
            let builder = PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema));
            builder.try_build(Arc::clone(filter)).ok()
        });
        let Some(pruning) = pruning else {
            return plan.row_group_indexes();
        };
        let mut filter = RowGroupAccessPlanFilter::new(plan);
        // The source counts what is ruled out this way when it comes to the same.
        let uncounted =
            ParquetFileMetrics::new(self.partition, "", &ExecutionPlanMetricsSet::new());
        let descriptor = footer.file_metadata().schema_descr();
        filter.prune_by_statistics(schema, descriptor, all, &pruning, &uncounted);
        filter.row_group_indexes().collect()
    }

    /// The rows of a piece. `decided` are the terms that they are known to pass, `is_chosen` tells whether the plan names rows.
    fn stream(
        &self,
        file: PartitionedFile,
        decided: &[usize],
        is_chosen: bool,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        // Of rows as few as these, the bounds of a running TopK or join exclude less than it takes to ask them.
        let is_idle = |term: &Term| is_chosen && is_dynamic(&term.filter);
        let rest = self.terms.iter().enumerate().filter_map(|(place, term)| {
            let is_open = !decided.contains(&place) && !is_idle(term);
            is_open.then(|| Arc::clone(&term.filter))
        });
        let rest: Vec<Arc<dyn PhysicalExpr>> = rest.collect();
        let mut source = self.source.bare.clone();
        if is_chosen {
            let mut options = source.table_parquet_options().clone();
            // A cache of what filters have read would fill itself with whole batches around each row.
            options.global.max_predicate_cache_size = Some(0);
            options.global.enable_page_index = false;
            source = source.with_table_parquet_options(options);
        }
        if !rest.is_empty() {
            source = source.with_predicate(conjunction(rest));
        }
        let store = Arc::clone(&self.source.readers.store);
        let source: Arc<dyn FileSource> = Arc::new(source);
        let config = FileScanConfigBuilder::from(self.config.clone())
            .with_source(Arc::clone(&source))
            .with_file_groups(vec![FileGroup::new(vec![file])])
            .build();
        let stream = FileStreamBuilder::new(&config)
            .with_partition(0)
            .with_morselizer(source.create_morselizer(store, &config, self.partition)?)
            // Rows are counted by the stream that this one is a part of.
            .with_metrics(&ExecutionPlanMetricsSet::new())
            .build()?;
        Ok(stream.boxed())
    }
}
