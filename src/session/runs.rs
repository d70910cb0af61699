//! The rows of `findings`: what runs of detections kept, a row for each finding of each run.

use std::io::Read;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use datafusion::common::{DataFusionError, Result};
use flate2::read::GzDecoder;
use serde_json::Value;

/// When it ran, what the detection looked at since the run before, then the keys of a finding; `evidence` is JSON text.
const COLUMNS: [(&str, Kind); 28] = [
    ("run_at", Kind::OfRun),
    ("window_from", Kind::OfDetection("from")),
    ("window_to", Kind::OfDetection("to")),
    ("status", Kind::Text),
    ("opened_at", Kind::Time),
    ("resolution", Kind::Text),
    ("fingerprint", Kind::Text),
    ("detection", Kind::Text),
    ("severity", Kind::Text),
    ("title", Kind::Text),
    ("first_seen", Kind::Time),
    ("last_seen", Kind::Time),
    ("account_id", Kind::Text),
    ("region", Kind::Text),
    ("vpc_id", Kind::Text),
    ("subnet_id", Kind::Text),
    ("interface_id", Kind::Text),
    ("src_addr", Kind::Text),
    ("dst_addr", Kind::Text),
    ("dst_subnet_id", Kind::Text),
    ("dst_port", Kind::Number),
    ("protocol", Kind::Number),
    ("flows", Kind::Number),
    ("packets", Kind::Number),
    ("bytes", Kind::Number),
    ("reason", Kind::Text),
    ("evidence", Kind::Text),
    ("expected_by", Kind::Text),
];

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Time,
    /// The time of the run itself.
    OfRun,
    /// A time of the detection's window in that run.
    OfDetection(&'static str),
}

pub(super) fn schema() -> SchemaRef {
    let fields = COLUMNS.iter().map(|(name, kind)| {
        let data_type = match kind {
            Kind::Text => DataType::Utf8,
            Kind::Number => DataType::Int64,
            Kind::Time | Kind::OfRun | Kind::OfDetection(_) => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
        };
        Field::new(*name, data_type, true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A finding with the run that has it, and the entry of its detection in that run.
struct Row<'r> {
    run: &'r Value,
    ran: &'r Value,
    finding: &'r Value,
}

/// The findings of some runs, which are gzip JSON.
pub(super) fn batch(runs: &[Bytes]) -> Result<RecordBatch> {
    let runs = runs
        .iter()
        .map(|bytes| parse(bytes))
        .collect::<Result<Vec<_>>>()?;
    let mut rows = Vec::new();
    for run in &runs {
        for finding in run["findings"].as_array().into_iter().flatten() {
            let mut ran = run["ran"].as_array().into_iter().flatten();
            let ran = ran.find(|ran| ran["detection"] == finding["detection"]);
            let ran = ran.unwrap_or(&Value::Null);
            rows.push(Row { run, ran, finding });
        }
    }
    let columns = COLUMNS
        .iter()
        .map(|&(name, kind)| column(&rows, name, kind));
    Ok(RecordBatch::try_new(schema(), columns.collect())?)
}

fn parse(bytes: &[u8]) -> Result<Value> {
    let mut text = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut text)?;
    serde_json::from_slice(&text).map_err(|error| DataFusionError::External(Box::new(error)))
}

fn column(rows: &[Row<'_>], name: &str, kind: Kind) -> ArrayRef {
    let times = |of: &dyn Fn(&Row<'_>) -> Option<i64>| -> ArrayRef {
        let times: TimestampMicrosecondArray = rows.iter().map(of).collect();
        Arc::new(times.with_timezone("UTC"))
    };
    match kind {
        Kind::Text => {
            let texts = rows.iter().map(|row| match &row.finding[name] {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            });
            Arc::new(texts.collect::<StringArray>())
        }
        Kind::Number => {
            let numbers = rows.iter().map(|row| row.finding[name].as_i64());
            Arc::new(numbers.collect::<Int64Array>())
        }
        Kind::Time => times(&|row| micros(&row.finding[name])),
        Kind::OfRun => times(&|row| micros(&row.run[name])),
        Kind::OfDetection(end) => times(&|row| micros(&row.ran[end])),
    }
}

fn micros(time: &Value) -> Option<i64> {
    let time: DateTime<Utc> = time.as_str()?.parse().ok()?;
    Some(time.timestamp_micros())
}
