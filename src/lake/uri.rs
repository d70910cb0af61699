//! Where a lake lies, as a user writes it: a folder or `s3://bucket/prefix`.

use std::fmt;
use std::path::PathBuf;

use super::LakeError;

/// The place of a lake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeUri {
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Folder(PathBuf),
    S3 { bucket: String, prefix: String },
}

impl LakeUri {
    /// Reads a place.
    ///
    /// # Errors
    /// Empty text, a URL of another kind, and an S3 URL without a bucket.
    pub fn parse(text: &str) -> Result<Self, LakeError> {
        let refuse = |expected| {
            Err(LakeError::Uri {
                text: text.to_owned(),
                expected,
            })
        };
        if text.is_empty() || text == "-" {
            return refuse("a folder or `s3://bucket/prefix`");
        }
        let kind = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("s3") => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() || bucket.contains(char::is_whitespace) {
                    return refuse("a bucket's name behind `s3://`");
                }
                let prefix = prefix.trim_matches('/');
                if prefix.contains("//") {
                    return refuse("a prefix without empty parts");
                }
                Kind::S3 {
                    bucket: bucket.to_owned(),
                    prefix: prefix.to_owned(),
                }
            }
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => {
                if !rest.starts_with('/') {
                    return refuse("an absolute path behind `file://`");
                }
                Kind::Folder(rest.into())
            }
            Some((scheme, _))
                if !scheme.is_empty()
                    && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
            {
                return refuse("a folder or `s3://bucket/prefix`");
            }
            _ if text.starts_with("s3:/") => return refuse("two slashes: `s3://bucket/prefix`"),
            _ => Kind::Folder(text.into()),
        };
        Ok(Self { kind })
    }
}

impl fmt::Display for LakeUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Folder(path) => write!(formatter, "{}", path.display()),
            Kind::S3 { bucket, prefix } if prefix.is_empty() => write!(formatter, "s3://{bucket}"),
            Kind::S3 { bucket, prefix } => write!(formatter, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_folders_and_buckets() {
        let s3 = |bucket: &str, prefix: &str| Kind::S3 {
            bucket: bucket.into(),
            prefix: prefix.into(),
        };
        let cases = [
            (
                "./flowscout-lake",
                Kind::Folder("./flowscout-lake".into()),
                "./flowscout-lake",
            ),
            (
                "file:///var/lake",
                Kind::Folder("/var/lake".into()),
                "/var/lake",
            ),
            ("a:b", Kind::Folder("a:b".into()), "a:b"),
            ("s3://logs", s3("logs", ""), "s3://logs"),
            (
                "S3://logs/team/lake/",
                s3("logs", "team/lake"),
                "s3://logs/team/lake",
            ),
        ];
        for (text, kind, shown) in cases {
            let uri = LakeUri::parse(text).unwrap();
            assert_eq!(
                (&uri.kind, uri.to_string().as_str()),
                (&kind, shown),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_the_rest_with_what_was_expected() {
        let cases = [
            (
                "",
                "cannot keep a lake at ``: expected a folder or `s3://bucket/prefix`",
            ),
            (
                "-",
                "cannot keep a lake at `-`: expected a folder or `s3://bucket/prefix`",
            ),
            (
                "s3://",
                "cannot keep a lake at `s3://`: expected a bucket's name behind `s3://`",
            ),
            (
                "s3:/logs",
                "cannot keep a lake at `s3:/logs`: expected two slashes: `s3://bucket/prefix`",
            ),
            (
                "gs://logs",
                "cannot keep a lake at `gs://logs`: expected a folder or `s3://bucket/prefix`",
            ),
            (
                "file://x",
                "cannot keep a lake at `file://x`: expected an absolute path behind `file://`",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(LakeUri::parse(text).unwrap_err().to_string(), expected);
        }
    }
}
