//! Deletes what no version needs that somebody may still read, and what no commit to come can need.
//!
//! | What | Kept while |
//! |---|---|
//! | data files of the latest version | always |
//! | files that were replaced or have expired | it is no longer ago than `retain` |
//! | data files that no commit has | they are younger than `retain` |
//! | side data of attempts that are not in | it is younger than `retain` |
//! | side data and ledger of batches in bundles, and bundles that were replaced | that they are is no longer ago than `retain` |
//! | half-written files in a folder, probes | they are younger than `retain` |
//!
//! First it lists, then it reads the log: what was committed before that is known, and what is older than `retain` is not committed
//! later, since no writer commits what it began more than 20 hours ago. Uploads in parts that were never completed show in no listing: a
//! bucket wants a lifecycle rule for those.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use deltalake_core::table::config::TablePropertiesExt;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use object_store::path::Path;

use super::contents::{self, Found, Staging};
use super::{Mode, checkpoint};
use crate::lake::place::Place;
use crate::lake::progress::{self, Batches};
use crate::lake::snapshot::LakeSnapshot;
use crate::lake::{Lake, LakeError, SIDE, bundle, land, table};

/// What is to be deleted.
#[derive(Debug, Clone)]
pub struct Vacuum {
    /// How long files stay that nobody needs.
    pub retain: Duration,
    /// Whether to delete also what is younger than any commit may take.
    pub force: bool,
    /// Whether anything is done.
    pub mode: Mode,
}

impl Vacuum {
    /// A week: longer than any query, and long enough to notice that something was replaced which should not have been.
    pub const RETAIN: Duration = Duration::from_secs(7 * 24 * 3600);
}

/// Files of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deletions {
    /// Where they are, in order.
    pub paths: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
}

impl Deletions {
    fn push(&mut self, path: String, bytes: u64) {
        self.paths.push(path);
        self.bytes += bytes;
    }
}

/// What was deleted, or would be.
#[derive(Debug, Clone, Default)]
pub struct Vacuumed {
    /// Data files that were replaced or have expired.
    pub replaced: Deletions,
    /// Data files that no commit has.
    pub orphans: Deletions,
    /// Objects, coverage and bad lines of attempts that are not in, and what killed probes left.
    pub side: Deletions,
    /// Side data of batches that lies in bundles too, their entries in the ledger, and bundles that were replaced.
    pub bundled: Deletions,
    /// Half-written files of a folder.
    pub staging: Deletions,
    /// The version of the checkpoint that was written, if one was due.
    pub checkpoint: Option<u64>,
    /// Entries of the log behind it that were deleted.
    pub log_entries: u64,
}

impl Lake {
    /// Deletes files that nobody needs any more, and the log's entries behind a checkpoint that are older than 30 days.
    ///
    /// # Errors
    /// Younger files would be deleted than is safe, or the lake cannot be read, or a file not be deleted.
    pub async fn vacuum(&self, vacuum: &Vacuum) -> Result<Vacuumed, LakeError> {
        let place = &self.inner.place;
        let cutoff = self.cutoff(vacuum).await?;
        let (data, probes) =
            futures::try_join!(contents::data_files(place), contents::probes(place))?;
        let side = SideData::list(place, cutoff).await?;
        // Publishes what a killed writer left, so that the log's entries are not needed to know who won.
        self.catch_up().await?;
        let snapshot = self.snapshot().await?;
        let mut plan = Vacuumed::default();
        let mut doomed = self.doomed_data(&snapshot, data, cutoff, &mut plan).await?;
        let batches = self.batches_now().await?;
        doomed.extend(side.doomed(place, &batches, cutoff, &mut plan));
        for found in probes.into_iter().filter(|found| found.modified < cutoff) {
            plan.side.push(place.inside(&found.location), found.size);
            doomed.push(found.location);
        }
        let staging = self.staging(cutoff).await?;
        for file in &staging {
            plan.staging
                .push(file.path.display().to_string(), file.size);
        }
        if vacuum.mode == Mode::Apply {
            self.delete(doomed, staging).await?;
            plan.checkpoint = checkpoint::write_if_due(self).await?;
            plan.log_entries = checkpoint::clean_log(self).await?;
        }
        Ok(plan)
    }

    /// The time before which files are deleted.
    async fn cutoff(&self, vacuum: &Vacuum) -> Result<DateTime<Utc>, LakeError> {
        let refuse = |why: String| LakeError::Retention {
            uri: self.inner.place.uri.clone(),
            retain: humantime::format_duration(vacuum.retain).to_string(),
            why,
        };
        if vacuum.retain < land::MIN_RETENTION && !vacuum.force {
            return Err(refuse(format!(
                "expected at least {} hours, for a commit that is under way may need them, and so may whoever reads an older version",
                land::MIN_RETENTION.as_secs() / 3600
            )));
        }
        let latest = self.table().await?;
        let known = latest
            .snapshot()
            .map_err(table::failed(&self.inner.place, "read"))?
            .table_config();
        let known = known.deleted_file_retention_duration();
        if vacuum.retain > known && !vacuum.force {
            return Err(refuse(format!(
                "expected at most {} days, after which the log forgets when a file was replaced",
                known.as_secs() / (24 * 3600)
            )));
        }
        let retain = TimeDelta::from_std(vacuum.retain).unwrap_or(TimeDelta::MAX);
        Ok(Utc::now()
            .checked_sub_signed(retain)
            .unwrap_or(DateTime::<Utc>::MIN_UTC))
    }

    async fn doomed_data(
        &self,
        snapshot: &LakeSnapshot,
        data: Vec<Found>,
        cutoff: DateTime<Utc>,
        plan: &mut Vacuumed,
    ) -> Result<Vec<Path>, LakeError> {
        let place = &self.inner.place;
        let active: HashSet<&Path> = snapshot.files().iter().map(|file| &file.location).collect();
        let replaced = replaced(self, snapshot).await?;
        let mut doomed = Vec::new();
        for found in data {
            if active.contains(&found.location) {
                continue;
            }
            let of_kind = match replaced.get(&found.location) {
                Some(at) if *at < cutoff => &mut plan.replaced,
                None if found.modified < cutoff => &mut plan.orphans,
                _ => continue,
            };
            of_kind.push(place.inside(&found.location), found.size);
            doomed.push(found.location);
        }
        Ok(doomed)
    }

    async fn staging(&self, before: DateTime<Utc>) -> Result<Vec<Staging>, LakeError> {
        let Some(folder) = self.inner.place.folder_path() else {
            return Ok(Vec::new());
        };
        let path = folder.display().to_string();
        let found = tokio::task::spawn_blocking(move || contents::staging(&folder, before)).await;
        let found = found.map_err(|source| LakeError::GivenUp {
            uri: self.inner.place.uri.clone(),
            source,
        })?;
        found.map_err(|source| LakeError::Folder {
            doing: "open",
            path,
            source,
        })
    }

    async fn delete(&self, doomed: Vec<Path>, staging: Vec<Staging>) -> Result<(), LakeError> {
        let place = &self.inner.place;
        let folders = self.emptied(&doomed);
        let locations = stream::iter(doomed).map(Ok).boxed();
        let mut deleted = place.store.delete_stream(locations);
        while let Some(result) = deleted.next().await {
            match result {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(place.failed("delete from", &place.root)(error)),
            }
        }
        for file in staging {
            match tokio::fs::remove_file(&file.path).await {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(LakeError::Folder {
                        doing: "delete from",
                        path: file.path.display().to_string(),
                        source,
                    });
                }
            }
        }
        for folder in folders {
            // One that is not empty stays, as it should.
            tokio::fs::remove_dir(folder).await.ok();
        }
        Ok(())
    }

    /// Folders of side data that may be empty when these are deleted: a bucket has none.
    fn emptied(&self, doomed: &[Path]) -> HashSet<PathBuf> {
        let place = &self.inner.place;
        let Some(root) = place.folder_path() else {
            return HashSet::new();
        };
        let of_side = doomed
            .iter()
            .map(|location| place.inside(location))
            .filter(|path| path.starts_with(SIDE) && path.ends_with(".parquet"));
        of_side
            .filter_map(|path| Some(root.join(path).parent()?.to_owned()))
            .collect()
    }
}

/// What lies beside the table, as it was listed before the log was read.
struct SideData {
    batches: Vec<Found>,
    ledger: Vec<Found>,
    bundles: Vec<Found>,
    lists: Vec<Found>,
    /// Batches up to this one lie in bundles since before the cutoff: nobody reads them elsewhere any more.
    settled: i64,
    /// The number of the list that says so; those before it are not read any more.
    settled_by: i64,
    /// Names of bundles in that list or a later one.
    in_use: HashSet<String>,
}

impl SideData {
    async fn list(place: &Place, cutoff: DateTime<Utc>) -> Result<Self, LakeError> {
        let (batches, ledger, bundles, lists) = futures::try_join!(
            contents::side(place, "batches", ""),
            contents::side(place, "ledger", ""),
            contents::side(place, bundle::BUNDLES, ""),
            contents::side(place, bundle::BUNDLED, ""),
        )?;
        let mut side = Self {
            batches,
            ledger,
            bundles,
            lists,
            settled: 0,
            settled_by: 0,
            in_use: HashSet::new(),
        };
        let old = side.lists.iter().filter(|found| found.modified < cutoff);
        side.settled_by = old.filter_map(number).max().unwrap_or(0);
        let numbers: Vec<i64> = side.lists.iter().filter_map(number).collect();
        for number in numbers {
            if number < side.settled_by {
                continue;
            }
            let Some(list) = bundle::read(place, number).await? else {
                continue;
            };
            if number == side.settled_by {
                side.settled = list.last();
            }
            side.in_use
                .extend(list.list.into_iter().map(|bundle| bundle.name));
        }
        Ok(side)
    }

    /// What of it is deleted, where these batches are in.
    fn doomed(
        self,
        place: &Place,
        in_table: &Batches,
        cutoff: DateTime<Utc>,
        plan: &mut Vacuumed,
    ) -> Vec<Path> {
        let won: HashSet<&str> = in_table.attempts.values().map(String::as_str).collect();
        let bundled = in_table.bundles.last();
        let mut doomed = Vec::new();
        let mut doom = |found: Found, of_kind: &mut Deletions| {
            of_kind.push(place.inside(&found.location), found.size);
            doomed.push(found.location);
        };
        for found in self.batches {
            let attempt = folder_name(&found).unwrap_or_default();
            let batch = progress::batch_of(&attempt);
            if batch.is_some_and(|batch| batch <= self.settled) {
                doom(found, &mut plan.bundled);
            } else if batch.is_none_or(|batch| batch > bundled)
                && !won.contains(attempt.as_str())
                && found.modified < cutoff
            {
                doom(found, &mut plan.side);
            }
        }
        for found in self.ledger {
            let batch = found.location.filename().and_then(progress::batch_of);
            if batch.is_some_and(|batch| batch <= self.settled) {
                doom(found, &mut plan.bundled);
            }
        }
        for found in self.bundles {
            let is_in_use = folder_name(&found).is_some_and(|name| self.in_use.contains(&name));
            if !is_in_use && found.modified < cutoff {
                doom(found, &mut plan.bundled);
            }
        }
        for found in self.lists {
            if number(&found).is_some_and(|number| number < self.settled_by) {
                doom(found, &mut plan.bundled);
            }
        }
        doomed
    }
}

/// The number of a list of bundles.
fn number(found: &Found) -> Option<i64> {
    bundle::number_of(found.location.filename()?)
}

/// The name of the folder that something lies in.
pub(super) fn folder_name(found: &Found) -> Option<String> {
    let name = found.location.parts().rev().nth(1);
    name.map(|name| name.as_ref().to_owned())
}

/// When files were taken out of the table, as far as the log remembers.
pub(super) async fn replaced(
    lake: &Lake,
    snapshot: &LakeSnapshot,
) -> Result<HashMap<Path, DateTime<Utc>>, LakeError> {
    let place = &lake.inner.place;
    let table = snapshot.table();
    let failed = || table::failed(place, "read");
    let log = table.log_store();
    let state = table.snapshot().map_err(failed())?;
    let tombstones = state.all_tombstones(log.as_ref());
    tombstones
        .map_ok(|tombstone| {
            let at = tombstone.deletion_timestamp().unwrap_or_default();
            let at = DateTime::from_timestamp_millis(at).unwrap_or_default();
            (place.path(&tombstone.path()), at)
        })
        .try_collect()
        .await
        .map_err(failed())
}
