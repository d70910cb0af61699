//! Turns the SDK's errors into ours.

use std::error::Error;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::Bucket;
use crate::source::{SourceError, is_about_credentials, is_about_the_clock};

/// What was asked for when it failed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked<'a> {
    /// Whether the bucket is there.
    Bucket,
    /// A listing.
    Listing,
    /// This object.
    Object(&'a str),
}

/// Explains errors in the terms of the bucket they came from.
pub(super) trait Explain {
    fn explain<E>(&self, error: SdkError<E>, asked: Asked<'_>) -> SourceError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static;
}

impl Explain for Bucket {
    fn explain<E>(&self, error: SdkError<E>, asked: Asked<'_>) -> SourceError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let Some(answer) = error.raw_response() else {
            return self.no_answer(error);
        };
        let status = answer.status().as_u16();
        let code = error.code().unwrap_or_default().to_owned();
        let message = error
            .message()
            .filter(|text| !text.is_empty())
            .map_or_else(|| chain(&error), one_line);
        let (bucket, location) = (self.name.clone(), self.url(&self.prefix));
        let key = match asked {
            Asked::Object(key) => Some(key.to_owned()),
            Asked::Bucket | Asked::Listing => None,
        };
        match (code.as_str(), status, key) {
            ("NoSuchBucket", ..) => SourceError::NoSuchBucket {
                bucket,
                endpoint: self.endpoint.clone(),
            },
            (code, ..) if is_about_the_clock(code) => SourceError::ClockSkew { location, message },
            (known, ..) if is_about_credentials(known) => SourceError::BadCredentials {
                location,
                code,
                message,
            },
            (
                "PermanentRedirect"
                | "TemporaryRedirect"
                | "AuthorizationHeaderMalformed"
                | "IllegalLocationConstraintException",
                ..,
            )
            | (_, 301 | 307, _) => SourceError::WrongRegion {
                bucket,
                region: self.region.clone(),
                message,
            },
            ("InvalidObjectState", _, Some(key)) => SourceError::Archived { key },
            ("PreconditionFailed", _, Some(key)) | (_, 412, Some(key)) => {
                SourceError::Changed { key }
            }
            (_, 404, Some(key)) => SourceError::Gone { key },
            (_, 404, None) => SourceError::NoSuchBucket {
                bucket,
                endpoint: self.endpoint.clone(),
            },
            (_, 403, Some(key)) => SourceError::ReadDenied { key, message },
            (_, 403, None) => SourceError::ListDenied { location, message },
            (_, _, key) => SourceError::Service {
                one_object: key.is_some(),
                what: key.unwrap_or(location),
                status,
                code,
                message,
            },
        }
    }
}

impl Bucket {
    fn no_answer<E>(&self, error: SdkError<E>) -> SourceError
    where
        E: Error + Send + Sync + 'static,
    {
        let message = chain(&error);
        // Credentials that have run out while we were reading and could not be renewed.
        if message.contains("credentials") {
            return SourceError::NoCredentials {
                profile: None,
                message,
            };
        }
        SourceError::Unreachable {
            endpoint: self.endpoint.clone(),
            message,
        }
    }
}

/// The deepest two causes of an error in one line: those above them only say that something failed.
pub(in crate::source) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = one_line(&error.to_string());
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        next = error.source();
    }
    let from = texts.len().saturating_sub(2);
    texts[from..].join(": ")
}

pub(in crate::source) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    #[test]
    fn a_chain_is_one_line_of_its_deepest_causes() {
        let deepest = Layer {
            text: "connection\n  refused",
            source: None,
        };
        let middle = Layer {
            text: "tcp connect error",
            source: Some(Box::new(deepest)),
        };
        let same = Layer {
            text: "tcp connect error",
            source: Some(Box::new(middle)),
        };
        let top = Layer {
            text: "dispatch failure",
            source: Some(Box::new(same)),
        };
        assert_eq!(chain(&top), "tcp connect error: connection refused");
    }
}
