//! Looks after messages that were handed out: keeps them from others while their objects are on their way, deletes them when all
//! of these are in the lake, and gives back what was not begun.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, MissedTickBehavior};

use super::super::feed::Settled;
use crate::ingest::MessageCounts;
use crate::source::queue::{MAX_BATCH, Queue, QueueError};
use crate::telemetry::{self, MessageOutcome, Retried};

/// SQS lets nobody keep a message longer than 12 hours; a little less, so that the last prolonging is not refused.
const LONGEST_KEPT: Duration = Duration::from_secs(12 * 3600 - 600);

/// How often a message that SQS did not delete is tried again. Then it appears once more, and is known.
const DELETE_TRIES: u32 = 4;

/// Before each further try.
const DELETE_PAUSE: Duration = Duration::from_millis(500);

/// What the keeper is told.
#[derive(Debug)]
pub(in crate::ingest) enum Took {
    /// A message was handed out.
    Message {
        number: u64,
        handle: String,
        /// So many objects will be settled.
        objects: usize,
        /// Whether it may be deleted when they are.
        is_deletable: bool,
    },
    /// One of its objects is settled.
    Object { number: u64, settled: Settled },
    /// A message is left for the dead-letter queue.
    Strange { id: String, reason: String },
}

pub(super) struct Keeper {
    queue: Queue,
    visibility: Duration,
    told: UnboundedReceiver<Took>,
    kept: HashMap<u64, Kept>,
    counts: MessageCounts,
}

struct Kept {
    handle: String,
    open: usize,
    worst: Settled,
    is_deletable: bool,
    since: Instant,
}

impl Keeper {
    pub(super) fn new(queue: Queue, visibility: Duration) -> (Self, UnboundedSender<Took>) {
        let (sender, told) = unbounded_channel();
        let keeper = Self {
            queue,
            visibility,
            told,
            kept: HashMap::new(),
            counts: MessageCounts::default(),
        };
        (keeper, sender)
    }

    /// Goes on until there is nobody who could tell it more.
    pub(super) async fn run(mut self) -> MessageCounts {
        let mut beat = tokio::time::interval((self.visibility / 3).max(Duration::from_millis(100)));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                told = self.told.recv() => {
                    let Some(told) = told else { break };
                    let mut over = Over::default();
                    self.hear(told, &mut over);
                    // A commit settles many at once.
                    while let Ok(told) = self.told.try_recv() {
                        self.hear(told, &mut over);
                    }
                    self.let_go(over).await;
                }
                _ = beat.tick() => self.prolong().await,
            }
        }
        self.counts
    }

    fn hear(&mut self, told: Took, over: &mut Over) {
        let number = match told {
            Took::Message {
                number,
                handle,
                objects,
                is_deletable,
            } => {
                let kept = Kept {
                    handle,
                    open: objects,
                    worst: Settled::Done,
                    is_deletable,
                    since: Instant::now(),
                };
                self.kept.insert(number, kept);
                number
            }
            Took::Object { number, settled } => {
                if let Some(kept) = self.kept.get_mut(&number) {
                    kept.open = kept.open.saturating_sub(1);
                    kept.worst = kept.worst.max(settled);
                }
                number
            }
            Took::Strange { id, reason } => return self.counts.not_understood.add(id, reason),
        };
        if self.kept.get(&number).is_some_and(|kept| kept.open == 0)
            && let Some(kept) = self.kept.remove(&number)
        {
            match kept.worst {
                Settled::Done if kept.is_deletable => over.done.push(kept.handle),
                // It appears again by itself, for the dead-letter queue.
                Settled::Done => {}
                Settled::NotBegun => over.not_begun.push(kept.handle),
                // It appears again in time: that is the pause before the next try.
                Settled::Deferred => over.deferred += 1,
            }
        }
    }

    async fn let_go(&mut self, over: Over) {
        let returned = over.not_begun.len() as u64 + over.deferred;
        self.counts.returned += returned;
        telemetry::messages(MessageOutcome::Returned, returned);
        for handles in over.not_begun.chunks(MAX_BATCH) {
            let failed = self.queue.give_back(handles).await;
            self.note("give back", &failed);
        }
        for handles in over.done.chunks(MAX_BATCH) {
            self.delete(handles.to_vec()).await;
        }
    }

    async fn delete(&mut self, mut handles: Vec<String>) {
        for tries in 0..DELETE_TRIES {
            if tries > 0 {
                telemetry::retried(Retried::Queue);
                tokio::time::sleep(DELETE_PAUSE * tries).await;
            }
            let failed = self.queue.delete(&handles).await;
            self.note("delete", &failed);
            let left: Vec<String> = match failed {
                Ok(failed) => failed
                    .into_iter()
                    .filter_map(|(index, _)| handles.get(index).cloned())
                    .collect(),
                Err(_) => handles.clone(),
            };
            let deleted = (handles.len() - left.len()) as u64;
            self.counts.deleted += deleted;
            telemetry::messages(MessageOutcome::Deleted, deleted);
            handles = left;
            if handles.is_empty() {
                return;
            }
        }
        tracing::warn!(queue = %self.queue.url(), messages = handles.len(), "could not delete messages: they will appear again, and be known");
    }

    async fn prolong(&mut self) {
        let handles: Vec<String> = self
            .kept
            .values()
            .filter(|kept| kept.since.elapsed() < LONGEST_KEPT)
            .map(|kept| kept.handle.clone())
            .collect();
        for handles in handles.chunks(MAX_BATCH) {
            let failed = self.queue.keep(handles, self.visibility).await;
            self.note("keep", &failed);
        }
    }

    fn note(&self, doing: &str, outcome: &Result<Vec<(usize, String)>, QueueError>) {
        match outcome {
            Ok(failed) => {
                for (_, reason) in failed {
                    tracing::warn!(queue = %self.queue.url(), doing, reason, "SQS could not do it to a message");
                }
            }
            Err(error) => tracing::warn!(doing, %error, "trouble with a queue"),
        }
    }
}

/// Messages that are over.
#[derive(Default)]
struct Over {
    done: Vec<String>,
    not_begun: Vec<String>,
    deferred: u64,
}
