//! Which objects are in: the record is committed in the same Delta transaction as their rows.
//!
//! ```text
//! 1  date=…/part-…                              data files
//! 2  _flowscout/batches/{N}-{attempt}/          objects, coverage, bad lines of the batch
//! 3  _delta_log/{version}.json                  adds of 1 + txn("flowscout", N) + "{N}-{attempt}": all is visible, or nothing
//! 4  _flowscout/ledger/{N}-{attempt}            published: a listing tells the winning attempts without reading the log
//! ```
//!
//! Much later, `compact` puts the side data of many batches together: how, [`super::bundle`] says.
//!
//! Killed before 3, nothing refers to what was written. Killed between 3 and 4, the log's last commit tells what the ledger lacks;
//! the next writer publishes it. Batch N+1 starts only when N is published, so that at most one is ever missing.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, RecordBatch};
use deltalake_core::DeltaTable;
use sha2::{Digest, Sha256};

use super::bundle::{self, Bundle, Bundles};
use super::known::Known;
use super::place::Place;
use super::{LakeError, SIDE, side, table};

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

/// The objects of all batches up to one.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The last batch whose objects are known.
    pub(super) through: i64,
    pub(super) known: Known,
}

impl Progress {
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
                self.known.note(keys.value(row), etags.value(row), outcome);
            }
        }
    }
}

/// The batches that are in, and where their side data lies.
#[derive(Debug, Clone, Default)]
pub(super) struct Batches {
    /// Those up to this one are of no interest.
    after: i64,
    /// Of the first to some other.
    pub(super) bundles: Bundles,
    /// The winning attempt of each behind those.
    pub(super) attempts: Attempts,
}

impl Batches {
    /// None of them, for who wants those behind `after`.
    pub(super) fn behind(after: i64) -> Self {
        Self {
            after,
            ..Self::default()
        }
    }

    /// The last batch, which is also how many there are; 0 before the first.
    pub(super) fn last(&self) -> i64 {
        let attempt = self.attempts.last_key_value().map(|(batch, _)| *batch);
        attempt.unwrap_or(self.bundles.last().max(self.after))
    }

    /// The folders with their side data, in their order. In the first there may be some that are of no interest.
    pub(super) fn folders(&self) -> Vec<String> {
        let bundles = self.bundles.list.iter();
        let bundles = bundles
            .filter(|bundle| bundle.last > self.after)
            .map(Bundle::folder);
        let attempts = self.attempts.values();
        let attempts = attempts.map(|attempt| side::folder_of(attempt));
        bundles.chain(attempts).collect()
    }

    /// As of a version of the table whose last batch is `last`; nothing, where that cannot be told from these.
    fn up_to(mut self, last: i64) -> Option<Self> {
        self.attempts.split_off(&(last + 1));
        (self.last() <= last).then_some(self)
    }
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

/// Where the winning attempts are published.
pub(super) fn ledger() -> String {
    format!("{SIDE}/ledger")
}

/// Records that an attempt has won its batch. To do it twice is harmless.
pub(super) async fn publish(place: &Place, attempt: &str) -> Result<(), LakeError> {
    place
        .write(&format!("{}/{attempt}", ledger()), bytes::Bytes::new())
        .await
}

/// What ledger, bundles and log tell of the batches.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The batches up to the last of the table.
    pub(super) batches: Batches,
    /// Attempts among them that are not published.
    pub(super) unpublished: Vec<String>,
    /// The last batch that is published. One behind the table's last is of a later version, or the log has lost it.
    pub(super) published: i64,
}

/// The batches up to the last of `table`, where `known` are known.
pub(super) async fn batches(
    place: &Place,
    table: &DeltaTable,
    known: Batches,
) -> Result<Told, LakeError> {
    let last = table::last_batch(table)
        .await
        .map_err(table::failed(place, "read"))?;
    let mut batches = known.up_to(last).unwrap_or_default();
    let newest = bundle::newest(place, last, &batches.bundles).await?;
    batches.attempts = batches.attempts.split_off(&(newest.list.last() + 1));
    batches.bundles = newest.list;
    let mut told = attempts(place, table, batches.last()).await?;
    batches.attempts.append(&mut told.won);
    Ok(Told {
        batches,
        unpublished: told.unpublished,
        published: told.published.max(newest.through),
    })
}

/// What ledger and log tell of the batches behind one.
#[derive(Debug, Default)]
pub(super) struct Winners {
    /// The winning attempts of the batches up to the last of the table.
    pub(super) won: Attempts,
    unpublished: Vec<String>,
    published: i64,
}

/// The winning attempts of the batches behind `after` up to the last of `table`.
pub(super) async fn attempts(
    place: &Place,
    table: &DeltaTable,
    after: i64,
) -> Result<Winners, LakeError> {
    let last = table::last_batch(table)
        .await
        .map_err(table::failed(place, "read"))?;
    let mut told = Winners::default();
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
    fn attempts_sort_by_batch() {
        assert_eq!(batch_of("000000000012-1f2e"), Some(12));
        assert!(format!("{}zz", batch_prefix(9)).as_str() < "000000000009~");
        assert!("000000000009~" < batch_prefix(10).as_str());
        assert_eq!(batch_of("probe"), None);
    }
}
