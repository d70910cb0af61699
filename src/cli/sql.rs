//! `sql`: one statement over a lake or straight over raw logs.

use std::collections::HashSet;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use chrono::Utc;
use clap::Args;
use datafusion::common::ScalarValue;
use futures::TryStreamExt;

use super::args::{GlobalArgs, LakeArgs, NetworkArgs, SourceArgs, key_value};
use super::printer::Printer;
use super::{Outcome, knowledge};
use crate::lake::{Lake, LakeUri};
use crate::policy::Policy;
use crate::report::RowWriter;
use crate::session::{self, RawLogs, Session, SessionError, timestamp_scalar};
use crate::source::{Listed, Location, Selection, Source};

use super::time::TimeArg;

/// Run a SQL statement over a lake or straight over raw logs.
#[derive(Debug, Args)]
pub(super) struct SqlArgs {
    /// The statement; it only reads [default: from --file, else from standard input]
    #[arg(value_name = "SELECT")]
    statement: Option<String>,
    /// A file with the statement
    #[arg(long, value_name = "FILE", conflicts_with = "statement")]
    file: Option<PathBuf>,
    /// A value for a `$name` of the statement (repeatable): a number, a time, or text
    #[arg(long, value_name = "K=V", value_parser = key_value)]
    param: Vec<(String, String)>,
    #[command(flatten)]
    lake: LakeArgs,
    /// Raw logs instead of a lake: folders, files, s3://bucket/prefix, or `-`
    #[arg(long, value_name = "SOURCE", num_args = 1..)]
    logs: Vec<String>,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

pub(super) async fn run(
    mut args: SqlArgs,
    _global: &GlobalArgs,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    take_statement_from_logs(&mut args);
    let statement = statement(&args)?;
    let settings = knowledge::settings(&args.network.addresses)?;
    let imported = knowledge::import(&args.network.topology, Utc::now(), printer)?;
    let mut raw = None;
    // A copy of standard input, which is there only once; it goes when this function does.
    let spool = tempfile::tempdir()?;
    let session = if args.logs.is_empty() {
        let lake = Lake::open(&LakeUri::parse(&args.lake.lake)?).await?;
        let mut snapshots = match session::may_ask_for_topology(&statement) {
            true => knowledge::snapshots(&lake).await?,
            false => Vec::new(),
        };
        snapshots.extend(imported);
        let knowledge = knowledge::knowledge(snapshots, settings, Policy::default());
        Session::over_snapshot(&lake, lake.snapshot_as_opened().await?, &knowledge)?
    } else {
        let logs = Arc::new(raw_logs(&args, spool.path()).await?);
        let knowledge =
            knowledge::knowledge(imported.into_iter().collect(), settings, Policy::default());
        raw = Some(Arc::clone(&logs));
        Session::over_logs(&logs, &knowledge)?
    };
    let frame = session.plan_typed(&statement, &args.param, value).await?;
    let schema = Arc::clone(frame.schema().inner());
    let mut rows = frame.execute_stream().await.map_err(SessionError::Run)?;
    let mut writer = RowWriter::try_new(printer.out(), &schema, printer.format())?;
    while let Some(batch) = rows.try_next().await.map_err(SessionError::Run)? {
        writer.write(&batch)?;
    }
    writer.finish()?;
    if let Some(logs) = raw {
        tell_unread(&args, &logs, printer)?;
    }
    Ok(Outcome::Done)
}

/// Says which objects gave no rows, and fails where not one was a flow log.
fn tell_unread(args: &SqlArgs, logs: &RawLogs, printer: &Printer) -> anyhow::Result<()> {
    let unread = logs.unread();
    for (key, _, reason) in unread
        .iter()
        .filter(|(_, outcome, _)| *outcome == crate::lake::Outcome::SetAside)
    {
        printer.warn(&format!(
            "`{key}`: set aside, none of its rows are in the answer: {reason}"
        ));
    }
    let mut skipped = unread
        .iter()
        .filter(|(_, outcome, _)| *outcome == crate::lake::Outcome::Skipped);
    let count = skipped.clone().count();
    let Some((key, _, reason)) = skipped.next().or(unread.first()) else {
        return Ok(());
    };
    if unread.len() == logs.len() {
        bail!(
            "{} holds no flow logs: `{key}`: {reason}",
            args.logs.join(", ")
        );
    }
    if count > 0 {
        printer.say(&format!(
            "{count} objects are not flow logs, such as `{key}`: {reason}"
        ));
    }
    Ok(())
}

/// `--logs` takes all that follows: `--logs DIR "SELECT …"` means the statement, not a second source.
fn take_statement_from_logs(args: &mut SqlArgs) {
    const FIRST_WORDS: [&str; 6] = ["select", "with", "show", "explain", "describe", "values"];
    let is_statement = |text: &String| {
        let mut words = text.split_whitespace();
        let first = words.next().unwrap_or_default().to_ascii_lowercase();
        FIRST_WORDS.contains(&first.as_str()) && words.next().is_some() && !Path::new(text).exists()
    };
    if args.statement.is_none() && args.file.is_none() && args.logs.len() > 1 {
        args.statement = args.logs.pop_if(|last| is_statement(last));
    }
}

fn statement(args: &SqlArgs) -> anyhow::Result<String> {
    let text = match (&args.statement, &args.file) {
        (Some(statement), _) => statement.clone(),
        (None, Some(file)) => std::fs::read_to_string(file)
            .with_context(|| format!("cannot read `{}`", file.display()))?,
        (None, None) if std::io::stdin().is_terminal() => {
            bail!("there is no statement: give one, or `--file FILE`")
        }
        (None, None) => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("cannot read the statement from standard input")?;
            text
        }
    };
    if text.trim().is_empty() {
        bail!("the statement is empty");
    }
    Ok(text)
}

/// Lists what the tables will read; nothing is fetched yet.
async fn raw_logs(args: &SqlArgs, spool: &Path) -> anyhow::Result<RawLogs> {
    let selection = Selection {
        from: None,
        to: None,
        accounts: args.source.account.clone(),
        regions: args.source.region.clone(),
    };
    let mut objects = Vec::new();
    let mut known = HashSet::new();
    for text in &args.logs {
        let mut location = Location::parse(text)?;
        let is_stdin = matches!(location, Location::Stdin);
        if is_stdin {
            let path = spool.join("stdin");
            let mut file = std::fs::File::create(&path).context("cannot keep standard input")?;
            std::io::copy(&mut std::io::stdin(), &mut file)
                .context("cannot keep standard input")?;
            location = Location::Path(path);
        }
        let source = Source::open(location, &args.source.s3_settings()).await?;
        let source = Arc::new(source);
        let mut listed = source.list(selection.clone());
        while let Some(found) = listed.try_next().await? {
            // The same object by two ways is read once.
            if let Listed::Object(object) = found
                && known.insert(object.key.clone())
            {
                objects.push((Arc::clone(&source), object));
            }
        }
    }
    if objects.is_empty() {
        bail!("{}: there are no objects to read", args.logs.join(", "));
    }
    Ok(RawLogs::new(objects, args.source.log_format.clone()))
}

/// A value as typed: a whole number, a number, a time, else text.
fn value(text: &str) -> ScalarValue {
    if let Ok(number) = text.parse::<i64>() {
        return ScalarValue::Int64(Some(number));
    }
    if let Ok(number) = text.parse::<f64>() {
        return ScalarValue::Float64(Some(number));
    }
    match TimeArg::parse(text) {
        Ok(time) => timestamp_scalar(time.at(Utc::now())),
        Err(_) => ScalarValue::Utf8View(Some(text.to_owned())),
    }
}
