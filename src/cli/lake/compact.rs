//! `lake compact`: few files instead of many.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::Outcome;
use crate::cli::args::LakeArgs;
use crate::cli::printer::Printer;
use crate::lake::{Compact, CompactGroup, Compacted, Mode};
use crate::report::{human_bytes, human_count, plain_table};

#[derive(Debug, Args)]
pub(in crate::cli) struct CompactArgs {
    #[command(flatten)]
    lake: LakeArgs,
    /// About how large a file should be; those of half of it and more stay as they are
    #[arg(long, value_name = "SIZE", default_value = "128MiB", value_parser = size)]
    target_size: u64,
    /// Only say which files would become one
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: CompactArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    let mode = super::mode(args.dry_run);
    let lake = super::open(&args.lake, mode).await?;
    let compact = Compact {
        target_bytes: args.target_size,
        mode,
    };
    let compacted = lake.compact(&compact).await?;
    super::print(
        printer,
        || table(&compacted, mode),
        &as_json(&compacted, mode),
    )?;
    Ok(Outcome::Done)
}

/// A size such as `128MiB`, `64 MB` or a number of bytes.
fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("b", 1),
    ];
    let wrong = || format!("expected a size such as `128MiB` or `64MB`, got `{text}`");
    let lower = text.trim().to_ascii_lowercase();
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| Some((lower.strip_suffix(name)?, *unit)))
        .unwrap_or((lower.as_str(), 1));
    let number: u64 = number.trim().parse().map_err(|_| wrong())?;
    number
        .checked_mul(unit)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(wrong)
}

fn table(compacted: &Compacted, mode: Mode) -> String {
    let mut text = match (compacted.groups.is_empty(), compacted.bundled) {
        (true, 0) => return "Nothing to compact.\n".to_owned(),
        (true, _) => String::new(),
        (false, _) => files_table(compacted, mode),
    };
    if compacted.bundled > 0 {
        let batches = human_count(compacted.bundled);
        text.push_str(&match mode {
            Mode::DryRun => format!("The side data of {batches} batches would be put together.\n"),
            Mode::Apply => format!("The side data of {batches} batches was put together.\n"),
        });
    }
    text
}

fn files_table(compacted: &Compacted, mode: Mode) -> String {
    let rows = compacted.groups.iter().map(|group| {
        vec![
            date(group),
            human_count(group.files),
            human_bytes(group.bytes),
            human_count(group.rows),
        ]
    });
    let mut text = plain_table(
        &["date", "files", "bytes", "rows"],
        &["files", "bytes", "rows"],
        rows,
    );
    let files: u64 = compacted.groups.iter().map(|group| group.files).sum();
    let groups = compacted.groups.len() as u64;
    text.push_str(&match mode {
        Mode::DryRun => format!(
            "\n{} files would become {}.\n",
            human_count(files),
            human_count(groups)
        ),
        Mode::Apply => format!(
            "\n{} files became {} ({}).\n",
            human_count(files),
            human_count(compacted.files),
            human_bytes(compacted.bytes)
        ),
    });
    text
}

fn date(group: &CompactGroup) -> String {
    group
        .date
        .map_or_else(|| "none".to_owned(), |date| date.to_string())
}

fn as_json(compacted: &Compacted, mode: Mode) -> Value {
    let groups: Vec<Value> = compacted
        .groups
        .iter()
        .map(|group| {
            json!({ "date": group.date, "files": group.files, "bytes": group.bytes, "rows": group.rows })
        })
        .collect();
    json!({
        "dry_run": mode == Mode::DryRun,
        "groups": groups,
        "files": compacted.files,
        "bytes": compacted.bytes,
        "bundled": compacted.bundled,
        "overtaken": compacted.overtaken,
        "checkpoint": compacted.checkpoint,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes() {
        assert_eq!(size("128MiB"), Ok(Compact::TARGET_BYTES));
        assert_eq!(size("64 mb"), Ok(64_000_000));
        assert_eq!(size("4096"), Ok(4096));
        for wrong in ["", "MiB", "0", "-1", "1TiB", "99999999999GiB"] {
            assert!(size(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
    }
}
