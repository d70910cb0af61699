//! `ingest --follow` over a bucket: what appears late, changes, fails for a while or for good, and how it ends.

use std::process::Command;
use std::time::Duration;

use flowscout::lake::{Commit, Lake, LakeUri, ObjectRecord, Outcome};
use serde_json::json;

use crate::harness::{Ended, Place, block_on};
use crate::running::{Running, ago, cut, eventually, follow, key, rows, rows_in};
use crate::s3_server::{Fault, Recorded, S3Server};

#[test]
fn objects_that_appear_late_under_older_names_are_found() {
    let (place, s3) = (Place::new(), S3Server::with_bucket("logs"));
    s3.put("logs", &key(ago(1), "b"), rows(10));
    let running = follow(&place, &s3, "s3://logs", &[]);
    eventually("the first object is in", || rows_in(&place) == 10);
    // Before the one that is in, on its day and on an earlier one.
    s3.put("logs", &key(ago(1), "a"), rows(20));
    s3.put("logs", &key(ago(30), "c"), rows(40));
    eventually("the late objects are in", || rows_in(&place) == 70);
    // Older than the window: not for the next looks, but for the next sweep.
    let old = key(ago(24 * 20), "d");
    s3.put("logs", &old, rows(80));
    s3.put("logs", &key(ago(0), "e"), rows(160));
    eventually("the newest object is in", || rows_in(&place) == 230);
    assert_eq!(s3.gets("logs", &old), 0);
    let ended = running.stop();
    assert!(
        ended.stderr.contains("read 4 objects: 230 rows"),
        "{}",
        ended.stderr
    );

    let running = follow(&place, &s3, "s3://logs", &["--sweep", "1s"]);
    eventually("the old object is in", || rows_in(&place) == 310);
    s3.put("logs", &key(ago(24 * 19), "f"), rows(1));
    eventually("the next sweep finds another", || rows_in(&place) == 311);
    running.stop();
    assert_eq!(s3.gets("logs", &old), 1);
}

#[test]
fn a_look_lists_the_days_of_the_window_and_no_others() {
    let (place, s3) = (Place::new(), S3Server::with_bucket("logs"));
    for days in 10..60 {
        s3.put("logs", &key(ago(24 * days), "a"), rows(1));
    }
    s3.put("logs", &key(ago(1), "a"), rows(1));
    s3.set_page_size(10);
    let mut running = follow(&place, &s3, "s3://logs", &[]);
    eventually("all is in", || rows_in(&place) == 51);
    running.wait_until_it_says("committed");
    s3.forget_requests();
    let listed = s3.listed_keys();
    // A look begins without a place to start after, and then jumps.
    let is_first = |request: &&Recorded| request.start_after.is_none();
    let looks = || s3.requests().iter().filter(is_first).count();
    eventually("three more looks", || looks() >= 4);
    let keys = s3.listed_keys() - listed;
    assert!(keys < looks() * 40, "{keys} keys in {} looks", looks());
    assert!(
        s3.requests()
            .iter()
            .any(|request| request.start_after.is_some())
    );
    running.stop();
}

#[test]
fn what_was_set_aside_is_read_when_it_changes_and_what_is_in_is_left() {
    let (place, s3) = (Place::new(), S3Server::with_bucket("logs"));
    let (mended, whole) = (key(ago(1), "a"), key(ago(1), "b"));
    s3.put("logs", &mended, cut(50));
    s3.put("logs", &whole, rows(10));
    let mut running = follow(&place, &s3, "s3://logs", &[]);
    running.wait_until_it_says("set an object aside");
    eventually("the whole object is in", || rows_in(&place) == 10);
    s3.put("logs", &mended, rows(50));
    s3.put("logs", &whole, rows(99));
    eventually("the mended object is in", || rows_in(&place) == 60);
    running.wait_until_it_says("left an object as it is in the lake");
    s3.forget_requests();
    eventually("it looks again", || s3.count("ListObjectsV2") >= 3);
    let ended = running.stop();
    assert_eq!(
        ended.stderr.matches("left an object").count(),
        1,
        "{}",
        ended.stderr
    );
    assert_eq!(s3.gets("logs", &whole), 0, "it is not even fetched");
    assert_eq!(rows_in(&place), 60);
}

#[test]
fn trouble_that_passes_is_borne_and_held_against_no_object() {
    let (place, s3) = (Place::new(), S3Server::with_bucket("logs"));
    let (slow, denied) = (key(ago(1), "a"), key(ago(1), "b"));
    s3.put("logs", &slow, rows(10));
    s3.put("logs", &denied, rows(20));
    // The SDK itself asks three times.
    s3.inject(Fault::refuse("ListObjectsV2", "SlowDown", 503).times(7));
    s3.inject(
        Fault::refuse("GetObject", "SlowDown", 503)
            .on(slow.clone())
            .times(4),
    );
    s3.inject(
        Fault::refuse("GetObject", "AccessDenied", 403)
            .on(denied.clone())
            .times(2),
    );
    let running = follow(&place, &s3, "s3://logs", &[]);
    eventually("all is in", || rows_in(&place) == 30);
    let ended = running.stop();
    assert!(
        ended.stderr.contains("trouble with a source, trying again"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("could not fetch an object"),
        "{}",
        ended.stderr
    );
    let outcomes = place.sql("SELECT outcome, COUNT(*) AS objects FROM objects GROUP BY outcome");
    assert_eq!(outcomes, [json!({"outcome": "ingested", "objects": 2})]);
}

#[test]
fn what_stays_ends_it_with_one_sentence() {
    for (code, status, said) in [
        ("AccessDenied", 403, "listing `s3://logs/` is denied"),
        ("NoSuchBucket", 404, "bucket `logs` does not exist"),
        (
            "RequestTimeTooSkewed",
            403,
            "because of this machine's clock",
        ),
        ("ExpiredToken", 400, "does not accept the credentials"),
    ] {
        let (place, s3) = (Place::new(), S3Server::with_bucket("logs"));
        s3.put("logs", &key(ago(1), "a"), rows(10));
        let running = follow(&place, &s3, "s3://logs", &["--patience", "1s"]);
        eventually("the object is in", || rows_in(&place) == 10);
        s3.inject(Fault::refuse("ListObjectsV2", code, status));
        let ended = running.end();
        assert_eq!(ended.code, Some(2), "{code}: {}", ended.stderr);
        let error = ended
            .stderr
            .lines()
            .find(|line| line.starts_with("error: "));
        assert!(
            error.is_some_and(|line| line.contains(said)),
            "{code}: {}",
            ended.stderr
        );
        assert!(ended.stderr.contains("hint: "), "{code}: {}", ended.stderr);
    }
}

#[test]
fn either_signal_finishes_what_is_in_hand() {
    for signal in ["TERM", "INT"] {
        let (place, s3) = (Place::new(), S3Server::with_bucket("logs"));
        s3.put("logs", &key(ago(1), "a"), rows(10));
        // No batch would be committed by itself for a long time.
        let running = follow(&place, &s3, "s3://logs", &["--commit-every", "1h"]);
        eventually("the object is fetched", || s3.count("GetObject") == 1);
        assert_eq!(rows_in(&place), 0);
        running.signal(signal);
        let ended = running.end().ok();
        assert!(
            ended.stderr.contains("read 1 objects: 10 rows"),
            "{}",
            ended.stderr
        );
        assert_eq!(rows_in(&place), 10);
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (place, s3) = (Place::new(), S3Server::with_bucket("logs"));
    s3.put("logs", &key(ago(1), "a"), rows(10));
    s3.inject(Fault::delay("GetObject", Duration::from_secs(25)));
    let mut running = follow(&place, &s3, "s3://logs", &[]);
    eventually("the object is asked for", || s3.count("GetObject") == 1);
    running.signal("TERM");
    running.wait_until_it_says("a second signal ends at once");
    running.signal("INT");
    let ended = running.end();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("interrupted"), "{}", ended.stderr);
    assert_eq!(rows_in(&place), 0);
}

#[test]
fn a_single_run_that_is_interrupted_keeps_what_it_has_and_says_so() {
    let (place, s3) = (Place::new(), S3Server::with_bucket("logs"));
    s3.put("logs", &key(ago(2), "a"), rows(10));
    s3.put("logs", &key(ago(1), "b"), rows(20));
    s3.set_page_size(1);
    // The second page keeps the listing from its end.
    s3.inject(Fault::delay("ListObjectsV2", Duration::from_secs(3)));
    let mut command = place.command(&["ingest", "s3://logs", "--lake", "lake"]);
    let running = Running::start(s3.apply(&mut command));
    eventually("an object is fetched", || s3.count("GetObject") == 1);
    running.signal("INT");
    let ended = running.end();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("the same ingest reads the rest"),
        "{}",
        ended.stderr
    );
    s3.clear_faults();
    place
        .run_with(&s3, &["ingest", "s3://logs", "--lake", "lake"])
        .ok();
    assert_eq!(rows_in(&place), 30);
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_ends_a_run_and_the_next_one_completes_it() {
    let place = Place::new();
    place.put("logs/a.log.gz", rows(10));
    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    place.put("logs/b.log.gz", rows(20_000));
    // No file may grow beyond a few kilobytes: to a writer the same as a disk that is full.
    let limited = |more: &str| {
        let binary = env!("CARGO_BIN_EXE_flowscout");
        let script =
            format!("trap '' XFSZ; ulimit -f 16; exec '{binary}' ingest logs --lake lake {more}");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]).current_dir(place.path("."));
        Ended::of(command.output().unwrap())
    };
    for more in ["", "--follow --commit-every 1s"] {
        let ended = limited(more);
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("error: cannot write"),
            "{}",
            ended.stderr
        );
        assert!(
            ended.stderr.contains("its disk is not full"),
            "{}",
            ended.stderr
        );
        assert_eq!(rows_in(&place), 10);
    }
    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    assert_eq!(rows_in(&place), 20_010);
    let data = walk(&place.path("lake"), "part-");
    assert_eq!(data, 2, "what could not be finished is deleted");
}

/// How many files of this name there are.
#[cfg(target_os = "linux")]
fn walk(folder: &std::path::Path, prefix: &str) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            count += walk(&entry.path(), prefix);
        } else if entry.file_name().to_str().unwrap().starts_with(prefix) {
            count += 1;
        }
    }
    count
}

/// What a process needs that follows a bucket of ten million objects, all of which are in: printed, and held to what README says.
///
/// `cargo test --test it follow::memory -- --ignored --nocapture`
#[cfg(target_os = "linux")]
#[test]
#[ignore = "takes minutes: a lake of ten million objects is made"]
fn memory_of_a_follower_of_ten_million_objects() {
    const BATCHES: u64 = 100;
    const OF_BATCH: u64 = 100_000;
    let record = |number: u64| {
        let (day, slot) = (number / 28_800, number % 28_800 / 100);
        let at = chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000 + day.cast_signed());
        let at = at + chrono::TimeDelta::minutes(5 * slot.cast_signed());
        ObjectRecord {
            key: format!("s3://logs/{}", key(at, &format!("{number:08x}"))),
            etag: format!(
                "{:032x}",
                u128::from(number) * 0x9e37_79b9_7f4a_7c15_f39c_0001
            ),
            size: 1_000_000,
            rows: 0,
            bad_lines: 0,
            outcome: Outcome::Ingested,
            reason: None,
        }
    };
    let (place, s3) = (Place::new(), S3Server::with_bucket("logs"));
    let uri = LakeUri::parse(place.path("lake").to_str().unwrap()).unwrap();
    block_on(async move {
        let lake = Lake::open_or_create(&uri).await.unwrap();
        for batch in 0..BATCHES {
            let mut append = lake.append().await.unwrap();
            for number in batch * OF_BATCH..(batch + 1) * OF_BATCH {
                append.note(record(number));
            }
            let Commit::Done(_) = append.commit().await.unwrap() else {
                panic!("nobody else writes");
            };
        }
    });
    // The batches are larger than any ingest makes: what a follower reads is what is left of smaller ones.
    place.run(&["lake", "compact", "--lake", "lake"]).ok();
    s3.put("logs", &key(ago(1), "a"), rows(10));
    let running = follow(&place, &s3, "s3://logs", &[]);
    // It knows all that is in before it looks at the first object, and takes its time.
    while rows_in(&place) < 10 {
        std::thread::sleep(Duration::from_secs(1));
    }
    let megabytes = |field| running.kilobytes(field) * 1024 / 1_000_000;
    let (now, peak) = (megabytes("VmRSS"), megabytes("VmHWM"));
    let line = format!("following beside ten million: {now} MB resident, {peak} MB at the peak\n");
    std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
    running.stop();
    assert!(peak < 400, "{peak}");
}
