//! The rows of one object until it is known whether it can be read to its end: all of them go in, or none.

use std::fmt;

use arrow::array::RecordBatch;

use super::LakeError;
use super::place::Place;
use super::writer::{DataWriter, StagedFile, memory};

/// Keeps rows in memory, and beyond a limit in data files of their own. To be handed to an `Append` or discarded.
pub struct ObjectRows {
    place: Place,
    batch: i64,
    limit: usize,
    kept: Vec<RecordBatch>,
    bytes: usize,
    spilled: Option<DataWriter>,
}

impl fmt::Debug for ObjectRows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, spilled) = (self.bytes, self.spilled.is_some());
        formatter
            .debug_struct("ObjectRows")
            .field("bytes", &bytes)
            .field("spilled", &spilled)
            .finish_non_exhaustive()
    }
}

impl ObjectRows {
    pub(super) fn new(place: Place, batch: i64, limit: usize) -> Self {
        Self {
            place,
            batch,
            limit,
            kept: Vec::new(),
            bytes: 0,
            spilled: None,
        }
    }

    /// Takes rows of `flows_schema`.
    ///
    /// # Errors
    /// There are too many to keep, and they cannot be written.
    pub async fn push(&mut self, rows: RecordBatch) -> Result<(), LakeError> {
        if let Some(spilled) = &mut self.spilled {
            return spilled.write(&rows).await;
        }
        self.bytes += memory(&rows);
        self.kept.push(rows);
        if self.bytes > self.limit {
            let spilled = self
                .spilled
                .insert(DataWriter::new(self.place.clone(), self.batch));
            for rows in self.kept.drain(..) {
                spilled.write(&rows).await?;
            }
        }
        Ok(())
    }

    /// Whether there is anything to delete.
    pub fn is_spilled(&self) -> bool {
        self.spilled.is_some()
    }

    /// Forgets the rows, and deletes what was written of them.
    pub async fn discard(self) {
        if let Some(spilled) = self.spilled {
            spilled.abort().await;
        }
    }

    /// What is in memory, and what is in files.
    pub(super) async fn into_parts(self) -> Result<(Vec<RecordBatch>, Vec<StagedFile>), LakeError> {
        let Some(mut spilled) = self.spilled else {
            return Ok((self.kept, Vec::new()));
        };
        match spilled.finish().await {
            Ok(files) => Ok((Vec::new(), files)),
            Err(error) => {
                spilled.abort().await;
                Err(error)
            }
        }
    }
}
