//! The lake: does it open, is it well, does its store keep two writers apart?

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode};
use uuid::Uuid;

use super::Notes;
use crate::lake::{Lake, LakeError, LakeInfo, LakeUri, Outcome};
use crate::source::S3Settings;

/// Below this average, with so many files, a query opens files more than it reads them.
const SMALL_FILE_BYTES: u64 = 16 << 20;
const MANY_FILES: u64 = 64;

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
    match probe(lake.store().as_ref(), &root_of(uri)).await {
        Ok(Probe {
            winners: 1,
            is_deleted,
        }) => {
            notes.ok(&subject, "conditional writes", "of two writers one wins");
            if !is_deleted {
                notes.warn(
                    &subject,
                    "delete",
                    "what was written cannot be deleted: files of batches that did not land will stay",
                    Some("the role needs `s3:DeleteObject` below the lake's prefix".to_owned()),
                );
            }
        }
        Ok(Probe { winners, .. }) => {
            let found = format!(
                "{winners} of two writers believe that they have won: commits would be lost"
            );
            notes.fail(&subject, "conditional writes", found, advice());
        }
        Err(error) => {
            let advice = "the role needs `s3:PutObject` below the lake's prefix; a folder has to be writable";
            notes.fail(
                &subject,
                "conditional writes",
                format!("nothing can be written: {error}"),
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

/// What came of writing the same twice at the same time.
#[derive(Debug, PartialEq, Eq)]
struct Probe {
    /// How many of the two were told that they created it.
    winners: usize,
    is_deleted: bool,
}

/// Lets two writers create the same object at the same time, and deletes it.
async fn probe(store: &dyn ObjectStore, root: &Path) -> object_store::Result<Probe> {
    let name = format!("probe-{}", Uuid::new_v4().simple());
    let path = root.clone().join("_flowscout").join(name);
    let create = |text: &'static str| {
        store.put_opts(
            &path,
            Bytes::from_static(text.as_bytes()).into(),
            PutMode::Create.into(),
        )
    };
    let (one, other) = tokio::join!(create("one"), create("other"));
    let is_deleted = store.delete(&path).await.is_ok();
    let mut winners = 0;
    for created in [one, other] {
        match created {
            Ok(_) => winners += 1,
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Probe {
        winners,
        is_deleted,
    })
}

/// Where the lake lies in its store: a folder's store is the folder, a bucket's the whole bucket.
fn root_of(uri: &LakeUri) -> Path {
    let text = uri.to_string();
    let prefix = text
        .strip_prefix("s3://")
        .and_then(|rest| rest.split_once('/'))
        .map_or("", |(_, prefix)| prefix);
    Path::from(prefix)
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn of_two_writers_one_wins_and_nothing_is_left() {
        let store = InMemory::new();
        let root = root_of(&LakeUri::parse("s3://bucket/team/lake").unwrap());
        let probed = probe(&store, &root).await.unwrap();
        assert_eq!(
            probed,
            Probe {
                winners: 1,
                is_deleted: true
            }
        );
        assert_eq!(root.as_ref(), "team/lake");
        assert_eq!(root_of(&LakeUri::parse("./lake").unwrap()).as_ref(), "");
    }
}
