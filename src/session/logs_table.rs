//! `flows`, `coverage`, `objects` and `bad_lines` straight from raw logs: decoded while the query runs, only the columns it asks for.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use chrono::Utc;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::{MemTable, TableType};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use tokio::sync::{OnceCell, mpsc};

use super::flows_table::viewed;
use super::runs;
use crate::batch::{self, Decoded, ObjectError, ReadOptions, TextLayout};
use crate::decode::Header;
use crate::lake::{self, ObjectRecord, Outcome};
use crate::source::{Object, Source, gzip};

/// The objects that the tables read, listed once, with the format for logs that have no header.
#[derive(Debug)]
pub struct RawLogs {
    objects: Vec<(Arc<Source>, Object)>,
    log_format: Option<Header>,
    /// What a full pass over the objects found, read at most once.
    findings: OnceCell<Side>,
    /// Objects that gave nothing so far, by key: what became of them, and why.
    unread: Mutex<BTreeMap<String, (Outcome, String)>>,
}

/// What is not a flow: the other three tables.
#[derive(Debug, Clone)]
struct Side {
    coverage: Vec<RecordBatch>,
    objects: RecordBatch,
    bad_lines: RecordBatch,
}

impl RawLogs {
    /// The raw logs of `objects`: where each is fetched from, and the object. `log_format` is the format of logs without a header; the v2
    /// default if none.
    pub fn new(objects: Vec<(Arc<Source>, Object)>, log_format: Option<Header>) -> Self {
        Self {
            objects,
            log_format,
            findings: OnceCell::new(),
            unread: Mutex::default(),
        }
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The objects that gave no rows to the queries so far: key, what became of it, and why.
    pub fn unread(&self) -> Vec<(String, Outcome, String)> {
        let unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        unread
            .iter()
            .map(|(key, (outcome, reason))| (key.clone(), *outcome, reason.clone()))
            .collect()
    }

    fn note(&self, key: &str, error: &ObjectError) {
        let outcome = match error {
            ObjectError::NotAFlowLog { .. } => Outcome::Skipped,
            ObjectError::Unreadable { .. } => Outcome::SetAside,
        };
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        unread.insert(key.to_owned(), (outcome, error.reason()));
    }

    async fn side(self: &Arc<Self>) -> Result<Side> {
        self.findings
            .get_or_try_init(|| read_side(Arc::clone(self)))
            .await
            .cloned()
    }
}

/// `flows` over raw logs.
#[derive(Debug)]
pub(super) struct RawFlows {
    logs: Arc<RawLogs>,
    schema: SchemaRef,
}

impl RawFlows {
    pub(super) fn new(logs: Arc<RawLogs>) -> Self {
        Self {
            logs,
            schema: viewed(&batch::flows_schema()),
        }
    }
}

#[async_trait]
impl TableProvider for RawFlows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns: Vec<usize> = projection
            .cloned()
            .unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&columns)?);
        let next = Arc::new(AtomicUsize::new(0));
        let streams = state
            .config()
            .target_partitions()
            .clamp(1, self.logs.objects.len().max(1));
        let partitions = (0..streams)
            .map(|_| {
                Arc::new(Decoding {
                    logs: Arc::clone(&self.logs),
                    columns: columns.clone(),
                    schema: Arc::clone(&schema),
                    next: Arc::clone(&next),
                }) as Arc<dyn PartitionStream>
            })
            .collect();
        Ok(Arc::new(StreamingTableExec::try_new(
            schema, partitions, None, None, false, limit,
        )?))
    }
}

/// One stream of flows; streams of a scan take objects from a common list, so that none waits for a large one.
struct Decoding {
    logs: Arc<RawLogs>,
    columns: Vec<usize>,
    schema: SchemaRef,
    next: Arc<AtomicUsize>,
}

impl fmt::Debug for Decoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "raw logs, {} objects", self.logs.objects.len())
    }
}

impl PartitionStream for Decoding {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), 2);
        let (logs, columns, next) = (
            Arc::clone(&self.logs),
            self.columns.clone(),
            Arc::clone(&self.next),
        );
        let sender = stream.tx();
        stream.spawn(async move {
            while let Some((from, object)) = logs.objects.get(next.fetch_add(1, Ordering::Relaxed))
            {
                let options = ReadOptions {
                    log_format: logs.log_format.clone(),
                    columns: Some(columns.clone()),
                    batch_rows: BATCH_ROWS,
                    texts: TextLayout::Views,
                    ..ReadOptions::new(object.key.clone()).with_size(object.size)
                };
                match whole(from, object, options, &sender).await? {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => break,
                    Err(error) => logs.note(&object.key, &error),
                }
            }
            Ok(())
        });
        stream.build()
    }
}

/// Rows decoded at a time: enough that most of their texts are known by then, few enough to stop early.
const BATCH_ROWS: usize = 64 * 1024;

/// Memory for the rows of an object that is not yet known to be whole.
const HELD_BYTES: usize = 64 << 20;

/// Hands over all rows of an object, or none: its rows are held until its end has been read. An object too large to hold is read
/// twice, the first time only to see that it is whole.
async fn whole(
    from: &Arc<Source>,
    object: &Object,
    options: ReadOptions,
    sender: &mpsc::Sender<Result<RecordBatch>>,
) -> Result<std::result::Result<ControlFlow<()>, ObjectError>> {
    let held = Arc::new(Mutex::new((Vec::new(), 0)));
    let hold = {
        let held = Arc::clone(&held);
        move |batch: RecordBatch| {
            let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
            held.1 += batch.get_array_memory_size();
            held.0.push(batch);
            if held.1 > HELD_BYTES {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        }
    };
    if let Err(error) = decode(from, object, options.clone(), hold).await? {
        return Ok(Err(error));
    }
    let (batches, bytes) =
        std::mem::take(&mut *held.lock().unwrap_or_else(PoisonError::into_inner));
    if bytes <= HELD_BYTES {
        for batch in batches {
            if sender.send(Ok(batch)).await.is_err() {
                return Ok(Ok(ControlFlow::Break(())));
            }
        }
        return Ok(Ok(ControlFlow::Continue(())));
    }
    drop(batches);
    let check = ReadOptions {
        columns: Some(Vec::new()),
        ..options.clone()
    };
    if let Err(error) = decode(from, object, check, |_| ControlFlow::Continue(())).await? {
        return Ok(Err(error));
    }
    let sender = sender.clone();
    let send = move |batch: RecordBatch| match sender.blocking_send(Ok(batch)) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    };
    Ok(decode(from, object, options, send)
        .await?
        .map(|_| ControlFlow::Continue(())))
}

/// Fetches and decodes one object on a blocking thread. The outer error ends the query, the inner one concerns this object only.
async fn decode(
    from: &Arc<Source>,
    object: &Object,
    options: ReadOptions,
    mut on_batch: impl FnMut(RecordBatch) -> ControlFlow<()> + Send + 'static,
) -> Result<std::result::Result<Decoded, ObjectError>> {
    let raw = from
        .fetch(object)
        .await
        .map_err(|error| DataFusionError::External(Box::new(error)))?;
    let size = object.size;
    tokio::task::spawn_blocking(move || {
        let inflated = gzip::inflate(raw, size).map_err(|error| ObjectError::Unreadable {
            doing: "cannot read the object",
            source: Box::new(error),
        })?;
        batch::read_object(inflated, &options, &mut on_batch)
    })
    .await
    .map_err(|error| DataFusionError::External(Box::new(error)))
}

/// The batch with its text columns as views, as the table's schema has them.
pub(super) fn as_views(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| cast(column, field.data_type()))
        .collect::<Result<_, _>>()?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &rows,
    )?)
}

/// Which of the tables beside `flows`.
#[derive(Debug, Clone, Copy)]
pub(super) enum SideTable {
    Coverage,
    Objects,
    BadLines,
    /// What detections found, run by run: only a lake has it.
    Findings,
}

impl SideTable {
    pub(super) const ALL: [(&'static str, Self); 4] = [
        ("coverage", Self::Coverage),
        ("objects", Self::Objects),
        ("bad_lines", Self::BadLines),
        ("findings", Self::Findings),
    ];

    /// As queries see it.
    pub(super) fn schema(self) -> SchemaRef {
        let stored = match self {
            Self::Coverage => batch::coverage_schema(),
            Self::Objects => batch::objects_schema(),
            Self::BadLines => batch::bad_lines_schema(),
            Self::Findings => runs::schema(),
        };
        viewed(&stored)
    }
}

/// One of the tables beside `flows`, over raw logs.
#[derive(Debug)]
pub(super) struct RawSide {
    logs: Arc<RawLogs>,
    table: SideTable,
    schema: SchemaRef,
}

impl RawSide {
    pub(super) fn new(logs: Arc<RawLogs>, table: SideTable) -> Self {
        Self {
            logs,
            table,
            schema: table.schema(),
        }
    }
}

#[async_trait]
impl TableProvider for RawSide {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let side = self.logs.side().await?;
        let batches = match self.table {
            SideTable::Coverage => side.coverage,
            SideTable::Objects => vec![side.objects],
            SideTable::BadLines => vec![side.bad_lines],
            SideTable::Findings => Vec::new(),
        };
        let batches = batches
            .iter()
            .map(|batch| as_views(batch, &self.schema))
            .collect::<Result<Vec<_>>>()?;
        MemTable::try_new(Arc::clone(&self.schema), vec![batches])?
            .scan(state, projection, filters, limit)
            .await
    }
}

/// A full pass over every object for what is not a flow.
async fn read_side(logs: Arc<RawLogs>) -> Result<Side> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let next = Arc::new(AtomicUsize::new(0));
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
        let (logs, next, sender) = (Arc::clone(&logs), Arc::clone(&next), sender.clone());
        readers.spawn(async move {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((from, object)) = logs.objects.get(index) else {
                    return Ok::<_, DataFusionError>(());
                };
                let options = ReadOptions {
                    log_format: logs.log_format.clone(),
                    columns: Some(Vec::new()),
                    batch_rows: BATCH_ROWS,
                    texts: TextLayout::Views,
                    ..ReadOptions::new(object.key.clone()).with_size(object.size)
                };
                let read = decode(from, object, options, |_| ControlFlow::Continue(())).await?;
                // The receiver lives until every reader is done.
                sender.send((index, read)).ok();
            }
        });
    }
    drop(sender);
    let mut reads = Vec::new();
    while let Some(read) = receiver.recv().await {
        reads.push(read);
    }
    while let Some(reader) = readers.join_next().await {
        reader.map_err(|error| DataFusionError::External(Box::new(error)))??;
    }
    reads.sort_by_key(|(index, _)| *index);
    Ok(side_tables(&logs, reads))
}

fn side_tables(
    logs: &RawLogs,
    reads: Vec<(usize, std::result::Result<Decoded, ObjectError>)>,
) -> Side {
    let mut coverage = Vec::new();
    let mut samples = Vec::new();
    let mut records = Vec::new();
    for (index, read) in reads {
        let object = &logs.objects[index].1;
        let (rows, bad_lines, outcome, reason) = match read {
            Ok(decoded) => {
                coverage.push(decoded.coverage);
                samples.extend(
                    decoded
                        .samples
                        .into_iter()
                        .map(|line| (object.key.clone(), line)),
                );
                (decoded.rows, decoded.bad_lines, Outcome::Ingested, None)
            }
            Err(error @ ObjectError::NotAFlowLog { .. }) => {
                (0, 0, Outcome::Skipped, Some(error.reason()))
            }
            Err(error) => (0, 0, Outcome::SetAside, Some(error.reason())),
        };
        records.push(ObjectRecord {
            key: object.key.clone(),
            etag: object.etag.clone(),
            size: object.size,
            rows,
            bad_lines,
            outcome,
            reason,
        });
    }
    Side {
        coverage,
        objects: lake::objects_batch(&records, "", Utc::now()),
        bad_lines: lake::bad_lines_batch(&samples),
    }
}
