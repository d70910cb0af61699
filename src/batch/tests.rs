//! Whole objects through [`read_object`]: what is a record, what is coverage, what is bad, and what is no log at all.

use std::io::{BufReader, Read as _};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampSecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt32Type,
};
use parquet::arrow::ArrowWriter;
use serde_json::{Map, Value, json};

use super::*;

const V2: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status";
const ROW: &str =
    "2 012345678901 eni-1 10.0.0.1 10.0.0.2 1234 443 6 3 400 1418530010 1418530070 ACCEPT OK";

type Row = Map<String, Value>;

/// The rows of a batch with the values that are there; times in microseconds, dates in days.
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
        DataType::Date32 => json!(array.as_primitive::<Date32Type>().value(row)),
        _ => json!(array.as_primitive::<TimestampMicrosecondType>().value(row)),
    };
    let schema = batch.schema();
    let row = |row: usize| {
        let columns = schema.fields().iter().zip(batch.columns());
        let there = columns.filter(|(_, array)| array.is_valid(row));
        there
            .map(|(field, array)| (field.name().clone(), value(array, row)))
            .collect()
    };
    (0..batch.num_rows()).map(row).collect()
}

fn read_with(bytes: &[u8], options: &ReadOptions) -> Result<(Decoded, Vec<Row>), ObjectError> {
    let mut rows = Vec::new();
    let decoded = read_object(bytes, options, &mut |batch| {
        rows.extend(rows_of(&batch));
        ControlFlow::Continue(())
    })?;
    assert_eq!(decoded.rows, rows.len() as u64);
    assert_eq!(
        decoded.nodata + decoded.skipdata,
        decoded.coverage.num_rows() as u64
    );
    assert_eq!(
        decoded.rows + decoded.nodata + decoded.skipdata + decoded.bad_lines,
        decoded.lines
    );
    assert_eq!(decoded.bytes, bytes.len() as u64);
    Ok((decoded, rows))
}

fn read(text: &str) -> (Decoded, Vec<Row>) {
    read_with(text.as_bytes(), &ReadOptions::new("log")).unwrap()
}

/// Rows, NODATA, SKIPDATA, bad lines.
fn counts(text: &str) -> (u64, u64, u64, u64) {
    let (decoded, _) = read(text);
    (
        decoded.rows,
        decoded.nodata,
        decoded.skipdata,
        decoded.bad_lines,
    )
}

fn why_not(bytes: &[u8]) -> String {
    match read_with(bytes, &ReadOptions::new("log")) {
        Err(ObjectError::NotAFlowLog { why }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_default_record_becomes_a_row() {
    let (_, rows) = read(&format!("{V2}\n{ROW}\n"));
    let expected = json!({
        "version": 2, "account_id": "012345678901", "interface_id": "eni-1", "srcaddr": "10.0.0.1", "dstaddr": "10.0.0.2",
        "srcport": 1234, "dstport": 443, "protocol": 6, "packets": 3, "bytes": 400, "start": 1_418_530_010_000_000_i64,
        "end": 1_418_530_070_000_000_i64, "action": "ACCEPT", "log_status": "OK", "source": "log", "date": 16418,
    });
    assert_eq!(Value::Object(rows[0].clone()), expected);
}

#[test]
fn blanks_line_ends_comments_and_a_byte_order_mark_do_not_matter() {
    let plain = read(&format!("{V2}\n{ROW}\n")).1;
    let wide = ROW.replace(' ', " \t ");
    for text in [
        format!("{ROW}\n"),
        format!("{V2}\n{ROW}"),
        format!("{V2}\r\n{ROW}\r\n"),
        format!("\u{feff}{V2}\n\n  {wide}  \n \t\n"),
        format!("{V2}\n# a comment\n{ROW} #Response traffic from host\n"),
        format!("${{{}}}\n{ROW}\n", V2.replace(' ', "} ${")),
        format!("{}\n{ROW}\n{}", V2.replace('-', "_"), V2),
        format!("2014-12-14T04:06:50.000Z {ROW}\n"),
        format!("timestamp,message\n1418530010000,{ROW}\n"),
        format!("\"@timestamp\",\"@message\"\r\n\"2014-12-14 04:06:50.000\",\"{ROW}\n\"\r\n"),
        json!({"message": ROW}).to_string(),
        json!([{ "message": format!("{ROW}\n") }]).to_string(),
        json!({"messageType": "DATA_MESSAGE", "logEvents": [{"id": "1", "timestamp": 1, "message": ROW}]}).to_string(),
    ] {
        let (decoded, rows) = read(&text);
        assert_eq!((rows, decoded.bad_lines), (plain.clone(), 0), "{text}");
    }
}

#[test]
fn a_header_in_the_middle_changes_what_follows() {
    let (decoded, rows) = read(&format!(
        "{V2}\n{ROW}\nsrcaddr bytes new-field\n10.9.9.9 7 x\n{V2}\n{ROW}\n10.9.9.9 7 x\n"
    ));
    assert_eq!(
        (decoded.rows, decoded.bad_lines, decoded.samples[0].line),
        (3, 1, 7)
    );
    assert_eq!(rows[1]["srcaddr"], "10.9.9.9");
    assert_eq!(rows[1]["extra"], r#"{"new-field":"x"}"#);
    assert_eq!(rows[0], rows[2]);
}

#[test]
fn a_log_format_stands_in_for_a_header_until_there_is_one() {
    let log_format = Some(Header::from_log_format("${version} ${bytes}").unwrap());
    let options = ReadOptions {
        log_format,
        ..ReadOptions::new("log")
    };
    let (decoded, rows) =
        read_with(format!("3 40\n{ROW}\n{V2}\n{ROW}\n").as_bytes(), &options).unwrap();
    assert_eq!((decoded.rows, decoded.bad_lines), (2, 1));
    assert_eq!(
        (&rows[0]["version"], &rows[1]["bytes"]),
        (&json!(3), &json!(400))
    );
    assert_eq!(
        decoded.samples[0].expected,
        "2 fields, as the log format names"
    );
}

#[test]
fn unknown_fields_are_kept_as_json() {
    let (_, rows) =
        read("version new-field other_field ${third-field}\n12 a\"b - c\\d\n12 - - -\n");
    assert_eq!(
        rows[0]["extra"],
        r#"{"new-field":"a\"b","third-field":"c\\d"}"#
    );
    assert_eq!(rows[1].get("extra"), None);
}

#[test]
fn tags_are_decoded_and_addresses_made_equal() {
    let (_, rows) = read(
        "instance-tag asg-tag srcaddr dstaddr pkt-srcaddr pkt-dstaddr\n\
         web%20%C3%A9 - 2001:DB8:0::1 02:AB:cd:00:11:22 - 10.0.0.1\n",
    );
    let expected = json!({
        "instance_tag": "web é", "srcaddr": "2001:db8::1", "dstaddr": "02:AB:cd:00:11:22", "pkt_dstaddr": "10.0.0.1", "source": "log",
    });
    assert_eq!(Value::Object(rows[0].clone()), expected);
}

#[test]
fn milliseconds_are_kept() {
    let (_, rows) = read("start end\n1418530010123 1418530070\n");
    assert_eq!(
        (&rows[0]["start"], &rows[0]["end"]),
        (
            &json!(1_418_530_010_123_000_i64),
            &json!(1_418_530_070_000_000_i64)
        )
    );
}

#[test]
fn records_without_data_are_coverage() {
    let text = "2 123456789010 eni-1 - - - - - - - 1431280876 1431280934 - NODATA\n2 123456789010 eni-2 - - - - - - - - - - SKIPDATA\n";
    let (decoded, rows) = read(text);
    assert_eq!(rows.len(), 0);
    let coverage = rows_of(&decoded.coverage);
    let first = json!({
        "account_id": "123456789010", "interface_id": "eni-1", "start": 1_431_280_876_000_000_i64, "end": 1_431_280_934_000_000_i64,
        "log_status": "NODATA", "source": "log", "line": 1,
    });
    let second = json!({"account_id": "123456789010", "interface_id": "eni-2", "log_status": "SKIPDATA", "source": "log", "line": 2});
    assert_eq!(
        coverage,
        [
            first.as_object().unwrap().clone(),
            second.as_object().unwrap().clone()
        ]
    );
    assert_eq!(
        counts("interface-id log-status\neni-1 NODATA\neni-2 SKIPDATA\neni-3 OK\n"),
        (1, 1, 1, 0)
    );
}

#[test]
fn without_a_status_an_empty_record_means_no_data() {
    assert_eq!(
        counts(
            "interface-id srcaddr dstport action bytes\neni-1 - - - -\neni-1 - 0 - -\neni-1 10.0.0.1 - - -\n"
        ),
        (2, 1, 0, 0)
    );
    assert_eq!(
        counts("interface-id bytes\neni-1 -\neni-1 0\n"),
        (1, 1, 0, 0)
    );
    assert_eq!(counts("interface-id vpc-id\neni-1 -\n"), (1, 0, 0, 0));
}

#[test]
fn values_that_do_not_fit_make_bad_lines() {
    let good: Vec<&str> = ROW.split(' ').collect();
    for (position, value) in [
        (0, "two"),
        (0, "-1"),
        (0, "2147483648"),
        (1, "TransitGateway"),
        (3, "10.0.0.256"),
        (3, "host"),
        (4, "10.0.0"),
        (5, "65536"),
        (6, "x"),
        (7, "256"),
        (8, "-3"),
        (8, "9223372036854775808"),
        (9, "1.5"),
        (10, "now"),
        (11, "99999999999999999"),
        (12, "ALLOW"),
        (12, "accept"),
        (13, "-"),
        (13, "ok"),
    ] {
        let mut row = good.clone();
        row[position] = value;
        let row = row.join(" ");
        for columns in [None, Some(vec![]), Some(vec![75 - 1])] {
            let options = ReadOptions {
                columns,
                ..ReadOptions::new("log")
            };
            let (decoded, _) =
                read_with(format!("{V2}\n{row}\n{ROW}\n").as_bytes(), &options).unwrap();
            assert_eq!((decoded.rows, decoded.bad_lines), (1, 1), "{row}");
            let bad = &decoded.samples[0];
            assert_eq!(
                (bad.line, bad.field.as_deref(), bad.value.as_deref()),
                (2, V2.split(' ').nth(position), Some(value))
            );
            assert_eq!(bad.text, row);
        }
    }
    // With nothing but counters in the format, a record of `-` alone has no data.
    assert_eq!(counts("tcp-flags\n255\n256\n-\n"), (1, 1, 0, 1));
}

#[test]
fn rows_of_another_width_are_never_padded_or_cut() {
    let tgw = "6 TransitGateway 123456789012 tgw-1 tgw-attach-1 - - - - - - - - - - - 10.0.0.1 10.0.1.1 1 2 6 1 40 1700000000 1700000060 OK IPv4";
    let (decoded, _) = read(&format!(
        "{V2}\n{ROW} more\n{tgw}\n{}\n{ROW}\n",
        ROW.trim_end_matches(" OK")
    ));
    assert_eq!((decoded.rows, decoded.bad_lines), (1, 3));
    let texts: Vec<_> = decoded.samples.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(texts.join("\n"), @r"
    line 2: expected 14 fields, as the header names, got `15 fields`
    line 3: expected 14 fields, as the header names, got `27 fields`
    line 4: expected 14 fields, as the header names, got `13 fields`
    ");
}

#[test]
fn long_lines_and_bytes_that_are_not_text_cost_only_themselves() {
    let mut log = format!("{V2}\n").into_bytes();
    log.extend(ROW.replace("eni-1", &"x".repeat(70_000)).bytes());
    log.extend(format!("\n{}\n", ROW.replace("eni-1", &"x".repeat(60_000))).bytes());
    log.extend(b"2 012345678901 \xff\xfe 10.0.0.1 10.0.0.2 1234 443 6 3 400 1418530010 1418530070 ACCEPT OK\n");
    log.extend(ROW.bytes());
    let (decoded, _) = read_with(&log, &ReadOptions::new("log")).unwrap();
    assert_eq!((decoded.rows, decoded.bad_lines), (2, 2));
    let expected: Vec<_> = decoded
        .samples
        .iter()
        .map(|bad| (bad.line, bad.expected.as_str()))
        .collect();
    assert_eq!(
        expected,
        [(2, "a line of at most 65536 bytes"), (4, "UTF-8 text")]
    );
    assert_eq!(decoded.samples[0].text.chars().count(), 200);
}

#[test]
fn a_hundred_bad_lines_are_kept_and_all_are_counted() {
    let (decoded, _) = read(&format!("{V2}\n{}{ROW}\n", "oops\n".repeat(250)));
    assert_eq!(
        (decoded.rows, decoded.bad_lines, decoded.samples.len()),
        (1, 250, 100)
    );
    assert_eq!(decoded.samples[99].line, 101);
}

#[test]
fn what_is_empty_or_has_a_header_is_a_flow_log() {
    for nothing in ["", "\n\n", " \t\n", "\u{feff}", V2, &format!("{V2}\n")] {
        assert_eq!(counts(nothing), (0, 0, 0, 0), "{nothing:?}");
    }
    assert_eq!(counts(&format!("{V2}\noops\n")), (0, 0, 0, 1));
}

#[test]
fn other_files_are_told_apart_with_a_reason() {
    assert_eq!(why_not(&[0, 1, 2, 3, 0xff]), "a binary file");
    assert_eq!(
        why_not(b"{\"Vpcs\": []}"),
        "JSON, but neither a CloudWatch nor a Firehose envelope"
    );
    assert_eq!(
        why_not(b"[1, 2]"),
        "JSON, but neither a CloudWatch nor a Firehose envelope"
    );
    assert_eq!(
        why_not(b"# nothing else\n"),
        "no line is a flow log record; the first is `# nothing else`"
    );
    assert_eq!(
        why_not(b"[package]\nname = \"x\"\n"),
        "no line is a flow log record; the first is `[package]`"
    );
    assert_eq!(
        why_not(b"//! A module.\nfn main() {\n    end\n}\n"),
        "no line is a flow log record; the first is `//! A module.`"
    );
    assert_eq!(
        why_not(b"# Title\n\nSome words.\n"),
        "no line is a flow log record; the first is `# Title`"
    );
    assert_eq!(
        why_not(b"3 vpc-1 eni-1 ACCEPT OK\n"),
        "no line is a flow log record; the first is `3 vpc-1 eni-1 ACCEPT OK` (a custom format without a header needs the flow log's `LogFormat`)"
    );
    assert_eq!(
        why_not(json!({"message": "START RequestId"}).to_string().as_bytes()),
        "no line is a flow log record; the first is `START RequestId`"
    );
}

#[test]
fn envelopes_may_be_joined_in_any_way() {
    let one = json!({"message": ROW}).to_string();
    let data = json!({"messageType": "DATA_MESSAGE", "logEvents": [{"message": ROW}, {"message": "oops"}, {"message": ROW}]}).to_string();
    let control = json!({"messageType": "CONTROL_MESSAGE", "logEvents": [{"message": "CWL CONTROL MESSAGE"}]}).to_string();
    assert_eq!(counts(&format!("{one}{one}\n{one}")), (3, 0, 0, 0));
    assert_eq!(counts(&format!("[{one},\n{one}]")), (2, 0, 0, 0));
    assert_eq!(counts(&control), (0, 0, 0, 0));
    let (decoded, _) = read(&format!("{control}{data}{one}{{\"other\":1}}{{\"mess"));
    assert_eq!((decoded.rows, decoded.bad_lines), (3, 3));
    let lines: Vec<_> = decoded
        .samples
        .iter()
        .map(|bad| (bad.line, bad.expected.as_str()))
        .collect();
    assert_eq!(lines[0].0, 2);
    assert_eq!(
        lines[1..],
        [
            (5, "a CloudWatch or Firehose envelope"),
            (6, "a JSON object")
        ]
    );
}

#[test]
fn only_the_columns_asked_for_are_built_in_their_order() {
    let all = flows_schema();
    let wanted =
        ["date", "bytes", "source", "extra", "srcaddr"].map(|name| all.index_of(name).unwrap());
    let options = ReadOptions {
        columns: Some(wanted.to_vec()),
        batch_rows: 2,
        ..ReadOptions::new("log")
    };
    let text = format!("{V2}\n{ROW}\n{ROW}\n{ROW}\n");
    let mut batches = Vec::new();
    read_object(text.as_bytes(), &options, &mut |batch| {
        batches.push(batch);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(
        batches
            .iter()
            .map(RecordBatch::num_rows)
            .collect::<Vec<_>>(),
        [2, 1]
    );
    let laid_out = flows_schema_of(options.texts).project(&wanted);
    assert_eq!(batches[0].schema().as_ref(), &laid_out.unwrap());
    assert_eq!(
        Value::Object(rows_of(&batches[1])[0].clone()),
        json!({"date": 16418, "bytes": 400, "source": "log", "srcaddr": "10.0.0.1"})
    );

    let nothing = ReadOptions {
        columns: Some(Vec::new()),
        ..ReadOptions::new("log")
    };
    let mut rows = 0;
    read_object(text.as_bytes(), &nothing, &mut |batch| {
        rows += batch.num_rows();
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(rows, 3);
    let beyond = ReadOptions {
        columns: Some(vec![75]),
        ..ReadOptions::new("log")
    };
    assert!(matches!(
        read_with(text.as_bytes(), &beyond),
        Err(ObjectError::Unreadable { .. })
    ));
}

#[test]
fn breaking_stops_early() {
    let options = ReadOptions {
        batch_rows: 2,
        ..ReadOptions::new("log")
    };
    let mut calls = 0;
    let decoded = read_object(
        format!("{ROW}\n").repeat(100).as_bytes(),
        &options,
        &mut |_| {
            calls += 1;
            ControlFlow::Break(())
        },
    );
    assert_eq!((decoded.unwrap().rows, calls), (2, 1));
}

#[test]
fn bytes_that_break_off_are_unreadable() {
    struct Truncated;
    impl io::Read for Truncated {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the gzip stream is truncated",
            ))
        }
    }
    let error = read_object(
        BufReader::new(ROW.as_bytes().chain(Truncated)),
        &ReadOptions::new("log"),
        &mut |_| ControlFlow::Continue(()),
    );
    insta::assert_snapshot!(error.unwrap_err().reason(), @"cannot read the object to its end: the gzip stream is truncated");
}

fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    file
}

#[test]
fn parquet_is_read_by_name_whatever_its_types() {
    let text = |values: [Option<&str>; 4]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let file = parquet(vec![
        (
            "account_id",
            Arc::new(Int64Array::from(vec![12_345_678_901; 4])),
        ),
        (
            "srcaddr",
            text([
                Some("2001:DB8::0:1"),
                Some("-"),
                Some("10.0.0.1"),
                Some("nowhere"),
            ]),
        ),
        (
            "dstport",
            Arc::new(Float64Array::from(vec![
                Some(443.0),
                None,
                Some(f64::NAN),
                Some(1.0),
            ])),
        ),
        (
            "protocol",
            Arc::new(Int32Array::from(vec![Some(6), None, Some(17), Some(6)])),
        ),
        (
            "bytes",
            text([Some("40"), Some(""), Some("None"), Some("1")]),
        ),
        ("start", Arc::new(Int64Array::from(vec![1_700_000_000; 4]))),
        (
            "end",
            Arc::new(TimestampSecondArray::from(vec![1_700_000_060; 4])),
        ),
        (
            "action",
            Arc::new(DictionaryArray::<Int32Type>::from_iter([
                Some("ACCEPT"),
                None,
                None,
                Some("ACCEPT"),
            ])),
        ),
        (
            "log_status",
            text([Some("OK"), Some("NODATA"), None, Some("OK")]),
        ),
        ("new_field", text([Some("x"), None, Some("-"), None])),
    ]);
    let (decoded, rows) = read_with(&file, &ReadOptions::new("log")).unwrap();
    assert_eq!((decoded.rows, decoded.nodata, decoded.bad_lines), (2, 1, 1));
    let expected = json!({
        "account_id": "012345678901", "srcaddr": "2001:db8::1", "dstport": 443, "protocol": 6, "bytes": 40, "start": 1_700_000_000_000_000_i64,
        "end": 1_700_000_060_000_000_i64, "action": "ACCEPT", "log_status": "OK", "extra": "{\"new_field\":\"x\"}", "source": "log", "date": 19675,
    });
    assert_eq!(Value::Object(rows[0].clone()), expected);
    assert_eq!(rows[1].get("bytes"), None);
    insta::assert_snapshot!(decoded.samples[0], @"line 4: field `srcaddr`: expected an IP address, a MAC address or `-`, got `nowhere`");
    assert!(
        decoded.samples[0]
            .text
            .starts_with("012345678901 nowhere 1 6 1 ")
    );
}

#[test]
fn other_or_damaged_parquet_is_told_apart() {
    let other = parquet(vec![
        ("a", Arc::new(Int32Array::from(vec![1]))),
        ("b", Arc::new(Int32Array::from(vec![1]))),
    ]);
    assert_eq!(
        why_not(&other),
        "Parquet, but its columns (`a`, `b`) are not a flow log's"
    );
    let mut good = parquet(vec![(
        "srcport",
        Arc::new(Int32Array::from((0..1000).collect::<Vec<_>>())),
    )]);
    assert_eq!(
        read_with(&good, &ReadOptions::new("log")).unwrap().0.rows,
        1000
    );
    for length in [4, 8, 100, good.len() - 1] {
        assert!(matches!(
            read_with(&good[..length], &ReadOptions::new("log")),
            Err(ObjectError::Unreadable { .. })
        ));
    }
    for at in (4..good.len()).step_by(31) {
        let byte = std::mem::replace(&mut good[at], 0xff);
        // Any answer will do, as long as there is one.
        let _ = read_with(&good, &ReadOptions::new("log"));
        good[at] = byte;
    }
}
