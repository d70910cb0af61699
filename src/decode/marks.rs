//! Finds where tokens and lines end, 64 bytes at a time.
//!
//! Every byte that is not printable ASCII ends a token here: blanks and line feeds, which separate, and all others, which a plain
//! record does not have. So one comparison per byte finds the fields and whatever would need a second look.

/// The marks of a stretch of text.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    bounds: Vec<u32>,
    /// How many of `bounds` count.
    used: usize,
    lines: Vec<u32>,
    odd: Vec<u32>,
}

/// One bit for each byte of a block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Masks {
    /// Not printable ASCII.
    end: u64,
    blank: u64,
    feed: u64,
    hash: u64,
}

const BLOCK: usize = 64;

impl Marks {
    /// Marks `text`, which has less than 4 GiB.
    #[cfg_attr(
        target_arch = "x86_64",
        expect(
            unsafe_code,
            reason = "32 bytes at once: finding separators byte by byte took a third of the decoding"
        )
    )]
    pub(crate) fn mark(&mut self, text: &[u8]) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("popcnt")
        {
            // SAFETY: the processor has all features that the function needs; it reads nothing but its arguments.
            return unsafe { self.mark_avx2(text) };
        }
        self.mark_by(text, masks);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,popcnt")]
    fn mark_avx2(&mut self, text: &[u8]) {
        self.mark_by(text, |block| masks_avx2(block));
    }

    #[inline(always)]
    fn mark_by(&mut self, text: &[u8], masks: impl Fn(&[u8; BLOCK]) -> Masks) {
        if self.bounds.is_empty() {
            self.bounds.push(0);
        }
        self.bounds[0] = 0;
        self.used = 1;
        self.lines.clear();
        self.odd.clear();
        // The text begins as behind a line feed.
        let mut behind_end = 1;
        let (blocks, rest) = text.as_chunks::<BLOCK>();
        let mut base = 0;
        for block in blocks {
            behind_end = self.take(masks(block), base, behind_end);
            base += 64;
        }
        if !rest.is_empty() {
            // Printable, and so no mark.
            let mut block = [b'x'; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            self.take(masks(&block), base, behind_end);
        }
    }

    /// Where tokens begin: 0, and the place behind each mark. Token `i` is `bounds[i]..bounds[i + 1] - 1`.
    pub(crate) fn bounds(&self) -> &[u32] {
        &self.bounds[..self.used]
    }

    /// For each line feed the index in [`Marks::bounds`] of what begins behind it.
    pub(crate) fn lines(&self) -> &[u32] {
        &self.lines
    }

    /// Places that a plain record does not have, in order: other separators than one blank, bytes beyond ASCII, tokens that begin with `#`.
    pub(crate) fn odd(&self) -> &[u32] {
        &self.odd
    }

    #[inline(always)]
    fn take(&mut self, masks: Masks, base: u32, behind_end: u64) -> u64 {
        if self.bounds.len() < self.used + BLOCK {
            self.bounds.resize(2 * self.bounds.len() + BLOCK, 0);
        }
        let begins = masks.end << 1 | behind_end;
        let mut odd = masks.end & !(masks.blank | masks.feed) | begins & (masks.end | masks.hash);
        let mut feeds = masks.feed;
        while feeds != 0 {
            let before = masks.end & (feeds ^ (feeds - 1));
            self.lines.push(narrow(self.used) + before.count_ones() - 1);
            feeds &= feeds - 1;
        }
        while odd != 0 {
            self.odd.push(base + odd.trailing_zeros());
            odd &= odd - 1;
        }
        let mut end = masks.end;
        let count = end.count_ones() as usize;
        for bound in &mut self.bounds[self.used..self.used + count] {
            *bound = base + end.trailing_zeros() + 1;
            end &= end - 1;
        }
        self.used += count;
        masks.end >> 63
    }
}

fn narrow(length: usize) -> u32 {
    u32::try_from(length)
        .expect("a stretch of text has fewer marks than bytes, and less than 4 GiB")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,popcnt")]
#[inline]
fn masks_avx2(block: &[u8; BLOCK]) -> Masks {
    use std::arch::x86_64::{
        __m256i, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8, _mm256_movemask_epi8, _mm256_set_epi64x,
        _mm256_set1_epi8,
    };
    let bits = |lanes: __m256i| u64::from(_mm256_movemask_epi8(lanes).cast_unsigned());
    let mut masks = Masks::default();
    let (words, _) = block.as_chunks::<8>();
    for (index, four) in words.as_chunks::<4>().0.iter().enumerate() {
        let [a, b, c, d] = four.map(|word| u64::from_le_bytes(word).cast_signed());
        let bytes = _mm256_set_epi64x(d, c, b, a);
        let shift = 32 * index;
        // As signed numbers, bytes beyond ASCII are below all others.
        masks.end |= bits(_mm256_cmpgt_epi8(_mm256_set1_epi8(0x21), bytes)) << shift;
        masks.blank |= bits(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x20))) << shift;
        masks.feed |= bits(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x0a))) << shift;
        masks.hash |= bits(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x23))) << shift;
    }
    masks
}

/// For processors of other kinds.
fn masks(block: &[u8; BLOCK]) -> Masks {
    Masks {
        end: bits_of(block, |byte| !(0x21..0x80).contains(&byte)),
        blank: bits_of(block, |byte| byte == b' '),
        feed: bits_of(block, |byte| byte == b'\n'),
        hash: bits_of(block, |byte| byte == b'#'),
    }
}

#[inline]
fn bits_of(block: &[u8; BLOCK], is: impl Fn(u8) -> bool) -> u64 {
    let bits = block
        .iter()
        .enumerate()
        .map(|(at, byte)| u64::from(is(*byte)) << at);
    bits.fold(0, |mask, bit| mask | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(text: &[u8]) -> Marks {
        let mut marks = Marks::default();
        // What was marked before leaves nothing behind.
        marks.mark(&[b' '; 200]);
        marks.mark(text);
        marks
    }

    #[test]
    fn every_byte_is_marked_the_same_whatever_the_processor() {
        for start in 0..=255_u8 {
            let text: Vec<u8> = (0..200).map(|at| start.wrapping_add(at)).collect();
            let (one, mut other) = (marked(&text), Marks::default());
            other.mark_by(&text, masks);
            assert_eq!(one.bounds(), other.bounds(), "{start}");
            assert_eq!((one.lines, one.odd), (other.lines, other.odd), "{start}");
        }
    }

    #[test]
    fn tokens_lie_between_bounds_however_long_the_text() {
        for words in 1..70 {
            let text = (0..words)
                .map(|word| "x".repeat(1 + word % 40))
                .collect::<Vec<_>>()
                .join(" ")
                + "\n";
            let marks = marked(text.as_bytes());
            assert_eq!(marks.bounds().len(), words + 1);
            let tokens = marks.bounds().windows(2);
            let tokens = tokens.map(|pair| &text[pair[0] as usize..pair[1] as usize - 1]);
            assert_eq!(
                tokens.collect::<Vec<_>>(),
                text.trim_end().split(' ').collect::<Vec<_>>()
            );
            assert_eq!(marks.lines(), [u32::try_from(words).unwrap()]);
            assert!(marks.odd().is_empty());
        }
    }

    #[test]
    fn whatever_is_not_plain_is_odd() {
        for (text, odd) in [
            ("a b\nc d\n", &[][..]),
            ("a  b\n", &[2]),
            (" a\n", &[0]),
            ("a \n", &[2]),
            ("\na\n", &[0]),
            ("a\tb\n", &[1]),
            ("a b\r\n", &[3, 4]),
            ("a #b\n", &[2]),
            ("#a\n", &[0]),
            ("a#b\n", &[]),
            ("é\n", &[0, 1, 1, 2]),
            ("a\0b\n", &[1]),
        ] {
            let mut marks = marked(text.as_bytes());
            marks.odd.dedup();
            let mut odd = odd.to_vec();
            odd.dedup();
            assert_eq!(marks.odd(), odd, "{text:?}");
        }
    }

    #[test]
    fn oddities_are_seen_across_blocks() {
        let text = format!("{} #{}\n", "x".repeat(63), "y".repeat(62));
        assert_eq!(marked(text.as_bytes()).odd(), [64]);
        let text = format!("{}  y\n", "x".repeat(63));
        assert_eq!(marked(text.as_bytes()).odd(), [64]);
    }
}
