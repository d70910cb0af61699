//! `lake vacuum`: what nobody needs any more is deleted.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::Outcome;
use crate::cli::args::LakeArgs;
use crate::cli::printer::Printer;
use crate::lake::{Deletions, Mode, Vacuum, Vacuumed};
use crate::report::{human_bytes, human_count, plain_table, printable};

#[derive(Debug, Args)]
pub(in crate::cli) struct VacuumArgs {
    #[command(flatten)]
    lake: LakeArgs,
    /// How long files stay that no version needs any more: longer than the longest query and the longest batch; 24h to 30d
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = humantime::parse_duration)]
    retain: Duration,
    /// Also with a shorter (or longer) --retain: only while nobody reads or writes the lake
    #[arg(long)]
    force: bool,
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: VacuumArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    let mode = super::mode(args.dry_run);
    let lake = super::open(&args.lake, mode).await?;
    let vacuum = Vacuum {
        retain: args.retain,
        force: args.force,
        mode,
    };
    let vacuumed = lake.vacuum(&vacuum).await?;
    super::print(
        printer,
        || table(&vacuumed, mode),
        &as_json(&vacuumed, mode),
    )?;
    Ok(Outcome::Done)
}

/// The kinds of files, in words and for programs.
fn kinds(vacuumed: &Vacuumed) -> [(&'static str, &'static str, &Deletions); 5] {
    [
        ("replaced or expired", "replaced", &vacuumed.replaced),
        ("of no commit", "orphans", &vacuumed.orphans),
        ("side data of no commit", "side", &vacuumed.side),
        ("put together by now", "bundled", &vacuumed.bundled),
        ("half-written", "staging", &vacuumed.staging),
    ]
}

fn table(vacuumed: &Vacuumed, mode: Mode) -> String {
    let mut text = String::new();
    for (kind, _, files) in kinds(vacuumed) {
        for path in &files.paths {
            text.push_str(&format!("{kind}: {}\n", printable(path)));
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let rows = kinds(vacuumed).map(|(kind, _, files)| {
        vec![
            kind.to_owned(),
            human_count(files.paths.len() as u64),
            human_bytes(files.bytes),
        ]
    });
    let what = match mode {
        Mode::DryRun => "would be deleted",
        Mode::Apply => "deleted",
    };
    text.push_str(&plain_table(
        &[what, "files", "bytes"],
        &["files", "bytes"],
        rows,
    ));
    text.push('\n');
    if mode == Mode::Apply {
        text.push_str(&format!(
            "{} entries of the log deleted\n",
            human_count(vacuumed.log_entries)
        ));
    }
    text
}

fn as_json(vacuumed: &Vacuumed, mode: Mode) -> Value {
    let mut json = json!({ "dry_run": mode == Mode::DryRun });
    for (_, key, files) in kinds(vacuumed) {
        json[key] = json!({ "bytes": files.bytes, "paths": files.paths });
    }
    json["checkpoint"] = json!(vacuumed.checkpoint);
    json["log_entries"] = json!(vacuumed.log_entries);
    json
}
