//! Runs a detection over a session and makes findings of its rows.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use chrono::{DateTime, Days, Utc};
use datafusion::common::ScalarValue;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::cite::cite;
use super::{DetectError, Detection, Finding, Severity};
use crate::session::{Session, timestamp_scalar};

/// The time that a detection looks at: flows that overlap `from..to`, and a baseline of days before `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The window's start.
    pub from: DateTime<Utc>,
    /// Its end, exclusive.
    pub to: DateTime<Utc>,
}

/// What a detection found.
#[derive(Debug)]
pub struct Detected {
    /// Worst first, then by time.
    pub findings: Vec<Finding>,
}

/// Runs one detection. `parameters` are values for its named parameters as typed; names that it does not have are passed over
/// (a caller that runs several checks them against all).
///
/// # Errors
/// When a value is of the wrong kind, the query fails, or a column can't be part of a finding.
pub async fn run(
    session: &Session,
    detection: &Detection,
    window: Window,
    parameters: &BTreeMap<String, String>,
) -> Result<Detected, DetectError> {
    let mut values = Vec::new();
    let mut baseline_days = 0;
    for parameter in &detection.parameters {
        let value = match parameters.get(&parameter.name) {
            Some(text) => parameter.default.parse_like(&parameter.name, text)?,
            None => parameter.default.clone(),
        };
        if parameter.name == "baseline_days"
            && let super::ParameterValue::Integer(days) = value
        {
            baseline_days = u64::try_from(days).unwrap_or(0);
        }
        values.push((parameter.name.clone(), value.to_scalar()));
    }
    let baseline_from = window
        .from
        .checked_sub_days(Days::new(baseline_days))
        .unwrap_or(DateTime::<Utc>::MIN_UTC);
    values.push(("from".to_owned(), timestamp_scalar(window.from)));
    values.push(("to".to_owned(), timestamp_scalar(window.to)));
    values.push(("baseline_from".to_owned(), timestamp_scalar(baseline_from)));
    let rows = query(session, &detection.sql, values)
        .await
        .map_err(|source| DetectError::Query {
            id: detection.id.clone(),
            source: Box::new(source),
        })?;
    let mut findings = Vec::new();
    for batch in &rows {
        for row in json_rows(batch).map_err(|source| DetectError::Query {
            id: detection.id.clone(),
            source: Box::new(source.into()),
        })? {
            let mut finding = finding(detection, row)?;
            cite(&mut finding, session.history());
            findings.push(finding);
        }
    }
    findings.sort_by(|a, b| {
        b.severity
            .cmp(&a.severity)
            .then_with(|| a.first_seen.cmp(&b.first_seen))
            .then_with(|| a.fingerprint.cmp(&b.fingerprint))
    });
    Ok(Detected { findings })
}

/// Runs a query with those of the values that it names.
async fn query(
    session: &Session,
    sql: &str,
    values: Vec<(String, ScalarValue)>,
) -> Result<Vec<RecordBatch>, crate::session::SessionError> {
    Box::pin(session.query(sql, values)).await
}

/// The rows of a batch as JSON objects, nulls included; times as RFC 3339.
fn json_rows(batch: &RecordBatch) -> Result<Vec<Map<String, Value>>, arrow::error::ArrowError> {
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::JsonArray>(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    let text = writer.into_inner();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&text)
        .map_err(|error| arrow::error::ArrowError::JsonError(error.to_string()))
}

fn finding(detection: &Detection, mut row: Map<String, Value>) -> Result<Finding, DetectError> {
    let wrong = |column: &str, detail: String| DetectError::Column {
        id: detection.id.clone(),
        column: column.to_owned(),
        detail,
    };
    let mut text = |key: &str| match row.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(wrong(key, format!("expected text, got `{other}`"))),
    };
    let severity = match text("severity")? {
        Some(word) => word
            .parse::<Severity>()
            .map_err(|detail| wrong("severity", detail))?,
        None => detection.severity,
    };
    let title = text("title")?.unwrap_or_else(|| detection.title.clone());
    let (first_seen, last_seen) = (text("first_seen")?, text("last_seen")?);
    let (account_id, region, vpc_id) = (text("account_id")?, text("region")?, text("vpc_id")?);
    let (subnet_id, interface_id, dst_subnet_id) = (
        text("subnet_id")?,
        text("interface_id")?,
        text("dst_subnet_id")?,
    );
    let (src_addr, dst_addr) = (text("src_addr")?, text("dst_addr")?);
    let (reason, expected_by) = (text("reason")?, text("expected_by")?);
    let mut number = |key: &str| match row.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64() {
            Some(number) => Ok(Some(number)),
            None => Err(wrong(
                key,
                format!("expected a whole number, got `{value}`"),
            )),
        },
    };
    let (dst_port, protocol) = (number("dst_port")?, number("protocol")?);
    let (flows, packets, bytes) = (number("flows")?, number("packets")?, number("bytes")?);
    let evidence = match row.remove("evidence") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(evidence)) => evidence,
        Some(other) => {
            return Err(wrong(
                "evidence",
                format!("expected a struct, got `{other}`"),
            ));
        }
    };
    // What a detection of the user's own adds is not lost.
    let evidence = evidence.into_iter().chain(row).collect();
    let mut finding = Finding {
        fingerprint: String::new(),
        detection: detection.id.clone(),
        severity,
        title,
        first_seen,
        last_seen,
        account_id,
        region,
        vpc_id,
        subnet_id,
        interface_id,
        src_addr,
        dst_addr,
        dst_subnet_id,
        dst_port,
        protocol,
        flows,
        packets,
        bytes,
        reason,
        evidence,
        expected_by,
        life: None,
    };
    finding.fingerprint = fingerprint(detection, &finding);
    Ok(finding)
}

/// What a finding is about where its detection doesn't say.
const DEFAULT_KEY: [&str; 10] = [
    "account_id",
    "region",
    "vpc_id",
    "subnet_id",
    "interface_id",
    "src_addr",
    "dst_addr",
    "dst_subnet_id",
    "dst_port",
    "protocol",
];

/// A hash of the detection's id and of the values of its finding key, which no run changes. What the policy expects is told apart
/// from what it does not.
fn fingerprint(detection: &Detection, finding: &Finding) -> String {
    let Ok(Value::Object(values)) = serde_json::to_value(finding) else {
        return String::new();
    };
    let mut hash = Sha256::new();
    hash.update(detection.id.as_bytes());
    let default = DEFAULT_KEY.map(str::to_owned);
    let key = if detection.finding_key.is_empty() {
        &default[..]
    } else {
        &detection.finding_key
    };
    for name in key {
        // `a|b` is the first of the two that is known.
        let value = name.split('|').map(|name| match name.split_once('.') {
            Some(("evidence", inner)) => finding.evidence.get(inner),
            _ => values.get(name),
        });
        let value = value.flatten().find(|value| !value.is_null());
        hash.update([0]);
        hash.update(name.as_bytes());
        hash.update(value.unwrap_or(&Value::Null).to_string().as_bytes());
    }
    if let Some(reason) = &finding.expected_by {
        hash.update([1]);
        hash.update(reason.as_bytes());
    }
    hash.finalize()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
