//! Rows into data files: by date, in row groups that are encoded in parallel, uploaded as they grow.
//!
//! ```text
//! batches ─> by date ─> waiting ─(enough)─> encode on a blocking thread ─> append in order ─> upload
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Date32Type;
use bytes::Bytes;
use chrono::{Datelike, NaiveDate, Utc};
use deltalake_core::kernel::{Action, Add};
use object_store::buffered::BufWriter;
use parquet::errors::ParquetError;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::parquet::{OpenFile, ROW_GROUP_ROWS, RowGroup, file_schema};
use super::place::Place;
use super::{LakeError, stats, table};
use crate::batch::{TextLayout, flows_schema_of};

/// A row group is encoded when its rows take this much memory, even if they are few.
const ROW_GROUP_BYTES: usize = 48 << 20;

/// What may wait for all dates together before the largest is encoded.
const WAITING_BYTES: usize = 48 << 20;

/// A file is closed when it has grown to this.
const FILE_BYTES: usize = 128 << 20;
const FILE_ROWS: usize = 4 << 20;

/// Parts of an upload; a smaller file is one request.
const PART_BYTES: usize = 8 << 20;

/// A data file that is written and not committed.
#[derive(Debug, Clone)]
pub(super) struct StagedFile {
    /// Inside the lake.
    pub(super) path: String,
    pub(super) date: Option<NaiveDate>,
    pub(super) size: u64,
    pub(super) rows: u64,
    /// For the log.
    pub(super) stats: String,
    /// From when on it may be in the store.
    pub(super) begun: SystemTime,
}

impl StagedFile {
    /// What a commit says of it; whether its rows are new to the table.
    pub(super) fn add(&self, data_change: bool) -> Action {
        let date = self.date.map(|date| date.to_string());
        Action::Add(Add {
            path: self.path.clone(),
            partition_values: [(table::PARTITION.to_owned(), date)].into(),
            size: i64::try_from(self.size).unwrap_or(i64::MAX),
            modification_time: Utc::now().timestamp_millis(),
            data_change,
            stats: Some(self.stats.clone()),
            ..Add::default()
        })
    }
}

/// Days since 1970, as in the column `date`.
type Day = Option<i32>;

/// Writes data files. To be finished or aborted: one that is dropped leaves orphans.
pub(super) struct DataWriter {
    place: Place,
    /// What the names of its files tell of them.
    name: String,
    /// A file is closed when it has grown to one of these.
    file_bytes: usize,
    file_rows: usize,
    days: BTreeMap<Day, Waiting>,
    open: BTreeMap<Day, Upload>,
    encoding: VecDeque<(Day, JoinHandle<Result<RowGroup, ParquetError>>)>,
    threads: usize,
    finished: Vec<StagedFile>,
}

#[derive(Default)]
struct Waiting {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

struct Upload {
    path: String,
    begun: SystemTime,
    file: OpenFile,
    rows: usize,
    out: BufWriter,
    /// Whether its end was sent: there is nothing to abort then, and perhaps a file.
    is_closed: bool,
}

impl DataWriter {
    /// For the rows of a batch.
    pub(super) fn new(place: Place, batch: i64) -> Self {
        Self::with_limits(place, format!("{batch:012}"), FILE_BYTES, FILE_ROWS)
    }

    /// For rows that come from other files; closes a file only when it has far more bytes than it should.
    pub(super) fn compacting(place: Place, file_bytes: usize) -> Self {
        Self::with_limits(place, "compact".to_owned(), file_bytes, usize::MAX)
    }

    fn with_limits(place: Place, name: String, file_bytes: usize, file_rows: usize) -> Self {
        let threads = std::thread::available_parallelism()
            .map_or(2, usize::from)
            .min(4);
        Self {
            place,
            name,
            file_bytes,
            file_rows,
            days: BTreeMap::new(),
            open: BTreeMap::new(),
            encoding: VecDeque::new(),
            threads,
            finished: Vec::new(),
        }
    }

    /// Takes rows of [`flows_schema`]; waits while too much is being encoded.
    pub(super) async fn write(&mut self, rows: &RecordBatch) -> Result<(), LakeError> {
        for (day, rows) in by_day(rows) {
            let waiting = self.days.entry(day).or_default();
            waiting.rows += rows.num_rows();
            waiting.bytes += memory(&rows);
            waiting.batches.push(rows);
            if waiting.rows >= ROW_GROUP_ROWS || waiting.bytes >= ROW_GROUP_BYTES {
                self.encode(day, 1).await?;
            }
        }
        while self
            .days
            .values()
            .map(|waiting| waiting.bytes)
            .sum::<usize>()
            > WAITING_BYTES
        {
            let largest = self
                .days
                .iter()
                .max_by_key(|(_, waiting)| waiting.bytes)
                .map(|(day, _)| *day);
            let Some(largest) = largest else { break };
            self.encode(largest, 1).await?;
        }
        Ok(())
    }

    /// Writes all that is left, and closes the files.
    ///
    /// After an error the writer is to be aborted.
    pub(super) async fn finish(&mut self) -> Result<Vec<StagedFile>, LakeError> {
        for day in self.days.keys().copied().collect::<Vec<_>>() {
            // Nothing else is under way any more.
            self.encode(day, self.threads).await?;
        }
        while !self.encoding.is_empty() {
            self.land().await?;
        }
        while let Some((day, upload)) = self.open.pop_first() {
            self.close(day, upload).await?;
        }
        Ok(std::mem::take(&mut self.finished))
    }

    /// Deletes all that was written.
    pub(super) async fn abort(mut self) {
        for (_, task) in self.encoding.drain(..) {
            task.abort();
        }
        let mut files: Vec<_> = self.finished.drain(..).map(|file| file.path).collect();
        for (_, mut upload) in std::mem::take(&mut self.open) {
            if upload.is_closed {
                files.push(upload.path);
            } else if let Err(error) = upload.out.abort().await {
                tracing::debug!(path = upload.path, %error, "cannot abort an upload");
            }
        }
        self.place.delete_quietly(files).await;
    }

    async fn encode(&mut self, day: Day, threads: usize) -> Result<(), LakeError> {
        let Some(waiting) = self.days.remove(&day) else {
            return Ok(());
        };
        if waiting.rows == 0 {
            return Ok(());
        }
        // Decoding goes on meanwhile, and needs memory too.
        while self.encoding.len() >= self.threads.div_ceil(2) {
            self.land().await?;
        }
        self.encoding.push_back((
            day,
            tokio::task::spawn_blocking(move || RowGroup::encode(waiting.batches, threads)),
        ));
        Ok(())
    }

    /// Waits for the oldest row group that is being encoded, and appends it to its file.
    async fn land(&mut self) -> Result<(), LakeError> {
        let Some((day, task)) = self.encoding.pop_front() else {
            return Ok(());
        };
        let encoded = task.await.map_err(|source| LakeError::GivenUp {
            uri: self.place.uri.clone(),
            source,
        })?;
        let mut upload = match self.open.remove(&day) {
            Some(upload) => upload,
            None => self.start(day)?,
        };
        let path = upload.path.clone();
        let failed = |source| LakeError::Parquet {
            doing: "encode",
            path,
            source,
        };
        let appended = encoded.and_then(|group| {
            upload.rows += group.rows;
            upload.file.append(group)?;
            upload.file.take()
        });
        let sent = match appended {
            Ok(bytes) => upload.send(&self.place, bytes).await,
            Err(error) => Err(failed(error)),
        };
        // Back to where `abort` finds it, whatever happened.
        let full = upload.rows >= self.file_rows || upload.file.bytes() >= self.file_bytes;
        if sent.is_ok() && full {
            return self.close(day, upload).await;
        }
        self.open.insert(day, upload);
        sent
    }

    fn start(&self, day: Day) -> Result<Upload, LakeError> {
        let folder = date(day).map_or_else(
            || "__HIVE_DEFAULT_PARTITION__".to_owned(),
            |date| date.to_string(),
        );
        // Never the same twice: a second attempt must not overwrite what the first may have committed.
        let path = format!(
            "date={folder}/part-{}-{}.zstd.parquet",
            self.name,
            Uuid::new_v4()
        );
        let file = OpenFile::new().map_err(|source| LakeError::Parquet {
            doing: "encode",
            path: path.clone(),
            source,
        })?;
        let out = BufWriter::with_capacity(
            Arc::clone(&self.place.store),
            self.place.path(&path),
            PART_BYTES,
        );
        Ok(Upload {
            path,
            begun: SystemTime::now(),
            file,
            rows: 0,
            out: out.with_max_concurrency(4),
            is_closed: false,
        })
    }

    async fn close(&mut self, day: Day, mut upload: Upload) -> Result<(), LakeError> {
        let closed = upload.finish(&self.place, day).await;
        match closed {
            Ok(file) => {
                self.finished.push(file);
                Ok(())
            }
            Err(error) => {
                self.open.insert(day, upload);
                Err(error)
            }
        }
    }
}

impl Upload {
    async fn send(&mut self, place: &Place, bytes: Bytes) -> Result<(), LakeError> {
        let path = place.path(&self.path);
        self.out
            .put(bytes)
            .await
            .map_err(place.failed("write", &path))
    }

    async fn finish(&mut self, place: &Place, day: Day) -> Result<StagedFile, LakeError> {
        let finished = self.file.finish();
        let (metadata, rest) = finished.map_err(|source| LakeError::Parquet {
            doing: "encode",
            path: self.path.clone(),
            source,
        })?;
        self.send(place, rest).await?;
        let path = place.path(&self.path);
        let refused = |error: std::io::Error| object_store::Error::Generic {
            store: "lake",
            source: Box::new(error),
        };
        self.is_closed = true;
        self.out
            .shutdown()
            .await
            .map_err(refused)
            .map_err(place.failed("write", &path))?;
        Ok(StagedFile {
            path: self.path.clone(),
            date: date(day),
            size: self.file.bytes() as u64,
            rows: self.rows as u64,
            stats: stats::to_json(&metadata, &file_schema()),
            begun: self.begun,
        })
    }
}

/// A date that Delta can write: one of another year would make the whole table unreadable.
fn date(day: Day) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(day?).filter(|date| (1..=9999).contains(&date.year()))
}

/// How much memory rows hold on to. Columns without a value do not count: batches share them.
pub(super) fn memory(rows: &RecordBatch) -> usize {
    let columns = rows
        .columns()
        .iter()
        .filter(|column| column.null_count() < column.len());
    // Of buffers that batches share only the part of each.
    let bytes = columns.map(|column| column.to_data().get_slice_memory_size());
    bytes.map(Result::unwrap_or_default).sum()
}

/// Splits rows of [`flows_schema`] by their date, and leaves that column out.
fn by_day(rows: &RecordBatch) -> Vec<(Day, RecordBatch)> {
    debug_assert_eq!(
        rows.schema().fields(),
        flows_schema_of(TextLayout::Keys).fields()
    );
    if rows.num_rows() == 0 {
        return Vec::new();
    }
    let mut without = rows.clone();
    let days = without.remove_column(file_schema().fields().len());
    let days = days.as_primitive::<Date32Type>();
    let first = days.iter().next().flatten();
    if days.iter().all(|day| day == first) {
        return vec![(first, without)];
    }
    let mut distinct: Vec<Day> = days.iter().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let of_day = |day: Day| {
        let chosen: BooleanArray = days.iter().map(|other| Some(other == day)).collect();
        (
            day,
            filter_record_batch(&without, &chosen).expect("the filter is as long as the batch"),
        )
    };
    distinct.into_iter().map(of_day).collect()
}
