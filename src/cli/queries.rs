//! `queries list` and `queries show ID`.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Subcommand;

use super::Outcome;
use super::printer::Printer;
use crate::detect::Catalog;
use crate::report::{Format, plain_table};

/// The detections there are.
#[derive(Debug, Subcommand)]
pub(super) enum QueriesCommand {
    /// List the detections
    List {
        /// A folder of detections of your own
        #[arg(long, value_name = "DIR")]
        queries: Option<PathBuf>,
    },
    /// Print a detection: its header and its SQL
    Show {
        /// The detection's id, or a group's name
        id: String,
        /// A folder of detections of your own
        #[arg(long, value_name = "DIR")]
        queries: Option<PathBuf>,
    },
}

pub(super) fn run(command: QueriesCommand, printer: &Printer) -> anyhow::Result<Outcome> {
    match command {
        QueriesCommand::List { queries } => list(&Catalog::load(queries.as_deref())?, printer)?,
        QueriesCommand::Show { id, queries } => {
            let catalog = Catalog::load(queries.as_deref())?;
            for detection in catalog.select(&[id])? {
                printer.data(detection.text.as_bytes())?;
            }
        }
    }
    Ok(Outcome::Done)
}

fn list(catalog: &Catalog, printer: &Printer) -> anyhow::Result<()> {
    let mut text = String::new();
    if printer.format() == Format::Table {
        let rows = catalog.all().iter().map(|detection| {
            let parameters = detection
                .parameters
                .iter()
                .map(|parameter| parameter.name.as_str())
                .collect::<Vec<_>>();
            vec![
                detection.id.clone(),
                detection.group.clone().unwrap_or_default(),
                detection.severity.to_string(),
                detection.title.clone(),
                detection.attack.join(" "),
                parameters.join(" "),
            ]
        });
        writeln!(
            text,
            "{}",
            plain_table(
                &["id", "group", "severity", "title", "attack", "parameters"],
                &[],
                rows
            )
        )?;
    } else {
        for detection in catalog.all() {
            let parameters = detection
                .parameters
                .iter()
                .map(|parameter| parameter.name.as_str())
                .collect::<Vec<_>>();
            let line = serde_json::json!({
                "id": detection.id,
                "group": detection.group,
                "severity": detection.severity,
                "title": detection.title,
                "attack": detection.attack,
                "parameters": parameters,
                "fields": detection.fields.iter().map(|(name, _)| name).collect::<Vec<_>>(),
                "description": detection.description,
                "false_positives": detection.false_positives,
            });
            writeln!(text, "{line}")?;
        }
    }
    printer.data(text.as_bytes())?;
    Ok(())
}
