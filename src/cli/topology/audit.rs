//! `topology audit`: checks the network's design; the findings are those of `detect`, in shape and print.

use std::path::PathBuf;

use chrono::{SecondsFormat, Utc};
use clap::Args;

use super::source::TopologySource;
use crate::audit::{audit, checks};
use crate::cli::printer::Printer;
use crate::cli::time::TimeArg;
use crate::cli::{Outcome, knowledge};
use crate::detect::{Finding, Severity};
use crate::policy::{Policy, Subject};
use crate::report::{self, Rule};
use crate::topology::{History, Network};

#[derive(Debug, Args)]
pub(in crate::cli) struct AuditArgs {
    /// As of this time: RFC 3339, a date, or a duration back from now [default: the latest snapshot]
    #[arg(long, value_name = "T", value_parser = TimeArg::parse)]
    at: Option<TimeArg>,
    /// What the network's owner expects (policy.toml): `detection` is a check's id, `vpcs` and `subnets` whom it is about
    #[arg(long, value_name = "FILE", env = "FLOWSCOUT_POLICY")]
    policy: Option<PathBuf>,
    /// Show what the policy expects too
    #[arg(long)]
    all: bool,
    /// Exit with 1 if an unexpected finding is at least this severe: info, low, medium, high, critical
    #[arg(long, value_name = "SEVERITY")]
    fail_on: Option<Severity>,
    #[command(flatten)]
    source: TopologySource,
}

pub(super) async fn run(args: AuditArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    let now = Utc::now();
    let policy = knowledge::policy(args.policy.as_deref())?;
    let history = args.source.history(now, printer).await?;
    let network = args
        .at
        .map_or_else(|| history.latest(), |time| history.at(time.at(now)));
    let audited = audit(network);
    let mut findings = audited.findings;
    for finding in &mut findings {
        finding.expected_by = expected_by(&policy, &history, network, finding);
    }
    let expected = findings
        .iter()
        .filter(|finding| finding.expected_by.is_some())
        .count();
    let unexpected = findings.len() - expected;
    let fails = args.fail_on.is_some_and(|severity| {
        findings
            .iter()
            .any(|finding| finding.expected_by.is_none() && finding.severity >= severity)
    });
    if !args.all {
        findings.retain(|finding| finding.expected_by.is_none());
    }
    let rules: Vec<Rule> = checks().map(|check| Rule::from(&check)).collect();
    report::write_findings(printer.out(), &findings, &rules, printer.findings_format())?;
    for note in &audited.notes {
        printer.warn(note);
    }
    let hidden = match (expected, args.all) {
        (0, _) => String::new(),
        (count, true) => format!(", {count} expected by the policy"),
        (count, false) => format!(", {count} expected by the policy (--all shows them)"),
    };
    printer.say(&format!(
        "{unexpected} finding{}{hidden}; {} VPCs, {} subnets, {} interfaces as of {}",
        if unexpected == 1 { "" } else { "s" },
        network.vpcs().len(),
        network.subnets().len(),
        network.interfaces().len(),
        network.at().to_rfc3339_opts(SecondsFormat::Secs, true)
    ));
    Ok(if fails {
        Outcome::FailOnMet
    } else {
        Outcome::Done
    })
}

/// The reason of the policy's entry that expects a finding.
fn expected_by(
    policy: &Policy,
    history: &History,
    network: &Network,
    finding: &Finding,
) -> Option<String> {
    let subject = Subject {
        subnet_id: finding.subnet_id.as_deref(),
        interface_id: finding.interface_id.as_deref(),
        vpc_id: finding.vpc_id.as_deref(),
        remote: None,
        remote_subnet_id: None,
        remote_service: None,
        port: None,
        protocol: None,
        at: Some(network.at()),
    };
    policy
        .expects(&finding.detection, &subject, history)
        .map(str::to_owned)
}
