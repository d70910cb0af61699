//! The pipeline from sources to the lake: what is listed is fetched, decoded, and committed in batches.
//!
//! ```text
//! list ─> is it in? ─> fetch ─> inflate, decode (blocking threads) ─> batch ─> commit (while reading goes on)
//!                      └── so many at a time, each with bounded memory ──┘
//! ```
//!
//! One bad object does not stop the rest: it is set aside with its reason. What cannot be fetched says nothing about the object:
//! it is left for the next run. A source or a lake that fails as a whole stops the run, and what was not committed is deleted.
//! A run that is killed leaves files that nothing refers to, no more.

mod error;
mod feed;
mod follow;
mod pause;
mod progress;
mod read;
mod run;
mod stop;
mod summary;

use std::time::Duration;

use crate::decode::Header;
use crate::lake::Lake;
use crate::source::{Selection, Source};

pub use error::IngestError;
pub use follow::{Inputs, Pace, QueueInput};
pub use progress::{Fate, Progress};
pub use stop::{Stop, Stopper, stopper};
pub use summary::{IngestSummary, MessageCounts, Notes};

/// How much a run takes on at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Objects being read; without it, by where they lie.
    pub objects_at_a_time: Option<usize>,
    /// Objects of a batch.
    pub batch_objects: usize,
    /// Rows of a batch, give or take an object.
    pub batch_rows: u64,
    /// Memory for rows of objects that are not read to their end, all together; what is beyond goes to files.
    pub kept_bytes: usize,
    /// Memory for the coverage of a batch.
    pub held_bytes: usize,
    /// A batch is committed when its first object has waited for so long, however small it is; without it, when it is full.
    pub commit_every: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            objects_at_a_time: None,
            batch_objects: 256,
            batch_rows: 4 << 20,
            kept_bytes: 192 << 20,
            held_bytes: 32 << 20,
            commit_every: None,
        }
    }
}

impl Limits {
    /// A bucket answers slowly and many at a time; a disk feeds as many as there are to decode.
    fn at_a_time(&self, is_remote: bool) -> usize {
        let by_place = || {
            let threads = std::thread::available_parallelism().map_or(2, usize::from);
            if is_remote {
                threads.clamp(8, 16)
            } else {
                threads.clamp(2, 4)
            }
        };
        self.objects_at_a_time.unwrap_or_else(by_place).max(1)
    }
}

/// Ingests sources into a lake.
#[derive(Debug, Clone)]
pub struct Ingest {
    lake: Lake,
    log_format: Option<Header>,
    limits: Limits,
    retry: bool,
    stop: Stop,
}

impl Ingest {
    /// Into this lake, with the default limits.
    pub fn new(lake: Lake) -> Self {
        Self {
            lake,
            log_format: None,
            limits: Limits::default(),
            retry: false,
            stop: Stop::default(),
        }
    }

    /// For records that stand before any header.
    #[must_use]
    pub fn with_log_format(mut self, log_format: Header) -> Self {
        self.log_format = Some(log_format);
        self
    }

    /// With other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Tries objects again that were set aside before.
    #[must_use]
    pub fn with_retry(mut self) -> Self {
        self.retry = true;
        self
    }

    /// Ends early when it is asked to: what is in hand is finished and committed.
    #[must_use]
    pub fn with_stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// Reads all that the sources list and the lake does not have.
    ///
    /// Objects that cannot be read are in the summary, not in the error: if nothing at all could be read is for the caller to judge.
    ///
    /// # Errors
    /// A source or the lake fails as a whole.
    pub async fn run(
        &self,
        sources: Vec<(Source, Selection)>,
        progress: &dyn Progress,
    ) -> Result<IngestSummary, IngestError> {
        let inputs = Inputs {
            sources,
            ..Inputs::default()
        };
        self.run_once(inputs, progress).await
    }

    /// Reads all that the inputs have now, queues included, and the lake does not have.
    ///
    /// # Errors
    /// An input or the lake fails as a whole.
    pub async fn run_once(
        &self,
        inputs: Inputs,
        progress: &dyn Progress,
    ) -> Result<IngestSummary, IngestError> {
        Box::pin(follow::once(self, inputs, progress)).await
    }

    /// Reads all that the inputs have and what comes, until it is asked to stop.
    ///
    /// # Errors
    /// Something lasting stands in the way. What was committed before stays.
    pub async fn follow(
        &self,
        inputs: Inputs,
        pace: Pace,
        progress: &dyn Progress,
    ) -> Result<IngestSummary, IngestError> {
        Box::pin(follow::follow(self, inputs, pace, progress)).await
    }
}
