//! What stops a whole run.

use crate::lake::LakeError;
use crate::source::queue::QueueError;
use crate::source::{Outlook, SourceError};

/// A run could not go on. What was committed before stays; what was not is deleted.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// A source cannot be listed or read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A queue cannot be asked.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The lake cannot be read or written.
    #[error(transparent)]
    Lake(#[from] LakeError),
}

impl IngestError {
    /// Whether it is worth while to go on a little later.
    pub fn outlook(&self) -> Outlook {
        match self {
            Self::Source(error) => error.outlook(),
            Self::Queue(error) => error.outlook(),
            Self::Lake(error) => error.outlook(),
        }
    }

    /// What to try, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.hint(),
            Self::Queue(error) => error.hint(),
            Self::Lake(error) => error.hint(),
        }
    }
}
