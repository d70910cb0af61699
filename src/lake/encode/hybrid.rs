//! Parquet's hybrid of runs and packed bits, in which levels and dictionary keys are written
//! (<https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE>).

/// Packed values come in groups of so many.
const GROUP: usize = 8;

/// A run is written as one from so many groups on: it ends the packing before it, which costs two headers.
const RUN_GROUPS: usize = 3;

/// How many bits a key below `count` takes.
pub(super) fn width_of(count: usize) -> u32 {
    usize::BITS - count.saturating_sub(1).leading_zeros()
}

/// Appends `values`, each below 2 to the power of `width`.
pub(super) fn encode(values: &[u32], width: u32, out: &mut Vec<u8>) {
    let (groups, _) = values.as_chunks::<GROUP>();
    // By groups: what is neither written nor a run yet is `packed..at`.
    let (mut packed, mut at) = (0, 0);
    while at < groups.len() {
        let value = groups[at][0];
        let mut end = at;
        while end < groups.len() && groups[end] == [value; GROUP] {
            end += 1;
        }
        if end - at >= RUN_GROUPS {
            pack(&values[packed * GROUP..at * GROUP], width, out);
            // The values behind the last whole group go with it, if they are equal too.
            let last = end * GROUP;
            let rest = if end == groups.len() {
                values[last..]
                    .iter()
                    .take_while(|other| **other == value)
                    .count()
            } else {
                0
            };
            let is_all = last + rest == values.len();
            run(
                value,
                last - at * GROUP + if is_all { rest } else { 0 },
                width,
                out,
            );
            if is_all {
                return;
            }
            packed = end;
        }
        at = end.max(at + 1);
    }
    pack(&values[packed * GROUP..], width, out);
}

/// Appends the same value `count` times.
pub(super) fn run(value: u32, count: usize, width: u32, out: &mut Vec<u8>) {
    if count > 0 {
        varint((count as u64) << 1, out);
        out.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(8) as usize]);
    }
}

fn pack(values: &[u32], width: u32, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let count = values.len().div_ceil(GROUP);
    varint((count as u64) << 1 | 1, out);
    // Each group is written as a whole word, of which the next overwrites what is too much.
    let mut at = out.len();
    let end = at + count * width as usize;
    out.resize(end + size_of::<u128>() * 2, 0);
    let (groups, rest) = values.as_chunks::<GROUP>();
    let mut last = [0; GROUP];
    last[..rest.len()].copy_from_slice(rest);
    for group in groups.iter().chain((!rest.is_empty()).then_some(&last)) {
        let [low, high] = halves(group, width);
        let half = 4 * width;
        if width <= 16 {
            let word = low | high << half;
            out[at..at + 16].copy_from_slice(&word.to_le_bytes());
        } else {
            // Half a group takes `width / 2` bytes, and four bits more if that is odd.
            let split = (half / 8) as usize;
            let carry = half % 8;
            out[at..at + 16].copy_from_slice(&low.to_le_bytes());
            let shared = out[at + split] & ((1 << carry) - 1);
            out[at + split..at + split + 16].copy_from_slice(&(high << carry).to_le_bytes());
            // Four values of 32 bits fill the word: nothing is carried then.
            out[at + split] |= shared;
        }
        at += width as usize;
    }
    out.truncate(end);
}

/// The bits of the first and of the last four values of a group.
#[inline]
fn halves(group: &[u32; GROUP], width: u32) -> [u128; 2] {
    let (fours, _) = group.as_chunks::<4>();
    let join = |four: &[u32; 4]| {
        // Two values fit into 64 bits whatever their width.
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << width;
        u128::from(pair(four[0], four[1])) | u128::from(pair(four[2], four[3])) << (2 * width)
    };
    [join(&fours[0]), join(&fours[1])]
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the specification says, and no faster.
    fn decode(mut bytes: &[u8], width: u32, count: usize) -> Vec<u32> {
        let mut values = Vec::new();
        let take = |bytes: &mut &[u8], count: usize| {
            let (head, rest) = bytes.split_at(count);
            *bytes = rest;
            head.to_vec()
        };
        while values.len() < count {
            let (mut header, mut shift) = (0_usize, 0);
            loop {
                let byte = take(&mut bytes, 1)[0];
                header |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            if header & 1 == 0 {
                let mut word = [0; 4];
                let length = width.div_ceil(8) as usize;
                word[..length].copy_from_slice(&take(&mut bytes, length));
                values.resize(values.len() + (header >> 1), u32::from_le_bytes(word));
            } else {
                let packed = take(&mut bytes, (header >> 1) * width as usize);
                for index in 0..(header >> 1) * GROUP {
                    let bit = |at: usize| u32::from(packed[at / 8] >> (at % 8) & 1);
                    let from = index * width as usize;
                    let value =
                        (0..width as usize).fold(0, |value, at| value | bit(from + at) << at);
                    values.push(value);
                }
            }
        }
        assert!(bytes.is_empty());
        assert!(values[count..].iter().all(|padding| *padding == 0));
        values.truncate(count);
        values
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            width in 0_u32..=32,
            runs in prop::collection::vec((any::<u32>(), prop_oneof![1..3_usize, 6..30_usize, 60..300_usize]), 0..40),
        ) {
            let mask = u32::try_from((1_u64 << width) - 1).unwrap();
            let values: Vec<u32> = runs
                .iter()
                .flat_map(|(value, count)| std::iter::repeat_n(value & mask, *count))
                .collect();
            let mut out = Vec::new();
            encode(&values, width, &mut out);
            prop_assert_eq!(decode(&out, width, values.len()), values);
        }
    }

    #[test]
    fn a_constant_takes_next_to_nothing() {
        let mut out = Vec::new();
        encode(&[3; 20_000], 2, &mut out);
        assert!(out.len() <= 4, "{out:?}");
        assert_eq!(
            [
                width_of(0),
                width_of(1),
                width_of(2),
                width_of(3),
                width_of(256),
                width_of(257)
            ],
            [0, 0, 1, 2, 8, 9]
        );
    }
}
