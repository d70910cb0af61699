//! The same logs give the same rows, whichever way they come, and once only.

use serde_json::Value;

use crate::harness::{FULL, Flow, Place, V2, flow, log};
use crate::s3_server::S3Server;

/// Objects in the layout of a bucket: two formats, three days, a row each of its own bytes.
fn objects(count: u64) -> Vec<(String, String)> {
    let object = |number: u64| {
        let day = 9 + number % 3;
        let row = |bytes: u64| -> Flow {
            flow("eni-a", ("10.0.1.10", 40_000), ("192.0.2.9", 443))
                .at(&format!(
                    "2026-03-{day:02}T{:02}:{:02}:00Z",
                    number / 60 % 24,
                    number % 60
                ))
                .bytes(1, bytes)
        };
        let format = if number.is_multiple_of(2) { V2 } else { FULL };
        let key = format!(
            "AWSLogs/111111111111/vpcflowlogs/eu-west-1/2026/03/{day:02}/111111111111_vpcflowlogs_eu-west-1_fl-0a1b2c3d4e5f60718_202603{day:02}T{:02}{:02}Z_{number:08x}.log",
            number / 60 % 24,
            number % 60
        );
        (
            key,
            log(format, &[row(number + 1), row(number + 1_000_000)]),
        )
    };
    (0..count).map(object).collect()
}

/// Every row but for where it came from.
const ALL: &str = "SELECT arrow_cast(bytes, 'Utf8') || ' ' || CAST(start AS VARCHAR) || ' ' || srcaddr || ' ' || dstaddr || ' ' || COALESCE(pkt_dstaddr, '-') || ' ' || \
    interface_id || ' ' || action || ' ' || CAST(date AS VARCHAR) AS row, bytes FROM flows ORDER BY bytes, start";

fn texts(rows: &[Value]) -> Vec<&str> {
    rows.iter()
        .map(|row| row["row"].as_str().unwrap())
        .collect()
}

#[test]
fn a_folder_a_bucket_and_raw_logs_give_the_same_rows_and_twice_adds_nothing() {
    let (place, s3) = (Place::new(), S3Server::with_bucket("logs"));
    let objects = objects(1_050);
    for (key, text) in &objects {
        place.put(&format!("logs/{key}"), text);
        s3.put("logs", key, text.clone());
    }
    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    let from_folder = place.sql(ALL);
    assert_eq!(from_folder.len(), 2_100);

    place
        .run_with(&s3, &["ingest", "s3://logs/AWSLogs/", "--lake", "of_s3"])
        .ok();
    let from_s3 = place.run(&["sql", "--lake", "of_s3", ALL]).ok().rows();
    assert_eq!(texts(&from_s3), texts(&from_folder));

    let raw = place.run(&["sql", ALL, "--logs", "logs"]).ok().rows();
    assert_eq!(texts(&raw), texts(&from_folder));
    let raw_s3 = place
        .run_with(&s3, &["sql", ALL, "--logs", "s3://logs/AWSLogs/"])
        .ok()
        .rows();
    assert_eq!(texts(&raw_s3), texts(&from_folder));

    // Again, and in parts, and by other roads to the same objects: all is in already.
    s3.forget_requests();
    for source in [
        "s3://logs/AWSLogs/",
        "s3://logs",
        "s3://logs/AWSLogs/111111111111/vpcflowlogs/eu-west-1/2026/03/10/",
    ] {
        let again = place
            .run_with(&s3, &["ingest", source, "--lake", "of_s3"])
            .ok();
        assert!(
            again.stderr.contains("read 0 objects: 0 rows"),
            "{}",
            again.stderr
        );
        assert!(again.stderr.contains("already in"), "{}", again.stderr);
    }
    assert_eq!(s3.count("GetObject"), 0, "what is in is not fetched again");
    place
        .run(&["ingest", "logs", "./logs/AWSLogs", "--lake", "lake"])
        .ok();
    assert_eq!(texts(&place.sql(ALL)), texts(&from_folder));
    assert_eq!(
        place.sql(
            "SELECT COUNT(*) AS n, SUM(rows) AS rows, COUNT(DISTINCT key) AS keys FROM objects"
        ),
        [serde_json::json!({"n": 1050, "rows": 2100, "keys": 1050})]
    );
}

#[test]
fn a_lake_in_a_bucket_answers_as_one_in_a_folder() {
    let (place, s3) = (Place::new(), S3Server::with_bucket("lakes"));
    for (key, text) in objects(9) {
        place.put(&format!("logs/{key}"), text);
    }
    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    for _ in 0..2 {
        place
            .run_with(&s3, &["ingest", "logs", "--lake", "s3://lakes/of/mine"])
            .ok();
    }
    let remote = place
        .run_with(&s3, &["sql", "--lake", "s3://lakes/of/mine", ALL])
        .ok()
        .rows();
    assert_eq!(remote.len(), 18);
    assert_eq!(texts(&remote), texts(&place.sql(ALL)));
}

#[test]
fn days_that_are_selected_come_alone_and_the_others_later() {
    let place = Place::new();
    for (key, text) in objects(9) {
        place.put(&format!("logs/{key}"), text);
    }
    place
        .run(&[
            "ingest",
            "logs",
            "--lake",
            "lake",
            "--from",
            "2026-03-10",
            "--to",
            "2026-03-10T20:00:00Z",
        ])
        .ok();
    assert_eq!(
        place.sql("SELECT DISTINCT date FROM flows"),
        [serde_json::json!({"date": "2026-03-10"})]
    );
    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    assert_eq!(place.sql(ALL).len(), 18);
}

#[test]
fn a_cut_off_object_gives_no_row_straight_from_the_log_either() {
    use std::io::Write;
    let place = Place::new();
    let flows: Vec<Flow> = (0..20_000)
        .map(|number: u16| flow("eni-a", ("10.0.1.10", 40_000), ("192.0.2.9", number)).bytes(1, 7))
        .collect();
    let text = log(V2, &flows);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    let whole = encoder.finish().unwrap();
    place.put("logs/cut.log.gz", &whole[..whole.len() * 9 / 10]);
    place.put("logs/good.log", log(V2, &flows[..3]));
    let answer = place.run(&[
        "sql",
        "--logs",
        "logs",
        "SELECT COUNT(*) AS n, SUM(bytes) AS bytes FROM flows",
    ]);
    assert!(answer.stderr.contains("cut.log.gz"), "{}", answer.stderr);
    let rows = answer.ok().rows();
    assert_eq!((&rows[0]["n"], &rows[0]["bytes"]), (&3.into(), &21.into()));
    // The same object by two names of its folder is read once.
    let twice = [
        "sql",
        "SELECT COUNT(*) AS n FROM flows",
        "--logs",
        "logs/good.log",
        "logs/../logs/good.log",
    ];
    assert_eq!(place.run(&twice).ok().rows()[0]["n"], 3);
}
