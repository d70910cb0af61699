//! What was looked up before, by numbers: as much as keeps a thread quick, and no more.

use std::hash::Hash;

use crate::session::traffic::flow::NONE;
use crate::session::traffic::hash::{self, Map};

/// What a lens remembers of each kind: 16 to 24 bytes each.
pub(super) const MOST_REMEMBERED: usize = 1 << 20;

/// Of those, what is kept at hand: half a megabyte, which a second-level cache holds.
const AT_HAND: usize = 1 << 15;

/// Numbers by key: what was asked last is at hand.
pub(super) struct Remembered {
    at_hand: Vec<(u64, u32)>,
    all: Map<u64, u32>,
}

impl Default for Remembered {
    fn default() -> Self {
        Self {
            // No key of ours is as large: neither groups nor tables are so many.
            at_hand: vec![(u64::MAX, NONE); AT_HAND],
            all: Map::default(),
        }
    }
}

impl Remembered {
    fn slot(key: u64) -> usize {
        usize::try_from(hash::mix(hash::seed(), key) >> 32).unwrap_or(0) % AT_HAND
    }

    pub(super) fn get(&mut self, key: u64) -> Option<u32> {
        let slot = &mut self.at_hand[Self::slot(key)];
        if slot.0 != key {
            *slot = (key, *self.all.get(&key)?);
        }
        Some(slot.1)
    }

    pub(super) fn insert(&mut self, key: u64, value: u32) {
        self.at_hand[Self::slot(key)] = (key, value);
        remember(&mut self.all, key, value);
    }
}

pub(super) fn remember<K: Eq + Hash>(map: &mut Map<K, u32>, key: K, value: u32) {
    if map.len() >= MOST_REMEMBERED {
        map.clear();
    }
    map.insert(key, value);
}
