//! What can go wrong: for good, and for one call of many.

use std::error::Error;
use std::fmt;

use aws_sdk_ec2::error::{ErrorMetadata, ProvideErrorMetadata, SdkError};

/// Codes that no other call of the same credentials in the same region would be spared.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>
const NOT_LET_IN: &[&str] = &[
    "AuthFailure",
    "Blocked",
    "ExpiredToken",
    "InvalidClientTokenId",
    "OptInRequired",
    "PendingVerification",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

/// What a gap is about where a role could not be assumed.
pub(super) const ASSUME_ROLE: &str = "AssumeRole";

/// What says that a caller lacks a permission, and not that something is wrong.
const REFUSED: &[&str] = &["AccessDenied", "UnauthorizedOperation"];

/// Why nothing at all could be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ec2Error {
    /// There are no credentials, or they could not be fetched.
    #[error("there are no AWS credentials{}: {message}", profile.as_ref().map(|name| format!(" in profile `{name}`")).unwrap_or_default())]
    NoCredentials {
        /// The profile that was asked for, if one was.
        profile: Option<String>,
        /// What the providers said.
        message: String,
    },
    /// No region is named or configured.
    #[error("no region is configured")]
    NoRegion,
    /// Not one call was answered.
    #[error("nothing could be read from EC2: {}{}", gaps.first().map(ToString::to_string).unwrap_or_default(), more(gaps))]
    NothingRead {
        /// Each account and region that could not be read, and why.
        gaps: Vec<Gap>,
    },
}

fn more(gaps: &[Gap]) -> String {
    match gaps.len().saturating_sub(1) {
        0 => String::new(),
        count => format!(" (and {count} more)"),
    }
}

impl Ec2Error {
    /// What to try.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoCredentials { .. } => {
                "set `AWS_PROFILE`, or run `aws sso login` or `aws configure`, or give this machine a role"
            }
            Self::NoRegion => "name one with `--region`, or set `AWS_REGION`",
            Self::NothingRead { gaps } if gaps.first()?.what == ASSUME_ROLE => {
                "check the role's name and `--external-id`: its trust policy must let the caller in"
            }
            Self::NothingRead { gaps } => match gaps.first()?.failure.code.as_deref() {
                None => {
                    "check the region's name, the network, the proxy, and `AWS_ENDPOINT_URL` if it is set"
                }
                Some("AuthFailure" | "OptInRequired") => {
                    "check that the account has the region enabled, and that the credentials are of this partition: `aws sts get-caller-identity` says who you are"
                }
                Some("UnauthorizedOperation") => {
                    "the caller needs the `ec2:Describe…` permissions that the README lists"
                }
                Some(code) if NOT_LET_IN.contains(&code) => {
                    "check the credentials: `aws sts get-caller-identity` says who you are"
                }
                Some(_) => return None,
            },
        };
        Some(hint.to_owned())
    }
}

/// What could not be read, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The account and region, or the role.
    pub whose: String,
    /// What it is about: a call, a role, or everything.
    pub what: String,
    /// Why.
    pub failure: Failure,
}

impl fmt::Display for Gap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            whose,
            what,
            failure,
        } = self;
        write!(formatter, "{whose}: {what}: {failure}")
    }
}

/// Why one call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// AWS's code, such as `UnauthorizedOperation`; `None` if there was no answer.
    pub code: Option<String>,
    /// What was said.
    pub message: String,
}

impl Failure {
    pub(super) fn of<E>(error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let code = error.code().map(str::to_owned);
        let message = error.message().filter(|text| !text.is_empty());
        Self {
            message: message.map_or_else(|| deepest_causes(error), one_line),
            // An answer without a code, such as a proxy's, is at least an answer.
            code: code.or_else(|| Some(format!("HTTP {}", error.raw_response()?.status()))),
        }
    }

    /// What AWS said, as deep as a provider of credentials has wrapped it.
    pub(super) fn within(error: &(dyn Error + 'static)) -> Self {
        let said = causes(error).find_map(|cause| cause.downcast_ref::<ErrorMetadata>());
        let code = said.and_then(|said| said.code().map(str::to_owned));
        let message = said.and_then(|said| said.message().map(one_line));
        Self {
            code,
            message: message.unwrap_or_else(|| deepest_causes(error)),
        }
    }

    /// What became of the call.
    pub(super) fn verb(&self) -> &'static str {
        match self.code.as_deref() {
            Some(code) if REFUSED.contains(&code) => "is refused",
            _ => "failed",
        }
    }

    /// True if no other call to the same place would fare better.
    pub(super) fn is_of_the_place(&self) -> bool {
        self.code
            .as_deref()
            .is_none_or(|code| NOT_LET_IN.contains(&code))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(formatter, "{} (`{code}`)", self.message),
            None => formatter.write_str(&self.message),
        }
    }
}

/// The deepest two causes of an error in one line: those above them only say that something failed.
pub(super) fn deepest_causes(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = causes(error)
        .map(|cause| one_line(&cause.to_string()))
        .collect();
    texts.dedup();
    texts[texts.len().saturating_sub(2)..].join(": ")
}

fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
