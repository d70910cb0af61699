//! Reading whole objects: other tools' published cases, and properties that hold for any record and any bytes.
//!
//! Where we differ from a peer on purpose:
//!
//! - VRL refuses a format with an unknown field; we keep the field in `extra`, because AWS keeps adding fields.
//! - VRL and the OpenTelemetry Collector refuse the whole input at a line that is too short or too long; here it is one bad line.
//! - The centralized-logging and flowlogs-reader parsers drop NODATA; here it is coverage.
//! - The OpenTelemetry Collector sets the network's source from `pkt-srcaddr` where that differs; both stay columns of their own here.

#![allow(
    clippy::unwrap_used,
    reason = "a test that unwraps fails loudly, as it should"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufReader, Read};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;
use std::path::PathBuf;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType, UInt32Type};
use flowscout::batch::{Decoded, ObjectError, ReadOptions, read_object};
use flowscout::decode::{BadLine, FIELDS, Field, FieldKind, Header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::{Value, json};

type Row = BTreeMap<String, Value>;

/// Other projects' logs, which are not part of this one: where they are, or nothing.
fn fixture(path: &str) -> Option<Vec<u8>> {
    fs::read(crate::harness::fixtures()?.join("logs").join(path)).ok()
}

/// The values that are there, without our own columns; times in seconds, as the peers have them.
fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let value = |array: &ArrayRef, row: usize| match array.data_type() {
        DataType::Utf8 => json!(array.as_string::<i32>().value(row)),
        DataType::Dictionary(..) => {
            let texts = array.as_dictionary::<UInt32Type>();
            let key = texts.key(row).unwrap();
            json!(texts.values().as_string::<i32>().value(key))
        }
        DataType::Int32 => json!(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => json!(array.as_primitive::<Int64Type>().value(row)),
        _ => json!(array.as_primitive::<TimestampMicrosecondType>().value(row) / 1_000_000),
    };
    let schema = batch.schema();
    let row = |row: usize| {
        let columns = schema.fields().iter().zip(batch.columns());
        let there = columns.filter(|(field, array)| {
            array.is_valid(row) && !matches!(field.name().as_str(), "source" | "date" | "line")
        });
        there
            .map(|(field, array)| (field.name().clone(), value(array, row)))
            .collect()
    };
    (0..batch.num_rows()).map(row).collect()
}

fn read(
    reader: impl Read,
    options: &ReadOptions,
) -> Result<(Decoded, Vec<RecordBatch>), ObjectError> {
    let mut batches = Vec::new();
    let decoded = read_object(BufReader::new(reader), options, &mut |batch| {
        batches.push(batch);
        ControlFlow::Continue(())
    })?;
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(decoded.rows, rows as u64);
    assert_eq!(
        decoded.nodata + decoded.skipdata,
        decoded.coverage.num_rows() as u64
    );
    assert_eq!(
        decoded.rows + decoded.nodata + decoded.skipdata + decoded.bad_lines,
        decoded.lines
    );
    Ok((decoded, batches))
}

fn rows(bytes: &[u8], log_format: Option<&str>) -> (Decoded, Vec<Row>) {
    let log_format = log_format.map(|format| Header::from_log_format(format).expect("a format"));
    let options = ReadOptions {
        log_format,
        ..ReadOptions::new("log")
    };
    let (decoded, batches) = read(bytes, &options).expect("a flow log");
    (decoded, batches.iter().flat_map(rows_of).collect())
}

fn sum(rows: &[Row], column: &str) -> i64 {
    rows.iter()
        .filter_map(|row| row.get(column)?.as_i64())
        .sum()
}

/// Whether a row has every value that a peer gives, and null where the peer has null.
fn has(row: &Row, expected: &Value) -> bool {
    let expected = expected.as_object().expect("values by column");
    expected
        .iter()
        .all(|(column, value)| row.get(column).unwrap_or(&Value::Null) == value)
}

#[test]
fn opensearch_catalogs_log_adds_up() {
    let Some(log) = fixture("opensearch-catalog/raw.log") else {
        return;
    };
    let (decoded, rows) = rows(&log, None);
    assert_eq!(
        (
            decoded.lines,
            decoded.nodata,
            decoded.rows,
            decoded.bad_lines
        ),
        (775, 404, 371, 0)
    );
    assert_eq!(
        (sum(&rows, "packets"), sum(&rows, "bytes")),
        (6_570, 4_274_520)
    );
}

#[test]
fn centralized_loggings_log_adds_up() {
    let Some(log) = fixture("centralized-logging-with-opensearch/vpcflow.log") else {
        return;
    };
    let (decoded, rows) = rows(&log, None);
    assert_eq!(
        (decoded.lines, rows.len(), decoded.nodata, decoded.bad_lines),
        (17, 10, 7, 0)
    );
}

#[test]
fn panthers_log_adds_up() {
    let Some(log) = fixture("panther-analysis/attacker_vpc.log") else {
        return;
    };
    let (decoded, rows) = rows(&log, None);
    assert_eq!((decoded.lines, rows.len(), decoded.bad_lines), (6, 6, 0));
    assert_eq!(sum(&rows, "bytes"), 3 * 7_119 + 3_048_576 + 2 * 1_048_576);
}

#[test]
fn awss_examples_are_read_as_printed() {
    let cases = [
        ("v2-default", (5, 1, 1)),
        ("v3-tcp-flags", (8, 0, 0)),
        ("v3-transit-gateway-eni", (4, 0, 0)),
        ("v5-service-path-direction", (2, 0, 0)),
        ("nat-no-version-as-printed", (6, 0, 0)),
    ];
    for (name, expected) in cases {
        let Some(log) = fixture(&format!("amazon-vpc-user-guide/{name}.log")) else {
            return;
        };
        let (decoded, rows) = rows(&log, None);
        assert_eq!(
            (decoded.rows, decoded.nodata, decoded.skipdata),
            expected,
            "{name}"
        );
        assert_eq!(decoded.bad_lines, 0, "{name}");
        assert!(
            rows.iter()
                .all(|row| row.contains_key("srcaddr") && row.contains_key("interface_id")),
            "{name}"
        );
    }
}

#[test]
fn vrls_cases_give_vrls_values() {
    let Some(cases) = fixture("vrl/cases.json") else {
        return;
    };
    let cases: Value = serde_json::from_slice(&cases).unwrap();
    let mut all = Vec::new();
    for group in cases["ok_groups"].as_array().unwrap() {
        let lines: Vec<_> = group["lines"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line.as_str().unwrap())
            .collect();
        let (decoded, rows) = rows(lines.join("\n").as_bytes(), group["format"].as_str());
        assert_eq!(
            (decoded.lines, decoded.bad_lines),
            (lines.len() as u64, 0),
            "{group}"
        );
        all.extend(rows);
        all.extend(rows_of(&decoded.coverage));
    }
    let mut compared = 0;
    for case in cases["value_cases"].as_array().unwrap() {
        let mut expected = case["expected"].clone();
        if expected["log_status"] == "NODATA" {
            // Coverage has no version.
            expected.as_object_mut().unwrap().remove("version");
        }
        // Four of the lines were lost when the cases were taken out of VRL's sources, but stand in the groups.
        if case["line"].as_str().unwrap().contains("parse_aws") {
            assert!(all.iter().any(|row| has(row, &expected)), "{case}");
        } else {
            let (_, rows) = rows(
                case["line"].as_str().unwrap().as_bytes(),
                case["format"].as_str(),
            );
            assert!(has(&rows[0], &expected), "{case}");
        }
        compared += 1;
    }
    assert_eq!(compared, 6);
}

#[test]
fn opentelemetrys_cases_give_its_values() {
    let Some(cases) = fixture("opentelemetry-collector-contrib/cases.json") else {
        return;
    };
    let cases: Value = serde_json::from_slice(&cases).unwrap();
    let mut compared = 0;
    for case in cases.as_array().unwrap() {
        let Some(log) = case["input"]
            .as_str()
            .and_then(|input| fixture(&format!("opentelemetry-collector-contrib/{input}")))
        else {
            continue;
        };
        compared += 1;
        if case["expected_error"].is_string() {
            let (decoded, _) = rows(&log, None);
            assert_eq!((decoded.lines, decoded.bad_lines), (1, 1), "{case}");
            continue;
        }
        let format = case["format"]
            .as_str()
            .map(|format| format.split(" (").next().unwrap());
        let (decoded, rows) = rows(&log, format);
        assert_eq!(decoded.bad_lines, 0, "{case}");
        let expected = case["expected"].as_array().unwrap();
        assert_eq!(rows.len(), expected.len());
        assert!(
            rows.iter()
                .zip(expected)
                .all(|(row, expected)| has(row, expected)),
            "{rows:?} {case}"
        );
    }
    assert_eq!(compared, 4);
}

#[test]
fn opentelemetrys_other_logs_are_read() {
    let Some(tgw) = fixture("opentelemetry-collector-contrib/valid_tgw_flow_log.log") else {
        return;
    };
    let (_, found) = rows(&tgw, None);
    let expected = json!({
        "version": 6, "account_id": "123456789012", "tgw_id": "tgw-0abc12345def67890", "tgw_src_eni": "eni-0abc12345def67890",
        "srcaddr": "10.0.0.1", "dstport": 443, "packets": 10, "bytes": 1000, "packets_lost_no_route": 1, "packets_lost_blackhole": 2,
        "packets_lost_mtu_exceeded": 3, "packets_lost_ttl_expired": 4, "start": 1_700_000_000, "tcp_flags": 2, "region": "us-east-1",
        "flow_direction": "ingress", "log_status": "OK", "action": null, "interface_id": null,
    });
    assert!(has(&found[0], &expected), "{found:?}");
    for (name, expected) in [
        ("valid_vpc_flow_log.log", (0, 1)),
        ("valid_vpc_flow_log_multi.log", (2, 0)),
    ] {
        let Some(log) = fixture(&format!("opentelemetry-collector-contrib/{name}")) else {
            return;
        };
        let (decoded, _) = rows(&log, None);
        assert_eq!(
            ((decoded.rows, decoded.nodata), decoded.bad_lines),
            (expected, 0),
            "{name}"
        );
    }
}

#[test]
fn fixtures_that_are_no_logs_are_told_apart() {
    for name in [
        "vrl/cases.json",
        "panther-analysis/policies_aws_vpc_cases.json",
    ] {
        let Some(bytes) = fixture(name) else { return };
        let error = read(bytes.as_slice(), &ReadOptions::new("log")).unwrap_err();
        assert!(
            matches!(error, ObjectError::NotAFlowLog { .. }),
            "{error:?}"
        );
    }
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    for name in [
        "Cargo.toml",
        "Cargo.lock",
        "src/lib.rs",
        "src/batch/tests.rs",
        "tests/it/decode.rs",
    ] {
        let bytes = fs::read(here.join(name)).unwrap();
        let error = read(bytes.as_slice(), &ReadOptions::new("log")).unwrap_err();
        assert!(
            matches!(error, ObjectError::NotAFlowLog { .. }),
            "{name}: {error:?}"
        );
    }
}

/// A value: as written in the log, and as a column has it (null for `-`).
type Cell = (String, Value);

fn cell(field: &Field) -> BoxedStrategy<Cell> {
    let number = |most: i64| {
        (0..=most)
            .prop_map(|number| (number.to_string(), json!(number)))
            .boxed()
    };
    let value = match (field.name, field.kind) {
        ("log-status", _) => return Just(("OK".to_owned(), json!("OK"))).boxed(),
        ("action", _) => prop_oneof!["ACCEPT", "REJECT"]
            .prop_map(|action| (action.clone(), json!(action)))
            .boxed(),
        ("srcport" | "dstport", _) => number(65_535),
        ("protocol" | "tcp-flags", _) => number(255),
        (name, _) if name.ends_with("addr") => prop_oneof![
            any::<Ipv4Addr>().prop_map(|address| (address.to_string(), json!(address.to_string()))),
            any::<Ipv6Addr>().prop_map(|address| {
                let long: Vec<_> = address
                    .segments()
                    .iter()
                    .map(|part| format!("{part:04X}"))
                    .collect();
                (long.join(":"), json!(address.to_string()))
            }),
        ]
        .boxed(),
        (_, FieldKind::Int32) => number(i64::from(i32::MAX)),
        (_, FieldKind::Int64) => number(i64::MAX),
        (_, FieldKind::Timestamp) => prop_oneof![
            (0..=i64::from(i32::MAX)).prop_map(|seconds| (seconds.to_string(), json!(seconds))),
            (2_147_483_648_i64..=253_402_300_799_999)
                .prop_map(|millis| (millis.to_string(), json!(millis / 1000))),
        ]
        .boxed(),
        (_, FieldKind::Tag) => "\\PC{1,12}"
            .prop_filter("`-` is no value", |tag| tag != "-")
            .prop_map(|tag| {
                (
                    utf8_percent_encode(&tag, NON_ALPHANUMERIC).to_string(),
                    json!(tag),
                )
            })
            .boxed(),
        (_, FieldKind::Text) => "[A-Za-z0-9_][A-Za-z0-9:/_.%é-]{0,20}"
            .prop_map(|text| (text.clone(), json!(text)))
            .boxed(),
    };
    prop_oneof![4 => value, 1 => Just(("-".to_owned(), Value::Null))].boxed()
}

/// A log in a random format, as text, and the rows it should give.
fn log() -> impl Strategy<Value = (String, Vec<Row>)> {
    let status = FIELDS
        .iter()
        .position(|field| field.name == "log-status")
        .expect("it is a field");
    let fields =
        proptest::sample::subsequence((0..FIELDS.len()).collect::<Vec<_>>(), 0..FIELDS.len())
            .prop_map(move |mut fields| {
                fields.retain(|field| *field != status);
                fields.push(status);
                fields
            });
    fields.prop_shuffle().prop_flat_map(|fields| {
        let record: Vec<_> = fields.iter().map(|field| cell(&FIELDS[*field])).collect();
        let records = proptest::collection::vec(record, 0..12);
        let names: Vec<_> = fields.iter().map(|field| FIELDS[*field].name).collect();
        let columns: Vec<_> = fields.iter().map(|field| FIELDS[*field].column).collect();
        let blank = prop_oneof![Just(" "), Just("  "), Just("\t"), Just(" \t ")];
        let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\n\n")];
        (records, blank, end, any::<bool>()).prop_map(move |(records, blank, end, ends)| {
            let mut text = names.join(blank);
            let mut rows = Vec::new();
            for record in records {
                text.push_str(end);
                text.push_str(
                    &record
                        .iter()
                        .map(|(text, _)| text.as_str())
                        .collect::<Vec<_>>()
                        .join(blank),
                );
                let values = columns
                    .iter()
                    .zip(record)
                    .filter(|(_, (_, value))| !value.is_null());
                rows.push(
                    values
                        .map(|(column, (_, value))| ((*column).to_owned(), value))
                        .collect(),
                );
            }
            if ends {
                text.push_str(end);
            }
            (text, rows)
        })
    })
}

/// Gives the bytes in pieces.
struct Chunked<'b> {
    bytes: &'b [u8],
    chunks: std::iter::Cycle<std::vec::IntoIter<usize>>,
}

impl<'b> Chunked<'b> {
    fn new(bytes: &'b [u8], chunks: Vec<usize>) -> Self {
        Self {
            bytes,
            chunks: chunks.into_iter().cycle(),
        }
    }
}

impl Read for Chunked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let chunk = self.chunks.next().unwrap_or(usize::MAX);
        let length = chunk.min(buffer.len()).min(self.bytes.len());
        let (now, later) = self.bytes.split_at(length);
        buffer[..length].copy_from_slice(now);
        self.bytes = later;
        Ok(length)
    }
}

fn chunks() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(prop_oneof![1_usize..10, 1_usize..5000], 1..20)
}

/// Bytes that are nearly a log: words that occur in logs, in any order, and some that do not.
fn nearly_a_log() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        3 => proptest::sample::select(vec![
            "version", "srcaddr", "log-status", "start", "OK", "NODATA", "SKIPDATA", "-", "10.0.0.1", "::1", "6", "1418530010", "eni-1",
            "ACCEPT", "#", "{\"message\":\"", "\"}", "{", "}", "[", "\"logEvents\":[", "timestamp,message", "2014-12-14T04:06:50.000Z",
            "version srcaddr log-status\n", "2 10.0.0.1 OK\n", "2 - NODATA\n", "\u{feff}",
        ]).prop_map(|word| word.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
        1 => prop_oneof![9 => Just(b"x".to_vec()), 1 => Just(vec![b'x'; 70_000])],
    ];
    let blank = proptest::sample::select(vec![" ", "\n", "", "\t", "\r\n"])
        .prop_map(|blank| blank.as_bytes().to_vec());
    proptest::collection::vec((word, blank), 0..40).prop_map(|words| {
        words
            .into_iter()
            .flat_map(|(word, blank)| [word, blank])
            .flatten()
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_written_is_read((text, expected) in log()) {
        let (decoded, found) = rows(text.as_bytes(), None);
        prop_assert_eq!(decoded.samples, []);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn envelopes_carry_the_same_records((text, expected) in log()) {
        let messages = text.lines().map(|line| json!({"message": line}).to_string());
        let (_, found) = rows(messages.collect::<String>().as_bytes(), None);
        prop_assert_eq!(&found, &expected);
        let events: Vec<_> = text.lines().map(|line| json!({"id": "1", "message": line})).collect();
        let data = json!({"messageType": "DATA_MESSAGE", "logEvents": events});
        let (_, found) = rows(data.to_string().as_bytes(), None);
        prop_assert_eq!(found, expected);
    }

    /// A carriage return at each line's end makes no line plain, so that each is read for itself.
    #[test]
    fn reading_many_lines_at_once_gives_what_reading_each_gives((text, _) in log(), odd in prop::collection::vec("\\PC{0,40}", 0..4)) {
        let mut lines: Vec<&str> = text.lines().collect();
        let step = lines.len() / (odd.len() + 1) + 1;
        for (index, line) in odd.iter().enumerate() {
            lines.insert((index * step).min(lines.len()), line);
        }
        let options = ReadOptions::new("log");
        let together = read(lines.join("\n").as_bytes(), &options);
        let each = read(lines.join("\r\n").as_bytes(), &options);
        match (together, each) {
            (Ok((together, rows)), Ok((each, each_rows))) => {
                prop_assert_eq!(rows.iter().flat_map(rows_of).collect::<Vec<_>>(), each_rows.iter().flat_map(rows_of).collect::<Vec<_>>());
                prop_assert_eq!(together.coverage, each.coverage);
                prop_assert_eq!((together.bad_lines, together.lines), (each.bad_lines, each.lines));
                let without_ends = |samples: Vec<BadLine>| samples.into_iter().map(|bad| BadLine { text: bad.text.trim_end().to_owned(), ..bad }).collect::<Vec<_>>();
                prop_assert_eq!(without_ends(together.samples), without_ends(each.samples));
            }
            (Err(together), Err(each)) => prop_assert_eq!(together.to_string(), each.to_string()),
            (together, each) => prop_assert!(false, "{together:?} {each:?}"),
        }
    }

    #[test]
    fn where_the_bytes_are_cut_does_not_matter((text, _) in log(), chunks in chunks(), batch_rows in 1_usize..5) {
        let options = ReadOptions { batch_rows, ..ReadOptions::new("log") };
        let (whole, batches) = read(text.as_bytes(), &options).unwrap();
        let (cut, cut_batches) = read(Chunked::new(text.as_bytes(), chunks), &options).unwrap();
        prop_assert_eq!(batches, cut_batches);
        prop_assert_eq!(whole.coverage, cut.coverage);
    }

    #[test]
    fn the_projection_changes_nothing_but_the_columns(
        bytes in nearly_a_log(),
        columns in proptest::collection::vec(0_usize..75, 0..6),
    ) {
        let all = read(bytes.as_slice(), &ReadOptions::new("log"));
        let some = read(bytes.as_slice(), &ReadOptions { columns: Some(columns.clone()), ..ReadOptions::new("log") });
        match (all, some) {
            (Ok((all, batches)), Ok((some, projected))) => {
                prop_assert_eq!(all.samples, some.samples);
                prop_assert_eq!(all.coverage, some.coverage);
                let batches = batches.iter().map(|batch| batch.project(&columns).unwrap());
                prop_assert_eq!(batches.collect::<Vec<_>>(), projected);
            }
            (Err(all), Err(some)) => prop_assert_eq!(all.to_string(), some.to_string()),
            (all, some) => prop_assert!(false, "{:?} but {:?}", all, some),
        }
    }

    #[test]
    fn any_bytes_are_counted_once(
        bytes in prop_oneof![nearly_a_log(), proptest::collection::vec(any::<u8>(), 0..3000)],
        chunks in chunks(),
    ) {
        let options = ReadOptions { batch_rows: 3, ..ReadOptions::new("log") };
        let whole = read(bytes.as_slice(), &options);
        let cut = read(Chunked::new(&bytes, chunks), &options);
        match (whole, cut) {
            (Ok((whole, batches)), Ok((cut, cut_batches))) => {
                prop_assert_eq!(batches, cut_batches);
                prop_assert_eq!(whole.samples, cut.samples);
                prop_assert_eq!(whole.bytes, bytes.len() as u64);
            }
            (Err(whole), Err(cut)) => prop_assert_eq!(whole.to_string(), cut.to_string()),
            (whole, cut) => prop_assert!(false, "{:?} but {:?}", whole, cut),
        }
    }
}
