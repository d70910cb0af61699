//! A topology as it was at one moment, and its bytes.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::TopologyError;
use super::model::{Coverage, Resources};

/// The only layout of stored snapshots so far.
const FORMAT: u32 = 1;

/// EC2's resources at one moment, and which kinds, accounts and regions they are all of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    format: u32,
    /// When the network looked like this.
    pub at: DateTime<Utc>,
    /// What was there.
    pub resources: Resources,
    /// What the snapshot says all about; anything else is carried over from earlier snapshots.
    pub coverage: BTreeSet<Coverage>,
}

impl Snapshot {
    /// Resources as they were at `at`.
    pub fn new(at: DateTime<Utc>, resources: Resources, coverage: BTreeSet<Coverage>) -> Self {
        Self {
            format: FORMAT,
            at,
            resources,
            coverage,
        }
    }

    /// The snapshot as gzip JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&json(self))
            .expect("writing into memory cannot fail");
        gzip.finish().expect("writing into memory cannot fail")
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// The bytes are damaged, or of a later format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TopologyError> {
        let invalid = |source| TopologyError::Snapshot { source };
        let mut text = Vec::new();
        GzDecoder::new(bytes)
            .read_to_end(&mut text)
            .map_err(invalid)?;
        let snapshot: Self =
            serde_json::from_slice(&text).map_err(|error| invalid(error.into()))?;
        if snapshot.format != FORMAT {
            let message = format!(
                "expected format {FORMAT}, got {}: written by a later version",
                snapshot.format
            );
            return Err(invalid(io::Error::new(io::ErrorKind::InvalidData, message)));
        }
        Ok(snapshot)
    }

    /// A hash of what the snapshot says, whenever it was taken: two of the same hash show the same network.
    pub fn content_hash(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(json(&(&self.resources, &self.coverage)));
        hash.finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("records of text and numbers are always JSON")
}
