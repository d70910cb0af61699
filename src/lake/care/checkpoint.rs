//! Checkpoints of the log, and its clean-up: not on the way of a commit, unless nobody else cares.
//!
//! Without a checkpoint, who opens a lake reads every commit there ever was. `compact`, `expire` and `vacuum` write one when some commits
//! have come since the last, and `vacuum` deletes the log's entries that are older than 30 days and behind one. An ingest writes one only
//! if that has not happened for a hundred commits.

use std::sync::atomic::Ordering;

use deltalake_core::{DeltaTable, checkpoints};
use serde_json::Value;

use crate::lake::{Lake, LakeError, table};

/// Commits since the last checkpoint for which care writes another.
const DUE: u64 = 10;

/// Commits since the last checkpoint for which an ingest does.
const OVERDUE: u64 = 100;

/// How many commits an ingest lets pass before it looks when the last checkpoint was: a request each time.
const LOOK_EVERY: u64 = 50;

/// Writes a checkpoint of the latest version if some commits have come since the last, and says of which.
pub(super) async fn write_if_due(lake: &Lake) -> Result<Option<u64>, LakeError> {
    let latest = lake.table().await?;
    let version = latest.version().unwrap_or_default();
    if version.saturating_sub(last(lake).await?) < DUE {
        return Ok(None);
    }
    write(lake, latest).await?;
    Ok(Some(version))
}

/// For who has just committed: a checkpoint if there has been none for long. That it fails is no harm.
pub(in crate::lake) async fn checkpoint_if_overdue(lake: &Lake, version: u64) {
    let seen = lake.inner.checkpoint_seen.swap(version, Ordering::Relaxed);
    // Also if this process commits once and ends: somebody is the one who passes the mark.
    if seen / LOOK_EVERY == version / LOOK_EVERY {
        return;
    }
    let written = async {
        if version.saturating_sub(last(lake).await?) < OVERDUE {
            return Ok(());
        }
        write(lake, lake.table().await?).await
    };
    if let Err(error) = written.await {
        tracing::warn!(version, %error, "cannot write a checkpoint: `flowscout lake compact` tries again");
    }
}

/// The version of the last checkpoint; 0 before the first.
async fn last(lake: &Lake) -> Result<u64, LakeError> {
    let hint = lake.inner.place.read("_delta_log/_last_checkpoint").await?;
    let hint = hint.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    Ok(hint
        .and_then(|hint| hint.get("version")?.as_u64())
        .unwrap_or(0))
}

async fn write(lake: &Lake, table: DeltaTable) -> Result<(), LakeError> {
    let place = lake.inner.place.clone();
    let runtime = tokio::runtime::Handle::current();
    // The kernel does its work where it is called, and waits for the store there.
    let work = tokio::task::spawn_blocking(move || {
        runtime.block_on(checkpoints::create_checkpoint(&table, None))
    });
    let written = work.await.map_err(|source| LakeError::GivenUp {
        uri: place.uri.clone(),
        source,
    })?;
    written.map_err(table::failed(&place, "write a checkpoint of"))
}

/// Deletes the entries of the log that are older than its property says and behind a checkpoint, and says how many.
pub(super) async fn clean_log(lake: &Lake) -> Result<u64, LakeError> {
    let latest = lake.table().await?;
    let cleaned = checkpoints::cleanup_metadata(&latest, None).await;
    cleaned
        .map(|entries| entries as u64)
        .map_err(table::failed(&lake.inner.place, "clean the log of"))
}
