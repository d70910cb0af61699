//! Inflates gzip objects: any number of members, nothing lost in silence, bombs refused.
//!
//! Whether an object is gzip is told by its first bytes, never by its name: AWS sets no
//! `Content-Encoding`, users unpack files and keep the name, and Parquet objects are not gzip at
//! all. Whatever does not begin with `1f 8b` passes through as it is.
//!
//! An object of one member that is small enough is inflated as a whole, which takes less than half the time
//! of doing so piece by piece; everything else streams, and so does what is damaged, to say how.

use std::fmt;
use std::io::{self, BufRead, BufReader, Chain, Cursor, ErrorKind, Read};
use std::sync::{Mutex, PoisonError};

use flate2::bufread::GzDecoder;
use libdeflater::Decompressor;
use memchr::memmem;

/// The two bytes that every gzip member begins with (RFC 1952, section 2.3.1).
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// How much compressed data is asked for at a time. Larger reads gain nothing measurable, and one
/// buffer lives per open object.
const READ_BYTES: usize = 128 * 1024;

/// How much inflated data is there at a time, where it is not inflated as a whole.
const WINDOW_BYTES: usize = 256 * 1024;

/// An object is inflated as a whole up to this compressed size,
const MAX_WHOLE_RAW: usize = 16 << 20;

/// and up to this inflated size. Busy VPCs write objects of 5 to 30 MB; both are in memory for each object that is being read.
const MAX_WHOLE_INFLATED: usize = 64 << 20;

/// So many buffers of inflated objects are kept for the next ones: fresh memory costs a tenth of the inflating.
const MAX_SPARE: usize = 2;

/// Refuse what inflates to more than this. A flow log object of AWS's largest size (75 MB) inflates
/// to about 1 GB.
const MAX_INFLATED_BYTES: u64 = 8 << 30;

/// Refuse what inflates by more than this factor; flow logs reach 5 to 20, deflate's own limit is
/// 1032.
const MAX_RATIO: u64 = 200;

/// The ratio is looked at only beyond this size: a short file of equal lines may well compress
/// better.
const RATIO_FROM_BYTES: u64 = 16 << 20;

/// Sniffs `raw`, of about `size` bytes, and gives a reader of its inflated bytes.
///
/// Reading fails, with a message that says why, when a member is truncated, fails its checksum or
/// is not gzip, and when the limits against bombs are met. Zero bytes after the last member are
/// padding and end the stream. A single `1f` byte counts as gzip that was cut off.
///
/// # Errors
/// Reading `raw` failed, of which this reads no more than is inflated as a whole.
pub fn inflate<R: Read>(raw: R, size: u64) -> io::Result<Inflated<R>> {
    inflate_within(raw, size, Limits::default())
}

fn inflate_within<R: Read>(mut raw: R, size: u64, limits: Limits) -> io::Result<Inflated<R>> {
    let mut head = spare(&RAW);
    head.clear();
    (&mut raw).take(MAGIC.len() as u64).read_to_end(&mut head)?;
    let is_gzip = !head.is_empty() && head == MAGIC[..head.len()];
    if is_gzip {
        // One more than there is, so that the end is seen without growing.
        head.reserve(MAX_WHOLE_RAW.min(usize::try_from(size).unwrap_or(usize::MAX)) + 1);
        (&mut raw)
            .take(MAX_WHOLE_RAW as u64)
            .read_to_end(&mut head)?;
        if head.len() <= MAX_WHOLE_RAW
            && let Some(text) = inflate_whole(&head, limits)
        {
            keep(&RAW, head);
            return Ok(Inflated::new(State::Whole(text), limits));
        }
    }
    let whole = Cursor::new(head).chain(raw);
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
    Ok(Inflated::new(state, limits))
}

/// The text of an object of one member; nothing if it is anything else, or damaged, or too large.
fn inflate_whole(raw: &[u8], limits: Limits) -> Option<Vec<u8>> {
    // The trailer: checksum, and length modulo 2^32 (RFC 1952, section 2.3.1).
    let length = u32::from_le_bytes(*raw.last_chunk()?) as usize;
    if length > MAX_WHOLE_INFLATED || limits.refuse(length as u64, raw.len() as u64).is_some() {
        return None;
    }
    let mut text = spare(&INFLATED);
    if text.len() < length {
        text.resize(length, 0);
    }
    let inflated = Decompressor::new().gzip_decompress(raw, &mut text[..length]);
    if inflated != Ok(length) {
        keep(&INFLATED, text);
        return None;
    }
    text.truncate(length);
    // The member ends with its length; if that stands nowhere but at the end of the object, nothing follows the member.
    let is_all = memmem::find(raw, raw.last_chunk::<4>()?) == Some(raw.len() - 4);
    if is_all {
        Some(text)
    } else {
        keep(&INFLATED, text);
        None
    }
}

/// Buffers that are kept.
type Spare = Mutex<Vec<Vec<u8>>>;

static RAW: Spare = Mutex::new(Vec::new());
static INFLATED: Spare = Mutex::new(Vec::new());

fn spare(from: &Spare) -> Vec<u8> {
    let mut spare = from.lock().unwrap_or_else(PoisonError::into_inner);
    spare.pop().unwrap_or_default()
}

fn keep(to: &Spare, buffer: Vec<u8>) {
    let mut spare = to.lock().unwrap_or_else(PoisonError::into_inner);
    if spare.len() < MAX_SPARE {
        spare.push(buffer);
    }
}

/// A reader of inflated bytes, made by [`inflate`].
pub struct Inflated<R> {
    state: State<R>,
    produced: u64,
    limits: Limits,
    /// What was inflated or read last, unless it is all there.
    window: Vec<u8>,
    /// What of it is not given out yet.
    from: usize,
    to: usize,
}

enum State<R> {
    Plain(Chain<Cursor<Vec<u8>>, R>),
    Member(Box<GzDecoder<Input<R>>>),
    /// All of it.
    Whole(Vec<u8>),
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

impl Limits {
    /// Why so many bytes, inflated from so many, are no flow log's.
    fn refuse(self, produced: u64, consumed: u64) -> Option<String> {
        let Self {
            bytes,
            ratio,
            ratio_from,
        } = self;
        if produced > bytes {
            return Some(format!("gzip data inflates to more than {bytes} bytes"));
        }
        (produced > ratio_from && produced / ratio > consumed)
            .then(|| format!("gzip data inflates more than {ratio} times: no flow log does"))
    }
}

impl<R: Read> BufRead for Inflated<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.from == self.to && !matches!(self.state, State::Whole(_)) {
            let mut window = std::mem::take(&mut self.window);
            window.resize(WINDOW_BYTES, 0);
            let read = self.inflate_some(&mut window);
            self.window = window;
            (self.from, self.to) = (0, read?);
        }
        let text = match &self.state {
            State::Whole(text) => text,
            _ => &self.window,
        };
        Ok(&text[self.from..self.to])
    }

    fn consume(&mut self, bytes: usize) {
        self.from += bytes;
    }
}

impl<R: Read> Read for Inflated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R> Drop for Inflated<R> {
    fn drop(&mut self) {
        if let State::Whole(text) = &mut self.state {
            keep(&INFLATED, std::mem::take(text));
        }
    }
}

impl<R> Inflated<R> {
    fn new(state: State<R>, limits: Limits) -> Self {
        let to = match &state {
            State::Whole(text) => text.len(),
            _ => 0,
        };
        Self {
            state,
            produced: 0,
            limits,
            window: Vec::new(),
            from: 0,
            to,
        }
    }
}

impl<R: Read> Inflated<R> {
    fn inflate_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let decoder = match &mut self.state {
                State::Plain(raw) => return raw.read(buffer),
                State::Whole(_) | State::Ended => return Ok(0),
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
        let State::Member(decoder) = &self.state else {
            return Ok(());
        };
        let consumed = decoder.get_ref().get_ref().bytes;
        match self.limits.refuse(self.produced, consumed) {
            Some(why) => Err(io::Error::new(ErrorKind::InvalidData, why)),
            None => Ok(()),
        }
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
            State::Whole(_) => "inflated",
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
mod tests;
