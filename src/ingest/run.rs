//! One run: objects on their way from the listing to the commit.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, BoxStream, StreamExt};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::progress::{Fate, Meter, Progress, Reported};
use super::read::{self, Ending};
use super::summary::{IngestSummary, Tally};
use super::{Ingest, IngestError};
use crate::batch::ReadOptions;
use crate::lake::{Append, Commit, LakeError, ObjectRecord, Outcome, Standing};
use crate::source::{Listed, Object, Selection, Source, SourceError};

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

type Listing = BoxStream<'static, (Source, Result<Listed, SourceError>)>;

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
    redo: VecDeque<Job>,
    /// Keys on their way: two sources may overlap.
    underway: HashSet<String>,
}

/// What is in the batch that is being put together.
#[derive(Default)]
struct Batch {
    jobs: Vec<Job>,
    tally: Tally,
}

impl<'r> Run<'r> {
    pub(super) fn new(
        ingest: &'r Ingest,
        progress: &'r dyn Progress,
        sources: &[(Source, Selection)],
    ) -> Self {
        let at_a_time = ingest.limits.at_a_time(sources);
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
            underway: HashSet::new(),
        }
    }

    pub(super) async fn run(
        mut self,
        sources: Vec<(Source, Selection)>,
    ) -> Result<IngestSummary, IngestError> {
        let started = Instant::now();
        let listings = stream::iter(sources).flat_map(|(source, selection)| {
            let listing = source.list(selection);
            listing.map(move |listed| (source.clone(), listed))
        });
        let worked = self.work(listings.boxed()).await;
        self.reported.catch_up(&self.meter, self.progress);
        self.summary.bytes_fetched = self.reported.fetched;
        self.summary.seconds = started.elapsed().as_secs_f64();
        match worked {
            Ok(()) => Ok(self.summary),
            Err(error) => {
                self.give_up().await;
                Err(error)
            }
        }
    }

    async fn work(&mut self, mut listing: Listing) -> Result<(), IngestError> {
        // What is in by now has to be known before the first object is judged.
        self.append = Some(self.ingest.lake.append().await?);
        let mut is_listed = false;
        let mut report = tokio::time::interval(REPORT_EVERY);
        report.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            while let Some(job) = self
                .redo
                .pop_front_if(|_| self.reading.len() < self.at_a_time)
            {
                self.consider(job);
            }
            let is_free = self.reading.len() < self.at_a_time && self.redo.is_empty();
            // As many as are being read may wait for a commit, no more.
            let can_wait = self.waiting.len() < self.at_a_time;
            tokio::select! {
                listed = listing.next(), if !is_listed && is_free => match listed {
                    Some((source, listed)) => self.listed(source, listed?),
                    None => is_listed = true,
                },
                Some(read) = self.reading.join_next(), if !self.reading.is_empty() && can_wait => {
                    let (job, ending) = read.map_err(|source| LakeError::GivenUp { uri: self.ingest.lake.uri().to_owned(), source })?;
                    self.waiting.push_back((job, ending));
                }
                committed = join(&mut self.committing), if self.committing.is_some() => self.committed(committed)?,
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

    fn listed(&mut self, source: Source, listed: Listed) {
        let object = match listed {
            Listed::Object(object) => object,
            Listed::Skipped { key, reason } => {
                self.progress.done(&key, Fate::Skipped { reason: &reason });
                self.summary.skip(reason);
                return;
            }
        };
        if self.ingest.lake.holds(&object.key) {
            self.summary.skip("a part of the lake itself".to_owned());
            return;
        }
        self.summary.listed += 1;
        // Only what comes through a pipe has no time, and only that has the same name for other contents each time.
        let once = object.modified.is_none();
        let key = if once {
            format!("{}#{}", object.key, object.etag)
        } else {
            object.key.clone()
        };
        self.consider(Job {
            source,
            object,
            key,
            once,
        });
    }

    /// Starts to read an object, unless it has been looked at.
    fn consider(&mut self, job: Job) {
        match self.ingest.lake.standing(&job.key, &job.object.etag) {
            standing if !self.is_wanted(standing) => self.count_known(job.key, standing),
            _ if self.underway.insert(job.key.clone()) => self.start(job),
            // Two sources list it.
            _ => self.summary.listed -= 1,
        }
    }

    /// Whether to read an object. With a format given, what could not be read without it is tried again.
    fn is_wanted(&self, standing: Standing) -> bool {
        match standing {
            Standing::New => true,
            Standing::Known(Outcome::SetAside | Outcome::Skipped) => {
                self.ingest.log_format.is_some()
            }
            Standing::Known(Outcome::Ingested) | Standing::Changed => false,
        }
    }

    fn count_known(&mut self, key: String, standing: Standing) {
        match standing {
            Standing::Known(Outcome::Ingested) => self.summary.already_in += 1,
            Standing::Known(_) => self.summary.known_bad += 1,
            Standing::Changed | Standing::New => {
                let reason = "it has changed since it was ingested";
                self.summary.changed.add(key, reason.to_owned());
            }
        }
    }

    /// While we read the object, another writer has ingested it.
    fn overtaken(&mut self, job: Job, standing: Standing) {
        self.underway.remove(&job.key);
        self.count_known(job.key, standing);
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
            let ending =
                read::read(job.source.clone(), job.object.clone(), options, rows, meter).await;
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
            Ending::NotFetched { reason } => {
                self.progress
                    .done(&job.key, Fate::Deferred { reason: &reason });
                self.underway.remove(&job.key);
                self.summary.deferred.add(job.key, reason);
                return Ok(());
            }
            Ending::SourceFailed(error) => return Err(error.into()),
            Ending::LakeFailed(error) => return Err(error.into()),
            Ending::Stopped => return Ok(()),
        }
        let once = job.once;
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
        for job in &batch.jobs {
            self.underway.remove(&job.key);
        }
        match commit? {
            Commit::Done(committed) => {
                self.progress.committed(&committed);
                batch.tally.add_to(&mut self.summary);
                self.summary.batches.push(committed);
            }
            Commit::Overtaken => self.redo.extend(batch.jobs),
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
