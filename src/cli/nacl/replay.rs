//! `nacl replay`: what a change of network ACLs would have done to the flows of a window.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;

use super::window::{HistoryArgs, Past, nacl_words, rfc3339};
use crate::cli::Outcome;
use crate::cli::printer::Printer;
use crate::evidence::{Confidence, Grounds, OnExpected, Which, observed, port_edges};
use crate::nacl::{
    Change, Denied, Direction, Guarded, Nacl, NaclReplay, Quota, number_words, protocol_words,
    read_changes, replay, unused_rules,
};
use crate::report::{Format, human_bytes, human_count, plain_table, printable};
use crate::topology::Family;

/// Of what would be denied, a table and an object show this much.
const SHOWN: usize = 20;

#[derive(Debug, Args)]
pub(in crate::cli) struct ReplayArgs {
    /// The change: advice, a Terraform plan as JSON, or AWS CLI commands; `-` for standard input
    #[arg(long, value_name = "FILE")]
    change: PathBuf,
    #[command(flatten)]
    history: HistoryArgs,
    /// Exit with 1 if more accepted flows than this would have been denied
    #[arg(long, value_name = "N")]
    allow_denied: Option<u64>,
}

/// The numbers of a replay, as advice has them, too.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Replay {
    from: String,
    to: String,
    accepted_flows_denied: u64,
    accepted_bytes_denied: u64,
    rejected_flows_matched: u64,
}

impl Replay {
    pub(super) fn of(past: &Past, numbers: &crate::nacl::Numbers) -> Self {
        Self {
            from: rfc3339(past.window.0),
            to: rfc3339(past.window.1),
            accepted_flows_denied: numbers.accepted_flows_denied,
            accepted_bytes_denied: numbers.accepted_bytes_denied,
            rejected_flows_matched: numbers.rejected_flows_matched,
        }
    }
}

#[derive(Debug, Serialize)]
struct Row {
    nacl_id: String,
    vpc_id: Option<String>,
    subnet_ids: Vec<String>,
    changes: usize,
    replay: Replay,
    rejected_flows_allowed: u64,
    accepted_flows_undecidable: u64,
    denied: Vec<DeniedRow>,
    unused_rules: Vec<RuleNumber>,
    quota: Vec<QuotaRow>,
    confidence: &'static str,
    confidence_because: Vec<String>,
}

#[derive(Debug, Serialize)]
struct DeniedRow {
    subnet_id: String,
    direction: &'static str,
    rule_number: u16,
    src_addr: String,
    dst_addr: String,
    protocol: u8,
    service_port: Option<u16>,
    packet: &'static str,
    flows: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct RuleNumber {
    direction: &'static str,
    rule_number: u16,
}

#[derive(Debug, Serialize)]
struct QuotaRow {
    direction: &'static str,
    family: String,
    used: usize,
    quota: u16,
}

pub(super) async fn run(args: ReplayArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    if matches!(printer.format(), Format::Csv | Format::Parquet) {
        bail!("`nacl replay` gives objects with lists: expected `--format` table, json or ndjson");
    }
    let text = read(&args.change)?;
    let past = args.history.open(None, printer).await?;
    let named = || format!("cannot use `{}`", args.change.display());
    let planned = read_changes(&text, &past.guarded).with_context(named)?;
    let after = planned.applied(&past.guarded).with_context(named)?;
    let edges = port_edges([&past.guarded, &after]);
    let records = observed(
        &past.session,
        past.window,
        &edges,
        Which::All,
        OnExpected::Keep,
    )
    .await?;
    let grounds = Grounds::of(&past.session, past.window).await?;
    let replays = replay(&past.guarded, &after, &records);
    let quota = Quota(args.history.rule_quota);
    let rows: Vec<Row> = replays
        .iter()
        .filter_map(|replay| {
            let nacl = after.nacl(&replay.nacl_id)?;
            let confidence = grounds.confidence(nacl, &past.network);
            let unused = unused_rules(nacl, &records);
            let changes = &planned.changes;
            Some(row(
                &past, nacl, replay, changes, &unused, quota, confidence,
            ))
        })
        .collect();
    print(&past, &after, &rows, &replays, printer)?;
    let denied: u64 = rows
        .iter()
        .map(|row| row.replay.accepted_flows_denied)
        .sum();
    let over: Vec<&QuotaRow> = rows
        .iter()
        .flat_map(|row| &row.quota)
        .filter(|row| row.used > usize::from(row.quota))
        .collect();
    for row in over {
        printer.warn(&format!(
            "{} {} rules, the implicit deny counted, and the quota is {}: AWS will refuse some",
            row.used, row.direction, row.quota
        ));
    }
    if rows.is_empty() {
        printer.say("the changes leave every network ACL as it is");
    }
    printer.say(&format!(
        "{} accepted flows would have been denied; {}",
        human_count(denied),
        past.words()
    ));
    Ok(match args.allow_denied {
        Some(most) if denied > most => Outcome::FailOnMet,
        _ => Outcome::Done,
    })
}

fn read(path: &PathBuf) -> anyhow::Result<String> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read the change from standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}

fn row(
    past: &Past,
    nacl: &Nacl,
    replay: &NaclReplay,
    changes: &[Change],
    unused: &[(Direction, u16)],
    quota: Quota,
    confidence: Confidence,
) -> Row {
    let quotas = [Direction::Ingress, Direction::Egress]
        .into_iter()
        .flat_map(|direction| [Family::V4, Family::V6].map(|family| (direction, family)))
        .map(|(direction, family)| QuotaRow {
            direction: direction.as_str(),
            family: family.to_string(),
            used: Quota::used(nacl, direction, family),
            quota: quota.0,
        });
    Row {
        nacl_id: nacl.id.to_string(),
        vpc_id: nacl.vpc_id.as_deref().map(str::to_owned),
        subnet_ids: nacl.subnet_ids.iter().map(ToString::to_string).collect(),
        changes: changes
            .iter()
            .filter(|change| change.nacl_id == nacl.id)
            .count(),
        replay: Replay::of(past, &replay.numbers()),
        rejected_flows_allowed: replay.rejected_flows_allowed,
        accepted_flows_undecidable: replay.accepted_flows_undecidable,
        denied: replay.denied.iter().take(SHOWN).map(denied_row).collect(),
        unused_rules: unused
            .iter()
            .map(|(direction, rule_number)| RuleNumber {
                direction: direction.as_str(),
                rule_number: *rule_number,
            })
            .collect(),
        quota: quotas.collect(),
        confidence: confidence.word,
        confidence_because: confidence.because,
    }
}

fn denied_row(denied: &Denied) -> DeniedRow {
    DeniedRow {
        subnet_id: denied.edge.subnet_id.to_string(),
        direction: denied.edge.direction.as_str(),
        rule_number: denied.rule_number,
        src_addr: denied.src.to_string(),
        dst_addr: denied.dst.to_string(),
        protocol: denied.protocol,
        service_port: denied.service_port,
        packet: if denied.is_reply { "reply" } else { "request" },
        flows: denied.flows,
        bytes: denied.bytes,
    }
}

fn print(
    past: &Past,
    after: &Guarded,
    rows: &[Row],
    replays: &[NaclReplay],
    printer: &Printer,
) -> anyhow::Result<()> {
    let text = match printer.format() {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(rows)?),
        Format::Table => {
            let nacls = rows.iter().zip(replays).filter_map(|(row, replay)| {
                Some(text(past, after.nacl(&row.nacl_id)?, row, replay))
            });
            printable(&nacls.collect::<Vec<_>>().join("\n"))
        }
        _ => {
            let lines: Result<Vec<String>, _> = rows.iter().map(serde_json::to_string).collect();
            let mut text = lines?.join("\n");
            if !text.is_empty() {
                text.push('\n');
            }
            text
        }
    };
    printer.data(text.as_bytes())?;
    Ok(())
}

fn text(past: &Past, nacl: &Nacl, row: &Row, replay: &NaclReplay) -> String {
    let mut text = format!("{}\n", nacl_words(nacl, &past.network));
    text.push_str(&format!(
        "  accepted flows that it would have denied: {} ({})\n",
        human_count(replay.accepted_flows_denied),
        human_bytes(replay.accepted_bytes_denied)
    ));
    if replay.accepted_flows_undecidable > 0 {
        text.push_str(&format!(
            "  accepted flows of which the ICMP type would decide, which is not recorded: {}\n",
            human_count(replay.accepted_flows_undecidable)
        ));
    }
    text.push_str(&format!(
        "  rejected flows that it would stop, and only security groups stopped: {}\n",
        human_count(replay.rejected_flows_matched)
    ));
    if replay.rejected_flows_allowed > 0 {
        text.push_str(&format!(
            "  rejected flows that the ACL stopped and it would let pass: {}\n",
            human_count(replay.rejected_flows_allowed)
        ));
    }
    let unused: Vec<String> = row
        .unused_rules
        .iter()
        .map(|rule| format!("{} {}", rule.direction, rule.rule_number))
        .collect();
    if !unused.is_empty() {
        text.push_str(&format!(
            "  rules that no flow of the window meets: {}\n",
            unused.join(", ")
        ));
    }
    let quota: Vec<String> = row
        .quota
        .iter()
        .map(|row| {
            format!(
                "{} {} {} of {}",
                row.direction, row.family, row.used, row.quota
            )
        })
        .collect();
    text.push_str(&format!(
        "  rules, the implicit deny counted: {}\n",
        quota.join(", ")
    ));
    text.push_str(&format!(
        "  confidence {}: {}\n",
        row.confidence,
        row.confidence_because.join(", ")
    ));
    if replay.denied.is_empty() {
        return text;
    }
    let rows = replay.denied.iter().take(SHOWN).map(|denied| {
        let port = denied
            .service_port
            .map_or("-".to_owned(), |port| port.to_string());
        vec![
            format!(
                "{} {}",
                denied.edge.direction.as_str(),
                denied.edge.subnet_id
            ),
            number_words(denied.rule_number),
            if denied.is_reply { "reply" } else { "request" }.to_owned(),
            denied.src.to_string(),
            denied.dst.to_string(),
            format!("{port}/{}", protocol_words(Some(denied.protocol))),
            human_count(denied.flows),
            human_bytes(denied.bytes),
        ]
    });
    text.push_str(&plain_table(
        &[
            "where", "rule", "packet", "from", "to", "service", "flows", "bytes",
        ],
        &["rule", "flows", "bytes"],
        rows,
    ));
    text.push('\n');
    if replay.denied.len() > SHOWN {
        text.push_str(&format!("  and {} more\n", replay.denied.len() - SHOWN));
    }
    text
}
