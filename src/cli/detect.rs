//! `detect`: detections over a lake; and the part that `analyze` shares.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use chrono::{TimeDelta, Utc};
use clap::Args;

use super::Outcome;
use super::args::{AddressArgs, DetectionArgs, GlobalArgs, LakeArgs};
use super::knowledge;
use super::notes;
use super::printer::Printer;
use super::time::TimeArg;
use crate::audit;
use crate::detect::{self, Catalog, DetectError, Detection, Finding, Window};
use crate::lake::{Lake, LakeUri};
use crate::policy::Policy;
use crate::report;
use crate::session::Session;

/// Run detections over a lake.
#[derive(Debug, Args)]
pub(super) struct DetectArgs {
    /// Detections to run, by id or group; `all` is every one [default: the group `core`, and your own without a group]
    #[arg(value_name = "ID|GROUP")]
    ids: Vec<String>,
    #[command(flatten)]
    lake: LakeArgs,
    /// The window's start: RFC 3339, a date, or a duration back from now [default: the first flow]
    #[arg(long, value_name = "T", value_parser = TimeArg::parse)]
    from: Option<TimeArg>,
    /// The window's end, exclusive [default: the last flow]
    #[arg(long, value_name = "T", value_parser = TimeArg::parse)]
    to: Option<TimeArg>,
    /// The window is this long and ends now
    #[arg(long, value_name = "DURATION", value_parser = TimeArg::parse, conflicts_with_all = ["from", "to"])]
    since: Option<TimeArg>,
    #[command(flatten)]
    detection: DetectionArgs,
    #[command(flatten)]
    addresses: AddressArgs,
}

pub(super) async fn run(
    args: DetectArgs,
    _global: &GlobalArgs,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let now = Utc::now();
    let chosen = Chosen::new(&args.ids, &args.detection)?;
    let settings = knowledge::settings(&args.addresses)?;
    let policy = knowledge::policy(args.detection.policy.as_deref())?;
    chosen.check_policy(&policy, printer);
    let lake = Lake::open(&LakeUri::parse(&args.lake.lake)?).await?;
    let knowledge = knowledge::knowledge(knowledge::snapshots(&lake).await?, settings, policy);
    let session = Session::over_lake(&lake, &knowledge).await?;
    let from = args.since.or(args.from).map(|time| time.at(now));
    let to = args
        .to
        .map(|time| time.at(now))
        .or_else(|| args.since.map(|_| now));
    let Some((first, last)) = session.span().await? else {
        bail!("the lake `{}` has no flows", args.lake.lake)
    };
    let window = Window {
        from: from.unwrap_or(first),
        to: to.unwrap_or(last + TimeDelta::seconds(1)),
    };
    if window.from >= window.to {
        bail!(
            "the window is empty: it would run from {} to {}",
            window.from.to_rfc3339(),
            window.to.to_rfc3339()
        );
    }
    chosen.run(&session, window, printer).await
}

/// What is to be run, checked before anything is read.
pub(super) struct Chosen {
    /// The ids of all detections there are, and of the checks of `topology audit`: one policy serves both.
    known: Vec<String>,
    detections: Vec<Detection>,
    parameters: BTreeMap<String, String>,
    all: bool,
    fail_on: Option<detect::Severity>,
}

impl Chosen {
    pub(super) fn new(ids: &[String], args: &DetectionArgs) -> anyhow::Result<Self> {
        let catalog = Catalog::load(args.queries.as_deref())?;
        let detections: Vec<Detection> = catalog.select(ids)?.into_iter().cloned().collect();
        for (name, value) in &args.param {
            let known: Vec<_> = detections
                .iter()
                .flat_map(|detection| &detection.parameters)
                .collect();
            let Some(parameter) = known.iter().find(|parameter| parameter.name == *name) else {
                let mut known: Vec<String> = known
                    .iter()
                    .map(|parameter| parameter.name.clone())
                    .collect();
                known.sort();
                known.dedup();
                return Err(DetectError::UnknownParameter {
                    name: name.clone(),
                    known,
                }
                .into());
            };
            parameter.default.parse_like(name, value)?;
        }
        Ok(Self {
            known: catalog
                .all()
                .iter()
                .map(|detection| detection.id.clone())
                .chain(audit::checks().map(|check| check.id.to_owned()))
                .collect(),
            detections,
            parameters: args.param.iter().cloned().collect(),
            all: args.all,
            fail_on: args.fail_on,
        })
    }

    /// Says which detections a policy names that do not exist: such an entry never applies.
    pub(super) fn check_policy(&self, policy: &Policy, printer: &Printer) {
        let unknown = policy
            .detections()
            .filter(|id| !self.known.iter().any(|known| known == id));
        for id in unknown.collect::<BTreeSet<_>>() {
            printer.warn(&format!(
                "the policy expects findings of `{id}`, and there is no such detection"
            ));
        }
    }

    pub(super) fn runs(&self, id: &str) -> bool {
        self.detections.iter().any(|detection| detection.id == id)
    }

    /// What the detections of this run need of `flows` beyond version 2: their ids, the columns, and what can't be told without.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.detections.iter().flat_map(|detection| {
            let fields = detection.fields.iter();
            fields.map(|(name, without)| (detection.id.as_str(), name.as_str(), without.as_str()))
        })
    }

    /// The days of history that some detection of this run wants before its window.
    pub(super) fn longest_baseline(&self) -> u64 {
        let days = self
            .detections
            .iter()
            .filter_map(|detection| self.integer(&detection.id, "baseline_days"));
        days.filter_map(|days| u64::try_from(days).ok())
            .max()
            .unwrap_or(0)
    }

    /// A whole-number parameter's value in this run.
    pub(super) fn integer(&self, id: &str, name: &str) -> Option<i64> {
        if let Some(value) = self.parameters.get(name) {
            return value.parse().ok();
        }
        let detection = self
            .detections
            .iter()
            .find(|detection| detection.id == id)?;
        match detection
            .parameters
            .iter()
            .find(|parameter| parameter.name == name)?
            .default
        {
            detect::ParameterValue::Integer(value) => Some(value),
            _ => None,
        }
    }

    /// Runs them, prints the findings, then what the answer rests on.
    pub(super) async fn run(
        &self,
        session: &Session,
        window: Window,
        printer: &Printer,
    ) -> anyhow::Result<Outcome> {
        let mut findings: Vec<Finding> = Vec::new();
        for detection in &self.detections {
            let found = detect::run(session, detection, window, &self.parameters).await?;
            findings.extend(found.findings);
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        let expected = findings
            .iter()
            .filter(|finding| finding.expected_by.is_some())
            .count();
        let unexpected = findings.len() - expected;
        let fails = self.fail_on.is_some_and(|severity| {
            findings
                .iter()
                .any(|finding| finding.expected_by.is_none() && finding.severity >= severity)
        });
        if !self.all {
            findings.retain(|finding| finding.expected_by.is_none());
        }
        report::write_findings(printer.out(), &findings, printer.format())?;
        let hidden = match (expected, self.all) {
            (0, _) => String::new(),
            (count, true) => format!(", {count} expected by the policy"),
            (count, false) => format!(", {count} expected by the policy (--all shows them)"),
        };
        let time = |at: chrono::DateTime<Utc>| at.format("%Y-%m-%d %H:%M:%SZ").to_string();
        printer.say(&format!(
            "{unexpected} findings{hidden}; window {} to {}",
            time(window.from),
            time(window.to)
        ));
        notes::print(session, self, window, printer).await?;
        Ok(if fails {
            Outcome::FailOnMet
        } else {
            Outcome::Done
        })
    }
}
