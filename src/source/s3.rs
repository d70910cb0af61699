//! Objects of an S3 bucket, through the AWS SDK.
//!
//! One ordered listing serves every layout: where a key's folders rule it out (another account, a
//! day outside the window, another service), the listing is taken up again behind those folders
//! (`start-after`), so that years of logs are not listed for one day, however deep the prefix and
//! whatever lies next to it. Compared with walking folders by delimiter this needs no rule for
//! where the folders begin, and no permission beyond the prefix that was named.

mod clock;
mod connect;
mod explain;
mod fetch;
mod list;

pub use connect::S3Settings;
pub(super) use connect::expect_credentials;
pub(crate) use connect::load;
pub(super) use explain::{chain, one_line};

use std::io::Read;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::RequestPayer;
use chrono::TimeDelta;
use futures::stream::BoxStream;

use super::queue::Told;
use super::selection::Selection;
use super::{Listed, Object, SourceError};

/// A bucket with what is needed to read it.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    client: Client,
    name: String,
    prefix: String,
    payer: Option<RequestPayer>,
    region: String,
    endpoint: String,
}

impl Bucket {
    pub(super) async fn open(
        name: &str,
        prefix: &str,
        settings: &S3Settings,
    ) -> Result<Self, SourceError> {
        connect::connect(name, prefix, settings).await
    }

    pub(super) fn list(
        &self,
        selection: Selection,
    ) -> BoxStream<'static, Result<Listed, SourceError>> {
        list::list(self.clone(), selection)
    }

    pub(super) fn offered(&self, told: &Told, selection: &Selection) -> Option<Listed> {
        list::offered(self, told, selection)
    }

    pub(super) async fn clock_offset(&self) -> Option<TimeDelta> {
        clock::offset(self).await
    }

    /// The region that it lies in, and the endpoint that answers for it.
    pub(super) fn whereabouts(&self) -> (&str, &str) {
        (&self.region, &self.endpoint)
    }

    pub(super) async fn look(&self, key: &str) -> Result<Option<Object>, SourceError> {
        list::look(self, key).await
    }

    pub(super) async fn fetch(&self, object: &Object) -> Result<Box<dyn Read + Send>, SourceError> {
        fetch::fetch(self.clone(), object).await
    }

    /// `s3://bucket/key`
    fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }
}
