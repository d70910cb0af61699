//! Distinct texts, each kept once and known by its key.

use hashbrown::HashTable;

use crate::batch::interner::{Interner, fold, seed};
use crate::decode::Token;

/// Texts up to this length are looked up as two words, without looking at where they are kept. Addresses are no longer, if IPv4.
const SHORT: usize = 15;

/// Texts and their keys, which count from 0.
#[derive(Debug)]
pub(crate) struct Dictionary {
    short: Interner<[u64; 2]>,
    long: HashTable<u32>,
    seed: [u64; 2],
    texts: Texts,
}

/// The texts, end to end in the order of their keys.
#[derive(Debug)]
pub(crate) struct Texts {
    pub(crate) bytes: Vec<u8>,
    pub(crate) offsets: Vec<i32>,
}

impl Texts {
    fn new() -> Self {
        Self {
            bytes: Vec::new(),
            offsets: vec![0],
        }
    }

    fn push(&mut self, text: &[u8]) -> u32 {
        let key = u32::try_from(self.offsets.len() - 1)
            .expect("a dictionary has fewer texts than a batch has rows");
        self.bytes.extend_from_slice(text);
        let end = i32::try_from(self.bytes.len())
            .expect("batches are handed over long before 2 GiB of text");
        self.offsets.push(end);
        key
    }

    fn get(&self, key: u32) -> &[u8] {
        let bounds = [key as usize, key as usize + 1];
        let [from, to] = bounds.map(|at| usize::try_from(self.offsets[at]).unwrap_or_default());
        &self.bytes[from..to]
    }
}

impl Dictionary {
    pub(crate) fn new() -> Self {
        Self {
            short: Interner::new(),
            long: HashTable::new(),
            seed: seed(),
            texts: Texts::new(),
        }
    }

    /// How many texts there are.
    pub(crate) fn len(&self) -> usize {
        self.texts.offsets.len() - 1
    }

    /// The text of a key.
    pub(crate) fn get(&self, key: u32) -> &[u8] {
        self.texts.get(key)
    }

    /// Appends a text, known or not.
    pub(crate) fn push(&mut self, text: &[u8]) -> u32 {
        self.texts.push(text)
    }

    /// How many bytes the texts have.
    pub(crate) fn text_bytes(&self) -> usize {
        self.texts.bytes.len()
    }

    /// The texts; the dictionary is empty again.
    pub(crate) fn take(&mut self) -> Texts {
        std::mem::replace(self, Self::new()).texts
    }

    /// The key of a text, new or not.
    pub(crate) fn intern(&mut self, text: &[u8]) -> u32 {
        let key = if text.len() <= SHORT {
            let mut head = [0; 16];
            head[..text.len()].copy_from_slice(text);
            self.intern_short(u128::from_le_bytes(head), text, |_| true)
        } else {
            self.intern_long(text, |_| true)
        };
        key.expect("every text is admitted")
    }

    /// The key of a token; of one that is not known only if `admit` lets it in.
    #[inline]
    pub(crate) fn intern_token(
        &mut self,
        token: Token<'_>,
        admit: impl FnOnce(&[u8]) -> bool,
    ) -> Option<u32> {
        if token.len() <= SHORT {
            self.intern_short(token.head(), token.bytes(), admit)
        } else {
            self.intern_long(token.bytes(), admit)
        }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    fn intern_short(
        &mut self,
        head: u128,
        text: &[u8],
        admit: impl FnOnce(&[u8]) -> bool,
    ) -> Option<u32> {
        // The last byte is free for the length, which tells `a` from `a` and a zero.
        let words = [head as u64, (head >> 64) as u64 | (text.len() as u64) << 56];
        let texts = &mut self.texts;
        self.short
            .get_or_insert(words, || admit(text).then(|| texts.push(text)))
    }

    fn intern_long(&mut self, text: &[u8], admit: impl FnOnce(&[u8]) -> bool) -> Option<u32> {
        let seed = self.seed;
        let hash = hash(text, seed);
        let texts = &self.texts;
        if let Some(key) = self.long.find(hash, |key| texts.get(*key) == text) {
            return Some(*key);
        }
        if !admit(text) {
            return None;
        }
        let key = self.texts.push(text);
        let texts = &self.texts;
        self.long
            .insert_unique(hash, key, |key| self::hash(texts.get(*key), seed));
        Some(key)
    }
}

/// Of a text of 16 bytes or more.
fn hash(text: &[u8], seed: [u64; 2]) -> u64 {
    let pair = |at: usize| {
        let word = |at: usize| {
            u64::from_le_bytes(
                text[at..at + 8]
                    .try_into()
                    .expect("the range is 8 bytes long"),
            )
        };
        (word(at), word(at + 8))
    };
    let mut hash = seed[0] ^ text.len() as u64;
    let mut at = 0;
    while at + 16 < text.len() {
        let (low, high) = pair(at);
        hash = fold(low ^ hash, high ^ seed[1]);
        at += 16;
    }
    // The last 16 bytes, whether or not some were taken before.
    let (low, high) = pair(text.len() - 16);
    fold(low ^ hash, high ^ seed[1])
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn every_text_has_one_key_whatever_its_length() {
        let mut dictionary = Dictionary::new();
        let mut known: HashMap<Vec<u8>, u32> = HashMap::new();
        for round in 0..2 {
            for length in 0..80 {
                for last in [b'a', b'b', 0] {
                    let mut text = vec![b'x'; length];
                    text.push(last);
                    let key = dictionary.intern(&text);
                    let next = u32::try_from(known.len()).unwrap();
                    assert_eq!(key, *known.entry(text).or_insert(next), "{round} {length}");
                }
            }
        }
        let texts = dictionary.take();
        for (text, key) in &known {
            assert_eq!(texts.get(*key), text);
        }
        assert_eq!(dictionary.intern(b"y"), 0, "it is empty again");
    }
}
