//! Puts side data of many batches together: small files of a run of batches into one of each kind, and small bundles into larger ones.
//!
//! ```text
//! bundles, then batches, in order ─> runs of about the target ─> read, write anew ─> one list for each run
//! ```
//!
//! Nobody else is kept from anything: writers add batches behind, readers go on with the list that they know.

use std::collections::HashMap;
use std::time::SystemTime;

use super::{Mode, contents};
use crate::lake::bundle::{self, Bundle};
use crate::lake::progress::{self, Batches};
use crate::lake::side::{self, Side};
use crate::lake::{Lake, LakeError, land};

/// Side data of about so many bytes, as it lies in the store, becomes one bundle, and one of half of it and more stays as it is. All of it is in
/// memory at a time here, and that of coverage is thirty times as large there.
const TARGET_BYTES: u64 = 4 << 20;

/// Fewer small ones are left for the next time.
const DUE: usize = 10;

/// How often runs are put together anew because somebody else was faster.
const MAX_ROUNDS: usize = 5;

/// Side data in one folder: of a bundle or a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    first: i64,
    last: i64,
    folder: String,
    bytes: u64,
}

impl Part {
    fn batches(&self) -> u64 {
        u64::try_from(self.last - self.first + 1).unwrap_or_default()
    }
}

impl Lake {
    /// Puts side data together, and says of how many batches.
    ///
    /// # Errors
    /// Something of it cannot be read or written. Lists that were published by then count; nothing is half done.
    pub(super) async fn bundle(&self, mode: Mode) -> Result<u64, LakeError> {
        let place = &self.inner.place;
        let mut bundled = 0;
        'rounds: for _ in 0..MAX_ROUNDS {
            self.catch_up().await?;
            let batches = self.batches_now().await?;
            let parts = self.parts(&batches).await?;
            let mut bundles = batches.bundles;
            for run in runs(parts, bundles.last(), TARGET_BYTES) {
                if mode == Mode::Apply {
                    let begun = SystemTime::now();
                    let bundle = self.write_bundle(&run).await?;
                    let next = bundles.with(bundle.clone());
                    if let Err(error) = land::refuse_old(place, Some(begun)) {
                        self.delete_bundle(&bundle).await;
                        return Err(error);
                    }
                    if !bundle::publish(place, &next).await? {
                        self.delete_bundle(&bundle).await;
                        tracing::info!(
                            bundle.first,
                            "somebody else put the same side data together"
                        );
                        continue 'rounds;
                    }
                    tracing::info!(bundle.first, bundle.last, "put side data together");
                    bundles = next;
                }
                bundled += run.iter().map(Part::batches).sum::<u64>();
            }
            return Ok(bundled);
        }
        Err(LakeError::Overtaken {
            what: "compaction",
            uri: place.uri.clone(),
        })
    }

    /// All batches with their bundles, which change without a version of the table.
    pub(super) async fn batches_now(&self) -> Result<Batches, LakeError> {
        let table = self.table().await?;
        let told = progress::batches(&self.inner.place, &table, Batches::default()).await?;
        Ok(told.batches)
    }

    /// All side data that counts, in the order of the batches.
    async fn parts(&self, batches: &Batches) -> Result<Vec<Part>, LakeError> {
        let place = &self.inner.place;
        let behind = format!("{:012}~", batches.bundles.last());
        let (of_bundles, of_batches) = futures::try_join!(
            contents::side(place, bundle::BUNDLES, ""),
            contents::side(place, "batches", &behind),
        )?;
        let mut sizes: HashMap<String, u64> = HashMap::new();
        for found in of_bundles.iter().chain(&of_batches) {
            if let Some((folder, _)) = place.inside(&found.location).rsplit_once('/') {
                *sizes.entry(folder.to_owned()).or_default() += found.size;
            }
        }
        let part = |first, last, folder: String| Part {
            first,
            last,
            bytes: sizes.get(&folder).copied().unwrap_or_default(),
            folder,
        };
        let bundles = batches.bundles.list.iter();
        let bundles = bundles.map(|bundle| part(bundle.first, bundle.last, bundle.folder()));
        let attempts = batches.attempts.iter();
        let attempts =
            attempts.map(|(batch, attempt)| part(*batch, *batch, side::folder_of(attempt)));
        Ok(bundles.chain(attempts).collect())
    }

    /// One file of each kind for a run of parts. The objects come last: without them there is no bundle.
    async fn write_bundle(&self, run: &[Part]) -> Result<Bundle, LakeError> {
        let place = &self.inner.place;
        let first = run.first().map_or(0, |part| part.first);
        let last = run.last().map_or(0, |part| part.last);
        let bundle = Bundle::new(first, last);
        for kind in [Side::Coverage, Side::BadLines, Side::Objects] {
            let folders = run.iter().map(|part| part.folder.clone()).collect();
            let copied = async {
                let batches = side::read_all(place, folders, kind, None).await?;
                side::write(place, &bundle.folder(), kind, &batches).await
            };
            if let Err(error) = copied.await {
                self.delete_bundle(&bundle).await;
                return Err(error);
            }
        }
        Ok(bundle)
    }

    async fn delete_bundle(&self, bundle: &Bundle) {
        let files = Side::ALL.map(|side| side.path(&bundle.folder()));
        self.inner.place.delete_quietly(files.into()).await;
    }
}

/// Which parts become one: neighbours, until they are as large as a bundle should be. Those up to the batch `bundled` are bundles.
fn runs(parts: Vec<Part>, bundled: i64, target: u64) -> Vec<Vec<Part>> {
    let (mut runs, mut run, mut bytes) = (Vec::new(), Vec::new(), 0);
    for part in parts {
        let is_bundle = part.last <= bundled;
        if is_bundle && part.bytes >= target.div_ceil(2) {
            runs.push(std::mem::take(&mut run));
            bytes = 0;
            continue;
        }
        bytes += part.bytes;
        run.push(part);
        if bytes >= target {
            runs.push(std::mem::take(&mut run));
            bytes = 0;
        }
    }
    runs.push(run);
    // A single batch may be as large as a bundle, and is not left between two.
    let is_full = |run: &[Part]| run.iter().map(|part| part.bytes).sum::<u64>() >= target;
    runs.retain(|run| run.len() >= DUE || is_full(run));
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts of so many batches and bytes each.
    fn parts(sizes: &[(i64, u64)]) -> Vec<Part> {
        let mut first = 1;
        let mut part = |(batches, bytes): &(i64, u64)| {
            let part = Part {
                first,
                last: first + batches - 1,
                folder: first.to_string(),
                bytes: *bytes,
            };
            first += batches;
            part
        };
        sizes.iter().map(&mut part).collect()
    }

    fn found(sizes: &[(i64, u64)], bundled: i64) -> Vec<(i64, i64)> {
        let runs = runs(parts(sizes), bundled, 100);
        let ends = |run: &Vec<Part>| (run[0].first, run[run.len() - 1].last);
        runs.iter().map(ends).collect()
    }

    #[test]
    fn small_ones_become_one_when_there_are_ten_or_they_are_large_together() {
        assert!(found(&[(1, 1); 9], 0).is_empty());
        assert_eq!(found(&[(1, 1); 10], 0), [(1, 10)]);
        assert_eq!(found(&[(1, 30); 5], 0), [(1, 4)]);
        assert_eq!(found(&[(1, 30); 8], 0), [(1, 4), (5, 8)]);
        assert_eq!(found(&[(1, 500), (1, 1)], 0), [(1, 1)]);
    }

    #[test]
    fn large_bundles_stay_and_small_ones_grow() {
        let of_batches = [(1, 1); 9];
        let with = |bundles: &[(i64, u64)]| [bundles, &of_batches[..]].concat();
        assert!(found(&with(&[(20, 50)]), 20).is_empty());
        assert_eq!(found(&with(&[(20, 49)]), 20), [(1, 29)]);
        assert_eq!(found(&with(&[(20, 70), (20, 10)]), 40), [(21, 49)]);
        assert_eq!(found(&[(20, 49), (20, 49), (20, 49)], 60), [(1, 60)]);
        assert!(found(&[(20, 500), (20, 49), (20, 500)], 60).is_empty());
    }
}
