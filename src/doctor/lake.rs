//! The lake: does it open, is it well, does its store keep two writers apart?

use std::error::Error;

use super::Notes;
use crate::lake::{Creation, Lake, LakeError, LakeInfo, LakeUri, Outcome};
use crate::source::S3Settings;

/// Below this average, with so many files, a query opens files more than it reads them.
const SMALL_FILE_BYTES: u64 = 16 << 20;
const MANY_FILES: u64 = 64;

/// How often conditional writes are tried: a store that loses races does not lose each.
const PROBES: usize = 3;

const REST: [&str; 3] = ["contents", "set aside", "conditional writes"];

pub(super) async fn examine(uri: &LakeUri, settings: &S3Settings, notes: &mut Notes) {
    let subject = uri.to_string();
    let lake = match Lake::open_with(uri, settings).await {
        Ok(lake) => lake,
        Err(error @ LakeError::NoLake { .. }) => {
            notes.warn(&subject, "lake", error.to_string(), error.hint());
            return notes.skip(
                &subject,
                &REST,
                "an ingest creates the lake, and tries its store before that",
            );
        }
        Err(error) => {
            notes.fail(&subject, "lake", error.to_string(), error.hint());
            return notes.skip(&subject, &REST, "the lake cannot be opened");
        }
    };
    match lake.info().await {
        Ok(info) => describe(&subject, &info, notes),
        Err(error) => {
            notes.fail(&subject, "lake", error.to_string(), error.hint());
            notes.skip(&subject, &REST[..2], "the lake cannot be read");
        }
    }
    let advice = || Some("use S3 itself, or a store that implements conditional writes".to_owned());
    match Lake::probe(uri, settings, PROBES).await {
        Ok(probe) => match probe.creation {
            Creation::Exclusive => {
                let found = "of several writers one wins";
                notes.ok(&subject, "conditional writes", found);
            }
            Creation::Shared { creators, winners } => {
                let found = format!(
                    "{winners} of {creators} writers believe that they have won: commits would be lost"
                );
                notes.fail(&subject, "conditional writes", found, advice());
            }
        },
        Err(error) => {
            let advice = "the role needs `s3:PutObject` and `s3:DeleteObject` below the lake's prefix; a folder has to be writable";
            let cause = error.source().map(|cause| format!(": {cause}"));
            notes.fail(
                &subject,
                "conditional writes",
                format!("{error}{}", cause.unwrap_or_default()),
                Some(advice.to_owned()),
            );
        }
    }
}

fn describe(subject: &str, info: &LakeInfo, notes: &mut Notes) {
    notes.ok(subject, "lake", format!("version {}", info.version));
    let found = format!(
        "{} rows in {} files, {} bytes",
        info.rows, info.files, info.bytes
    );
    let average = info.bytes.checked_div(info.files).unwrap_or_default();
    if info.files >= MANY_FILES && average < SMALL_FILE_BYTES {
        let advice = "`flowscout lake compact` makes few large files of many small ones";
        notes.warn(subject, "contents", found, Some(advice.to_owned()));
    } else {
        notes.ok(subject, "contents", found);
    }
    let set_aside = info
        .objects
        .get(&Outcome::SetAside)
        .copied()
        .unwrap_or_default();
    match info.set_aside.first() {
        Some((key, reason)) => notes.warn(
            subject,
            "set aside",
            format!("{set_aside} objects; the first is `{key}`: {reason}"),
            Some(
                "`flowscout lake info` names them, `flowscout ingest --retry` tries them again"
                    .to_owned(),
            ),
        ),
        None => notes.ok(subject, "set aside", "no object"),
    }
}
