//! Commands killed at each request that they make, one after the other, and at random ones.

use super::bench::{Bench, COMPACT, EXPIRE, INGEST, Run, VACUUM};
use super::{Dice, is_long, tell};
use crate::care::ROWS;

/// Kills the command at its first request, its second, and so on until it has come to its end; runs it again each time.
fn at_every_request(what: &str, bench: &Bench, command: &[&str]) {
    let before = bench.server.kept();
    bench.run(command).ok();
    let expected = bench.rows();
    let mut kills = 0;
    for request in 1.. {
        bench.server.put_back(&before);
        match bench.run_until(command, request) {
            Run::Killed => kills += 1,
            Run::Done(ended) => {
                ended.ok();
                assert_eq!(bench.rows(), expected);
                break;
            }
        }
        bench.run(command).ok();
        assert_eq!(bench.rows(), expected, "killed at request {request}");
    }
    assert!(kills > 10, "{kills} requests are too few to be true");
    tell(&format!("{what} killed at each of its requests"), kills);
}

#[test]
fn an_ingest_may_die_at_any_request() {
    let bench = Bench::new();
    (0..3).for_each(|number| bench.put_log(number));
    at_every_request("first ingest", &bench, INGEST);
    assert_eq!(bench.rows().len() as u64, 3 * ROWS);
}

#[test]
fn a_later_ingest_may_die_at_any_request() {
    let bench = Bench::with_batches(2);
    (2..4).for_each(|number| bench.put_log(number));
    at_every_request("later ingest", &bench, INGEST);
    assert_eq!(bench.rows().len() as u64, 4 * ROWS);
}

#[test]
fn a_compaction_may_die_at_any_request() {
    let bench = Bench::with_batches(2);
    at_every_request("compact", &bench, COMPACT);
    assert_eq!(bench.rows().len() as u64, 2 * ROWS);
}

#[test]
fn an_expiry_may_die_at_any_request() {
    let bench = Bench::with_batches(2);
    at_every_request("expire", &bench, EXPIRE);
    assert_eq!(bench.rows().len() as u64, 2 * (ROWS - 3));
}

#[test]
fn a_compaction_may_die_while_it_puts_side_data_together() {
    let bench = Bench::with_batches(10);
    let before = bench.server.kept();
    bench.server.forget_requests();
    bench.run(COMPACT).ok();
    // What was read is written anew after the files of all days have been.
    let requests = bench.server.requests();
    let writes: Vec<usize> = (1..=requests.len())
        .filter(|number| requests[number - 1].operation == "PutObject")
        .collect();
    let of_bundle = |number: &&usize| requests[*number - 1].key.contains("_flowscout/bundle");
    assert_eq!(writes.iter().filter(of_bundle).count(), 3);
    let expected = bench.rows();
    let mut kills = 0;
    for write in writes.iter().filter(of_bundle) {
        // Also right behind it.
        for request in [*write, write + 1] {
            bench.server.put_back(&before);
            if let Run::Killed = bench.run_until(COMPACT, request) {
                kills += 1;
            }
            assert_eq!(bench.rows(), expected, "killed at request {request}");
            bench.run(COMPACT).ok();
            bench.run(VACUUM).ok();
            bench.run(INGEST).ok();
            assert_eq!(bench.rows(), expected, "killed at request {request}");
        }
    }
    assert!(kills > 3, "{kills}");
    tell("compact killed while it puts side data together", kills);
}

#[test]
fn a_vacuum_may_die_at_any_request() {
    let bench = Bench::with_batches(10);
    bench.run(COMPACT).ok();
    let before = bench.server.keys("lake").len();
    at_every_request("vacuum", &bench, VACUUM);
    let after = bench.server.keys("lake").len();
    let of_each_batch = 3 + 2 + 1;
    assert_eq!(
        after,
        before - 10 * of_each_batch,
        "a file for each of three days, objects and coverage, an entry in the ledger"
    );
}

#[test]
fn whatever_dies_at_random_on_one_lake_loses_nothing() {
    let rounds = if is_long() { 600 } else { 40 };
    let mut dice = Dice::new(20_261_125);
    let bench = Bench::with_batches(1);
    let mut kills = 0;
    let mut logs = 1;
    for round in 0..rounds {
        if round % 4 == 0 {
            bench.put_log(logs);
            logs += 1;
        }
        let command = [INGEST, INGEST, COMPACT, VACUUM][usize::try_from(dice.roll(4)).unwrap()];
        let request = usize::try_from(1 + dice.roll(50)).unwrap();
        match bench.run_until(command, request) {
            Run::Killed => kills += 1,
            Run::Done(ended) => _ = ended.ok(),
        }
        if round % 20 == 19 {
            bench.run(INGEST).ok();
            assert_eq!(
                bench.rows().len() as u64,
                logs as u64 * ROWS,
                "round {round}"
            );
        }
    }
    bench.run(INGEST).ok();
    let mut rows = bench.rows();
    rows.dedup();
    assert_eq!(rows.len() as u64, logs as u64 * ROWS);
    tell("killed at random requests, one lake", kills);
}
