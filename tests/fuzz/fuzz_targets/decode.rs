//! Any bytes, cut anywhere: reading does not panic, every line is counted once, and where the bytes were cut does not matter.
//!
//! Parquet is left to the decoder's own tests: its reader may panic on damaged files, which we catch and libFuzzer does not.

#![no_main]

use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;

use arbitrary::Arbitrary;
use flowscout::batch::{Decoded, ReadOptions, read_object};
use flowscout::decode::Header;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input<'b> {
    /// How many bytes each read gives, over and over.
    chunks: Vec<u8>,
    with_log_format: bool,
    /// A header, so that the fuzzer need not find one by itself.
    with_header: bool,
    bytes: &'b [u8],
}

/// Gives the bytes in pieces.
struct Chunked<'b> {
    bytes: &'b [u8],
    chunks: std::iter::Cycle<std::slice::Iter<'b, u8>>,
}

impl Read for Chunked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let chunk = self
            .chunks
            .next()
            .map_or(usize::MAX, |chunk| usize::from(*chunk) + 1);
        let length = chunk.min(buffer.len()).min(self.bytes.len());
        let (now, later) = self.bytes.split_at(length);
        buffer[..length].copy_from_slice(now);
        self.bytes = later;
        Ok(length)
    }
}

fn check(reader: impl Read, options: &ReadOptions) -> Option<Decoded> {
    let mut rows = 0;
    let decoded = read_object(BufReader::new(reader), options, &mut |batch| {
        assert!(batch.num_rows() > 0 && batch.num_rows() <= options.batch_rows);
        rows += batch.num_rows() as u64;
        ControlFlow::Continue(())
    })
    .ok()?;
    assert_eq!(decoded.rows, rows);
    assert_eq!(
        decoded.nodata + decoded.skipdata,
        decoded.coverage.num_rows() as u64
    );
    assert_eq!(
        decoded.rows + decoded.nodata + decoded.skipdata + decoded.bad_lines,
        decoded.lines
    );
    assert_eq!(decoded.samples.len() as u64, decoded.bad_lines.min(100));
    Some(decoded)
}

fuzz_target!(|input: Input<'_>| {
    let mut bytes = Vec::new();
    if input.with_header {
        bytes.extend_from_slice(
            b"version srcaddr dstport tcp-flags start instance-tag new-field log-status\n",
        );
    }
    bytes.extend_from_slice(input.bytes);
    if bytes.starts_with(b"PAR1") {
        return;
    }
    let log_format = input
        .with_log_format
        .then(|| Header::from_log_format("srcaddr bytes").expect("two known fields"));
    let options = ReadOptions {
        log_format,
        batch_rows: 3,
        ..ReadOptions::new("fuzz")
    };
    let whole = check(bytes.as_slice(), &options);
    let chunked = check(
        Chunked {
            bytes: &bytes,
            chunks: input.chunks.iter().cycle(),
        },
        &options,
    );
    let none = check(
        bytes.as_slice(),
        &ReadOptions {
            columns: Some(Vec::new()),
            ..options
        },
    );
    for other in [chunked, none] {
        match (&whole, other) {
            (Some(whole), Some(other)) => {
                assert_eq!(whole.samples, other.samples);
                assert_eq!(
                    (whole.rows, whole.nodata, whole.skipdata),
                    (other.rows, other.nodata, other.skipdata)
                );
                assert_eq!(whole.coverage, other.coverage);
            }
            (None, None) => {}
            (whole, other) => panic!("{whole:?} but {other:?}"),
        }
    }
});
