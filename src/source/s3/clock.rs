//! How far this machine's clock is off, by the date that S3 puts into every answer.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use chrono::{DateTime, TimeDelta, Utc};

use super::Bucket;

/// By how much S3's clock is ahead of ours, to the second; nothing if it does not answer.
pub(super) async fn offset(bucket: &Bucket) -> Option<TimeDelta> {
    let heard = Heard::default();
    let request = bucket.client.head_bucket().bucket(&bucket.name);
    // An error has a date too.
    let _ = request.customize().interceptor(heard.clone()).send().await;
    heard
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
}

/// The offset as the last answer told it.
#[derive(Debug, Clone, Default)]
struct Heard(Arc<Mutex<Option<TimeDelta>>>);

impl Intercept for Heard {
    fn name(&self) -> &'static str {
        "the clock of the service"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _runtime_components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        if let Some(theirs) = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(theirs.to_utc() - Utc::now());
        }
        Ok(())
    }
}
