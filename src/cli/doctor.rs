//! `doctor`: what a run would need, tried one by one.

use anyhow::bail;
use clap::Args;
use serde_json::json;

use super::Outcome;
use super::args::{LakeArgs, SourceArgs};
use super::printer::Printer;
use crate::doctor::{Diagnosis, Plan, Verdict, examine};
use crate::lake::LakeUri;
use crate::report::{Format, plain_table};
use crate::source::Location;
use crate::source::queue::QueueUrl;

/// Try everything that an ingest needs, and say what is missing.
///
/// It ends with the smallest IAM policy that suffices. Nothing is changed: a probe in the lake is deleted at once, and a message
/// that is looked at stays in its queue. Exits with 2 if something failed.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Where the logs are: s3://bucket/prefix, a folder, a file, or the URL of an SQS queue
    #[arg(value_name = "SOURCE")]
    sources: Vec<String>,
    #[command(flatten)]
    lake: LakeArgs,
    #[command(flatten)]
    source: SourceArgs,
}

pub(super) async fn run(args: DoctorArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    let (mut places, mut queues) = (Vec::new(), Vec::new());
    for text in &args.sources {
        match QueueUrl::parse(text) {
            Some(url) => queues.push(url?),
            None => places.push(Location::parse(text)?),
        }
    }
    let plan = Plan {
        places,
        queues,
        lake: LakeUri::parse(&args.lake.lake)?,
        settings: args.source.s3_settings(),
    };
    let diagnosis = examine(&plan).await;
    printer.data(show(&diagnosis, printer.format())?.as_bytes())?;
    match diagnosis.count(Verdict::Failed) {
        0 => Ok(Outcome::Done),
        1 => bail!("one check failed"),
        failed => bail!("{failed} checks failed"),
    }
}

fn show(diagnosis: &Diagnosis, format: Format) -> anyhow::Result<String> {
    let whole = json!({"checks": diagnosis.checks, "policy": diagnosis.policy});
    Ok(match format {
        Format::Table => table(diagnosis),
        Format::Json => format!("{whole:#}\n"),
        _ => {
            let mut lines = String::new();
            for check in &diagnosis.checks {
                lines.push_str(&serde_json::to_string(check)?);
                lines.push('\n');
            }
            lines
        }
    })
}

fn table(diagnosis: &Diagnosis) -> String {
    let rows = diagnosis.checks.iter().map(|check| {
        vec![
            check.subject.clone(),
            check.check.to_owned(),
            check.result.as_str().to_owned(),
            check.found.clone(),
            check.advice.clone().unwrap_or_default(),
        ]
    });
    let header = ["what", "check", "result", "found", "what to do"];
    let mut text = plain_table(&header, &[], rows);
    if let Some(policy) = &diagnosis.policy {
        text.push_str(&format!(
            "\n\nThis policy suffices (add `kms:Decrypt` on the key where objects are encrypted with KMS):\n{policy:#}"
        ));
    }
    text.push('\n');
    text
}
