//! What kind of content an object has, by its first bytes: names lie, and delivery options change.

use crate::decode::decoder::{Decoder, Verdict};
use crate::decode::header::Header;

/// How many bytes the decision is made on.
pub(crate) const PEEK: usize = 64 * 1024;

/// A kind of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Lines, until the opposite is shown.
    Text,
    /// Objects that may be envelopes.
    Json,
    /// AWS's Parquet delivery, or somebody's conversion.
    Parquet,
    /// Something else for certain, and what.
    Other(String),
}

/// First bytes that no flow log has, and what they are.
const MAGIC: [(&[u8], &str); 9] = [
    (b"\x1f\x8b", "gzip inside gzip"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"Obj\x01", "Avro"),
    (b"ORC", "ORC"),
    (b"ARROW1", "Arrow IPC"),
    (b"\x7fELF", "a program"),
];

/// How a first line begins in documents and in source code. In such a file single lines may be records (a README shows some).
const DOCUMENT_STARTS: [&str; 15] = [
    "# ", "## ", "#!", "```", "//", "/*", "<", "[", "{", "---", "use ", "import ", "from ",
    "\"\"\"", "--",
];

/// Decides on the first [`PEEK`] bytes, or on all when there are fewer.
pub(crate) fn sniff(peek: &[u8], log_format: Option<&Header>) -> Content {
    if peek.starts_with(b"PAR1") {
        return Content::Parquet;
    }
    if peek.starts_with(b"\xff\xfe") || peek.starts_with(b"\xfe\xff") {
        return Content::Other("UTF-16 text, where flow logs are UTF-8".to_owned());
    }
    if let Some((_, what)) = MAGIC.iter().find(|(magic, _)| peek.starts_with(magic)) {
        return Content::Other(format!("a binary file ({what})"));
    }
    if begins_like_json(peek) {
        return Content::Json;
    }
    let first = first_line(peek);
    let mut decoder = Decoder::new(log_format);
    if matches!(decoder.line(first), Verdict::Header | Verdict::Record(_)) {
        return Content::Text;
    }
    if is_binary(peek) {
        return Content::Other("a binary file".to_owned());
    }
    let text = String::from_utf8_lossy(first);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if DOCUMENT_STARTS.iter().any(|start| text.starts_with(start)) {
        return document(peek, log_format);
    }
    Content::Text
}

/// A file that begins like a document is a log only if most of its lines are.
fn document(peek: &[u8], log_format: Option<&Header>) -> Content {
    let mut decoder = Decoder::new(log_format);
    let (mut good, mut bad) = (0_u64, 0_u64);
    for line in peek.split(|byte| *byte == b'\n') {
        match decoder.line(line) {
            Verdict::Nothing => {}
            Verdict::Header | Verdict::Record(_) => good += 1,
            Verdict::Bad(_) => bad += 1,
        }
    }
    if good == 0 || good >= bad {
        // Without any good line the reader says the same in its own words, at the end.
        return Content::Text;
    }
    let first = crate::decode::BadLine::sample(first_line(peek));
    Content::Other(format!(
        "a document: its first line is `{}`, and most lines are not flow log records",
        first.trim()
    ))
}

/// Whether the text begins as an object, or as an array of objects or values. A TOML table (`[package]`) does not.
fn begins_like_json(peek: &[u8]) -> bool {
    let peek = peek.strip_prefix(b"\xef\xbb\xbf").unwrap_or(peek);
    let mut bytes = peek
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace());
    match bytes.next() {
        Some(b'{') => matches!(bytes.next(), Some(b'"' | b'}')),
        Some(b'[') => {
            let next = bytes.find(|byte| *byte != b'[');
            matches!(next, Some(b'{' | b'"' | b']' | b'-' | b'0'..=b'9'))
        }
        _ => false,
    }
}

/// The first line that is not blank.
pub(crate) fn first_line(peek: &[u8]) -> &[u8] {
    let peek = peek.strip_prefix(b"\xef\xbb\xbf").unwrap_or(peek);
    peek.split(|byte| *byte == b'\n')
        .find(|line| !line.trim_ascii().is_empty())
        .unwrap_or_default()
}

/// More than a tenth of the bytes are none that a text has.
pub(crate) fn is_binary(peek: &[u8]) -> bool {
    let control = |byte: &u8| {
        *byte == 0x7f || (*byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b))
    };
    let mut odd = peek.iter().filter(|byte| control(byte)).count();
    // The last character may be cut at the end of the peek; that adds one.
    odd += peek
        .utf8_chunks()
        .map(|chunk| chunk.invalid().len())
        .sum::<usize>();
    odd * 10 > peek.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(peek: &str) -> Content {
        sniff(peek.as_bytes(), None)
    }

    #[test]
    fn json_begins_with_an_object_and_toml_does_not() {
        for json in [
            "{\"message\":1}",
            " [ {\"a\":1}]",
            "[]",
            "{}",
            "\u{feff}{\"a\"",
            "[1]",
        ] {
            assert_eq!(content(json), Content::Json, "{json}");
        }
        for text in ["[package]\nname = 1", "[[bin]]", "{a}", "2 1 eni", ""] {
            assert_eq!(content(text), Content::Text, "{text}");
        }
    }

    #[test]
    fn archives_and_random_bytes_are_binary() {
        assert_eq!(
            sniff(b"PK\x03\x04zip", None),
            Content::Other("a binary file (a zip archive)".to_owned())
        );
        assert_eq!(
            sniff(&[0xff, 0xd8, 0xff, 0, 0, 1], None),
            Content::Other("a binary file".to_owned())
        );
        assert_eq!(
            sniff(b"\xff\xfev\0e\0", None),
            Content::Other("UTF-16 text, where flow logs are UTF-8".to_owned())
        );
    }

    #[test]
    fn a_bad_byte_does_not_make_a_log_binary() {
        assert_eq!(
            sniff(
                b"version srcaddr\n2 \xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\n",
                None
            ),
            Content::Text
        );
    }

    #[test]
    fn a_readme_that_shows_a_record_is_not_a_log() {
        let record =
            "2 123456789010 eni-1 10.0.0.1 10.0.0.2 1 2 6 1 40 1418530010 1418530070 ACCEPT OK\n";
        assert!(matches!(
            content(&format!(
                "# Title\n\nSome words.\n```\n{record}```\nMore words.\n"
            )),
            Content::Other(_)
        ));
        assert_eq!(
            content(&format!("# exported today\n{record}{record}oops\n")),
            Content::Text
        );
        assert_eq!(
            content(&format!("oops\noops\noops\n{record}")),
            Content::Text
        );
    }
}
