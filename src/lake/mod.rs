//! The lake: a Delta table of flows, our own Parquet writer, and the record of which objects are in.
//!
//! The lake's root is the root of one Delta table, `flows`, so that others read it without us. What is not rows lies beside it,
//! under a name that Delta ignores:
//!
//! ```text
//! _delta_log/                            the table's log
//! date=2026-11-23/part-….zstd.parquet    rows
//! _flowscout/batches/{batch}-{attempt}/  objects, coverage and bad lines of a batch
//! _flowscout/ledger/{batch}-{attempt}    which attempt won
//! _flowscout/bundles/{first}-{last}-…/   the same of many batches, put together later
//! _flowscout/bundled/{number}.json       which bundles there are
//! _flowscout/topology/{time}-{hash}      snapshots of the network
//! ```
//!
//! What happens to the files later: [`Lake::compact`], [`Lake::expire`], [`Lake::vacuum`], [`Lake::verify`].
//!
//! Every object contributes all its rows exactly once or none: how, [`Append`] and its neighbours say.
//!
//! ```
//! use flowscout::batch::{ReadOptions, read_object};
//! use flowscout::lake::{Commit, Lake, LakeUri, ObjectRecord, Outcome};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let uri = folder.path().join("lake").display().to_string();
//! let log = "version srcaddr bytes start log-status\n2 10.0.0.1 42 1700000000 OK\n";
//! let runtime = tokio::runtime::Runtime::new()?;
//! runtime.block_on(async {
//!     let lake = Lake::open_or_create(&LakeUri::parse(&uri)?).await?;
//!     let mut append = lake.append().await?;
//!     assert!(!append.is_in("a.log", "1"));
//!
//!     let mut batches = Vec::new();
//!     let decoded = read_object(log.as_bytes(), &ReadOptions::new("a.log"), &mut |batch| {
//!         batches.push(batch);
//!         std::ops::ControlFlow::Continue(())
//!     })?;
//!     let mut rows = lake.object_rows(append.batch(), 64 << 20);
//!     for batch in batches {
//!         rows.push(batch).await?;
//!     }
//!     let object = ObjectRecord {
//!         key: "a.log".to_owned(),
//!         etag: "1".to_owned(),
//!         size: log.len() as u64,
//!         rows: decoded.rows,
//!         bad_lines: decoded.bad_lines,
//!         outcome: Outcome::Ingested,
//!         reason: None,
//!     };
//!     append.write(object, rows, decoded.coverage, decoded.samples).await?;
//!     let Commit::Done(committed) = append.commit().await? else { panic!("nobody else writes") };
//!     assert_eq!((committed.batch, committed.rows), (1, 1));
//!     assert_eq!(lake.snapshot().await?.files()[0].rows, 1);
//!     assert!(lake.append().await?.is_in("a.log", "1"));
//!     Ok(())
//! })
//! # }
//! ```

mod append;
mod bundle;
mod care;
mod columns;
mod durable;
mod encode;
mod error;
mod info;
mod known;
mod land;
mod parquet;
mod place;
mod probe;
mod progress;
mod rows;
mod runs;
mod s3;
mod side;
mod snapshot;
mod stats;
mod table;
mod topology;
mod uri;
mod writer;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

use deltalake_core::DeltaTable;
use futures::TryStreamExt;
use object_store::ObjectStore;
use tokio::sync::Mutex;
use url::Url;

use place::{Contents, Missing, Place};
use progress::{Batches, Progress, Told};
use side::Side;

use crate::source::S3Settings;

pub use append::{Append, Commit, Committed};
pub use care::{
    Compact, CompactGroup, Compacted, Deletions, Expire, Expired, Mode, Vacuum, Vacuumed, Verified,
    Verify,
};
pub use error::LakeError;
pub use info::LakeInfo;
pub use probe::{Creation, Probe};
pub use progress::{Outcome, Standing};
pub use rows::ObjectRows;
pub use runs::Runs;
pub use side::ObjectRecord;
pub(crate) use side::{bad_lines as bad_lines_batch, objects as objects_batch};
pub use snapshot::{Columns, DataFile, LakeSnapshot};
pub use stats::{ColumnStats, StatValue};
pub use topology::Put;
pub use uri::LakeUri;

/// Where we keep what is not rows.
const SIDE: &str = "_flowscout";

/// A lake; cheap to clone.
#[derive(Clone)]
pub struct Lake {
    inner: Arc<Inner>,
}

/// Whether the ledger has a batch that is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Published {
    Yes,
    No,
}

struct Inner {
    place: Place,
    table: Mutex<DeltaTable>,
    progress: RwLock<Progress>,
    snapshot: Mutex<Option<LakeSnapshot>>,
    /// The version up to which it is known whether a checkpoint is due.
    checkpoint_seen: AtomicU64,
}

impl fmt::Debug for Lake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Lake")
            .field("uri", &self.inner.place.uri)
            .finish_non_exhaustive()
    }
}

impl Lake {
    /// Opens a lake that is there.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub async fn open(uri: &LakeUri) -> Result<Self, LakeError> {
        Self::open_with(uri, &S3Settings::default()).await
    }

    /// Opens a lake that is there, with settings for S3 beside those of the environment.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub async fn open_with(uri: &LakeUri, settings: &S3Settings) -> Result<Self, LakeError> {
        let (place, contents) = Place::find(uri, Missing::Refuse, settings).await?;
        if contents != Contents::Table {
            return Err(LakeError::NoLake { uri: place.uri });
        }
        let table = Box::pin(table::open(&place)).await?;
        Ok(Self::new(place, table))
    }

    /// Opens a lake to write to it, and creates it if nothing is there.
    ///
    /// # Errors
    /// It cannot be written to, or something else is there.
    pub async fn open_or_create(uri: &LakeUri) -> Result<Self, LakeError> {
        Self::open_or_create_with(uri, &S3Settings::default()).await
    }

    /// Opens a lake to write to it, and creates it if nothing is there, with settings for S3 beside those of the environment.
    ///
    /// # Errors
    /// It cannot be written to, or something else is there.
    pub async fn open_or_create_with(
        uri: &LakeUri,
        settings: &S3Settings,
    ) -> Result<Self, LakeError> {
        let (place, contents) = Place::find(uri, Missing::Create, settings).await?;
        if let Contents::Other(entry) = contents {
            return Err(LakeError::Occupied {
                uri: place.uri,
                entry,
            });
        }
        let existing = match contents {
            Contents::Table => Some(Box::pin(table::open(&place)).await?),
            _ => None,
        };
        place.refuse_unsafe().await?;
        let table = match existing {
            Some(table) => Box::pin(columns::add_missing(&place, table)).await?,
            None => Box::pin(table::create(&place)).await?,
        };
        Ok(Self::new(place, table))
    }

    /// Opens a lake that is there to take care of it: it is brought up to date, and its store has to keep two writers apart.
    ///
    /// # Errors
    /// There is none, or it cannot be written to.
    pub async fn open_for_care(uri: &LakeUri, settings: &S3Settings) -> Result<Self, LakeError> {
        let (place, contents) = Place::find(uri, Missing::Refuse, settings).await?;
        if contents != Contents::Table {
            return Err(LakeError::NoLake { uri: place.uri });
        }
        let table = Box::pin(table::open(&place)).await?;
        place.refuse_unsafe().await?;
        let table = Box::pin(columns::add_missing(&place, table)).await?;
        Ok(Self::new(place, table))
    }

    fn new(place: Place, table: DeltaTable) -> Self {
        let inner = Inner {
            place,
            checkpoint_seen: AtomicU64::new(table.version().unwrap_or_default()),
            table: Mutex::new(table),
            progress: RwLock::default(),
            snapshot: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The place, as it was written.
    pub fn uri(&self) -> &str {
        &self.inner.place.uri
    }

    /// The store that the lake is in: its folder, or the whole bucket.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.inner.place.store)
    }

    /// The URL of [`store`](Self::store), for registries of object stores.
    pub fn store_url(&self) -> Url {
        self.inner.place.store_url.clone()
    }

    /// The latest version, pinned.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn snapshot(&self) -> Result<LakeSnapshot, LakeError> {
        let table = self.table().await?;
        let mut last = self.inner.snapshot.lock().await;
        let version = table
            .version()
            .and_then(|version| i64::try_from(version).ok());
        if let Some(snapshot) = last
            .as_ref()
            .filter(|snapshot| Some(snapshot.version()) == version)
        {
            return Ok(snapshot.clone());
        }
        let known = last.as_ref().and_then(LakeSnapshot::batches).cloned();
        let place = &self.inner.place;
        let told = progress::batches(place, &table, known.unwrap_or_default()).await?;
        let snapshot = LakeSnapshot::read(place, table, Some(told.batches)).await?;
        *last = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// The version that was the latest when the lake was last looked at, pinned: for who has just opened it.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn snapshot_as_opened(&self) -> Result<LakeSnapshot, LakeError> {
        let table = self.inner.table.lock().await.clone();
        LakeSnapshot::read(&self.inner.place, table, None).await
    }

    /// Starts a batch, on top of all that is in by now.
    ///
    /// # Errors
    /// The lake cannot be read, or a batch that another writer left unpublished cannot be published.
    pub async fn append(&self) -> Result<Append, LakeError> {
        self.catch_up().await?;
        Ok(Append::new(self.clone(), self.inner.through() + 1))
    }

    /// Room for the rows of one object: in memory up to `limit` bytes, then in files of its own.
    pub fn object_rows(&self, batch: i64, limit: usize) -> ObjectRows {
        ObjectRows::new(self.inner.place.clone(), batch, limit)
    }

    /// What was known of an object when the last batch was started.
    pub fn standing(&self, key: &str, etag: &str) -> Standing {
        self.inner.progress().known.standing(key, etag)
    }

    /// Whether an object of a source is a part of this very lake, which may lie among the logs.
    pub fn holds(&self, key: &str) -> bool {
        self.inner.place.holds(key)
    }

    /// The table at its latest version.
    async fn table(&self) -> Result<DeltaTable, LakeError> {
        let mut table = self.inner.table.lock().await;
        table
            .update_incremental(None)
            .await
            .map_err(table::failed(&self.inner.place, "read"))?;
        Ok(table.clone())
    }

    /// Refuses a log that ends before what the ledger has as committed: its end was deleted or put back, and to go on would
    /// ingest those objects again.
    async fn refuse_lost_commits(&self, told: &Told) -> Result<(), LakeError> {
        if told.published <= told.batches.last() {
            return Ok(());
        }
        // Unless it was committed since the table was read.
        let place = &self.inner.place;
        let reloaded = Box::pin(table::open(place)).await?;
        let last = table::last_batch(&reloaded)
            .await
            .map_err(table::failed(place, "read"))?;
        if last >= told.published {
            return Ok(());
        }
        let published = told.published;
        Err(LakeError::Damaged {
            uri: place.uri.clone(),
            what: format!("batch {published} was committed, and its log ends with batch {last}"),
        })
    }

    /// Learns of the batches that others have committed, and publishes what they left unpublished.
    async fn catch_up(&self) -> Result<(), LakeError> {
        let place = &self.inner.place;
        let table = self.table().await?;
        let last = table::last_batch(&table).await;
        let last = last.map_err(table::failed(place, "read"))?;
        let through = self.inner.through();
        if through > 0 && last <= through {
            return Ok(());
        }
        let told = progress::batches(place, &table, Batches::behind(through)).await?;
        self.refuse_lost_commits(&told).await?;
        for attempt in &told.unpublished {
            tracing::info!(
                attempt,
                "publishing a batch that its writer committed and did not publish"
            );
            progress::publish(place, attempt).await?;
        }
        let columns = Some(progress::COLUMNS);
        let folders = told.batches.folders();
        let mut files = side::open_each(place, folders, Side::Objects, columns);
        while let Some(file) = files.try_next().await? {
            for objects in file {
                self.inner.progress_mut().note_all(&objects?);
            }
        }
        let mut progress = self.inner.progress_mut();
        // A batch of our own may have come in meanwhile.
        progress.through = progress.through.max(told.batches.last());
        Ok(())
    }
}

impl Inner {
    fn progress(&self) -> std::sync::RwLockReadGuard<'_, Progress> {
        // Each change of it is complete in itself.
        self.progress.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress_mut(&self) -> std::sync::RwLockWriteGuard<'_, Progress> {
        self.progress
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn through(&self) -> i64 {
        self.progress().through
    }

    /// Remembers a batch of our own, which need not be read back if it is published.
    fn note(&self, batch: i64, published: Published, objects: &[ObjectRecord]) {
        let mut progress = self.progress_mut();
        for object in objects {
            progress
                .known
                .note(&object.key, &object.etag, object.outcome);
        }
        if published == Published::Yes && progress.through + 1 == batch {
            progress.through = batch;
        }
    }
}
