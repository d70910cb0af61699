//! The small Parquet files beside the table: what a batch's objects were, their coverage, their bad lines.

use std::sync::Arc;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use ::parquet::errors::ParquetError;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};

use super::place::Place;
use super::progress::Outcome;
use super::{LakeError, SIDE, parquet};
use crate::batch::{bad_lines_schema, coverage_schema, objects_schema};
use crate::decode::BadLine;

/// How many small files are read at a time.
pub(super) const READS_AT_A_TIME: usize = 16;

/// One of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Objects,
    Coverage,
    BadLines,
}

impl Side {
    pub(super) const ALL: [Self; 3] = [Self::Objects, Self::Coverage, Self::BadLines];

    fn name(self) -> &'static str {
        match self {
            Self::Objects => "objects",
            Self::Coverage => "coverage",
            Self::BadLines => "bad_lines",
        }
    }

    fn schema(self) -> SchemaRef {
        match self {
            Self::Objects => objects_schema(),
            Self::Coverage => coverage_schema(),
            Self::BadLines => bad_lines_schema(),
        }
    }

    /// Its path in a folder of side data.
    pub(super) fn path(self, folder: &str) -> String {
        format!("{folder}/{}.parquet", self.name())
    }
}

/// Where the side data of an attempt at a batch lies.
pub(super) fn folder_of(attempt: &str) -> String {
    format!("{SIDE}/batches/{attempt}")
}

/// One object as a batch has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRecord {
    /// What it is known by, unique among all sources.
    pub key: String,
    /// Changes with its contents.
    pub etag: String,
    /// Length in bytes as it is stored.
    pub size: u64,
    /// How many rows it gave.
    pub rows: u64,
    /// How many of its lines were no records.
    pub bad_lines: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it gave nothing, if so.
    pub reason: Option<String>,
}

pub(crate) fn objects(records: &[ObjectRecord], batch: &str, at: DateTime<Utc>) -> RecordBatch {
    let text = |of: fn(&ObjectRecord) -> Option<&str>| -> ArrayRef {
        Arc::new(records.iter().map(of).collect::<StringArray>())
    };
    let number = |of: fn(&ObjectRecord) -> u64| -> ArrayRef {
        Arc::new(
            records
                .iter()
                .map(|record| i64::try_from(of(record)).ok())
                .collect::<Int64Array>(),
        )
    };
    let columns = vec![
        text(|record| Some(&record.key)),
        text(|record| Some(&record.etag)),
        number(|record| record.size),
        number(|record| record.rows),
        number(|record| record.bad_lines),
        text(|record| Some(record.outcome.as_str())),
        text(|record| record.reason.as_deref()),
        Arc::new(StringArray::from(vec![batch; records.len()])) as ArrayRef,
        Arc::new(
            TimestampMicrosecondArray::from(vec![at.timestamp_micros(); records.len()])
                .with_timezone("UTC"),
        ),
    ];
    RecordBatch::try_new(objects_schema(), columns).expect("columns in the order of the schema")
}

pub(crate) fn bad_lines(samples: &[(String, BadLine)]) -> RecordBatch {
    let text = |of: fn(&(String, BadLine)) -> Option<&str>| -> ArrayRef {
        Arc::new(samples.iter().map(of).collect::<StringArray>())
    };
    let columns = vec![
        text(|(key, _)| Some(key)),
        Arc::new(
            samples
                .iter()
                .map(|(_, bad)| i64::try_from(bad.line).ok())
                .collect::<Int64Array>(),
        ) as ArrayRef,
        text(|(_, bad)| bad.field.as_deref()),
        text(|(_, bad)| bad.value.as_deref()),
        text(|(_, bad)| Some(&bad.expected)),
        text(|(_, bad)| Some(&bad.text)),
    ];
    RecordBatch::try_new(bad_lines_schema(), columns).expect("columns in the order of the schema")
}

/// Writes one file of a batch, or of several. One without rows is left out, except the objects: they show that the batch is there.
pub(super) async fn write(
    place: &Place,
    folder: &str,
    side: Side,
    batches: &[RecordBatch],
) -> Result<(), LakeError> {
    if side != Side::Objects && batches.iter().all(|batch| batch.num_rows() == 0) {
        return Ok(());
    }
    let path = side.path(folder);
    let bytes = parquet::to_bytes(batches, side.schema());
    let bytes = bytes.map_err(|source| LakeError::Parquet {
        doing: "encode",
        path: path.clone(),
        source,
    })?;
    place.write(&path, bytes).await
}

/// One file of a folder, decoded as it is asked for: a bundle may have the names of many thousand objects.
pub(super) struct Reader {
    path: String,
    batches: Option<ParquetRecordBatchReader>,
}

impl Iterator for Reader {
    type Item = Result<RecordBatch, LakeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.as_mut()?.next()?;
        Some(batch.map_err(|error| undecoded(&self.path)(error.into())))
    }
}

fn undecoded(path: &str) -> impl FnOnce(ParquetError) -> LakeError {
    let path = path.to_owned();
    move |source| LakeError::Parquet {
        doing: "decode",
        path,
        source,
    }
}

/// Fetches one file of a folder; of some columns only, if they are named.
async fn open(
    place: &Place,
    folder: &str,
    side: Side,
    columns: Option<&[&str]>,
) -> Result<Reader, LakeError> {
    let path = side.path(folder);
    let batches = match place.read(&path).await? {
        Some(bytes) => Some(parquet::from_bytes(bytes, columns).map_err(undecoded(&path))?),
        None if side == Side::Objects => {
            return Err(LakeError::Damaged {
                uri: place.uri.clone(),
                what: format!("`{path}` is not there"),
            });
        }
        None => None,
    };
    Ok(Reader { path, batches })
}

/// Reads one file of a folder; of some columns only, if they are named.
pub(super) async fn read(
    place: &Place,
    folder: &str,
    side: Side,
    columns: Option<&[&str]>,
) -> Result<Vec<RecordBatch>, LakeError> {
    open(place, folder, side, columns).await?.collect()
}

/// Fetches one file of each of some folders, several at a time, in their order.
pub(super) fn open_each(
    place: &Place,
    folders: Vec<String>,
    side: Side,
    columns: Option<&'static [&'static str]>,
) -> BoxStream<'static, Result<Reader, LakeError>> {
    let place = place.clone();
    let open_one = move |folder: String| {
        let place = place.clone();
        async move { open(&place, &folder, side, columns).await }.boxed()
    };
    stream::iter(folders)
        .map(open_one)
        .buffered(READS_AT_A_TIME)
        .boxed()
}

/// All that is in the files that [`open_each`] fetches.
pub(super) async fn read_all(
    place: &Place,
    folders: Vec<String>,
    side: Side,
    columns: Option<&'static [&'static str]>,
) -> Result<Vec<RecordBatch>, LakeError> {
    let mut files = open_each(place, folders, side, columns);
    let mut batches = Vec::new();
    while let Some(file) = files.try_next().await? {
        for batch in file {
            batches.push(batch?);
        }
    }
    Ok(batches)
}
