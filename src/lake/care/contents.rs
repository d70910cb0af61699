//! What lies in the store below a lake, whether its log knows of it or not.

use std::path::Path as FilePath;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use crate::lake::place::Place;
use crate::lake::{LakeError, SIDE};

/// How many listings are under way at a time.
const LISTINGS: usize = 16;

/// One object of the lake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) location: Path,
    pub(super) size: u64,
    pub(super) modified: DateTime<Utc>,
}

impl From<ObjectMeta> for Found {
    fn from(meta: ObjectMeta) -> Self {
        Self {
            location: meta.location,
            size: meta.size,
            modified: meta.last_modified,
        }
    }
}

/// All data files, by date. A lake may lie among other things: only its own folders are listed.
pub(super) async fn data_files(place: &Place) -> Result<Vec<Found>, LakeError> {
    let root = (!place.root.as_ref().is_empty()).then_some(&place.root);
    let top = place.store.list_with_delimiter(root).await;
    let top = top.map_err(place.failed("list", &place.root))?;
    let dates = top.common_prefixes.into_iter().filter(|folder| {
        let name = folder.parts().next_back();
        name.is_some_and(|name| name.as_ref().starts_with("date="))
    });
    let listed = stream::iter(dates.map(|date| below(place, date)))
        .buffered(LISTINGS)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(listed.into_iter().flatten().collect())
}

/// What lies in one of the folders beside the table, behind `after`, whether it counts or not.
pub(super) async fn side(
    place: &Place,
    folder: &str,
    after: &str,
) -> Result<Vec<Found>, LakeError> {
    let folder = place.path(&format!("{SIDE}/{folder}"));
    let offset = if after.is_empty() {
        folder.clone()
    } else {
        folder.clone().join(after)
    };
    let listing = place.store.list_with_offset(Some(&folder), &offset);
    let found = listing.map_ok(Found::from).try_collect().await;
    found.map_err(place.failed("list", &folder))
}

/// What killed probes left.
pub(super) async fn probes(place: &Place) -> Result<Vec<Found>, LakeError> {
    let side = place.path(SIDE);
    let listed = place.store.list_with_delimiter(Some(&side)).await;
    let listed = listed.map_err(place.failed("list", &side))?.objects;
    let is_probe = |meta: &ObjectMeta| {
        let name = meta.location.filename();
        name.is_some_and(|name| name.starts_with("probe-"))
    };
    Ok(listed
        .into_iter()
        .filter(is_probe)
        .map(Found::from)
        .collect())
}

async fn below(place: &Place, folder: Path) -> Result<Vec<Found>, LakeError> {
    let listing = place.store.list(Some(&folder));
    listing
        .map_ok(Found::from)
        .try_collect()
        .await
        .map_err(place.failed("list", &folder))
}

/// A file of a folder that killed writers left half-written: hidden from listings by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Staging {
    pub(super) path: std::path::PathBuf,
    pub(super) size: u64,
}

/// Those that have not been written to since `before`.
pub(super) fn staging(root: &FilePath, before: DateTime<Utc>) -> std::io::Result<Vec<Staging>> {
    let mut found = Vec::new();
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name == "_delta_log" || name == SIDE || name.starts_with("date=") {
            folders.push(entry.path());
        }
    }
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            // Others may delete their own meanwhile.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                folders.push(entry.path());
                continue;
            }
            let modified = metadata.modified().map(DateTime::<Utc>::from);
            let is_old = modified.is_ok_and(|modified| modified < before);
            if is_old && is_staging(&entry.file_name().to_string_lossy()) {
                found.push(Staging {
                    path: entry.path(),
                    size: metadata.len(),
                });
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// `name#N`, as `LocalFileSystem` and our own writes call what has no name yet.
fn is_staging(name: &str) -> bool {
    let number = name.rsplit_once('#').map(|(_, number)| number);
    number.is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staging_files_are_known_by_their_names() {
        for (name, expected) in [
            ("part-1.parquet#0", true),
            ("00000000000000000001.json#340282366920938463", true),
            ("part-1.parquet", false),
            ("a#b", false),
            ("a#", false),
        ] {
            assert_eq!(is_staging(name), expected, "{name}");
        }
    }
}
