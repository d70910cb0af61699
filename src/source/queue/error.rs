//! What can go wrong with a queue, in one line each, with what to try.

use crate::source::Outlook;
use crate::source::error::passes;

/// A queue could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// None of the places where the SDK looks for credentials has any.
    #[error("found no AWS credentials for the queue `{queue}`: {message}")]
    NoCredentials {
        /// Its URL.
        queue: String,
        /// In the SDK's words.
        message: String,
    },
    /// SQS does not accept the credentials.
    #[error("SQS does not accept the credentials for `{queue}`: {code}: {message}")]
    BadCredentials {
        /// The queue's URL.
        queue: String,
        /// SQS's error code.
        code: String,
        /// In SQS's words.
        message: String,
    },
    /// This machine's clock is off by more than SQS tolerates.
    #[error("SQS refuses the request for `{queue}` because of this machine's clock: {message}")]
    ClockSkew {
        /// The queue's URL.
        queue: String,
        /// In SQS's words.
        message: String,
    },
    /// There is no such queue.
    #[error("queue `{queue}` does not exist: {message}")]
    NoSuchQueue {
        /// Its URL.
        queue: String,
        /// In SQS's words.
        message: String,
    },
    /// The caller may not do this.
    #[error("`{action}` on the queue `{queue}` is denied: {message}")]
    Denied {
        /// As `sqs:ReceiveMessage`.
        action: String,
        /// The queue's URL.
        queue: String,
        /// In SQS's words.
        message: String,
    },
    /// Nobody answers, or not in time.
    #[error("cannot reach the queue `{queue}`: {message}")]
    Unreachable {
        /// Its URL.
        queue: String,
        /// What the connection said.
        message: String,
    },
    /// SQS answered with an error that has no case of its own here.
    #[error("SQS failed on `{queue}` with status {status}: {code}: {message}")]
    Service {
        /// The queue's URL.
        queue: String,
        /// HTTP status.
        status: u16,
        /// SQS's error code.
        code: String,
        /// In SQS's words.
        message: String,
    },
}

impl QueueError {
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
            Self::NoCredentials { .. } => {
                "set `AWS_PROFILE`, or run `aws sso login` or `aws configure`, or give this machine a role"
            }
            Self::BadCredentials { .. } => {
                "sign in again: `aws sts get-caller-identity` says who you are"
            }
            Self::ClockSkew { .. } => "set this machine's clock; AWS tolerates 15 minutes",
            Self::NoSuchQueue { .. } => "check the URL, its region and its account",
            Self::Denied { action, .. } => {
                return Some(format!(
                    "the role needs `{action}`: `flowscout doctor` prints the whole policy"
                ));
            }
            Self::Unreachable { .. } => "check the network, the proxy, and the URL's region",
            Self::Service { status, code, .. } if passes(*status, code) => {
                "SQS is busy or failing: run again later"
            }
            Self::Service { .. } => return None,
        };
        Some(hint.to_owned())
    }
}
