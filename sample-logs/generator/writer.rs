//! Writes records as AWS delivers them: keys, headers, gzip, Parquet; and a few damaged lines.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use chrono::DateTime;
use flate2::{Compression, GzBuilder};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression as ParquetCompression, GzipLevel};
use parquet::file::properties::WriterProperties;

use super::format::Value;
use super::network::{FlowLog, flow_logs};
use super::recorder::{DAY, FIRST_DAY, HOUR, Record};

pub(crate) fn write(folder: &Path, mut records: Vec<Record>) -> Result<(), Box<dyn Error>> {
    match fs::remove_dir_all(folder.join("AWSLogs")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    records.sort_by_key(|record| (&record.at.id, record.start));
    for flow_log in flow_logs() {
        let created = DateTime::parse_from_rfc3339(&flow_log.created)?.timestamp();
        let is_of = |id: &str| flow_log.resource_id == id;
        let mut objects: BTreeMap<i64, Vec<&Record>> = BTreeMap::new();
        for record in records.iter().filter(|record| record.end >= created) {
            if is_of(&record.at.vpc_id) || is_of(&record.at.subnet_id) {
                let span = hours_per_object(&flow_log) * HOUR;
                objects
                    .entry(record.end - record.end % span + span)
                    .or_default()
                    .push(record);
            }
        }
        for (until, records) in objects {
            let path = folder.join(key(&flow_log, until));
            fs::create_dir_all(path.parent().ok_or("a key has folders")?)?;
            let write = if flow_log.is_parquet { parquet } else { text };
            fs::write(path, write(&flow_log, until, &records)?)?;
        }
    }
    Ok(())
}

/// AWS writes at least one object every five minutes. One for several hours keeps this folder small.
fn hours_per_object(flow_log: &FlowLog) -> i64 {
    match (flow_log.is_parquet, flow_log.is_hive_hourly) {
        (true, _) => 24,
        (_, true) => 6,
        _ => 4,
    }
}

/// The object of what ended before `until`, named for the last five minutes before it.
fn key(flow_log: &FlowLog, until: i64) -> String {
    let slot = DateTime::from_timestamp(until - 300, 0).expect("a time of this century");
    let account = flow_log.account;
    let folder = if flow_log.is_hive_hourly {
        format!(
            "aws-account-id={account}/aws-service=vpcflowlogs/aws-region=us-east-1/year=%Y/month=%m/day=%d/hour=%H"
        )
    } else {
        format!("{account}/vpcflowlogs/us-east-1/%Y/%m/%d")
    };
    let stem = slot
        .format(&format!(
            "{account}_vpcflowlogs_us-east-1_{}_%Y%m%dT%H%MZ",
            flow_log.id
        ))
        .to_string();
    let extension = if flow_log.is_parquet { "parquet" } else { "gz" };
    format!(
        "AWSLogs/{}/{stem}_{:08x}.log.{extension}",
        slot.format(&folder),
        fnv1a(&stem)
    )
}

/// A short hash (FNV-1a), because AWS ends its names with one.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

fn text(flow_log: &FlowLog, until: i64, records: &[&Record]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut lines = vec![flow_log.fields.join(" ")];
    for record in records {
        let values: Vec<_> = flow_log
            .fields
            .iter()
            .map(|field| flow_log.value(field, record).to_text())
            .collect();
        lines.push(values.join(" "));
    }
    // On the second day at noon each flow log ends with a damaged copy of a line.
    if until == FIRST_DAY + DAY + 12 * HOUR {
        let whole = lines
            .iter()
            .find(|line| line.contains(" 5432 "))
            .unwrap_or(&lines[1]);
        lines.push(damaged(whole, flow_log.fields.len()));
    }
    lines.push(String::new());
    let mut writer = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::best());
    writer.write_all(lines.join("\n").as_bytes())?;
    Ok(writer.finish()?)
}

/// A line with a port that is none, cut off, or short of its last field.
fn damaged(line: &str, fields: usize) -> String {
    match fields {
        ..20 => line.replace(" 5432 ", " 75432 "),
        20..30 => line
            .rsplit_once(' ')
            .map_or("", |(rest, _)| rest)
            .to_owned(),
        _ => line.chars().take(40).collect(),
    }
}

/// As AWS's Parquet: its names and types, gzip inside, NULL where a line has `-`.
fn parquet(
    flow_log: &FlowLog,
    _until: i64,
    records: &[&Record],
) -> Result<Vec<u8>, Box<dyn Error>> {
    let column = |field: &String| -> (String, ArrayRef) {
        let values = records.iter().map(|record| flow_log.value(field, record));
        let numbers = values.clone().map(|value| {
            if let Value::Number(number) = value {
                Some(number)
            } else {
                None
            }
        });
        let small =
            |number: i64| i32::try_from(number).expect("ports, protocols and flags are small");
        let array: ArrayRef = match field.as_str() {
            "packets" | "bytes" | "start" | "end" => Arc::new(numbers.collect::<Int64Array>()),
            "version" | "srcport" | "dstport" | "protocol" | "tcp-flags" | "traffic-path" => {
                Arc::new(
                    numbers
                        .map(|number| number.map(small))
                        .collect::<Int32Array>(),
                )
            }
            _ => {
                let texts = values.map(|value| {
                    if let Value::Text(text) = value {
                        Some(text)
                    } else {
                        None
                    }
                });
                Arc::new(texts.collect::<StringArray>())
            }
        };
        (field.replace('-', "_"), array)
    };
    let columns = flow_log
        .fields
        .iter()
        .map(column)
        .map(|(name, array)| (name, array, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns)?;
    let properties = WriterProperties::builder()
        .set_compression(ParquetCompression::GZIP(GzipLevel::default()))
        .set_created_by("flowscout sample logs".to_owned())
        .build();
    let options = ArrowWriterOptions::new()
        .with_properties(properties)
        .with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), batch.schema(), options)?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}
