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
mod refusal;
mod resolve;
mod witness;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::filter::batch_filter;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, SendableRecordBatchStream,
};
use futures::{TryStreamExt, stream};
use tokio::sync::OnceCell;

use self::columns::SCHEMA;
use self::conversation::Conversations;
use self::flow::{Flow, Flows, INPUT};
use self::refusal::Refusals;
use self::resolve::{Known, Resolved};
use crate::topology::History;

/// Records this much before and after a filter's times are read too: they may belong to the same conversations.
const MARGIN_MICROS: i64 = 3_600_000_000;

/// The view `traffic` over a table `flows`.
#[derive(Debug)]
pub(super) struct TrafficTable {
    flows: Arc<dyn TableProvider>,
    history: Arc<History>,
    /// Answers that a plan still holds, by what was asked.
    answers: Mutex<HashMap<Asked, Weak<Answer>>>,
}

/// The columns and filters of a scan.
type Asked = (Vec<usize>, Vec<Expr>);

/// The rows of a scan, once they are there. A statement that names `traffic` several times (a `WITH` query counts as often as it is
/// named) has one answer.
type Answer = OnceCell<Vec<RecordBatch>>;

impl TrafficTable {
    pub(super) fn new(flows: Arc<dyn TableProvider>, history: Arc<History>) -> Self {
        Self {
            flows,
            history,
            answers: Mutex::default(),
        }
    }

    fn answer(&self, asked: Asked) -> Arc<Answer> {
        // A poisoned lock leaves the map whole: at worst a scan is run again.
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|_, answer| answer.strong_count() > 0);
        if let Some(answer) = answers.get(&asked).and_then(Weak::upgrade) {
            return answer;
        }
        let answer = Arc::new(Answer::new());
        answers.insert(asked, Arc::downgrade(&answer));
        answer
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
            filter: filter(state, filters, &schema)?,
            schema: Arc::clone(&schema),
            answer: self.answer((columns.clone(), filters.to_vec())),
            columns,
            batch_rows: state.config().batch_size(),
        };
        let partitions: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(resolving)];
        Ok(Arc::new(StreamingTableExec::try_new(
            schema, partitions, None, None, false, None,
        )?))
    }
}

/// Those filters that only need columns which are asked for anyway: rows that fail them need not be kept.
fn filter(
    state: &dyn Session,
    filters: &[Expr],
    schema: &SchemaRef,
) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let has = |filter: &&Expr| {
        let mut columns = filter.column_refs().into_iter();
        columns.all(|column| schema.index_of(&column.name).is_ok())
    };
    let Some(filter) = conjunction(filters.iter().filter(has).cloned()) else {
        return Ok(None);
    };
    let schema = DFSchema::try_from(schema.as_ref().clone())?;
    Ok(Some(state.create_physical_expr(filter, &schema)?))
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
    filter: Option<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    answer: Arc<Answer>,
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
        let (flows, history) = (Arc::clone(&self.flows), Arc::clone(&self.history));
        let (columns, schema) = (self.columns.clone(), Arc::clone(&self.schema));
        let (filter, batch_rows) = (self.filter.clone(), self.batch_rows.max(1));
        let answer = Arc::clone(&self.answer);
        let resolve = async move {
            let records = collect(&flows, &context).await?;
            let work = move || -> Result<Vec<RecordBatch>> {
                let (mut rows, known) = records.into();
                let resolved = settle(&mut rows, &known, &history);
                rows.chunks(batch_rows)
                    .map(|run| {
                        let batch = columns::batch(run, &resolved, &columns, &schema)?;
                        match &filter {
                            Some(filter) => batch_filter(&batch, filter),
                            None => Ok(batch),
                        }
                    })
                    .collect()
            };
            tokio::task::spawn_blocking(work)
                .await
                .map_err(|error| DataFusionError::External(Box::new(error)))?
        };
        let batches = async move {
            let batches = answer.get_or_try_init(|| resolve).await?;
            Ok::<_, DataFusionError>(stream::iter(batches.clone().into_iter().map(Ok)))
        };
        let stream = stream::once(batches).try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            stream,
        ))
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
    records.finish();
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
