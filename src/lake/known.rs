//! What is known of every object there ever was, in sixteen bytes each.
//!
//! ```text
//! ingested     104 bits of the key's hash                 24 bits of the ETag's: has it changed since?
//! not so       104 bits of the hash of key and ETag       the outcome
//! ```
//!
//! Whoever follows a bucket asks this of all that is listed, again and again, so all of it is in memory, and nothing else of the objects is. An
//! object is passed over because its hash is here, so no two may have the same: of ten million, two do in one of 10^17 lakes. The hash is
//! SHA-256, for whoever may write to a bucket chooses its keys. Of the ETag's bits nothing depends but whether a change is told.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use sha2::{Digest, Sha256};

use super::progress::{Outcome, Standing};

/// Bits behind the hash, for what is known.
const NOTE_BITS: u32 = 24;

const NOTE: u128 = (1 << NOTE_BITS) - 1;

/// The share of what is not in order yet, and how much of that there may always be.
const RECENT_SHARE: usize = 32;
const RECENT_AT_LEAST: usize = 4096;

/// The objects, and what became of them.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Of each key whose rows are in, the ETag that it had.
    ingested: Hashes,
    /// Of each version of a key that was looked at and gave nothing, the outcome.
    others: Hashes,
}

impl Known {
    pub(super) fn standing(&self, key: &str, etag: &str) -> Standing {
        match self.ingested.get(of_key(key)) {
            Some(known) if known == note_of(etag) => Standing::Known(Outcome::Ingested),
            Some(_) => Standing::Changed,
            None => match self.others.get(of_version(key, etag)) {
                Some(outcome) if outcome == SET_ASIDE => Standing::Known(Outcome::SetAside),
                Some(_) => Standing::Known(Outcome::Skipped),
                None => Standing::New,
            },
        }
    }

    /// Once the rows of a key are in they stay in, whatever is heard of it later.
    pub(super) fn note(&mut self, key: &str, etag: &str, outcome: Outcome) {
        let is_in = self.ingested.get(of_key(key)).is_some();
        match outcome {
            _ if is_in => {}
            Outcome::Ingested => self.ingested.insert(of_key(key), note_of(etag)),
            Outcome::SetAside => self.others.insert(of_version(key, etag), SET_ASIDE),
            Outcome::Skipped => self.others.insert(of_version(key, etag), SKIPPED),
        }
    }
}

const SET_ASIDE: u128 = 0;
const SKIPPED: u128 = 1;

fn of_key(key: &str) -> u128 {
    first_bits(Sha256::digest(key.as_bytes()).as_ref())
}

fn of_version(key: &str, etag: &str) -> u128 {
    let hash = Sha256::new()
        .chain_update(key)
        .chain_update([0_u8])
        .chain_update(etag);
    first_bits(hash.finalize().as_ref())
}

fn note_of(etag: &str) -> u128 {
    first_bits(Sha256::digest(etag.as_bytes()).as_ref()) & NOTE
}

fn first_bits(digest: &[u8]) -> u128 {
    let bits = digest.first_chunk().expect("SHA-256 has 32 bytes");
    u128::from_be_bytes(*bits)
}

/// A map from hashes to notes: a list in order, which takes no more room than its entries, and beside it what came since.
#[derive(Debug, Default)]
struct Hashes {
    /// Each a hash with its note in place of the last bits.
    sorted: Vec<u128>,
    /// A small part of all, not in order.
    recent: HashTable<u128>,
}

impl Hashes {
    fn get(&self, hash: u128) -> Option<u128> {
        let recent = self
            .recent
            .find(short(hash), |entry| is_same(*entry, hash))
            .copied();
        let entry = recent.or_else(|| {
            let at = self.place(hash);
            let found = self.sorted.get(at).copied();
            found.filter(|entry| is_same(*entry, hash))
        });
        entry.map(|entry| entry & NOTE)
    }

    fn insert(&mut self, hash: u128, note: u128) {
        let entry = hash & !NOTE | note;
        let at = self.place(hash);
        if let Some(known) = self.sorted.get_mut(at)
            && is_same(*known, hash)
        {
            *known = entry;
            return;
        }
        let found = self.recent.entry(
            short(hash),
            |known| is_same(*known, hash),
            |known| short(*known),
        );
        match found {
            Entry::Occupied(mut known) => *known.get_mut() = entry,
            Entry::Vacant(vacant) => _ = vacant.insert(entry),
        }
        if self.recent.len() > RECENT_AT_LEAST.max(self.sorted.len() / RECENT_SHARE) {
            self.sort_in();
        }
    }

    /// Where a hash stands in order, or would stand.
    fn place(&self, hash: u128) -> usize {
        self.sorted.partition_point(|entry| *entry < hash & !NOTE)
    }

    /// Puts what came since in order, from the back, so that there is never a second list of all.
    fn sort_in(&mut self) {
        let mut recent: Vec<u128> = self.recent.drain().collect();
        recent.sort_unstable();
        let mut left = self.sorted.len();
        let mut to = left + recent.len();
        self.sorted.reserve_exact(recent.len());
        self.sorted.resize(to, 0);
        while let Some(last) = recent.last() {
            to -= 1;
            if left > 0 && self.sorted[left - 1] > *last {
                left -= 1;
                self.sorted[to] = self.sorted[left];
            } else {
                self.sorted[to] = *last;
                recent.pop();
            }
        }
    }
}

fn is_same(one: u128, other: u128) -> bool {
    one >> NOTE_BITS == other >> NOTE_BITS
}

/// What a table of hashes goes by.
fn short(hash: u128) -> u64 {
    u64::try_from(hash >> 64).expect("64 bits are left")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn an_object_is_judged_by_key_and_etag() {
        let mut known = Known::default();
        let is = Standing::Known;
        assert_eq!(known.standing("a", "1"), Standing::New);
        known.note("a", "1", Outcome::SetAside);
        assert_eq!(known.standing("a", "1"), is(Outcome::SetAside));
        assert_eq!(
            known.standing("a", "2"),
            Standing::New,
            "it may be whole by now"
        );
        known.note("a", "1", Outcome::Skipped);
        assert_eq!(known.standing("a", "1"), is(Outcome::Skipped));
        known.note("a", "2", Outcome::Ingested);
        assert_eq!(known.standing("a", "2"), is(Outcome::Ingested));
        assert_eq!(known.standing("a", "3"), Standing::Changed);
        known.note("a", "3", Outcome::SetAside);
        assert_eq!(
            known.standing("a", "2"),
            is(Outcome::Ingested),
            "its rows are still in"
        );
        assert_eq!(known.standing("a", "3"), Standing::Changed);
    }

    #[test]
    fn hashes_are_a_map() {
        let hash = |number: u64| of_key(&number.to_string());
        let (mut hashes, mut map) = (Hashes::default(), HashMap::new());
        let mut random = 1_u64;
        // Many more than are kept out of order, and each several times.
        for turn in 0..60_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let (number, note) = (random >> 33, u128::from(random >> 20 & 0xff_ffff));
            let number = number % (turn / 3 + 1);
            hashes.insert(hash(number), note);
            map.insert(number, note);
        }
        for number in 0..20_100 {
            assert_eq!(hashes.get(hash(number)), map.get(&number).copied());
        }
        assert!(hashes.sorted.is_sorted());
        assert!(!hashes.recent.is_empty() && !hashes.sorted.is_empty());
        assert_eq!(hashes.sorted.len() + hashes.recent.len(), map.len());
    }

    /// A key as AWS writes it, with its ETag.
    fn object(number: u64) -> (String, String) {
        let (account, slot) = (number % 40, number / 40);
        let (day, minute) = (slot / 288, slot % 288 * 5);
        let name = format!(
            "s3://logs/AWSLogs/{:012}/vpcflowlogs/eu-west-1/2026/{:02}/{:02}/{:012}_vpcflowlogs_eu-west-1_fl-0123456789abcdef0_\
             2026{:02}{:02}T{:02}{:02}Z_{:08x}.log.gz",
            111_111_111_111 + account,
            day / 28 % 12 + 1,
            day % 28 + 1,
            111_111_111_111 + account,
            day / 28 % 12 + 1,
            day % 28 + 1,
            minute / 60,
            minute % 60,
            number
        );
        let etag = format!(
            "{:032x}",
            u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c)
        );
        (name, etag)
    }

    fn filled(objects: u64) -> Known {
        let mut known = Known::default();
        for number in 0..objects {
            let (key, etag) = object(number);
            known.note(&key, &etag, Outcome::Ingested);
        }
        known
    }

    #[test]
    fn an_object_takes_little_more_than_sixteen_bytes() {
        let objects = 300_000;
        let known = filled(objects);
        let Hashes { sorted, recent } = &known.ingested;
        let bytes = 16 * sorted.capacity() + recent.allocation_size();
        let each = bytes as f64 / objects as f64;
        assert!((16.0..18.0).contains(&each), "{each}");
    }

    /// `cargo test --lib known::tests::memory -- --ignored --nocapture`
    #[cfg(target_os = "linux")]
    #[test]
    #[ignore = "takes a minute, and wants the process for itself"]
    fn memory_of_ten_million_objects() {
        let megabytes = |field: &str| {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(field))
                .unwrap();
            let kilobytes: u64 = line
                .trim_matches([':', ' ', '\t', 'k', 'B'])
                .parse()
                .unwrap();
            kilobytes as f64 / 1000.0 * 1.024
        };
        let before = megabytes("VmRSS");
        let known = filled(10_000_000);
        let (after, peak) = (megabytes("VmRSS") - before, megabytes("VmHWM") - before);
        let mut told = std::io::stderr();
        std::io::Write::write_fmt(
            &mut told,
            format_args!("ten million objects: {after:.0} MB resident, {peak:.0} MB at the peak\n"),
        )
        .unwrap();
        for number in (0..10_000_000).step_by(999) {
            let (key, etag) = object(number);
            assert_eq!(
                known.standing(&key, &etag),
                Standing::Known(Outcome::Ingested)
            );
            assert_eq!(known.standing(&key, "another"), Standing::Changed);
        }
        let (key, etag) = object(10_000_001);
        assert_eq!(known.standing(&key, &etag), Standing::New);
        assert!(peak < 200.0, "{peak}");
    }
}
