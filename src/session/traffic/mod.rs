//! `traffic`: flows with both ends resolved, so that a detection stays a short `SELECT`.
//!
//! ```text
//! flows ──> resolve ──> conversations ──> nat ──> columns
//!           each row:    each tuple:       each NAT leg:
//!           ends, leg,   initiator, late,  joined to the
//!           route, path  counted           client's record
//! ```
//!
//! Conversations need every record that may belong to one, so a scan reads all records of its time range (an hour wider on each
//! side) before it gives the first row.

mod columns;
mod conversation;
mod flow;
mod nat;
mod resolve;

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, DataFusionError, Result, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, SendableRecordBatchStream,
};
use futures::TryStreamExt;

use self::columns::SCHEMA;
use self::conversation::Conversations;
use self::flow::{Flow, Flows, INPUT};
use self::resolve::{Known, Refusals, Resolved};
use crate::topology::History;

/// Records this much before and after a filter's times are read too: they may belong to the same conversations.
const MARGIN_MICROS: i64 = 3_600_000_000;

/// The view `traffic` over a table `flows`.
#[derive(Debug)]
pub(super) struct TrafficTable {
    flows: Arc<dyn TableProvider>,
    history: Arc<History>,
}

impl TrafficTable {
    pub(super) fn new(flows: Arc<dyn TableProvider>, history: Arc<History>) -> Self {
        Self { flows, history }
    }
}

#[async_trait]
impl TableProvider for TrafficTable {
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
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let flows = self.flows.schema();
        let input: Vec<usize> = INPUT
            .iter()
            .map(|name| flows.index_of(name))
            .collect::<Result<_, _>>()?;
        let times: Vec<Expr> = filters.iter().filter_map(widened).collect();
        let flows = self.flows.scan(state, Some(&input), &times, None).await?;
        let columns: Vec<usize> = projection
            .cloned()
            .unwrap_or_else(|| (0..SCHEMA.fields().len()).collect());
        let schema = Arc::new(SCHEMA.project(&columns)?);
        let resolving = Resolving {
            flows,
            history: Arc::clone(&self.history),
            columns,
            schema: Arc::clone(&schema),
            batch_rows: state.config().batch_size(),
        };
        Ok(Arc::new(StreamingTableExec::try_new(
            schema,
            vec![Arc::new(resolving)],
            None,
            None,
            false,
            None,
        )?))
    }
}

/// A comparison of `start` or `end` with a time, an hour wider; `None` for every other filter, which only resolved rows can answer.
fn widened(filter: &Expr) -> Option<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else {
        return None;
    };
    let (
        Expr::Column(Column { name, .. }),
        Expr::Literal(ScalarValue::TimestampMicrosecond(Some(at), zone), _),
    ) = (left.as_ref(), right.as_ref())
    else {
        return None;
    };
    if name != "start" && name != "end" {
        return None;
    }
    let at = match op {
        Operator::Lt | Operator::LtEq => at.saturating_add(MARGIN_MICROS),
        Operator::Gt | Operator::GtEq => at.saturating_sub(MARGIN_MICROS),
        _ => return None,
    };
    let literal = Expr::Literal(
        ScalarValue::TimestampMicrosecond(Some(at), zone.clone()),
        None,
    );
    Some(Expr::BinaryExpr(BinaryExpr::new(
        Box::new(Expr::Column(Column::from_name(name.clone()))),
        *op,
        Box::new(literal),
    )))
}

/// One run of the passes over a scan of `flows`.
struct Resolving {
    flows: Arc<dyn ExecutionPlan>,
    history: Arc<History>,
    columns: Vec<usize>,
    schema: SchemaRef,
    batch_rows: usize,
}

impl fmt::Debug for Resolving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "traffic over {}", self.flows.name())
    }
}

impl PartitionStream for Resolving {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), 2);
        let sender = stream.tx();
        let (flows, history) = (Arc::clone(&self.flows), Arc::clone(&self.history));
        let (columns, schema, batch_rows) = (
            self.columns.clone(),
            Arc::clone(&self.schema),
            self.batch_rows,
        );
        stream.spawn(async move {
            let records = collect(&flows, &context).await?;
            tokio::task::spawn_blocking(move || {
                let (mut rows, known) = records.into();
                let resolved = settle(&mut rows, &known, &history);
                for run in rows.chunks(batch_rows.max(1)) {
                    if sender
                        .blocking_send(columns::batch(run, &resolved, &columns, &schema))
                        .is_err()
                    {
                        break;
                    }
                }
            })
            .await
            .map_err(|error| DataFusionError::External(Box::new(error)))
        });
        stream.build()
    }
}

/// Reads every stream of the scan at once.
async fn collect(flows: &Arc<dyn ExecutionPlan>, context: &Arc<TaskContext>) -> Result<Flows> {
    let mut streams = tokio::task::JoinSet::new();
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<RecordBatch>(8);
    for partition in 0..flows.output_partitioning().partition_count() {
        let mut stream = flows.execute(partition, Arc::clone(context))?;
        let sender = sender.clone();
        streams.spawn(async move {
            while let Some(batch) = stream.try_next().await? {
                if sender.send(batch).await.is_err() {
                    break;
                }
            }
            Ok::<(), DataFusionError>(())
        });
    }
    drop(sender);
    let mut records = Flows::default();
    while let Some(batch) = receiver.recv().await {
        records.push(&batch)?;
    }
    while let Some(stream) = streams.join_next().await {
        stream.map_err(|error| DataFusionError::External(Box::new(error)))??;
    }
    Ok(records)
}

/// The passes, in order.
fn settle<'n>(rows: &mut [Flow], known: &'n Known, history: &'n History) -> Resolved<'n> {
    let resolved = resolve::resolve(rows, known, history);
    Conversations::of(rows, &resolved).settle(rows, &resolved);
    nat::join(rows, &resolved);
    let mut refusals = Refusals::new(&resolved);
    for flow in rows.iter_mut() {
        flow.refused_by = refusals.of(flow);
    }
    resolved
}
