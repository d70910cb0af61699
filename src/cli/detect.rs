//! `detect`: detections over a lake; and the part that `analyze` shares.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;

use super::Outcome;
use super::args::{AddressArgs, DetectionArgs, GlobalArgs, LakeArgs};
use super::knowledge;
use super::notes;
use super::printer::Printer;
use super::time::{TimeArg, to_second};
use crate::audit;
use crate::detect::{self, Catalog, DetectError, Detection, Finding, Next, Run, Status, Window};
use crate::lake::{Lake, LakeUri};
use crate::policy::Policy;
use crate::report::{self, Rule};
use crate::session::Session;

/// How long a finding of a detection without a baseline is looked at again while it stays open.
const DEFAULT_MEMORY_DAYS: u64 = 14;

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
    /// What is new, goes on or is resolved since the last run with this option; the run is kept in the lake
    #[arg(long, conflicts_with_all = ["from", "since"])]
    since_last: bool,
    /// With --since-last: look again at this much before the end of the last run, since objects come late
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "1h", requires = "since_last")]
    lag: Duration,
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
    let chosen = Chosen::new(&args.ids, &args.detection, 0)?;
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
    if args.since_last {
        let lag = TimeDelta::from_std(args.lag).unwrap_or(TimeDelta::MAX);
        let to = to.unwrap_or(last + TimeDelta::seconds(1));
        return chosen
            .run_since_last(&session, &lake, (first, to), lag, printer)
            .await;
    }
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
    /// Records that each finding cites.
    records: usize,
    fail_on: Option<detect::Severity>,
}

impl Chosen {
    /// Detections by id or group. Findings cite so many `records` unless the arguments say otherwise.
    pub(super) fn new(
        ids: &[String],
        args: &DetectionArgs,
        records: usize,
    ) -> anyhow::Result<Self> {
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
            records: args.records.unwrap_or(records),
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
        detect::cite_records(session, &mut findings, self.records).await?;
        let summary = self.print(findings, printer)?;
        let Printed {
            unexpected, hidden, ..
        } = &summary;
        printer.say(&format!(
            "{unexpected} findings{hidden}; window {} to {}",
            to_second(window.from),
            to_second(window.to)
        ));
        notes::print(session, self, window, printer).await?;
        Ok(summary.outcome)
    }

    /// Runs them over what came since the last run that the lake keeps, and keeps this one.
    async fn run_since_last(
        &self,
        session: &Session,
        lake: &Lake,
        times: (DateTime<Utc>, DateTime<Utc>),
        lag: TimeDelta,
        printer: &Printer,
    ) -> anyhow::Result<Outcome> {
        let last = self.last_runs(lake).await?;
        let mut findings: Vec<Finding> = Vec::new();
        let mut ran = Vec::new();
        for detection in &self.detections {
            let baseline_days = self.integer(&detection.id, "baseline_days").unwrap_or(0);
            let baseline_days = match u64::try_from(baseline_days) {
                Ok(0) | Err(_) => DEFAULT_MEMORY_DAYS,
                Ok(days) => days,
            };
            let last = last.get(&detection.id).map(Arc::as_ref);
            let next = Next::after(last, &detection.id, times, lag, baseline_days);
            if next.is_idle() {
                continue;
            }
            let found = detect::run(session, detection, next.window, &self.parameters).await?;
            ran.push(next.ran(&detection.id));
            findings.extend(next.judge(found.findings));
        }
        let Some((from, to)) = ran
            .iter()
            .map(|ran| (ran.from, ran.to))
            .reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
        else {
            report::write_findings(printer.out(), &[], &self.rules(), printer.findings_format())?;
            printer.say("no flow came since the last run");
            return Ok(Outcome::Done);
        };
        detect::cite_records(session, &mut findings, self.records).await?;
        // Kept before it is shown: a reader who goes away does not undo the run.
        let run = Run::new(Utc::now(), ran, findings.clone());
        lake.put_run(run.run_at, run.to_bytes().into()).await?;
        let count = |status: Status| {
            let is = |finding: &&Finding| {
                finding.expected_by.is_none()
                    && finding
                        .life
                        .as_ref()
                        .is_some_and(|life| life.status == status)
            };
            findings.iter().filter(is).count()
        };
        let (new, ongoing, resolved) = (
            count(Status::New),
            count(Status::Ongoing),
            count(Status::Resolved),
        );
        let summary = self.print(findings, printer)?;
        printer.say(&format!(
            "{new} new, {ongoing} ongoing, {resolved} resolved{}; since {} to {}",
            summary.hidden,
            to_second(from),
            to_second(to)
        ));
        notes::print(session, self, Window { from, to }, printer).await?;
        Ok(summary.outcome)
    }

    /// Of each detection, the newest run that had it.
    async fn last_runs(&self, lake: &Lake) -> anyhow::Result<BTreeMap<String, Arc<Run>>> {
        let mut last = BTreeMap::new();
        let mut runs = lake.runs().await?;
        while last.len() < self.detections.len()
            && let Some(bytes) = runs.next().await?
        {
            let run = Arc::new(Run::from_bytes(&bytes)?);
            for detection in &self.detections {
                let had = run.ran.iter().any(|ran| ran.detection == detection.id);
                if had && !last.contains_key(&detection.id) {
                    last.insert(detection.id.clone(), Arc::clone(&run));
                }
            }
        }
        Ok(last)
    }

    fn rules(&self) -> Vec<Rule> {
        self.detections.iter().map(Rule::from).collect()
    }

    /// Prints findings, the worst first, what is expected only if that is asked for.
    fn print(&self, mut findings: Vec<Finding>, printer: &Printer) -> anyhow::Result<Printed> {
        let is_resolved = |finding: &Finding| {
            let life = finding.life.as_ref();
            life.is_some_and(|life| life.status == Status::Resolved)
        };
        findings.sort_by_key(|finding| (is_resolved(finding), std::cmp::Reverse(finding.severity)));
        let expected = findings
            .iter()
            .filter(|finding| finding.expected_by.is_some())
            .count();
        let unexpected = findings.len() - expected;
        let fails = self.fail_on.is_some_and(|severity| {
            findings.iter().any(|finding| {
                finding.expected_by.is_none()
                    && finding.severity >= severity
                    && !is_resolved(finding)
            })
        });
        if !self.all {
            findings.retain(|finding| finding.expected_by.is_none());
        }
        report::write_findings(
            printer.out(),
            &findings,
            &self.rules(),
            printer.findings_format(),
        )?;
        Ok(Printed {
            unexpected,
            hidden: match (expected, self.all) {
                (0, _) => String::new(),
                (count, true) => format!(", {count} expected by the policy"),
                (count, false) => format!(", {count} expected by the policy (--all shows them)"),
            },
            outcome: if fails {
                Outcome::FailOnMet
            } else {
                Outcome::Done
            },
        })
    }
}

/// What was printed of some findings.
struct Printed {
    unexpected: usize,
    /// A word on what is hidden, or shown though it is expected.
    hidden: String,
    outcome: Outcome,
}
