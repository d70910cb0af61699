//! Gathers what a session knows beside the flows: topology, address ranges, policy.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, Utc};

use super::args::AddressArgs;
use super::printer::Printer;
use crate::lake::Lake;
use crate::policy::Policy;
use crate::session::Knowledge;
use crate::topology::{self, Geo, History, IpRanges, Settings, Snapshot};

/// What is typed about addresses, checked.
pub(super) fn settings(args: &AddressArgs) -> anyhow::Result<Settings> {
    let ip_ranges = match &args.ip_ranges {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read `{}`", path.display()))?;
            IpRanges::from_json(&text)
                .with_context(|| format!("`{}` is not AWS's ip-ranges.json", path.display()))?
        }
        None => IpRanges::built_in(),
    };
    let mut geo = Geo::default();
    for path in &args.mmdb {
        geo.open(path)
            .with_context(|| format!("cannot use `{}` as a MaxMind DB file", path.display()))?;
    }
    Ok(Settings {
        ip_ranges,
        on_premises: args.on_premises.clone(),
        geo,
    })
}

/// The policy, empty without a file.
pub(super) fn policy(path: Option<&Path>) -> anyhow::Result<Policy> {
    Ok(path.map(Policy::read).transpose()?.unwrap_or_default())
}

/// Reads topology files into a snapshot, and says what is incomplete.
pub(super) fn import(
    paths: &[PathBuf],
    at: DateTime<Utc>,
    printer: &Printer,
) -> anyhow::Result<Option<Snapshot>> {
    if paths.is_empty() {
        return Ok(None);
    }
    let imported = topology::import(paths, at)?;
    warn_of(&imported.notes, printer);
    Ok(Some(imported.snapshot))
}

/// Says what is incomplete about a topology; all of it with `-v`.
pub(super) fn warn_of(notes: &[String], printer: &Printer) {
    let (verbose, _) = printer.verbosity();
    let shown = if verbose > 0 { notes.len() } else { 5 };
    for note in notes.iter().take(shown) {
        printer.warn(&format!("topology: {note}"));
    }
    if notes.len() > shown {
        printer.warn(&format!(
            "topology: {} more notes (-v shows them)",
            notes.len() - shown
        ));
    }
}

/// The snapshots that a lake keeps.
pub(super) async fn snapshots(lake: &Lake) -> anyhow::Result<Vec<Snapshot>> {
    let stored = lake.topology_snapshots().await?;
    stored
        .iter()
        .map(|bytes| {
            Snapshot::from_bytes(bytes).context("cannot read a topology snapshot of the lake")
        })
        .collect()
}

/// All of it together.
pub(super) fn knowledge(snapshots: Vec<Snapshot>, settings: Settings, policy: Policy) -> Knowledge {
    Knowledge {
        history: Arc::new(History::new(snapshots, settings.clone())),
        settings: Arc::new(settings),
        policy: Arc::new(policy),
    }
}
