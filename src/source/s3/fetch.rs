//! Streams one object, and takes it up again where a broken connection left it.

use std::io::{self, Read};
use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use tokio::sync::mpsc;

use super::Bucket;
use super::explain::{Asked, Explain, chain};
use crate::source::body::{self, Part};
use crate::source::{Object, SourceError};

/// How often a body may break before the object is given up. Requests themselves are retried by the
/// SDK.
const MAX_RESUMES: u32 = 5;

/// The pause before the first resumption; it doubles each time.
const RESUME_PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn fetch(
    bucket: Bucket,
    object: &Object,
) -> Result<Box<dyn Read + Send>, SourceError> {
    let mut download = Download {
        bucket,
        url: object.key.clone(),
        etag: object.etag.clone(),
        received: 0,
        length: None,
    };
    let answer = Box::pin(download.request()).await?;
    download.length = answer
        .content_length()
        .and_then(|length| u64::try_from(length).ok());
    if download.etag.is_empty() {
        download.etag = answer
            .e_tag()
            .unwrap_or_default()
            .trim_matches('"')
            .to_owned();
    }
    let (sender, body) = body::channel(object.key.clone());
    tokio::spawn(Box::pin(download.run(answer, sender)));
    Ok(Box::new(body))
}

struct Download {
    bucket: Bucket,
    url: String,
    etag: String,
    received: u64,
    length: Option<u64>,
}

/// How one body ended.
enum Ending {
    Complete,
    Broken(String),
    /// The reader was dropped.
    Unwanted,
}

impl Download {
    /// Asks for what has not been received yet, of exactly the version that was listed.
    async fn request(&self) -> Result<GetObjectOutput, SourceError> {
        let key = self
            .url
            .strip_prefix(&self.bucket.url(""))
            .unwrap_or(&self.url);
        let if_match = Some(&self.etag)
            .filter(|etag| !etag.is_empty())
            .map(|etag| format!("\"{etag}\""));
        let range = (self.received > 0).then(|| format!("bytes={}-", self.received));
        self.bucket
            .client
            .get_object()
            .bucket(&self.bucket.name)
            .key(key)
            .set_if_match(if_match)
            .set_range(range)
            .set_request_payer(self.bucket.payer.clone())
            .send()
            .await
            .map_err(|error| self.bucket.explain(error, Asked::Object(&self.url)))
    }

    async fn run(mut self, mut answer: GetObjectOutput, sender: mpsc::Sender<Part>) {
        let mut resumes = 0;
        let last = loop {
            let cause = match self.receive(answer, &sender).await {
                Ending::Complete => break Part::End,
                Ending::Unwanted => return,
                Ending::Broken(cause) => cause,
            };
            // All bytes are here and the SDK still objects: a checksum does not match, and asking
            // again for nothing won't help.
            if resumes == MAX_RESUMES || self.length.is_some_and(|length| self.received >= length) {
                break Part::Failed(self.error(&cause));
            }
            tracing::debug!(object = %self.url, received = self.received, cause, "the connection broke, asking for the rest");
            tokio::time::sleep(RESUME_PAUSE * 2_u32.pow(resumes)).await;
            resumes += 1;
            answer = match self.request().await {
                Ok(answer) if self.continues(&answer) => answer,
                Ok(_) => {
                    break Part::Failed(
                        self.error("the store does not resume where the connection broke"),
                    );
                }
                Err(error) => break Part::Failed(self.error(&chain(&error))),
            };
        };
        // Nobody may be listening any more, and then nobody minds.
        let _ = sender.send(last).await;
    }

    async fn receive(
        &mut self,
        mut answer: GetObjectOutput,
        sender: &mpsc::Sender<Part>,
    ) -> Ending {
        loop {
            match answer.body.next().await {
                Some(Ok(chunk)) => {
                    self.received += chunk.len() as u64;
                    if sender.send(Part::Chunk(chunk)).await.is_err() {
                        return Ending::Unwanted;
                    }
                }
                Some(Err(error)) => return Ending::Broken(chain(&error)),
                None if self.length.is_none_or(|length| self.received == length) => {
                    return Ending::Complete;
                }
                None => return Ending::Broken("the connection was closed early".to_owned()),
            }
        }
    }

    /// A store that ignores ranges would hand out the beginning once more.
    fn continues(&self, answer: &GetObjectOutput) -> bool {
        self.received == 0
            || answer
                .content_range()
                .is_some_and(|range| range.starts_with(&format!("bytes {}-", self.received)))
    }

    fn error(&self, cause: &str) -> io::Error {
        let received = self.received;
        io::Error::other(format!(
            "cannot read `{}` beyond byte {received}: {cause}",
            self.url
        ))
    }
}
