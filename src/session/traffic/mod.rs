//! `traffic`: flows with both ends resolved, so that a detection stays a short `SELECT`.
//!
//! ```text
//! flows ──> choice ──> read ──> resolve ──> conversations ──> nat ──> filter ──> columns
//!           which      by slice  each row:   each tuple:      each NAT leg:
//!           may be in  of time   ends, leg,  initiator, late, joined to the
//!           the answer           route, path counted          client's record
//! ```
//!
//! Conversations need every record that may belong to one, so a scan reads a slice of time whole (and an hour more on each side of
//! the range) before it gives the first row of it. What the filters of a statement rule out by addresses and ports alone is left out
//! before that, whole conversations at a time; records that fail them later are never written as columns.

mod balancer;
mod choice;
mod columns;
mod company;
mod conversation;
mod count;
mod files;
mod filter;
mod flow;
mod hash;
mod input;
mod nat;
mod numbers;
mod passes;
mod possible;
mod read;
mod refusal;
mod resolve;
mod run;
mod slices;
mod stored;
mod threads;
mod witness;
mod world;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{DFSchema, DataFusionError, Result};
use datafusion::datasource::TableType;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::{OnceCell, mpsc};

use self::columns::{Chunk, SCHEMA};
use self::filter::Test;
use self::input::INPUT;
use self::numbers::{Numbers, PROTOCOL, SERVICE_PORT, asks_only};
use self::possible::{Asked, Hint};
use self::refusal::Judging;
use self::run::{Job, Taker};
use self::slices::Bound;
use crate::topology::History;

/// Chunks that wait to be written as columns.
const WAITING_CHUNKS: usize = 4;

/// The view `traffic` over a table `flows`.
#[derive(Debug)]
pub(super) struct TrafficTable {
    flows: Arc<dyn TableProvider>,
    history: Arc<History>,
    /// Answers that a plan still holds, by their filters.
    answers: Mutex<HashMap<Vec<Expr>, Weak<Answer>>>,
}

/// The records that pass the filters of a scan. A statement that names `traffic` several times with the same filters (a `WITH` query
/// counts as often as it is named) has one answer, which is then kept; else it is given away as it comes.
struct Answer {
    job: Job,
    /// What somebody asks of the rules of the time: a [`Judging`].
    judging: AtomicU8,
    chunks: OnceCell<Vec<Arc<Chunk>>>,
    /// Each scan of a plan has a clone.
    scans: Arc<()>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

impl TrafficTable {
    pub(super) fn new(flows: Arc<dyn TableProvider>, history: Arc<History>) -> Self {
        Self {
            flows,
            history,
            answers: Mutex::default(),
        }
    }

    async fn answer(&self, state: &dyn Session, filters: &[Expr]) -> Result<Arc<Answer>> {
        // What decides which records an answer has.
        let is_deciding = |filter: &&Expr| {
            Test::of(filter).is_some()
                || Hint::of(filter).is_some()
                || asks_only(filter, SERVICE_PORT)
                || asks_only(filter, PROTOCOL)
        };
        let mut deciding: Vec<Expr> = filters.iter().filter(is_deciding).cloned().collect();
        // The optimizer may have put the same ones in another order.
        deciding.sort_by_cached_key(ToString::to_string);
        deciding.dedup();
        if let Some(answer) = self.known(&deciding) {
            return Ok(answer);
        }
        let flows = self.flows.schema();
        let input: Vec<usize> = INPUT
            .iter()
            .map(|name| flows.index_of(name))
            .collect::<Result<_, _>>()?;
        let bounds: Vec<Bound> = filters.iter().filter_map(Bound::of).collect();
        let times: Vec<Expr> = bounds.iter().map(Bound::to_expr).collect();
        let flows = self.flows.scan(state, Some(&input), &times, None).await?;
        let with_flags = may_have(&flows, "tcp_flags");
        // What does not count, such as legs of NAT gateways, depends on records that are no company of its own.
        let is_counted =
            |filter: &Expr| matches!(filter, Expr::Column(column) if column.name == "counted");
        let asked = if filters.iter().any(is_counted) {
            Asked {
                hints: deciding.iter().filter_map(Hint::of).collect(),
                service_ports: Numbers::of(state, &deciding, SERVICE_PORT)?,
                protocols: Numbers::of(state, &deciding, PROTOCOL)?,
            }
        } else {
            Asked::default()
        };
        let config = state.config();
        let answer = Arc::new(Answer {
            job: Job {
                slices: slices::slices(flows),
                history: Arc::clone(&self.history),
                bounds,
                tests: deciding.iter().filter_map(Test::of).collect(),
                asked,
                with_flags,
                threads: config.target_partitions(),
                chunk_rows: config.batch_size().max(1),
            },
            judging: AtomicU8::new(Judging::Nothing as u8),
            chunks: OnceCell::new(),
            scans: Arc::new(()),
        });
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(deciding, Arc::downgrade(&answer));
        Ok(answer)
    }

    fn known(&self, filters: &[Expr]) -> Option<Arc<Answer>> {
        // A poisoned lock leaves the map whole: at worst a scan is run again.
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|_, answer| answer.strong_count() > 0);
        answers.get(filters).and_then(Weak::upgrade)
    }
}

/// Whether a row of a scan may have a value in a column, by the statistics of its files: with a filter they are those of more rows.
fn may_have(scan: &Arc<dyn ExecutionPlan>, column: &str) -> bool {
    let are_null = || {
        let files = slices::files(scan)?;
        let schema = files.file_source().table_schema().table_schema();
        let statistics = files.statistics();
        let column = &statistics.column_statistics[schema.index_of(column).ok()?];
        Some(column.null_count.get_value()? == statistics.num_rows.get_value()?)
    };
    are_null() != Some(true)
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
        let support = |filter: &&Expr| {
            if filter.is_volatile() {
                TableProviderFilterPushDown::Unsupported
            } else {
                TableProviderFilterPushDown::Exact
            }
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
        let columns: Vec<usize> = projection
            .cloned()
            .unwrap_or_else(|| (0..SCHEMA.fields().len()).collect());
        let schema = Arc::new(SCHEMA.project(&columns)?);
        let rest: Vec<Expr> = filters
            .iter()
            .filter(|filter| Test::of(filter).is_none())
            .cloned()
            .collect();
        let rest = Rest::of(state, rest)?;
        let answer = self.answer(state, filters).await?;
        let asked = rest.iter().flat_map(|rest| &rest.columns).chain(&columns);
        if let Some(judging) = asked.map(|column| columns::judging(*column)).max() {
            answer.judging.fetch_max(judging as u8, Ordering::Relaxed);
        }
        let threads = answer.job.threads.max(1);
        let scan = Arc::new(Scan {
            batch_rows: answer.job.chunk_rows,
            _one_of_scans: Arc::clone(&answer.scans),
            answer,
            columns,
            schema: Arc::clone(&schema),
            rest,
            threads,
            current: Mutex::default(),
        });
        let partitions = (0..threads)
            .map(|number| {
                let scan = Arc::clone(&scan);
                Arc::new(Partition { scan, number }) as Arc<dyn PartitionStream>
            })
            .collect();
        Ok(Arc::new(StreamingTableExec::try_new(
            schema, partitions, None, None, false, limit,
        )?))
    }
}

/// The filters that only columns can answer.
#[derive(Clone)]
struct Rest {
    columns: Vec<usize>,
    schema: SchemaRef,
    filter: Arc<dyn PhysicalExpr>,
}

impl Rest {
    fn of(state: &dyn Session, filters: Vec<Expr>) -> Result<Option<Self>> {
        let Some(filter) = conjunction(filters) else {
            return Ok(None);
        };
        let mut columns = filter
            .column_refs()
            .into_iter()
            .map(|column| SCHEMA.index_of(&column.name))
            .collect::<Result<Vec<usize>, _>>()?;
        columns.sort_unstable();
        let schema = Arc::new(SCHEMA.project(&columns)?);
        let of_columns = DFSchema::try_from(schema.as_ref().clone())?;
        Ok(Some(Self {
            columns,
            schema,
            filter: state.create_physical_expr(filter, &of_columns)?,
        }))
    }
}

/// One scan in a plan.
struct Scan {
    answer: Arc<Answer>,
    _one_of_scans: Arc<()>,
    columns: Vec<usize>,
    schema: SchemaRef,
    rest: Option<Rest>,
    threads: usize,
    batch_rows: usize,
    current: Mutex<Option<Run>>,
}

/// One execution of a scan: whichever partition comes first starts it, and each takes what is there.
#[derive(Clone)]
struct Run {
    state: Arc<tokio::sync::Mutex<RunState>>,
    taken: Vec<bool>,
}

enum RunState {
    Waiting,
    Running(Running),
    Over,
}

/// The passes on a thread of their own, and what they have given.
struct Running {
    chunks: mpsc::Receiver<Chunk>,
    passes: SpawnedTask<Result<()>>,
}

impl Running {
    /// The next records; `None` when the passes have ended well.
    async fn next(&mut self) -> Result<Option<Chunk>> {
        if let Some(chunk) = self.chunks.recv().await {
            return Ok(Some(chunk));
        }
        match (&mut self.passes).await {
            Ok(ended) => ended.map(|()| None),
            Err(error) => Err(DataFusionError::External(Box::new(error))),
        }
    }
}

/// One of the streams of a scan.
struct Partition {
    scan: Arc<Scan>,
    number: usize,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slices = &self.scan.answer.job.slices;
        write!(f, "traffic, {} slices", slices.len())
    }
}

impl PartitionStream for Partition {
    fn schema(&self) -> &SchemaRef {
        &self.scan.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let scan = Arc::clone(&self.scan);
        // Another scan of the plan wants the same: it is found once and kept.
        let stream = if Arc::strong_count(&scan.answer.scans) > 2 {
            self.of_kept(context).left_stream()
        } else {
            let run = scan.run(self.number);
            chunks_of(Arc::clone(&scan.answer), run, context).right_stream()
        };
        let batches = stream
            .map_ok(move |chunk| scan.batches(&chunk))
            .try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.scan.schema),
            batches,
        ))
    }
}

impl Partition {
    /// This stream's part of an answer that is kept.
    fn of_kept(&self, context: Arc<TaskContext>) -> impl Stream<Item = Result<Arc<Chunk>>> + use<> {
        let (number, threads) = (self.number, self.scan.threads);
        let answer = Arc::clone(&self.scan.answer);
        let chunks = async move {
            let found = answer.chunks.get_or_try_init(|| async {
                let mut running = start(Arc::clone(&answer), context);
                let mut chunks = Vec::new();
                while let Some(chunk) = running.next().await? {
                    chunks.push(Arc::new(chunk));
                }
                Ok::<_, DataFusionError>(chunks)
            });
            let own = found.await?.iter().skip(number).step_by(threads);
            let own: Vec<Result<Arc<Chunk>>> = own.map(|chunk| Ok(Arc::clone(chunk))).collect();
            Ok::<_, DataFusionError>(stream::iter(own))
        };
        stream::once(chunks).try_flatten()
    }
}

/// The chunks of a run as they come.
fn chunks_of(
    answer: Arc<Answer>,
    run: Run,
    context: Arc<TaskContext>,
) -> impl Stream<Item = Result<Arc<Chunk>>> {
    stream::try_unfold(
        (answer, run, context),
        |(answer, run, context)| async move {
            let mut state = run.state.lock().await;
            if let RunState::Waiting = *state {
                *state = RunState::Running(start(Arc::clone(&answer), Arc::clone(&context)));
            }
            let RunState::Running(running) = &mut *state else {
                return Ok(None);
            };
            let next = running.next().await;
            if !matches!(next, Ok(Some(_))) {
                *state = RunState::Over;
            }
            drop(state);
            Ok(next?.map(|chunk| (Arc::new(chunk), (answer, run, context))))
        },
    )
}

/// Starts the passes.
fn start(answer: Arc<Answer>, context: Arc<TaskContext>) -> Running {
    let (sender, chunks) = mpsc::channel(WAITING_CHUNKS);
    let passes = SpawnedTask::spawn_blocking(move || {
        let judging = Judging::from_number(answer.judging.load(Ordering::Relaxed));
        answer.job.run(&context, judging, &Sender(sender))
    });
    Running { chunks, passes }
}

struct Sender(mpsc::Sender<Chunk>);

impl Taker for Sender {
    fn take(&self, chunk: Chunk) -> bool {
        self.0.blocking_send(chunk).is_ok()
    }

    fn is_there(&self) -> bool {
        !self.0.is_closed()
    }
}

impl Scan {
    /// The run that a stream takes part in. A stream that is executed again starts a new one.
    fn run(&self, number: usize) -> Run {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = current.as_mut().filter(|run| !run.taken[number]) {
            run.taken[number] = true;
            return run.clone();
        }
        let mut run = Run {
            state: Arc::new(tokio::sync::Mutex::new(RunState::Waiting)),
            taken: vec![false; self.threads],
        };
        run.taken[number] = true;
        *current = Some(run.clone());
        run
    }

    /// The rows of a chunk that pass, as batches.
    fn batches(
        self: &Arc<Self>,
        chunk: &Arc<Chunk>,
    ) -> impl Stream<Item = Result<RecordBatch>> + use<> {
        let (scan, chunk) = (Arc::clone(self), Arc::clone(chunk));
        let rows = chunk.rows.len();
        let starts = (0..rows).step_by(scan.batch_rows);
        stream::iter(starts.map(move |from| {
            let to = rows.min(from + scan.batch_rows);
            let batch = columns::batch(&chunk, from..to, &scan.columns, &scan.schema)?;
            let Some(rest) = &scan.rest else {
                return Ok(batch);
            };
            let asked = columns::batch(&chunk, from..to, &rest.columns, &rest.schema)?;
            let passes = rest.filter.evaluate(&asked)?.into_array(to - from)?;
            let passes = datafusion::common::cast::as_boolean_array(&passes)?;
            Ok(filter_record_batch(&batch, passes)?)
        }))
    }
}

#[cfg(test)]
mod tests;
