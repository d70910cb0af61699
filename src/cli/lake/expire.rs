//! `lake expire`: old days out of the table.

use chrono::Utc;
use clap::Args;
use serde_json::{Value, json};

use crate::cli::Outcome;
use crate::cli::args::LakeArgs;
use crate::cli::printer::Printer;
use crate::cli::time::TimeArg;
use crate::lake::{Expire, Expired, Mode};
use crate::report::{human_bytes, human_count};

#[derive(Debug, Args)]
pub(in crate::cli) struct ExpireArgs {
    #[command(flatten)]
    lake: LakeArgs,
    /// Days before this one, in UTC: a duration back from now, or a date
    #[arg(long, value_name = "T", value_parser = TimeArg::parse)]
    older_than: TimeArg,
    /// Also rows without a date, if they were written before that day
    #[arg(long)]
    undated: bool,
    /// Only say what would expire
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: ExpireArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    let mode = super::mode(args.dry_run);
    let lake = super::open(&args.lake, mode).await?;
    let expire = Expire {
        before: args.older_than.at(Utc::now()).date_naive(),
        undated: args.undated,
        mode,
    };
    let expired = lake.expire(&expire).await?;
    super::print(
        printer,
        || table(&expired, &expire),
        &as_json(&expired, &expire),
    )?;
    Ok(Outcome::Done)
}

fn table(expired: &Expired, expire: &Expire) -> String {
    if expired.files == 0 {
        return format!("No rows are older than {}.\n", expire.before);
    }
    let mut text = String::new();
    for date in &expired.dates {
        match date {
            Some(date) => text.push_str(&format!("{date}\n")),
            None => text.push_str("without a date\n"),
        }
    }
    let what = match expire.mode {
        Mode::DryRun => "would expire",
        Mode::Apply => "have expired",
    };
    text.push_str(&format!(
        "\n{} rows in {} files ({}) {what}.\n",
        human_count(expired.rows),
        human_count(expired.files),
        human_bytes(expired.bytes)
    ));
    text
}

fn as_json(expired: &Expired, expire: &Expire) -> Value {
    json!({
        "dry_run": expire.mode == Mode::DryRun,
        "before": expire.before,
        "dates": expired.dates,
        "files": expired.files,
        "bytes": expired.bytes,
        "rows": expired.rows,
    })
}
