//! One version of a lake, pinned: its data files with their statistics, and the side tables that belong to it.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use chrono::{DateTime, NaiveDate, Utc};
use deltalake_core::DeltaTable;
use deltalake_core::kernel::LogicalFileView;
use object_store::path::Path;
use tokio::sync::OnceCell;

use super::place::Place;
use super::progress::{self, Batches, Outcome};
use super::side::{self, Side};
use super::stats::{self, ColumnStats};
use super::{LakeError, table};
use crate::batch::flows_schema;

/// A Parquet file with rows of `flows`, all columns but `date`.
#[derive(Debug, Clone)]
pub struct DataFile {
    /// Its path inside [`Lake::store`](super::Lake::store).
    pub location: Path,
    /// Length in bytes.
    pub size: u64,
    /// When it was written.
    pub modified: DateTime<Utc>,
    /// How many rows it has.
    pub rows: u64,
    /// The value of the column `date` in all its rows.
    pub date: Option<NaiveDate>,
    /// Statistics by column.
    pub columns: Columns,
}

/// Statistics by column, read from the log's text when they are asked for: of a large lake, most files are ruled out by their date.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    text: Option<Arc<str>>,
    read: Arc<OnceLock<HashMap<String, ColumnStats>>>,
}

impl Deref for Columns {
    type Target = HashMap<String, ColumnStats>;

    fn deref(&self) -> &Self::Target {
        let text = self.text.as_deref().unwrap_or_default();
        self.read
            .get_or_init(|| stats::from_json(text, &flows_schema()).1)
    }
}

/// One version of a lake; cheap to clone.
#[derive(Clone)]
pub struct LakeSnapshot {
    inner: Arc<Inner>,
}

impl fmt::Debug for LakeSnapshot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LakeSnapshot")
            .field("place", &self.inner.place)
            .field("version", &self.inner.version)
            .finish_non_exhaustive()
    }
}

struct Inner {
    place: Place,
    version: i64,
    committed_at: Option<DateTime<Utc>>,
    files: Arc<[DataFile]>,
    table: DeltaTable,
    /// The batches that are in. Only the side tables need them.
    batches: OnceCell<Batches>,
}

impl LakeSnapshot {
    pub(super) async fn read(
        place: &Place,
        table: DeltaTable,
        batches: Option<Batches>,
    ) -> Result<Self, LakeError> {
        let version = i64::try_from(table.version().unwrap_or_default()).unwrap_or(i64::MAX);
        let (reading, kept) = (place.clone(), table.clone());
        // A large table's statistics take a while to read.
        let work = tokio::task::spawn_blocking(move || {
            let state = table.snapshot().map_err(table::failed(&reading, "read"))?;
            let committed_at = state
                .version_timestamp(state.version())
                .and_then(DateTime::from_timestamp_millis);
            let files = state
                .log_data()
                .iter()
                .map(|file| data_file(&reading, &file))
                .collect::<Result<Vec<_>, _>>()?;
            Ok::<_, LakeError>((files.into(), committed_at))
        });
        let given_up = |source| LakeError::GivenUp {
            uri: place.uri.clone(),
            source,
        };
        let (files, committed_at) = work.await.map_err(given_up)??;
        Ok(Self {
            inner: Arc::new(Inner {
                place: place.clone(),
                version,
                committed_at,
                files,
                table: kept,
                batches: OnceCell::new_with(batches),
            }),
        })
    }

    pub(super) fn place(&self) -> &Place {
        &self.inner.place
    }

    /// The table's version.
    pub fn version(&self) -> i64 {
        self.inner.version
    }

    /// When it was committed.
    pub fn committed_at(&self) -> Option<DateTime<Utc>> {
        self.inner.committed_at
    }

    /// The data files, newest first.
    pub fn files(&self) -> &[DataFile] {
        &self.inner.files
    }

    /// The data files, for who keeps them.
    pub(crate) fn shared_files(&self) -> Arc<[DataFile]> {
        Arc::clone(&self.inner.files)
    }

    /// What was read, in the order of the batches: each object that is in, and of the others what was last heard of them.
    ///
    /// # Errors
    /// A file cannot be read.
    pub async fn objects(&self) -> Result<Vec<RecordBatch>, LakeError> {
        let all = self.side(Side::Objects, None).await?;
        Ok(current(all))
    }

    /// The NODATA and SKIPDATA records.
    ///
    /// # Errors
    /// A file cannot be read.
    pub async fn coverage(&self) -> Result<Vec<RecordBatch>, LakeError> {
        self.side(Side::Coverage, None).await
    }

    /// The `log_status` of the coverage alone.
    pub(super) async fn coverage_status(&self) -> Result<Vec<RecordBatch>, LakeError> {
        self.side(Side::Coverage, Some(&["log_status"])).await
    }

    /// The samples of lines that are no records.
    ///
    /// # Errors
    /// A file cannot be read.
    pub async fn bad_lines(&self) -> Result<Vec<RecordBatch>, LakeError> {
        self.side(Side::BadLines, None).await
    }

    /// The table at this version.
    pub(super) fn table(&self) -> &DeltaTable {
        &self.inner.table
    }

    /// The batches that are in, if they are known.
    pub(super) fn batches(&self) -> Option<&Batches> {
        self.inner.batches.get()
    }

    async fn side(
        &self,
        side: Side,
        columns: Option<&'static [&'static str]>,
    ) -> Result<Vec<RecordBatch>, LakeError> {
        let Inner { place, table, .. } = self.inner.as_ref();
        let read = || async {
            let told = progress::batches(place, table, Batches::default()).await?;
            Ok::<_, LakeError>(told.batches)
        };
        let batches = self.inner.batches.get_or_try_init(read).await?;
        side::read_all(place, batches.folders(), side, columns).await
    }
}

fn data_file(place: &Place, file: &LogicalFileView) -> Result<DataFile, LakeError> {
    let path = file.path();
    let unreadable = |what: &str| LakeError::Damaged {
        uri: place.uri.clone(),
        what: format!("its log gives `{path}` {what}"),
    };
    let columns = Columns {
        text: file.stats().map(Arc::from),
        read: Arc::default(),
    };
    let date = match file
        .partition_values_map()
        .remove(table::PARTITION)
        .flatten()
    {
        Some(text) => Some(
            text.parse()
                .map_err(|_| unreadable("a date that is none"))?,
        ),
        None => None,
    };
    Ok(DataFile {
        location: place.path(&path),
        size: u64::try_from(file.size()).map_err(|_| unreadable("a negative size"))?,
        modified: DateTime::from_timestamp_millis(file.modification_time()).unwrap_or_default(),
        rows: file
            .num_records()
            .ok_or_else(|| unreadable("no number of rows"))? as u64,
        date,
        columns,
    })
}

/// Leaves out what has been superseded: an object that was set aside and has been looked at again.
fn current(batches: Vec<RecordBatch>) -> Vec<RecordBatch> {
    let mut last: HashMap<String, (usize, usize)> = HashMap::new();
    for (index, batch) in batches.iter().enumerate() {
        let Some((keys, _)) = keys_and_outcomes(batch) else {
            continue;
        };
        last.extend(
            keys.iter()
                .enumerate()
                .filter_map(|(row, key)| Some((key?.to_owned(), (index, row)))),
        );
    }
    let choose = |(index, batch): (usize, RecordBatch)| {
        let Some((keys, outcomes)) = keys_and_outcomes(&batch) else {
            return batch;
        };
        let is_current = |row: usize| {
            outcomes.value(row) == Outcome::Ingested.as_str()
                || last.get(keys.value(row)) == Some(&(index, row))
        };
        let chosen: BooleanArray = (0..batch.num_rows())
            .map(|row| Some(is_current(row)))
            .collect();
        filter_record_batch(&batch, &chosen).expect("the filter is as long as the batch")
    };
    batches.into_iter().enumerate().map(choose).collect()
}

fn keys_and_outcomes(
    batch: &RecordBatch,
) -> Option<(&arrow::array::StringArray, &arrow::array::StringArray)> {
    let text = |name| batch.column_by_name(name)?.as_string_opt::<i32>();
    Some((text("key")?, text("outcome")?))
}
