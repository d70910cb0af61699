//! Whether a store keeps two writers apart: of several who create one object at once, exactly one may be told that it did.
//!
//! It is asked each time that a lake is opened to be written to, and the answer is kept nowhere: it costs no more requests than to read
//! it back would, and a bucket may have moved to another service since.

use bytes::Bytes;
use futures::future::join_all;
use object_store::ObjectStoreExt;
use uuid::Uuid;

use super::place::{Missing, Place, create};
use super::{Lake, LakeError, LakeUri, SIDE};
use crate::source::{Outlook, S3Settings};

/// How many create the object at once, and again one after the other.
const CREATORS: usize = 4;

/// How often it is tried: a creation that was never answered is not repeated by the client, which does not know what it came to.
const TRIES: usize = 3;

/// What a store does with two who create one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creation {
    /// One wins, the others are told: a lake is safe there.
    Exclusive,
    /// Several were told that the object is theirs: two writers could overwrite each other's commits.
    Shared {
        /// How many tried.
        creators: usize,
        /// How many were told so.
        winners: usize,
    },
}

/// What was found out about the place of a lake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The place.
    pub uri: String,
    /// Whether it keeps two writers apart.
    pub creation: Creation,
}

impl Lake {
    /// Tries a place for a lake, whether there is one or not: objects below `_flowscout/` are created, by several at once, so many
    /// times, and deleted.
    ///
    /// # Errors
    /// It cannot be written to.
    pub async fn probe(
        uri: &LakeUri,
        settings: &S3Settings,
        rounds: usize,
    ) -> Result<Probe, LakeError> {
        let (place, _) = Place::find(uri, Missing::Create, settings).await?;
        let mut creation = Creation::Exclusive;
        for _ in 0..rounds.max(1) {
            creation = place.probe().await?;
            if creation != Creation::Exclusive {
                break;
            }
        }
        Ok(Probe {
            uri: place.uri,
            creation,
        })
    }
}

impl Place {
    /// Refuses a store that cannot be written to, or in which two writers could overwrite each other's commits.
    pub(super) async fn refuse_unsafe(&self) -> Result<(), LakeError> {
        match self.probe().await? {
            Creation::Exclusive => Ok(()),
            Creation::Shared { creators, winners } => Err(LakeError::NoConditionalPut {
                uri: self.uri.clone(),
                creators,
                winners,
            }),
        }
    }

    async fn probe(&self) -> Result<Creation, LakeError> {
        for _ in 1..TRIES {
            match self.probe_once().await {
                Err(error) if error.outlook() == Outlook::Passes => {
                    tracing::debug!(%error, "trying a store again");
                }
                known => return known,
            }
        }
        self.probe_once().await
    }

    /// Several create one object at once, and one more afterwards; then it is deleted.
    async fn probe_once(&self) -> Result<Creation, LakeError> {
        let path = self.path(&format!("{SIDE}/probe-{}", Uuid::new_v4().simple()));
        let at_once =
            join_all((0..CREATORS).map(|_| create(self.store.as_ref(), &path, Bytes::new()))).await;
        let afterwards = create(self.store.as_ref(), &path, Bytes::new()).await;
        let mut results = at_once;
        results.push(afterwards);
        let refuse = |error| LakeError::Unwritable {
            uri: self.uri.clone(),
            error,
        };
        let mut winners = 0;
        let mut failed = None;
        for result in results {
            match result {
                Ok(true) => winners += 1,
                // Nobody may have won: an answer that got lost is asked for again, and then the object is there.
                Ok(false) => {}
                Err(error) => failed = Some(error),
            }
        }
        match (failed, self.store.delete(&path).await) {
            (None, Ok(())) => {}
            (Some(error), _) | (None, Err(error)) => return Err(refuse(error)),
        }
        Ok(if winners > 1 {
            Creation::Shared {
                creators: CREATORS + 1,
                winners,
            }
        } else {
            Creation::Exclusive
        })
    }
}
