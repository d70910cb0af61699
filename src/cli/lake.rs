//! `lake`: what it holds, and its care.

mod compact;
mod expire;
mod info;
mod vacuum;
mod verify;

use clap::Subcommand;
use serde_json::Value;

use super::Outcome;
use super::args::{GlobalArgs, LakeArgs};
use super::printer::Printer;
use crate::lake::{Lake, LakeError, LakeUri, Mode};
use crate::report::Format;
use crate::source::S3Settings;

/// Look after a lake.
#[derive(Debug, Subcommand)]
pub(super) enum LakeCommand {
    /// What a lake holds: rows, files, days, objects, what is set aside and why
    Info {
        #[command(flatten)]
        lake: LakeArgs,
    },
    /// Check that every row is accounted for; exits with 2 if something is wrong
    ///
    /// Objects say how many rows they gave, files how many they have, and together with the rows that have expired both must agree.
    /// Files must be there with the sizes that the log says, and no object may be in twice.
    Verify(verify::VerifyArgs),
    /// Make few files of many small ones, day by day, with the same rows
    ///
    /// Safe at any time, beside ingest, readers and other compactions: each group of files is replaced in one commit that lands only if
    /// all of them are still in. Readers of older versions keep reading, for the old files stay until `lake vacuum`. Ends with a
    /// checkpoint of the log if ten commits have come since the last.
    Compact(compact::CompactArgs),
    /// Delete files that nobody needs any more
    ///
    /// Files that were replaced or have expired, and what killed writers left behind. Also writes a checkpoint of the log if ten
    /// commits have come since the last, and deletes entries of the log older than 30 days behind it. In a bucket, add a lifecycle rule
    /// that aborts incomplete multipart uploads after a day: they show in no listing.
    Vacuum(vacuum::VacuumArgs),
    /// Take old days out of the table, in one commit
    ///
    /// Their objects stay known, so that they are not ingested again. The files are deleted by a later `lake vacuum`.
    Expire(expire::ExpireArgs),
}

pub(super) async fn run(
    command: LakeCommand,
    _global: &GlobalArgs,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    match command {
        LakeCommand::Info { lake } => info::run(&lake, printer).await,
        LakeCommand::Verify(args) => verify::run(args, printer).await,
        LakeCommand::Compact(args) => compact::run(args, printer).await,
        LakeCommand::Vacuum(args) => vacuum::run(args, printer).await,
        LakeCommand::Expire(args) => expire::run(args, printer).await,
    }
}

/// Opens a lake to look only, or to change it.
async fn open(lake: &LakeArgs, mode: Mode) -> anyhow::Result<Lake> {
    let uri = LakeUri::parse(&lake.lake)?;
    let settings = S3Settings::default();
    let opened: Result<Lake, LakeError> = match mode {
        Mode::DryRun => Lake::open_with(&uri, &settings).await,
        Mode::Apply => Lake::open_for_care(&uri, &settings).await,
    };
    Ok(opened?)
}

fn mode(dry_run: bool) -> Mode {
    if dry_run { Mode::DryRun } else { Mode::Apply }
}

/// One answer: for a reader, or as one JSON object.
fn print(printer: &Printer, table: impl FnOnce() -> String, json: &Value) -> anyhow::Result<()> {
    let text = match printer.format() {
        Format::Table => table(),
        Format::Json => format!("{json:#}\n"),
        _ => format!("{json}\n"),
    };
    Ok(printer.data(text.as_bytes())?)
}
