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
        let begun = self.added.iter().map(|file| file.begun).min();
        if let Err(error) = land::refuse_old(&self.lake.inner.place, begun) {
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

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::batch::{ReadOptions, read_object};
    use crate::lake::care::read::Rows;
    use crate::lake::writer::DataWriter;
    use crate::lake::{Commit, LakeUri, ObjectRecord, Outcome, Verify};

    async fn lake_of(folder: &std::path::Path, objects: usize) -> Lake {
        let uri = LakeUri::parse(folder.to_str().unwrap()).unwrap();
        let lake = Lake::open_or_create(&uri).await.unwrap();
        for number in 0..objects {
            let key = format!("{number}.log");
            let log = format!("start bytes log-status\n1700000000 {number} OK\n");
            let mut append = lake.append().await.unwrap();
            let mut rows = lake.object_rows(append.batch(), 1 << 20);
            let mut batches = Vec::new();
            let read = read_object(log.as_bytes(), &ReadOptions::new(&key), &mut |batch| {
                batches.push(batch);
                ControlFlow::Continue(())
            });
            let decoded = read.unwrap();
            for batch in batches {
                rows.push(batch).await.unwrap();
            }
            let object = ObjectRecord {
                key,
                etag: "1".to_owned(),
                size: 1,
                rows: decoded.rows,
                bad_lines: 0,
                outcome: Outcome::Ingested,
                reason: None,
            };
            let written = append.write(object, rows, decoded.coverage, Vec::new());
            written.await.unwrap();
            let Commit::Done(_) = append.commit().await.unwrap() else {
                panic!("nobody else writes");
            };
        }
        lake
    }

    /// The same rows in a file of their own.
    async fn again(lake: &Lake, files: &[DataFile]) -> Vec<StagedFile> {
        let mut writer = DataWriter::compacting(lake.inner.place.clone(), 1 << 20);
        lake.copy(files, &mut writer).await.unwrap();
        writer.finish().await.unwrap()
    }

    fn compact() -> Purpose {
        Purpose::Compact { target_bytes: 1 }
    }

    #[tokio::test]
    async fn of_two_who_replace_the_same_file_one_lands_and_the_other_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let lake = lake_of(folder.path(), 3).await;
        let all = lake.snapshot().await.unwrap().files().to_vec();
        // They share a file, and no more.
        let first = Change::new(&lake, compact(), &all[..2], again(&lake, &all[..2]).await);
        let second = Change::new(&lake, compact(), &all[1..], again(&lake, &all[1..]).await);
        let what = "all of it".to_owned();
        let third = Change::new(&lake, Purpose::Expire { what }, &all, Vec::new());
        assert!(matches!(first.commit().await.unwrap(), Landed::In(4)));
        assert_eq!(second.commit().await.unwrap(), Landed::Overtaken);
        assert_eq!(third.commit().await.unwrap(), Landed::Overtaken);
        let verified = lake.verify(Verify::Deep).await.unwrap();
        assert_eq!(verified.problems, [""; 0]);
        assert_eq!(
            (verified.file_rows, verified.replaced, verified.orphans),
            (3, 2, 0)
        );
    }

    #[tokio::test]
    async fn what_has_landed_is_known_to_have_landed() {
        let folder = tempfile::tempdir().unwrap();
        let lake = lake_of(folder.path(), 2).await;
        let all = lake.snapshot().await.unwrap().files().to_vec();
        let change = Change::new(&lake, compact(), &all, again(&lake, &all).await);
        let landed = change.try_to_land().await.unwrap();
        assert_eq!(landed, Landed::In(3));
        // Its answer got lost, and others went on.
        let new = lake.snapshot().await.unwrap().files().to_vec();
        let next = Change::new(&lake, compact(), &new, again(&lake, &new).await);
        assert_eq!(next.commit().await.unwrap(), Landed::In(4));
        assert_eq!(change.try_to_land().await.unwrap(), landed);
        let snapshot = lake.snapshot().await.unwrap();
        let mut rows = Rows::open(&lake.inner.place, &snapshot.files()[0])
            .await
            .unwrap();
        assert_eq!(rows.next().await.unwrap().unwrap()[0].num_rows(), 2);
    }
}
