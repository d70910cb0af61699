//! Gives each distinct value a small number, its key.

use std::hash::{BuildHasher, RandomState};

/// A value that fits into two words.
pub(crate) trait Value: Copy + Eq + Default {
    fn hash(self, seed: [u64; 2]) -> u64;
}

impl Value for u64 {
    #[inline]
    fn hash(self, seed: [u64; 2]) -> u64 {
        fold(self ^ seed[0], seed[1])
    }
}

impl Value for [u64; 2] {
    #[inline]
    fn hash(self, seed: [u64; 2]) -> u64 {
        fold(self[0] ^ seed[0], self[1] ^ seed[1])
    }
}

/// The product's halves: each bit of the result depends on all bits of both.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
pub(crate) fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

/// Different in every process, so that nobody can make logs whose addresses collide.
pub(crate) fn seed() -> [u64; 2] {
    let state = RandomState::new();
    // Odd: no value is lost in the product.
    [state.hash_one(0), state.hash_one(1) | 1]
}

/// No slot has this key.
const FREE: u32 = u32::MAX;

/// Values and their keys: a table with open addressing, as simple as can be, since every value of every row is looked up here.
#[derive(Debug)]
pub(crate) struct Interner<V> {
    slots: Vec<Slot<V>>,
    /// The table's length is a power of two; this is how far a hash is shifted to be a place in it.
    shift: u32,
    len: usize,
    seed: [u64; 2],
}

#[derive(Debug, Clone, Copy)]
struct Slot<V> {
    value: V,
    key: u32,
}

impl<V: Value> Interner<V> {
    pub(crate) fn new() -> Self {
        const FIRST_BITS: u32 = 8;
        Self {
            slots: vec![Self::free(); 1 << FIRST_BITS],
            shift: u64::BITS - FIRST_BITS,
            len: 0,
            seed: seed(),
        }
    }

    fn free() -> Slot<V> {
        Slot {
            value: V::default(),
            key: FREE,
        }
    }

    /// The key of a value; of a new one what `key` gives, if that gives one.
    #[inline]
    pub(crate) fn get_or_insert(
        &mut self,
        value: V,
        key: impl FnOnce() -> Option<u32>,
    ) -> Option<u32> {
        let mut at = self.place(value);
        loop {
            let slot = self.slots[at];
            if slot.key == FREE {
                break;
            }
            if slot.value == value {
                return Some(slot.key);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        let key = key()?;
        self.slots[at] = Slot { value, key };
        self.len += 1;
        if self.len * 8 > self.slots.len() * 5 {
            self.grow();
        }
        Some(key)
    }

    #[inline]
    fn place(&self, value: V) -> usize {
        usize::try_from(value.hash(self.seed) >> self.shift).unwrap_or(0)
    }

    #[cold]
    fn grow(&mut self) {
        let larger = vec![Self::free(); self.slots.len() * 4];
        let slots = std::mem::replace(&mut self.slots, larger);
        self.shift -= 2;
        for slot in slots.into_iter().filter(|slot| slot.key != FREE) {
            let mut at = self.place(slot.value);
            while self.slots[at].key != FREE {
                at = (at + 1) & (self.slots.len() - 1);
            }
            self.slots[at] = slot;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_value_keeps_its_key_however_many_come() {
        let mut interner = Interner::<u64>::new();
        let mut known = HashMap::new();
        let mut value = 7_u64;
        for _ in 0..100_000 {
            value = value
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let value = value >> 50;
            let next = u32::try_from(known.len()).unwrap();
            let expected = *known.entry(value).or_insert(next);
            assert_eq!(interner.get_or_insert(value, || Some(next)), Some(expected));
        }
        assert_eq!(known.len(), interner.len);
    }

    #[test]
    fn what_gets_no_key_is_not_kept() {
        let mut interner = Interner::<[u64; 2]>::new();
        assert_eq!(interner.get_or_insert([1, 2], || None), None);
        assert_eq!(interner.get_or_insert([1, 2], || Some(3)), Some(3));
        assert_eq!(interner.get_or_insert([1, 2], || Some(4)), Some(3));
        assert_eq!(interner.get_or_insert([0, 0], || Some(5)), Some(5));
    }
}
