//! What can go wrong with a lake, in one line each, with what to try.

use std::error::Error;
use std::io;

use deltalake_core::DeltaTableError;
use parquet::errors::ParquetError;

use super::s3::UNRENEWED;
use crate::source::{Outlook, is_about_credentials, is_about_the_clock};

/// The lake could not be opened, read or written.
///
/// [`hint`](Self::hint) says what to do, where there is something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LakeError {
    /// Text that names no place for a lake.
    #[error("cannot keep a lake at `{text}`: expected {expected}")]
    Uri {
        /// What was written.
        text: String,
        /// What could have been.
        expected: &'static str,
    },
    /// Nothing is there.
    #[error("no lake at `{uri}`")]
    NoLake {
        /// Where it was looked for.
        uri: String,
    },
    /// Something else is there.
    #[error("cannot create a lake at `{uri}`: it holds `{entry}` and is no lake")]
    Occupied {
        /// Where the lake was to be.
        uri: String,
        /// One of the things that are there.
        entry: String,
    },
    /// The path leads to a file.
    #[error("cannot keep a lake at `{uri}`: it is not a folder")]
    NotAFolder {
        /// The path.
        uri: String,
    },
    /// The folder cannot be looked at or made.
    #[error("cannot {doing} `{path}`")]
    Folder {
        /// `open` or `create`.
        doing: &'static str,
        /// The path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A Delta table of somebody else.
    #[error("the Delta table at `{uri}` is not a lake of flowscout")]
    Foreign {
        /// Where it is.
        uri: String,
    },
    /// A lake of another version of flowscout.
    #[error("the lake at `{uri}` has format `{found}`: expected `{expected}`")]
    Format {
        /// Where it is.
        uri: String,
        /// What its table says.
        found: String,
        /// What this program reads and writes.
        expected: &'static str,
    },
    /// Nothing can be written there.
    #[error("cannot write to the lake at `{uri}`: {}", explain(error))]
    Unwritable {
        /// Where it is.
        uri: String,
        /// What the store said.
        error: object_store::Error,
    },
    /// The store gives no answer, or refuses to give one.
    #[error("cannot reach the lake at `{uri}`: {}", explain(error))]
    Unreachable {
        /// Where it is.
        uri: String,
        /// What the store said.
        error: object_store::Error,
    },
    /// None of the places where the SDK looks for credentials has any.
    #[error("found no AWS credentials for the lake at `{uri}`: {message}")]
    NoCredentials {
        /// Where it is.
        uri: String,
        /// In the SDK's words.
        message: String,
    },
    /// Two writers could both believe that they have committed.
    #[error(
        "the store of `{uri}` ignores `If-None-Match: *`: of {creators} who created one object, {winners} were told that it is theirs; \
         two writers could overwrite each other's commits"
    )]
    NoConditionalPut {
        /// Where it is.
        uri: String,
        /// How many tried to create one object.
        creators: usize,
        /// How many were told that they had.
        winners: usize,
    },
    /// One object of the lake could not be read or written.
    #[error("cannot {doing} `{path}`: {}", explain(error))]
    Store {
        /// `read`, `write`, `list` or `delete`.
        doing: &'static str,
        /// Where it is.
        path: String,
        /// What the store said.
        error: object_store::Error,
    },
    /// A Parquet file could not be encoded or decoded.
    #[error("cannot {doing} Parquet file `{path}`")]
    Parquet {
        /// `encode` or `decode`.
        doing: &'static str,
        /// Its path in the lake.
        path: String,
        /// What is wrong.
        source: ParquetError,
    },
    /// The table's log could not be read or written.
    #[error("cannot {doing} the table at `{uri}`: {}", explain_table(error))]
    Table {
        /// `open`, `create`, `read` or `commit to`.
        doing: &'static str,
        /// Where it is.
        uri: String,
        /// What went wrong.
        error: Box<DeltaTableError>,
    },
    /// Something that the log speaks of is not there.
    #[error("the lake at `{uri}` is damaged: {what}")]
    Damaged {
        /// Where it is.
        uri: String,
        /// What is missing.
        what: String,
    },
    /// Whoever cleans up may have taken its files for left behind.
    #[error(
        "a commit to the lake at `{uri}` comes too late: its first file was begun more than {hours} hours ago"
    )]
    TooLate {
        /// The lake.
        uri: String,
        /// How old a file may be when it is committed.
        hours: u64,
    },
    /// Files that somebody may still need would be deleted.
    #[error("cannot keep files that nobody needs in the lake at `{uri}` for {retain}: {why}")]
    Retention {
        /// The lake.
        uri: String,
        /// What was asked for.
        retain: String,
        /// What stands against it.
        why: String,
    },
    /// A newer flowscout has written to it.
    #[error("cannot {doing} the lake at `{uri}`: its column `{column}` {what}")]
    Column {
        /// `compact` or `write to`.
        doing: &'static str,
        /// The lake.
        uri: String,
        /// The column.
        column: String,
        /// What is the matter with it.
        what: String,
    },
    /// Others were faster each time.
    #[error("gave up on {what} of the lake at `{uri}`: others changed the same files each time")]
    Overtaken {
        /// `compaction` or `expiry`.
        what: &'static str,
        /// The lake.
        uri: String,
    },
    /// A background task panicked, or the program is being shut down.
    #[error("the work on `{uri}` was given up")]
    GivenUp {
        /// The lake.
        uri: String,
        /// Why.
        source: tokio::task::JoinError,
    },
}

impl LakeError {
    /// Whether it is worth while to try again.
    pub fn outlook(&self) -> Outlook {
        match self {
            Self::NoCredentials { .. } => Outlook::MayPass,
            _ => self.of_store().map_or(Outlook::Stays, outlook),
        }
    }

    /// What the store said, or what Delta made of it.
    fn of_store(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unwritable { error, .. }
            | Self::Unreachable { error, .. }
            | Self::Store { error, .. } => Some(error),
            Self::Table { error, .. } => Some(error.as_ref()),
            _ => None,
        }
    }

    /// What to try, where there is something.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoLake { uri } => {
                return Some(format!(
                    "run `flowscout ingest <SOURCE> --lake {uri}` to create it"
                ));
            }
            Self::Occupied { .. } | Self::NotAFolder { .. } => "name an empty or a new folder",
            Self::Folder { .. } => "check the path and the permissions of the folders above it",
            Self::Foreign { .. } => "name another place: a lake has its table for itself",
            Self::Format { .. } => {
                "use the version of flowscout that made it, or ingest into a new lake"
            }
            Self::NoCredentials { .. } => {
                "set `AWS_PROFILE`, or run `aws sso login` or `aws configure`, or give this machine a role"
            }
            Self::NoConditionalPut { .. } => {
                "use S3 itself, or a store that implements conditional writes"
            }
            Self::Damaged { .. } => {
                "was something deleted by hand? if it is lost, ingest into a new lake"
            }
            Self::TooLate { .. } => "run it again: nothing of it is in",
            Self::Column { .. } => "a newer flowscout has written to it: use that one",
            Self::Retention { .. } => {
                "`--force` does it all the same: be sure that nothing reads or writes the lake meanwhile"
            }
            Self::Overtaken { .. } => "run it again",
            Self::Unwritable { .. }
            | Self::Unreachable { .. }
            | Self::Store { .. }
            | Self::Table { .. } => return self.of_store().and_then(hint_of_store),
            Self::Uri { .. } | Self::Parquet { .. } | Self::GivenUp { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

/// A store that gives no answer, or one that it is busy, will answer; not one that refuses, nor a disk.
///
/// By what is said, not by its type: Delta keeps of most errors of the store no more than their text.
fn outlook(error: &(dyn Error + 'static)) -> Outlook {
    let said = causes(error);
    let says = |text: &str| said.iter().any(|line| line.contains(text));
    match s3_answer(error) {
        Some((code, _)) if is_about_credentials(&code) || is_about_the_clock(&code) => {
            Outlook::MayPass
        }
        Some((code, _)) if is_busy(&code) => Outlook::Passes,
        Some(_) => Outlook::Stays,
        None if says(UNRENEWED) => Outlook::MayPass,
        None if says("Generic S3 error") => Outlook::Passes,
        None => Outlook::Stays,
    }
}

fn is_busy(code: &str) -> bool {
    matches!(
        code,
        "InternalError" | "ServiceUnavailable" | "SlowDown" | "RequestTimeout" | "Throttling"
    )
}

/// The first among an error and its causes that is of this type.
fn causes_of_type<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn hint_of_store(error: &(dyn Error + 'static)) -> Option<String> {
    use object_store::Error as Store;
    let code = s3_answer(error).map(|(code, _)| code);
    let hint = match (causes_of_type::<Store>(error), code.as_deref()) {
        (_, Some("NoSuchBucket")) => {
            "check the bucket's name, and `AWS_ENDPOINT_URL` if it is not on AWS"
        }
        (_, Some("ExpiredToken" | "TokenRefreshRequired")) => {
            "the session has expired: sign in again, for example with `aws sso login`"
        }
        (_, Some("RequestTimeTooSkewed")) => "set this machine's clock; S3 tolerates 15 minutes",
        (_, Some(code)) if is_about_credentials(code) => {
            "check `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_PROFILE`"
        }
        (
            _,
            Some(
                "PermanentRedirect"
                | "AuthorizationHeaderMalformed"
                | "IllegalLocationConstraintException",
            ),
        ) => "set `AWS_REGION` to the bucket's region",
        (Some(Store::PermissionDenied { .. } | Store::Unauthenticated { .. }), _)
        | (_, Some("AccessDenied")) => {
            "the role needs `s3:ListBucket`, and `s3:GetObject`, `s3:PutObject` and `s3:DeleteObject` below the lake's prefix"
        }
        (Some(Store::Generic { store: "S3", .. }), _) => {
            "check the network, and `AWS_REGION` and `AWS_ENDPOINT_URL` if they are set"
        }
        (Some(Store::Generic { .. }), _) => {
            "check the folder's permissions, and that its disk is not full"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// What a store's error says, without the layers of the client around it.
fn explain(error: &object_store::Error) -> String {
    if let Some((code, message)) = s3_answer(error) {
        return format!("{code}: {message}");
    }
    causes(error).pop().unwrap_or_default()
}

/// What the store said, if it was S3; else all that Delta says.
fn explain_table(error: &DeltaTableError) -> String {
    if let Some((code, message)) = s3_answer(error) {
        return format!("{code}: {message}");
    }
    let mut texts: Vec<String> = Vec::new();
    for text in causes(error) {
        // A wrapper that only repeats its cause says nothing new.
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
    }
    texts.join(": ")
}

/// What an error says, its cause, the cause of that.
fn causes(error: &dyn Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts
}

/// Code and message of S3's answer, which the client keeps as text.
fn s3_answer(error: &dyn Error) -> Option<(String, String)> {
    let text = causes(error)
        .into_iter()
        .find(|text| text.contains("<Code>"))?;
    let of = |tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        Some(rest.split_once('<')?.0.to_owned())
    };
    Some((of("Code")?, of("Message").unwrap_or_default()))
}
