//! Statistics of a data file: from Parquet's own into the log's JSON, and back for whoever prunes by them.
//!
//! Delta's form: `{"numRecords":n,"minValues":{…},"maxValues":{…},"nullCount":{…}}`, times to the millisecond, text cut to 32
//! characters with the maximum rounded up, so that bounds stay bounds.

use std::collections::HashMap;

use arrow::datatypes::{DataType, SchemaRef};
use chrono::{DateTime, SecondsFormat};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use serde_json::{Map, Value, json};

/// Text up to this length is a bound as it is; Spark and delta-rs cut here too.
const MAX_TEXT_CHARS: usize = 32;

/// What the log says about one column of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnStats {
    /// No value is smaller.
    pub min: Option<StatValue>,
    /// No value is larger.
    pub max: Option<StatValue>,
    /// How many values are null.
    pub nulls: Option<u64>,
    /// Whether the bounds are values that occur; not so for text that was cut.
    pub exact: bool,
}

/// A bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatValue {
    /// Of an integer column.
    Int(i64),
    /// Microseconds since 1970 UTC.
    Micros(i64),
    /// Of a text column; order by bytes.
    Text(String),
}

/// The log's JSON for a file of these columns.
pub(super) fn to_json(metadata: &ParquetMetaData, columns: &SchemaRef) -> String {
    let (mut minimums, mut maximums, mut nulls) = (Map::new(), Map::new(), Map::new());
    for (index, field) in columns.fields().iter().enumerate() {
        let Some(gathered) = Gathered::new(metadata, index) else {
            continue;
        };
        nulls.insert(field.name().clone(), json!(gathered.nulls));
        let (Some(min), Some(max)) = (gathered.min, gathered.max) else {
            continue;
        };
        if let (Some(min), Some(max)) = (bound(min, Side::Min), bound(max, Side::Max)) {
            minimums.insert(field.name().clone(), min);
            maximums.insert(field.name().clone(), max);
        }
    }
    json!({
        "numRecords": metadata.file_metadata().num_rows(),
        "minValues": minimums,
        "maxValues": maximums,
        "nullCount": nulls,
    })
    .to_string()
}

/// One column over all row groups.
#[derive(Debug, Default)]
struct Gathered {
    nulls: u64,
    min: Option<StatValue>,
    max: Option<StatValue>,
}

impl Gathered {
    /// Nothing where a row group has values but no statistics of them.
    fn new(metadata: &ParquetMetaData, column: usize) -> Option<Self> {
        let mut all = Self::default();
        let mut bounded = true;
        for group in metadata.row_groups() {
            let chunk = group.column(column);
            let statistics = chunk.statistics()?;
            let nulls = statistics.null_count_opt()?;
            all.nulls += nulls;
            if nulls == u64::try_from(group.num_rows()).ok()? {
                continue;
            }
            let is_time = chunk
                .column_descr()
                .logical_type_ref()
                .is_some_and(|kind| matches!(kind, parquet::basic::LogicalType::Timestamp { .. }));
            match bounds(statistics, is_time) {
                Some((min, max)) => {
                    all.min = Some(
                        all.min
                            .take()
                            .map_or_else(|| min.clone(), |other| smaller(other, min.clone())),
                    );
                    all.max = Some(
                        all.max
                            .take()
                            .map_or_else(|| max.clone(), |other| larger(other, max.clone())),
                    );
                }
                None => bounded = false,
            }
        }
        if !bounded {
            (all.min, all.max) = (None, None);
        }
        Some(all)
    }
}

fn bounds(statistics: &Statistics, is_time: bool) -> Option<(StatValue, StatValue)> {
    let text = |bytes: &[u8]| Some(StatValue::Text(std::str::from_utf8(bytes).ok()?.to_owned()));
    match statistics {
        Statistics::Int32(values) => Some((
            StatValue::Int((*values.min_opt()?).into()),
            StatValue::Int((*values.max_opt()?).into()),
        )),
        Statistics::Int64(values) if is_time => Some((
            StatValue::Micros(*values.min_opt()?),
            StatValue::Micros(*values.max_opt()?),
        )),
        Statistics::Int64(values) => Some((
            StatValue::Int(*values.min_opt()?),
            StatValue::Int(*values.max_opt()?),
        )),
        Statistics::ByteArray(values) => Some((
            text(values.min_opt()?.data())?,
            text(values.max_opt()?.data())?,
        )),
        _ => None,
    }
}

fn smaller(one: StatValue, other: StatValue) -> StatValue {
    if is_less(&other, &one) { other } else { one }
}

fn larger(one: StatValue, other: StatValue) -> StatValue {
    if is_less(&one, &other) { other } else { one }
}

/// Values of one column are of one kind.
fn is_less(one: &StatValue, other: &StatValue) -> bool {
    match (one, other) {
        (StatValue::Int(one), StatValue::Int(other))
        | (StatValue::Micros(one), StatValue::Micros(other)) => one < other,
        (StatValue::Text(one), StatValue::Text(other)) => one < other,
        _ => false,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Min,
    Max,
}

fn bound(value: StatValue, side: Side) -> Option<Value> {
    match value {
        StatValue::Int(number) => Some(json!(number)),
        StatValue::Micros(micros) => {
            let millis = match side {
                Side::Min => micros.div_euclid(1000),
                Side::Max => micros.div_euclid(1000) + i64::from(micros.rem_euclid(1000) != 0),
            };
            let time = DateTime::from_timestamp_millis(millis)?;
            Some(json!(time.to_rfc3339_opts(SecondsFormat::Millis, true)))
        }
        StatValue::Text(text) => cut(text, MAX_TEXT_CHARS, side).map(Value::String),
    }
}

/// A bound for a text from its first characters; nothing where none is above it.
pub(super) fn cut(text: String, chars: usize, side: Side) -> Option<String> {
    let Some((end, _)) = text.char_indices().nth(chars) else {
        return Some(text);
    };
    let head = &text[..end];
    if side == Side::Min {
        return Some(head.to_owned());
    }
    // The shortest text above all that begin with `head`: the last character that has a successor gets it.
    for (at, last) in head.char_indices().rev() {
        let mut next = u32::from(last) + 1;
        if next == 0xd800 {
            next = 0xe000;
        }
        if let Some(next) = char::from_u32(next) {
            return Some(format!("{}{next}", &head[..at]));
        }
    }
    None
}

/// Number of rows and statistics of the columns, from the log's JSON; nothing where it has none.
pub(super) fn from_json(
    text: &str,
    schema: &SchemaRef,
) -> (Option<u64>, HashMap<String, ColumnStats>) {
    let Ok(Value::Object(stats)) = serde_json::from_str(text) else {
        return (None, HashMap::new());
    };
    let rows = stats.get("numRecords").and_then(Value::as_u64);
    let of = |part: &str, name: &str| {
        stats
            .get(part)
            .and_then(|values| values.get(name))
            .filter(|value| !value.is_null())
    };
    let mut columns = HashMap::new();
    for field in schema.fields() {
        let name = field.name().as_str();
        let value = |part| of(part, name).and_then(|value| stat_value(value, field.data_type()));
        let (min, max) = (value("minValues"), value("maxValues"));
        let nulls = of("nullCount", name).and_then(Value::as_u64);
        if min.is_some() || max.is_some() || nulls.is_some() {
            let whole = |bound: &Option<StatValue>| !matches!(bound, Some(StatValue::Text(text)) if text.chars().count() >= MAX_TEXT_CHARS);
            let exact = whole(&min) && whole(&max);
            columns.insert(
                name.to_owned(),
                ColumnStats {
                    min,
                    max,
                    nulls,
                    exact,
                },
            );
        }
    }
    (rows, columns)
}

fn stat_value(value: &Value, kind: &DataType) -> Option<StatValue> {
    match kind {
        DataType::Int32 | DataType::Int64 => value.as_i64().map(StatValue::Int),
        DataType::Timestamp(..) => Some(StatValue::Micros(
            DateTime::parse_from_rfc3339(value.as_str()?)
                .ok()?
                .timestamp_micros(),
        )),
        DataType::Utf8 => value.as_str().map(|text| StatValue::Text(text.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bound: Option<Value>) -> String {
        bound.unwrap().as_str().unwrap().to_owned()
    }

    #[test]
    fn short_text_is_a_bound_as_it_is() {
        let longest = "2001:db8:1234:a100:8d6e:3477:df66"[..32].to_owned();
        for side in [Side::Min, Side::Max] {
            assert_eq!(text(bound(StatValue::Text(longest.clone()), side)), longest);
        }
    }

    #[test]
    fn cut_text_is_still_a_bound() {
        let cases = [
            "arn:aws:ecs:eu-west-1:123456789012:task/x".to_owned(),
            "é".repeat(40),
            "\u{d7ff}".repeat(33),
            format!("{}z", "a\u{10ffff}".repeat(16)),
        ];
        for long in cases {
            let (min, max) = (
                text(bound(StatValue::Text(long.clone()), Side::Min)),
                text(bound(StatValue::Text(long.clone()), Side::Max)),
            );
            assert!(min < long && long < max, "{min} < {long} < {max}");
            assert!(min.chars().count() <= MAX_TEXT_CHARS && max.chars().count() <= MAX_TEXT_CHARS);
        }
        assert_eq!(
            bound(StatValue::Text("\u{10ffff}".repeat(33)), Side::Max),
            None,
            "nothing is above it"
        );
    }

    #[test]
    fn times_are_bounds_to_the_millisecond() {
        let at = |micros, side| text(bound(StatValue::Micros(micros), side));
        assert_eq!(
            at(1_700_000_000_123_456, Side::Min),
            "2023-11-14T22:13:20.123Z"
        );
        assert_eq!(
            at(1_700_000_000_123_456, Side::Max),
            "2023-11-14T22:13:20.124Z"
        );
        assert_eq!(
            at(1_700_000_000_000_000, Side::Max),
            "2023-11-14T22:13:20.000Z"
        );
        assert_eq!(at(-1, Side::Min), "1969-12-31T23:59:59.999Z");
        assert_eq!(at(-1, Side::Max), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn reads_what_others_write() {
        let json = r#"{"numRecords":3,"minValues":{"bytes":1,"start":"2023-11-14T22:13:20Z","srcaddr":"10.0.0.1","nowhere":1},
            "maxValues":{"bytes":9,"start":"2023-11-15T00:13:20.5+02:00","srcaddr":"arn:aws:ecs:eu-west-1:1234567890"},
            "nullCount":{"bytes":0,"vpc_id":3},"tightBounds":true}"#;
        let (rows, columns) = from_json(json, &crate::batch::flows_schema());
        assert_eq!(rows, Some(3));
        let stats = |min, max, nulls, exact| ColumnStats {
            min,
            max,
            nulls,
            exact,
        };
        assert_eq!(
            columns["bytes"],
            stats(
                Some(StatValue::Int(1)),
                Some(StatValue::Int(9)),
                Some(0),
                true
            )
        );
        let times = (
            StatValue::Micros(1_700_000_000_000_000),
            StatValue::Micros(1_700_000_000_500_000),
        );
        assert_eq!(
            columns["start"],
            stats(Some(times.0), Some(times.1), None, true)
        );
        assert!(
            !columns["srcaddr"].exact,
            "text of 32 characters may have been cut"
        );
        assert_eq!(columns["vpc_id"], stats(None, None, Some(3), true));
        assert_eq!(columns.len(), 4);
        assert_eq!(from_json("{", &crate::batch::flows_schema()).0, None);
    }
}
