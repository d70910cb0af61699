//! One batch: the rows of some objects, and that they are in, in one commit.
//!
//! However a commit fails, it may have landed: the store retries, connections break after the request was heard. So each error
//! is answered by looking at the log:
//!
//! | the log says | then |
//! |---|---|
//! | our attempt has the batch | it landed |
//! | another attempt has the batch | take the next number, unless some of our objects are in by now: then redo without them |
//! | nobody has the batch | somebody else's commit came between, a compaction for example: the same again |

use std::collections::HashSet;
use std::fmt;

use arrow::array::RecordBatch;
use chrono::Utc;
use futures::FutureExt;
use uuid::Uuid;

use super::progress::{self, Outcome, Standing};
use super::rows::ObjectRows;
use super::side::{self, ObjectRecord, Side};
use super::writer::{DataWriter, StagedFile};
use super::{Lake, LakeError, Published, care, land, table};
use crate::decode::BadLine;

/// A batch being put together. To be committed or aborted: one that is dropped leaves files that nothing refers to.
pub struct Append {
    batch: Batch,
    writer: DataWriter,
}

/// What is to be committed.
struct Batch {
    lake: Lake,
    number: i64,
    /// Tells this attempt at the batch from all others.
    attempt: String,
    staged: Vec<StagedFile>,
    objects: Vec<ObjectRecord>,
    keys: HashSet<String>,
    rows: u64,
    coverage: Vec<RecordBatch>,
    coverage_bytes: usize,
    samples: Vec<(String, BadLine)>,
}

/// A batch that is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its number.
    pub batch: i64,
    /// The table's version with it.
    pub version: i64,
    /// How many objects it tells about.
    pub objects: u64,
    /// Rows added.
    pub rows: u64,
    /// Data files added.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How a commit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Commit {
    /// The batch is in.
    Done(Committed),
    /// Another writer has ingested some of the same objects meanwhile. Nothing of the batch is in, and its files are deleted: ask
    /// [`Lake::append`] for a new one and redo those objects whose standing is still [`Standing::New`].
    Overtaken,
}

impl fmt::Debug for Append {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (objects, rows) = (self.objects(), self.rows());
        formatter
            .debug_struct("Append")
            .field("attempt", &self.batch.name())
            .field("objects", &objects)
            .field("rows", &rows)
            .finish_non_exhaustive()
    }
}

impl Append {
    pub(super) fn new(lake: Lake, number: i64) -> Self {
        let writer = DataWriter::new(lake.inner.place.clone(), number);
        let batch = Batch {
            lake,
            number,
            attempt: Uuid::new_v4().simple().to_string(),
            staged: Vec::new(),
            objects: Vec::new(),
            keys: HashSet::new(),
            rows: 0,
            coverage: Vec::new(),
            coverage_bytes: 0,
            samples: Vec::new(),
        };
        Self { batch, writer }
    }

    /// The batch's number, unless another writer takes it first.
    pub fn batch(&self) -> i64 {
        self.batch.number
    }

    /// What the lake knows of an object. It does not see this batch's own.
    pub fn standing(&self, key: &str, etag: &str) -> Standing {
        self.batch.lake.standing(key, etag)
    }

    /// Whether there is nothing to be read: the object has been looked at, or its key's rows are in.
    pub fn is_in(&self, key: &str, etag: &str) -> bool {
        self.standing(key, etag) != Standing::New
    }

    /// Objects so far, whatever became of them.
    pub fn objects(&self) -> usize {
        self.batch.objects.len()
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.batch.rows
    }

    /// Memory that is held until the commit, beside the rows.
    pub fn held_bytes(&self) -> usize {
        self.batch.coverage_bytes
    }

    /// Adds an object that was read to its end, with all that it gave. If its key's rows are in by now, since another writer was
    /// faster, its own are discarded, and what stands against it is returned.
    ///
    /// # Errors
    /// The rows cannot be written; the batch is to be aborted.
    pub async fn write(
        &mut self,
        object: ObjectRecord,
        rows: ObjectRows,
        coverage: RecordBatch,
        samples: Vec<BadLine>,
    ) -> Result<Option<Standing>, LakeError> {
        let against = match self.standing(&object.key, &object.etag) {
            standing @ (Standing::Known(Outcome::Ingested) | Standing::Changed) => Some(standing),
            _ => self.claim(&object),
        };
        if against.is_some() {
            rows.discard().await;
            return Ok(against);
        }
        let (kept, mut spilled) = rows.into_parts().await?;
        let batch = &mut self.batch;
        batch.staged.append(&mut spilled);
        for rows in &kept {
            self.writer.write(rows).await?;
        }
        batch.rows += object.rows;
        batch.samples.extend(
            samples
                .into_iter()
                .map(|sample| (object.key.clone(), sample)),
        );
        if coverage.num_rows() > 0 {
            batch.coverage_bytes += coverage
                .columns()
                .iter()
                .map(|column| column.get_buffer_memory_size())
                .sum::<usize>();
            batch.coverage.push(coverage);
        }
        batch.objects.push(object);
        Ok(None)
    }

    /// Adds an object that gave nothing, with the reason; if it has been looked at by now, what stands against it is returned.
    pub fn note(&mut self, object: ObjectRecord) -> Option<Standing> {
        let against = match self.standing(&object.key, &object.etag) {
            Standing::New => self.claim(&object),
            standing => Some(standing),
        };
        if against.is_none() {
            self.batch.objects.push(object);
        }
        against
    }

    /// One batch has a key once.
    fn claim(&mut self, object: &ObjectRecord) -> Option<Standing> {
        let is_new = self.batch.keys.insert(object.key.clone());
        (!is_new).then_some(Standing::Known(object.outcome))
    }

    /// Deletes all that was written.
    pub async fn abort(self) {
        self.writer.abort().await;
        self.batch.delete().await;
    }

    /// Makes rows, coverage, bad lines and the record of the objects visible, all at once.
    ///
    /// # Errors
    /// Nothing is in, or, if it is the commit itself that got no answer, that is not known: the next one who looks will know.
    pub async fn commit(mut self) -> Result<Commit, LakeError> {
        match self.writer.finish().await {
            Ok(mut files) => self.batch.staged.append(&mut files),
            Err(error) => {
                self.abort().await;
                return Err(error);
            }
        }
        self.batch.commit().await
    }
}

impl Batch {
    async fn commit(mut self) -> Result<Commit, LakeError> {
        let begun = self.staged.iter().map(|file| file.begun).min();
        if let Err(error) = land::refuse_old(&self.lake.inner.place, begun) {
            self.delete().await;
            return Err(error);
        }
        loop {
            if let Err(error) = self.stage_side().await {
                self.delete().await;
                return Err(error);
            }
            // Files of an attempt whose outcome is not known stay: they may be in.
            if let Some(version) = self.land().await? {
                return Ok(Commit::Done(self.published(version).await));
            }
            self.delete_side().await;
            self.lake.catch_up().await?;
            if self.is_overtaken() {
                tracing::info!(
                    batch = self.number,
                    "another writer has ingested the same objects"
                );
                self.delete().await;
                return Ok(Commit::Overtaken);
            }
            self.number = self.lake.inner.through() + 1;
        }
    }

    /// Whether the rows of one of our objects are in by now.
    fn is_overtaken(&self) -> bool {
        let ours = self
            .objects
            .iter()
            .filter(|object| object.outcome == Outcome::Ingested);
        let mut standings = ours.map(|object| self.lake.standing(&object.key, &object.etag));
        standings.any(|standing| {
            matches!(
                standing,
                Standing::Known(Outcome::Ingested) | Standing::Changed
            )
        })
    }

    /// What the batch's files and its commit are known by.
    fn name(&self) -> String {
        format!("{}{}", progress::batch_prefix(self.number), self.attempt)
    }

    async fn stage_side(&self) -> Result<(), LakeError> {
        let name = self.name();
        let objects = [side::objects(&self.objects, &name, Utc::now())];
        let bad_lines = [side::bad_lines(&self.samples)];
        let folder = side::folder_of(&name);
        let place = &self.lake.inner.place;
        futures::try_join!(
            side::write(place, &folder, Side::Objects, &objects),
            side::write(place, &folder, Side::Coverage, &self.coverage),
            side::write(place, &folder, Side::BadLines, &bad_lines),
        )?;
        Ok(())
    }

    async fn delete_side(&self) {
        let folder = side::folder_of(&self.name());
        let files = Side::ALL.map(|side| side.path(&folder));
        self.lake.inner.place.delete_quietly(files.into()).await;
    }

    async fn delete(&self) {
        self.delete_side().await;
        let files = self.staged.iter().map(|file| file.path.clone()).collect();
        self.lake.inner.place.delete_quietly(files).await;
    }

    /// Commits; nothing if another attempt has the batch's number.
    async fn land(&self) -> Result<Option<u64>, LakeError> {
        land::until_known(|| self.try_to_land().boxed()).await
    }

    async fn try_to_land(&self) -> Result<Option<u64>, LakeError> {
        let place = &self.lake.inner.place;
        let latest = self.lake.table().await?;
        let last = table::last_batch(&latest)
            .await
            .map_err(table::failed(place, "read"))?;
        if last >= self.number {
            let won = progress::attempts(place, &latest, self.number - 1)
                .await?
                .won;
            let ours = won.get(&self.number).is_some_and(|won| *won == self.name());
            return Ok(ours.then(|| latest.version().unwrap_or_default()));
        }
        let actions = self.staged.iter().map(|file| file.add(true)).collect();
        let version = table::commit(&latest, self.number, &self.name(), actions).await;
        version.map(Some).map_err(table::failed(place, "commit to"))
    }

    async fn published(self, version: u64) -> Committed {
        let name = self.name();
        let published = progress::publish(&self.lake.inner.place, &name).await;
        if let Err(error) = &published {
            // It is in all the same, and the next writer publishes it before anything else.
            tracing::warn!(batch = self.number, %error, "cannot publish a batch that is committed");
        }
        let published = match published {
            Ok(()) => Published::Yes,
            Err(_) => Published::No,
        };
        self.lake.inner.note(self.number, published, &self.objects);
        care::checkpoint_if_overdue(&self.lake, version).await;
        Committed {
            batch: self.number,
            version: i64::try_from(version).unwrap_or(i64::MAX),
            objects: self.objects.len() as u64,
            rows: self.staged.iter().map(|file| file.rows).sum(),
            files: self.staged.len() as u64,
            bytes: self.staged.iter().map(|file| file.size).sum(),
        }
    }
}
