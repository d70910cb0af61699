//! Passes on all threads at once, and how long each took.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the passes over a slice took, one after the other: `read 1.2s, resolve 0.3s, …`.
pub(super) struct Laps {
    since: Instant,
    laps: Vec<(&'static str, Duration)>,
}

impl Default for Laps {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            laps: Vec::new(),
        }
    }
}

impl Laps {
    /// What was done since the last lap.
    pub(super) fn lap(&mut self, pass: &'static str) {
        let since = std::mem::replace(&mut self.since, Instant::now());
        self.laps.push((pass, self.since - since));
    }
}

impl fmt::Display for Laps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (pass, time)) in self.laps.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{pass} {time:.1?}")?;
        }
        Ok(())
    }
}

/// Numbers that threads take from one after the other.
pub(super) struct Todo<'t> {
    next: &'t AtomicUsize,
    count: usize,
}

impl Iterator for Todo<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        (next < self.count).then_some(next)
    }
}

/// Runs a pass on all threads, each with its number.
pub(super) fn in_parallel(threads: usize, count: usize, pass: impl Fn(usize, Todo<'_>) + Sync) {
    let next = AtomicUsize::new(0);
    let todo = || Todo { next: &next, count };
    std::thread::scope(|scope| {
        for thread in 1..threads {
            let (pass, todo) = (&pass, &todo);
            scope.spawn(move || pass(thread, todo()));
        }
        pass(0, todo());
    });
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panics ends the run: nobody sees what it left.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
