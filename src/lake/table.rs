//! The Delta table `flows`: how it is created, opened and committed to.
//!
//! `deltalake-core` is the log alone. Three of its habits are switched off, for each commit would pay for them: checkpoints,
//! clean-up of the log (a listing each), and retries that judge conflicts by themselves. A commit lands if the version that it
//! was prepared on is the latest, or not at all; what that means is [`super::append`]'s to find out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Once};

use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, StructField, Transaction};
use deltalake_core::logstore::{self, LogStore, LogStoreFactory, ObjectStoreRef, StorageConfig};
use deltalake_core::protocol::{DeltaOperation, OutputMode, SaveMode};
use deltalake_core::{DeltaResult, DeltaTable, DeltaTableBuilder, DeltaTableError};
use futures::FutureExt;
use serde_json::{Value, json};
use url::Url;

use super::place::{FOLDER_SCHEME, Place};
use super::{LakeError, land};
use crate::batch::flows_schema;

/// Who commits, in the log's transaction identifiers. One for all: a batch number is taken by whoever commits it first.
pub(super) const APPLICATION: &str = "flowscout";

/// Who commits what changes files and not objects: its transactions are counted, no more.
const CARE_APPLICATION: &str = "flowscout.care";

/// The transaction whose version is the number of all rows that have expired: it lands with the commit that removes them, and
/// stays when the log is cleaned up.
pub(super) const EXPIRED_ROWS: &str = "flowscout.expired_rows";

/// The key in a commit's metadata that names the batch and the attempt which won it.
const BATCH_KEY: &str = "flowscout.batch";

/// The key that names the attempt at a commit of care.
const CARE_KEY: &str = "flowscout.care";

/// The property by which a table is known to be ours, and the format of what lies beside it.
const FORMAT_KEY: &str = "flowscout.format";
const FORMAT: &str = "1";

/// The partition column.
pub(super) const PARTITION: &str = "date";

pub(super) const PROPERTIES: [(&str, &str); 5] = [
    (FORMAT_KEY, FORMAT),
    // Every column has statistics, ids and addresses above all; the default stops after 32.
    ("delta.dataSkippingNumIndexedCols", "-1"),
    ("delta.checkpointInterval", "100"),
    ("delta.logRetentionDuration", "interval 30 days"),
    // How long checkpoints keep in mind when a file was replaced: vacuum deletes by that, and cannot be told to keep them for longer.
    ("delta.deletedFileRetentionDuration", "interval 30 days"),
];

/// What properties were in lakes of an older flowscout.
pub(super) const FORMER_PROPERTIES: [(&str, &str); 1] =
    [("delta.deletedFileRetentionDuration", "interval 2 days")];

/// Delta chooses a log store by the URL's scheme. Ours are none that it knows: its S3 comes with a feature that would bring a
/// second client, and folders have a scheme of their own.
struct LogStores;

impl LogStoreFactory for LogStores {
    fn with_options(
        &self,
        prefixed: ObjectStoreRef,
        root: ObjectStoreRef,
        location: &Url,
        options: &StorageConfig,
    ) -> DeltaResult<Arc<dyn LogStore>> {
        Ok(logstore::default_logstore(
            prefixed, root, location, options,
        ))
    }
}

fn builder(place: &Place) -> DeltaResult<DeltaTableBuilder> {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| {
        for scheme in ["s3", FOLDER_SCHEME] {
            let scheme = Url::parse(&format!("{scheme}://")).expect("constants that are schemes");
            logstore::logstore_factories().insert(scheme, Arc::new(LogStores));
        }
    });
    Ok(DeltaTableBuilder::from_url(place.url.clone())?
        .with_storage_backend(Arc::clone(&place.store), place.url.clone()))
}

pub(super) fn failed(
    place: &Place,
    doing: &'static str,
) -> impl FnOnce(DeltaTableError) -> LakeError + use<> {
    let uri = place.uri.clone();
    move |error| LakeError::Table {
        doing,
        uri,
        error: Box::new(error),
    }
}

pub(super) async fn open(place: &Place) -> Result<DeltaTable, LakeError> {
    let opening = async { builder(place)?.load().await };
    let table = opening.await.map_err(failed(place, "open"))?;
    let state = table.snapshot().map_err(failed(place, "open"))?;
    match state.metadata().configuration().get(FORMAT_KEY) {
        Some(found) if found == FORMAT => Ok(table),
        Some(found) => Err(LakeError::Format {
            uri: place.uri.clone(),
            found: found.clone(),
            expected: FORMAT,
        }),
        None => Err(LakeError::Foreign {
            uri: place.uri.clone(),
        }),
    }
}

/// Creates the table; a try that was never answered may have done it.
pub(super) async fn create(place: &Place) -> Result<DeltaTable, LakeError> {
    land::until_known(|| try_to_create(place).boxed()).await
}

async fn try_to_create(place: &Place) -> Result<DeltaTable, LakeError> {
    let creating = async {
        let columns = flows_schema();
        let columns = columns
            .fields()
            .iter()
            .map(|field| field.as_ref().try_into_kernel());
        let columns = columns.collect::<Result<Vec<StructField>, _>>()?;
        builder(place)?
            .build()?
            .create()
            .with_columns(columns)
            .with_partition_columns([PARTITION])
            .with_configuration(PROPERTIES.map(|(key, value)| (key, Some(value))))
            // Ours is not one that Delta knows.
            .with_raise_if_key_not_exists(false)
            .with_save_mode(SaveMode::Ignore)
            .with_commit_properties(properties())
            .await
    };
    match creating.await {
        Ok(_) => open(place).await,
        // Somebody else may have been faster.
        Err(error) => open(place)
            .await
            .map_err(|_| failed(place, "create")(error)),
    }
}

/// Commits a batch on the version that `table` is at, and gives the new version.
///
/// # Errors
/// Whatever the error, the commit may have landed.
pub(super) async fn commit(
    table: &DeltaTable,
    batch: i64,
    attempt: &str,
    actions: Vec<Action>,
) -> DeltaResult<u64> {
    let metadata = [(BATCH_KEY.to_owned(), json!(attempt))];
    let properties = properties()
        .with_metadata(metadata)
        .with_application_transaction(Transaction::new(APPLICATION, batch));
    let operation = DeltaOperation::StreamingUpdate {
        output_mode: OutputMode::Append,
        query_id: APPLICATION.to_owned(),
        epoch_id: batch,
    };
    let commit = CommitBuilder::from(properties)
        .with_actions(actions)
        .build(Some(table.snapshot()?), table.log_store(), operation)
        .await?;
    Ok(commit.version())
}

/// Commits a change of files alone on the version that `table` is at, and gives the new version.
///
/// # Errors
/// Whatever the error, the commit may have landed.
pub(super) async fn commit_care(
    table: &DeltaTable,
    attempt: &str,
    expired_rows: Option<i64>,
    operation: DeltaOperation,
    actions: Vec<Action>,
) -> DeltaResult<u64> {
    let number = transaction(table, CARE_APPLICATION).await?.unwrap_or(0) + 1;
    let mut transactions = vec![Transaction::new(CARE_APPLICATION, number)];
    transactions.extend(expired_rows.map(|rows| Transaction::new(EXPIRED_ROWS, rows)));
    let properties = properties()
        .with_metadata([(CARE_KEY.to_owned(), json!(attempt))])
        .with_application_transactions(transactions);
    let commit = CommitBuilder::from(properties)
        .with_actions(actions)
        .build(Some(table.snapshot()?), table.log_store(), operation)
        .await?;
    Ok(commit.version())
}

pub(super) fn properties() -> CommitProperties {
    CommitProperties::default()
        .with_max_retries(0)
        .with_create_checkpoint(false)
        .with_cleanup_expired_logs(Some(false))
}

/// The number of the last batch that is in; 0 before the first.
pub(super) async fn last_batch(table: &DeltaTable) -> DeltaResult<i64> {
    Ok(transaction(table, APPLICATION).await?.unwrap_or(0))
}

/// How many rows have expired in all.
pub(super) async fn expired_rows(table: &DeltaTable) -> DeltaResult<i64> {
    Ok(transaction(table, EXPIRED_ROWS).await?.unwrap_or(0))
}

async fn transaction(table: &DeltaTable, application: &str) -> DeltaResult<Option<i64>> {
    table
        .snapshot()?
        .transaction_version(table.log_store().as_ref(), application)
        .await
}

/// Which attempts committed these batches, by the log itself, as far as it goes back.
pub(super) async fn attempts_in_log(
    table: &DeltaTable,
    mut batches: BTreeSet<i64>,
) -> DeltaResult<BTreeMap<i64, String>> {
    let log = table.log_store();
    let mut found = BTreeMap::new();
    for version in (0..=table.snapshot()?.version()).rev() {
        if batches.is_empty() {
            break;
        }
        let Some(commit) = log.read_commit_entry(version).await? else {
            break;
        };
        if let Some(attempt) = note_of_commit(&commit, BATCH_KEY)
            && let Some(batch) = super::progress::batch_of(&attempt)
            && batches.remove(&batch)
        {
            found.insert(batch, attempt);
        }
    }
    Ok(found)
}

/// The version behind `base` by which an attempt of care has landed, if it has.
pub(super) async fn landed_care(
    table: &DeltaTable,
    base: u64,
    attempt: &str,
) -> DeltaResult<Option<u64>> {
    let log = table.log_store();
    for version in base + 1..=table.snapshot()?.version() {
        let commit = log.read_commit_entry(version).await?;
        let commit = commit.ok_or_else(|| {
            DeltaTableError::generic(format!("version {version} is gone from the log"))
        })?;
        if note_of_commit(&commit, CARE_KEY).is_some_and(|found| found == attempt) {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

/// What a commit's metadata says under a key of ours.
fn note_of_commit(commit: &[u8], key: &str) -> Option<String> {
    let infos = commit
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let mut notes =
        infos.filter_map(|action| Some(action.get("commitInfo")?.get(key)?.as_str()?.to_owned()));
    notes.next()
}
