//! Findings in every format.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::Value;

use super::rows::write_rows;
use super::table::{human_bytes, human_count, plain_table};
use super::{FindingsFormat, Format, ReportError, Rule, ocsf, sarif};
use crate::detect::{Finding, finding_keys, life_keys};
use crate::policy::protocol_text;

/// Writes findings, worst first as they come.
///
/// # Errors
/// When the output fails.
pub fn write_findings<W: Write + Send>(
    mut out: W,
    findings: &[Finding],
    rules: &[Rule],
    format: FindingsFormat,
) -> Result<(), ReportError> {
    let format = match format {
        FindingsFormat::Answer(format) => format,
        FindingsFormat::Ocsf => return ocsf::write(out, findings, rules),
        FindingsFormat::Sarif => return sarif::write(out, findings, rules),
    };
    match format {
        Format::Table => {
            write!(out, "{}", table(findings))?;
            out.flush()?;
        }
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, findings)?;
            writeln!(out)?;
            out.flush()?;
        }
        Format::Ndjson => {
            for finding in findings {
                serde_json::to_writer(&mut out, finding)?;
                writeln!(out)?;
            }
            out.flush()?;
        }
        Format::Csv | Format::Parquet => {
            let batch = batch(findings)?;
            write_rows(out, &batch.schema(), &[batch], format)?;
        }
    }
    Ok(())
}

/// The keys of the contract as columns; evidence is JSON text.
fn batch(findings: &[Finding]) -> Result<RecordBatch, ReportError> {
    let rows = findings
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<Vec<_>, _>>()?;
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    let with_life = findings.iter().any(|finding| finding.life.is_some());
    let life = life_keys().into_iter().filter(|_| with_life);
    for key in finding_keys().into_iter().chain(life) {
        if matches!(key, "dst_port" | "protocol" | "flows" | "packets" | "bytes") {
            fields.push(Field::new(key, DataType::Int64, true));
            columns.push(Arc::new(
                rows.iter()
                    .map(|row| row[key].as_i64())
                    .collect::<Int64Array>(),
            ));
        } else {
            fields.push(Field::new(key, DataType::Utf8, true));
            let text = |row: &Value| match &row[key] {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            columns.push(Arc::new(rows.iter().map(text).collect::<StringArray>()));
        }
    }
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

/// One table for each detection, in the order of their worst findings.
fn table(findings: &[Finding]) -> String {
    let mut ids: Vec<&str> = Vec::new();
    for finding in findings {
        if !ids.contains(&finding.detection.as_str()) {
            ids.push(&finding.detection);
        }
    }
    let mut text = String::new();
    for id in ids {
        let of_detection: Vec<&Finding> = findings
            .iter()
            .filter(|finding| finding.detection == id)
            .collect();
        let title = of_detection
            .first()
            .map_or("", |finding| finding.title.as_str());
        text.push_str(&format!("{title} ({id}): {}\n", of_detection.len()));
        let table = if of_detection.iter().all(|finding| is_of_design(finding)) {
            let rows = of_detection.iter().map(|finding| design_row(finding));
            plain_table(&["severity", "seen", "where", "what"], &[], rows)
        } else {
            let header = [
                "severity",
                "first seen",
                "client",
                "server",
                "service",
                "flows",
                "bytes",
                "what",
            ];
            let rows = of_detection.iter().map(|finding| row(finding));
            plain_table(&header, &["flows", "bytes"], rows)
        };
        text.push_str(&table);
        text.push_str("\n\n");
    }
    text
}

/// True for a finding about the network itself: nobody sent anything to anybody.
fn is_of_design(finding: &Finding) -> bool {
    finding.flows.is_none()
        && finding.protocol.is_none()
        && finding.src_addr.is_none()
        && finding.dst_addr.is_none()
}

fn design_row(finding: &Finding) -> Vec<String> {
    let place = [&finding.interface_id, &finding.subnet_id, &finding.vpc_id];
    vec![
        rated(finding),
        seen(finding),
        known(&place[..]),
        what(finding),
    ]
}

/// The severity, and where the finding stands.
fn rated(finding: &Finding) -> String {
    match &finding.life {
        Some(life) => format!("{}\n{}", finding.severity, life.status.as_str()),
        None => finding.severity.to_string(),
    }
}

fn known(texts: &[&Option<String>]) -> String {
    let known: Vec<&str> = texts.iter().filter_map(|text| text.as_deref()).collect();
    if known.is_empty() {
        "-".to_owned()
    } else {
        known.join("\n")
    }
}

fn seen(finding: &Finding) -> String {
    finding
        .first_seen
        .clone()
        .unwrap_or_default()
        .replace('T', " ")
}

/// The sentence, what to do, and why the owner expects it.
fn what(finding: &Finding) -> String {
    let mut what = finding.reason.clone().unwrap_or_default();
    if let Some(advice) = finding.evidence.get("advice").and_then(Value::as_str) {
        what.push_str("\n→ ");
        what.push_str(advice);
    }
    if let Some(resolution) = finding
        .life
        .as_ref()
        .and_then(|life| life.resolution.as_ref())
    {
        what.push('\n');
        what.push_str(resolution);
    }
    if let Some(reason) = &finding.expected_by {
        what.push_str("\nexpected: ");
        what.push_str(reason);
    }
    what
}

fn row(finding: &Finding) -> Vec<String> {
    let service = match (finding.dst_port, finding.protocol) {
        (Some(port), Some(protocol)) => format!("{port}/{}", protocol_text(protocol)),
        (None, Some(protocol)) => protocol_text(protocol),
        _ => "-".to_owned(),
    };
    let count = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    vec![
        rated(finding),
        seen(finding),
        // For a spike the ids are the refusing side's, which is the server's for what comes in.
        known(&if finding.evidence.contains_key("window_from") {
            [&finding.src_addr, &None, &None]
        } else {
            [&finding.src_addr, &finding.interface_id, &finding.subnet_id]
        }),
        known(&if finding.evidence.contains_key("window_from") {
            [&finding.dst_addr, &finding.interface_id, &finding.subnet_id]
        } else {
            [&finding.dst_addr, &finding.dst_subnet_id, &None]
        }),
        service,
        count(finding.flows).map(human_count).unwrap_or_default(),
        count(finding.bytes).map(human_bytes).unwrap_or_default(),
        what(finding),
    ]
}
