//! What a message says: S3's event notifications, straight from the bucket, through SNS, or from EventBridge.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// A message in SNS's envelope in SNS's envelope is nobody's.
const MAX_ENVELOPES: usize = 3;

/// An object that a notification tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its bucket.
    pub bucket: String,
    /// Its key, decoded.
    pub key: String,
    /// Its ETag without quotes; empty where the notification has none.
    pub etag: String,
    /// Its length in bytes, or 0 where it is not told.
    pub size: u64,
    /// When it was created.
    pub at: DateTime<Utc>,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Objects were created; none where it only tells of objects that were removed or changed in other ways.
    Created(Vec<Told>),
    /// S3 tried whether it may send.
    Test,
    /// It cannot be understood.
    Unclear {
        /// Why.
        reason: String,
    },
}

impl Notice {
    /// Reads a message's body. `now` stands for times that are not told.
    pub fn read(body: &str, now: DateTime<Utc>) -> Self {
        let read = serde_json::from_str(body)
            .map_err(|error| format!("it is not JSON: {error}"))
            .and_then(|message| notice(message, now, MAX_ENVELOPES));
        read.unwrap_or_else(|reason| Self::Unclear { reason })
    }
}

fn notice(message: Value, now: DateTime<Utc>, envelopes: usize) -> Result<Notice, String> {
    if message["Event"] == "s3:TestEvent" {
        return Ok(Notice::Test);
    }
    if let Some(records) = message["Records"].as_array() {
        let told: Result<Vec<_>, _> = records
            .iter()
            .enumerate()
            .map(|(index, record)| of_record(record, now).map_err(|why| (index, why)))
            .collect();
        return told
            .map(|told| Notice::Created(told.into_iter().flatten().collect()))
            .map_err(|(index, why)| format!("`Records[{index}]`: {why}"));
    }
    if message["detail"].is_object() {
        return of_event(&message, now).map(|told| Notice::Created(told.into_iter().collect()));
    }
    if let Some(inner) = message["Message"].as_str().filter(|_| envelopes > 0) {
        let inner = serde_json::from_str(inner)
            .map_err(|error| format!("`Message` is not JSON: {error}"))?;
        return notice(inner, now, envelopes - 1);
    }
    Err("it has neither `Records` (S3), nor `Message` (SNS), nor `detail` (EventBridge)".to_owned())
}

/// One of S3's own records: its keys are encoded as in a form.
fn of_record(record: &Value, now: DateTime<Utc>) -> Result<Option<Told>, String> {
    let event = text(record, "/eventName")?;
    // The prefix is there where an older sender wrote it.
    let event = event.strip_prefix("s3:").unwrap_or(event);
    if !event.starts_with("ObjectCreated:") {
        return Ok(None);
    }
    let object = &record["s3"]["object"];
    let key = text(record, "/s3/object/key")?.replace('+', " ");
    let key = percent_decode_str(&key)
        .decode_utf8()
        .map_err(|_| format!("`s3.object.key`: expected UTF-8 behind the `%`, got `{key}`"))?;
    told(
        text(record, "/s3/bucket/name")?,
        key,
        object["eTag"].as_str(),
        &object["size"],
        record["eventTime"].as_str(),
        now,
    )
    .map(Some)
}

/// An event of EventBridge: its keys are as they are.
fn of_event(event: &Value, now: DateTime<Utc>) -> Result<Option<Told>, String> {
    if event["source"] != "aws.s3" {
        return Err(format!(
            "`source`: expected `aws.s3`, got `{}`",
            event["source"].as_str().unwrap_or("-")
        ));
    }
    if event["detail-type"] != "Object Created" {
        return Ok(None);
    }
    let object = &event["detail"]["object"];
    told(
        text(event, "/detail/bucket/name")?,
        text(event, "/detail/object/key")?.into(),
        object["etag"].as_str(),
        &object["size"],
        event["time"].as_str(),
        now,
    )
    .map(Some)
}

fn told(
    bucket: &str,
    key: Cow<'_, str>,
    etag: Option<&str>,
    size: &Value,
    at: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Told, String> {
    if bucket.is_empty() || key.is_empty() {
        return Err("its bucket or key is empty".to_owned());
    }
    Ok(Told {
        bucket: bucket.to_owned(),
        key: key.into_owned(),
        etag: etag.unwrap_or_default().trim_matches('"').to_owned(),
        size: size.as_u64().unwrap_or_default(),
        at: at.and_then(|at| at.parse().ok()).unwrap_or(now),
    })
}

fn text<'v>(value: &'v Value, pointer: &str) -> Result<&'v str, String> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .ok_or_else(|| {
            format!(
                "`{}`: expected a text",
                pointer[1..].replace('/', ".").trim_matches('.')
            )
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-10T08:00:00Z".parse().unwrap()
    }

    fn record(event: &str, key: &str) -> Value {
        json!({"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-west-1", "eventTime": "2026-03-09T23:58:00.123Z",
            "eventName": event, "s3": {"bucket": {"name": "logs", "arn": "arn:aws:s3:::logs"},
            "object": {"key": key, "size": 17, "eTag": "0a1b", "sequencer": "0055AED6DCD90281E5"}}})
    }

    fn keys(message: &Value) -> Vec<String> {
        match Notice::read(&message.to_string(), now()) {
            Notice::Created(told) => told.into_iter().map(|told| told.key).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_what_the_bucket_sends() {
        let message = json!({"Records": [record("ObjectCreated:Put", "a/b.gz"), record("ObjectCreated:CompleteMultipartUpload", "c")]});
        assert_eq!(keys(&message), ["a/b.gz", "c"]);
        let Notice::Created(told) = Notice::read(&message.to_string(), now()) else {
            panic!()
        };
        assert_eq!(
            told[0],
            Told {
                bucket: "logs".to_owned(),
                key: "a/b.gz".to_owned(),
                etag: "0a1b".to_owned(),
                size: 17,
                at: "2026-03-09T23:58:00.123Z".parse().unwrap()
            }
        );
    }

    #[test]
    fn decodes_keys_where_they_are_encoded_and_only_there() {
        let key = "a+b/gr%C3%B6%C3%9Fe%2B1%3D+.log.gz";
        let raw = json!({"Records": [record("ObjectCreated:Put", key)]});
        assert_eq!(keys(&raw), ["a b/größe+1= .log.gz"]);
        let event = json!({"source": "aws.s3", "detail-type": "Object Created", "time": "2026-03-10T07:00:00Z",
            "detail": {"bucket": {"name": "logs"}, "object": {"key": key, "size": 17, "etag": "0a1b"}}});
        assert_eq!(keys(&event), [key]);
    }

    #[test]
    fn looks_into_the_envelope_of_sns() {
        let inner = json!({"Records": [record("ObjectCreated:Put", "a")]}).to_string();
        let message = json!({"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": inner});
        assert_eq!(keys(&message), ["a"]);
        let endless = (0..9).fold(inner, |inner, _| json!({"Message": inner}).to_string());
        assert!(matches!(
            Notice::read(&endless, now()),
            Notice::Unclear { .. }
        ));
    }

    #[test]
    fn a_test_is_one_and_removals_are_nothing_to_do() {
        let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "logs"});
        assert_eq!(Notice::read(&test.to_string(), now()), Notice::Test);
        let wrapped = json!({"Message": test.to_string()});
        assert_eq!(Notice::read(&wrapped.to_string(), now()), Notice::Test);
        let removed = json!({"Records": [record("ObjectRemoved:Delete", "a"), record("ObjectTagging:Put", "b")]});
        assert_eq!(keys(&removed), [""; 0]);
        let removed = json!({"source": "aws.s3", "detail-type": "Object Deleted", "detail": {"object": {"key": "a"}}});
        assert_eq!(keys(&removed), [""; 0]);
    }

    #[test]
    fn says_what_it_cannot_understand() {
        let reason = |body: &str| match Notice::read(body, now()) {
            Notice::Unclear { reason } => reason,
            other => panic!("{body}: {other:?}"),
        };
        assert_eq!(
            reason("hello"),
            "it is not JSON: expected value at line 1 column 1"
        );
        assert_eq!(
            reason("{}"),
            "it has neither `Records` (S3), nor `Message` (SNS), nor `detail` (EventBridge)"
        );
        assert_eq!(
            reason(r#"{"Records": [{"eventName": "ObjectCreated:Put"}]}"#),
            "`Records[0]`: `s3.object.key`: expected a text"
        );
        assert_eq!(
            reason(r#"{"source": "aws.ec2", "detail": {}}"#),
            "`source`: expected `aws.s3`, got `aws.ec2`"
        );
        let bad = json!({"Records": [record("ObjectCreated:Put", "%ff%fe")]});
        assert!(
            reason(&bad.to_string()).contains("expected UTF-8"),
            "{}",
            reason(&bad.to_string())
        );
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_never_loses_a_key(key in "\\PC{1,40}", noise in "\\PC{0,60}") {
            Notice::read(&noise, now());
            let encoded: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
            proptest::prop_assert_eq!(keys(&json!({"Records": [record("ObjectCreated:Put", &encoded)]})), [key]);
        }
    }
}
