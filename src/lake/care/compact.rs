//! Small files of a day into larger ones: the same rows, in the order of their time.
//!
//! ```text
//! small files of a day, by their first start ─> groups of about the target ─> read, write anew ─> one commit for each group
//! ```
//!
//! Whoever reads an older version keeps reading: what is replaced stays in the store until `vacuum`. Memory holds a row group or two,
//! however large the files are.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, Date32Array};
use chrono::{Datelike, NaiveDate};

use super::Mode;
use super::change::{Change, Landed, Purpose};
use super::checkpoint;
use super::read::Rows;
use crate::batch::{TextLayout, flows_schema_of};
use crate::lake::snapshot::DataFile;
use crate::lake::stats::StatValue;
use crate::lake::writer::{DataWriter, StagedFile};
use crate::lake::{Lake, LakeError, columns};

/// How often groups are put together anew because somebody else was faster.
const MAX_ROUNDS: usize = 5;

/// What is to be compacted.
#[derive(Debug, Clone)]
pub struct Compact {
    /// About how large a file should be.
    pub target_bytes: u64,
    /// Whether anything is done.
    pub mode: Mode,
}

impl Compact {
    /// As large as the files that ingest closes.
    pub const TARGET_BYTES: u64 = 128 << 20;
}

/// Files that become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactGroup {
    /// Their date.
    pub date: Option<NaiveDate>,
    /// How many there are.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their rows.
    pub rows: u64,
}

/// What compaction came to.
#[derive(Debug, Clone, Default)]
pub struct Compacted {
    /// The groups that were found, or, if it was done, those that were committed.
    pub groups: Vec<CompactGroup>,
    /// Files that took their place.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Batches whose side data was put together, or would be.
    pub bundled: u64,
    /// Groups that somebody else changed meanwhile.
    pub overtaken: u64,
    /// The version of the checkpoint that was written at the end, if one was due.
    pub checkpoint: Option<u64>,
}

impl Lake {
    /// Makes few files of many small ones: data date by date, and what lies beside it batch by batch. Safe beside whoever ingests, compacts or expires at the same time.
    ///
    /// # Errors
    /// A file cannot be read or written. What was committed by then is in; nothing is half done.
    pub async fn compact(&self, compact: &Compact) -> Result<Compacted, LakeError> {
        let mut done = Compacted::default();
        for _ in 0..MAX_ROUNDS {
            let overtaken_before = done.overtaken;
            self.compact_once(compact, &mut done).await?;
            if done.overtaken == overtaken_before {
                done.bundled = self.bundle(compact.mode).await?;
                if compact.mode == Mode::Apply {
                    done.checkpoint = checkpoint::write_if_due(self).await?;
                }
                return Ok(done);
            }
        }
        Err(LakeError::Overtaken {
            what: "compaction",
            uri: self.inner.place.uri.clone(),
        })
    }

    async fn compact_once(&self, compact: &Compact, done: &mut Compacted) -> Result<(), LakeError> {
        self.catch_up().await?;
        let snapshot = self.snapshot().await?;
        columns::refuse_unknown(&self.inner.place, snapshot.table())?;
        for files in groups(snapshot.files(), compact.target_bytes) {
            let group = CompactGroup {
                date: files[0].date,
                files: files.len() as u64,
                bytes: files.iter().map(|file| file.size).sum(),
                rows: files.iter().map(|file| file.rows).sum(),
            };
            if compact.mode == Mode::DryRun {
                done.groups.push(group);
                continue;
            }
            let added = self.rewrite(&files, compact.target_bytes).await?;
            let (new_files, new_bytes) = (
                added.len() as u64,
                added.iter().map(|file| file.size).sum::<u64>(),
            );
            let purpose = Purpose::Compact {
                target_bytes: compact.target_bytes,
            };
            match Change::new(self, purpose, &files, added).commit().await? {
                Landed::In(version) => {
                    tracing::info!(date = ?group.date, group.files, group.rows, version, "compacted");
                    done.groups.push(group);
                    done.files += new_files;
                    done.bytes += new_bytes;
                }
                Landed::Overtaken => {
                    tracing::info!(date = ?group.date, "somebody else changed the same files");
                    done.overtaken += 1;
                }
            }
        }
        Ok(())
    }

    /// The rows of some files of one date in a new one. After an error nothing of it is left.
    async fn rewrite(&self, files: &[DataFile], target: u64) -> Result<Vec<StagedFile>, LakeError> {
        let place = &self.inner.place;
        // A group has at most half as much again as the target. More than one file comes only of rows that compress worse than before.
        let limit = usize::try_from(target.saturating_mul(2)).unwrap_or(usize::MAX);
        let mut writer = DataWriter::compacting(place.clone(), limit);
        let staged = match self.copy(files, &mut writer).await {
            Ok(()) => writer.finish().await,
            Err(error) => Err(error),
        };
        let staged = match staged {
            Ok(staged) => staged,
            Err(error) => {
                writer.abort().await;
                return Err(error);
            }
        };
        let (before, after): (u64, u64) = (
            files.iter().map(|file| file.rows).sum(),
            staged.iter().map(|file| file.rows).sum(),
        );
        if before != after || staged.iter().any(|file| file.date != files[0].date) {
            let paths = staged.into_iter().map(|file| file.path).collect();
            place.delete_quietly(paths).await;
            return Err(LakeError::Damaged {
                uri: place.uri.clone(),
                what: format!("{after} of {before} rows could be read back"),
            });
        }
        Ok(staged)
    }

    pub(super) async fn copy(
        &self,
        files: &[DataFile],
        writer: &mut DataWriter,
    ) -> Result<(), LakeError> {
        let schema = flows_schema_of(TextLayout::Keys);
        for file in files {
            let day = file
                .date
                .map(|date| date.num_days_from_ce() - UNIX_EPOCH_DAYS);
            let mut rows = Rows::open(&self.inner.place, file).await?;
            while let Some(batches) = rows.next().await? {
                for batch in batches {
                    let dates = Date32Array::from(vec![day; batch.num_rows()]);
                    let (_, mut arrays, _) = batch.into_parts();
                    arrays.push(Arc::new(dates) as Arc<dyn Array>);
                    let batch = arrow::array::RecordBatch::try_new(Arc::clone(&schema), arrays)
                        .expect("the columns of a file, and the date");
                    writer.write(&batch).await?;
                }
            }
        }
        Ok(())
    }
}

/// 1970-01-01, counted from the first day of the year 1.
const UNIX_EPOCH_DAYS: i32 = 719_163;

/// Which files become one: small ones of a date, neighbours in time, until they are as large as they should be.
fn groups(files: &[DataFile], target: u64) -> Vec<Vec<DataFile>> {
    let mut dates: BTreeMap<Option<NaiveDate>, Vec<&DataFile>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.size < target.div_ceil(2)) {
        dates.entry(file.date).or_default().push(file);
    }
    let mut groups = Vec::new();
    for mut small in dates.into_values() {
        small.sort_by(|one, other| by_time(one, other));
        let mut group: Vec<DataFile> = Vec::new();
        let mut bytes = 0;
        for file in small {
            bytes += file.size;
            group.push(file.clone());
            if bytes >= target {
                groups.push(std::mem::take(&mut group));
                bytes = 0;
            }
        }
        groups.push(group);
    }
    groups.retain(|group| group.len() > 1);
    groups
}

fn by_time(one: &DataFile, other: &DataFile) -> Ordering {
    let first_start = |file: &DataFile| match file.columns.get("start")?.min {
        Some(StatValue::Micros(micros)) => Some(micros),
        _ => None,
    };
    first_start(one)
        .cmp(&first_start(other))
        .then_with(|| one.location.cmp(&other.location))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn file(date: Option<&str>, name: &str, size: u64) -> DataFile {
        DataFile {
            location: name.into(),
            size,
            modified: DateTime::UNIX_EPOCH,
            rows: 1,
            date: date.map(|date| date.parse().unwrap()),
            columns: crate::lake::Columns::default(),
        }
    }

    fn names(groups: &[Vec<DataFile>]) -> Vec<Vec<String>> {
        let of_group = |group: &Vec<DataFile>| -> Vec<String> {
            let names = group.iter().map(|file| file.location.to_string());
            names.collect()
        };
        groups.iter().map(of_group).collect()
    }

    #[test]
    fn small_files_of_a_date_are_grouped_until_they_are_large() {
        let day = Some("2026-11-23");
        let files = [
            file(day, "d", 60),
            file(day, "a", 40),
            file(day, "b", 40),
            file(day, "c", 40),
            file(day, "e", 10),
            file(Some("2026-11-24"), "x", 1),
            file(None, "y", 1),
            file(None, "z", 1),
        ];
        assert_eq!(
            names(&groups(&files, 100)),
            [vec!["y", "z"], vec!["a", "b", "c"]],
            "60 is large enough, 10 and 1 are alone"
        );
        assert!(
            groups(&files[..4], 80).is_empty(),
            "half of it is large enough"
        );
    }

    #[test]
    fn days_are_counted_as_arrow_does() {
        let epoch: NaiveDate = "1970-01-01".parse().unwrap();
        assert_eq!(epoch.num_days_from_ce(), UNIX_EPOCH_DAYS);
    }
}
