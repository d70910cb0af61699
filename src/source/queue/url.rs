//! The URL of a queue: who is to be asked, in which region.

use std::fmt;

use url::Url;

use crate::source::SourceError;

/// Asked for where neither the URL nor the environment says more.
pub(super) const ANY_REGION: &str = "us-east-1";

/// The URL of an SQS queue, as AWS shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueUrl(Url);

impl QueueUrl {
    /// Reads text that is the URL of a queue; nothing if it is no URL of the web.
    ///
    /// # Errors
    /// The URL is not one of a queue: `https://sqs.{region}.amazonaws.com/{account}/{name}`, or the same path elsewhere.
    pub fn parse(text: &str) -> Option<Result<Self, SourceError>> {
        let scheme = text.split_once("://")?.0.to_ascii_lowercase();
        if scheme != "https" && scheme != "http" {
            return None;
        }
        let queue = Url::parse(text).ok().filter(|url| {
            let names: Vec<&str> = url.path().split('/').skip(1).collect();
            url.host_str().is_some()
                && url.query().is_none()
                && url.username().is_empty()
                && matches!(names[..], [account, name] if !account.is_empty() && !name.is_empty())
        });
        Some(queue.map(Self).ok_or_else(|| SourceError::Location {
            text: text.to_owned(),
            expected: "`https://sqs.<region>.amazonaws.com/<account>/<queue>`, as the URL of an SQS queue",
        }))
    }

    /// The queue's name.
    pub fn name(&self) -> &str {
        self.0.path().rsplit('/').next().unwrap_or_default()
    }

    /// The account that owns it.
    pub fn account(&self) -> &str {
        self.0.path().split('/').nth(1).unwrap_or_default()
    }

    /// The region that the host's name tells.
    pub fn region(&self) -> Option<&str> {
        let labels: Vec<&str> = self.0.host_str()?.split('.').collect();
        if !self.is_amazon() {
            return None;
        }
        let at = labels
            .iter()
            .position(|label| matches!(*label, "sqs" | "sqs-fips" | "queue"))?;
        match labels[at] {
            // The first names that the service had: `eu-west-1.queue.amazonaws.com`, and `queue.amazonaws.com`.
            "queue" => Some(
                at.checked_sub(1)
                    .map_or(ANY_REGION, |before| labels[before]),
            ),
            _ => labels.get(at + 1).copied(),
        }
    }

    /// The endpoint to ask, where it is not the region's usual one.
    pub(super) fn endpoint(&self) -> Option<String> {
        let is_usual = self.is_amazon() && !self.0.host_str()?.contains(".vpce.");
        (!is_usual).then(|| self.0.origin().ascii_serialization())
    }

    fn is_amazon(&self) -> bool {
        self.0.host_str().is_some_and(|host| {
            [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"]
                .iter()
                .any(|domain| host.ends_with(domain))
        })
    }
}

impl fmt::Display for QueueUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_region_and_endpoint() {
        let cases = [
            (
                "https://sqs.eu-west-1.amazonaws.com/111122223333/logs",
                Some("eu-west-1"),
                None,
            ),
            (
                "https://sqs-fips.us-gov-west-1.amazonaws.com/1/q",
                Some("us-gov-west-1"),
                None,
            ),
            (
                "https://sqs.cn-north-1.amazonaws.com.cn/1/q.fifo",
                Some("cn-north-1"),
                None,
            ),
            (
                "https://eu-west-1.queue.amazonaws.com/1/q",
                Some("eu-west-1"),
                None,
            ),
            ("https://queue.amazonaws.com/1/q", Some("us-east-1"), None),
            (
                "https://vpce-0a-1b.sqs.us-east-1.vpce.amazonaws.com/1/q",
                Some("us-east-1"),
                Some("https://vpce-0a-1b.sqs.us-east-1.vpce.amazonaws.com"),
            ),
            (
                "http://127.0.0.1:5000/123456789012/q",
                None,
                Some("http://127.0.0.1:5000"),
            ),
        ];
        for (text, region, endpoint) in cases {
            let url = QueueUrl::parse(text).unwrap().unwrap();
            assert_eq!(
                (url.region(), url.endpoint().as_deref()),
                (region, endpoint),
                "{text}"
            );
            assert_eq!(url.to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_no_queues() {
        assert!(QueueUrl::parse("s3://logs/x").is_none());
        assert!(QueueUrl::parse("logs").is_none());
        for text in [
            "https://x/y",
            "https://x/1/q?Action=Purge",
            "https://sqs.eu-west-1.amazonaws.com/",
            "https://me:secret@x/1/q",
        ] {
            let error = QueueUrl::parse(text).unwrap().unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains("expected `https://sqs.<region>.amazonaws.com"),
                "{error}"
            );
        }
    }
}
