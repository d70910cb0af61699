//! What a run that follows has to remember beside the lake, all of it bounded.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::super::pause::Later;
use crate::lake::Standing;
use crate::telemetry;

/// Hashes beyond this are not kept: something would be said, or tried, once more.
const REMEMBERED: usize = 100_000;

/// What has been seen, tried and said.
#[derive(Debug, Default)]
pub(in crate::ingest) struct Following {
    pub(in crate::ingest) later: Later,
    /// Objects that were set aside before and have been tried again.
    tried: HashSet<u64>,
    /// Objects that have changed since they were ingested, as they were then.
    told: HashSet<u64>,
    newest_seen: Option<DateTime<Utc>>,
    newest_in: Option<DateTime<Utc>>,
}

impl Following {
    pub(in crate::ingest) fn saw(&mut self, modified: Option<DateTime<Utc>>) {
        self.newest_seen = self.newest_seen.max(modified);
    }

    pub(in crate::ingest) fn took(&mut self, modified: Option<DateTime<Utc>>) {
        self.newest_in = self.newest_in.max(modified);
    }

    /// Says how far what is in lies behind what was seen.
    pub(in crate::ingest) fn tell_lag(&self) {
        let behind = match (self.newest_seen, self.newest_in) {
            (Some(seen), Some(taken)) => (seen - taken).to_std().unwrap_or_default(),
            _ => Duration::ZERO,
        };
        telemetry::lag(behind, self.newest_in);
    }

    pub(in crate::ingest) fn tried(&mut self, key: &str, standing: Standing) {
        if matches!(standing, Standing::Known(_)) && self.tried.len() < REMEMBERED {
            self.tried.insert(hash(key));
        }
    }

    pub(in crate::ingest) fn has_tried(&self, key: &str) -> bool {
        self.tried.contains(&hash(key))
    }

    /// Whether it has not been said of this object as it is now.
    pub(in crate::ingest) fn is_news(&mut self, key: &str, etag: &str) -> bool {
        self.told.len() < REMEMBERED && self.told.insert(hash(&(key, etag)))
    }
}

fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
