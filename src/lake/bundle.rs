//! Side data of many batches put together: a commit each half minute leaves millions of small files in a year, and these become hundreds.
//!
//! ```text
//! 1  _flowscout/bundles/{first}-{last}-{attempt}/   objects, coverage, bad lines of a run of batches, in their order
//! 2  _flowscout/bundled/{number}.json               the bundles that count: of the first batch to some other, without a gap
//! ```
//!
//! Of the lists the one with the highest number counts. Each is made from the one before it, is created once and never changed, and of two
//! who create the same number one wins. Killed between 1 and 2, nothing refers to what was written.
//!
//! What the batches left themselves, and bundles and lists that were replaced, stay for whoever read an older list, until `vacuum`.

use bytes::Bytes;
use futures::FutureExt;
use uuid::Uuid;

use super::place::Place;
use super::{LakeError, SIDE, land};

/// A run of batches whose side data lies in one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bundle {
    /// The first of its batches.
    pub(super) first: i64,
    /// The last of its batches.
    pub(super) last: i64,
    pub(super) name: String,
}

impl Bundle {
    /// One that no other has the name of.
    pub(super) fn new(first: i64, last: i64) -> Self {
        let attempt = Uuid::new_v4().simple();
        Self {
            first,
            last,
            name: format!("{first:012}-{last:012}-{attempt}"),
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut words = name.splitn(3, '-');
        let (first, last) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        words.next()?;
        Some(Self {
            first,
            last,
            name: name.to_owned(),
        })
    }

    pub(super) fn folder(&self) -> String {
        format!("{SIDE}/{BUNDLES}/{}", self.name)
    }
}

/// Bundles of the first batch to some other, without a gap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bundles {
    /// Of the list; 0 where there is none.
    pub(super) number: i64,
    pub(super) list: Vec<Bundle>,
}

impl Bundles {
    /// The last batch that is in one; 0 if none is.
    pub(super) fn last(&self) -> i64 {
        self.list.last().map_or(0, |bundle| bundle.last)
    }

    /// The next list: with this bundle for those whose batches it has.
    pub(super) fn with(&self, bundle: Bundle) -> Self {
        let mut list = self.list.clone();
        list.retain(|other| other.last < bundle.first || other.first > bundle.last);
        let at = list.partition_point(|other| other.last < bundle.first);
        list.insert(at, bundle);
        Self {
            number: self.number + 1,
            list,
        }
    }

    fn path(&self) -> String {
        format!("{SIDE}/{BUNDLED}/{:012}.json", self.number)
    }

    fn to_bytes(&self) -> Bytes {
        let names: Vec<&str> = self
            .list
            .iter()
            .map(|bundle| bundle.name.as_str())
            .collect();
        let json = serde_json::to_vec(&names).expect("a list of texts");
        json.into()
    }

    /// A list without a gap, or nothing.
    fn from_bytes(number: i64, bytes: &[u8]) -> Option<Self> {
        let names: Vec<String> = serde_json::from_slice(bytes).ok()?;
        let list: Option<Vec<Bundle>> = names.iter().map(|name| Bundle::parse(name)).collect();
        let list = list?;
        let mut next = 1;
        for bundle in &list {
            if bundle.first != next || bundle.last < bundle.first {
                return None;
            }
            next = bundle.last + 1;
        }
        Some(Self { number, list })
    }
}

/// The folder of the bundles, and that of the lists of them.
pub(super) const BUNDLES: &str = "bundles";
pub(super) const BUNDLED: &str = "bundled";

/// The number of a list, by the name of its file.
pub(super) fn number_of(name: &str) -> Option<i64> {
    name.strip_suffix(".json")?.parse().ok()
}

/// What the lists say.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// The newest that has no batch behind the one that was asked for.
    pub(super) list: Bundles,
    /// The last batch of the newest list of all.
    pub(super) through: i64,
}

/// The newest list as of a version of the table whose last batch is `last`. `known` need not be read again.
pub(super) async fn newest(place: &Place, last: i64, known: &Bundles) -> Result<Newest, LakeError> {
    let names = place.list(&format!("{SIDE}/{BUNDLED}"), "").await?;
    let mut through = None;
    for number in names.iter().rev().filter_map(|name| number_of(name)) {
        let list = if number == known.number {
            Some(known.clone())
        } else {
            read(place, number).await?
        };
        // One that is gone has been replaced meanwhile.
        let Some(list) = list else { continue };
        let through = *through.get_or_insert(list.last());
        if list.last() <= last {
            return Ok(Newest { list, through });
        }
    }
    Ok(Newest {
        list: Bundles::default(),
        through: through.unwrap_or(0),
    })
}

/// One list; nothing if it is gone.
pub(super) async fn read(place: &Place, number: i64) -> Result<Option<Bundles>, LakeError> {
    let path = Bundles {
        number,
        list: Vec::new(),
    }
    .path();
    let Some(bytes) = place.read(&path).await? else {
        return Ok(None);
    };
    match Bundles::from_bytes(number, &bytes) {
        Some(list) => Ok(Some(list)),
        None => Err(LakeError::Damaged {
            uri: place.uri.clone(),
            what: format!("`{path}` is no list of bundles"),
        }),
    }
}

/// Makes a list the newest. False if another has its number.
///
/// # Errors
/// Whether it is there is not known: its bundles may be in use.
pub(super) async fn publish(place: &Place, list: &Bundles) -> Result<bool, LakeError> {
    let (path, bytes) = (list.path(), list.to_bytes());
    let create = || {
        let (path, bytes) = (&path, &bytes);
        async move {
            // What is there may be ours: an earlier try may have landed, and its answer got lost.
            Ok(place.create(path, bytes.clone()).await?
                || place.read(path).await?.as_ref() == Some(bytes))
        }
        .boxed()
    };
    land::until_known(create).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(runs: &[(i64, i64)]) -> Bundles {
        let of_run = |(first, last): &(i64, i64)| Bundle::new(*first, *last);
        Bundles {
            number: 1,
            list: runs.iter().map(of_run).collect(),
        }
    }

    fn runs(bundles: &Bundles) -> Vec<(i64, i64)> {
        let run = |bundle: &Bundle| (bundle.first, bundle.last);
        bundles.list.iter().map(run).collect()
    }

    #[test]
    fn a_bundle_takes_the_place_of_those_that_it_has() {
        let before = list(&[(1, 10), (11, 20), (21, 30)]);
        assert_eq!(
            runs(&before.with(Bundle::new(31, 40))),
            [(1, 10), (11, 20), (21, 30), (31, 40)]
        );
        assert_eq!(runs(&before.with(Bundle::new(11, 40))), [(1, 10), (11, 40)]);
        assert_eq!(runs(&before.with(Bundle::new(1, 20))), [(1, 20), (21, 30)]);
        assert_eq!(before.with(Bundle::new(1, 30)).number, 2);
    }

    #[test]
    fn a_list_is_read_back_and_one_with_a_gap_is_none() {
        let written = list(&[(1, 10), (11, 11), (12, 20)]);
        let read = Bundles::from_bytes(1, &written.to_bytes());
        assert_eq!(read, Some(written));
        for gap in [&[(2, 10)][..], &[(1, 10), (12, 20)], &[(1, 10), (10, 20)]] {
            assert_eq!(
                Bundles::from_bytes(1, &list(gap).to_bytes()),
                None,
                "{gap:?}"
            );
        }
        assert_eq!(Bundles::from_bytes(1, b"[1]"), None);
    }

    #[tokio::test]
    async fn of_two_lists_with_one_number_one_counts_and_older_versions_have_older_lists() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of_folder(folder.path());
        let first = Bundles::default().with(Bundle::new(1, 10));
        assert!(publish(&place, &first).await.unwrap());
        assert!(
            publish(&place, &first).await.unwrap(),
            "it is there, and ours"
        );
        let other = Bundles::default().with(Bundle::new(1, 10));
        assert!(!publish(&place, &other).await.unwrap());
        let second = first.with(Bundle::new(1, 20));
        assert!(publish(&place, &second).await.unwrap());
        for (last, expected) in [
            (25, &second),
            (20, &second),
            (19, &first),
            (9, &Bundles::default()),
        ] {
            let newest = newest(&place, last, &Bundles::default()).await.unwrap();
            assert_eq!((&newest.list, newest.through), (expected, 20), "{last}");
        }
    }
}
