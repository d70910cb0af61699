//! Dictionary indices as Parquet stores them: finds values without unpacking those that are not looked for, or unpacks all.
//!
//! Indices are a hybrid of runs: of one value repeated, and of groups of eight values packed to as many bits as the largest needs.

use std::ops::Range;

/// The dictionary indices that are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    One(u32),
    /// As a set of bits.
    Several(Vec<u64>),
}

impl Wanted {
    /// `None` where nothing is looked for.
    pub(super) fn new(indices: &[u32]) -> Option<Self> {
        match indices {
            [] => None,
            [one] => Some(Self::One(*one)),
            several => {
                let largest = several.iter().max().map_or(0, |largest| *largest as usize);
                let mut bits = vec![0; largest / 64 + 1];
                for index in several {
                    bits[*index as usize / 64] |= 1 << (index % 64);
                }
                Some(Self::Several(bits))
            }
        }
    }

    fn has(&self, index: u32) -> bool {
        match self {
            Self::One(one) => *one == index,
            Self::Several(bits) => bit(bits, index),
        }
    }
}

fn bit(bits: &[u64], index: u32) -> bool {
    bits.get(index as usize / 64)
        .is_some_and(|word| word >> (index % 64) & 1 == 1)
}

/// The data are not what Parquet says they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) struct Malformed;

/// A run of the hybrid, with the positions of its values.
enum Run<'d> {
    /// The same value at all of them.
    Of(u32),
    /// Packed, in groups of eight.
    Packed(&'d [u8]),
}

/// Calls `take` for each run of `values` of the hybrid encoding, in order.
fn runs(
    data: &[u8],
    bit_width: u8,
    values: usize,
    mut take: impl FnMut(Run<'_>, Range<usize>),
) -> Result<(), Malformed> {
    if bit_width > 32 {
        return Err(Malformed);
    }
    let width = usize::from(bit_width);
    let (mut rest, mut position) = (data, 0);
    while position < values {
        let header = variable_length(&mut rest)?;
        if header & 1 == 1 {
            let groups = usize::try_from(header >> 1).map_err(|_| Malformed)?;
            let count = groups.checked_mul(8).ok_or(Malformed)?;
            let count = count.min(values - position);
            // The last run may be cut behind the last value that counts.
            let bytes = count.checked_mul(width).ok_or(Malformed)?.div_ceil(8);
            let packed = rest.get(..bytes).ok_or(Malformed)?;
            let end = position + count;
            take(Run::Packed(packed), position..end);
            rest = rest.get(groups * width..).unwrap_or_default();
            if count == 0 {
                return Err(Malformed);
            }
            position = end;
        } else {
            let count = usize::try_from(header >> 1).map_err(|_| Malformed)?;
            if count == 0 {
                return Err(Malformed);
            }
            let (value, behind) = rest.split_at_checked(width.div_ceil(8)).ok_or(Malformed)?;
            let mut bytes = [0; 4];
            bytes[..value.len()].copy_from_slice(value);
            rest = behind;
            let end = position.saturating_add(count).min(values);
            take(Run::Of(u32::from_le_bytes(bytes)), position..end);
            position = end;
        }
    }
    Ok(())
}

/// Calls `found` for the positions, in order, at which `values` of the hybrid encoding has a wanted value.
///
/// # Errors
/// The data end early, or make no sense.
pub(super) fn find(
    data: &[u8],
    bit_width: u8,
    values: usize,
    wanted: &Wanted,
    mut found: impl FnMut(Range<usize>),
) -> Result<(), Malformed> {
    runs(data, bit_width, values, |run, positions| match run {
        Run::Packed(packed) => in_packed(packed, bit_width, positions, wanted, &mut found),
        Run::Of(value) if wanted.has(value) => found(positions),
        Run::Of(_) => {}
    })
}

/// Appends `values` of the hybrid encoding.
///
/// # Errors
/// The data end early, or make no sense.
pub(super) fn unpack(
    data: &[u8],
    bit_width: u8,
    values: usize,
    out: &mut Vec<u32>,
) -> Result<(), Malformed> {
    out.reserve(values);
    runs(data, bit_width, values, |run, positions| match run {
        Run::Packed(packed) => unpack_groups(packed, bit_width, positions.len(), out),
        Run::Of(value) => out.resize(out.len() + positions.len(), value),
    })
}

/// An unsigned number in groups of seven bits, the lowest first.
fn variable_length(data: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = data.split_first().ok_or(Malformed)?;
        *data = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Malformed)
}

fn in_packed(
    packed: &[u8],
    bit_width: u8,
    positions: Range<usize>,
    wanted: &Wanted,
    found: &mut impl FnMut(Range<usize>),
) {
    // The width as a constant: with it every shift and offset is one, which is several times as fast.
    macro_rules! by_width {
        ($($width:literal)*) => {
            match bit_width {
                0 if wanted.has(0) && !positions.is_empty() => found(positions),
                $($width => match wanted {
                    Wanted::One(one) => in_groups::<$width>(packed, positions, |value| value == *one, found),
                    Wanted::Several(bits) => in_groups::<$width>(packed, positions, |value| bit(bits, value), found),
                },)*
                _ => {}
            }
        };
    }
    by_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
}

/// What is read at once for eight values: the last of them begins in byte 28 at most, and eight bytes are loaded from there.
const WINDOW: usize = 36;

/// The eight values of a group.
fn group<const WIDTH: usize>(window: &[u8; WINDOW]) -> [u32; 8] {
    std::array::from_fn(|value| {
        let first = value * WIDTH;
        let mut word = [0; 8];
        word.copy_from_slice(&window[first / 8..first / 8 + 8]);
        let bits = u64::from_le_bytes(word) >> (first % 8) & (u64::MAX >> (64 - WIDTH));
        #[expect(clippy::cast_possible_truncation, reason = "32 bits at most")]
        let value = bits as u32;
        value
    })
}

/// Calls `take` for the groups that hold so many values.
fn groups<const WIDTH: usize>(packed: &[u8], values: usize, mut take: impl FnMut(usize, [u32; 8])) {
    let groups = values.div_ceil(8);
    let mut at = 0;
    while let Some(window) = packed
        .get(at * WIDTH..)
        .and_then(|rest| rest.first_chunk::<WINDOW>())
    {
        if at == groups {
            return;
        }
        take(at, group::<WIDTH>(window));
        at += 1;
    }
    for at in at..groups {
        let rest = packed.get(at * WIDTH..).unwrap_or_default();
        let mut window = [0; WINDOW];
        let length = rest.len().min(WINDOW);
        window[..length].copy_from_slice(&rest[..length]);
        take(at, group::<WIDTH>(&window));
    }
}

fn in_groups<const WIDTH: usize>(
    packed: &[u8],
    positions: Range<usize>,
    is_wanted: impl Fn(u32) -> bool,
    found: &mut impl FnMut(Range<usize>),
) {
    groups::<WIDTH>(packed, positions.len(), |group, values| {
        let mut hits = (0..).zip(values).fold(0_u32, |hits, (at, value)| {
            hits | u32::from(is_wanted(value)) << at
        });
        while hits != 0 {
            let position = positions.start + group * 8 + hits.trailing_zeros() as usize;
            // What fills up the last group is no value.
            if position < positions.end {
                found(position..position + 1);
            }
            hits &= hits - 1;
        }
    });
}

fn unpack_groups(packed: &[u8], bit_width: u8, values: usize, out: &mut Vec<u32>) {
    let end = out.len() + values;
    macro_rules! by_width {
        ($($width:literal)*) => {
            match bit_width {
                $($width => groups::<$width>(packed, values, |_, values| out.extend_from_slice(&values)),)*
                // Of no width, all are the first.
                _ => out.resize(end, 0),
            }
        };
    }
    by_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
    // What fills up the last group is no value.
    out.truncate(end);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs of the hybrid: repeated, or packed.
    fn encode(values: &[u32], bit_width: u8, packed_first: bool) -> Vec<u8> {
        let width = usize::from(bit_width);
        let mut data = Vec::new();
        let mut is_packed = packed_first;
        let mut rest = values;
        while !rest.is_empty() {
            if is_packed || rest.len() < 9 {
                let groups = rest.len().div_ceil(8).min(5);
                let (now, later) = rest.split_at(rest.len().min(groups * 8));
                data.push(u8::try_from(groups << 1 | 1).unwrap());
                let mut bits = vec![0_u8; groups * width];
                for (index, value) in now.iter().enumerate() {
                    for bit in (0..width).filter(|bit| value >> bit & 1 == 1) {
                        bits[(index * width + bit) / 8] |= 1 << ((index * width + bit) % 8);
                    }
                }
                data.extend(bits);
                rest = later;
            } else {
                let same = rest.iter().take_while(|value| **value == rest[0]).count();
                data.push(u8::try_from((same << 1) & 0x7f).unwrap() | 0x80);
                data.push(u8::try_from(same << 1 >> 7).unwrap());
                data.extend(&rest[0].to_le_bytes()[..width.div_ceil(8)]);
                rest = &rest[same..];
            }
            is_packed = !is_packed;
        }
        data
    }

    proptest! {
        #[test]
        fn finds_what_a_loop_finds(
            width in 0_u8..=32,
            seeds in prop::collection::vec((any::<u32>(), 1_usize..20), 0..60),
            wanted in prop::collection::vec(any::<u32>(), 1..4),
            packed_first: bool,
        ) {
            // Few distinct values, so that there is something to find and something to repeat.
            let mask = if width == 32 { u32::MAX } else { (1 << width) - 1 };
            let few = |seed: u32| (seed % 5).wrapping_mul(0x9e37_79b9) & mask;
            let values: Vec<u32> = seeds.iter().flat_map(|(seed, times)| vec![few(*seed); *times]).collect();
            let mut wanted: Vec<u32> = wanted.into_iter().map(few).collect();
            if width > 20 {
                // A set of bits is for indices into a dictionary, not for all numbers there are.
                wanted.truncate(1);
            }
            let data = encode(&values, width, packed_first);
            let mut found = Vec::new();
            let told = find(&data, width, values.len(), &Wanted::new(&wanted).unwrap(), |positions| found.extend(positions));
            prop_assert_eq!(told, Ok(()));
            let expected: Vec<usize> = (0..values.len()).filter(|at| wanted.contains(&values[*at])).collect();
            prop_assert_eq!(found, expected);
            let mut all = Vec::new();
            prop_assert_eq!(unpack(&data, width, values.len(), &mut all), Ok(()));
            prop_assert_eq!(all, values);
        }

        #[test]
        fn survives_anything(data in prop::collection::vec(any::<u8>(), 0..100), width: u8, values in 0_usize..1000) {
            let mut last = 0;
            let _ = find(&data, width, values, &Wanted::One(1), |positions| {
                assert!(last <= positions.start && positions.end <= values);
                last = positions.end;
            });
            let mut all = Vec::new();
            if unpack(&data, width, values, &mut all).is_ok() {
                assert_eq!(all.len(), values);
            }
        }
    }
}
