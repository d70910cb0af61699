//! What stops a whole run.

use crate::lake::LakeError;
use crate::source::SourceError;

/// A run could not go on. What was committed before stays; what was not is deleted.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// A source cannot be listed or read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The lake cannot be read or written.
    #[error(transparent)]
    Lake(#[from] LakeError),
}

impl IngestError {
    /// What to try, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.hint(),
            Self::Lake(error) => error.hint(),
        }
    }
}
