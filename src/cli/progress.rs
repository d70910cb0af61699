//! A bar on stderr while objects are read: objects, bytes, rows per second, time left.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::ingest::{Fate, Progress};
use crate::report::human_count;

/// The bar; it draws nothing where progress is not wanted.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
    objects: AtomicU64,
    listed: AtomicU64,
    rows: AtomicU64,
}

impl Bar {
    pub(super) fn new(shown: bool) -> Self {
        let bar = ProgressBar::with_draw_target(
            Some(0),
            if shown {
                ProgressDrawTarget::stderr()
            } else {
                ProgressDrawTarget::hidden()
            },
        );
        let style =
            ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}  {msg}  {eta} left");
        if let Ok(style) = style {
            bar.set_style(style.with_key(
                "eta",
                |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                    // A failed write only leaves the field empty.
                    write!(
                        out,
                        "{}",
                        indicatif::HumanDuration(Duration::from_secs(state.eta().as_secs()))
                    )
                    .ok();
                },
            ));
        }
        if shown {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self {
            bar,
            objects: AtomicU64::new(0),
            listed: AtomicU64::new(0),
            rows: AtomicU64::new(0),
        }
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn refresh(&self) {
        let rows = self.rows.load(Ordering::Relaxed);
        let seconds = self.bar.elapsed().as_secs().max(1);
        self.bar.set_message(format!(
            "{}/{} objects  {} rows  {} rows/s",
            human_count(self.objects.load(Ordering::Relaxed)),
            human_count(self.listed.load(Ordering::Relaxed)),
            human_count(rows),
            human_count(rows / seconds),
        ));
    }
}

impl Progress for Bar {
    fn listed(&self, objects: u64, bytes: u64) {
        self.listed.fetch_add(objects, Ordering::Relaxed);
        self.bar.inc_length(bytes);
        self.refresh();
    }

    fn fetched(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn decoded(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.refresh();
    }

    fn done(&self, _key: &str, _fate: Fate<'_>) {
        self.objects.fetch_add(1, Ordering::Relaxed);
        self.refresh();
    }
}
