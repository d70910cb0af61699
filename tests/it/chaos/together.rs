//! Several at once on one lake: ingesters that are offered the same logs, a compactor, a clean-up, and a reader that counts.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flowscout::lake::{Lake, LakeUri};

use super::bench::{Bench, COMPACT, INGEST, LAKE};
use super::{is_long, tell};
use crate::care::{ROWS, rows_of};
use crate::harness::block_on;

/// How long: minutes by `FLOWSCOUT_CHAOS_MINUTES` in the long form.
fn duration() -> Duration {
    if !is_long() {
        return Duration::from_secs(15);
    }
    let minutes = std::env::var("FLOWSCOUT_CHAOS_MINUTES").ok();
    Duration::from_secs(
        60 * minutes
            .and_then(|minutes| minutes.parse().ok())
            .unwrap_or(60),
    )
}

#[test]
fn readers_see_whole_objects_once_while_others_ingest_and_compact() {
    let bench = Bench::new();
    bench.put_log(0);
    bench.run(INGEST).ok();
    let logs = AtomicUsize::new(1);
    let (over, runs, reads) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let until = Instant::now() + duration();
    let work = |command: &[&str]| {
        while !over.load(Ordering::Relaxed) {
            bench.run(command).ok();
            runs.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let workers = [
            scope.spawn(|| work(INGEST)),
            scope.spawn(|| work(INGEST)),
            scope.spawn(|| work(COMPACT)),
            // Nothing is older than a day: it must find nothing to delete, whatever is under way.
            scope.spawn(|| work(&["lake", "vacuum", "--retain", "24h", "--lake", LAKE])),
        ];
        let reader = scope.spawn(|| {
            let mut last = 0;
            while !over.load(Ordering::Relaxed) {
                let settings = bench.server.settings();
                let rows = block_on(async move {
                    let uri = LakeUri::parse(LAKE).unwrap();
                    let lake = Lake::open_with(&uri, &settings).await.unwrap();
                    rows_of(&lake).await
                });
                let counted = rows.len() as u64;
                let distinct: HashSet<String> = rows.into_iter().collect();
                assert_eq!(distinct.len() as u64, counted, "a row is in twice");
                // What there is at most, as of after the count.
                let most = logs.load(Ordering::SeqCst) as u64 * ROWS;
                assert!(counted >= last, "{counted} after {last}");
                assert!(counted <= most, "{counted} of {most}");
                assert_eq!(counted % ROWS, 0, "half an object");
                last = counted;
                reads.fetch_add(1, Ordering::Relaxed);
            }
        });
        // New logs keep coming, as long as nobody has failed.
        while Instant::now() < until
            && !reader.is_finished()
            && workers.iter().all(|worker| !worker.is_finished())
        {
            let number = logs.fetch_add(1, Ordering::SeqCst);
            bench.put_log(number);
            std::thread::sleep(Duration::from_millis(if number < 200 { 100 } else { 5000 }));
        }
        over.store(true, Ordering::Relaxed);
    });
    bench.run(INGEST).ok();
    let rows = bench.rows();
    let mut distinct = rows.clone();
    distinct.dedup();
    let logs = logs.load(Ordering::SeqCst);
    assert_eq!(rows.len() as u64, logs as u64 * ROWS);
    assert_eq!(distinct.len(), rows.len());
    tell("commands of four at once on one lake", runs.into_inner());
    tell(
        "counts meanwhile, none double, none back",
        reads.into_inner(),
    );
}
