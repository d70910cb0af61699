//! Queues that tell of objects: what they say, when their messages go, what is never fetched.

use std::time::Duration;

use serde_json::json;

use crate::harness::Place;
use crate::running::{cut, eventually, follow, follow_queue, rows, rows_in};
use crate::s3_server::{Fault, S3Server};
use crate::sqs_server::{SqsServer, created};

#[test]
fn a_queue_tells_of_objects_in_every_envelope() {
    let (place, s3, queue) = (
        Place::new(),
        S3Server::with_bucket("logs"),
        SqsServer::start(),
    );
    let odd = "AWSLogs/a b/größe+1=.log.gz";
    for (name, count) in [
        ("a.log.gz", 1),
        (odd, 2),
        ("c.log.gz", 4),
        ("d.log.gz", 8),
        ("e.log.gz", 16),
    ] {
        s3.put("logs", name, rows(count));
    }
    queue.send(json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "logs"}));
    queue.send(created("logs", &["a.log.gz", odd]));
    queue.send(
        json!({"Type": "Notification", "Message": created("logs", &["c.log.gz"]).to_string()}),
    );
    queue.send(
        json!({"source": "aws.s3", "detail-type": "Object Created", "time": "2026-03-10T08:00:00Z",
        "detail": {"bucket": {"name": "logs"}, "object": {"key": "d.log.gz"}}}),
    );
    queue.send(json!({"Records": [{"eventName": "ObjectRemoved:Delete", "s3": {"bucket": {"name": "logs"}, "object": {"key": "e.log.gz"}}}]}));
    let running = follow_queue(&place, &s3, &queue, &[]);
    eventually("all messages are deleted", || queue.left().is_empty());
    assert_eq!(rows_in(&place), 15, "messages go after the commit");
    // The same told again, and of another object: only that is read.
    queue.send(created("logs", &["a.log.gz", "e.log.gz"]));
    eventually("all messages are deleted", || queue.left().is_empty());
    let ended = running.stop();
    assert_eq!(rows_in(&place), 31);
    assert_eq!(s3.gets("logs", "a.log.gz"), 1);
    assert!(
        ended
            .stderr
            .contains("messages: 6 deleted, 0 returned, 0 not understood"),
        "{}",
        ended.stderr
    );
    let asked = queue.calls("ReceiveMessage");
    assert!(
        asked
            .iter()
            .all(|call| call.body["WaitTimeSeconds"] == 20 && call.region == "us-east-1"),
        "{asked:?}"
    );
    assert_eq!(
        s3.count("ListObjectsV2"),
        0,
        "a queue alone needs no listing"
    );
}

#[test]
fn a_message_is_deleted_only_after_the_commit() {
    let (place, s3, queue) = (
        Place::new(),
        S3Server::with_bucket("logs"),
        SqsServer::start(),
    );
    s3.put("logs", "a.log.gz", rows(10));
    queue.send(created("logs", &["a.log.gz"]));
    let running = follow_queue(
        &place,
        &s3,
        &queue,
        &["--commit-every", "1h", "--visibility", "6s"],
    );
    eventually("the object is fetched", || s3.gets("logs", "a.log.gz") == 1);
    // It is kept from others while it waits for the commit.
    eventually("it is prolonged", || {
        queue.calls("ChangeMessageVisibilityBatch").len() >= 3
    });
    assert_eq!(
        (queue.left(), queue.receives("m-1"), rows_in(&place)),
        (vec!["m-1".to_owned()], 1, 0)
    );
    queue.fail_deletes(1);
    running.stop();
    assert_eq!(rows_in(&place), 10);
    assert_eq!(
        queue.deleted(),
        ["m-1"],
        "it is deleted in spite of the failure"
    );
    assert_eq!(queue.calls("DeleteMessageBatch").len(), 2);
}

#[test]
fn a_process_that_is_killed_leaves_messages_that_are_known_when_they_come_again() {
    let (place, s3, queue) = (
        Place::new(),
        S3Server::with_bucket("logs"),
        SqsServer::start(),
    );
    s3.put("logs", "a.log.gz", rows(10));
    queue.send(created("logs", &["a.log.gz"]));
    // Committed, and not deleted.
    queue.refuse("DeleteMessageBatch", "AccessDenied", 403, usize::MAX);
    let running = follow_queue(&place, &s3, &queue, &["--visibility", "2s"]);
    eventually("the object is in", || rows_in(&place) == 10);
    eventually("it tries to delete", || {
        !queue.calls("DeleteMessageBatch").is_empty()
    });
    running.signal("KILL");
    assert_eq!(running.end().code, None);
    assert_eq!(queue.left(), ["m-1"]);
    let other = SqsServer::start();
    other.send(created("logs", &["a.log.gz"]));
    let running = follow_queue(&place, &s3, &other, &[]);
    eventually("the message is deleted", || other.left().is_empty());
    running.stop();
    assert_eq!((rows_in(&place), s3.gets("logs", "a.log.gz")), (10, 1));
}

#[test]
fn what_is_not_begun_is_given_back_and_what_fails_is_left() {
    let (place, s3, queue) = (
        Place::new(),
        S3Server::with_bucket("logs"),
        SqsServer::start(),
    );
    s3.put("logs", "denied.log.gz", rows(10));
    s3.put("logs", "poison.log.gz", cut(50));
    s3.inject(Fault::refuse("GetObject", "AccessDenied", 403).on("denied.log.gz"));
    let denied = queue.send(created("logs", &["denied.log.gz"]));
    let poison = queue.send(created("logs", &["poison.log.gz"]));
    let gone = queue.send(created("logs", &["gone.log.gz"]));
    let running = follow_queue(&place, &s3, &queue, &["--visibility", "1s"]);
    eventually("poison and what is gone are dealt with", || {
        queue.left() == [denied.clone()]
    });
    let mut deleted = queue.deleted();
    deleted.sort();
    assert_eq!(deleted, [poison, gone]);
    eventually("what fails appears again", || queue.receives(&denied) >= 3);
    s3.clear_faults();
    eventually("it is read in the end", || queue.left().is_empty());
    running.stop();
    assert_eq!(rows_in(&place), 10);
    let info = place.run(&["lake", "info", "--lake", "lake"]).ok().rows();
    assert_eq!(
        info[0]["set_aside"][0]["key"], "s3://logs/poison.log.gz",
        "{info:?}"
    );
}

#[test]
fn nothing_is_fetched_from_a_bucket_that_was_not_named() {
    let (place, s3, queue) = (
        Place::new(),
        S3Server::with_bucket("logs"),
        SqsServer::start(),
    );
    s3.create_bucket("theirs", crate::s3_server::REGION);
    s3.put("theirs", "a.log.gz", rows(10));
    s3.put("logs", "AWSLogs/a.log.gz", rows(20));
    s3.put("logs", "elsewhere/a.log.gz", rows(40));
    let refused = place.run_with(&s3, &["ingest", &queue.url(), "--lake", "lake"]);
    assert_eq!(refused.code, Some(2));
    insta::assert_snapshot!(refused.stderr, @"error: say which buckets the queue may speak of, with `--bucket NAME` (or a source `s3://NAME`): nothing is fetched from others");
    let strange = queue.send(created("theirs", &["a.log.gz"]));
    let noise = queue.send("hello");
    queue.send(created("logs", &["AWSLogs/a.log.gz", "elsewhere/a.log.gz"]));
    let mut running = follow(
        &place,
        &s3,
        &queue.url(),
        &["--bucket", "logs/AWSLogs/", "--visibility", "1s"],
    );
    eventually("the good message is deleted", || queue.deleted() == ["m-3"]);
    eventually("the others appear again and again", || {
        queue.receives(&strange) > 2 && queue.receives(&noise) > 2
    });
    running.wait_until_it_says("it speaks of `s3://theirs/a.log.gz`");
    let ended = running.stop();
    assert_eq!(rows_in(&place), 20);
    assert!(
        !s3.requests()
            .iter()
            .any(|request| request.bucket == "theirs")
    );
    assert_eq!(
        ended.stderr.matches("cannot understand a message").count(),
        2,
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("2 not understood"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_queue_is_drained_once_without_follow() {
    let (place, s3, queue) = (
        Place::new(),
        S3Server::with_bucket("logs"),
        SqsServer::start(),
    );
    for number in 0..25 {
        let name = format!("{number:02}.log.gz");
        s3.put("logs", &name, rows(2));
        queue.send(created("logs", &[&name]));
    }
    queue.send("hello");
    let arguments = ["ingest", &queue.url(), "--bucket", "logs", "--lake", "lake"];
    let ended = place.run_with(&s3, &arguments).ok();
    assert!(
        ended.stderr.contains("read 25 objects: 50 rows"),
        "{}",
        ended.stderr
    );
    assert!(
        ended
            .stderr
            .contains("messages: 25 deleted, 0 returned, 1 not understood"),
        "{}",
        ended.stderr
    );
    assert_eq!(queue.left(), ["m-26"]);
    assert!(
        queue
            .calls("ReceiveMessage")
            .iter()
            .all(|call| call.body["MaxNumberOfMessages"].as_u64() <= Some(10))
    );
    assert!(
        queue.calls("DeleteMessageBatch").len() < 25,
        "they are deleted in tens"
    );
}

#[test]
fn trouble_with_a_queue_passes_or_ends_it() {
    let (place, s3, queue) = (
        Place::new(),
        S3Server::with_bucket("logs"),
        SqsServer::start(),
    );
    s3.put("logs", "a.log.gz", rows(10));
    queue.send(created("logs", &["a.log.gz"]));
    queue.refuse("ReceiveMessage", "RequestThrottled", 403, 5);
    let running = follow_queue(&place, &s3, &queue, &[]);
    eventually("the message is deleted", || queue.left().is_empty());
    assert!(
        running.stderr().contains("trouble with a queue"),
        "{}",
        running.stderr()
    );
    queue.refuse("ReceiveMessage", "AccessDenied", 403, usize::MAX);
    queue.send(created("logs", &["a.log.gz"]));
    let ended = running.end();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("`sqs:ReceiveMessage` on the queue"),
        "{}",
        ended.stderr
    );
}

#[test]
fn messages_in_hand_are_given_back_at_a_stop() {
    let (place, s3, queue) = (
        Place::new(),
        S3Server::with_bucket("logs"),
        SqsServer::start(),
    );
    // One message with more objects than are read at a time: some of it is not begun when the stop comes.
    let names: Vec<String> = (0..40)
        .map(|number| format!("{number:02}.log.gz"))
        .collect();
    for name in &names {
        s3.put("logs", name, rows(1));
    }
    s3.inject(Fault::delay("GetObject", Duration::from_secs(2)));
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    queue.send(created("logs", &all));
    let running = follow_queue(&place, &s3, &queue, &["--visibility", "10m"]);
    eventually("objects are asked for", || s3.count("GetObject") >= 8);
    let ended = running.stop();
    assert!(
        ended.stderr.contains("messages: 0 deleted, 1 returned"),
        "{}",
        ended.stderr
    );
    assert_eq!(queue.visible(), 1, "others have it at once");
    assert!(rows_in(&place) < 40);
}

#[test]
fn an_object_that_is_not_what_a_message_told_is_read_as_it_is_now() {
    let (place, s3, queue) = (
        Place::new(),
        S3Server::with_bucket("logs"),
        SqsServer::start(),
    );
    s3.put("logs", "a.log.gz", rows(10));
    for key in ["a.log.gz", "gone.log.gz"] {
        let mut message = created("logs", &[key]);
        message["Records"][0]["s3"]["object"]["eTag"] = "0123456789abcdef".into();
        queue.send(message);
    }
    let running = follow_queue(&place, &s3, &queue, &[]);
    eventually("both are dealt with", || queue.left().is_empty());
    queue.send(created("logs", &["a.log.gz"]));
    eventually("it is known as it is", || queue.left().is_empty());
    let ended = running.stop();
    assert!(
        ended.stderr.contains("read 1 objects: 10 rows"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("changed"), "{}", ended.stderr);
    assert_eq!(rows_in(&place), 10);
}
