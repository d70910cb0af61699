//! A commit, again and again until it is known what became of it.
//!
//! However a commit fails, it may have landed: the store retries, connections break after the request was heard. So whoever commits
//! looks at the log first, each time, for what an earlier try may have left there.

use std::time::{Duration, SystemTime};

use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::TransactionError;
use futures::future::BoxFuture;
use uuid::Uuid;

use super::LakeError;
use super::place::Place;
use crate::telemetry;

/// How often a commit is tried that fails for other reasons than that somebody was faster.
const MAX_FAILURES: u32 = 6;

/// How often it is tried at all.
const MAX_TRIES: u32 = 100;

const MAX_PAUSE: Duration = Duration::from_secs(2);

/// What is younger is deleted by nobody who was not told to: it may belong to a commit that is still to come.
pub(super) const MIN_RETENTION: Duration = Duration::from_secs(24 * 3600);

/// What is older is not committed any more. The difference is for clocks that disagree, and for the commit itself.
const MAX_AGE: Duration = Duration::from_secs(20 * 3600);

/// Calls `attempt` until it says what became of the commit. Each call has to look for what the calls before it may have done.
///
/// # Errors
/// The last one's, and whether the commit has landed is not known.
pub(super) async fn until_known<'a, T>(
    mut attempt: impl FnMut() -> BoxFuture<'a, Result<T, LakeError>>,
) -> Result<T, LakeError> {
    let (mut tries, mut failures) = (0, 0);
    loop {
        tries += 1;
        let error = match attempt().await {
            Ok(known) => return Ok(known),
            Err(error) => error,
        };
        if is_conflict(&error) {
            telemetry::conflict();
        } else {
            failures += 1;
        }
        if failures == MAX_FAILURES || tries == MAX_TRIES {
            return Err(error);
        }
        tracing::debug!(tries, %error, "a commit did not land, or nobody said so");
        tokio::time::sleep(pause(tries)).await;
    }
}

/// Refuses to commit what was begun at this time, if a clean-up may take it for left behind by now.
pub(super) fn refuse_old(place: &Place, begun: Option<SystemTime>) -> Result<(), LakeError> {
    let age = begun.and_then(|begun| SystemTime::now().duration_since(begun).ok());
    if age.is_some_and(|age| age > MAX_AGE) {
        return Err(LakeError::TooLate {
            uri: place.uri.clone(),
            hours: MAX_AGE.as_secs() / 3600,
        });
    }
    Ok(())
}

fn is_conflict(error: &LakeError) -> bool {
    let LakeError::Table { error, .. } = error else {
        return false;
    };
    matches!(
        **error,
        DeltaTableError::VersionAlreadyExists(_)
            | DeltaTableError::Transaction {
                source: TransactionError::MaxCommitAttempts(_)
            }
    )
}

/// Longer each time, and never the same for two writers.
fn pause(tries: u32) -> Duration {
    let longest = Duration::from_millis(20)
        .saturating_mul(1 << tries.min(10))
        .min(MAX_PAUSE);
    let (_, random) = Uuid::new_v4().as_u64_pair();
    longest.mul_f64(0.5 + 0.5 * f64::from(u8::try_from(random & 0xff).unwrap_or(u8::MAX)) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_long_ago_is_not_committed() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of_folder(folder.path());
        let ago = |hours: u64| Some(SystemTime::now() - Duration::from_secs(hours * 3600));
        refuse_old(&place, None).unwrap();
        refuse_old(&place, ago(19)).unwrap();
        let error = refuse_old(&place, ago(21)).unwrap_err();
        assert!(error.to_string().contains("more than 20 hours"), "{error}");
        assert!(MAX_AGE < MIN_RETENTION);
    }
}
