//! What a run tells of itself: its log, without secrets, and numbers.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::harness::{Place, V2, flow, log};
use crate::running::{ago, cut, eventually, follow, follow_queue, key, rows, rows_in};
use crate::s3_server::S3Server;
use crate::sqs_server::{SqsServer, created};

#[test]
fn lines_of_the_log_are_objects_where_that_is_asked_for() {
    let (place, s3) = (Place::new(), S3Server::with_bucket("logs"));
    s3.put("logs", &key(ago(1), "a"), rows(10));
    let running = follow(&place, &s3, "s3://logs", &["--log-style", "json"]);
    eventually("the object is in", || rows_in(&place) == 10);
    let ended = running.stop();
    let lines: Vec<Value> = ended
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("`{line}`")))
        .collect();
    assert!(
        lines.iter().all(|line| line["timestamp"].is_string()
            && line["level"].is_string()
            && line["message"].is_string()),
        "{lines:?}"
    );
    let commit = lines
        .iter()
        .find(|line| line["message"] == "committed a batch");
    assert_eq!(commit.unwrap()["rows"], 10);
    let mut command =
        place.command(&["ingest", "nowhere", "--lake", "lake", "--log-style", "json"]);
    let output = command.output().unwrap();
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(
        (&error["level"], output.status.code()),
        (&json!("ERROR"), Some(2))
    );
    assert!(
        error["hint"].as_str().unwrap().contains("check the path"),
        "{error}"
    );
}

#[test]
fn no_secret_is_logged_at_any_level() {
    let (place, s3, queue) = (
        Place::new(),
        S3Server::with_bucket("logs"),
        SqsServer::start(),
    );
    s3.create_bucket("lakes", crate::s3_server::REGION);
    s3.put("logs", "a.log.gz", rows(10));
    queue.send(created("logs", &["a.log.gz"]));
    let arguments = [
        "ingest",
        &queue.url(),
        "--bucket",
        "logs",
        "--lake",
        "s3://lakes/lake",
        "-vv",
    ];
    let mut command = place.command(&arguments);
    s3.apply(&mut command)
        .env("AWS_SESSION_TOKEN", "token-that-nobody-may-see")
        .env(
            "FLOWSCOUT_LOG",
            "trace,aws_smithy_runtime::client=trace,hyper=trace",
        );
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("TRACE") || stderr.contains("DEBUG"),
        "{stderr}"
    );
    for secret in [
        crate::s3_server::SECRET_KEY,
        "token-that-nobody-may-see",
        "Signature=",
    ] {
        assert!(!stderr.contains(secret), "`{secret}` is in the log");
    }
}

#[test]
fn numbers_can_be_scraped_while_it_follows() {
    let (place, s3, queue) = (
        Place::new(),
        S3Server::with_bucket("logs"),
        SqsServer::start(),
    );
    s3.put("logs", "a.log.gz", rows(10));
    s3.put("logs", "b.log.gz", cut(50));
    s3.put(
        "logs",
        "c.log",
        format!(
            "{V2}\nno record\n{}",
            log(V2, &[flow("eni-1", ("10.0.0.1", 1), ("10.0.0.2", 2))])
        ),
    );
    queue.send(created("logs", &["a.log.gz", "b.log.gz", "c.log"]));
    queue.send("hello");
    queue.refuse("ReceiveMessage", "RequestThrottled", 403, 3);
    // Nothing else on this machine is told of the port, and it is free now.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let address = format!("127.0.0.1:{port}");
    let running = follow_queue(&place, &s3, &queue, &["--metrics-listen", &address]);
    eventually("the message is deleted", || queue.deleted().len() == 1);
    let mut text = String::new();
    eventually("the deletion is counted", || {
        text = scrape(&address);
        text.contains("flowscout_messages_total{outcome=\"deleted\"} 1")
    });
    for line in [
        "flowscout_objects_total{outcome=\"ingested\"} 2",
        "flowscout_objects_total{outcome=\"set_aside\"} 1",
        "flowscout_objects_total{outcome=\"skipped\"} 0",
        "flowscout_objects_total{outcome=\"deferred\"} 0",
        "flowscout_objects_total{outcome=\"changed\"} 0",
        "flowscout_rows_total 11",
        "flowscout_bad_lines_total 1",
        "flowscout_commit_conflicts_total 0",
        "flowscout_messages_total{outcome=\"not_understood\"} 1",
        "flowscout_retries_total{what=\"queue\"} 1",
        "flowscout_lag_seconds 0",
        "# TYPE flowscout_lag_seconds gauge",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "`{line}` is not in:\n{text}"
        );
    }
    let fetched = text
        .lines()
        .find_map(|line| line.strip_prefix("flowscout_fetched_bytes_total "));
    assert!(fetched.unwrap().parse::<u64>().unwrap() > 100, "{text}");
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        assert!(
            text.contains(&format!("# HELP {name} ")),
            "{name} is not explained"
        );
    }
    running.stop();
}

fn scrape(address: &str) -> String {
    let Ok(mut socket) = std::net::TcpStream::connect(address) else {
        return String::new();
    };
    write!(
        socket,
        "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}
