//! Storage that fails: errors, late and cut answers, commits of which nobody says whether they landed, full disks.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::bench::{Bench, COMPACT, EXPIRE, INGEST};
use super::{is_long, tell};
use crate::care::{ROWS, clean, log};
use crate::harness::{Ended, Place, block_on};
use crate::s3_server::Fault;

/// One fault by what it is called; `commit` is the key of the commit to come.
fn faults(commit: &str) -> Vec<(&'static str, Vec<Fault>)> {
    let anywhere = |code, status| {
        let operations = ["GetObject", "PutObject", "ListObjectsV2", "HeadObject"];
        operations
            .map(|operation| Fault::refuse(operation, code, status).times(2))
            .to_vec()
    };
    let put = "PutObject";
    vec![
        ("500 on everything, twice", anywhere("InternalError", 500)),
        (
            "503 SlowDown on everything, twice",
            anywhere("SlowDown", 503),
        ),
        (
            "a commit that lands and is answered with 500",
            vec![
                Fault::store_then_refuse(put, "InternalError", 500)
                    .on(commit)
                    .times(1),
            ],
        ),
        (
            "a commit that lands and is answered with 500 three times",
            vec![
                Fault::store_then_refuse(put, "InternalError", 500)
                    .on(commit)
                    .times(3),
            ],
        ),
        (
            "a commit that does not land and is answered with 500",
            vec![Fault::refuse(put, "InternalError", 500).on(commit).times(1)],
        ),
        (
            "a commit that does not land and is answered with 412",
            vec![
                Fault::refuse(put, "PreconditionFailed", 412)
                    .on(commit)
                    .times(1),
            ],
        ),
        (
            "a commit that does not land and is answered with 409",
            vec![
                Fault::refuse(put, "ConditionalRequestConflict", 409)
                    .on(commit)
                    .times(1),
            ],
        ),
        (
            "every write lands and is answered with 500 once",
            vec![Fault::store_then_refuse(put, "InternalError", 500).times(1)],
        ),
        (
            "bodies cut off after 100 bytes, twice",
            vec![Fault::cut_body(100).times(2)],
        ),
        (
            "bodies shorter than promised, twice",
            vec![Fault::wrong_length().times(2)],
        ),
        (
            "bodies of 100 bytes at a time, three times",
            vec![Fault::trickle(100, Duration::from_millis(5)).times(3)],
        ),
        (
            "answers that come late, five times",
            vec![Fault::delay("GetObject", Duration::from_millis(200)).times(5)],
        ),
    ]
}

#[test]
fn every_command_gets_over_every_fault_of_the_storage() {
    let bench = Bench::with_batches(2);
    bench.put_log(2);
    let before = bench.server.kept();
    let commit = "l/_delta_log/00000000000000000003.json";
    for (name, command) in [("ingest", INGEST), ("compact", COMPACT), ("expire", EXPIRE)] {
        bench.run(command).ok();
        let expected = bench.rows();
        for (fault, injected) in faults(commit) {
            bench.server.put_back(&before);
            injected
                .into_iter()
                .for_each(|fault| bench.server.inject(fault));
            let ended = bench.run(command);
            bench.server.clear_faults();
            assert_eq!(ended.code, Some(0), "{name}, {fault}: {}", ended.stderr);
            assert_eq!(bench.rows(), expected, "{name}, {fault}");
            // Once more, as a scheduled job would: nothing changes.
            bench.run(command).ok();
            assert_eq!(
                bench.count(),
                expected.len() as u64,
                "{name} again, {fault}"
            );
        }
        bench.server.put_back(&before);
    }
    let count = faults(commit).len();
    tell("faults of the storage, times three commands", count * 3);
}

/// Tries a command again and again, each time with another of its requests never answered, several at a time: they do nothing but wait.
fn at_every_request(name: &str, batches: usize, command: &[&str]) {
    let undisturbed = || {
        let bench = Bench::with_batches(batches);
        (batches..batches + 2).for_each(|number| bench.put_log(number));
        bench
    };
    let bench = undisturbed();
    bench.server.forget_requests();
    bench.run(command).ok();
    let requests = bench.server.requests().len();
    let expected = bench.rows();
    let tried = AtomicUsize::new(0);
    let next = AtomicUsize::new(1);
    // Each costs half a minute of waiting; in the short form every fourth stands for its neighbours.
    let step = if is_long() { 1 } else { 4 };
    let work = || {
        loop {
            let request = next.fetch_add(step, Ordering::SeqCst);
            if request > requests {
                return;
            }
            let bench = undisturbed();
            let Some(ended) = bench.run_unanswered(command, request) else {
                continue;
            };
            let said = &ended.stderr;
            assert_eq!(ended.code, Some(0), "{name}, request {request}: {said}");
            assert_eq!(bench.rows(), expected, "{name}, request {request}");
            tried.fetch_add(1, Ordering::SeqCst);
        }
    };
    std::thread::scope(|scope| {
        (0..16).for_each(|_| _ = scope.spawn(work));
    });
    let tried = tried.into_inner();
    assert!(tried > 5, "{tried} requests are too few to be true");
    tell(&format!("{name}, a request never answered"), tried);
}

#[test]
fn an_ingest_gets_over_any_request_that_is_never_answered() {
    at_every_request("first ingest", 0, INGEST);
}

#[test]
fn a_compaction_gets_over_any_request_that_is_never_answered() {
    at_every_request("compact", 2, COMPACT);
}

#[test]
fn bodies_that_stand_still_are_taken_up_again() {
    for (name, command) in [("ingest", INGEST), ("compact", COMPACT)] {
        let bench = Bench::with_batches(2);
        bench.put_log(2);
        let before = bench.server.kept();
        bench.run(command).ok();
        let expected = bench.rows();
        bench.server.put_back(&before);
        bench.server.inject(Fault::stall_body(100).times(2));
        let ended = bench.run(command);
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
        assert_eq!(bench.rows(), expected, "{name}");
    }
    tell("bodies that stop and never end, times two commands", 4);
}

/// Runs the binary with a limit to the size of its files. `trap` decides whether it is told, or dies.
fn limited(place: &Place, trap: &str, blocks: u32, arguments: &str) -> Ended {
    let binary = env!("CARGO_BIN_EXE_flowscout");
    let script = format!("{trap} ulimit -f {blocks}; exec '{binary}' {arguments}");
    let mut command = Command::new("bash");
    command.args(["-c", &script]).current_dir(place.path("."));
    command
        .env("HOME", place.path("."))
        .env_remove("FLOWSCOUT_LAKE");
    Ended::of(command.output().unwrap())
}

#[test]
fn a_disk_that_is_full_is_an_error_and_nothing_is_half_written() {
    let mut tried = 0;
    for trap in ["trap '' XFSZ;", ""] {
        for command in ["ingest", "compact"] {
            let place = Place::new();
            // Rows that no compression makes small.
            for file in 0..2_u64 {
                let mut text = log(usize::try_from(file).unwrap());
                for row in 0..4000_u64 {
                    let noise = (row + 1 + file * 5000).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    text += &format!(
                        "2 eni-{noise:x} 10.0.0.1 192.0.2.1 1 443 {} 1700000000 1700000000 ACCEPT OK -\n",
                        noise >> 1
                    );
                }
                place.put(&format!("logs/{file}.log"), text);
                if command == "compact" {
                    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
                }
            }
            let arguments = match command {
                "ingest" => "ingest logs --lake lake",
                _ => "lake compact --lake lake",
            };
            let ended = limited(&place, trap, 40, arguments);
            assert_eq!(
                ended.code,
                (!trap.is_empty()).then_some(2),
                "{}",
                ended.stderr
            );
            if !trap.is_empty() {
                assert!(ended.stderr.contains("too large"), "{}", ended.stderr);
            }
            limited(&place, trap, 40_000, arguments).ok();
            let rows = block_on(async move {
                let lake = place.lake().await;
                let verified = lake.verify(flowscout::lake::Verify::Deep).await.unwrap();
                clean(verified).file_rows
            });
            assert_eq!(rows, 2 * (ROWS + 4000));
            tried += 1;
        }
    }
    tell("full disks", tried);
}
