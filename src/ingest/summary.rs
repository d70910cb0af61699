//! What a run came to.

use std::collections::BTreeMap;

use crate::batch::Decoded;
use crate::lake::Committed;
use crate::telemetry::{self, ObjectOutcome};

/// How many objects are named one by one; of a folder full of the wrong files the rest is only counted.
const NAMED: usize = 1000;

/// How many reasons are kept apart.
const REASONS: usize = 100;

/// Objects with a reason each: all are counted, the first named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    count: u64,
    named: Vec<(String, String)>,
}

impl Notes {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first of them, with the reason.
    pub fn named(&self) -> &[(String, String)] {
        &self.named
    }

    pub(super) fn add(&mut self, key: String, reason: String) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push((key, reason));
        }
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        let room = NAMED.saturating_sub(self.named.len());
        self.named.extend(other.named.into_iter().take(room));
    }
}

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct IngestSummary {
    /// Objects that the sources listed and did not leave out.
    pub listed: u64,
    /// Objects whose rows are in now and were not before.
    pub objects: u64,
    /// Rows added.
    pub rows: u64,
    /// NODATA records.
    pub nodata: u64,
    /// SKIPDATA records.
    pub skipdata: u64,
    /// Lines that are no records.
    pub bad_lines: u64,
    /// Objects that are no flow logs, by reason: left out by their name, or by what is in them.
    pub skipped: BTreeMap<String, u64>,
    /// Objects that cannot be read and are remembered: tried again when they have changed.
    pub set_aside: Notes,
    /// Objects that could not be fetched this time and are not remembered: the next run tries them again.
    pub deferred: Notes,
    /// Objects whose rows were in before.
    pub already_in: u64,
    /// Objects that an earlier run set aside or skipped, and that have not changed.
    pub known_bad: u64,
    /// Objects whose rows were in before and that have other contents now. They were not read.
    pub changed: Notes,
    /// Bytes as they are stored.
    pub bytes_fetched: u64,
    /// The same bytes inflated.
    pub bytes_inflated: u64,
    /// How long it took.
    pub seconds: f64,
    /// What was committed; while following, which may take a year, only how often.
    pub batches: Vec<Committed>,
    /// How often something was committed.
    pub commits: u64,
    /// What became of a queue's messages.
    pub messages: MessageCounts,
}

/// What became of a queue's messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// All that they told of is in the lake, or is not wanted.
    pub deleted: u64,
    /// They will be handed out again.
    pub returned: u64,
    /// They were left for the dead-letter queue, by id, and why.
    pub not_understood: Notes,
}

impl MessageCounts {
    pub(super) fn merge(&mut self, other: Self) {
        self.deleted += other.deleted;
        self.returned += other.returned;
        self.not_understood.merge(other.not_understood);
    }
}

impl IngestSummary {
    /// Objects that were looked into, whatever was found.
    pub fn read(&self) -> u64 {
        self.objects
            + self.set_aside.count()
            + self.deferred.count()
            + self.skipped.values().sum::<u64>()
    }

    pub(super) fn skip(&mut self, reason: String) {
        count(&mut self.skipped, reason, 1);
    }

    /// Adds what an earlier part of the same run came to.
    pub(super) fn add_earlier(&mut self, earlier: Self) {
        self.listed += earlier.listed;
        self.objects += earlier.objects;
        self.rows += earlier.rows;
        self.nodata += earlier.nodata;
        self.skipdata += earlier.skipdata;
        self.bad_lines += earlier.bad_lines;
        for (reason, objects) in earlier.skipped {
            count(&mut self.skipped, reason, objects);
        }
        self.set_aside.merge(earlier.set_aside);
        self.already_in += earlier.already_in;
        self.known_bad += earlier.known_bad;
        self.changed.merge(earlier.changed);
        self.bytes_fetched += earlier.bytes_fetched;
        self.bytes_inflated += earlier.bytes_inflated;
        self.seconds += earlier.seconds;
        self.batches.splice(0..0, earlier.batches);
        self.commits += earlier.commits;
        self.messages.merge(earlier.messages);
    }
}

/// What a batch adds to the summary once it is committed.
#[derive(Debug, Default)]
pub(super) struct Tally {
    objects: u64,
    rows: u64,
    nodata: u64,
    skipdata: u64,
    bad_lines: u64,
    bytes_inflated: u64,
    skipped: BTreeMap<String, u64>,
    set_aside: Notes,
}

impl Tally {
    pub(super) fn of(decoded: &Decoded) -> Self {
        Self {
            objects: 1,
            rows: decoded.rows,
            nodata: decoded.nodata,
            skipdata: decoded.skipdata,
            bad_lines: decoded.bad_lines,
            bytes_inflated: decoded.bytes,
            ..Self::default()
        }
    }

    /// Adds what one object came to.
    pub(super) fn add(&mut self, object: Self) {
        self.objects += object.objects;
        self.rows += object.rows;
        self.nodata += object.nodata;
        self.skipdata += object.skipdata;
        self.bad_lines += object.bad_lines;
        self.bytes_inflated += object.bytes_inflated;
    }

    pub(super) fn skipped(&mut self, reason: String) {
        count(&mut self.skipped, reason, 1);
    }

    pub(super) fn set_aside(&mut self, key: String, reason: String) {
        self.set_aside.add(key, reason);
    }

    /// Counts for whoever listens.
    pub(super) fn tell(&self) {
        telemetry::committed(self.rows, self.bad_lines);
        for (outcome, count) in [
            (ObjectOutcome::Ingested, self.objects),
            (ObjectOutcome::SetAside, self.set_aside.count),
            (ObjectOutcome::Skipped, self.skipped.values().sum()),
        ] {
            telemetry::objects(outcome, count);
        }
    }

    pub(super) fn add_to(self, summary: &mut IngestSummary) {
        summary.objects += self.objects;
        summary.rows += self.rows;
        summary.nodata += self.nodata;
        summary.skipdata += self.skipdata;
        summary.bad_lines += self.bad_lines;
        summary.bytes_inflated += self.bytes_inflated;
        summary.set_aside.merge(self.set_aside);
        for (reason, objects) in self.skipped {
            count(&mut summary.skipped, reason, objects);
        }
    }
}

fn count(reasons: &mut BTreeMap<String, u64>, reason: String, objects: u64) {
    let known = reasons.len() < REASONS || reasons.contains_key(&reason);
    let reason = if known {
        reason
    } else {
        "other reasons".to_owned()
    };
    *reasons.entry(reason).or_default() += objects;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_all_and_names_the_first() {
        let (mut notes, mut more) = (Notes::default(), Notes::default());
        (0..NAMED - 1).for_each(|number| notes.add(number.to_string(), "why".to_owned()));
        (0..10).for_each(|number| more.add(format!("more {number}"), "why".to_owned()));
        notes.merge(more);
        assert_eq!(
            (notes.count(), notes.named().len()),
            (NAMED as u64 + 9, NAMED)
        );
        assert_eq!(notes.named()[NAMED - 1].0, "more 0");
    }

    #[test]
    fn keeps_so_many_reasons_apart() {
        let mut summary = IngestSummary::default();
        (0..REASONS + 5).for_each(|number| summary.skip(format!("reason {number:03}")));
        summary.skip("reason 000".to_owned());
        assert_eq!(
            (
                summary.skipped["reason 000"],
                summary.skipped["other reasons"]
            ),
            (2, 5)
        );
    }
}
