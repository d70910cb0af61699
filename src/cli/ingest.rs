//! `ingest`: flow logs into a lake; and the part that `analyze` shares.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, bail};
use chrono::{DateTime, Utc};
use clap::Args;

use super::Outcome;
use super::args::{LakeArgs, SourceArgs};
use super::printer::Printer;
use super::progress::Bar;
use super::signals::stoppable;
use super::time::TimeArg;
use crate::ingest::{Ingest, IngestSummary, Inputs, Limits, Pace, QueueInput, Stop, stopper};
use crate::lake::{Lake, LakeUri};
use crate::report::{human_bytes, human_count};
use crate::source::queue::{Queue, QueueUrl};
use crate::source::{Location, Selection, Source, SourceError};
use crate::telemetry;

/// Bring flow logs into a lake.
///
/// What is in is not read again: running the same ingest twice adds nothing.
#[derive(Debug, Args)]
pub(super) struct IngestArgs {
    /// Where the logs are: s3://bucket/prefix, a folder, a file, `-`, or the URL of an SQS queue that tells of them
    #[arg(required_unless_present = "retry", value_name = "SOURCE")]
    sources: Vec<String>,
    #[command(flatten)]
    lake: LakeArgs,
    /// Only objects that can hold flows from this time on: RFC 3339, a date, or a duration back from now
    #[arg(long, value_name = "T", value_parser = TimeArg::parse)]
    from: Option<TimeArg>,
    /// Only objects that can hold flows before this time
    #[arg(long, value_name = "T", value_parser = TimeArg::parse)]
    to: Option<TimeArg>,
    /// Try again what was set aside: of the sources, or without any of the whole lake
    #[arg(long)]
    retry: bool,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    following: FollowArgs,
}

impl IngestArgs {
    pub(super) fn is_following(&self) -> bool {
        self.following.follow
    }
}

/// How to go on.
#[derive(Debug, Args)]
#[command(next_help_heading = "Following")]
struct FollowArgs {
    /// Go on for ever: list buckets and folders again and again, wait for the messages of queues. SIGINT or SIGTERM ends it in order
    #[arg(long)]
    follow: bool,
    /// How often to list
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration, requires = "follow")]
    poll: Duration,
    /// The days to list each time: those that began so long ago or later
    #[arg(long, value_name = "DURATION", default_value = "3d", value_parser = duration, requires = "follow")]
    look_back: Duration,
    /// How often to list everything, beside once at the start
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = duration, requires = "follow")]
    sweep: Duration,
    /// How long to bear credentials that are not accepted, and a wrong clock
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration, requires = "follow")]
    patience: Duration,
    /// Commit at the latest when an object has waited so long [default: 30s with --follow, else when a batch is full]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    commit_every: Option<Duration>,
    /// A bucket, or bucket/prefix, that a queue may speak of, beside the sources (repeatable): nothing is fetched from others
    #[arg(long, value_name = "BUCKET[/PREFIX]")]
    bucket: Vec<String>,
    /// For how long a message of a queue is kept from others; it is prolonged while its objects are on their way
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    visibility: Duration,
    /// Offer numbers to Prometheus at http://ADDRESS/metrics
    #[arg(long, value_name = "ADDRESS", env = "FLOWSCOUT_METRICS_LISTEN")]
    metrics_listen: Option<SocketAddr>,
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration >= Duration::from_secs(1) => Ok(duration),
        _ => Err(format!(
            "expected a duration of a second or more, such as `60s` or `3d`, got `{text}`"
        )),
    }
}

pub(super) async fn run(args: IngestArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    let (stopper, stop) = stopper();
    stoppable(ingest(args, stop, printer), &stopper, printer).await
}

async fn ingest(args: IngestArgs, stop: Stop, printer: &Printer) -> anyhow::Result<Outcome> {
    let now = Utc::now();
    let following = &args.following;
    if let Some(address) = following.metrics_listen {
        telemetry::listen(address)?;
    }
    let (queues, places) = queues_and_places(&args.sources)?;
    if following.follow && places.iter().any(|place| place == "-") {
        bail!("standard input can't be followed: it ends");
    }
    let times = (
        args.from.map(|time| time.at(now)),
        args.to.map(|time| time.at(now)),
    );
    let sources = open(&places, &args.source, times.0, times.1).await?;
    let queues = open_queues(queues, &sources, &args, times).await?;
    let lake = Lake::open_or_create(&LakeUri::parse(&args.lake.lake)?).await?;
    let sources = if args.sources.is_empty() {
        set_aside(&lake, &args.source, printer).await?
    } else {
        sources
    };
    let mut ingest = of_args(&lake, &args.source)
        .with_stop(stop.clone())
        .with_limits(Limits {
            commit_every: following
                .commit_every
                .or(following.follow.then_some(COMMIT_EVERY)),
            ..Limits::default()
        });
    if args.retry {
        ingest = ingest.with_retry();
    }
    let inputs = Inputs { sources, queues };
    if following.follow {
        let pace = Pace {
            poll: following.poll,
            look_back: following.look_back,
            sweep: following.sweep,
            patience: following.patience,
        };
        tracing::info!(sources = %args.sources.join(" "), lake = %lake.uri(), "following");
        let summary = ingest.follow(inputs, pace, &()).await?;
        summarize(&summary, printer);
        return Ok(Outcome::Done);
    }
    let has_queue = !inputs.queues.is_empty();
    let bar = Arc::new(Bar::new(printer.progress()));
    let summary = ingest.run_once(inputs, bar.as_ref()).await;
    bar.finish();
    let summary = summary?;
    summarize(&summary, printer);
    if stop.is_asked_for() {
        bail!(
            "interrupted; what was read until then is in the lake, and the same ingest reads the rest"
        );
    }
    // An empty queue is a good sign, and so is nothing to retry.
    if !has_queue && !args.sources.is_empty() {
        refuse_nothing(&args.sources, &summary)?;
    }
    Ok(Outcome::Done)
}

/// How long an object waits for others while following: rows are in soon, and files are not too small.
const COMMIT_EVERY: Duration = Duration::from_secs(30);

/// Tells the URLs of queues from all other sources.
fn queues_and_places(sources: &[String]) -> Result<(Vec<QueueUrl>, Vec<String>), SourceError> {
    let (mut queues, mut places) = (Vec::new(), Vec::new());
    for source in sources {
        match QueueUrl::parse(source) {
            Some(url) => queues.push(url?),
            None => places.push(source.clone()),
        }
    }
    Ok((queues, places))
}

/// Queues, each with the buckets that it may speak of.
async fn open_queues(
    urls: Vec<QueueUrl>,
    sources: &[(Source, Selection)],
    args: &IngestArgs,
    (from, to): (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
) -> anyhow::Result<Vec<QueueInput>> {
    if urls.is_empty() {
        return Ok(Vec::new());
    }
    let named: Vec<String> = args
        .following
        .bucket
        .iter()
        .map(|bucket| match bucket.split_once("://") {
            Some(_) => bucket.clone(),
            None => format!("s3://{bucket}"),
        })
        .collect();
    let is_bucket = |source: &Source| source.describe().starts_with("s3://");
    let mut allowed: Vec<Source> = sources
        .iter()
        .map(|(source, _)| source.clone())
        .filter(is_bucket)
        .collect();
    let mut selection = Selection::default();
    for (source, of_source) in open(&named, &args.source, from, to).await? {
        allowed.push(source);
        selection = of_source;
    }
    if let Some((_, of_source)) = sources.first() {
        selection = of_source.clone();
    }
    if allowed.is_empty() {
        bail!(
            "say which buckets the queue may speak of, with `--bucket NAME` (or a source `s3://NAME`): nothing is fetched from others"
        );
    }
    let mut queues = Vec::new();
    for url in urls {
        queues.push(QueueInput {
            queue: Queue::open(url, &args.source.s3_settings()).await?,
            sources: allowed.clone(),
            selection: selection.clone(),
            visibility: args.following.visibility,
        });
    }
    Ok(queues)
}

/// All that the lake has set aside, each object as a source of its own.
async fn set_aside(
    lake: &Lake,
    args: &SourceArgs,
    printer: &Printer,
) -> anyhow::Result<Vec<(Source, Selection)>> {
    let mut sources = Vec::new();
    for (key, _) in lake.info().await?.set_aside {
        let opened = match Location::parse(&key) {
            Ok(location) => Source::open(location, &args.s3_settings()).await,
            Err(error) => Err(error),
        };
        match opened {
            Ok(source) => sources.push((source, Selection::default())),
            // It came through a pipe, or is gone.
            Err(error @ SourceError::Path { .. }) => {
                printer.warn(&format!("`{key}`: not tried again: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(sources)
}

/// With what the arguments of every source say.
fn of_args(lake: &Lake, args: &SourceArgs) -> Ingest {
    let ingest = Ingest::new(lake.clone());
    match &args.log_format {
        Some(log_format) => ingest.with_log_format(log_format.clone()),
        None => ingest,
    }
}

/// Opens every source, before anything is written.
pub(super) async fn open(
    sources: &[String],
    args: &SourceArgs,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
) -> anyhow::Result<Vec<(Source, Selection)>> {
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        bail!(
            "the time range is empty: it would run from {} to {}",
            from.to_rfc3339(),
            to.to_rfc3339()
        );
    }
    let selection = Selection {
        from,
        to,
        accounts: args.account.clone(),
        regions: args.region.clone(),
    };
    let mut opened = Vec::new();
    for text in sources {
        let source = Source::open(Location::parse(text)?, &args.s3_settings()).await?;
        opened.push((source, selection.clone()));
    }
    Ok(opened)
}

/// Reads all that the lake does not have yet.
pub(super) async fn into_lake(
    lake: &Lake,
    sources: Vec<(Source, Selection)>,
    args: &SourceArgs,
    printer: &Printer,
) -> anyhow::Result<IngestSummary> {
    let ingest = of_args(lake, args);
    let bar = Arc::new(Bar::new(printer.progress()));
    let summary = ingest.run(sources, bar.as_ref()).await;
    bar.finish();
    Ok(summary?)
}

/// Objects, rows, bad lines, skipped, bytes, seconds; then what a reader must know, a line each.
pub(super) fn summarize(summary: &IngestSummary, printer: &Printer) {
    let skipped: u64 = summary.skipped.values().sum();
    let mut line = format!(
        "read {} objects: {} rows, {} NODATA, {} SKIPDATA, {} bad lines; {} skipped",
        human_count(summary.objects),
        human_count(summary.rows),
        human_count(summary.nodata),
        human_count(summary.skipdata),
        human_count(summary.bad_lines),
        human_count(skipped),
    );
    for (count, what) in [
        (summary.set_aside.count(), "set aside"),
        (summary.deferred.count(), "deferred"),
        (summary.already_in, "already in"),
        (summary.known_bad, "known to be unreadable"),
        (summary.changed.count(), "changed since they were read"),
    ] {
        if count > 0 {
            line.push_str(&format!(", {} {what}", human_count(count)));
        }
    }
    line.push_str(&format!(
        "; {} in {:.1} s",
        human_bytes(summary.bytes_fetched),
        summary.seconds
    ));
    printer.say(&line);
    let messages = &summary.messages;
    let strange = messages.not_understood.count();
    if messages.deleted + messages.returned + strange > 0 {
        printer.say(&format!(
            "messages: {} deleted, {} returned, {} not understood",
            human_count(messages.deleted),
            human_count(messages.returned),
            human_count(strange)
        ));
    }
    let (verbose, _) = printer.verbosity();
    if verbose > 0 {
        for (reason, count) in &summary.skipped {
            printer.say(&format!("skipped {}: {reason}", human_count(*count)));
        }
    }
    let shown = if verbose > 0 { usize::MAX } else { 5 };
    for (notes, what) in [
        (&summary.set_aside, "set aside"),
        (
            &summary.deferred,
            "could not be fetched this time, the next run tries again",
        ),
        (
            &summary.changed,
            "changed since it was read, not read again",
        ),
        (
            &messages.not_understood,
            "message left for the dead-letter queue",
        ),
    ] {
        for (key, reason) in notes.named().iter().take(shown) {
            printer.warn(&format!("`{key}`: {what}: {reason}"));
        }
        let more = notes.count().saturating_sub(shown as u64);
        if more > 0 {
            printer.warn(&format!(
                "{} more objects: {what} (-v names them)",
                human_count(more)
            ));
        }
    }
}

/// Fails where not one object could be read: a run over the wrong folder must not look like a quiet network.
pub(super) fn refuse_nothing(sources: &[String], summary: &IngestSummary) -> anyhow::Result<()> {
    if summary.objects + summary.already_in + summary.changed.count() > 0 {
        return Ok(());
    }
    let place = sources
        .iter()
        .map(|source| format!("`{source}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if let Some((key, reason)) = summary
        .set_aside
        .named()
        .first()
        .or_else(|| summary.deferred.named().first())
    {
        let others = match summary.set_aside.count() + summary.deferred.count() {
            0 | 1 => String::new(),
            count => format!(", and {} more could not be read either", count - 1),
        };
        bail!("`{key}`: {reason}{others}");
    }
    if summary.known_bad > 0 {
        bail!(
            "{place}: nothing new; {} objects could not be read by an earlier run and have not changed",
            summary.known_bad
        );
    }
    match summary.skipped.first_key_value() {
        Some((reason, _)) if summary.skipped.len() == 1 => {
            bail!("{place} holds no flow logs: {reason}")
        }
        Some(_) => {
            let reasons: Vec<String> = summary
                .skipped
                .iter()
                .map(|(reason, count)| format!("{count} × {reason}"))
                .collect();
            bail!("{place} holds no flow logs: {}", reasons.join("; "))
        }
        None => Err(anyhow!(
            "{place}: there are no objects to read{}",
            if summary.listed == 0 {
                " (the path is empty, or --from, --to, --account and --region leave nothing)"
            } else {
                ""
            }
        )),
    }
}
