//! Plain records: many at once, split into tokens and not looked at any further.
//!
//! Nearly all lines of a flow log are plain: as many fields as the header names, one blank between them, printable ASCII, a status
//! of `OK`. [`Decoder::is_plain`] tells them by their marks. Their values still have to be checked, column by column; should one not
//! fit, [`Decoder::line`] reads the same lines again and says what is wrong with which.

use crate::decode::decoder::Decoder;
use crate::decode::field::Rule;
use crate::decode::header::Header;

/// Consecutive plain lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain<'t> {
    text: &'t [u8],
    /// Where each token begins, row by row, and where the next would.
    bounds: &'t [u32],
    fields: usize,
}

/// One token of a plain line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'t> {
    text: &'t [u8],
    from: usize,
    to: usize,
}

impl<'t> Plain<'t> {
    /// Of `text` the lines whose tokens begin at `bounds`, and the end of the last line; each has as many tokens as `header` names.
    pub(crate) fn new(text: &'t [u8], bounds: &'t [u32], header: &Header) -> Self {
        Self {
            text,
            bounds,
            fields: header.len(),
        }
    }

    /// How many lines there are.
    pub(crate) fn rows(&self) -> usize {
        // One more: where the next line would begin.
        self.bounds.len().saturating_sub(1) / self.fields
    }

    /// How many bytes the lines take, line feeds included.
    pub(crate) fn length(&self) -> usize {
        let ends = [self.bounds.first(), self.bounds.last()];
        let [from, to] = ends.map(|bound| bound.copied().unwrap_or_default() as usize);
        to - from
    }

    #[inline]
    pub(crate) fn token(&self, row: usize, position: usize) -> Token<'t> {
        let at = row * self.fields + position;
        Token {
            text: self.text,
            from: self.bounds[at] as usize,
            to: self.bounds[at + 1] as usize - 1,
        }
    }

    /// The values of one field, line by line.
    #[inline]
    pub(crate) fn column(&self, position: usize) -> impl ExactSizeIterator<Item = Token<'t>> {
        let records = *self;
        (0..self.rows()).map(move |row| records.token(row, position))
    }

    /// The lines themselves, without their line feeds.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &'t [u8]> {
        let text = self.text;
        let bounds = self.bounds.iter().step_by(self.fields);
        bounds
            .clone()
            .zip(bounds.skip(1))
            .map(move |(from, next)| &text[*from as usize..*next as usize - 1])
    }
}

impl<'t> Token<'t> {
    #[inline]
    pub(crate) fn len(self) -> usize {
        self.to - self.from
    }

    #[inline]
    pub(crate) fn bytes(self) -> &'t [u8] {
        &self.text[self.from..self.to]
    }

    /// Whether it stands for a value that is not there.
    #[inline]
    pub(crate) fn is_missing(self) -> bool {
        self.to - self.from == 1 && self.text[self.from] == b'-'
    }

    /// The first 16 bytes as a number, the first byte lowest; nothing but zeros behind the token's end.
    #[inline]
    pub(crate) fn head(self) -> u128 {
        let shift = 128 - 8 * self.len().clamp(1, 16);
        self.window(self.from) << shift >> shift
    }

    /// Sixteen bytes of the text from `at`, whatever they are; zeros where it ends.
    #[inline]
    fn window(self, at: usize) -> u128 {
        if let Some(bytes) = self.text.get(at..at + 16) {
            let bytes: [u8; 16] = bytes.try_into().expect("the range is 16 bytes long");
            return u128::from_le_bytes(bytes);
        }
        let mut bytes = [0; 16];
        let rest = &self.text[at..];
        bytes[..rest.len()].copy_from_slice(rest);
        u128::from_le_bytes(bytes)
    }

    /// The value of up to 16 digits; `None` for whatever else.
    #[inline]
    pub(crate) fn digits(self) -> Option<u64> {
        let length = self.len();
        if length > 16 {
            return None;
        }
        let digits = self.window(self.from);
        let (low, high) = halves(digits);
        if length <= 8 {
            // To the left, so that zeros stand before the first digit.
            return eight_digits((low ^ ZEROS) << (64 - 8 * length));
        }
        let first = eight_digits(low ^ ZEROS)?;
        let second = eight_digits((high ^ ZEROS) << (128 - 8 * length))?;
        // The second half has `length - 8` digits.
        Some(first * TENS[length - 8] + second)
    }

    /// Whether it is up to 16 digits and nothing else.
    #[inline]
    pub(crate) fn is_digits(self) -> bool {
        let length = self.len();
        let (low, high) = halves(self.window(self.from));
        match length {
            0 | 17.. => false,
            1..=8 => are_digits((low ^ ZEROS) << (64 - 8 * length)),
            _ => are_digits(low ^ ZEROS) && are_digits((high ^ ZEROS) << (128 - 8 * length)),
        }
    }

    /// Whether it is an IPv4 address in the one spelling that it has: dotted decimal without leading zeros.
    #[inline]
    pub(crate) fn is_ipv4(self) -> bool {
        if !(7..=15).contains(&self.len()) {
            return false;
        }
        let head = self.head();
        let (low, high) = halves(head);
        let dots = bytes_like(low, b'.') | bytes_like(high, b'.') << 8;
        if dots.count_ones() != 3 {
            return false;
        }
        let last_two = dots & (dots - 1);
        let [first, second, third] =
            [dots, last_two, last_two & (last_two - 1)].map(u64::trailing_zeros);
        let end = u32::try_from(self.len()).unwrap_or(0);
        is_octet(head, 0, first)
            && is_octet(head, first + 1, second)
            && is_octet(head, second + 1, third)
            && is_octet(head, third + 1, end)
    }
}

/// Eight digits `0`.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Eight bytes, of each the highest bit.
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// One bit for each of eight bytes, the lowest first: whether it is `byte`.
#[inline]
fn bytes_like(bytes: u64, byte: u8) -> u64 {
    const LOW_BITS: u64 = !HIGH_BITS;
    let differs = bytes ^ (u64::from(byte) * 0x0101_0101_0101_0101);
    // A byte that does not differ, and no other, has no bit to carry into its highest or to have there.
    let is = !((differs & LOW_BITS).wrapping_add(LOW_BITS) | differs) & HIGH_BITS;
    (is >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Whether the bytes from `from` to `to` are a number from 0 to 255 without a leading zero.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "three bytes are looked at")]
fn is_octet(head: u128, from: u32, to: u32) -> bool {
    let length = to - from;
    if length == 0 || length > 3 {
        return false;
    }
    // To the left, so that zeros stand before the first digit.
    let digits = ((head >> (8 * from)) as u32 ^ 0x30_3030) << (8 * (3 - length)) & 0xff_ffff;
    if ((digits + 0x76_7676) | digits) & 0x80_8080 != 0 {
        return false;
    }
    let value = 100 * (digits & 0xff) + 10 * (digits >> 8 & 0xff) + (digits >> 16);
    let least = [0, 0, 10, 100][length as usize];
    (least..=255).contains(&value)
}

const TENS: [u64; 9] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
];

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "each half is taken for itself"
)]
fn halves(bytes: u128) -> (u64, u64) {
    (bytes as u64, (bytes >> 64) as u64)
}

/// Whether each of eight bytes is a number below ten.
#[inline]
fn are_digits(digits: u64) -> bool {
    const ABOVE_NINE: u64 = 0x7676_7676_7676_7676;
    (digits.wrapping_add(ABOVE_NINE) | digits) & HIGH_BITS == 0
}

/// Eight decimal digits, one per byte and the first lowest, as a number; `None` if a byte is no digit.
#[inline]
fn eight_digits(digits: u64) -> Option<u64> {
    if !are_digits(digits) {
        return None;
    }
    // Neighbours join: ones and tens, then hundreds, then ten thousands.
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

/// What of a header tells plain lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    fields: usize,
    status: Option<usize>,
    /// Without a status, a field that a record without traffic leaves empty.
    witness: Option<usize>,
}

impl Shape {
    pub(crate) fn of(header: &Header) -> Self {
        let columns = header.columns();
        let first = |is: fn(Rule) -> bool| columns.iter().position(|column| is(column.rule));
        let peer = |rule| matches!(rule, Rule::Address | Rule::Port | Rule::Action);
        let counter = |rule| matches!(rule, Rule::Byte | Rule::Int64);
        let status = first(|rule| rule == Rule::Status);
        Self {
            fields: header.len(),
            status,
            witness: first(peer)
                .or_else(|| first(counter))
                .filter(|_| status.is_none()),
        }
    }
}

impl Decoder {
    /// Whether a line is a plain record: [`Decoder::line`] would find as many fields in it, at the same places, no header, and a status
    /// of `OK`. Its values are not checked. `bounds` are those of its tokens and where the next line begins, in `text`; nothing in the
    /// line is odd.
    #[inline]
    pub(crate) fn is_plain(&self, text: &[u8], bounds: &[u32]) -> bool {
        let shape = self.shape();
        if bounds.len() != shape.fields + 1 || self.is_in_csv() {
            return false;
        }
        let token =
            |position: usize| &text[bounds[position] as usize..bounds[position + 1] as usize - 1];
        if let Some(status) = shape.status
            && token(status) != b"OK"
        {
            return false;
        }
        if let Some(witness) = shape.witness
            && token(witness) == b"-"
        {
            return false;
        }
        let line = &text[bounds[0] as usize..bounds[shape.fields] as usize - 1];
        match line[0] {
            // A timestamp may stand before the record.
            b'0'..=b'9' => line.get(4) != Some(&b'-'),
            // The header of a CSV export.
            b't' | b'@' | b'"' => false,
            b'a'..=b'z' | b'$' => self.header_in(line).is_none(),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::decode::value;

    fn token(text: &[u8], from: usize, to: usize) -> Token<'_> {
        Token { text, from, to }
    }

    #[test]
    fn digits_are_read_as_one_by_one() {
        for text in [
            "0",
            "7",
            "22",
            "0022",
            "443",
            "65535",
            "1234567",
            "12345678",
            "123456789",
            "1418530010",
            "1418530010123",
            "9999999999999999",
            "a",
            "1a",
            "a1",
            "-1",
            "1.0",
            "/1",
            ":1",
            "12345678a",
            "1234567a9",
            "²1",
        ] {
            for behind in ["", " ", "\n12345678901234567890"] {
                let line = format!("9 {text}{behind}");
                let read = token(line.as_bytes(), 2, 2 + text.len()).digits();
                let expected = value::number(text.as_bytes());
                assert_eq!(
                    read.and_then(|number| i64::try_from(number).ok()),
                    expected,
                    "{line:?}"
                );
                let is_digits = token(line.as_bytes(), 2, 2 + text.len()).is_digits();
                assert_eq!(is_digits, expected.is_some(), "{line:?}");
            }
        }
        assert_eq!(token(b"12345678901234567", 0, 17).digits(), None);
        assert!(!token(b"12345678901234567", 0, 17).is_digits());
    }

    #[test]
    fn an_ipv4_address_is_told_as_byte_by_byte() {
        let octets = [
            "0", "1", "9", "10", "99", "100", "199", "255", "256", "999", "01", "00", "", "1000",
            "a", "1a", "-1", "/", ":", "25\u{7f}", "²",
        ];
        let mut texts: Vec<String> = ["1.2.3", "1.2.3.4.5", "....", "...", "1234567", "-", "::1"]
            .map(str::to_owned)
            .into();
        for octet in octets {
            for place in 0..4 {
                for other in ["0", "7", "23", "254"] {
                    let mut parts = [other; 4];
                    parts[place] = octet;
                    texts.push(parts.join("."));
                }
            }
        }
        for text in texts {
            for behind in ["", " ", " 1.2.3.4\n12345678901234567890"] {
                let line = format!("9 {text}{behind}");
                let token = token(line.as_bytes(), 2, 2 + text.len());
                let expected = text.parse::<Ipv4Addr>().is_ok();
                assert_eq!(token.is_ipv4(), expected, "{line:?}");
            }
        }
    }

    #[test]
    fn bytes_are_found_wherever_they_are() {
        for places in 0..=255_u64 {
            for other in [0, 0x2d, 0x2f, 0x80, 0xae, 0xff] {
                let byte = |at: usize| if places >> at & 1 == 1 { b'.' } else { other };
                let bytes = u64::from_le_bytes(std::array::from_fn(byte));
                assert_eq!(bytes_like(bytes, b'.'), places, "{bytes:x}");
            }
        }
    }

    #[test]
    fn a_head_is_the_token_and_zeros() {
        let line = b"10.0.0.1 - abcdefghijklmnopqrstuvwxyz";
        let head = |from, to| token(line, from, to).head().to_le_bytes();
        assert_eq!(&head(0, 8)[..], b"10.0.0.1\0\0\0\0\0\0\0\0");
        assert_eq!(&head(9, 10)[..], b"-\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(&head(11, 37)[..], b"abcdefghijklmnop");
        assert_eq!(&head(35, 37)[..], b"yz\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    }
}
