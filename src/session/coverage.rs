//! `interface_coverage`: hour by hour, what the logs say of each interface of the topology, and what they leave out.
//!
//! Flows and coverage are summed by interface and hour when the table is asked for; what the topology knows of the hour is laid beside it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use async_trait::async_trait;
use chrono::DateTime;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, ScalarValue};
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::execution::TaskContext;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{
    BinaryExpr, Expr, LogicalPlanBuilder, Operator, TableProviderFilterPushDown,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, collect};
use datafusion::prelude::{col, date_trunc, lit};
use futures::{StreamExt, TryStreamExt, stream};

use crate::topology::{FlowLogs, History, Interface, Network, Recorded};

const HOUR_MICROS: i64 = 3_600_000_000;

fn hours() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let texts = "interface_id vpc_id subnet_id account_id region flow_log_ids traffic_type status";
    let texts = texts
        .split(' ')
        .map(|name| Field::new(name, DataType::Utf8View, true));
    let numbers = ["flows", "skipped", "nodata"];
    let numbers = numbers.map(|name| Field::new(name, DataType::Int64, true));
    let hour = Field::new("hour", hours(), true);
    Arc::new(Schema::new(
        std::iter::once(hour)
            .chain(texts)
            .chain(numbers)
            .collect::<Vec<_>>(),
    ))
});

/// What was read of an interface.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    flows: i64,
    skipped: i64,
    nodata: i64,
}

/// What the logs have of an interface, or why they have nothing.
fn status(recorded: &Recorded<'_>, is_known: bool, heard: Heard) -> &'static str {
    let is_heard = heard.flows > 0 || heard.nodata > 0;
    match (recorded.accepts, recorded.rejects) {
        _ if heard.skipped > 0 => "skipdata",
        (true, false) => "accepts_only",
        (false, true) => "rejects_only",
        _ if is_heard => "logged",
        (true, true) => "silent",
        (false, false) if !recorded.failed.is_empty() => "failed",
        (false, false) if is_known => "no_flow_log",
        // Nobody asked for the flow logs there: that nothing is heard is all that is known.
        (false, false) => "silent",
    }
}

/// Whether there are no other flow logs than those that the topology has.
fn is_known(network: &Network, logs: &FlowLogs<'_>, interface: &Interface) -> bool {
    let vpc = interface.vpc_id.as_deref().and_then(|id| network.vpc(id));
    vpc.is_some_and(|vpc| logs.are_known(vpc))
}

/// Interfaces that the logs do not have in full, by why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gaps {
    /// How many interfaces the topology has.
    pub interfaces: usize,
    /// A status of `interface_coverage`, and the interfaces of it by id.
    pub lacking: BTreeMap<&'static str, Vec<String>>,
}

/// The gaps in the logs of a network, of whose interfaces these were heard.
pub(super) fn gaps(network: &Network, heard: &HashSet<String>) -> Gaps {
    let logs = FlowLogs::of(network);
    let mut gaps = Gaps {
        interfaces: network.interfaces().len(),
        ..Gaps::default()
    };
    for interface in network.interfaces() {
        let flows = i64::from(heard.contains(&*interface.id));
        let heard = Heard {
            flows,
            ..Heard::default()
        };
        let recorded = logs.of_interface(interface);
        let status = status(&recorded, is_known(network, &logs, interface), heard);
        if status != "logged" {
            let ids = gaps.lacking.entry(status).or_default();
            ids.push(interface.id.to_string());
        }
    }
    gaps
}

/// The table `interface_coverage`.
pub(super) struct InterfaceCoverage {
    flows: Arc<dyn TableProvider>,
    coverage: Arc<dyn TableProvider>,
    history: Arc<History>,
}

impl InterfaceCoverage {
    pub(super) fn new(
        flows: Arc<dyn TableProvider>,
        coverage: Arc<dyn TableProvider>,
        history: Arc<History>,
    ) -> Self {
        Self {
            flows,
            coverage,
            history,
        }
    }
}

impl fmt::Debug for InterfaceCoverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterfaceCoverage").finish_non_exhaustive()
    }
}

/// What a comparison of `hour` with a time asks of `start`: the whole hours that it touches.
fn on_start(filter: &Expr) -> Option<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else {
        return None;
    };
    let (column, op, value) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), value) => (column, *op, value),
        (value, Expr::Column(column)) => (column, op.swap()?, value),
        _ => return None,
    };
    let Expr::Literal(ScalarValue::TimestampMicrosecond(Some(at), zone), _) = value else {
        return None;
    };
    if column.name != "hour" {
        return None;
    }
    let hour = at.div_euclid(HOUR_MICROS).saturating_mul(HOUR_MICROS);
    let time = |at| lit(ScalarValue::TimestampMicrosecond(Some(at), zone.clone()));
    let from = || col("start").gt_eq(time(hour));
    let until = || col("start").lt(time(hour.saturating_add(HOUR_MICROS)));
    match op {
        Operator::Gt | Operator::GtEq => Some(from()),
        Operator::Lt | Operator::LtEq => Some(until()),
        Operator::Eq => Some(from().and(until())),
        _ => None,
    }
}

#[async_trait]
impl TableProvider for InterfaceCoverage {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match on_start(filter) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
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
        let hour = || date_trunc(lit("hour"), col("start")).alias("hour");
        let sum = async |name: &str, table: &Arc<dyn TableProvider>, by: Vec<Expr>| {
            let source = provider_as_source(Arc::clone(table));
            let mut plan = LogicalPlanBuilder::scan(name, source, None)?;
            for filter in filters.iter().filter_map(on_start) {
                plan = plan.filter(filter)?;
            }
            let plan = plan
                .aggregate(by, vec![count(lit(1)).alias("records")])?
                .build()?;
            state.create_physical_plan(&plan).await
        };
        let of_flows = vec![hour(), col("interface_id"), lit("OK").alias("log_status")];
        let of_coverage = vec![hour(), col("interface_id"), col("log_status")];
        let whole = Arc::new(Summed {
            sums: [
                sum("flows", &self.flows, of_flows).await?,
                sum("coverage", &self.coverage, of_coverage).await?,
            ],
            history: Arc::clone(&self.history),
        });
        let schema = Arc::clone(&SCHEMA);
        let orders = Vec::new();
        let plan =
            StreamingTableExec::try_new(schema, vec![whole], projection, orders, false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// Sums by hour, interface and `log_status`, to be laid beside the topology.
struct Summed {
    sums: [Arc<dyn ExecutionPlan>; 2],
    history: Arc<History>,
}

impl fmt::Debug for Summed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interface_coverage")
    }
}

impl PartitionStream for Summed {
    fn schema(&self) -> &SchemaRef {
        &SCHEMA
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (sums, history) = (self.sums.clone(), Arc::clone(&self.history));
        let batches = async move {
            let mut heard: BTreeMap<i64, HashMap<String, Heard>> = BTreeMap::new();
            for sum in sums {
                for batch in collect(sum, Arc::clone(&context)).await? {
                    add(&batch, &mut heard)?;
                }
            }
            let batches = heard
                .into_iter()
                .map(move |(hour, heard)| batch(&history, hour, &heard));
            Ok::<_, datafusion::common::DataFusionError>(stream::iter(batches))
        };
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&SCHEMA),
            stream::once(batches).try_flatten().boxed(),
        ))
    }
}

fn add(batch: &RecordBatch, heard: &mut BTreeMap<i64, HashMap<String, Heard>>) -> Result<()> {
    let of = |column: usize, kind: &DataType| cast(batch.column(column), kind);
    let (hour, id) = (of(0, &hours())?, of(1, &DataType::Utf8View)?);
    let (status, records) = (of(2, &DataType::Utf8View)?, of(3, &DataType::Int64)?);
    let (hour, id) = (
        hour.as_primitive::<TimestampMicrosecondType>(),
        id.as_string_view(),
    );
    let (status, records) = (status.as_string_view(), records.as_primitive::<Int64Type>());
    for row in 0..batch.num_rows() {
        if hour.is_null(row) || id.is_null(row) {
            continue;
        }
        let heard = heard.entry(hour.value(row)).or_default();
        let heard = heard.entry(id.value(row).to_owned()).or_default();
        match status.value(row) {
            "OK" => heard.flows += records.value(row),
            "SKIPDATA" => heard.skipped += records.value(row),
            _ => heard.nodata += records.value(row),
        }
    }
    Ok(())
}

/// The interfaces of an hour, as of its end.
fn batch(history: &History, hour: i64, heard: &HashMap<String, Heard>) -> Result<RecordBatch> {
    let end = DateTime::from_timestamp_micros(hour + HOUR_MICROS - 1).unwrap_or_default();
    let network = history.at(end);
    let logs = FlowLogs::of(network);
    let interfaces = network.interfaces();
    let recorded: Vec<Recorded<'_>> = interfaces
        .iter()
        .map(|interface| logs.of_interface(interface))
        .collect();
    let heard: Vec<Heard> = interfaces
        .iter()
        .map(|interface| heard.get(&*interface.id).copied().unwrap_or_default())
        .collect();
    let text = |of: fn(&Interface) -> Option<&str>| -> ArrayRef {
        Arc::new(interfaces.iter().map(of).collect::<StringViewArray>())
    };
    let number = |of: fn(&Heard) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(heard.iter().map(of)))
    };
    let statuses = interfaces.iter().zip(&recorded).zip(&heard);
    let statuses = statuses.map(|((interface, recorded), heard)| {
        Some(status(
            recorded,
            is_known(network, &logs, interface),
            *heard,
        ))
    });
    let hours = TimestampMicrosecondArray::from_value(hour, interfaces.len()).with_timezone("UTC");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(hours),
        text(|interface| Some(&interface.id)),
        text(|interface| interface.vpc_id.as_deref()),
        text(|interface| interface.subnet_id.as_deref()),
        text(|interface| interface.account_id.as_deref()),
        text(|interface| interface.region.as_deref()),
        Arc::new(recorded.iter().map(ids).collect::<StringViewArray>()),
        Arc::new(
            recorded
                .iter()
                .map(traffic_type)
                .collect::<StringViewArray>(),
        ),
        Arc::new(statuses.collect::<StringViewArray>()),
        number(|heard| heard.flows),
        number(|heard| heard.skipped),
        number(|heard| heard.nodata),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}

/// The active flow logs, those that fail included, as JSON.
fn ids(recorded: &Recorded<'_>) -> Option<String> {
    let logs = [&recorded.whole, &recorded.partial, &recorded.failed];
    let ids: BTreeSet<&str> = logs
        .into_iter()
        .flatten()
        .map(|log| log.flow_log_id.as_str())
        .collect();
    serde_json::to_string(&ids).ok()
}

/// What is recorded, in AWS's word.
fn traffic_type(recorded: &Recorded<'_>) -> Option<&'static str> {
    match (recorded.accepts, recorded.rejects) {
        (true, true) => Some("ALL"),
        (true, false) => Some("ACCEPT"),
        (false, true) => Some("REJECT"),
        (false, false) => None,
    }
}
