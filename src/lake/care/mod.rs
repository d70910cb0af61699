//! Care of a lake: few files instead of many, old days out, what nobody needs deleted, and the proof that every row is accounted for.
//!
//! | What | Changes | Beside ingest, and beside itself |
//! |---|---|---|
//! | [`Lake::compact`] | small files of a day for larger ones, the same rows; side data of many batches put together | lands on a version in which all of them are still there, or not at all |
//! | [`Lake::expire`] | old days out of the table | the same |
//! | [`Lake::vacuum`] | deletes what no version needs that somebody may still read | leaves alone what is younger than any commit to come |
//! | [`Lake::verify`] | nothing | reads one version |

mod bundle;
mod change;
mod checkpoint;
mod compact;
mod contents;
mod deep;
mod expire;
mod read;
mod vacuum;
mod verify;

pub(super) use checkpoint::checkpoint_if_overdue;
pub use compact::{Compact, CompactGroup, Compacted};
pub use expire::{Expire, Expired};
pub use vacuum::{Deletions, Vacuum, Vacuumed};
pub use verify::{Verified, Verify};

/// Whether anything is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only said.
    DryRun,
    /// Done.
    Apply,
}
