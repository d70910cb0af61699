//! Takes objects out of a queue's messages, as many as there is room for.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::Utc;
use futures::stream::{self, StreamExt};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

use super::super::feed::{Fed, Feed, Receipt};
use super::super::pause::Trouble;
use super::super::run::Room;
use super::QueueInput;
use super::keeper::{Keeper, Took};
use crate::ingest::{IngestError, MessageCounts};
use crate::source::queue::{LONGEST_WAIT, Message, Notice, QueueError, Told};
use crate::source::{Listed, Source};
use crate::telemetry::{self, MessageOutcome, Retried};

/// Whether to wait for more when the queue is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Drain,
    Follow { patience: Duration },
}

/// An empty answer after a wait is an empty queue: with a wait, SQS asks all its servers.
const DRAIN_WAIT: Duration = Duration::from_secs(2);

/// So many messages that cannot be understood are remembered, not to speak of them again.
const REMEMBERED: usize = 100_000;

/// What a queue's messages tell of; a keeper, which looks after the messages, is added to `keepers`.
pub(super) fn feed(
    input: QueueInput,
    manner: Manner,
    room: &Room,
    keepers: &mut JoinSet<MessageCounts>,
) -> Feed {
    let (keeper, took) = Keeper::new(input.queue.clone(), input.visibility);
    keepers.spawn(keeper.run());
    let taking = Taking {
        input,
        manner,
        room: Arc::clone(room),
        took,
        objects: VecDeque::new(),
        last: 0,
        strange: HashSet::new(),
        trouble: Trouble::new(match manner {
            Manner::Drain => None,
            Manner::Follow { patience } => Some(patience),
        }),
    };
    stream::try_unfold(taking, |mut taking| async move {
        let fed = taking.next().await?;
        Ok(fed.map(|fed| (fed, taking)))
    })
    .boxed()
}

struct Taking {
    input: QueueInput,
    manner: Manner,
    room: Room,
    took: UnboundedSender<Took>,
    objects: VecDeque<Fed>,
    /// The number of the last message.
    last: u64,
    /// Messages that cannot be understood, by their ids.
    strange: HashSet<String>,
    trouble: Trouble,
}

impl Taking {
    async fn next(&mut self) -> Result<Option<Fed>, IngestError> {
        loop {
            if let Some(fed) = self.objects.pop_front() {
                return Ok(Some(fed));
            }
            let wait = match self.manner {
                Manner::Drain => DRAIN_WAIT,
                Manner::Follow { .. } => LONGEST_WAIT,
            };
            let room = self.room.load(Ordering::Relaxed);
            match self
                .input
                .queue
                .receive(room, wait, self.input.visibility)
                .await
            {
                Ok(messages) => {
                    self.trouble.is_over();
                    let is_news = messages
                        .iter()
                        .any(|message| !self.strange.contains(&message.id));
                    if !is_news && self.manner == Manner::Drain {
                        return Ok(None);
                    }
                    for message in messages {
                        self.take(message).await;
                    }
                }
                Err(error) => self.bear(error).await?,
            }
        }
    }

    async fn bear(&mut self, error: QueueError) -> Result<(), IngestError> {
        let Some(pause) = self.trouble.pause(error.outlook()) else {
            return Err(error.into());
        };
        telemetry::retried(Retried::Queue);
        tracing::warn!(queue = %self.input.queue.url(), %error, pause_secs = pause.as_secs(), "trouble with a queue, trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Takes a message apart.
    async fn take(&mut self, message: Message) {
        let told = match Notice::read(&message.body, Utc::now()) {
            Notice::Created(told) => told,
            Notice::Test => Vec::new(),
            Notice::Unclear { reason } => return self.is_strange(&message.id, reason),
        };
        self.last += 1;
        let number = self.last;
        let receipts = self.took.clone();
        let (mut strange, mut is_deletable) = (None, true);
        let mut objects = Vec::new();
        for told in told {
            match self.find(&told).await {
                Found::Wanted(found) => objects.push(*found),
                Found::Unwanted => {}
                Found::Unknown => is_deletable = false,
                Found::Elsewhere => {
                    strange = Some(format!(
                        "it speaks of `s3://{}/{}`, and nothing is fetched from a bucket that was not named",
                        told.bucket, told.key
                    ));
                }
            }
        }
        let took = Took::Message {
            number,
            handle: message.handle,
            objects: objects.len(),
            is_deletable: is_deletable && strange.is_none(),
        };
        // The keeper lives as long as this does.
        receipts.send(took).ok();
        for (source, listed) in objects {
            self.objects.push_back(Fed {
                source,
                listed,
                receipt: Some(Receipt::new(number, receipts.clone())),
            });
        }
        if let Some(reason) = strange {
            self.is_strange(&message.id, reason);
        }
    }

    async fn find(&self, told: &Told) -> Found {
        let prefix = format!("s3://{}/", told.bucket);
        let mut is_named = false;
        for source in &self.input.sources {
            is_named |= format!("{}/", source.describe()).starts_with(&prefix);
            if let Some(listed) = source.offered(told, &self.input.selection) {
                return match listed {
                    // S3 itself always tells the ETag; others who send in its name may not.
                    Listed::Object(object) if object.etag.is_empty() => {
                        look(source, &object.key).await
                    }
                    listed => Found::Wanted(Box::new((source.clone(), listed))),
                };
            }
        }
        if is_named {
            Found::Unwanted
        } else {
            Found::Elsewhere
        }
    }

    /// A message that is left for the dead-letter queue: said once.
    fn is_strange(&mut self, id: &str, reason: String) {
        if self.strange.len() < REMEMBERED && self.strange.insert(id.to_owned()) {
            tracing::warn!(queue = %self.input.queue.url(), message = id, reason, "cannot understand a message, it is left for the dead-letter queue");
            telemetry::messages(MessageOutcome::NotUnderstood, 1);
            self.took
                .send(Took::Strange {
                    id: id.to_owned(),
                    reason,
                })
                .ok();
        }
    }
}

/// An object, and where to fetch it from.
type Fetchable = (Source, Listed);

async fn look(source: &Source, key: &str) -> Found {
    match source.look(key).await {
        Ok(Some(object)) => Found::Wanted(Box::new((source.clone(), Listed::Object(object)))),
        // It is gone: nothing to read.
        Ok(None) => Found::Unwanted,
        Err(error) => {
            tracing::warn!(object = key, %error, "could not look at an object");
            Found::Unknown
        }
    }
}

enum Found {
    Wanted(Box<Fetchable>),
    /// Its bucket was named, and it is not selected.
    Unwanted,
    /// It cannot be told now.
    Unknown,
    /// Nobody named its bucket.
    Elsewhere,
}
