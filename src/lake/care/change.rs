//! A change of the table's files that leaves its objects alone: lands if every file that it takes out is still in, or not at all.
//!
//! Delta's own checker of conflicts would let two compactions of the same files both land, and every row be in twice. Here a change is
//! committed on the one version in which its files were looked for, and on no other.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use deltalake_core::DeltaTable;
use deltalake_core::kernel::Action;
use deltalake_core::protocol::DeltaOperation;
use futures::FutureExt;
use object_store::path::Path;
use uuid::Uuid;

use crate::lake::snapshot::DataFile;
use crate::lake::writer::StagedFile;
use crate::lake::{Lake, LakeError, land, table};

/// What a change is made for.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    /// The same rows in other files.
    Compact { target_bytes: u64 },
    /// Rows out, for good; which, in words.
    Expire { what: String },
}

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Landed {
    /// It is in, by this version.
    In(u64),
    /// Somebody else has changed one of the files. What was staged is deleted.
    Overtaken,
}

/// A change to be committed.
pub(super) struct Change<'l> {
    lake: &'l Lake,
    purpose: Purpose,
    removed: HashSet<Path>,
    removed_rows: u64,
    added: Vec<StagedFile>,
    /// Tells this change from all others.
    attempt: String,
    /// The version on which it was first tried: it is in none up to that.
    base: OnceLock<u64>,
}

impl<'l> Change<'l> {
    pub(super) fn new(
        lake: &'l Lake,
        purpose: Purpose,
        removed: &[DataFile],
        added: Vec<StagedFile>,
    ) -> Self {
        Self {
            lake,
            purpose,
            removed: removed.iter().map(|file| file.location.clone()).collect(),
            removed_rows: removed.iter().map(|file| file.rows).sum(),
            added,
            attempt: Uuid::new_v4().simple().to_string(),
            base: OnceLock::new(),
        }
    }

    /// # Errors
    /// It did not land, or, if it is the commit itself that got no answer, that is not known. Files stay then: they may be in.
    pub(super) async fn commit(self) -> Result<Landed, LakeError> {
        if let Err(error) = land::refuse_old(&self.lake.inner.place, &self.added) {
            self.delete().await;
            return Err(error);
        }
        let landed = land::until_known(|| self.try_to_land().boxed()).await?;
        if landed == Landed::Overtaken {
            self.delete().await;
        }
        Ok(landed)
    }

    async fn try_to_land(&self) -> Result<Landed, LakeError> {
        let place = &self.lake.inner.place;
        let latest = self.lake.table().await?;
        let version = latest.version().unwrap_or_default();
        let base = *self.base.get_or_init(|| version);
        let landed = table::landed_care(&latest, base, &self.attempt).await;
        if let Some(version) = landed.map_err(table::failed(place, "read"))? {
            return Ok(Landed::In(version));
        }
        let Some(mut actions) = self.removals(&latest)? else {
            return Ok(Landed::Overtaken);
        };
        actions.extend(self.added.iter().map(|file| file.add(false)));
        let expired = match &self.purpose {
            Purpose::Compact { .. } => None,
            Purpose::Expire { .. } => {
                let before = table::expired_rows(&latest).await;
                let before = before.map_err(table::failed(place, "read"))?;
                Some(before + i64::try_from(self.removed_rows).unwrap_or(i64::MAX))
            }
        };
        let operation = self.operation();
        let committed =
            table::commit_care(&latest, &self.attempt, expired, operation, actions).await;
        committed
            .map(Landed::In)
            .map_err(table::failed(place, "commit to"))
    }

    /// What takes the files out; nothing if one of them is not in any more.
    fn removals(&self, latest: &DeltaTable) -> Result<Option<Vec<Action>>, LakeError> {
        let place = &self.lake.inner.place;
        let state = latest.snapshot().map_err(table::failed(place, "read"))?;
        let is_change = matches!(self.purpose, Purpose::Expire { .. });
        let mut removals = HashMap::new();
        for file in state.log_data() {
            let location = place.path(&file.path());
            if self.removed.contains(&location) {
                removals.insert(location, Action::Remove(file.remove_action(is_change)));
            }
        }
        let all = removals.len() == self.removed.len();
        Ok(all.then(|| removals.into_values().collect()))
    }

    fn operation(&self) -> DeltaOperation {
        match &self.purpose {
            Purpose::Compact { target_bytes } => DeltaOperation::Optimize {
                predicate: None,
                target_size: i64::try_from(*target_bytes).unwrap_or(i64::MAX),
            },
            Purpose::Expire { what } => DeltaOperation::Delete {
                predicate: Some(what.clone()),
            },
        }
    }

    async fn delete(&self) {
        let files = self.added.iter().map(|file| file.path.clone()).collect();
        self.lake.inner.place.delete_quietly(files).await;
    }
}
