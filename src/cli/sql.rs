//! `sql`: one statement over a lake or straight over raw logs.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
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
use crate::report::{ReportError, RowWriter};
use crate::session::{RawLogs, Session, SessionError, timestamp_scalar};
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
    args: SqlArgs,
    _global: &GlobalArgs,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let statement = statement(&args)?;
    let settings = knowledge::settings(&args.network.addresses)?;
    let imported = knowledge::import(&args.network.topology, Utc::now(), printer)?;
    let session = if args.logs.is_empty() {
        let lake = Lake::open(&LakeUri::parse(&args.lake.lake)?).await?;
        let mut snapshots = knowledge::snapshots(&lake).await?;
        snapshots.extend(imported);
        let knowledge = knowledge::knowledge(snapshots, settings, Policy::default());
        Session::over_lake(&lake, &knowledge).await?
    } else {
        let logs = raw_logs(&args).await?;
        let knowledge =
            knowledge::knowledge(imported.into_iter().collect(), settings, Policy::default());
        Session::over_logs(logs, &knowledge)?
    };
    let values = args
        .param
        .iter()
        .map(|(name, text)| (name.clone(), value(text)))
        .collect();
    let frame = session.plan(&statement, values).await?;
    let schema = Arc::clone(frame.schema().inner());
    let mut rows = frame.execute_stream().await.map_err(SessionError::Run)?;
    let mut writer = RowWriter::try_new(printer.out(), &schema, printer.format())?;
    while let Some(batch) = rows.try_next().await.map_err(SessionError::Run)? {
        writer.write(&batch)?;
    }
    writer
        .finish()
        .map_err(ReportError::into)
        .map(|()| Outcome::Done)
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
async fn raw_logs(args: &SqlArgs) -> anyhow::Result<RawLogs> {
    let selection = Selection {
        from: None,
        to: None,
        accounts: args.source.account.clone(),
        regions: args.source.region.clone(),
    };
    let mut objects = Vec::new();
    for text in &args.logs {
        let source =
            Arc::new(Source::open(Location::parse(text)?, &args.source.s3_settings()).await?);
        let mut listed = source.list(selection.clone());
        while let Some(found) = listed.try_next().await? {
            if let Listed::Object(object) = found {
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
