//! `lake verify`: whether every row is accounted for.

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use crate::cli::Outcome;
use crate::cli::args::LakeArgs;
use crate::cli::printer::Printer;
use crate::lake::{Mode, Verified, Verify};
use crate::report::{human_bytes, human_count, key_values, printable};

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyArgs {
    #[command(flatten)]
    lake: LakeArgs,
    /// Read every data file to its last byte, and count rows object by object
    #[arg(long)]
    deep: bool,
}

pub(super) async fn run(args: VerifyArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    let lake = super::open(&args.lake, Mode::DryRun).await?;
    let verify = if args.deep {
        Verify::Deep
    } else {
        Verify::Counts
    };
    let verified = lake.verify(verify).await?;
    super::print(printer, || table(&verified), &as_json(&verified))?;
    match verified.problem_count {
        0 => Ok(Outcome::Done),
        1 => bail!("one thing is wrong with the lake at `{}`", lake.uri()),
        count => bail!("{count} things are wrong with the lake at `{}`", lake.uri()),
    }
}

fn table(verified: &Verified) -> String {
    let objects = |outcome| human_count(verified.objects.get(&outcome).copied().unwrap_or(0));
    let mut text = key_values(&[
        ("version", verified.version.to_string()),
        ("batches", human_count(verified.batches)),
        ("objects ingested", objects(crate::lake::Outcome::Ingested)),
        ("objects skipped", objects(crate::lake::Outcome::Skipped)),
        ("objects set aside", objects(crate::lake::Outcome::SetAside)),
        ("rows of the objects", human_count(verified.object_rows)),
        ("rows of the files", human_count(verified.file_rows)),
        ("rows expired", human_count(verified.expired_rows)),
        (
            "rows read back",
            verified
                .counted_rows
                .map_or_else(|| "- (--deep reads them)".to_owned(), human_count),
        ),
        (
            "files",
            format!(
                "{} ({})",
                human_count(verified.files),
                human_bytes(verified.bytes)
            ),
        ),
        ("files replaced", human_count(verified.replaced)),
        ("files of no commit", human_count(verified.orphans)),
    ]);
    if verified.problems.is_empty() {
        text.push_str("\nEvery row is accounted for.\n");
        return text;
    }
    text.push_str("\nwrong:\n");
    for problem in &verified.problems {
        text.push_str(&format!("  {}\n", printable(problem)));
    }
    let more = verified.problem_count - verified.problems.len() as u64;
    if more > 0 {
        text.push_str(&format!("  and {} more\n", human_count(more)));
    }
    text
}

fn as_json(verified: &Verified) -> Value {
    let objects: serde_json::Map<String, Value> = verified
        .objects
        .iter()
        .map(|(outcome, count)| (outcome.as_str().to_owned(), json!(count)))
        .collect();
    json!({
        "version": verified.version,
        "batches": verified.batches,
        "objects": objects,
        "object_rows": verified.object_rows,
        "file_rows": verified.file_rows,
        "expired_rows": verified.expired_rows,
        "counted_rows": verified.counted_rows,
        "files": verified.files,
        "bytes": verified.bytes,
        "replaced": verified.replaced,
        "orphans": verified.orphans,
        "problem_count": verified.problem_count,
        "problems": verified.problems,
    })
}
