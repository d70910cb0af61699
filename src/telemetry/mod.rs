//! What the program tells of itself while it runs: the numbers it counts, and its log.
//!
//! Any module may count; whether anybody listens is the command's business. Names and what they mean stand in one table, so that
//! every number is there from the start, at zero.

mod listen;
mod log;

use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

pub use listen::{ListenError, listen};
pub use log::{LogStyle, start_logging};

const OBJECTS: &str = "flowscout_objects_total";
const ROWS: &str = "flowscout_rows_total";
const BAD_LINES: &str = "flowscout_bad_lines_total";
const FETCHED: &str = "flowscout_fetched_bytes_total";
const COMMITS: &str = "flowscout_commits_total";
const CONFLICTS: &str = "flowscout_commit_conflicts_total";
const RETRIES: &str = "flowscout_retries_total";
const MESSAGES: &str = "flowscout_messages_total";
const LAG: &str = "flowscout_lag_seconds";
const NEWEST: &str = "flowscout_newest_object_timestamp_seconds";

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectOutcome {
    /// Its rows are in.
    Ingested,
    /// It cannot be read.
    SetAside,
    /// It is no flow log.
    Skipped,
    /// It could not be fetched this time.
    Deferred,
    /// It has changed since its rows went in, and was left.
    Changed,
}

impl ObjectOutcome {
    const ALL: [Self; 5] = [
        Self::Ingested,
        Self::SetAside,
        Self::Skipped,
        Self::Deferred,
        Self::Changed,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Ingested => "ingested",
            Self::SetAside => "set_aside",
            Self::Skipped => "skipped",
            Self::Deferred => "deferred",
            Self::Changed => "changed",
        }
    }
}

/// What was tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// A listing.
    Listing,
    /// An object that could not be fetched.
    Object,
    /// A request to a queue.
    Queue,
    /// The lake.
    Lake,
}

impl Retried {
    const ALL: [Self; 4] = [Self::Listing, Self::Object, Self::Queue, Self::Lake];

    fn label(self) -> &'static str {
        match self {
            Self::Listing => "listing",
            Self::Object => "object",
            Self::Queue => "queue",
            Self::Lake => "lake",
        }
    }
}

/// What became of a message of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageOutcome {
    /// All that it told of is dealt with.
    Deleted,
    /// Others, or we later, get it again.
    Returned,
    /// It is left for the dead-letter queue.
    NotUnderstood,
}

impl MessageOutcome {
    const ALL: [Self; 3] = [Self::Deleted, Self::Returned, Self::NotUnderstood];

    fn label(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Returned => "returned",
            Self::NotUnderstood => "not_understood",
        }
    }
}

/// Counts objects.
pub fn objects(outcome: ObjectOutcome, count: u64) {
    counter!(OBJECTS, "outcome" => outcome.label()).increment(count);
}

/// Counts a commit and what it brought.
pub fn committed(rows: u64, bad_lines: u64) {
    counter!(COMMITS).increment(1);
    counter!(ROWS).increment(rows);
    counter!(BAD_LINES).increment(bad_lines);
}

/// Counts a commit that another writer's came before.
pub fn conflict() {
    counter!(CONFLICTS).increment(1);
}

/// Counts bytes as they are stored.
pub fn fetched(bytes: u64) {
    counter!(FETCHED).increment(bytes);
}

/// Counts something that is tried again.
pub fn retried(what: Retried) {
    counter!(RETRIES, "what" => what.label()).increment(1);
}

/// Counts messages of a queue.
pub fn messages(outcome: MessageOutcome, count: u64) {
    counter!(MESSAGES, "outcome" => outcome.label()).increment(count);
}

/// Says how far what is in lies behind what was seen.
#[expect(
    clippy::cast_precision_loss,
    reason = "seconds since 1970 are exact for longer than we live"
)]
pub fn lag(behind: Duration, newest: Option<DateTime<Utc>>) {
    gauge!(LAG).set(behind.as_secs_f64());
    if let Some(newest) = newest {
        gauge!(NEWEST).set(newest.timestamp() as f64);
    }
}

/// Says what the numbers mean, and sets each to zero.
fn describe() {
    let counters = [
        (COMMITS, "Batches committed to the lake."),
        (ROWS, "Rows committed to the lake."),
        (
            BAD_LINES,
            "Lines that are no records, in objects that were committed.",
        ),
        (
            CONFLICTS,
            "Commits that another writer's came before; they were tried again.",
        ),
    ];
    for (name, help) in counters {
        describe_counter!(name, help);
        counter!(name).increment(0);
    }
    describe_counter!(
        FETCHED,
        Unit::Bytes,
        "Bytes fetched from the sources, as they are stored."
    );
    fetched(0);
    describe_counter!(
        OBJECTS,
        "Objects by outcome: ingested; set_aside, because they cannot be read; skipped, because they are no flow logs; \
         deferred, because they could not be fetched this time; changed since they were ingested, and left."
    );
    for outcome in ObjectOutcome::ALL {
        objects(outcome, 0);
    }
    describe_counter!(
        RETRIES,
        "What was tried again after trouble with the network, a service or credentials."
    );
    for what in Retried::ALL {
        counter!(RETRIES, "what" => what.label()).increment(0);
    }
    describe_counter!(
        MESSAGES,
        "Messages of the queue: deleted, when all they tell of is in the lake; returned, to be handed out again; \
         not_understood, left for the dead-letter queue."
    );
    for outcome in MessageOutcome::ALL {
        messages(outcome, 0);
    }
    describe_gauge!(
        LAG,
        Unit::Seconds,
        "Between the newest object that was seen and the newest that is in the lake; 0 when nothing waits."
    );
    describe_gauge!(
        NEWEST,
        Unit::Seconds,
        "When the newest object that is in the lake was written, as Unix time."
    );
    lag(Duration::ZERO, None);
}
