//! What a run would need, tried one by one: credentials, buckets, queues, the lake; what is missing, and what to do about it.
//!
//! Nothing is changed but a probe in the lake, which is deleted at once; a message that is looked at stays in its queue.

mod bucket;
mod identity;
mod lake;
mod policy;
mod queue;

use serde::Serialize;
use serde_json::Value;

use crate::lake::LakeUri;
use crate::source::queue::QueueUrl;
use crate::source::{Location, S3Settings};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is as it should be.
    Ok,
    /// It works, and somebody should look at it.
    Warning,
    /// It does not work.
    Failed,
    /// It was not tried, since something before it failed or there is nothing to try.
    Skipped,
}

impl Verdict {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at: a place, or `AWS`.
    pub subject: String,
    /// What was tried.
    pub check: &'static str,
    /// How it ended.
    pub result: Verdict,
    /// What was found.
    pub found: String,
    /// What to do, where there is something.
    pub advice: Option<String>,
}

/// What to look at.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Places that logs are read from.
    pub places: Vec<Location>,
    /// Queues that tell of them.
    pub queues: Vec<QueueUrl>,
    /// The lake.
    pub lake: LakeUri,
    /// Settings for AWS.
    pub settings: S3Settings,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Diagnosis {
    /// In the order in which they were tried.
    pub checks: Vec<Check>,
    /// The IAM policy that suffices for the plan, and no more; nothing where nothing of it is on AWS.
    pub policy: Option<Value>,
}

impl Diagnosis {
    /// How many checks ended like this.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.checks
            .iter()
            .filter(|check| check.result == verdict)
            .count()
    }
}

/// Tries everything that the plan needs. Never fails: what fails is a check.
pub async fn examine(plan: &Plan) -> Diagnosis {
    let mut notes = Notes::default();
    let policy = policy::least(plan);
    if policy.is_some() {
        Box::pin(identity::examine(&plan.settings, &mut notes)).await;
    }
    for place in &plan.places {
        Box::pin(bucket::examine(place, &plan.settings, &mut notes)).await;
    }
    for queue in &plan.queues {
        Box::pin(queue::examine(queue, &plan.settings, &mut notes)).await;
    }
    Box::pin(lake::examine(&plan.lake, &plan.settings, &mut notes)).await;
    Diagnosis {
        checks: notes.checks,
        policy,
    }
}

/// Checks as they are made.
#[derive(Debug, Default)]
struct Notes {
    checks: Vec<Check>,
}

impl Notes {
    fn ok(&mut self, subject: &str, check: &'static str, found: impl Into<String>) {
        self.add(subject, check, Verdict::Ok, found.into(), None);
    }

    fn warn(
        &mut self,
        subject: &str,
        check: &'static str,
        found: impl Into<String>,
        advice: Option<String>,
    ) {
        self.add(subject, check, Verdict::Warning, found.into(), advice);
    }

    fn fail(
        &mut self,
        subject: &str,
        check: &'static str,
        found: impl Into<String>,
        advice: Option<String>,
    ) {
        self.add(subject, check, Verdict::Failed, found.into(), advice);
    }

    fn skip(&mut self, subject: &str, checks: &[&'static str], why: &str) {
        for check in checks {
            self.add(subject, check, Verdict::Skipped, why.to_owned(), None);
        }
    }

    fn add(
        &mut self,
        subject: &str,
        check: &'static str,
        result: Verdict,
        found: String,
        advice: Option<String>,
    ) {
        self.checks.push(Check {
            subject: subject.to_owned(),
            check,
            result,
            found,
            advice,
        });
    }
}
