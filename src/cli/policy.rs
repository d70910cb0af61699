//! `policy suggest` and `policy check`: what the network's owner could expect, and what of it happens.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::bail;
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use serde_json::json;

use super::Outcome;
use super::args::{AddressArgs, LakeArgs};
use super::knowledge;
use super::printer::Printer;
use super::time::{TimeArg, to_second};
use crate::audit;
use crate::detect::{self, Catalog, Finding, Origin, Suggestion, Window, suggest};
use crate::lake::{Lake, LakeUri};
use crate::policy::{Expectation, Policy, protocol_text};
use crate::report::{Format, human_bytes, human_count, plain_table};
use crate::session::Session;
use crate::topology::History;

/// What can be expected of a connection: the core detections that a policy is written for.
const LEARNED: [&str; 2] = ["east_west_private", "egress_unexpected"];

/// What the network's owner expects.
#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Propose entries that would expect what happened in a quiet time, for a person to review
    Suggest(SuggestArgs),
    /// Say of each entry of a policy what it expected, and which have expired or never matched
    Check(CheckArgs),
}

/// When, and over what.
#[derive(Debug, Args)]
struct Span {
    #[command(flatten)]
    lake: LakeArgs,
    /// The time's start: RFC 3339, a date, or a duration back from now [default: the first flow]
    #[arg(long, value_name = "T", value_parser = TimeArg::parse)]
    from: Option<TimeArg>,
    /// The time's end, exclusive [default: the last flow]
    #[arg(long, value_name = "T", value_parser = TimeArg::parse)]
    to: Option<TimeArg>,
    #[command(flatten)]
    addresses: AddressArgs,
}

#[derive(Debug, Args)]
pub(super) struct SuggestArgs {
    #[command(flatten)]
    span: Span,
    /// A policy that stands: what it expects is not proposed again
    #[arg(long, value_name = "FILE", env = "FLOWSCOUT_POLICY")]
    policy: Option<PathBuf>,
    /// Only what at least so many records show
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    min_flows: i64,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    span: Span,
    /// The policy
    #[arg(long, value_name = "FILE", env = "FLOWSCOUT_POLICY")]
    policy: PathBuf,
}

pub(super) async fn run(command: PolicyCommand, printer: &Printer) -> anyhow::Result<Outcome> {
    match command {
        PolicyCommand::Suggest(args) => run_suggest(args, printer).await,
        PolicyCommand::Check(args) => run_check(args, printer).await,
    }
}

/// What the detections find in a time, whether it is expected or not.
struct Found {
    findings: Vec<Finding>,
    window: Window,
    knowledge: crate::session::Knowledge,
}

impl Span {
    async fn find(&self, policy: Policy, ids: &[String]) -> anyhow::Result<Found> {
        let now = Utc::now();
        let settings = knowledge::settings(&self.addresses)?;
        let lake = Lake::open(&LakeUri::parse(&self.lake.lake)?).await?;
        let knowledge = knowledge::knowledge(knowledge::snapshots(&lake).await?, settings, policy);
        let session = Session::over_lake(&lake, &knowledge).await?;
        let Some((first, last)) = session.span().await? else {
            bail!("the lake `{}` has no flows", self.lake.lake)
        };
        let window = Window {
            from: self.from.as_ref().map_or(first, |time| time.at(now)),
            to: (self.to.as_ref()).map_or(last + TimeDelta::seconds(1), |time| time.at(now)),
        };
        let catalog = Catalog::load(None)?;
        // What happens is what counts here, whether it is new or not.
        let parameters = BTreeMap::from([("baseline_days".to_owned(), "0".to_owned())]);
        let mut findings = Vec::new();
        for detection in catalog.select(ids)? {
            let parameters = if LEARNED.contains(&detection.id.as_str()) {
                parameters.clone()
            } else {
                BTreeMap::new()
            };
            findings.extend(
                detect::run(&session, detection, window, &parameters)
                    .await?
                    .findings,
            );
        }
        Ok(Found {
            findings,
            window,
            knowledge,
        })
    }
}

async fn run_suggest(args: SuggestArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    let policy = knowledge::policy(args.policy.as_deref())?;
    let found = args.span.find(policy, &LEARNED.map(str::to_owned)).await?;
    let (expected, new): (Vec<Finding>, Vec<Finding>) = (found.findings)
        .into_iter()
        .partition(|finding| finding.expected_by.is_some());
    let (mut suggestions, left_out) = suggest(&new);
    let all = suggestions.len();
    suggestions.retain(|suggestion| suggestion.seen.flows >= args.min_flows);
    let mut text = String::new();
    for suggestion in &suggestions {
        entry(&mut text, suggestion, &found.knowledge.history)?;
    }
    printer.data(text.as_bytes())?;
    printer.say(&format!(
        "{} entries for {} findings between {} and {}; {} are expected as it is",
        suggestions.len(),
        new.len() - left_out,
        to_second(found.window.from),
        to_second(found.window.to),
        expected.len()
    ));
    if all > suggestions.len() {
        printer.say(&format!(
            "note: {} more have less than {} records",
            all - suggestions.len(),
            args.min_flows
        ));
    }
    if left_out > 0 {
        printer.say(&format!(
            "note: {left_out} findings have no subnet and no interface of ours: no entry can name them"
        ));
    }
    if !suggestions.is_empty() {
        printer.warn("an entry hides what it expects: delete what should not be there, and give each a reason of your own");
    }
    Ok(Outcome::Done)
}

/// An entry as it stands in a policy, with what it rests on.
fn entry(text: &mut String, suggestion: &Suggestion, history: &History) -> std::fmt::Result {
    let seen = &suggestion.seen;
    let day = |time: &Option<String>| {
        time.as_deref()
            .unwrap_or("-")
            .get(..10)
            .unwrap_or("-")
            .to_owned()
    };
    let (first, last) = (day(&seen.first), day(&seen.last));
    let count = |number: i64| human_count(u64::try_from(number).unwrap_or(0));
    writeln!(
        text,
        "# {} findings, {} records, {} sent, {first} to {last}",
        seen.findings,
        count(seen.flows),
        human_bytes(u64::try_from(seen.bytes).unwrap_or(0)),
    )?;
    let network = history.latest();
    let name = |id: &str| {
        let name = network.subnet(id).and_then(|subnet| subnet.tag("Name"));
        // Tags are written by users: nothing of one may leave its comment.
        let name = name.map(|name| name.replace(char::is_control, " "));
        name.map_or_else(|| id.to_owned(), |name| format!("{id} ({name})"))
    };
    let names =
        |ids: &BTreeSet<String>| ids.iter().map(|id| name(id)).collect::<Vec<_>>().join(", ");
    let (key, ids) = match &suggestion.origin {
        Origin::Subnets(ids) => ("subnets", ids),
        Origin::Interfaces(ids) => ("interfaces", ids),
    };
    writeln!(
        text,
        "# from {}; interfaces: {}",
        names(ids),
        first_of(&seen.interfaces)
    )?;
    writeln!(
        text,
        "# to {}; addresses: {}",
        names(&suggestion.remote),
        first_of(&seen.addresses)
    )?;
    let list = |values: &mut dyn Iterator<Item = String>| values.collect::<Vec<_>>().join(", ");
    let quoted =
        |values: &BTreeSet<String>| list(&mut values.iter().map(|value| format!("{value:?}")));
    writeln!(text, "[[expect]]")?;
    writeln!(text, "detection = {:?}", suggestion.detection)?;
    writeln!(text, "{key} = [{}]", quoted(ids))?;
    writeln!(text, "remote = [{}]", quoted(&suggestion.remote))?;
    if !suggestion.ports.is_empty() {
        writeln!(
            text,
            "ports = [{}]",
            list(&mut suggestion.ports.iter().map(ToString::to_string))
        )?;
    }
    match protocol_text(suggestion.protocol).as_str() {
        known @ ("tcp" | "udp" | "icmp") => writeln!(text, "protocol = {known:?}")?,
        _ => writeln!(text, "protocol = {}", suggestion.protocol)?,
    }
    writeln!(
        text,
        "reason = \"to be reviewed: seen from {first} to {last}\"\n"
    )
}

/// The first few, and how many more there are.
fn first_of(values: &BTreeSet<String>) -> String {
    const SHOWN: usize = 5;
    let shown = values
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match values.len() {
        0 => "-".to_owned(),
        count if count > SHOWN => format!("{shown}, and {} more", count - SHOWN),
        _ => shown,
    }
}

/// What became of an entry of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Matched,
    Expired,
    NeverMatched,
    UnknownDetection,
    /// A check of `topology audit` or a detection that is not run here.
    NotChecked,
}

impl Fate {
    fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Expired => "expired",
            Self::NeverMatched => "never_matched",
            Self::UnknownDetection => "unknown_detection",
            Self::NotChecked => "not_checked",
        }
    }
}

async fn run_check(args: CheckArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    let policy = knowledge::policy(Some(&args.policy))?;
    let catalog = Catalog::load(None)?;
    let known: BTreeSet<&str> = catalog.all().iter().map(|one| one.id.as_str()).collect();
    let named: BTreeSet<String> = policy.detections().map(str::to_owned).collect();
    let ids: Vec<String> = named
        .iter()
        .filter(|id| known.contains(id.as_str()))
        .cloned()
        .collect();
    if ids.is_empty() {
        bail!(
            "the policy `{}` names no detection that there is",
            args.policy.display()
        );
    }
    let found = args.span.find(policy, &ids).await?;
    let mut matched: BTreeMap<(&str, &str), (u64, i64)> = BTreeMap::new();
    for finding in &found.findings {
        if let Some(reason) = &finding.expected_by {
            let (findings, flows) = matched.entry((&finding.detection, reason)).or_default();
            *findings += 1;
            *flows += finding.flows.unwrap_or(0);
        }
    }
    let fate = |entry: &Expectation<'_>| {
        if matched.contains_key(&(entry.detection, entry.reason)) {
            Fate::Matched
        } else if entry.ends.is_some_and(|ends| ends <= found.window.to) {
            Fate::Expired
        } else if known.contains(entry.detection) {
            Fate::NeverMatched
        } else if audit::checks().any(|check| check.id == entry.detection) {
            Fate::NotChecked
        } else {
            Fate::UnknownDetection
        }
    };
    let entries: Vec<_> = found.knowledge.policy.entries().collect();
    let day = |at: DateTime<Utc>| (at - TimeDelta::seconds(1)).format("%Y-%m-%d").to_string();
    let mut text = String::new();
    let numbers = |entry: &Expectation<'_>| {
        let (findings, flows) = matched
            .get(&(entry.detection, entry.reason))
            .copied()
            .unwrap_or_default();
        (findings, u64::try_from(flows).unwrap_or(0))
    };
    if printer.format() == Format::Table {
        let rows = (1..).zip(&entries).map(|(number, entry): (usize, _)| {
            let (findings, flows) = numbers(entry);
            vec![
                number.to_string(),
                fate(entry).as_str().replace('_', " "),
                entry.detection.to_owned(),
                entry.reason.to_owned(),
                entry.ends.map(day).unwrap_or_default(),
                human_count(findings),
                human_count(flows),
            ]
        });
        let header = [
            "entry",
            "is",
            "detection",
            "reason",
            "until",
            "findings",
            "flows",
        ];
        writeln!(
            text,
            "{}",
            plain_table(&header, &["entry", "findings", "flows"], rows)
        )?;
    } else {
        for (number, entry) in (1..).zip(&entries) {
            let (findings, flows) = numbers(entry);
            let number: usize = number;
            let line = json!({
                "entry": number,
                "status": fate(entry).as_str(),
                "detection": entry.detection,
                "reason": entry.reason,
                "until": entry.ends.map(day),
                "findings": findings,
                "flows": flows,
            });
            writeln!(text, "{line}")?;
        }
    }
    printer.data(text.as_bytes())?;
    let count = |wanted: Fate| entries.iter().filter(|entry| fate(entry) == wanted).count();
    printer.say(&format!(
        "{} entries: {} matched, {} expired, {} never matched between {} and {}",
        entries.len(),
        count(Fate::Matched),
        count(Fate::Expired),
        count(Fate::NeverMatched),
        to_second(found.window.from),
        to_second(found.window.to)
    ));
    Ok(Outcome::Done)
}
