//! A place that logs are read from: is it there, may it be listed, may its objects be read, do the clocks agree?

use std::io::Read;

use chrono::TimeDelta;
use futures::StreamExt;

use super::Notes;
use crate::source::{Listed, Location, Object, S3Settings, Selection, Source};

/// So many entries that are no flow logs are passed by in search of one that may be.
const ENTRIES: usize = 5000;

/// S3 tolerates 15 minutes: a clock that is off by a third of it will be off by all of it.
const WORRYING: TimeDelta = TimeDelta::minutes(5);
const TOO_MUCH: TimeDelta = TimeDelta::minutes(15);

pub(super) async fn examine(place: &Location, settings: &S3Settings, notes: &mut Notes) {
    let subject = place.to_string();
    let source = match Source::open(place.clone(), settings).await {
        Ok(source) => source,
        Err(error) => {
            notes.fail(&subject, "there", error.to_string(), error.hint());
            return notes.skip(&subject, &["list", "read", "clock"], "it cannot be opened");
        }
    };
    let found = match source.whereabouts() {
        Some((region, endpoint)) => format!("in region {region}, at {endpoint}"),
        None => "on this machine".to_owned(),
    };
    notes.ok(&subject, "there", found);
    match list(&source, &subject, notes).await {
        Some(object) => read(&source, &subject, &object, notes).await,
        None => notes.skip(&subject, &["read"], "there is no object to try"),
    }
    if source.whereabouts().is_some() {
        clock(&source, &subject, notes).await;
    }
}

/// The first object that may be a flow log.
async fn list(source: &Source, subject: &str, notes: &mut Notes) -> Option<Object> {
    let mut listing = source.list(Selection::default()).take(ENTRIES);
    while let Some(listed) = listing.next().await {
        match listed {
            Ok(Listed::Object(object)) => {
                notes.ok(
                    subject,
                    "list",
                    format!("the first object is `{}`", object.key),
                );
                return Some(object);
            }
            Ok(Listed::Skipped { .. }) => {}
            Err(error) => {
                notes.fail(subject, "list", error.to_string(), error.hint());
                return None;
            }
        }
    }
    let advice = "check the prefix, and that the flow log delivers: `aws ec2 describe-flow-logs`";
    notes.warn(
        subject,
        "list",
        "no object that may be a flow log",
        Some(advice.to_owned()),
    );
    None
}

async fn read(source: &Source, subject: &str, object: &Object, notes: &mut Notes) {
    let mut reader = match source.fetch(object).await {
        Ok(reader) => reader,
        Err(error) => return notes.fail(subject, "read", error.to_string(), error.hint()),
    };
    let first = tokio::task::spawn_blocking(move || reader.read(&mut [0; 512])).await;
    match first {
        Ok(Ok(_)) => notes.ok(subject, "read", format!("{} bytes", object.size)),
        Ok(Err(error)) => notes.fail(subject, "read", error.to_string(), None),
        Err(error) => notes.fail(subject, "read", error.to_string(), None),
    }
}

async fn clock(source: &Source, subject: &str, notes: &mut Notes) {
    let Some(offset) = source.clock_offset().await else {
        return notes.skip(subject, &["clock"], "it does not say what time it is");
    };
    let seconds = offset.num_seconds();
    let found = format!(
        "{} s {}",
        seconds.abs(),
        if seconds < 0 { "ahead" } else { "behind" }
    );
    let advice = || Some("set this machine's clock; S3 tolerates 15 minutes".to_owned());
    if offset.abs() >= TOO_MUCH {
        notes.fail(subject, "clock", found, advice());
    } else if offset.abs() >= WORRYING {
        notes.warn(subject, "clock", found, advice());
    } else {
        notes.ok(subject, "clock", "it agrees within 5 minutes");
    }
}
