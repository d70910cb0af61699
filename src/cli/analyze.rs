//! `analyze`: logs in, findings out, in one go.

use anyhow::bail;
use chrono::{DateTime, Days, SubsecRound, TimeDelta, Utc};
use clap::Args;

use super::args::{DetectionArgs, GlobalArgs, NetworkArgs, SourceArgs};
use super::detect::Chosen;
use super::printer::Printer;
use super::time::TimeArg;
use super::{Outcome, ingest, knowledge};
use crate::detect::Window;
use crate::lake::{Lake, LakeUri};
use crate::session::Session;

/// Logs in, findings out: no lake needed.
///
/// Its window is all that it read; with --from, what lies before is the baseline.
#[derive(Debug, Args)]
pub(super) struct AnalyzeArgs {
    /// Where the logs are: s3://bucket/prefix, folders, files, or `-`
    #[arg(required = true, value_name = "LOGS")]
    logs: Vec<String>,
    /// The window's start: RFC 3339, a date, or a duration back from now [default: the first flow]
    #[arg(long, value_name = "T", value_parser = TimeArg::parse)]
    from: Option<TimeArg>,
    /// The window's end, exclusive [default: the last flow]
    #[arg(long, value_name = "T", value_parser = TimeArg::parse)]
    to: Option<TimeArg>,
    /// Keep what is read in this lake [default: a temporary one]
    #[arg(long, value_name = "URI")]
    lake: Option<String>,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    network: NetworkArgs,
    /// Detections to run, by id or group; `all` is every one (repeatable) [default: the group `core`, and your own without a group]
    #[arg(long, value_name = "ID|GROUP", help_heading = "Detections")]
    detect: Vec<String>,
    #[command(flatten)]
    detection: DetectionArgs,
}

/// Records that each finding cites: whoever looks once wants to see them, and a scheduled run over a lake need not pay for them.
const RECORDS: usize = 3;

pub(super) async fn run(
    args: AnalyzeArgs,
    _global: &GlobalArgs,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let now = Utc::now();
    let (from, to) = (
        args.from.map(|time| time.at(now)),
        args.to.map(|time| time.at(now)),
    );
    // Everything typed is checked before the first object is read.
    let chosen = Chosen::new(&args.detect, &args.detection, RECORDS)?;
    let settings = knowledge::settings(&args.network.addresses)?;
    let policy = knowledge::policy(args.detection.policy.as_deref())?;
    chosen.check_policy(&policy, printer);
    let imported = knowledge::import(&args.network.topology, now.trunc_subsecs(0), printer)?;
    let baseline_days = chosen.longest_baseline();
    let oldest = from.and_then(|from| from.checked_sub_days(Days::new(baseline_days)));
    let sources = ingest::open(&args.logs, &args.source, oldest, to).await?;

    // The folder goes when this function does.
    let temporary = tempfile::tempdir()?;
    let uri = match &args.lake {
        Some(uri) => LakeUri::parse(uri)?,
        None => LakeUri::parse(&temporary.path().join("lake").display().to_string())?,
    };
    let lake = Lake::open_or_create(&uri).await?;
    let summary = ingest::into_lake(&lake, sources, &args.source, printer).await?;
    ingest::summarize(&summary, printer);
    ingest::refuse_nothing(&args.logs, &summary)?;
    if let (Some(snapshot), true) = (&imported, args.lake.is_some()) {
        lake.put_topology(
            snapshot.at,
            &snapshot.content_hash(),
            snapshot.to_bytes().into(),
        )
        .await?;
    }
    let mut snapshots = knowledge::snapshots(&lake).await?;
    if args.lake.is_none() {
        snapshots.extend(imported);
    }
    if snapshots.is_empty() {
        printer.warn("there is no topology (--topology): subnets have no class, so traffic between private subnets can't be told");
    }
    let session =
        Session::over_lake(&lake, &knowledge::knowledge(snapshots, settings, policy)).await?;
    let batches: Vec<i64> = summary.batches.iter().map(|batch| batch.batch).collect();
    let Some((first, last)) = read_span(&session, &batches, args.lake.is_some()).await? else {
        printer.warn("the logs hold no flow at all");
        return Ok(Outcome::Done);
    };
    let window = Window {
        from: from.unwrap_or(first),
        to: to.unwrap_or(last + TimeDelta::seconds(1)),
    };
    if window.from >= window.to {
        bail!(
            "no flow lies in the window: the logs run from {} to {}",
            first.to_rfc3339(),
            last.to_rfc3339()
        );
    }
    chosen.run(&session, window, printer).await
}

/// The first start and last end of what this run read; of the whole lake where it read nothing new.
async fn read_span(
    session: &Session,
    batches: &[i64],
    keeps: bool,
) -> anyhow::Result<Option<(DateTime<Utc>, DateTime<Utc>)>> {
    if keeps && !batches.is_empty() {
        let of_run = session.span_of_batches(batches).await?;
        if of_run.is_some() {
            return Ok(of_run);
        }
    }
    Ok(session.span().await?)
}
