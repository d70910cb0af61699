//! `topology diff`: what changed between two moments, or between two folders, in words.

use std::sync::Arc;

use anyhow::bail;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;

use super::source::TopologySource;
use crate::cli::Outcome;
use crate::cli::printer::Printer;
use crate::cli::time::TimeArg;
use crate::report::{Format, printable, write_rows};
use crate::topology::diff::{Change, Difference};
use crate::topology::{History, Network};

#[derive(Debug, Args)]
pub(in crate::cli) struct DiffArgs {
    /// Two times (RFC 3339, a date, or a duration back from now), or one: what changed since then. None with two folders
    #[arg(value_name = "T", value_parser = TimeArg::parse, num_args = 0..=2)]
    times: Vec<TimeArg>,
    #[command(flatten)]
    source: TopologySource,
}

pub(super) async fn run(args: DiffArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    let now = Utc::now();
    match (args.source.topology.len(), args.times.as_slice()) {
        (2, []) => {
            let history = args.source.folders_history(now, printer)?;
            let networks: Vec<_> = history.networks().collect();
            let [before, after] = networks.as_slice() else {
                bail!("expected two topologies to compare, got {}", networks.len())
            };
            print(before, after, "between the two", printer)
        }
        (0, [from, rest @ ..]) => {
            let from = from.at(now);
            let to = rest.first().map_or(now, |to| to.at(now));
            if from > to {
                bail!(
                    "the first time is after the second: {} and {}; swap them",
                    rfc3339(from),
                    rfc3339(to)
                );
            }
            let history = args.source.history(now, printer).await?;
            let (before, after) = (history.at(from), history.at(to));
            warn_of(&history, from, printer);
            let span = format!(
                "between the snapshots of {} and {}",
                rfc3339(before.at()),
                rfc3339(after.at())
            );
            if before.at() == after.at() {
                printer.warn(&format!(
                    "both times see the same snapshot, of {}: there is nothing to compare",
                    rfc3339(after.at())
                ));
            }
            print(before, after, &span, printer)
        }
        (0, []) => bail!(
            "expected two times (`flowscout topology diff 2026-03-01 2026-03-08`), one, or two folders (`--topology A --topology B`)"
        ),
        _ => bail!("expected two times and a lake, or `--topology A --topology B` without times"),
    }
}

/// A time before all snapshots sees the earliest.
fn warn_of(history: &History, from: DateTime<Utc>, printer: &Printer) {
    if let Some(first) = history.times().next()
        && from < first
    {
        printer.warn(&format!(
            "no snapshot is as old as {}: the earliest, of {}, stands for it",
            rfc3339(from),
            rfc3339(first)
        ));
    }
}

fn print(
    before: &Network,
    after: &Network,
    span: &str,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let difference = Difference::between(before, after);
    for note in &difference.notes {
        printer.warn(note);
    }
    let changes = &difference.changes;
    match printer.format() {
        Format::Table => printer.data(text(changes).as_bytes())?,
        format => {
            let batch = batch(changes)?;
            write_rows(printer.out(), &batch.schema(), &[batch], format)?;
        }
    }
    printer.say(&match changes.len() {
        0 => format!("nothing changed {span}"),
        1 => format!("1 change {span}"),
        count => format!("{count} changes {span}"),
    });
    Ok(Outcome::Done)
}

/// A headline for each group of changes, then a line for each change.
fn text(changes: &[Change]) -> String {
    let mut text = String::new();
    let mut last = "";
    for change in changes {
        let heading = heading(change);
        if heading != last {
            if !last.is_empty() {
                text.push('\n');
            }
            text.push_str(&format!("{heading}\n"));
            last = heading;
        }
        text.push_str(&format!("  {}\n", printable(&change.words)));
    }
    text
}

fn heading(change: &Change) -> &'static str {
    match (change.kind, change.change) {
        ("subnet_class", "turned_public") => "Turned public",
        ("subnet_class", _) => "Classes",
        ("route" | "route_table" | "subnet_route_table", _) => "Routes",
        ("nacl" | "nacl_entry" | "subnet_nacl", _) => "Network ACLs",
        ("security_group" | "security_group_rule", _) => "Security groups",
        (kind, _) if kind.starts_with("interface") || kind == "address" => "Interfaces",
        (kind, _) if kind.starts_with("vpc") || kind.starts_with("subnet") => "VPCs and subnets",
        ("flow_log", _) => "Flow logs",
        _ => "Gateways, peerings, endpoints, prefix lists",
    }
}

fn batch(changes: &[Change]) -> anyhow::Result<RecordBatch> {
    type Column = (&'static str, fn(&Change) -> Option<&str>);
    const COLUMNS: [Column; 9] = [
        ("kind", |change| Some(change.kind)),
        ("id", |change| Some(&change.id)),
        ("change", |change| Some(change.change)),
        ("before", |change| change.before.as_deref()),
        ("after", |change| change.after.as_deref()),
        ("words", |change| Some(&change.words)),
        ("account_id", |change| change.account_id.as_deref()),
        ("region", |change| change.region.as_deref()),
        ("vpc_id", |change| change.vpc_id.as_deref()),
    ];
    let fields: Vec<Field> = COLUMNS
        .iter()
        .map(|(name, _)| Field::new(*name, DataType::Utf8, true))
        .collect();
    let columns = COLUMNS
        .iter()
        .map(|(_, of)| Arc::new(changes.iter().map(of).collect::<StringArray>()) as ArrayRef)
        .collect();
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
