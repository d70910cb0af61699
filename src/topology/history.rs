//! The network over time: each import adds to what was known, and a flow sees the network of its own time.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};

use super::model::{Coverage, Resources};
use super::network::{Network, Settings};
use super::snapshot::Snapshot;

/// Snapshots in order of time, each completed with what earlier ones say and it does not cover.
pub struct History {
    settings: Settings,
    moments: Vec<Moment>,
    /// What is known where there is no snapshot at all.
    nothing: OnceLock<Arc<Network>>,
}

struct Moment {
    at: DateTime<Utc>,
    resources: Arc<Resources>,
    /// What this snapshot and earlier ones say all about.
    coverage: Arc<BTreeSet<Coverage>>,
    /// Built when it is first asked for: a long history costs little until it is used.
    network: OnceLock<Arc<Network>>,
}

impl History {
    /// A history of snapshots in any order.
    ///
    /// A kind of resource of an account and region that a snapshot covers replaces what was known of it; everything else
    /// stays, so that importing one account, or only the subnets, forgets nothing.
    pub fn new(mut snapshots: Vec<Snapshot>, settings: Settings) -> Self {
        snapshots.sort_by_key(|snapshot| snapshot.at);
        let mut moments: Vec<Moment> = Vec::new();
        for snapshot in snapshots {
            let resources = match moments.last() {
                Some(earlier) => snapshot
                    .resources
                    .over(&earlier.resources, &snapshot.coverage),
                None => snapshot.resources,
            };
            let earlier = moments.last().map(|earlier| earlier.coverage.iter());
            let coverage = earlier
                .into_iter()
                .flatten()
                .chain(&snapshot.coverage)
                .cloned()
                .collect();
            let moment = Moment {
                at: snapshot.at,
                resources: Arc::new(resources),
                coverage: Arc::new(coverage),
                network: OnceLock::new(),
            };
            // Imports for the same moment add up to one.
            match moments.last_mut().filter(|last| last.at == moment.at) {
                Some(last) => *last = moment,
                None => moments.push(moment),
            }
        }
        Self {
            settings,
            moments,
            nothing: OnceLock::new(),
        }
    }

    /// True if there is no snapshot.
    pub fn is_empty(&self) -> bool {
        self.moments.is_empty()
    }

    /// The times of the snapshots, in order.
    pub fn times(&self) -> impl ExactSizeIterator<Item = DateTime<Utc>> + '_ {
        self.moments.iter().map(|moment| moment.at)
    }

    /// The network as of a time: the latest snapshot at or before it, else the earliest.
    pub fn at(&self, time: DateTime<Utc>) -> &Arc<Network> {
        let after = self.moments.partition_point(|moment| moment.at <= time);
        match self.moments.get(after.saturating_sub(1)) {
            Some(moment) => self.network(moment),
            None => self.nothing.get_or_init(|| {
                Arc::new(Network::new(
                    DateTime::UNIX_EPOCH,
                    Arc::default(),
                    self.settings.clone(),
                ))
            }),
        }
    }

    /// The network as last seen.
    pub fn latest(&self) -> &Arc<Network> {
        self.at(DateTime::<Utc>::MAX_UTC)
    }

    /// The networks, one for each time, in order.
    pub fn networks(&self) -> impl Iterator<Item = &Arc<Network>> {
        self.moments.iter().map(|moment| self.network(moment))
    }

    fn network<'h>(&self, moment: &'h Moment) -> &'h Arc<Network> {
        moment.network.get_or_init(|| {
            let network = Network::new(
                moment.at,
                Arc::clone(&moment.resources),
                self.settings.clone(),
            );
            Arc::new(network.with_coverage(Arc::clone(&moment.coverage)))
        })
    }
}

impl fmt::Debug for History {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("History")
            .field("times", &self.times().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
