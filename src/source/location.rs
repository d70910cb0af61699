//! Where logs lie, as a user writes it: `s3://bucket/prefix`, a path, or `-`.

use std::fmt;
use std::path::PathBuf;

use super::SourceError;

/// A place to read logs from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A bucket, or what lies under a prefix of its keys.
    S3 {
        /// The bucket's name, or an access point's alias.
        bucket: String,
        /// The prefix or single key, without a `/` in front; may be empty.
        prefix: String,
    },
    /// A folder, which is read recursively, or one file.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

impl Location {
    /// Reads a location.
    ///
    /// # Errors
    /// Empty text, a URL of another kind, and an S3 URL without a bucket.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let refuse = |expected| {
            Err(SourceError::Location {
                text: text.to_owned(),
                expected,
            })
        };
        if text == "-" {
            return Ok(Self::Stdin);
        }
        if text.is_empty() {
            return refuse("`s3://bucket/prefix`, a path or `-`");
        }
        // The console shows a flow log's destination as an ARN.
        if let Some(rest) = strip_scheme(text, "s3://").or_else(|| bucket_arn(text)) {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() || bucket.contains(char::is_whitespace) {
                return refuse("a bucket's name behind `s3://`");
            }
            return Ok(Self::S3 {
                bucket: bucket.to_owned(),
                prefix: prefix.to_owned(),
            });
        }
        if let Some(path) = strip_scheme(text, "file://") {
            return if path.starts_with('/') {
                Ok(Self::Path(path.into()))
            } else {
                refuse("an absolute path behind `file://`")
            };
        }
        match text.split_once(":/") {
            Some(("s3" | "S3", _)) => refuse("two slashes: `s3://bucket/prefix`"),
            Some((scheme, rest))
                if rest.starts_with('/')
                    && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
            {
                refuse("`s3://bucket/prefix`, a path or `-`")
            }
            _ => Ok(Self::Path(text.into())),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, prefix } => write!(formatter, "s3://{bucket}/{prefix}"),
            Self::Path(path) => write!(formatter, "{}", path.display()),
            Self::Stdin => formatter.write_str("standard input"),
        }
    }
}

/// What follows `arn:{partition}:s3:::`.
fn bucket_arn(text: &str) -> Option<&str> {
    let (partition, rest) = text.strip_prefix("arn:")?.split_once(":s3:::")?;
    partition.starts_with("aws").then_some(rest)
}

fn strip_scheme<'t>(text: &'t str, scheme: &str) -> Option<&'t str> {
    let (head, rest) = text.split_at_checked(scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(bucket: &str, prefix: &str) -> Location {
        Location::S3 {
            bucket: bucket.into(),
            prefix: prefix.into(),
        }
    }

    #[test]
    fn reads_every_kind() {
        let cases = [
            ("s3://logs", s3("logs", "")),
            ("s3://logs/", s3("logs", "")),
            ("S3://logs/a/b c/", s3("logs", "a/b c/")),
            ("s3://logs/AWSLogs/x.log.gz", s3("logs", "AWSLogs/x.log.gz")),
            ("arn:aws:s3:::logs/team", s3("logs", "team")),
            ("arn:aws-cn:s3:::logs", s3("logs", "")),
            ("-", Location::Stdin),
            ("./-", Location::Path("./-".into())),
            ("logs/today", Location::Path("logs/today".into())),
            ("file:///var/log", Location::Path("/var/log".into())),
            ("größe.log", Location::Path("größe.log".into())),
            ("a:b", Location::Path("a:b".into())),
        ];
        for (text, expected) in cases {
            assert_eq!(Location::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_with_what_was_expected() {
        let cases = [
            (
                "",
                "cannot read logs from ``: expected `s3://bucket/prefix`, a path or `-`",
            ),
            (
                "s3://",
                "cannot read logs from `s3://`: expected a bucket's name behind `s3://`",
            ),
            (
                "s3:///x",
                "cannot read logs from `s3:///x`: expected a bucket's name behind `s3://`",
            ),
            (
                "s3:/logs",
                "cannot read logs from `s3:/logs`: expected two slashes: `s3://bucket/prefix`",
            ),
            (
                "https://x/y",
                "cannot read logs from `https://x/y`: expected `s3://bucket/prefix`, a path or `-`",
            ),
            (
                "file://x",
                "cannot read logs from `file://x`: expected an absolute path behind `file://`",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(Location::parse(text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn is_shown_as_it_is_written() {
        assert_eq!(s3("logs", "a/b").to_string(), "s3://logs/a/b");
        assert_eq!(Location::Stdin.to_string(), "standard input");
    }
}
