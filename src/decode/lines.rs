//! Cuts a byte stream into stretches of whole lines, in bounded memory and without copying what the reader holds anyway.

use std::io::{self, BufRead, Read};

use memchr::{memchr, memrchr};

/// The longest line that may be a record: with every field of version 11 a record has about 1.5 KiB.
pub(crate) const MAX_LINE: usize = 64 * 1024;

/// The longest stretch: enough that a stretch costs nothing beside its lines, little enough that its marks stay in the cache.
const MAX_STRETCH: usize = 2 * MAX_LINE;

/// Some of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stretch<'b> {
    /// Lines with their line feeds; only the last line of the stream may lack it.
    Lines(&'b [u8]),
    /// The beginning of a line longer than [`MAX_LINE`].
    TooLong(&'b [u8]),
}

/// Reads stretches.
#[derive(Debug)]
pub(crate) struct Stretches<R> {
    reader: R,
    /// How much of the reader's buffer was given out.
    given: usize,
    /// The beginning of a line whose end the reader's buffer did not hold.
    begun: Vec<u8>,
}

impl<R: BufRead> Stretches<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            given: 0,
            begun: Vec::new(),
        }
    }

    /// The next stretch, or `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Stretch<'_>>> {
        self.reader.consume(std::mem::take(&mut self.given));
        self.begun.clear();
        let buffer = fill(&mut self.reader)?;
        let window = &buffer[..buffer.len().min(MAX_STRETCH)];
        match memrchr(b'\n', window) {
            Some(last) => {
                self.given = last + 1;
                // The same buffer: nothing was consumed.
                let buffer = fill(&mut self.reader)?;
                Ok(Some(Stretch::Lines(&buffer[..=last])))
            }
            None if window.is_empty() => Ok(None),
            None => self.one_line().map(Some),
        }
    }

    /// A line that goes beyond the reader's buffer.
    fn one_line(&mut self) -> io::Result<Stretch<'_>> {
        let mut too_long = false;
        loop {
            let buffer = fill(&mut self.reader)?;
            let end = memchr(b'\n', buffer).map(|at| at + 1);
            let part = &buffer[..end.unwrap_or(buffer.len())];
            let room = (MAX_LINE + 1).saturating_sub(self.begun.len());
            too_long |= part.len() > room;
            self.begun.extend_from_slice(&part[..part.len().min(room)]);
            let (at_end, length) = (part.is_empty() || end.is_some(), part.len());
            self.reader.consume(length);
            if at_end {
                too_long |= self.begun.len() > MAX_LINE && !self.begun.ends_with(b"\n");
                return Ok(if too_long {
                    Stretch::TooLong(&self.begun[..MAX_LINE])
                } else {
                    Stretch::Lines(&self.begun)
                });
            }
        }
    }
}

/// What the reader holds, read again when interrupted.
fn fill(reader: &mut impl BufRead) -> io::Result<&[u8]> {
    loop {
        match reader.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    reader.fill_buf()
}

/// Reads once, again when interrupted.
pub(crate) fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    /// The lengths of the lines; of one that is too long only that.
    fn lengths(bytes: &[u8], step: usize) -> Vec<Result<usize, usize>> {
        let mut stretches = Stretches::new(BufReader::with_capacity(step, bytes));
        let mut lengths = Vec::new();
        while let Some(stretch) = stretches.next().unwrap() {
            match stretch {
                Stretch::Lines(lines) => {
                    let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
                    lengths.extend(
                        lines
                            .split(|byte| *byte == b'\n')
                            .map(|line| Ok(line.len())),
                    );
                }
                Stretch::TooLong(line) => lengths.push(Err(line.len())),
            }
        }
        lengths
    }

    #[test]
    fn lines_end_at_line_feeds_and_at_the_end() {
        for step in [1, 2, 3, 100] {
            assert_eq!(lengths(b"ab\n\ncde", step), [Ok(2), Ok(0), Ok(3)]);
            assert_eq!(lengths(b"ab\n", step), [Ok(2)]);
            assert_eq!(lengths(b"", step), []);
        }
    }

    #[test]
    fn a_line_that_is_too_long_does_not_swallow_its_neighbours() {
        for (length, expected) in [
            (MAX_LINE, Ok(MAX_LINE)),
            (MAX_LINE + 1, Err(())),
            (3 * MAX_STRETCH + 7, Err(())),
            (MAX_STRETCH, Err(())),
        ] {
            for end in ["\nab\n", ""] {
                let bytes = format!("abc\n{}{end}", "x".repeat(length));
                for step in [1000, MAX_LINE, MAX_LINE + 1, 1 << 20] {
                    let lines: Vec<_> = lengths(bytes.as_bytes(), step)
                        .into_iter()
                        .map(|line| line.map_err(|_| ()))
                        .map(|line| {
                            line.and_then(|line| if line > MAX_LINE { Err(()) } else { Ok(line) })
                        })
                        .collect();
                    let mut all = vec![Ok(3), expected];
                    all.extend((!end.is_empty()).then_some(Ok(2)));
                    assert_eq!(lines, all, "{length} {step}");
                }
            }
        }
    }

    #[test]
    fn errors_of_the_reader_are_passed_on() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        assert!(Stretches::new(BufReader::new(Broken)).next().is_err());
    }
}
