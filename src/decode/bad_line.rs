//! A line that is not a record, and why.

use std::fmt;

/// How many characters of a bad line are kept.
const SAMPLE_CHARS: usize = 200;

/// One line that could not be read, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// The physical line, from 1; for JSON envelopes and Parquet the ordinal of the record.
    pub line: u64,
    /// The field at fault, as the header writes it; none when the line as a whole is.
    pub field: Option<String>,
    /// What stood there.
    pub value: Option<String>,
    /// What should have stood there.
    pub expected: String,
    /// The beginning of the line.
    pub text: String,
}

impl BadLine {
    /// The first characters of some bytes, whatever they are.
    pub(crate) fn sample(bytes: &[u8]) -> String {
        // Four bytes are the most that a character takes, and no character becomes more than one.
        let head = &bytes[..bytes.len().min(4 * SAMPLE_CHARS)];
        String::from_utf8_lossy(head)
            .chars()
            .take(SAMPLE_CHARS)
            .collect()
    }
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if let Some(field) = &self.field {
            write!(f, "field `{field}`: ")?;
        }
        write!(f, "expected {}", self.expected)?;
        match &self.value {
            Some(value) => write!(f, ", got `{value}`"),
            None => write!(f, ", got `{}`", self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_a_sentence() {
        let mut bad = BadLine {
            line: 41,
            field: Some("srcport".to_owned()),
            value: Some("70000".to_owned()),
            expected: "0-65535 or `-`".to_owned(),
            text: "2 70000".to_owned(),
        };
        insta::assert_snapshot!(bad, @"line 41: field `srcport`: expected 0-65535 or `-`, got `70000`");
        (bad.field, bad.value) = (None, None);
        insta::assert_snapshot!(bad, @"line 41: expected 0-65535 or `-`, got `2 70000`");
    }

    #[test]
    fn samples_are_short_whatever_the_bytes() {
        assert_eq!(BadLine::sample("é".repeat(300).as_bytes()), "é".repeat(200));
        assert_eq!(BadLine::sample(&[0xff; 2000]).chars().count(), 200);
        assert_eq!(
            BadLine::sample("😀".repeat(300).as_bytes()),
            "😀".repeat(200)
        );
    }
}
