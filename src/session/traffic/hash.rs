//! A fast hash for short keys of numbers: a folded multiplication, seeded anew in each process, since the addresses come from outside.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

/// Maps whose keys are numbers of ours.
pub(super) type Map<K, V> = std::collections::HashMap<K, V, Seeded>;

/// Sets of them.
pub(super) type Set<K> = std::collections::HashSet<K, Seeded>;

static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0_u8));

/// Pi's fraction, as good as any odd number without a pattern.
const MULTIPLIER: u64 = 0x243f_6a88_85a3_08d3;

/// Mixes a number into a hash.
pub(super) fn mix(hash: u64, value: u64) -> u64 {
    let product = u128::from(hash ^ value) * u128::from(MULTIPLIER);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves of the product are folded into one"
    )]
    let folded = (product >> 64) as u64 ^ product as u64;
    folded
}

/// Starts a hash.
pub(super) fn seed() -> u64 {
    *SEED
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Self {
        Self(seed())
    }
}

impl BuildHasher for Seeded {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded(self.0)
    }
}

pub(super) struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self.0 = mix(self.0, u64::from_le_bytes(word));
        }
        let rest = chunks.remainder();
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        self.0 = mix(self.0, u64::from_le_bytes(word) ^ (rest.len() as u64) << 56);
    }

    fn write_u8(&mut self, value: u8) {
        self.0 = mix(self.0, value.into());
    }

    fn write_u16(&mut self, value: u16) {
        self.0 = mix(self.0, value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.0 = mix(self.0, value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = mix(self.0, value);
    }

    fn write_usize(&mut self, value: usize) {
        self.0 = mix(self.0, value as u64);
    }

    fn write_i32(&mut self, value: i32) {
        self.0 = mix(self.0, u64::from(value.cast_unsigned()));
    }

    fn write_i64(&mut self, value: i64) {
        self.0 = mix(self.0, value.cast_unsigned());
    }
}
