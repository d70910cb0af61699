//! One run: objects on their way from the listing to the commit.

mod judge;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::feed::{Feed, Receipt, Settled};
use super::follow::Following;
use super::progress::{Fate, Meter, Progress, Reported};
use super::read::{self, Ending, Whereabouts};
use super::summary::{IngestSummary, Tally};
use super::{Ingest, IngestError};
use crate::batch::ReadOptions;
use crate::lake::{Append, Commit, LakeError, ObjectRecord, Outcome};
use crate::source::{Object, Outlook, Source};

/// How often numbers are reported while nothing else happens.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// One object to be read.
#[derive(Debug, Clone)]
struct Job {
    source: Source,
    object: Object,
    /// What its rows and its record are known by.
    key: String,
    /// It can be read only once: it gets a batch of its own, which never has to be redone because of others.
    once: bool,
}

/// How much room there is for more objects: a feed that takes them out of a queue takes no more.
pub(super) type Room = Arc<AtomicUsize>;

pub(super) struct Run<'r> {
    ingest: &'r Ingest,
    progress: &'r dyn Progress,
    meter: Arc<Meter>,
    reported: Reported,
    summary: IngestSummary,
    /// Being read, at most so many.
    reading: JoinSet<(Job, Ending)>,
    at_a_time: usize,
    kept_bytes: usize,
    /// Read while a commit was under way.
    waiting: VecDeque<(Job, Ending)>,
    append: Option<Append>,
    batch: Batch,
    committing: Option<(JoinHandle<Result<Commit, LakeError>>, Batch)>,
    /// To be read again, since their batch was not committed.
    redo: VecDeque<(Job, Vec<Receipt>)>,
    /// Keys on their way, and who wants to hear of them: two sources may overlap.
    underway: HashMap<String, Vec<Receipt>>,
    room: Room,
    /// What has to be remembered where the same is listed again and again.
    following: Option<Following>,
    /// Why the feed ended, where that was not its plan.
    ended_by: Option<IngestError>,
}

/// A run that is over.
pub(super) struct Ended {
    pub(super) summary: IngestSummary,
    pub(super) result: Result<(), IngestError>,
    pub(super) following: Option<Following>,
}

/// What is in the batch that is being put together.
#[derive(Default)]
struct Batch {
    jobs: Vec<Job>,
    tally: Tally,
    /// When its first object was taken.
    since: Option<Instant>,
}

impl<'r> Run<'r> {
    pub(super) fn new(
        ingest: &'r Ingest,
        progress: &'r dyn Progress,
        at_a_time: usize,
        room: Room,
        following: Option<Following>,
    ) -> Self {
        Self {
            ingest,
            progress,
            meter: Arc::default(),
            reported: Reported::default(),
            summary: IngestSummary::default(),
            reading: JoinSet::new(),
            at_a_time,
            // As many again may wait for a commit.
            kept_bytes: ingest.limits.kept_bytes / (2 * at_a_time),
            waiting: VecDeque::new(),
            append: None,
            batch: Batch::default(),
            committing: None,
            redo: VecDeque::new(),
            underway: HashMap::new(),
            room,
            following,
            ended_by: None,
        }
    }

    pub(super) async fn run(mut self, feed: Feed) -> Ended {
        let started = Instant::now();
        let worked = self.work(feed).await;
        self.reported.catch_up(&self.meter, self.progress);
        self.summary.bytes_fetched = self.reported.fetched;
        self.summary.seconds = started.elapsed().as_secs_f64();
        let (summary, following) = (std::mem::take(&mut self.summary), self.following.take());
        let result = match (worked, self.ended_by.take()) {
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(error)) => Err(error),
            (Err(error), _) => {
                self.give_up().await;
                Err(error)
            }
        };
        Ended {
            summary,
            result,
            following,
        }
    }

    async fn work(&mut self, mut feed: Feed) -> Result<(), IngestError> {
        // What is in by now has to be known before the first object is judged.
        self.append = Some(self.ingest.lake.append().await?);
        let mut stop = self.ingest.stop.clone();
        let mut is_listed = false;
        let mut report = tokio::time::interval(REPORT_EVERY);
        report.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            while let Some((job, receipts)) = self
                .redo
                .pop_front_if(|_| self.reading.len() < self.at_a_time)
            {
                self.consider(job, receipts);
            }
            let free = self.at_a_time.saturating_sub(self.reading.len());
            self.room.store(free, Ordering::Relaxed);
            let is_free = free > 0 && self.redo.is_empty();
            // As many as are being read may wait for a commit, no more.
            let can_wait = self.waiting.len() < self.at_a_time;
            // At the end nothing is worth waiting for.
            let due = self.commit_is_due().filter(|_| !is_listed);
            tokio::select! {
                () = stop.asked_for(), if !is_listed => {
                    tracing::debug!("nothing new is begun");
                    is_listed = true;
                    feed = stream::empty().boxed();
                }
                fed = feed.next(), if !is_listed && is_free => match fed {
                    Some(Ok(fed)) => self.fed(fed),
                    // Whoever follows has work in hand that is good; a single run is all or nothing.
                    Some(Err(error)) if self.following.is_some() => {
                        self.ended_by = Some(error);
                        is_listed = true;
                        feed = stream::empty().boxed();
                    }
                    Some(Err(error)) => return Err(error),
                    None => is_listed = true,
                },
                Some(read) = self.reading.join_next(), if !self.reading.is_empty() && can_wait => {
                    let (job, ending) = read.map_err(|source| LakeError::GivenUp { uri: self.ingest.lake.uri().to_owned(), source })?;
                    self.waiting.push_back((job, ending));
                }
                committed = join(&mut self.committing), if self.committing.is_some() => self.committed(committed)?,
                () = until(due), if due.is_some() && self.committing.is_none() => self.commit(),
                _ = report.tick(), if !self.reading.is_empty() || self.committing.is_some() => {
                    self.reported.catch_up(&self.meter, self.progress);
                }
                else => {
                    // Nothing is being read or committed, and nothing more is listed.
                    if self.batch.jobs.is_empty() {
                        return Ok(());
                    }
                    self.commit();
                }
            }
            while self.committing.is_none()
                && let Some((job, ending)) = self.waiting.pop_front()
            {
                self.take(job, ending).await?;
            }
        }
    }

    /// When the batch is old enough to be committed as it is.
    fn commit_is_due(&self) -> Option<Instant> {
        let age = self.ingest.limits.commit_every?;
        self.batch.since?.checked_add(age)
    }

    fn start(&mut self, job: Job) {
        self.progress.listed(1, job.object.size);
        let batch = self.append.as_ref().map_or(0, Append::batch);
        let rows = self.ingest.lake.object_rows(batch, self.kept_bytes);
        let options = ReadOptions {
            log_format: self.ingest.log_format.clone(),
            ..ReadOptions::new(job.key.clone()).with_size(job.object.size)
        };
        let meter = Arc::clone(&self.meter);
        self.reading.spawn(async move {
            let mut job = job;
            let source = job.source.clone();
            let ending = read::read(source, &mut job.object, options, rows, meter).await;
            (job, ending)
        });
    }

    /// Takes an object that has been read into the batch.
    async fn take(&mut self, job: Job, ending: Ending) -> Result<(), IngestError> {
        self.reported.catch_up(&self.meter, self.progress);
        if job.once && !self.batch.jobs.is_empty() {
            self.waiting.push_front((job, ending));
            self.commit();
            return Ok(());
        }
        let record = |outcome, reason: Option<&str>| ObjectRecord {
            key: job.key.clone(),
            etag: job.object.etag.clone(),
            size: job.object.size,
            rows: 0,
            bad_lines: 0,
            outcome,
            reason: reason.map(str::to_owned),
        };
        match ending {
            Ending::Whole { rows, decoded } => {
                let record = ObjectRecord {
                    rows: decoded.rows,
                    bad_lines: decoded.bad_lines,
                    ..record(Outcome::Ingested, None)
                };
                let decoded = *decoded;
                let append = self.append().await?;
                let tally = Tally::of(&decoded);
                let against = append
                    .write(record, *rows, decoded.coverage, decoded.samples)
                    .await?;
                if let Some(standing) = against {
                    self.overtaken(job, standing);
                    return Ok(());
                }
                self.progress
                    .done(&job.key, Fate::Read { rows: decoded.rows });
                self.batch.tally.add(tally);
            }
            Ending::Unreadable { reason } => {
                let against = self
                    .append()
                    .await?
                    .note(record(Outcome::SetAside, Some(&reason)));
                if let Some(standing) = against {
                    self.overtaken(job, standing);
                    return Ok(());
                }
                self.progress
                    .done(&job.key, Fate::SetAside { reason: &reason });
                if self.following.is_some() {
                    tracing::warn!(object = %job.key, reason, "set an object aside");
                }
                self.batch.tally.set_aside(job.key.clone(), reason);
            }
            Ending::NotAFlowLog { reason } => {
                let against = self
                    .append()
                    .await?
                    .note(record(Outcome::Skipped, Some(&reason)));
                if let Some(standing) = against {
                    self.overtaken(job, standing);
                    return Ok(());
                }
                self.progress
                    .done(&job.key, Fate::Skipped { reason: &reason });
                self.batch.tally.skipped(reason);
            }
            Ending::NotFetched {
                reason,
                whereabouts,
            } => {
                self.put_off(&job, reason, whereabouts);
                return Ok(());
            }
            Ending::SourceFailed(error) => {
                // Whoever follows hears of lasting trouble with the source itself from its listing or its queue.
                let has_receipts = self
                    .underway
                    .get(&job.key)
                    .is_some_and(|receipts| !receipts.is_empty());
                let goes_on = self.following.is_some() && error.outlook() != Outlook::Stays;
                if !has_receipts && !goes_on {
                    return Err(error.into());
                }
                self.put_off(&job, error.to_string(), Whereabouts::Unknown);
                return Ok(());
            }
            Ending::LakeFailed(error) => return Err(error.into()),
            Ending::Stopped => return Ok(()),
        }
        let once = job.once;
        self.batch.since.get_or_insert_with(Instant::now);
        self.batch.jobs.push(job);
        if once || self.is_full() {
            self.commit();
        }
        Ok(())
    }

    async fn append(&mut self) -> Result<&mut Append, LakeError> {
        let append = match self.append.take() {
            Some(append) => append,
            None => self.ingest.lake.append().await?,
        };
        Ok(self.append.insert(append))
    }

    fn is_full(&self) -> bool {
        let limits = &self.ingest.limits;
        self.append.as_ref().is_some_and(|append| {
            append.objects() >= limits.batch_objects
                || append.rows() >= limits.batch_rows
                || append.held_bytes() >= limits.held_bytes
        })
    }

    /// Commits the batch while reading goes on.
    fn commit(&mut self) {
        if let Some(append) = self.append.take() {
            self.committing = Some((
                tokio::spawn(append.commit()),
                std::mem::take(&mut self.batch),
            ));
        }
    }

    fn committed(
        &mut self,
        (commit, batch): (Result<Commit, LakeError>, Batch),
    ) -> Result<(), IngestError> {
        match commit? {
            Commit::Done(committed) => {
                self.progress.committed(&committed);
                tracing::info!(
                    batch = committed.batch,
                    objects = committed.objects,
                    rows = committed.rows,
                    bytes = committed.bytes,
                    "committed a batch"
                );
                batch.tally.tell();
                batch.tally.add_to(&mut self.summary);
                self.summary.commits += 1;
                for job in &batch.jobs {
                    self.settle_all(&job.key, Settled::Done);
                }
                match &mut self.following {
                    Some(following) => {
                        for job in &batch.jobs {
                            following.later.forget(&job.key);
                            following.took(job.object.modified);
                        }
                        following.tell_lag();
                    }
                    None => self.summary.batches.push(committed),
                }
            }
            Commit::Overtaken => {
                for job in batch.jobs {
                    // Whoever brought it waits on.
                    let receipts = self.underway.remove(&job.key).unwrap_or_default();
                    self.redo.push_back((job, receipts));
                }
            }
        }
        Ok(())
    }

    /// Ends all that is under way and deletes what was not committed.
    async fn give_up(mut self) {
        self.meter.stop();
        if let Some((commit, _)) = self.committing.take() {
            // It cannot be called back; it cleans up after itself.
            let _ = commit.await;
        }
        for (_, ending) in self.waiting {
            ending.discard().await;
        }
        while let Some(read) = self.reading.join_next().await {
            if let Ok((_, ending)) = read {
                ending.discard().await;
            }
        }
        if let Some(append) = self.append {
            append.abort().await;
        }
    }
}

/// Sleeps until then; for ever without a time.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// The end of a commit that is under way. Dropped before, it goes on.
async fn join(
    committing: &mut Option<(JoinHandle<Result<Commit, LakeError>>, Batch)>,
) -> (Result<Commit, LakeError>, Batch) {
    let Some((task, _)) = committing else {
        return std::future::pending().await;
    };
    let result = task.await;
    let batch = committing
        .take()
        .map(|(_, batch)| batch)
        .unwrap_or_default();
    (
        result.unwrap_or_else(|source| {
            Err(LakeError::GivenUp {
                uri: "the lake".to_owned(),
                source,
            })
        }),
        batch,
    )
}
