//! The lake's store fails while `ingest --follow` runs: for a while, or since nobody accepts its credentials any more.

use std::process::Command;

use super::bench::{Bench, LAKE};
use super::tell;
use crate::care::{ROWS, log};
use crate::running::{Running, eventually};
use crate::s3_server::Fault;

/// Follows quickly, with the lake in the bucket.
fn follow(bench: &Bench, source: &str, more: &[&str]) -> Running {
    let arguments = [
        &["ingest", source, "--follow", "--lake", LAKE][..],
        &["--poll", "1s", "--commit-every", "1s"],
        more,
    ]
    .concat();
    let mut command: Command = bench.place.command(&arguments);
    Running::start(bench.server.apply(&mut command))
}

/// What was asked of the lake so far.
fn asked(bench: &Bench) -> usize {
    let requests = bench.server.requests();
    let of_lake = requests.iter().filter(|request| request.bucket == "lake");
    of_lake.count()
}

/// All rows of so many logs are in, each once.
#[track_caller]
fn assert_whole(bench: &Bench, logs: usize) {
    let mut rows = bench.rows();
    assert_eq!(rows.len() as u64, logs as u64 * ROWS);
    rows.dedup();
    assert_eq!(rows.len() as u64, logs as u64 * ROWS, "a row is in twice");
}

#[test]
fn a_store_that_answers_with_errors_for_a_while_is_waited_for() {
    let bench = Bench::new();
    bench.put_log(0);
    let mut running = follow(&bench, "s3://logs/", &[]);
    running.wait_until_it_says("committed a batch");
    for (number, (code, status)) in [
        ("InternalError", 500),
        ("SlowDown", 503),
        ("ServiceUnavailable", 503),
    ]
    .into_iter()
    .enumerate()
    {
        bench.server.inject(Fault::refuse_all("lake", code, status));
        let before = asked(&bench);
        bench.put_log(number + 1);
        eventually("it asks again", || asked(&bench) >= before + 8);
        bench.server.clear_faults();
        eventually("it went on", || bench.count() == (number as u64 + 2) * ROWS);
    }
    running.stop();
    assert_whole(&bench, 4);
    tell("errors of the lake's store for a while, while following", 3);
}

#[test]
fn a_store_that_cannot_be_reached_for_a_while_is_waited_for() {
    let bench = Bench::new();
    bench.place.put("logs/0.log", log(0));
    let mut running = follow(&bench, "logs", &[]);
    running.wait_until_it_says("committed a batch");
    bench.server.go_away();
    bench.place.put("logs/1.log", log(1));
    // It does not end, and says what it waits for.
    running.wait_until_it_says("trouble with the lake, trying again");
    bench.place.put("logs/2.log", log(2));
    bench.server.come_back();
    eventually("it went on", || bench.count() == 3 * ROWS);
    running.stop();
    assert_whole(&bench, 3);
    tell(
        "a lake's store that is gone for a while, while following",
        1,
    );
}

#[test]
fn credentials_that_the_store_does_not_accept_are_borne_for_a_while() {
    for (code, status) in [("ExpiredToken", 400), ("InvalidAccessKeyId", 403)] {
        let bench = Bench::new();
        bench.put_log(0);
        let mut running = follow(&bench, "s3://logs/", &["--patience", "1h"]);
        running.wait_until_it_says("committed a batch");
        bench.server.inject(Fault::refuse_all("lake", code, status));
        bench.put_log(1);
        running.wait_until_it_says("trouble with the lake, trying again");
        bench.server.clear_faults();
        eventually("it went on", || bench.count() == 2 * ROWS);
        running.stop();
        assert_whole(&bench, 2);
    }
}

#[test]
fn what_the_store_refuses_for_good_ends_it_with_one_sentence() {
    for (code, status, is_borne) in [
        ("ExpiredToken", 400, true),
        ("InvalidAccessKeyId", 403, true),
        ("RequestTimeTooSkewed", 403, true),
        ("AccessDenied", 403, false),
    ] {
        let bench = Bench::new();
        bench.put_log(0);
        let mut running = follow(&bench, "s3://logs/", &["--patience", "2s"]);
        running.wait_until_it_says("committed a batch");
        bench.server.inject(Fault::refuse_all("lake", code, status));
        bench.put_log(1);
        let ended = running.end();
        let said = &ended.stderr;
        assert_eq!(ended.code, Some(2), "{code}: {said}");
        assert_eq!(
            said.contains("trouble with the lake, trying again"),
            is_borne,
            "{code}: {said}"
        );
        let errors: Vec<&str> = said
            .lines()
            .skip_while(|line| !line.starts_with("error: "))
            .collect();
        let [error, hint] = errors[..] else {
            panic!("{code}: {said}");
        };
        assert!(
            error.contains(code) && error.contains("s3://lake/l"),
            "{error}"
        );
        assert!(hint.starts_with("hint: "), "{hint}");
        // The next run, with what was missing, loses nothing.
        bench.server.clear_faults();
        bench.run(super::bench::INGEST).ok();
        assert_whole(&bench, 2);
    }
    tell("refusals by the lake's store, while following", 6);
}
