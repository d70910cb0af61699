//! How long to wait before something is tried again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::summary::Notes;
use crate::source::Outlook;

/// The first pause, about.
const FIRST: Duration = Duration::from_secs(1);

/// The longest pause of what stands still as a whole.
const LONGEST: Duration = Duration::from_secs(120);

/// The longest pause of a single object: others go on.
const LONGEST_OF_OBJECT: Duration = Duration::from_secs(3600);

/// So many objects are remembered with their pause; beyond that they are tried whenever they are listed.
const REMEMBERED: usize = 10_000;

/// Twice as long each time, and never the same for two: from half of it to all of it.
fn pause(tries: u32, longest: Duration) -> Duration {
    let whole = FIRST.saturating_mul(1 << tries.min(16)).min(longest);
    let (_, random) = Uuid::new_v4().as_u64_pair();
    whole.mul_f64(0.5 + 0.5 * f64::from(u8::try_from(random & 0xff).unwrap_or(u8::MAX)) / 255.0)
}

/// Trouble with a source, a queue or the lake as a whole.
#[derive(Debug)]
pub(super) struct Trouble {
    /// How long trouble with credentials and clocks is borne; nothing, if none is borne at all.
    patience: Option<Duration>,
    tries: u32,
    since: Option<Instant>,
}

impl Trouble {
    pub(super) fn new(patience: Option<Duration>) -> Self {
        Self {
            patience,
            tries: 0,
            since: None,
        }
    }

    /// It works again.
    pub(super) fn is_over(&mut self) {
        (self.tries, self.since) = (0, None);
    }

    /// How long to wait before the next try; nothing if it is no use.
    pub(super) fn pause(&mut self, outlook: Outlook) -> Option<Duration> {
        self.pause_at(outlook, Instant::now())
    }

    fn pause_at(&mut self, outlook: Outlook, now: Instant) -> Option<Duration> {
        let patience = self.patience?;
        let since = *self.since.get_or_insert(now);
        match outlook {
            Outlook::Stays => return None,
            Outlook::MayPass if now.duration_since(since) > patience => return None,
            Outlook::MayPass | Outlook::Passes => {}
        }
        self.tries = self.tries.saturating_add(1);
        Some(pause(self.tries - 1, LONGEST))
    }
}

/// Objects that could not be fetched, and when to try them again.
#[derive(Debug, Default)]
pub(super) struct Later(HashMap<String, PutOff>);

#[derive(Debug)]
struct PutOff {
    tries: u32,
    not_before: Instant,
    reason: String,
}

impl Later {
    /// Whether it is too early for this object.
    pub(super) fn is_too_early(&self, key: &str, now: Instant) -> bool {
        self.0
            .get(key)
            .is_some_and(|put_off| now < put_off.not_before)
    }

    /// Whether there was trouble before.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub(super) fn put_off(&mut self, key: &str, reason: &str, now: Instant) {
        let tries = self.0.get(key).map_or(0, |put_off| put_off.tries);
        if tries == 0 && self.0.len() >= REMEMBERED {
            return;
        }
        let put_off = PutOff {
            tries: tries.saturating_add(1),
            not_before: now + pause(tries, LONGEST_OF_OBJECT),
            reason: reason.to_owned(),
        };
        self.0.insert(key.to_owned(), put_off);
    }

    pub(super) fn forget(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// Those that are still to be fetched.
    pub(super) fn into_notes(self) -> Notes {
        let mut open: Vec<_> = self.0.into_iter().collect();
        open.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        let mut notes = Notes::default();
        for (key, put_off) in open {
            notes.add(key, put_off.reason);
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_differ() {
        for tries in 0..40 {
            let whole = FIRST.saturating_mul(1 << tries.min(16)).min(LONGEST);
            let drawn: Vec<Duration> = (0..16).map(|_| pause(tries, LONGEST)).collect();
            assert!(
                drawn
                    .iter()
                    .all(|pause| *pause >= whole / 2 && *pause <= whole),
                "{tries}: {drawn:?}"
            );
            assert!(drawn.iter().any(|pause| *pause != drawn[0]), "{drawn:?}");
        }
    }

    #[test]
    fn an_object_is_left_alone_for_a_while_after_each_trouble() {
        let mut later = Later::default();
        let mut now = Instant::now();
        assert!(!later.is_too_early("a", now));
        for _ in 0..20 {
            later.put_off("a", "denied", now);
            assert!(later.is_too_early("a", now));
            now += LONGEST_OF_OBJECT;
            assert!(!later.is_too_early("a", now));
        }
        later.put_off("b", "slow", now);
        later.forget("b");
        let notes = later.into_notes();
        assert_eq!(notes.named(), [("a".to_owned(), "denied".to_owned())]);
    }

    #[test]
    fn trouble_that_may_pass_is_borne_for_so_long() {
        let mut trouble = Trouble::new(Some(Duration::from_secs(60)));
        let start = Instant::now();
        assert!(trouble.pause_at(Outlook::MayPass, start).is_some());
        assert!(
            trouble
                .pause_at(Outlook::MayPass, start + Duration::from_secs(59))
                .is_some()
        );
        assert!(
            trouble
                .pause_at(Outlook::MayPass, start + Duration::from_secs(61))
                .is_none()
        );
        assert!(
            trouble
                .pause_at(Outlook::Passes, start + Duration::from_secs(6100))
                .is_some()
        );
        trouble.is_over();
        assert!(
            trouble
                .pause_at(Outlook::MayPass, start + Duration::from_secs(9000))
                .is_some()
        );
        assert!(trouble.pause_at(Outlook::Stays, start).is_none());
        assert!(
            Trouble::new(None)
                .pause_at(Outlook::Passes, start)
                .is_none()
        );
    }
}
