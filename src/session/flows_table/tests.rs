//! A lookup against a full scan, over files of every kind that a writer may make.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::Int64Type;
use chrono::{DateTime, NaiveDate};
use datafusion::datasource::MemTable;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{BloomFilterPosition, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use proptest::prelude::*;

use super::super::logs_table::as_views;
use super::*;

const ADDRESSES: u32 = 120;

/// What a writer may do differently.
#[derive(Debug, Clone)]
struct Habits {
    version: WriterVersion,
    row_group_rows: usize,
    page_rows: usize,
    /// A dictionary as small as this gives way to plain text before the row group ends.
    dictionary_bytes: Option<usize>,
    has_bloom_filters: bool,
    is_compressed: bool,
}

impl Habits {
    const OURS: Self = Self {
        version: WriterVersion::PARQUET_2_0,
        row_group_rows: 300,
        page_rows: 32,
        dictionary_bytes: Some(1 << 20),
        has_bloom_filters: true,
        is_compressed: true,
    };

    fn properties(&self) -> WriterProperties {
        let mut builder = WriterProperties::builder()
            .set_writer_version(self.version)
            .set_max_row_group_row_count(Some(self.row_group_rows))
            .set_data_page_row_count_limit(self.page_rows)
            .set_write_batch_size(16)
            .set_bloom_filter_position(BloomFilterPosition::End)
            .set_dictionary_enabled(self.dictionary_bytes.is_some());
        if let Some(bytes) = self.dictionary_bytes {
            builder = builder.set_dictionary_page_size_limit(bytes);
        }
        if self.is_compressed {
            builder = builder.set_compression(Compression::ZSTD(ZstdLevel::default()));
        }
        if self.has_bloom_filters {
            for column in ["srcaddr", "dstaddr", "srcport"] {
                builder = builder.set_column_bloom_filter_enabled(ColumnPath::from(column), true);
            }
        } else {
            builder = builder.set_column_encoding(ColumnPath::from("bytes"), Encoding::PLAIN);
        }
        builder.build()
    }
}

fn address(number: u32) -> String {
    format!("10.0.{}.{}", number / 7, number % 7)
}

/// Rows that a seed tells, by date. `bytes` is a number of their own.
fn rows(seed: u64, count: usize) -> Vec<(Option<NaiveDate>, RecordBatch)> {
    let mut state = seed;
    let mut next = move |below: u32| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(state >> 33).unwrap() % below
    };
    let schema = batch::flows_schema();
    let dates = [
        NaiveDate::from_ymd_opt(2026, 3, 4),
        NaiveDate::from_ymd_opt(2026, 3, 5),
        None,
    ];
    let mut id = 0;
    let mut of_date = |date: Option<NaiveDate>| {
        let some = |one: u32| (!one.is_multiple_of(11)).then_some(one);
        let texts = |next: &mut dyn FnMut(u32) -> u32| -> ArrayRef {
            let texts = (0..count).map(|_| some(next(ADDRESSES)).map(address));
            Arc::new(texts.collect::<StringArray>())
        };
        let (src, dst) = (texts(&mut next), texts(&mut next));
        let ports: Int32Array = (0..count)
            .map(|_| some(next(500)).map(|port| port.cast_signed()))
            .collect();
        let ids: Int64Array = (id..).take(count).map(Some).collect();
        id += i64::try_from(count).unwrap();
        let starts = TimestampMicrosecondArray::from_iter_values(
            ids.values().iter().map(|id| id * 1_000_000),
        );
        let day = date.map(arrow::datatypes::Date32Type::from_naive_date);
        let columns = schema.fields().iter().map(|field| -> ArrayRef {
            match field.name().as_str() {
                "srcaddr" => Arc::clone(&src),
                "dstaddr" => Arc::clone(&dst),
                "srcport" => Arc::new(ports.clone()),
                "bytes" => Arc::new(ids.clone()),
                "start" => Arc::new(starts.clone().with_timezone("UTC")),
                PARTITION => Arc::new(Date32Array::from(vec![day; count])),
                _ => new_null_array(field.data_type(), count),
            }
        });
        let columns = columns.collect();
        (
            date,
            RecordBatch::try_new(Arc::clone(&schema), columns).unwrap(),
        )
    };
    dates.into_iter().map(&mut of_date).collect()
}

async fn write(
    store: &dyn ObjectStore,
    rows: &[(Option<NaiveDate>, RecordBatch)],
    habits: &Habits,
) -> Arc<[DataFile]> {
    let mut files = Vec::new();
    for (number, (date, rows)) in rows.iter().enumerate() {
        let mut stored = rows.clone();
        stored.remove_column(rows.schema().index_of(PARTITION).unwrap());
        let mut writer =
            ArrowWriter::try_new(Vec::new(), stored.schema(), Some(habits.properties())).unwrap();
        writer.write(&stored).unwrap();
        let bytes = writer.into_inner().unwrap();
        let location = Path::from(format!("part-{number}.parquet"));
        let size = bytes.len() as u64;
        store.put(&location, bytes.into()).await.unwrap();
        files.push(DataFile {
            location,
            size,
            modified: DateTime::default(),
            rows: rows.num_rows() as u64,
            date: *date,
            columns: Default::default(),
        });
    }
    files.into()
}

/// `flows` over the files, and `rows`, the same in memory.
async fn context(rows: &[(Option<NaiveDate>, RecordBatch)], habits: &Habits) -> SessionContext {
    let context = crate::session::context();
    let store = Arc::new(InMemory::new());
    let files = write(store.as_ref(), rows, habits).await;
    let url = ObjectStoreUrl::parse("lake://test").unwrap();
    context.register_object_store(url.as_ref(), store);
    let flows = FlowsTable::new(url, files);
    let schema = flows.schema();
    let batches = rows
        .iter()
        .map(|(_, rows)| as_views(rows, &schema).unwrap())
        .collect();
    context.register_table("flows", Arc::new(flows)).unwrap();
    let memory = MemTable::try_new(schema, vec![batches]).unwrap();
    context.register_table("rows", Arc::new(memory)).unwrap();
    context
}

async fn ids(context: &SessionContext, table: &str, filter: &str) -> Vec<i64> {
    let sql = format!("SELECT bytes, srcaddr, date FROM {table} WHERE {filter}");
    let batches = context.sql(&sql).await.unwrap().collect().await.unwrap();
    let mut ids: Vec<i64> = batches
        .iter()
        .flat_map(|batch| {
            batch
                .column(0)
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        })
        .collect();
    ids.sort_unstable();
    ids
}

fn filter() -> impl Strategy<Value = String> {
    let text = || (0..ADDRESSES + 20).prop_map(|number| format!("'{}'", address(number)));
    let column = || prop_oneof![Just("srcaddr"), Just("dstaddr")];
    let leaf = prop_oneof![
        4 => (column(), text()).prop_map(|(column, text)| format!("{column} = {text}")),
        2 => (column(), prop::collection::vec(text(), 1..6))
            .prop_map(|(column, texts)| format!("{column} IN ({})", texts.join(", "))),
        1 => (column(), text()).prop_map(|(column, text)| format!("{column} IN (NULL, {text}, '', 'x', 'y')")),
        1 => (column(), text()).prop_map(|(column, text)| format!("{column} <> {text}")),
        1 => (column(), text()).prop_map(|(column, text)| format!("NOT ({column} = {text} OR {column} IS NULL)")),
        2 => (0..520).prop_map(|port| format!("srcport = {port}")),
        1 => (0..3000).prop_map(|id| format!("bytes = {id}")),
        1 => (0..3000).prop_map(|id| format!("bytes < {id}")),
        1 => Just("srcaddr = dstaddr".to_owned()),
        1 => Just("srcaddr IS NULL".to_owned()),
        1 => Just("date = DATE '2026-03-05'".to_owned()),
        1 => Just("date IS NULL".to_owned()),
        1 => Just("date > DATE '2026-03-04'".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        (
            prop::collection::vec(inner, 2..4),
            prop_oneof![Just(" AND "), Just(" OR ")],
        )
            .prop_map(|(filters, operator)| format!("({})", filters.join(operator)))
    })
}

fn habits() -> impl Strategy<Value = Habits> {
    (
        any::<bool>(),
        prop_oneof![Just(37_usize), Just(300), Just(100_000)],
        prop_oneof![Just(16_usize), Just(32), Just(20_000)],
        prop_oneof![Just(None), Just(Some(400)), Just(Some(1 << 20))],
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(
                old,
                row_group_rows,
                page_rows,
                dictionary_bytes,
                has_bloom_filters,
                is_compressed,
            )| Habits {
                version: if old {
                    WriterVersion::PARQUET_1_0
                } else {
                    WriterVersion::PARQUET_2_0
                },
                row_group_rows,
                page_rows,
                dictionary_bytes,
                has_bloom_filters,
                is_compressed,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_lookup_finds_what_a_full_scan_finds(
        seed: u64,
        count in 1_usize..900,
        habits in habits(),
        filters in prop::collection::vec(filter(), 6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let rows = rows(seed, count);
        runtime.block_on(async {
            let context = context(&rows, &habits).await;
            for filter in &filters {
                let (found, expected) = (ids(&context, "flows", filter).await, ids(&context, "rows", filter).await);
                prop_assert_eq!(found, expected, "{}", filter);
            }
            Ok(())
        })?;
    }
}

/// A statement's rows, and the sums of its scan's counters by name.
async fn counted(
    context: &SessionContext,
    sql: String,
) -> (usize, Box<dyn Fn(&str) -> (usize, usize)>) {
    let frame = context.sql(&sql).await.unwrap();
    let plan = frame.create_physical_plan().await.unwrap();
    let batches = collect(Arc::clone(&plan), context.task_ctx())
        .await
        .unwrap();
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    fn scan(plan: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        plan.children()
            .first()
            .map_or_else(|| Arc::clone(plan), |child| scan(child))
    }
    let metrics = scan(&plan).metrics().unwrap();
    let of = move |name: &str| {
        use datafusion::physical_plan::metrics::MetricValue;
        let mut sum = (0, 0);
        for metric in metrics
            .iter()
            .filter(|metric| metric.value().name() == name)
        {
            match metric.value() {
                MetricValue::PruningMetrics {
                    pruning_metrics, ..
                } => {
                    sum.0 += pruning_metrics.pruned();
                    sum.1 += pruning_metrics.matched();
                }
                value => sum.1 += value.as_usize(),
            }
        }
        sum
    };
    (rows, Box::new(of))
}

#[tokio::test]
async fn an_address_on_either_side_is_looked_up() {
    let rows = rows(7, 900);
    let count = |of: &str| {
        let has = |batch: &RecordBatch, row: usize, column: &str| {
            let texts = batch.column_by_name(column).unwrap().as_string::<i32>();
            texts.is_valid(row) && texts.value(row) == of
        };
        let (_, batch) = &rows[0];
        (0..batch.num_rows())
            .filter(|row| has(batch, *row, "srcaddr") || has(batch, *row, "dstaddr"))
            .count()
    };
    let context = context(&rows, &Habits::OURS).await;
    let sql = |address: &str| {
        format!(
            "SELECT bytes FROM flows WHERE (srcaddr = '{address}' OR dstaddr = '{address}') AND date = DATE '2026-03-04'"
        )
    };

    let absent = "10.0.3.9";
    let (found, counted_by) = counted(&context, sql(absent)).await;
    assert_eq!((found, count(absent)), (0, 0));
    let (by_bloom_filter, left) = counted_by("row_groups_pruned_by_value_bloom_filter");
    assert_eq!(
        (
            by_bloom_filter + counted_by("row_groups_pruned_by_value_dictionary").0,
            left.min(1)
        ),
        (3, left.min(1))
    );
    assert_eq!(counted_by("rows_pruned_by_value").1, 0);

    let is_rare = |address: &String| (1..10).contains(&count(address));
    let known = (0..ADDRESSES).map(address).find(is_rare).unwrap();
    let (found, counted_by) = counted(&context, sql(&known)).await;
    assert_eq!(found, count(&known));
    assert!(found > 0);
    // Exactly the rows: nothing is left to evaluate.
    assert_eq!(counted_by("rows_pruned_by_value").1, found);
    assert_eq!(
        counted_by("pushdown_rows_matched").1 + counted_by("pushdown_rows_pruned").1,
        0
    );
}

#[tokio::test]
async fn dates_are_chosen_without_reading() {
    let context = context(&rows(1, 500), &Habits::OURS).await;
    let plan = |sql: &'static str| {
        let context = context.clone();
        async move {
            let plan = context
                .sql(sql)
                .await
                .unwrap()
                .create_physical_plan()
                .await
                .unwrap();
            datafusion::physical_plan::displayable(plan.as_ref())
                .indent(false)
                .to_string()
        }
    };
    let one = plan("SELECT bytes FROM flows WHERE date = DATE '2026-03-05'").await;
    assert!(
        one.contains("part-1") && !one.contains("part-0") && !one.contains("predicate"),
        "{one}"
    );
    let count = plan("SELECT COUNT(*) FROM flows WHERE date >= DATE '2026-03-05'").await;
    assert!(
        count.contains("PlaceholderRowExec") && !count.contains("DataSource"),
        "{count}"
    );
}
