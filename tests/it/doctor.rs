//! `doctor`: what it finds in order, what is missing by the call that was refused, and that it leaves nothing behind.

use serde_json::Value;

use crate::ec2_server::{Ec2Server, Reply};
use crate::harness::{Ended, Place};
use crate::running::{cut, rows};
use crate::s3_server::{Fault, REGION, S3Server};
use crate::sqs_server::{SqsServer, created};

const PREFIX: &str = "s3://logs/AWSLogs/";

/// Runs it against an S3, and an STS that knows the caller.
fn doctor(place: &Place, s3: &S3Server, arguments: &[&str]) -> Ended {
    let sts = Ec2Server::start(|call| {
        let reply = Reply::identity("123456789012", "arn:aws:iam::123456789012:user/reader");
        (call.action == "GetCallerIdentity").then_some(reply)
    });
    let all: Vec<&str> = ["doctor"].iter().chain(arguments).copied().collect();
    let mut command = place.command(&all);
    s3.apply(&mut command)
        .env("AWS_ENDPOINT_URL_STS", sts.endpoint());
    Ended::of(command.output().unwrap())
}

/// The checks, as `check: result`, of one subject.
fn of(rows: &[Value], subject: &str) -> Vec<String> {
    rows.iter()
        .filter(|row| row["subject"] == subject)
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            format!("{}: {}", text("check"), text("result"))
        })
        .collect()
}

#[test]
fn everything_that_works_is_said_and_nothing_is_left_behind() {
    let (place, s3, queue) = (
        Place::new(),
        S3Server::with_bucket("logs"),
        SqsServer::start(),
    );
    s3.create_bucket("lakes", REGION);
    s3.put("logs", "AWSLogs/a.log.gz", rows(10));
    let message = queue.send(created("logs", &["AWSLogs/a.log.gz"]));
    let lake = "s3://lakes/lake";
    place
        .run_with(&s3, &["ingest", PREFIX, "--lake", lake])
        .ok();
    let before = s3.keys("lakes");
    let url = queue.url();
    let ended = doctor(&place, &s3, &[PREFIX, &url, "--lake", lake]).ok();
    let rows = ended.rows();
    assert_eq!(of(&rows, "AWS"), ["identity: ok"]);
    assert!(
        rows[0]["found"]
            .as_str()
            .unwrap()
            .contains("arn:aws:iam::123456789012:user/reader"),
        "{rows:?}"
    );
    assert_eq!(
        of(&rows, PREFIX),
        ["there: ok", "list: ok", "read: ok", "clock: ok"]
    );
    assert_eq!(
        of(&rows, &url),
        [
            "attributes: ok",
            "dead-letter queue: ok",
            "receive: ok",
            "delete: ok",
            "keep: ok"
        ]
    );
    assert_eq!(
        of(&rows, lake),
        [
            "lake: ok",
            "contents: ok",
            "set aside: ok",
            "conditional writes: ok"
        ]
    );
    assert_eq!(s3.keys("lakes"), before, "the probe is deleted");
    assert_eq!((queue.left(), queue.visible()), (vec![message], 1));

    let ended = doctor(
        &place,
        &s3,
        &[PREFIX, &url, "--lake", lake, "--format", "json"],
    )
    .ok();
    let whole: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(whole["checks"].as_array().unwrap().len(), rows.len());
    let statements = whole["policy"]["Statement"].as_array().unwrap();
    assert_eq!(statements.len(), 5, "{statements:?}");
    let ended = doctor(&place, &s3, &[PREFIX, "--lake", lake, "--format", "table"]).ok();
    for word in [
        "what to do",
        "conditional writes",
        "\"s3:GetObject\"",
        "kms:Decrypt",
    ] {
        assert!(ended.stdout.contains(word), "{}", ended.stdout);
    }
}

#[test]
fn what_is_missing_is_told_by_the_call_that_was_refused() {
    let (place, s3, queue) = (
        Place::new(),
        S3Server::with_bucket("logs"),
        SqsServer::start(),
    );
    s3.put("logs", "AWSLogs/a.log.gz", rows(10));
    let url = queue.url();
    let failed = |ended: &Ended| {
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        let rows = ended.rows();
        let failed = rows.iter().filter(|row| row["result"] == "failed");
        failed
            .map(|row| {
                format!(
                    "{}: {}",
                    row["check"].as_str().unwrap(),
                    row["advice"].as_str().unwrap_or("-")
                )
            })
            .collect::<Vec<_>>()
            .join("\n")
    };
    s3.inject(Fault::refuse("GetObject", "AccessDenied", 403).on("AWSLogs/a.log.gz"));
    let ended = doctor(&place, &s3, &[PREFIX, "--lake", "lake"]);
    assert!(
        failed(&ended).starts_with("read: the role needs `s3:GetObject`"),
        "{ended:?}"
    );
    assert!(
        ended.stderr.contains("error: one check failed"),
        "{}",
        ended.stderr
    );

    s3.clear_faults();
    s3.inject(Fault::refuse("ListObjectsV2", "AccessDenied", 403));
    let ended = doctor(&place, &s3, &[PREFIX, "--lake", "lake"]);
    assert!(
        failed(&ended).starts_with("list: the role needs `s3:ListBucket`"),
        "{ended:?}"
    );
    assert_eq!(of(&ended.rows(), PREFIX)[2], "read: skipped");

    s3.clear_faults();
    for (action, check) in [
        ("ReceiveMessage", "receive"),
        ("DeleteMessageBatch", "delete"),
        ("ChangeMessageVisibilityBatch", "keep"),
    ] {
        queue.refuse(action, "AccessDenied", 403, 1);
        let ended = doctor(&place, &s3, &[&url, "--lake", "lake"]);
        let action = action.trim_end_matches("Batch");
        assert!(
            failed(&ended).starts_with(&format!("{check}: the role needs `sqs:{action}`")),
            "{ended:?}"
        );
    }
    // Not needed to ingest.
    queue.refuse("GetQueueAttributes", "AccessDenied", 403, 1);
    let ended = doctor(&place, &s3, &[&url, "--lake", "lake"]).ok();
    assert_eq!(
        of(&ended.rows(), &url)[..2],
        ["attributes: warning", "dead-letter queue: skipped"]
    );

    let ended = doctor(&place, &s3, &["s3://nowhere/", "--lake", "lake"]);
    assert!(
        failed(&ended).starts_with("there: check the bucket's name"),
        "{ended:?}"
    );
}

#[test]
fn a_lake_that_needs_a_look_is_a_warning() {
    let place = Place::new();
    place.put("logs/bad.log.gz", cut(50));
    place.put("logs/good.log.gz", rows(10));
    let ended = place.run(&["doctor", "logs", "--lake", "lake"]).ok();
    let lake = of(&ended.rows(), "lake");
    assert_eq!(lake[..2], ["lake: warning", "contents: skipped"]);
    assert!(!place.path("lake").exists(), "it creates none");
    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    let ended = place.run(&["doctor", "logs", "--lake", "lake"]).ok();
    let rows = ended.rows();
    assert_eq!(of(&rows, "logs"), ["there: ok", "list: ok", "read: ok"]);
    assert_eq!(
        of(&rows, "lake"),
        [
            "lake: ok",
            "contents: ok",
            "set aside: warning",
            "conditional writes: ok"
        ]
    );
    assert!(of(&rows, "AWS").is_empty(), "nothing of it is on AWS");
    let ended = place.run(&["doctor", "nowhere", "--lake", "lake"]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
}
