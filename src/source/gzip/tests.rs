//! What is inflated, what is refused, and in which words.

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
    inflate(raw, 0)?.read_to_end(&mut text)?;
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
    let error = inflate_within(&member(LINES)[..], 0, limits)
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
