//! Which objects are in: the record is committed in the same Delta transaction as their rows.
//!
//! ```text
//! 1  date=…/part-…                              data files
//! 2  _flowscout/batches/{N}-{attempt}/          objects, coverage, bad lines of the batch
//! 3  _delta_log/{version}.json                  adds of 1 + txn("flowscout", N) + "{N}-{attempt}": all is visible, or nothing
//! 4  _flowscout/ledger/{N}-{attempt}            published: a listing tells the winning attempts without reading the log
//! ```
//!
//! Killed before 3, nothing refers to what was written. Killed between 3 and 4, the log's last commit tells what the ledger lacks;
//! the next writer publishes it. Batch N+1 starts only when N is published, so that at most one is ever missing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::{Array, AsArray, RecordBatch};
use deltalake_core::DeltaTable;
use sha2::{Digest, Sha256};

use super::place::Place;
use super::{LakeError, SIDE, table};

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// All its rows are in.
    Ingested,
    /// It cannot be read, and is tried again when it has changed.
    SetAside,
    /// It is no flow log.
    Skipped,
}

impl Outcome {
    /// As the table `objects` says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingested => "ingested",
            Self::SetAside => "set_aside",
            Self::Skipped => "skipped",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Ingested, Self::SetAside, Self::Skipped]
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
    }
}

/// What the lake knows of an object that is offered to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing, or something older that was not ingested: read it.
    New,
    /// This very object has been looked at, with this outcome.
    Known(Outcome),
    /// The key has been ingested with other contents. AWS never rewrites a log: not read again, or its rows would be in twice.
    Changed,
}

/// The winning attempt of each batch.
pub(super) type Attempts = BTreeMap<i64, String>;

/// The columns of `objects` that are needed to know what is in.
pub(super) const COLUMNS: &[&str] = &["key", "etag", "outcome"];

/// Keys are kept as hashes, 16 bytes for each object with what is known of it: ten million take less than 300 MB. Of so many, two
/// have the same 96 bits once in 10^15 lakes.
type Key = [u32; 3];

/// Thirty bits of the ETag's hash, which tell one version of a key from the next, and two of the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known(u32);

impl Known {
    fn new(etag: &str, outcome: Outcome) -> Self {
        let [hash, ..] = hash(etag);
        let outcome = match outcome {
            Outcome::Ingested => 0,
            Outcome::SetAside => 1,
            Outcome::Skipped => 2,
        };
        Self(hash & !0b11 | outcome)
    }

    fn outcome(self) -> Outcome {
        match self.0 & 0b11 {
            0 => Outcome::Ingested,
            1 => Outcome::SetAside,
            _ => Outcome::Skipped,
        }
    }

    fn is_of(self, etag: &str) -> bool {
        self == Self::new(etag, self.outcome())
    }
}

/// The objects of all batches up to one.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The last batch whose objects are known.
    pub(super) through: i64,
    known: HashMap<Key, Known>,
    /// The winning attempt of each batch.
    pub(super) attempts: Attempts,
}

impl Progress {
    pub(super) fn standing(&self, key: &str, etag: &str) -> Standing {
        match self.known.get(&hash(key)) {
            None => Standing::New,
            Some(known) if known.is_of(etag) => Standing::Known(known.outcome()),
            Some(known) if known.outcome() == Outcome::Ingested => Standing::Changed,
            Some(_) => Standing::New,
        }
    }

    pub(super) fn note(&mut self, key: &str, etag: &str, outcome: Outcome) {
        let new = Known::new(etag, outcome);
        let known = self.known.entry(hash(key)).or_insert(new);
        // Once its rows are in they stay in, whatever is heard of the key later.
        if known.outcome() != Outcome::Ingested {
            *known = new;
        }
    }

    pub(super) fn note_all(&mut self, objects: &RecordBatch) {
        let text = |name: &str| {
            objects
                .column_by_name(name)
                .and_then(|column| column.as_string_opt::<i32>())
        };
        let (Some(keys), Some(etags), Some(outcomes)) =
            (text("key"), text("etag"), text("outcome"))
        else {
            return;
        };
        for row in 0..objects.num_rows() {
            if let Some(outcome) =
                Outcome::parse(outcomes.value(row)).filter(|_| keys.is_valid(row))
            {
                self.note(keys.value(row), etags.value(row), outcome);
            }
        }
    }
}

fn hash(text: &str) -> Key {
    let digest = Sha256::digest(text.as_bytes());
    let word = |at: usize| u32::from_be_bytes(std::array::from_fn(|index| digest[4 * at + index]));
    [word(0), word(1), word(2)]
}

/// 64 bits tell one place from the next.
pub(super) fn short_hash(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    u64::from_be_bytes(std::array::from_fn(|index| digest[index]))
}

/// What the name of a batch's attempt begins with.
pub(super) fn batch_prefix(batch: i64) -> String {
    format!("{batch:012}-")
}

pub(super) fn batch_of(attempt: &str) -> Option<i64> {
    attempt.split_once('-')?.0.parse().ok()
}

fn ledger() -> String {
    format!("{SIDE}/ledger")
}

/// Records that an attempt has won its batch. To do it twice is harmless.
pub(super) async fn publish(place: &Place, attempt: &str) -> Result<(), LakeError> {
    place
        .write(&format!("{}/{attempt}", ledger()), bytes::Bytes::new())
        .await
}

/// What ledger and log tell of the batches behind one.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The winning attempts of the batches up to the last of the table.
    pub(super) won: Attempts,
    /// Those of them that are not published.
    pub(super) unpublished: Vec<String>,
    /// The last batch that is published. One behind the table's last is of a later version, or the log has lost it.
    pub(super) published: i64,
}

/// The winning attempts of the batches behind `after` up to the last of `table`.
pub(super) async fn attempts(
    place: &Place,
    table: &DeltaTable,
    after: i64,
) -> Result<Told, LakeError> {
    let last = table::last_batch(table)
        .await
        .map_err(table::failed(place, "read"))?;
    let mut told = Told::default();
    if after > 0 && last <= after {
        return Ok(told);
    }
    // `~` sorts behind the `-` that follows the number.
    let from = if after > 0 {
        format!("{after:012}~")
    } else {
        String::new()
    };
    for attempt in place.list(&ledger(), &from).await? {
        let Some(batch) = batch_of(&attempt).filter(|batch| *batch > after) else {
            continue;
        };
        told.published = told.published.max(batch);
        if batch <= last {
            told.won.insert(batch, attempt);
        }
    }
    let missing: BTreeSet<i64> = (after + 1..=last)
        .filter(|batch| !told.won.contains_key(batch))
        .collect();
    if missing.is_empty() {
        return Ok(told);
    }
    let found = table::attempts_in_log(table, missing.clone())
        .await
        .map_err(table::failed(place, "read"))?;
    if let Some(batch) = missing.iter().find(|batch| !found.contains_key(batch)) {
        return Err(LakeError::Damaged {
            uri: place.uri.clone(),
            what: format!("neither its ledger nor its log tells who wrote batch {batch}"),
        });
    }
    told.unpublished = found.values().cloned().collect();
    told.won.extend(found);
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_judged_by_key_and_etag() {
        let mut progress = Progress::default();
        assert_eq!(progress.standing("a", "1"), Standing::New);
        progress.note("a", "1", Outcome::SetAside);
        assert_eq!(
            progress.standing("a", "1"),
            Standing::Known(Outcome::SetAside)
        );
        assert_eq!(
            progress.standing("a", "2"),
            Standing::New,
            "it may be whole by now"
        );
        progress.note("a", "2", Outcome::Ingested);
        assert_eq!(
            progress.standing("a", "2"),
            Standing::Known(Outcome::Ingested)
        );
        assert_eq!(progress.standing("a", "3"), Standing::Changed);
        progress.note("a", "3", Outcome::SetAside);
        assert_eq!(
            progress.standing("a", "2"),
            Standing::Known(Outcome::Ingested),
            "its rows are still in"
        );
    }

    #[test]
    fn what_is_known_is_kept_in_sixteen_bytes() {
        assert_eq!(size_of::<(Key, Known)>(), 16);
        for outcome in [Outcome::Ingested, Outcome::SetAside, Outcome::Skipped] {
            for etag in ["", "1", "d41d8cd98f00b204e9800998ecf8427e"] {
                let known = Known::new(etag, outcome);
                assert!(known.is_of(etag) && !known.is_of("another"), "{etag}");
                assert_eq!(known.outcome(), outcome);
            }
        }
    }

    #[test]
    fn attempts_sort_by_batch() {
        assert_eq!(batch_of("000000000012-1f2e"), Some(12));
        assert!(format!("{}zz", batch_prefix(9)).as_str() < "000000000009~");
        assert!("000000000009~" < batch_prefix(10).as_str());
        assert_eq!(batch_of("probe"), None);
    }
}
