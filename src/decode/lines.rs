//! Splits a byte stream into lines in bounded memory.

use std::io::{self, Read};

/// The longest line that may be a record: with every field of version 11 a record has about 1.5 KiB.
pub(crate) const MAX_LINE: usize = 64 * 1024;

/// How much is read at once: enough that a call costs nothing beside the decoding, little enough for the second level of cache.
const BUFFER: usize = 256 * 1024;

/// A line without its line feed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'b> {
    /// All of it.
    Whole(&'b [u8]),
    /// The beginning of a line longer than [`MAX_LINE`].
    TooLong(&'b [u8]),
}

/// Reads lines.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    /// What is read and not yet given out: `buffer[from..to]`.
    from: usize,
    to: usize,
    at_end: bool,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: vec![0; BUFFER],
            from: 0,
            to: 0,
            at_end: false,
        }
    }

    /// The next line, or `None` at the end. The last line needs no line feed.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        let mut searched = self.from;
        loop {
            if let Some(length) = memchr::memchr(b'\n', &self.buffer[searched..self.to]) {
                let line = self.from..searched + length;
                self.from = line.end + 1;
                return Ok(Some(measured(&self.buffer[line])));
            }
            let pending = self.to - self.from;
            if pending > MAX_LINE {
                return self.skip_line().map(Some);
            }
            if self.at_end {
                let line = self.from..self.to;
                self.from = self.to;
                return Ok((pending > 0).then(|| measured(&self.buffer[line])));
            }
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, pending);
            searched = pending;
            self.fill()?;
        }
    }

    /// Gives the beginning of a line that is too long, and reads on behind its end.
    fn skip_line(&mut self) -> io::Result<Line<'_>> {
        self.buffer.copy_within(self.from..self.to, 0);
        self.to = MAX_LINE;
        loop {
            // What is kept lies before `MAX_LINE`; what is passed over is read behind it, again and again.
            (self.from, self.to) = (MAX_LINE, MAX_LINE);
            if !self.at_end {
                self.fill()?;
            }
            if let Some(length) = memchr::memchr(b'\n', &self.buffer[self.from..self.to]) {
                self.from += length + 1;
                return Ok(Line::TooLong(&self.buffer[..MAX_LINE]));
            }
            if self.at_end {
                self.from = self.to;
                return Ok(Line::TooLong(&self.buffer[..MAX_LINE]));
            }
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let read = read_some(&mut self.reader, &mut self.buffer[self.to..])?;
        self.at_end = read == 0;
        self.to += read;
        Ok(())
    }
}

fn measured(line: &[u8]) -> Line<'_> {
    if line.len() > MAX_LINE {
        Line::TooLong(line)
    } else {
        Line::Whole(line)
    }
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
    use super::*;

    /// Gives a few bytes at a time.
    struct Drip<'b>(&'b [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(buffer.len());
            let (now, later) = self.0.split_at(length);
            buffer[..length].copy_from_slice(now);
            self.0 = later;
            Ok(length)
        }
    }

    fn lengths(bytes: &[u8], step: usize) -> Vec<Result<usize, usize>> {
        let mut lines = Lines::new(Drip(bytes, step));
        let mut lengths = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            lengths.push(match line {
                Line::Whole(line) => Ok(line.len()),
                Line::TooLong(line) => Err(line.len()),
            });
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
            (3 * BUFFER + 7, Err(())),
            (BUFFER, Err(())),
        ] {
            for end in ["\nab\n", ""] {
                let bytes = format!("abc\n{}{end}", "x".repeat(length));
                for step in [1000, usize::MAX] {
                    let lines: Vec<_> = lengths(bytes.as_bytes(), step)
                        .into_iter()
                        .map(|line| line.map_err(|_| ()))
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
        assert!(Lines::new(Broken).next().is_err());
    }
}
