//! Which objects are read, and what whoever brought the others is told.

use std::time::Instant;

use super::{Job, Run};
use crate::ingest::feed::{Fed, Receipt, Settled};
use crate::ingest::progress::Fate;
use crate::ingest::read::Whereabouts;
use crate::lake::{Outcome, Standing};
use crate::source::Listed;
use crate::telemetry::{self, ObjectOutcome, Retried};

impl Run<'_> {
    pub(super) fn fed(&mut self, fed: Fed) {
        let Fed {
            source,
            listed,
            receipt,
        } = fed;
        // Who follows hears of the same names again and again, but of a notification once.
        let counts = self.following.is_none() || receipt.is_some();
        let skipped = match listed {
            Listed::Skipped { key, reason } => Some((key, reason)),
            Listed::Object(object) if self.ingest.lake.holds(&object.key) => {
                Some((object.key, "a part of the lake itself".to_owned()))
            }
            Listed::Object(object) => {
                if let Some(following) = &mut self.following {
                    following.saw(object.modified);
                }
                // Only what comes through a pipe has no time, and only that has the same name for other contents each time.
                let once = object.modified.is_none();
                let key = if once {
                    format!("{}#{}", object.key, object.etag)
                } else {
                    object.key.clone()
                };
                let job = Job {
                    source,
                    object,
                    key,
                    once,
                };
                let is_new = self.consider(job, receipt.into_iter().collect());
                self.summary.listed += u64::from(is_new);
                return;
            }
        };
        if let Some((key, reason)) = skipped.filter(|_| counts) {
            self.progress.done(&key, Fate::Skipped { reason: &reason });
            self.summary.skip(reason);
        }
        settle(receipt, Settled::Done);
    }

    /// Starts to read an object, unless it has been looked at. Whether it counts as one that was listed.
    pub(super) fn consider(&mut self, job: Job, receipts: Vec<Receipt>) -> bool {
        let standing = self.ingest.lake.standing(&job.key, &job.object.etag);
        if let Some(waiting) = self.underway.get_mut(&job.key) {
            // Two sources list it, or two messages tell of it.
            waiting.extend(receipts);
            return false;
        }
        if !self.is_wanted(standing, &job.key) {
            if let Some(following) = &mut self.following {
                following.took(job.object.modified);
            }
            let counts = self.following.is_none() || !receipts.is_empty();
            if counts || standing == Standing::Changed {
                self.count_known(job.key, &job.object.etag, standing);
            }
            settle(receipts, Settled::Done);
            return counts;
        }
        if let Some(following) = &mut self.following {
            // A message that is handed out again has waited.
            if receipts.is_empty() && following.later.is_too_early(&job.key, Instant::now()) {
                return false;
            }
            if following.later.has(&job.key) {
                telemetry::retried(Retried::Object);
            }
            following.tried(&job.key, standing);
            following.tell_lag();
        }
        self.underway.insert(job.key.clone(), receipts);
        self.start(job);
        true
    }

    /// Whether to read an object. With a format given, or on demand, what could not be read is tried again; while following, once.
    fn is_wanted(&self, standing: Standing, key: &str) -> bool {
        match standing {
            Standing::New => true,
            Standing::Known(outcome @ (Outcome::SetAside | Outcome::Skipped)) => {
                let again = self.ingest.log_format.is_some()
                    || (self.ingest.retry && outcome == Outcome::SetAside);
                again
                    && self
                        .following
                        .as_ref()
                        .is_none_or(|following| !following.has_tried(key))
            }
            Standing::Known(Outcome::Ingested) | Standing::Changed => false,
        }
    }

    fn count_known(&mut self, key: String, etag: &str, standing: Standing) {
        match standing {
            Standing::Known(Outcome::Ingested) => self.summary.already_in += 1,
            Standing::Known(_) => self.summary.known_bad += 1,
            Standing::Changed | Standing::New => {
                let reason = "it has changed since it was ingested";
                if let Some(following) = &mut self.following {
                    if !following.is_news(&key, etag) {
                        return;
                    }
                    tracing::warn!(object = %key, reason, "left an object as it is in the lake");
                }
                telemetry::objects(ObjectOutcome::Changed, 1);
                self.summary.changed.add(key, reason.to_owned());
            }
        }
    }

    /// While we read the object, another writer has ingested it.
    pub(super) fn overtaken(&mut self, job: Job, standing: Standing) {
        self.settle_all(&job.key, Settled::Done);
        self.count_known(job.key, &job.object.etag, standing);
    }

    /// It is dealt with: whoever brought it hears of it.
    pub(super) fn settle_all(&mut self, key: &str, settled: Settled) {
        settle(self.underway.remove(key).unwrap_or_default(), settled);
    }

    /// An object could not be fetched: that says nothing about it.
    pub(super) fn put_off(&mut self, job: &Job, reason: String, whereabouts: Whereabouts) {
        self.progress
            .done(&job.key, Fate::Deferred { reason: &reason });
        telemetry::objects(ObjectOutcome::Deferred, 1);
        let settled = match whereabouts {
            Whereabouts::Unknown => Settled::Deferred,
            // There will never be anything to read: no use to be told of it again.
            Whereabouts::Gone => Settled::Done,
        };
        self.settle_all(&job.key, settled);
        match &mut self.following {
            Some(following) => {
                tracing::warn!(object = %job.key, reason, "could not fetch an object");
                if settled == Settled::Deferred {
                    following.later.put_off(&job.key, &reason, Instant::now());
                }
            }
            None => self.summary.deferred.add(job.key.clone(), reason),
        }
    }
}

fn settle(receipts: impl IntoIterator<Item = Receipt>, settled: Settled) {
    for receipt in receipts {
        receipt.settle(settled);
    }
}
