//! Inflates gzip objects: any number of members, nothing lost in silence, bombs refused.
//!
//! Whether an object is gzip is told by its first bytes, never by its name: AWS sets no
//! `Content-Encoding`, users unpack files and keep the name, and Parquet objects are not gzip at
//! all. Whatever does not begin with `1f 8b` passes through as it is.

use std::fmt;
use std::io::{self, BufRead, BufReader, Chain, Cursor, ErrorKind, Read};

use flate2::bufread::GzDecoder;

/// The two bytes that every gzip member begins with (RFC 1952, section 2.3.1).
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// How much compressed data is asked for at a time. Larger reads gain nothing measurable, and one
/// buffer lives per open object.
const READ_BYTES: usize = 128 * 1024;

/// Refuse what inflates to more than this. A flow log object of AWS's largest size (75 MB) inflates
/// to about 1 GB.
const MAX_INFLATED_BYTES: u64 = 8 << 30;

/// Refuse what inflates by more than this factor; flow logs reach 5 to 20, deflate's own limit is
/// 1032.
const MAX_RATIO: u64 = 200;

/// The ratio is looked at only beyond this size: a short file of equal lines may well compress
/// better.
const RATIO_FROM_BYTES: u64 = 16 << 20;

/// Sniffs `raw` and gives a reader of its inflated bytes.
///
/// Reading fails, with a message that says why, when a member is truncated, fails its checksum or
/// is not gzip, and when the limits against bombs are met. Zero bytes after the last member are
/// padding and end the stream. A single `1f` byte counts as gzip that was cut off.
///
/// # Errors
/// The first read of `raw` failed.
pub fn inflate<R: Read>(raw: R) -> io::Result<Inflated<R>> {
    inflate_within(raw, Limits::default())
}

fn inflate_within<R: Read>(mut raw: R, limits: Limits) -> io::Result<Inflated<R>> {
    let mut head = [0; MAGIC.len()];
    let mut filled = 0;
    while filled < head.len() {
        match raw.read(&mut head[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let is_gzip = filled > 0 && head[..filled] == MAGIC[..filled];
    let whole = Cursor::new(head[..filled].to_vec()).chain(raw);
    let state = if is_gzip {
        let input = BufReader::with_capacity(
            READ_BYTES,
            Metered {
                inner: whole,
                bytes: 0,
                failed: false,
            },
        );
        State::Member(Box::new(GzDecoder::new(input)))
    } else {
        State::Plain(whole)
    };
    Ok(Inflated {
        state,
        produced: 0,
        limits,
    })
}

/// A reader of inflated bytes, made by [`inflate`].
pub struct Inflated<R> {
    state: State<R>,
    produced: u64,
    limits: Limits,
}

enum State<R> {
    Plain(Chain<Cursor<Vec<u8>>, R>),
    Member(Box<GzDecoder<Input<R>>>),
    Ended,
}

type Input<R> = BufReader<Metered<Chain<Cursor<Vec<u8>>, R>>>;

#[derive(Clone, Copy)]
struct Limits {
    bytes: u64,
    ratio: u64,
    ratio_from: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: MAX_INFLATED_BYTES,
            ratio: MAX_RATIO,
            ratio_from: RATIO_FROM_BYTES,
        }
    }
}

impl<R: Read> Read for Inflated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let decoder = match &mut self.state {
                State::Plain(raw) => return raw.read(buffer),
                State::Ended => return Ok(0),
                State::Member(decoder) => decoder,
            };
            match decoder.read(buffer) {
                Ok(0) => self.enter_next_member()?,
                Ok(count) => {
                    self.produced += count as u64;
                    self.check_limits()?;
                    return Ok(count);
                }
                Err(error) => return Err(explain(error, decoder.get_ref().get_ref().failed)),
            }
        }
    }
}

impl<R: Read> Inflated<R> {
    /// One member is through, checksum and all: looks at what follows it.
    fn enter_next_member(&mut self) -> io::Result<()> {
        let State::Member(decoder) = std::mem::replace(&mut self.state, State::Ended) else {
            return Ok(());
        };
        let mut input = decoder.into_inner();
        match input.fill_buf()?.first() {
            None => {}
            Some(0) => expect_only_zeros(&mut input)?,
            Some(byte) if *byte == MAGIC[0] => {
                self.state = State::Member(Box::new(GzDecoder::new(input)))
            }
            Some(byte) => {
                let message =
                    format!("unexpected data after the end of the gzip data: byte `{byte:#04x}`");
                return Err(io::Error::new(ErrorKind::InvalidData, message));
            }
        }
        Ok(())
    }

    fn check_limits(&self) -> io::Result<()> {
        let Limits {
            bytes,
            ratio,
            ratio_from,
        } = self.limits;
        let refuse = |what: String| Err(io::Error::new(ErrorKind::InvalidData, what));
        if self.produced > bytes {
            return refuse(format!("gzip data inflates to more than {bytes} bytes"));
        }
        let State::Member(decoder) = &self.state else {
            return Ok(());
        };
        let consumed = decoder.get_ref().get_ref().bytes;
        if self.produced > ratio_from && self.produced / ratio > consumed {
            return refuse(format!(
                "gzip data inflates more than {ratio} times: no flow log does"
            ));
        }
        Ok(())
    }
}

fn expect_only_zeros(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.iter().any(|byte| *byte != 0) {
            let message = "unexpected data after the end of the gzip data, behind zero padding";
            return Err(io::Error::new(ErrorKind::InvalidData, message));
        }
        let count = bytes.len();
        input.consume(count);
    }
}

/// Says in plain words what flate2 found; an error of the reader below is handed on untouched.
fn explain(error: io::Error, from_input: bool) -> io::Error {
    if from_input {
        return error;
    }
    match error.kind() {
        ErrorKind::UnexpectedEof => io::Error::new(
            ErrorKind::UnexpectedEof,
            "gzip data ends early: the object is truncated",
        ),
        ErrorKind::Interrupted => error,
        _ => io::Error::new(
            ErrorKind::InvalidData,
            format!("gzip data is damaged: {error}"),
        ),
    }
}

/// Counts what was read, and remembers whether it was reading that failed rather than inflating.
struct Metered<R> {
    inner: R,
    bytes: u64,
    failed: bool,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.inner.read(buffer);
        match &result {
            Ok(count) => self.bytes += *count as u64,
            Err(_) => self.failed = true,
        }
        result
    }
}

impl<R> fmt::Debug for Inflated<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Plain(_) => "plain",
            State::Member(_) => "gzip",
            State::Ended => "ended",
        };
        formatter
            .debug_struct("Inflated")
            .field("state", &state)
            .field("produced", &self.produced)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    const LINES: &[u8] = b"version account-id\n2 123456789010\n2 123456789010\n";

    fn member(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read_all(raw: impl Read) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        inflate(raw)?.read_to_end(&mut text)?;
        Ok(text)
    }

    /// Hands out one byte at a time, as a slow connection may.
    struct Dribble<'a>(&'a [u8]);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(buffer.len()).min(1);
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn inflates_one_member() {
        assert_eq!(read_all(&member(LINES)[..]).unwrap(), LINES);
    }

    #[test]
    fn inflates_every_member_also_empty_ones() {
        let raw = [
            member(b""),
            member(LINES),
            member(b""),
            member(b""),
            member(LINES),
            member(b""),
        ]
        .concat();
        assert_eq!(read_all(&raw[..]).unwrap(), LINES.repeat(2));
        assert_eq!(read_all(Dribble(&raw)).unwrap(), LINES.repeat(2));
    }

    #[test]
    fn passes_through_what_is_not_gzip() {
        for text in [&b""[..], b"v", LINES, b"PAR1", b"\x00\x1f\x8b"] {
            assert_eq!(read_all(text).unwrap(), text);
            assert_eq!(read_all(Dribble(text)).unwrap(), text);
        }
    }

    #[test]
    fn accepts_zero_padding_at_the_tail() {
        let padded = [member(LINES), vec![0; 300_000]].concat();
        assert_eq!(read_all(&padded[..]).unwrap(), LINES);
        assert_eq!(
            read_all(Dribble(&padded[..member(LINES).len() + 1])).unwrap(),
            LINES
        );
    }

    #[test]
    fn refuses_other_bytes_at_the_tail() {
        for tail in [&b"x"[..], b"\0\0x", b"\x1fx", b"\n"] {
            let raw = [&member(LINES), tail].concat();
            read_all(&raw[..]).expect_err("trailing garbage");
        }
        let error = read_all(&[member(LINES), b"tail".to_vec()].concat()[..]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unexpected data after the end of the gzip data: byte `0x74`"
        );
    }

    #[test]
    fn refuses_every_cut_of_one_member() {
        let raw = member(LINES);
        for length in 1..raw.len() {
            let error = read_all(&raw[..length]).expect_err("cut");
            assert_eq!(
                error.kind(),
                ErrorKind::UnexpectedEof,
                "{length} of {} bytes: {error}",
                raw.len()
            );
            assert_eq!(
                error.to_string(),
                "gzip data ends early: the object is truncated"
            );
            read_all(Dribble(&raw[..length])).expect_err("cut");
        }
    }

    #[test]
    fn refuses_every_cut_of_the_last_of_two_members() {
        let first = member(LINES);
        let raw = [first.clone(), member(LINES)].concat();
        for length in first.len() + 1..raw.len() {
            read_all(&raw[..length]).expect_err("cut in the second member");
        }
    }

    #[test]
    fn refuses_every_cut_of_a_member_with_a_name_and_extra_header_fields() {
        let mut encoder = flate2::GzBuilder::new()
            .filename("flow.log")
            .comment("x")
            .extra(vec![1, 2, 3])
            .write(Vec::new(), Compression::best());
        encoder.write_all(LINES).unwrap();
        let raw = encoder.finish().unwrap();
        assert_eq!(read_all(&raw[..]).unwrap(), LINES);
        for length in 1..raw.len() {
            read_all(&raw[..length]).expect_err("cut");
        }
    }

    #[test]
    fn refuses_a_flipped_bit_wherever_it_changes_the_text() {
        let raw = member(LINES);
        for position in 10..raw.len() {
            let mut damaged = raw.clone();
            damaged[position] ^= 0x10;
            if let Ok(text) = read_all(&damaged[..]) {
                assert_eq!(text, LINES, "byte {position}");
            }
        }
        let mut damaged = raw.clone();
        let checksum = raw.len() - 8;
        damaged[checksum] ^= 1;
        let error = read_all(&damaged[..]).unwrap_err();
        assert!(
            error.to_string().starts_with("gzip data is damaged: "),
            "{error}"
        );
    }

    #[test]
    fn refuses_bombs() {
        let zeros = member(&vec![0; 20 << 20]);
        let error = read_all(&zeros[..]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "gzip data inflates more than 200 times: no flow log does"
        );
    }

    #[test]
    fn leaves_small_files_that_compress_well_alone() {
        let zeros = vec![0; 8 << 20];
        assert_eq!(read_all(&member(&zeros)[..]).unwrap(), zeros);
    }

    #[test]
    fn refuses_more_bytes_than_the_limit() {
        let limits = Limits {
            bytes: 10,
            ..Limits::default()
        };
        let mut text = Vec::new();
        let error = inflate_within(&member(LINES)[..], limits)
            .unwrap()
            .read_to_end(&mut text)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "gzip data inflates to more than 10 bytes"
        );
    }

    #[test]
    fn hands_on_the_error_of_the_reader_below() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::new(
                    ErrorKind::UnexpectedEof,
                    "cannot read `s3://b/k`: connection reset",
                ))
            }
        }
        let raw = member(LINES);
        let error = read_all(raw[..20].chain(Broken)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read `s3://b/k`: connection reset"
        );
    }
}
