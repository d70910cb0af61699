//! Every byte of every data file read back: how many rows each object has there, and whether they lie under their date.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{DateTime, NaiveDate};
use futures::{FutureExt, StreamExt, stream};

use super::read::Rows;
use super::verify::Problems;
use crate::batch::keyed;
use crate::lake::LakeError;
use crate::lake::parquet::keyed_schema;
use crate::lake::place::Place;
use crate::lake::snapshot::DataFile;

/// How many files are read at a time.
const FILES: usize = 2;

/// What was found in data files.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) rows: u64,
    /// Rows by the object that they came from.
    pub(super) sources: HashMap<String, u64>,
    /// Rows that name none.
    nameless: u64,
    /// Rows of another date than the file's.
    misplaced: u64,
}

/// Reads all files; what cannot be read is a problem, and not an error.
pub(super) async fn read_all(
    place: &Place,
    files: &[DataFile],
    problems: &mut Problems,
) -> Contents {
    let read_one = |file: &DataFile| {
        let (place, file) = (place.clone(), file.clone());
        async move { (place.inside(&file.location), read(&place, &file).await) }.boxed()
    };
    let mut all = Contents::default();
    let mut reads = stream::iter(files.iter().map(read_one)).buffered(FILES);
    while let Some((path, read)) = reads.next().await {
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                problems.push(super::verify::in_words(&error));
                continue;
            }
        };
        if read.nameless > 0 {
            problems.push(format!(
                "`{path}`: {} rows name no object that they came from",
                read.nameless
            ));
        }
        if read.misplaced > 0 {
            problems.push(format!(
                "`{path}`: {} rows are of another date",
                read.misplaced
            ));
        }
        all.rows += read.rows;
        for (source, rows) in read.sources {
            *all.sources.entry(source).or_default() += rows;
        }
    }
    all
}

async fn read(place: &Place, file: &DataFile) -> Result<Contents, LakeError> {
    let mut contents = Contents::default();
    let mut rows = Rows::open(place, file).await?;
    while let Some(batches) = rows.next().await? {
        for batch in batches {
            contents.count(&batch, file.date);
        }
    }
    Ok(contents)
}

impl Contents {
    fn count(&mut self, batch: &RecordBatch, date: Option<NaiveDate>) {
        let column = |name| {
            keyed_schema()
                .index_of(name)
                .map(|index| batch.column(index))
        };
        let (Ok(sources), Ok(starts)) = (column("source"), column("start")) else {
            return;
        };
        self.rows += batch.num_rows() as u64;
        self.nameless += sources.null_count() as u64;
        let sources = keyed(sources);
        let mut counts = vec![0_u64; sources.values().len()];
        for key in sources.keys().iter().flatten() {
            counts[key as usize] += 1;
        }
        let names = sources.values().as_string::<i32>();
        for (name, count) in names.iter().zip(counts).filter(|(_, count)| *count > 0) {
            let name = name.unwrap_or_default();
            match self.sources.get_mut(name) {
                Some(rows) => *rows += count,
                None => _ = self.sources.insert(name.to_owned(), count),
            }
        }
        let Some(date) = date else { return };
        let starts = starts.as_primitive::<TimestampMicrosecondType>().iter();
        let date_of =
            |start| DateTime::from_timestamp_micros(start).map(|start| start.date_naive());
        let misplaced = starts.filter(|start| start.and_then(date_of) != Some(date));
        self.misplaced += misplaced.count() as u64;
    }
}
