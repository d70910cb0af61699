//! What a run tells while it goes on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::lake::Committed;
use crate::telemetry;

/// What became of one object in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate<'r> {
    /// Read to its end. Its rows are in with the next commit.
    Read {
        /// How many.
        rows: u64,
    },
    /// It cannot be read.
    SetAside {
        /// Why.
        reason: &'r str,
    },
    /// It is no flow log.
    Skipped {
        /// What it is instead.
        reason: &'r str,
    },
    /// It could not be fetched this time.
    Deferred {
        /// Why.
        reason: &'r str,
    },
}

/// Hears of a run while it goes on; `()` does not listen. Numbers are those since the last call.
pub trait Progress: Send + Sync {
    /// Objects that are to be read, and their bytes as they are stored.
    fn listed(&self, _objects: u64, _bytes: u64) {}
    /// Bytes as they are stored.
    fn fetched(&self, _bytes: u64) {}
    /// Rows decoded.
    fn decoded(&self, _rows: u64) {}
    /// An object is done with.
    fn done(&self, _key: &str, _fate: Fate<'_>) {}
    /// A batch is in.
    fn committed(&self, _batch: &Committed) {}
}

impl Progress for () {}

/// What the threads that read tell the one that reports.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) fetched: AtomicU64,
    pub(super) decoded: AtomicU64,
    /// The run is over: stop reading.
    pub(super) stopped: AtomicBool,
}

impl Meter {
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// How much of the meter has been reported.
#[derive(Debug, Default)]
pub(super) struct Reported {
    pub(super) fetched: u64,
    decoded: u64,
}

impl Reported {
    pub(super) fn catch_up(&mut self, meter: &Meter, progress: &dyn Progress) {
        let (fetched, decoded) = (
            meter.fetched.load(Ordering::Relaxed),
            meter.decoded.load(Ordering::Relaxed),
        );
        if fetched > self.fetched {
            progress.fetched(fetched - self.fetched);
            telemetry::fetched(fetched - self.fetched);
            self.fetched = fetched;
        }
        if decoded > self.decoded {
            progress.decoded(decoded - self.decoded);
            self.decoded = decoded;
        }
    }
}
