//! Who we are, in STS's words.

use std::time::Duration;

use aws_sdk_sts::Client;
use aws_sdk_sts::config::Builder;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::error::{DisplayErrorContext, ProvideErrorMetadata};

use super::Notes;
use crate::source::{S3Settings, load_aws_config};

const SUBJECT: &str = "AWS";

/// Anybody may ask this: it takes no permission, and no thinking.
const TIMEOUT: Duration = Duration::from_secs(15);

pub(super) async fn examine(settings: &S3Settings, notes: &mut Notes) {
    let config = load_aws_config(settings).await;
    let timeouts = TimeoutConfig::builder().operation_timeout(TIMEOUT).build();
    let client = Client::from_conf(Builder::from(&config).timeout_config(timeouts).build());
    let error = match client.get_caller_identity().send().await {
        Ok(identity) => {
            let (arn, account) = (identity.arn(), identity.account());
            let found = format!(
                "{} in account {}",
                arn.unwrap_or("somebody"),
                account.unwrap_or("-")
            );
            return notes.ok(SUBJECT, "identity", found);
        }
        Err(error) => error,
    };
    let advice = "sign in: `aws sts get-caller-identity` has to answer".to_owned();
    match (error.raw_response().is_some(), error.code()) {
        (true, Some(code)) => {
            let message = error.message().unwrap_or_default();
            notes.fail(
                SUBJECT,
                "identity",
                format!("{code}: {message}"),
                Some(advice),
            );
        }
        // Not every service that is like AWS has an STS, and a closed network may let through S3 alone. Credentials that are
        // missing fail the checks that need them.
        _ => {
            let found = format!(
                "STS does not tell who we are: {}",
                DisplayErrorContext(&error)
            );
            notes.warn(SUBJECT, "identity", one_line(&found), None);
        }
    }
}

/// The SDK's chains of causes are long: their beginning tells enough.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
