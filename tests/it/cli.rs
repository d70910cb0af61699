//! The commands from outside: exit code, stdout, stderr.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::harness::{Ended, FULL, Flow, Place, V2, World, flow, log};
use crate::s3_server::S3Server;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A minute of one connection to the internet.
fn call() -> Flow {
    flow("eni-app", ("10.0.1.10", 50_000), ("192.0.2.9", 443))
}

fn place_with(name: &str, bytes: &[u8]) -> Place {
    let place = Place::new();
    place.put(&format!("logs/{name}"), bytes);
    place
}

/// A place whose lake holds one flow.
fn place_with_lake() -> Place {
    let place = place_with("one.log", log(V2, &[call()]).as_bytes());
    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    place
}

/// The error of a command that failed as it should: code 2, nothing on stdout, `error:` once, no panic.
#[track_caller]
fn error(ended: Ended) -> String {
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(ended.stdout, "", "stdout carries only data");
    assert_eq!(
        ended
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .count(),
        1,
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    let from = ended.stderr.find("error: ").unwrap();
    ended.stderr[from..].trim_end().to_owned()
}

#[track_caller]
fn error_says(ended: Ended, words: &[&str]) {
    let text = error(ended);
    for word in words {
        assert!(text.contains(word), "`{word}` is not in:\n{text}");
    }
}

#[test]
fn a_bucket_that_is_missing_is_named() {
    let (place, s3) = (Place::new(), S3Server::with_bucket("logs"));
    let ended = place.run_with(
        &s3,
        &["ingest", "s3://no-such-bucket/AWSLogs", "--lake", "lake"],
    );
    error_says(ended, &["no-such-bucket"]);
}

#[test]
fn wrong_credentials_are_told_and_the_secret_is_not() {
    let (place, s3) = (Place::new(), S3Server::with_bucket("logs"));
    let mut command = place.command(&["ingest", "s3://logs/AWSLogs", "--lake", "lake", "-vv"]);
    s3.apply(&mut command)
        .env("AWS_ACCESS_KEY_ID", "AKIDWRONG")
        .env("AWS_SECRET_ACCESS_KEY", "not-the-secret");
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("s3://logs"), "{stderr}");
    assert!(stderr.to_lowercase().contains("access key"), "{stderr}");
    assert!(!stderr.contains("not-the-secret"), "{stderr}");
}

#[test]
fn a_prefix_or_folder_without_objects_is_an_error() {
    let (place, s3) = (Place::new(), S3Server::with_bucket("logs"));
    let ended = place.run_with(
        &s3,
        &["ingest", "s3://logs/nothing-here/", "--lake", "lake"],
    );
    error_says(ended, &["`s3://logs/nothing-here/`", "no objects"]);
    insta::assert_snapshot!(error(place.run(&["ingest", "logs", "--lake", "lake"])), @"error: `logs`: there are no objects to read (the path is empty, or --from, --to, --account and --region leave nothing)");
    insta::assert_snapshot!(error(place.run(&["analyze", "nowhere"])), @r"
    error: cannot read `nowhere`
      caused by: No such file or directory (os error 2)
    hint: check the path; for a bucket write `s3://bucket/prefix`
    ");
}

#[test]
fn an_object_that_cannot_be_read_is_named_with_the_reason() {
    let whole = gzip(log(V2, &vec![call(); 50]).as_bytes());
    let place = place_with("cut.log.gz", &whole[..whole.len() / 2]);
    for command in [
        &["analyze", "logs"][..],
        &["ingest", "logs", "--lake", "lake"],
    ] {
        let ended = place.run(command);
        error_says(
            ended,
            &["cut.log.gz`: ", "gzip data ends early", "truncated"],
        );
    }
    let place = place_with("plain.log.gz", b"this is not gzip\n");
    insta::assert_snapshot!(error(place.run(&["ingest", "logs", "--lake", "lake"])), @"error: `logs` holds no flow logs: no line is a flow log record; the first is `this is not gzip`");
    let place = place_with(
        "program",
        b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0",
    );
    error_says(
        place.run(&["ingest", "logs", "--lake", "lake"]),
        &["`logs` holds no flow logs", "binary"],
    );
}

#[test]
fn a_plain_log_named_gz_is_read_for_what_it_is() {
    let place = place_with("plain.log.gz", log(V2, &[call()]).as_bytes());
    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    assert_eq!(
        place.sql("SELECT COUNT(*) AS n FROM flows"),
        [json!({"n": 1})]
    );
}

#[test]
fn a_bad_object_among_good_ones_is_set_aside_and_the_rest_is_in() {
    let whole = gzip(log(V2, &vec![call(); 50]).as_bytes());
    let place = place_with("a.log.gz", &whole);
    place.put("logs/b.log.gz", &whole[..whole.len() / 2]);
    place.put("logs/c.log", log(V2, &[call()]));
    let ended = place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    assert_eq!(ended.stdout, "");
    assert!(
        ended.stderr.contains("b.log.gz`: set aside: "),
        "{}",
        ended.stderr
    );
    assert_eq!(
        place.sql("SELECT COUNT(*) AS n, COUNT(DISTINCT source) AS sources FROM flows"),
        [json!({"n": 51, "sources": 2})]
    );
    let aside = place.sql("SELECT key, rows, reason FROM objects WHERE outcome = 'set_aside'");
    assert_eq!(aside.len(), 1);
    assert!(
        aside[0]["key"]
            .as_str()
            .unwrap()
            .ends_with("/logs/b.log.gz")
    );
    assert!(aside[0]["reason"].as_str().unwrap().contains("truncated"));
    // Mended, it comes in with the next run.
    place.put("logs/b.log.gz", &whole);
    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    assert_eq!(
        place.sql("SELECT COUNT(*) AS n FROM flows"),
        [json!({"n": 101})]
    );
}

#[test]
fn bad_lines_are_counted_and_shown_with_field_and_value() {
    let good = log(V2, &[call()]);
    let bad = good.lines().nth(1).unwrap().replace(" 443 ", " 75432 ");
    let place = place_with("one.log", format!("{good}{bad}\n").as_bytes());
    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    let lines = place.sql("SELECT line, field, value FROM bad_lines");
    assert_eq!(
        lines,
        [json!({"line": 3, "field": "dstport", "value": "75432"})]
    );
    assert_eq!(
        place.sql("SELECT rows, bad_lines FROM objects"),
        [json!({"rows": 1, "bad_lines": 1})]
    );
}

#[test]
fn a_topology_that_is_not_ec2_json_is_refused() {
    let place = Place::new();
    place.put("t.json", r#"{"Reservations": 1, "a": 2}"#);
    place.put("u.json", "vpc-1\n");
    place.put("logs/one.log", log(V2, &[call()]));
    for command in [
        &["topology", "import", "t.json", "--lake", "lake"][..],
        &["analyze", "logs", "--topology", "t.json"],
        &["sql", "--logs", "logs", "--topology", "t.json", "SELECT 1"],
    ] {
        // `sql --logs` takes several sources: the statement comes first there.
        let command: Vec<&str> = match command {
            ["sql", rest @ .., statement] => [&["sql", *statement], rest].concat(),
            other => other.to_vec(),
        };
        error_says(
            place.run(&command),
            &["t.json: not EC2 JSON", "aws ec2 describe-"],
        );
    }
    error_says(
        place.run(&["topology", "import", "u.json", "--lake", "lake"]),
        &["u.json: line 1, column 1", "not valid JSON"],
    );
    assert!(!place.path("lake").exists(), "nothing is half-written");
}

#[test]
fn a_bad_policy_is_refused_before_anything_is_read() {
    let place = place_with_lake();
    place.put(
        "policy.toml",
        "[[expect]]\ndetection = \"egress_unexpected\"\nsubnet = [\"subnet-1\"]\nreason = \"a typo\"\n",
    );
    let detect = [
        "detect",
        "egress_unexpected",
        "--lake",
        "lake",
        "--policy",
        "policy.toml",
    ];
    insta::assert_snapshot!(error(place.run(&detect)), @"error: policy `policy.toml`: line 3, column 1: unknown field `subnet`, expected one of `detection`, `subnets`, `interfaces`, `vpcs`, `remote`, `ports`, `protocol`, `reason`, `until`");
    let analyze = [
        "analyze",
        "logs",
        "--lake",
        "other",
        "--policy",
        "policy.toml",
    ];
    error_says(place.run(&analyze), &["unknown field `subnet`"]);
    assert!(!place.path("other").exists(), "nothing is half-written");
    place.put(
        "policy.toml",
        "[[expect]]\ndetection = \"egress_unexpected\"\nports = [443]\n",
    );
    error_says(place.run(&detect), &["policy.toml", "reason"]);
}

#[test]
fn a_bad_statement_is_refused_with_its_place_or_its_column() {
    let place = place_with_lake();
    let sql = |statement: &str| place.run(&["sql", "--lake", "lake", statement]);
    error_says(
        sql("SELEC 1"),
        &["the statement cannot be run", "SELEC", "Line: 1, Column: 1"],
    );
    error_says(sql("SELECT srcadr FROM flows"), &["srcadr", "hint: "]);
    error_says(sql("SELECT $port"), &["`$port`", "--param port="]);
    error_says(sql(" "), &["the statement is empty"]);
}

#[test]
fn an_unknown_detection_or_parameter_is_refused() {
    let place = place_with_lake();
    error_says(
        place.run(&["detect", "egres", "--lake", "lake"]),
        &[
            "error: no detection or group is named `egres`; the groups are all, core, ",
            "hint: `flowscout queries list` shows them",
        ],
    );
    let detect = |param: &str| {
        error(place.run(&[
            "detect",
            "egress_unexpected",
            "--lake",
            "lake",
            "--param",
            param,
        ]))
    };
    insta::assert_snapshot!(detect("floor=1"), @r"
    error: no parameter `floor`; there are baseline_days, large_bytes
    hint: `flowscout queries show ID` shows a detection's parameters
    ");
    insta::assert_snapshot!(detect("baseline_days=week"), @"error: parameter `baseline_days`: expected a whole number, got `week`");
}

#[test]
fn a_lake_that_cannot_be_written_or_is_not_there_is_told() {
    let place = place_with("one.log", log(V2, &[call()]).as_bytes());
    place.put("file", "");
    let ended = place.run(&["ingest", "logs", "--lake", "file/lake"]);
    assert!(
        !ended.stderr.contains("read 1 objects"),
        "checked before anything is read"
    );
    error_says(
        ended,
        &["cannot write to the lake at `file/lake`", "hint: "],
    );
    insta::assert_snapshot!(error(place.run(&["sql", "--lake", "lake", "SELECT 1"])), @r"
    error: no lake at `lake`
    hint: run `flowscout ingest <SOURCE> --lake lake` to create it
    ");
}

#[test]
fn what_is_typed_wrong_ends_with_2() {
    let place = Place::new();
    for arguments in [
        &["nope"][..],
        &["ingest"],
        &["detect", "--fail-on", "sever"],
        &["detect", "--from", "yesterday"],
        &["sql", "SELECT 1", "--format", "xml"],
        &["ingest", "x", "--log-format", "version nonsense srcaddr,,"],
    ] {
        let ended = place.run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stdout, "");
        assert!(ended.stderr.contains("error: "), "{ended:?}");
    }
    let help = place.run(&["--help"]).ok();
    assert!(help.stdout.contains("EXIT STATUS") && help.stderr.is_empty());
    assert!(
        place
            .run(&["--version"])
            .ok()
            .stdout
            .starts_with("flowscout ")
    );
}

/// A subnet behind a NAT gateway, from which somebody calls out.
fn private_world() -> World {
    World::new()
        .vpc("vpc-1", "10.0.0.0/16")
        .internet_gateway("igw-1", "vpc-1")
        .subnet(
            "subnet-public",
            "vpc-1",
            &["10.0.0.0/24"],
            &[("0.0.0.0/0", "igw-1")],
        )
        .subnet(
            "subnet-app",
            "vpc-1",
            &["10.0.1.0/24"],
            &[("0.0.0.0/0", "nat-a")],
        )
        .nat("a", "vpc-1", "subnet-public", "10.0.0.5", "203.0.113.5")
        .interface("eni-app", "vpc-1", "subnet-app", &["10.0.1.10"])
}

#[test]
fn fail_on_ends_with_1_at_its_severity_and_with_0_above() {
    let place = place_with("one.log", log(FULL, &[call().egress().flags(2)]).as_bytes());
    private_world().put(&place);
    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    place
        .run(&[
            "topology",
            "import",
            "topology",
            "--lake",
            "lake",
            "--at",
            "2026-03-01",
        ])
        .ok();
    let detect = |more: &[&str]| {
        place.run(&[&["detect", "egress_unexpected", "--lake", "lake"], more].concat())
    };
    let met = detect(&["--fail-on", "medium"]);
    assert_eq!(met.code, Some(1), "{met:?}");
    let findings = met.rows();
    assert_eq!(findings.len(), 1);
    let keys: Vec<&String> = findings[0].as_object().unwrap().keys().collect();
    assert_eq!(
        keys.iter()
            .map(|key| key.as_str())
            .collect::<Vec<_>>()
            .join(" "),
        "fingerprint detection severity title first_seen last_seen account_id region vpc_id subnet_id interface_id src_addr dst_addr \
         dst_subnet_id dst_port protocol flows packets bytes reason evidence expected_by"
    );
    assert_eq!(findings[0]["interface_id"], "eni-app");
    assert_eq!(detect(&["--fail-on", "high"]).code, Some(0));
    // What the policy expects fails nothing and is shown on demand.
    place.put(
        "policy.toml",
        "[[expect]]\ndetection = \"egress_unexpected\"\nremote = [\"192.0.2.0/24\"]\nreason = \"a partner\"\n",
    );
    let expected = detect(&["--fail-on", "info", "--policy", "policy.toml"]).ok();
    assert_eq!(expected.stdout, "");
    let all = detect(&["--fail-on", "info", "--policy", "policy.toml", "--all"])
        .ok()
        .rows();
    assert_eq!(all[0]["expected_by"], "a partner");
}

#[test]
fn every_format_says_the_same() {
    let place = place_with_lake();
    let statement = "SELECT srcaddr, bytes, start, NULL AS nothing FROM flows";
    let sql = |format: &str| {
        place
            .run(&["sql", "--lake", "lake", "--format", format, statement])
            .ok()
            .stdout
    };
    let row = json!({"srcaddr": "10.0.1.10", "bytes": 1000, "start": "2026-03-10T08:00:00Z", "nothing": null});
    assert_eq!(serde_json::from_str::<Value>(&sql("ndjson")).unwrap(), row);
    assert_eq!(
        serde_json::from_str::<Value>(&sql("json")).unwrap(),
        json!([row])
    );
    insta::assert_snapshot!(sql("csv"), @r"
    srcaddr,bytes,start,nothing
    10.0.1.10,1000,2026-03-10T08:00:00Z,
    ");
    let table = sql("table");
    assert!(
        table.contains("srcaddr") && table.contains("10.0.1.10") && table.contains("1000"),
        "{table}"
    );
    // Not a terminal: NDJSON.
    let default = place.run(&["sql", "--lake", "lake", statement]).ok().stdout;
    assert_eq!(default, sql("ndjson"));
    let bytes = place
        .command(&["sql", "--lake", "lake", "--format", "parquet", statement])
        .output()
        .unwrap()
        .stdout;
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
        bytes::Bytes::from(bytes),
    )
    .unwrap()
    .build()
    .unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(
        batches.iter().map(|batch| batch.num_rows()).sum::<usize>(),
        1
    );
    assert_eq!(batches[0].schema().field(1).name(), "bytes");
}

#[test]
fn an_answer_without_rows_is_well_formed_in_every_format() {
    let place = place_with_lake();
    let sql = |format: &str| {
        let statement = "SELECT srcaddr FROM flows WHERE bytes < 0";
        place
            .run(&["sql", "--lake", "lake", "--format", format, statement])
            .ok()
            .stdout
    };
    assert_eq!(sql("ndjson"), "");
    assert_eq!(
        serde_json::from_str::<Value>(&sql("json")).unwrap(),
        json!([])
    );
    assert_eq!(sql("csv"), "srcaddr\n");
}

#[test]
fn a_closed_pipe_ends_with_0() {
    let place = place_with_lake();
    let mut child = place
        .command(&[
            "sql",
            "--lake",
            "lake",
            "--format",
            "ndjson",
            "SELECT value FROM generate_series(1, 3000000)",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::with_capacity(64, child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    // The reader is gone here: what follows cannot be written.
    let output = child.wait_with_output().unwrap();
    assert_eq!(line, "{\"value\":1}\n");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_statement_comes_from_standard_input_or_a_file_with_values() {
    let place = place_with_lake();
    place.put(
        "q.sql",
        "SELECT dstport FROM flows WHERE dstport = $port AND start >= $since",
    );
    let ended = place
        .run(&[
            "sql",
            "--lake",
            "lake",
            "--file",
            "q.sql",
            "--param",
            "port=443",
            "--param",
            "since=2026-03-10",
        ])
        .ok();
    assert_eq!(ended.rows(), [json!({"dstport": 443})]);
    let mut child = place
        .command(&["sql", "--lake", "lake"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"SELECT 1 AS one")
        .unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"{\"one\":1}\n");
}

#[test]
fn logs_come_from_standard_input_in_a_format_that_is_told() {
    let place = Place::new();
    let mut child = place
        .command(&[
            "ingest",
            "-",
            "--lake",
            "lake",
            "--log-format",
            "${srcaddr} ${dstaddr} ${bytes} ${start} ${log-status}",
        ])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"10.0.1.1 10.0.1.2 77 1773129600 OK\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        place.sql("SELECT srcaddr, bytes, date FROM flows"),
        [json!({"srcaddr": "10.0.1.1", "bytes": 77, "date": "2026-03-10"})]
    );
}

#[test]
fn the_catalog_lists_and_shows_the_detections() {
    let place = Place::new();
    let listed = place.run(&["queries", "list"]).ok().rows();
    let ids: Vec<&str> = listed
        .iter()
        .map(|row| row["id"].as_str().unwrap())
        .collect();
    assert!(ids.is_sorted(), "{ids:?}");
    for core in [
        "east_west_private",
        "egress_unexpected",
        "reject_spike",
        "topology_drift_public",
    ] {
        assert!(ids.contains(&core), "{core}: {ids:?}");
    }
    for row in &listed {
        assert!(
            row["false_positives"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{row}"
        );
        let is_core = row["group"] == "core";
        assert!(
            row["attack"]
                .as_array()
                .is_some_and(|attack| !attack.is_empty() || !is_core),
            "{row}"
        );
    }
    let shown = place.run(&["queries", "show", "reject_spike"]).ok().stdout;
    assert!(
        shown.starts_with("-- title: ") && shown.contains("SELECT"),
        "{shown}"
    );
}

#[test]
fn a_detection_of_ones_own_runs_from_a_folder() {
    let place = place_with_lake();
    place.put(
        "own/big_talkers.sql",
        "-- title: Big talkers\n-- severity: low\n-- attack: T1041\n-- parameters:\n--   least = 500   bytes\n\
         -- description: Who sends much.\n-- false_positives: Backups.\n\
         SELECT srcaddr AS src_addr, SUM(bytes) AS bytes FROM flows WHERE start < $to AND \"end\" >= $from \
         GROUP BY srcaddr HAVING SUM(bytes) >= $least ORDER BY srcaddr\n",
    );
    let detect = |param: &str| {
        place
            .run(&[
                "detect",
                "big_talkers",
                "--queries",
                "own",
                "--lake",
                "lake",
                "--param",
                param,
            ])
            .ok()
            .rows()
    };
    let found = detect("least=1000");
    assert_eq!(found.len(), 1);
    assert_eq!(
        (&found[0]["severity"], &found[0]["bytes"]),
        (&json!("low"), &json!(1000))
    );
    assert!(detect("least=1001").is_empty());
}

#[test]
fn lake_info_counts_what_is_in() {
    let place = place_with_lake();
    let info = &place.run(&["lake", "info", "--lake", "lake"]).ok().rows()[0];
    assert_eq!(
        (
            &info["rows"],
            &info["objects"]["ingested"],
            &info["first_date"]
        ),
        (&json!(1), &json!(1), &json!("2026-03-10"))
    );
}
