//! Following: buckets are listed again and again, queues are asked, until somebody says stop.
//!
//! ```text
//! a bucket's window, every minute ──┐
//! all of a bucket, every week ──────┼──> run: is it in? fetch, decode, commit by size or age ──> receipts ──> keeper
//! a queue's messages ───────────────┘                                                           (deletes, prolongs, gives back)
//! ```
//!
//! There is no cursor that an object could slip behind: what is listed is compared with what the lake has. So an object that
//! appears late, under a name older than others, is found by the next look at its day, or by the next sweep.

mod keeper;
mod memory;
mod poll;
mod queue;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::task::JoinSet;

use super::feed::{self, Feed};
use super::pause::Trouble;
use super::run::{Room, Run};
use super::summary::{IngestSummary, MessageCounts};
use super::{Ingest, IngestError, Progress};
use crate::source::queue::Queue;
use crate::source::{Outlook, Selection, Source};
use crate::telemetry::{self, Retried};

pub(super) use keeper::Took;
pub(super) use memory::Following;

/// A queue, and what may be fetched because of it.
#[derive(Debug, Clone)]
pub struct QueueInput {
    /// The queue.
    pub queue: Queue,
    /// Buckets, or prefixes in them, that its messages may speak of: nothing is fetched from anywhere else.
    pub sources: Vec<Source>,
    /// Which of their objects are wanted.
    pub selection: Selection,
    /// For how long a message is ours before others get it; it is prolonged three times as often.
    pub visibility: Duration,
}

/// All that a run reads from.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Places that are listed.
    pub sources: Vec<(Source, Selection)>,
    /// Queues that tell of objects.
    pub queues: Vec<QueueInput>,
}

impl Inputs {
    pub(super) fn is_remote(&self) -> bool {
        let is_bucket = |source: &Source| source.describe().starts_with("s3://");
        !self.queues.is_empty() || self.sources.iter().any(|(source, _)| is_bucket(source))
    }
}

/// How often to look, and how far back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// Between two looks at a bucket.
    pub poll: Duration,
    /// Each look takes in the days that begin so long ago or later.
    pub look_back: Duration,
    /// Between two looks at everything.
    pub sweep: Duration,
    /// How long trouble with credentials or the clock is borne, with those of the lake too.
    pub patience: Duration,
}

/// Reads all that is there now.
pub(super) async fn once(
    ingest: &Ingest,
    inputs: Inputs,
    progress: &dyn Progress,
) -> Result<IngestSummary, IngestError> {
    let at_a_time = ingest.limits.at_a_time(inputs.is_remote());
    let room: Room = Arc::new(AtomicUsize::new(at_a_time));
    let mut keepers = JoinSet::new();
    let queues: Vec<Feed> = inputs
        .queues
        .iter()
        .map(|input| queue::feed(input.clone(), queue::Manner::Drain, &room, &mut keepers))
        .collect();
    let feed = feed::once(inputs.sources).chain(stream::select_all(queues));
    let run = Run::new(ingest, progress, at_a_time, room, None);
    let ended = Box::pin(run.run(feed.boxed())).await;
    let mut summary = ended.summary;
    summary.messages = dismiss(keepers).await;
    ended.result.map(|()| summary)
}

/// Reads all that is there now and all that comes, until the ingest is asked to stop, or something lasting stands in the way.
pub(super) async fn follow(
    ingest: &Ingest,
    inputs: Inputs,
    pace: Pace,
    progress: &dyn Progress,
) -> Result<IngestSummary, IngestError> {
    let at_a_time = ingest.limits.at_a_time(inputs.is_remote());
    let mut summary = IngestSummary::default();
    let mut following = Following::default();
    let mut trouble = Trouble::new(Some(pace.patience));
    let mut stop = ingest.stop.clone();
    loop {
        let room: Room = Arc::new(AtomicUsize::new(at_a_time));
        let mut keepers = JoinSet::new();
        let mut feeds: Vec<Feed> = inputs
            .sources
            .iter()
            .flat_map(|(source, selection)| poll::feeds(source, selection, &pace))
            .collect();
        let manner = queue::Manner::Follow {
            patience: pace.patience,
        };
        feeds.extend(
            inputs
                .queues
                .iter()
                .map(|input| queue::feed(input.clone(), manner, &room, &mut keepers)),
        );
        let run = Run::new(ingest, progress, at_a_time, room, Some(following));
        let ended = Box::pin(run.run(stream::select_all(feeds).boxed())).await;
        following = ended.following.unwrap_or_default();
        let mut part = ended.summary;
        part.messages = dismiss(keepers).await;
        if part.commits > 0 {
            trouble.is_over();
        }
        part.add_earlier(summary);
        summary = part;
        let error = match ended.result {
            Ok(()) => break,
            Err(error) => error,
        };
        // A feed has borne what it could of its own trouble; the lake's is borne here.
        let outlook = match &error {
            IngestError::Lake(error) => error.outlook(),
            IngestError::Source(_) | IngestError::Queue(_) => Outlook::Stays,
        };
        let Some(pause) = trouble.pause(outlook) else {
            return Err(error);
        };
        telemetry::retried(Retried::Lake);
        tracing::warn!(error = %describe(&error), pause_secs = pause.as_secs(), "trouble with the lake, trying again");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.asked_for() => break,
        }
    }
    summary.deferred = following.later.into_notes();
    Ok(summary)
}

/// An error with its causes on one line.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    super::read::chain(error)
}

/// The keepers end when the last receipt is settled or dropped.
async fn dismiss(mut keepers: JoinSet<MessageCounts>) -> MessageCounts {
    let mut counts = MessageCounts::default();
    while let Some(kept) = keepers.join_next().await {
        // A keeper that panicked has left its messages to appear again.
        counts.merge(kept.unwrap_or_default());
    }
    counts
}
