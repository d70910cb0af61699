//! Lists a bucket in order, page by page, and jumps over folders that hold nothing that is wanted.

use std::collections::VecDeque;

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::Object as S3Object;
use chrono::{DateTime, Utc};
use futures::stream::{BoxStream, StreamExt, TryStreamExt, try_unfold};

use super::Bucket;
use super::explain::{Asked, Explain};
use crate::source::key::FlowLogKey;
use crate::source::queue::Told;
use crate::source::selection::{Selection, Verdict};
use crate::source::{Listed, Object, SourceError};

pub(super) fn list(
    bucket: Bucket,
    selection: Selection,
) -> BoxStream<'static, Result<Listed, SourceError>> {
    let listing = Listing {
        bucket,
        selection,
        place: Place::Start,
        last_skipped: None,
        page: VecDeque::new(),
    };
    try_unfold(listing, |mut listing| async move {
        let next = Box::pin(listing.next()).await?;
        Ok(next.map(|listed| (listed, listing)))
    })
    .into_stream()
    .boxed()
}

/// What a listing would say of an object that a notification tells of.
pub(super) fn offered(bucket: &Bucket, told: &Told, selection: &Selection) -> Option<Listed> {
    if told.bucket != bucket.name || !told.key.starts_with(&bucket.prefix) {
        return None;
    }
    match selection.judge(&told.key) {
        Verdict::Read(name) => Some(Listed::Object(Object {
            key: bucket.url(&told.key),
            etag: told.etag.clone(),
            size: told.size,
            modified: Some(told.at),
            name,
        })),
        Verdict::Unwanted { .. } => None,
        Verdict::Skip { what, reason, .. } => Some(Listed::Skipped {
            key: bucket.url(&what),
            reason,
        }),
    }
}

/// Looks at an object, by its URL, as it is now.
pub(super) async fn look(bucket: &Bucket, url: &str) -> Result<Option<Object>, SourceError> {
    let key = url.strip_prefix(&bucket.url("")).unwrap_or(url);
    match bucket.ask_for(key).await {
        Ok(object) => Ok(Some(object)),
        Err(error)
            if error
                .raw_response()
                .is_some_and(|answer| answer.status().as_u16() == 404) =>
        {
            Ok(None)
        }
        Err(error) => Err(bucket.explain(error, Asked::Object(url))),
    }
}

struct Listing {
    bucket: Bucket,
    selection: Selection,
    place: Place,
    last_skipped: Option<String>,
    page: VecDeque<Listed>,
}

/// Where the next page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Nothing was listed yet: the prefix may also be a single object's key.
    Start,
    Prefix(String),
    Continued {
        prefix: String,
        token: String,
    },
    Behind {
        prefix: String,
        key: String,
    },
    End,
}

impl Listing {
    async fn next(&mut self) -> Result<Option<Listed>, SourceError> {
        loop {
            if let Some(listed) = self.page.pop_front() {
                return Ok(Some(listed));
            }
            self.place = match std::mem::replace(&mut self.place, Place::End) {
                Place::End => return Ok(None),
                Place::Start => self.start().await?,
                Place::Prefix(prefix) => self.turn(prefix, None, None).await?,
                Place::Continued { prefix, token } => self.turn(prefix, Some(token), None).await?,
                Place::Behind { prefix, key } => self.turn(prefix, None, Some(key)).await?,
            };
        }
    }

    /// Finds out what the prefix stands for: one object, a folder (with the `/` left out), or the
    /// beginning of names.
    async fn start(&mut self) -> Result<Place, SourceError> {
        let prefix = self.bucket.prefix.clone();
        if prefix.is_empty() || prefix.ends_with('/') {
            return Ok(Place::Prefix(prefix));
        }
        if let Some(object) = self.bucket.head(&prefix).await? {
            self.page.push_back(Listed::Object(object));
            return Ok(Place::End);
        }
        let folder = format!("{prefix}/");
        let probe = self.bucket.page(&folder, None, None, Some(1)).await?;
        Ok(Place::Prefix(if probe.contents().is_empty() {
            prefix
        } else {
            folder
        }))
    }

    /// Fetches a page, keeps what is wanted, and says where the next one begins.
    async fn turn(
        &mut self,
        prefix: String,
        token: Option<String>,
        behind: Option<String>,
    ) -> Result<Place, SourceError> {
        let mut answer = self.bucket.page(&prefix, token, behind, None).await?;
        let objects = answer.contents.take().unwrap_or_default();
        let in_order = objects.is_sorted_by(|left, right| left.key() < right.key());
        let mut jump = None;
        for object in &objects {
            let Some(key) = object.key() else { continue };
            let verdict = self.selection.judge(key);
            jump = verdict
                .resume_after()
                .filter(|target| *target > key)
                .map(str::to_owned);
            match verdict {
                Verdict::Read(name) => self
                    .page
                    .push_back(Listed::Object(self.bucket.object(object, key, name))),
                Verdict::Unwanted { .. } => {}
                Verdict::Skip { what, reason, .. } => {
                    if self.last_skipped.as_ref() != Some(&what) {
                        self.page.push_back(Listed::Skipped {
                            key: self.bucket.url(&what),
                            reason,
                        });
                        self.last_skipped = Some(what);
                    }
                }
            }
        }
        Ok(match answer.next_continuation_token.take() {
            Some(token) if answer.is_truncated == Some(true) => match jump {
                // A store that does not sort its listings has to be listed whole.
                Some(key) if in_order => Place::Behind { prefix, key },
                _ => Place::Continued { prefix, token },
            },
            _ => Place::End,
        })
    }
}

impl Bucket {
    async fn page(
        &self,
        prefix: &str,
        token: Option<String>,
        behind: Option<String>,
        max_keys: Option<i32>,
    ) -> Result<ListObjectsV2Output, SourceError> {
        self.client
            .list_objects_v2()
            .bucket(&self.name)
            .prefix(prefix)
            .set_continuation_token(token)
            .set_start_after(behind)
            .set_max_keys(max_keys)
            .set_request_payer(self.payer.clone())
            .send()
            .await
            .map_err(|error| self.explain(error, Asked::Listing))
    }

    /// Looks at a single object. `None` where there is none, or where S3 does not say: who may not
    /// list gets 403 for both.
    async fn head(&self, key: &str) -> Result<Option<Object>, SourceError> {
        match self.ask_for(key).await {
            Ok(object) => Ok(Some(object)),
            Err(error)
                if error
                    .raw_response()
                    .is_some_and(|answer| answer.status().as_u16() < 500) =>
            {
                Ok(None)
            }
            Err(error) => Err(self.explain(error, Asked::Object(&self.url(key)))),
        }
    }

    async fn ask_for(&self, key: &str) -> Result<Object, SdkError<HeadObjectError>> {
        let request = self
            .client
            .head_object()
            .bucket(&self.name)
            .key(key)
            .set_request_payer(self.payer.clone());
        let found = request.send().await?;
        Ok(Object {
            key: self.url(key),
            etag: bare_etag(found.e_tag()),
            size: length(found.content_length()),
            modified: found.last_modified().and_then(chrono_time),
            name: FlowLogKey::parse(key),
        })
    }

    fn object(&self, object: &S3Object, key: &str, name: Option<FlowLogKey>) -> Object {
        Object {
            key: self.url(key),
            etag: bare_etag(object.e_tag()),
            size: length(object.size()),
            modified: object.last_modified().and_then(chrono_time),
            name,
        }
    }
}

fn bare_etag(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}

fn length(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok())
        .unwrap_or_default()
}

fn chrono_time(time: &aws_sdk_s3::primitives::DateTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs(), time.subsec_nanos())
}
