//! The IAM policy that suffices for a plan, and no more.

use serde_json::{Value, json};

use super::Plan;
use crate::source::Location;
use crate::source::queue::QueueUrl;

/// The policy, as IAM takes it; nothing if nothing of the plan is on AWS.
pub(super) fn least(plan: &Plan) -> Option<Value> {
    let mut statements = Vec::new();
    for place in &plan.places {
        if let Location::S3 { bucket, prefix } = place {
            statements.push(list(bucket, prefix));
            statements.push(json!({
                "Sid": "ReadLogs", "Effect": "Allow", "Action": ["s3:GetObject"],
                "Resource": [format!("arn:aws:s3:::{bucket}/{prefix}*")],
            }));
        }
    }
    for queue in &plan.queues {
        statements.push(json!({
            "Sid": "TakeMessages", "Effect": "Allow",
            "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"],
            "Resource": [arn(queue)],
        }));
    }
    let lake = plan.lake.to_string();
    if let Some(lake) = lake.strip_prefix("s3://") {
        let (bucket, prefix) = lake.split_once('/').unwrap_or((lake, ""));
        let below = if prefix.is_empty() {
            String::new()
        } else {
            format!("{prefix}/")
        };
        statements.push(list(bucket, &below));
        statements.push(json!({
            "Sid": "WriteLake", "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
            "Resource": [format!("arn:aws:s3:::{bucket}/{below}*")],
        }));
    }
    if statements.is_empty() {
        return None;
    }
    // The ids of a policy's statements differ.
    for (index, statement) in statements.iter_mut().enumerate() {
        let sid = statement["Sid"].as_str().unwrap_or_default();
        statement["Sid"] = format!("{sid}{}", index + 1).into();
    }
    Some(json!({"Version": "2012-10-17", "Statement": statements}))
}

fn list(bucket: &str, prefix: &str) -> Value {
    let mut statement = json!({
        "Sid": "List", "Effect": "Allow", "Action": ["s3:ListBucket"],
        "Resource": [format!("arn:aws:s3:::{bucket}")],
    });
    if !prefix.is_empty() {
        statement["Condition"] = json!({"StringLike": {"s3:prefix": [format!("{prefix}*")]}});
    }
    statement
}

fn arn(queue: &QueueUrl) -> String {
    let region = queue.region().unwrap_or("*");
    let partition = match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    };
    format!(
        "arn:{partition}:sqs:{region}:{}:{}",
        queue.account(),
        queue.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::LakeUri;
    use crate::source::S3Settings;

    #[test]
    fn allows_what_the_plan_needs_and_no_more() {
        let plan = Plan {
            places: vec![
                Location::parse("s3://logs/AWSLogs/").unwrap(),
                Location::parse("folder").unwrap(),
            ],
            queues: vec![
                QueueUrl::parse("https://sqs.us-gov-west-1.amazonaws.com/111122223333/q")
                    .unwrap()
                    .unwrap(),
            ],
            lake: LakeUri::parse("s3://lakes/team").unwrap(),
            settings: S3Settings::default(),
        };
        let list = |sid: &str, bucket: &str, prefix: &str| {
            json!({"Sid": sid, "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [format!("arn:aws:s3:::{bucket}")],
                "Condition": {"StringLike": {"s3:prefix": [prefix]}}})
        };
        let expected = json!({"Version": "2012-10-17", "Statement": [
            list("List1", "logs", "AWSLogs/*"),
            {"Sid": "ReadLogs2", "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::logs/AWSLogs/*"]},
            {"Sid": "TakeMessages3", "Effect": "Allow",
                "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"],
                "Resource": ["arn:aws-us-gov:sqs:us-gov-west-1:111122223333:q"]},
            list("List4", "lakes", "team/*"),
            {"Sid": "WriteLake5", "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
                "Resource": ["arn:aws:s3:::lakes/team/*"]},
        ]});
        assert_eq!(least(&plan), Some(expected));
        let local = Plan {
            places: Vec::new(),
            queues: Vec::new(),
            lake: LakeUri::parse("lake").unwrap(),
            settings: S3Settings::default(),
        };
        assert_eq!(least(&local), None);
    }
}
