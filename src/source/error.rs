//! What can go wrong while listing and fetching, in one line each, with what to try.

use std::io;

/// Whether it is worth while to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// The network, or a service that is busy or failing: it passes by itself.
    Passes,
    /// Credentials or the clock: somebody, or a service of the machine, may be about to renew them.
    MayPass,
    /// It stays as it is until somebody does something about it.
    Stays,
}

/// A source, or one of its objects, could not be read.
///
/// [`is_object_only`](Self::is_object_only) tells whether the next object is worth trying,
/// [`hint`](Self::hint) what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Text that is no location.
    #[error("cannot read logs from `{text}`: expected {expected}")]
    Location {
        /// What was written.
        text: String,
        /// What could have been.
        expected: &'static str,
    },
    /// The path that was named cannot be looked at.
    #[error("cannot read `{path}`")]
    Path {
        /// As it was named.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// One file cannot be opened.
    #[error("cannot open `{key}`")]
    Open {
        /// The object's key.
        key: String,
        /// Why.
        source: io::Error,
    },
    /// The object is not what was listed any more.
    #[error("`{key}` has changed since it was listed")]
    Changed {
        /// The object's key.
        key: String,
    },
    /// The object was listed and is not there.
    #[error("`{key}` is gone since it was listed")]
    Gone {
        /// The object's key.
        key: String,
    },
    /// The object lies in an archive tier.
    #[error("`{key}` is archived and cannot be read until it is restored")]
    Archived {
        /// The object's key.
        key: String,
    },
    /// S3 allows listing this object, but not reading it.
    #[error("access to `{key}` is denied: {message}")]
    ReadDenied {
        /// The object's key.
        key: String,
        /// In S3's words.
        message: String,
    },
    /// S3 does not allow listing.
    #[error("listing `{location}` is denied: {message}")]
    ListDenied {
        /// What was to be listed.
        location: String,
        /// In S3's words.
        message: String,
    },
    /// None of the places where the SDK looks for credentials has any.
    #[error("found no AWS credentials{}: {message}", in_profile(profile.as_deref()))]
    NoCredentials {
        /// The profile that was asked for.
        profile: Option<String>,
        /// In the SDK's words.
        message: String,
    },
    /// S3 does not accept the credentials.
    #[error("S3 does not accept the credentials for `{location}`: {code}: {message}")]
    BadCredentials {
        /// What was to be read.
        location: String,
        /// S3's error code.
        code: String,
        /// In S3's words.
        message: String,
    },
    /// This machine's clock is off by more than S3 tolerates.
    #[error("S3 refuses the request for `{location}` because of this machine's clock: {message}")]
    ClockSkew {
        /// What was to be read.
        location: String,
        /// In S3's words.
        message: String,
    },
    /// There is no such bucket.
    #[error("bucket `{bucket}` does not exist at {endpoint}")]
    NoSuchBucket {
        /// Its name.
        bucket: String,
        /// Where it was looked for.
        endpoint: String,
    },
    /// The bucket lies in another region, and S3 did not say in which.
    #[error("bucket `{bucket}` is not in region `{region}`: {message}")]
    WrongRegion {
        /// Its name.
        bucket: String,
        /// The region that was asked.
        region: String,
        /// In S3's words.
        message: String,
    },
    /// Nobody answers, or not in time.
    #[error("cannot reach {endpoint}: {message}")]
    Unreachable {
        /// Who was asked.
        endpoint: String,
        /// What the connection said.
        message: String,
    },
    /// S3 answered with an error that has no case of its own here.
    #[error("S3 failed on `{what}` with status {status}: {code}: {message}")]
    Service {
        /// The object's key, or the location that was listed.
        what: String,
        /// Whether it was one object that was asked for.
        one_object: bool,
        /// HTTP status.
        status: u16,
        /// S3's error code.
        code: String,
        /// In S3's words.
        message: String,
    },
}

impl SourceError {
    /// Whether only one object is concerned: others may well be readable. Otherwise the whole
    /// source has to be given up.
    pub fn is_object_only(&self) -> bool {
        match self {
            Self::Open { .. }
            | Self::Changed { .. }
            | Self::Gone { .. }
            | Self::Archived { .. }
            | Self::ReadDenied { .. } => true,
            Self::Service { one_object, .. } => *one_object,
            Self::Location { .. }
            | Self::Path { .. }
            | Self::ListDenied { .. }
            | Self::NoCredentials { .. }
            | Self::BadCredentials { .. }
            | Self::ClockSkew { .. }
            | Self::NoSuchBucket { .. }
            | Self::WrongRegion { .. }
            | Self::Unreachable { .. } => false,
        }
    }

    /// Whether it is worth while to ask again.
    pub fn outlook(&self) -> Outlook {
        match self {
            Self::Unreachable { .. } => Outlook::Passes,
            Self::Service { status, code, .. } if passes(*status, code) => Outlook::Passes,
            Self::NoCredentials { .. } | Self::BadCredentials { .. } | Self::ClockSkew { .. } => {
                Outlook::MayPass
            }
            _ => Outlook::Stays,
        }
    }

    /// What to try, where there is something.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Location { .. } => return None,
            Self::Path { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "check the path; for a bucket write `s3://bucket/prefix`"
            }
            Self::Path { .. } | Self::Open { .. } => {
                "check the permissions of the file and of the folders above it"
            }
            Self::Changed { .. } => "somebody is still writing it: run again when it is complete",
            Self::Gone { .. } => {
                "a lifecycle rule or somebody has deleted it: run again to list anew"
            }
            Self::Archived { .. } => "restore it first: `aws s3api restore-object`",
            Self::ReadDenied { .. } => {
                "the role needs `s3:GetObject` on it, `kms:Decrypt` on its key where it is encrypted with KMS, and `--requester-pays` where the reader pays"
            }
            Self::ListDenied { .. } => {
                "the role needs `s3:ListBucket` for this prefix (a policy may allow it only below `AWSLogs/`: then name that), and `--requester-pays` where the reader pays"
            }
            Self::NoCredentials {
                profile: Some(_), ..
            } => {
                "check the profile's name with `aws configure list-profiles`, and sign in again if it uses single sign-on: `aws sso login`"
            }
            Self::NoCredentials { .. } => {
                "set `AWS_PROFILE`, or run `aws sso login` or `aws configure`, or give this machine a role"
            }
            Self::BadCredentials { code, .. } if code.starts_with("Expired") => {
                "the session has expired: sign in again, for example with `aws sso login`"
            }
            Self::BadCredentials { .. } => {
                "check `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` and `AWS_PROFILE`: `aws sts get-caller-identity` says who you are"
            }
            Self::ClockSkew { .. } => "set this machine's clock; S3 tolerates 15 minutes",
            Self::NoSuchBucket { .. } => {
                "check the bucket's name, and `AWS_ENDPOINT_URL` if it is not on AWS"
            }
            Self::WrongRegion { .. } => "set `AWS_REGION` to the bucket's region",
            Self::Unreachable { .. } => {
                "check the network, the proxy, and `AWS_ENDPOINT_URL` and `AWS_REGION` if they are set"
            }
            Self::Service { status, .. } if *status == 429 || *status >= 500 => {
                "S3 is busy or failing: run again later"
            }
            Self::Service { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

/// Whether a service that answers like this is only busy, or failing for the moment.
pub(super) fn passes(status: u16, code: &str) -> bool {
    let is_busy = matches!(
        code,
        "RequestTimeout" | "RequestThrottled" | "Throttling" | "ThrottlingException" | "SlowDown"
    );
    is_busy || status == 429 || status >= 500
}

/// Whether S3 says with this code that it does not accept the credentials: not what they allow, but themselves.
pub(crate) fn is_about_credentials(code: &str) -> bool {
    matches!(
        code,
        "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidToken"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "TokenRefreshRequired"
            | "InvalidSecurity"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
    )
}

/// Whether S3 says with this code that this machine's clock is wrong.
pub(crate) fn is_about_the_clock(code: &str) -> bool {
    matches!(code, "RequestTimeTooSkewed" | "RequestExpired")
}

pub(super) fn in_profile(profile: Option<&str>) -> String {
    profile
        .map(|profile| format!(" with profile `{profile}`"))
        .unwrap_or_default()
}
