//! `ingest`: flow logs into a lake; and the part that `analyze` shares.

use std::sync::Arc;

use anyhow::{anyhow, bail};
use chrono::{DateTime, Utc};
use clap::Args;

use super::Outcome;
use super::args::{LakeArgs, SourceArgs};
use super::printer::Printer;
use super::progress::Bar;
use super::time::TimeArg;
use crate::ingest::{Ingest, IngestSummary};
use crate::lake::{Lake, LakeUri};
use crate::report::{human_bytes, human_count};
use crate::source::{Location, Selection, Source};

/// Bring flow logs into a lake.
///
/// What is in is not read again: running the same ingest twice adds nothing.
#[derive(Debug, Args)]
pub(super) struct IngestArgs {
    /// Where the logs are: s3://bucket/prefix, a folder, a file, or `-`
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<String>,
    #[command(flatten)]
    lake: LakeArgs,
    /// Only objects that can hold flows from this time on: RFC 3339, a date, or a duration back from now
    #[arg(long, value_name = "T", value_parser = TimeArg::parse)]
    from: Option<TimeArg>,
    /// Only objects that can hold flows before this time
    #[arg(long, value_name = "T", value_parser = TimeArg::parse)]
    to: Option<TimeArg>,
    #[command(flatten)]
    source: SourceArgs,
}

pub(super) async fn run(args: IngestArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    let now = Utc::now();
    let opened = open(
        &args.sources,
        &args.source,
        args.from.map(|time| time.at(now)),
        args.to.map(|time| time.at(now)),
    )
    .await?;
    let lake = Lake::open_or_create(&LakeUri::parse(&args.lake.lake)?).await?;
    let summary = into_lake(&lake, opened, &args.source, printer).await?;
    summarize(&summary, printer);
    refuse_nothing(&args.sources, &summary)?;
    Ok(Outcome::Done)
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
    let mut ingest = Ingest::new(lake.clone());
    if let Some(log_format) = &args.log_format {
        ingest = ingest.with_log_format(log_format.clone());
    }
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
