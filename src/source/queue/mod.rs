//! An SQS queue that tells of new objects. It gives hints; what is in a bucket, its listing says.
//!
//! A message is handed out for a while, in which nobody else gets it: [`Queue::keep`] prolongs that, [`Queue::delete`] ends it
//! for good, [`Queue::give_back`] at once, and whoever does nothing gives it back in time.

mod error;
mod notice;
mod url;

use std::error::Error;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{Builder, Region, timeout::TimeoutConfig};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequestEntry, QueueAttributeName,
};

use super::S3Settings;
use super::s3::{chain, expect_credentials, load, one_line};

pub use error::QueueError;
pub use notice::{Notice, Told};
pub use url::QueueUrl;

/// SQS hands out so many messages in one answer, and takes so many in one request.
pub const MAX_BATCH: usize = 10;

/// The longest wait for a message that SQS allows.
pub const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// An answer may take the longest wait, and then some.
const READ_TIMEOUT: Duration = Duration::from_secs(LONGEST_WAIT.as_secs() + 15);

/// To connect: across the world with a lost packet or two.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A message as it was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The same whenever it is handed out.
    pub id: String,
    /// Stands for this handing out.
    pub handle: String,
    /// What it says.
    pub body: String,
}

/// What is known of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueFacts {
    /// Its ARN.
    pub arn: Option<String>,
    /// Messages that wait, about.
    pub waiting: Option<u64>,
    /// Messages that are handed out, about.
    pub handed_out: Option<u64>,
    /// Where messages go that are handed out too often (JSON).
    pub redrive_policy: Option<String>,
}

/// A queue; cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    url: QueueUrl,
}

impl Queue {
    /// Finds credentials, and the endpoint and region that the URL tells. Asks nothing.
    ///
    /// # Errors
    /// There are no credentials.
    pub async fn open(url: QueueUrl, settings: &S3Settings) -> Result<Self, QueueError> {
        let config = load(settings).await;
        if let Err(error) = expect_credentials(&config, settings).await {
            return Err(QueueError::NoCredentials {
                queue: url.to_string(),
                message: error.to_string(),
            });
        }
        let region = url
            .region()
            .map(str::to_owned)
            .or_else(|| config.region().map(ToString::to_string))
            .unwrap_or_else(|| url::ANY_REGION.to_owned());
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build();
        let mut builder = Builder::from(&config)
            .region(Region::new(region))
            .timeout_config(timeouts);
        if let Some(endpoint) = url.endpoint() {
            builder = builder.endpoint_url(endpoint);
        }
        Ok(Self {
            client: Client::from_conf(builder.build()),
            url,
        })
    }

    /// Its URL.
    pub fn url(&self) -> &QueueUrl {
        &self.url
    }

    /// Waits for messages, at most `count` of them, which nobody else gets for as long as `visibility`.
    ///
    /// # Errors
    /// SQS refuses, or does not answer.
    pub async fn receive(
        &self,
        count: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Message>, QueueError> {
        let request = self
            .client
            .receive_message()
            .queue_url(self.url.to_string())
            .max_number_of_messages(seconds_or_count(count.clamp(1, MAX_BATCH) as u64))
            .wait_time_seconds(seconds_or_count(wait.min(LONGEST_WAIT).as_secs()))
            .visibility_timeout(seconds_or_count(visibility.as_secs()));
        let answer = request
            .send()
            .await
            .map_err(|error| self.explain("sqs:ReceiveMessage", error))?;
        let message = |message: aws_sdk_sqs::types::Message| {
            Some(Message {
                id: message.message_id?,
                handle: message.receipt_handle?,
                body: message.body.unwrap_or_default(),
            })
        };
        let messages = answer.messages.unwrap_or_default();
        Ok(messages.into_iter().filter_map(message).collect())
    }

    /// Deletes messages, at most [`MAX_BATCH`]; those that could not be deleted are returned by their place, with the reason.
    ///
    /// # Errors
    /// SQS refuses, or does not answer: nothing is known.
    pub async fn delete(&self, handles: &[String]) -> Result<Vec<(usize, String)>, QueueError> {
        let entries = handles.iter().enumerate().map(|(index, handle)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(handle)
                .build()
                .expect("id and handle are set")
        });
        let answer = self
            .client
            .delete_message_batch()
            .queue_url(self.url.to_string())
            .set_entries(Some(entries.collect()))
            .send()
            .await
            .map_err(|error| self.explain("sqs:DeleteMessage", error))?;
        Ok(failures(answer.failed()))
    }

    /// Keeps messages, at most [`MAX_BATCH`], from others for as long as this from now on.
    ///
    /// # Errors
    /// SQS refuses, or does not answer: nothing is known.
    pub async fn keep(
        &self,
        handles: &[String],
        visibility: Duration,
    ) -> Result<Vec<(usize, String)>, QueueError> {
        let entries = handles.iter().enumerate().map(|(index, handle)| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(handle)
                .visibility_timeout(seconds_or_count(visibility.as_secs()))
                .build()
                .expect("id and handle are set")
        });
        let answer = self
            .client
            .change_message_visibility_batch()
            .queue_url(self.url.to_string())
            .set_entries(Some(entries.collect()))
            .send()
            .await
            .map_err(|error| self.explain("sqs:ChangeMessageVisibility", error))?;
        Ok(failures(answer.failed()))
    }

    /// Lets others have messages, at most [`MAX_BATCH`], at once.
    ///
    /// # Errors
    /// SQS refuses, or does not answer: they have them in time.
    pub async fn give_back(&self, handles: &[String]) -> Result<Vec<(usize, String)>, QueueError> {
        self.keep(handles, Duration::ZERO).await
    }

    /// What the queue says of itself.
    ///
    /// # Errors
    /// SQS refuses, or does not answer.
    pub async fn facts(&self) -> Result<QueueFacts, QueueError> {
        let answer = self
            .client
            .get_queue_attributes()
            .queue_url(self.url.to_string())
            .attribute_names(QueueAttributeName::All)
            .send()
            .await
            .map_err(|error| self.explain("sqs:GetQueueAttributes", error))?;
        let text = |name: &QueueAttributeName| {
            answer
                .attributes()
                .and_then(|attributes| attributes.get(name))
                .cloned()
        };
        let count = |name| text(&name).and_then(|text| text.parse().ok());
        Ok(QueueFacts {
            arn: text(&QueueAttributeName::QueueArn),
            waiting: count(QueueAttributeName::ApproximateNumberOfMessages),
            handed_out: count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
            redrive_policy: text(&QueueAttributeName::RedrivePolicy),
        })
    }

    fn explain<E>(&self, action: &str, error: SdkError<E>) -> QueueError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let queue = self.url.to_string();
        let Some(answer) = error.raw_response() else {
            let message = chain(&error);
            return if message.contains("credentials") {
                QueueError::NoCredentials { queue, message }
            } else {
                QueueError::Unreachable { queue, message }
            };
        };
        let status = answer.status().as_u16();
        let code = error.code().unwrap_or_default().to_owned();
        let message = error
            .message()
            .filter(|text| !text.is_empty())
            .map_or_else(|| chain(&error), one_line);
        match code.as_str() {
            "AWS.SimpleQueueService.NonExistentQueue" | "QueueDoesNotExist" => {
                QueueError::NoSuchQueue { queue, message }
            }
            "RequestTimeTooSkewed" | "RequestExpired" => QueueError::ClockSkew { queue, message },
            // SQS says only in words that it is the time that it does not like about a signature.
            _ if message.contains("Signature expired") || message.contains("not yet current") => {
                QueueError::ClockSkew { queue, message }
            }
            "InvalidClientTokenId"
            | "SignatureDoesNotMatch"
            | "InvalidSignatureException"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "UnrecognizedClientException"
            | "InvalidSecurity" => QueueError::BadCredentials {
                queue,
                code,
                message,
            },
            "AccessDenied" | "AccessDeniedException" => QueueError::Denied {
                action: action.to_owned(),
                queue,
                message,
            },
            _ => QueueError::Service {
                queue,
                status,
                code,
                message,
            },
        }
    }
}

/// SQS's numbers are small.
fn seconds_or_count(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn failures(failed: &[BatchResultErrorEntry]) -> Vec<(usize, String)> {
    let failure = |entry: &BatchResultErrorEntry| {
        let reason = entry.message().unwrap_or_else(|| entry.code());
        Some((entry.id().parse().ok()?, one_line(reason)))
    };
    failed.iter().filter_map(failure).collect()
}
