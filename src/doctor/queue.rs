//! A queue: may its messages be taken, kept and deleted, and does it have a dead-letter queue?

use std::time::Duration;

use super::Notes;
use crate::source::S3Settings;
use crate::source::queue::{Queue, QueueError, QueueUrl};

/// SQS looks at the permission first, and then finds that it never gave this out.
const NO_HANDLE: &str = "not-a-receipt-handle";

pub(super) async fn examine(url: &QueueUrl, settings: &S3Settings, notes: &mut Notes) {
    let subject = url.to_string();
    let queue = match Queue::open(url.clone(), settings).await {
        Ok(queue) => queue,
        Err(error) => {
            notes.fail(&subject, "attributes", error.to_string(), error.hint());
            let rest = ["dead-letter queue", "receive", "delete", "keep"];
            return notes.skip(&subject, &rest, "there are no credentials");
        }
    };
    match queue.facts().await {
        Ok(facts) => {
            let count =
                |count: Option<u64>| count.map_or("?".to_owned(), |count| count.to_string());
            let found = format!(
                "{} messages wait, {} are handed out",
                count(facts.waiting),
                count(facts.handed_out)
            );
            notes.ok(&subject, "attributes", found);
            match facts.redrive_policy {
                Some(policy) => notes.ok(&subject, "dead-letter queue", policy),
                None => notes.warn(
                    &subject,
                    "dead-letter queue",
                    "none: a message that cannot be understood comes again until it is too old",
                    Some(
                        "give the queue a redrive policy, with a maxReceiveCount of 5 or so"
                            .to_owned(),
                    ),
                ),
            }
        }
        // An ingest does not need to know.
        Err(error @ QueueError::Denied { .. }) => {
            notes.warn(&subject, "attributes", error.to_string(), error.hint());
            notes.skip(
                &subject,
                &["dead-letter queue"],
                "the queue may not be asked for its attributes",
            );
        }
        Err(error) => {
            notes.fail(&subject, "attributes", error.to_string(), error.hint());
            notes.skip(
                &subject,
                &["dead-letter queue"],
                "the queue does not answer",
            );
        }
    }
    // Visible again at once: whoever waits for the message gets it. Only its count of receives grows.
    let received = queue.receive(1, Duration::ZERO, Duration::ZERO).await;
    note(&subject, "receive", received.map(|_| ()), notes);
    let handles = [NO_HANDLE.to_owned()];
    note(
        &subject,
        "delete",
        queue.delete(&handles).await.map(|_| ()),
        notes,
    );
    note(
        &subject,
        "keep",
        queue.give_back(&handles).await.map(|_| ()),
        notes,
    );
}

fn note(subject: &str, check: &'static str, tried: Result<(), QueueError>, notes: &mut Notes) {
    match tried {
        Ok(()) => notes.ok(subject, check, "allowed"),
        Err(error) => notes.fail(subject, check, error.to_string(), error.hint()),
    }
}
