//! The proof that every row is accounted for: objects say how many rows they gave, files how many they have, and both agree.
//!
//! ```text
//! rows of the objects that are in  =  rows of the data files  +  rows that have expired
//!      (side data, by batch)            (log; deep: counted)        (log)
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

use super::{contents, deep, vacuum};
use crate::lake::bundle::{self, Bundle};
use crate::lake::progress::{self, Batches, Outcome, Told};
use crate::lake::side::{self, Side};
use crate::lake::snapshot::LakeSnapshot;
use crate::lake::{Lake, LakeError, table};

/// How thoroughly to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// The log, the side data and a listing.
    Counts,
    /// Every data file as well, to its last byte.
    Deep,
}

/// What a lake holds, and what is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// The version that was looked at.
    pub version: i64,
    /// Batches that are in.
    pub batches: u64,
    /// Objects by what became of them.
    pub objects: BTreeMap<Outcome, u64>,
    /// Rows that the objects gave.
    pub object_rows: u64,
    /// Rows that the files have, by the log.
    pub file_rows: u64,
    /// Rows that have expired.
    pub expired_rows: u64,
    /// Rows that were counted in the files, if they were.
    pub counted_rows: Option<u64>,
    /// Data files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were replaced, put together or have expired, and are still there for who reads an older version.
    pub replaced: u64,
    /// Data files and side data that nothing refers to, of writers that were killed or are at work.
    pub orphans: u64,
    /// What is wrong, in words, the first hundred.
    pub problems: Vec<String>,
    /// How many things are wrong.
    pub problem_count: u64,
}

/// What is wrong.
#[derive(Debug, Default)]
pub(super) struct Problems {
    shown: Vec<String>,
    count: u64,
}

impl Problems {
    /// More than this say no more than their number.
    const SHOWN: usize = 100;

    pub(super) fn push(&mut self, problem: String) {
        self.count += 1;
        if self.shown.len() < Self::SHOWN {
            self.shown.push(problem);
        }
    }
}

/// An error and its causes on one line.
pub(super) fn in_words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl Lake {
    /// Compares what the lake's parts say of each other. What is wrong is told in [`Verified::problems`].
    ///
    /// # Errors
    /// The log cannot be read, or the store gives no answer.
    pub async fn verify(&self, verify: Verify) -> Result<Verified, LakeError> {
        let place = &self.inner.place;
        let failed = || table::failed(place, "read");
        let table = self.table().await?;
        let snapshot = LakeSnapshot::read(place, table.clone(), None).await?;
        let mut problems = Problems::default();
        let told = self.told(&table, &mut problems).await?;
        let expired = table::expired_rows(&table).await.map_err(failed())?;
        let mut verified = Verified {
            version: snapshot.version(),
            batches: u64::try_from(told.batches.last()).unwrap_or_default(),
            expired_rows: u64::try_from(expired).unwrap_or_default(),
            ..Verified::default()
        };
        let sources = self
            .count_objects(&told, &mut verified, &mut problems)
            .await?;
        self.count_files(&snapshot, &told, &mut verified, &mut problems)
            .await?;
        let accounted = verified.file_rows + verified.expired_rows;
        if verified.object_rows != accounted {
            problems.push(format!(
                "the objects gave {} rows, and there are {} in files and {} expired: {}",
                verified.object_rows,
                verified.file_rows,
                verified.expired_rows,
                difference(verified.object_rows, accounted)
            ));
        }
        if verify == Verify::Deep {
            let contents = deep::read_all(place, snapshot.files(), &mut problems).await;
            verified.counted_rows = Some(contents.rows);
            compare_sources(&sources, &contents.sources, &verified, &mut problems);
        }
        verified.problems = problems.shown;
        verified.problem_count = problems.count;
        Ok(verified)
    }

    async fn told(
        &self,
        table: &deltalake_core::DeltaTable,
        problems: &mut Problems,
    ) -> Result<Told, LakeError> {
        let told = match progress::batches(&self.inner.place, table, Batches::default()).await {
            Ok(told) => told,
            Err(LakeError::Damaged { what, .. }) => {
                problems.push(what);
                return Ok(Told::default());
            }
            Err(error) => return Err(error),
        };
        if let Err(error) = self.refuse_lost_commits(&told).await {
            match error {
                LakeError::Damaged { what, .. } => problems.push(what),
                error => return Err(error),
            }
        }
        Ok(told)
    }

    /// Rows by object, for those that are in.
    async fn count_objects(
        &self,
        told: &Told,
        verified: &mut Verified,
        problems: &mut Problems,
    ) -> Result<HashMap<String, u64>, LakeError> {
        let mut sources = HashMap::new();
        let mut last: HashMap<String, Outcome> = HashMap::new();
        for folder in told.batches.folders() {
            for side in Side::ALL {
                let read = side::read(&self.inner.place, &folder, side, None).await;
                let batches = match read {
                    Ok(batches) => batches,
                    Err(error @ (LakeError::Damaged { .. } | LakeError::Parquet { .. })) => {
                        problems.push(match error {
                            LakeError::Damaged { what, .. } => what,
                            error => in_words(&error),
                        });
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                if side != Side::Objects {
                    continue;
                }
                for objects in batches {
                    for (key, outcome, rows) in objects_of(&objects) {
                        if outcome == Outcome::Ingested {
                            verified.object_rows += rows;
                            if sources.insert(key.clone(), rows).is_some() {
                                problems.push(format!(
                                    "`{key}` is in twice, the second time by `{folder}`"
                                ));
                            }
                        }
                        // Once it is in it stays in, whatever is heard of it later.
                        let known = last.entry(key).or_insert(outcome);
                        if *known != Outcome::Ingested {
                            *known = outcome;
                        }
                    }
                }
            }
        }
        for outcome in last.into_values() {
            *verified.objects.entry(outcome).or_default() += 1;
        }
        Ok(sources)
    }

    async fn count_files(
        &self,
        snapshot: &LakeSnapshot,
        told: &Told,
        verified: &mut Verified,
        problems: &mut Problems,
    ) -> Result<(), LakeError> {
        let place = &self.inner.place;
        let (data, batches, bundles) = futures::try_join!(
            contents::data_files(place),
            contents::side(place, "batches", ""),
            contents::side(place, bundle::BUNDLES, ""),
        )?;
        let mut there: HashMap<_, _> = data
            .into_iter()
            .map(|found| (found.location, found.size))
            .collect();
        for file in snapshot.files() {
            verified.files += 1;
            verified.bytes += file.size;
            verified.file_rows += file.rows;
            let path = place.inside(&file.location);
            match there.remove(&file.location) {
                None => problems.push(format!("`{path}` is not there: {} rows", file.rows)),
                Some(size) if size != file.size => problems.push(format!(
                    "`{path}` has {size} bytes, and the log says {}",
                    file.size
                )),
                Some(_) => {}
            }
        }
        let replaced = vacuum::replaced(self, snapshot).await?;
        let (old, orphans): (Vec<_>, Vec<_>) = there
            .into_keys()
            .partition(|location| replaced.contains_key(location));
        let in_use: HashSet<String> = told.batches.folders().into_iter().collect();
        let bundled = told.batches.bundles.last();
        // Whoever is at work writes behind what is put together.
        let last = |name: &str| {
            let bundle = Bundle::parse(name).map(|bundle| bundle.last);
            bundle.or_else(|| progress::batch_of(name))
        };
        let unused = batches.iter().chain(&bundles).filter(|found| {
            let path = place.inside(&found.location);
            path.rsplit_once('/')
                .is_none_or(|(folder, _)| !in_use.contains(folder))
        });
        let (put_together, abandoned): (Vec<_>, Vec<_>) = unused.partition(|found| {
            let name = vacuum::folder_name(found).unwrap_or_default();
            last(&name).is_some_and(|last| last <= bundled)
        });
        verified.replaced = (old.len() + put_together.len()) as u64;
        verified.orphans = (orphans.len() + abandoned.len()) as u64;
        Ok(())
    }
}

fn objects_of(objects: &RecordBatch) -> Vec<(String, Outcome, u64)> {
    let text = |name: &str| objects.column_by_name(name)?.as_string_opt::<i32>();
    let rows = objects
        .column_by_name("rows")
        .and_then(|rows| rows.as_primitive_opt::<Int64Type>());
    let (Some(keys), Some(outcomes), Some(rows)) = (text("key"), text("outcome"), rows) else {
        return Vec::new();
    };
    let of_row = |row: usize| {
        let rows = if rows.is_valid(row) {
            rows.value(row)
        } else {
            0
        };
        Some((
            keys.value(row).to_owned(),
            Outcome::parse(outcomes.value(row))?,
            u64::try_from(rows).unwrap_or_default(),
        ))
    };
    (0..objects.num_rows()).filter_map(of_row).collect()
}

/// Rows by object as they were read against what the objects' records say. Of what has expired only the sum is known.
fn compare_sources(
    expected: &HashMap<String, u64>,
    counted: &HashMap<String, u64>,
    verified: &Verified,
    problems: &mut Problems,
) {
    let mut unknown: Vec<_> = counted
        .iter()
        .filter(|(source, _)| !expected.contains_key(*source))
        .collect();
    unknown.sort();
    for (source, rows) in unknown {
        problems.push(format!("{rows} rows are of `{source}`, which is not in"));
    }
    let mut missing = 0;
    let mut short = Vec::new();
    for (source, rows) in expected {
        let found = counted.get(source).copied().unwrap_or(0);
        if found > *rows {
            problems.push(format!("`{source}` gave {rows} rows, and has {found}"));
        }
        if found < *rows {
            missing += rows - found;
            short.push(format!("`{source}` gave {rows} rows, and has {found}"));
        }
    }
    if missing == verified.expired_rows {
        return;
    }
    problems.push(format!(
        "{missing} rows of the objects were not found in the files, and {} have expired",
        verified.expired_rows
    ));
    if verified.expired_rows == 0 {
        short.sort();
        short.into_iter().for_each(|problem| problems.push(problem));
    }
}

fn difference(expected: u64, found: u64) -> String {
    if expected > found {
        format!("{} are missing", expected - found)
    } else {
        format!("{} too many", found - expected)
    }
}
