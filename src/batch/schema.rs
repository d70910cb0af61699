//! The Arrow schemas of what reading logs yields: `flows`, `coverage`, `objects`, `bad_lines`.
//!
//! Every column may be null, as in AWS's Parquet: a custom format may leave out any field.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::batch::TextLayout;
use crate::decode::{FIELDS, FieldKind};

/// The column of `flows` with the unknown fields of a record.
pub(crate) const EXTRA: usize = FIELDS.len();
/// The column of `flows` with the object that the row came from.
pub(crate) const SOURCE: usize = EXTRA + 1;
/// The column of `flows` with the UTC date of `start`, by which the table is partitioned.
pub(crate) const DATE: usize = SOURCE + 1;

/// The text columns of `coverage`, all of them fields: whose record it was.
pub(crate) const COVERAGE_TEXTS: [&str; 8] = [
    "account_id",
    "region",
    "vpc_id",
    "subnet_id",
    "interface_id",
    "resource_id",
    "tgw_id",
    "tgw_attachment_id",
];

pub(crate) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn schema(columns: impl IntoIterator<Item = (&'static str, DataType)>) -> SchemaRef {
    let fields = columns
        .into_iter()
        .map(|(name, kind)| Field::new(name, kind, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

static FLOWS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let of_field = |kind| match kind {
        FieldKind::Text | FieldKind::Tag => DataType::Utf8,
        FieldKind::Int32 => DataType::Int32,
        FieldKind::Int64 => DataType::Int64,
        FieldKind::Timestamp => timestamp(),
    };
    let fields = FIELDS
        .iter()
        .map(|field| (field.column, of_field(field.kind)));
    schema(fields.chain([
        ("extra", DataType::Utf8),
        ("source", DataType::Utf8),
        ("date", DataType::Date32),
    ]))
});

static COVERAGE: LazyLock<SchemaRef> = LazyLock::new(|| {
    let texts = COVERAGE_TEXTS.map(|name| (name, DataType::Utf8));
    schema(texts.into_iter().chain([
        ("start", timestamp()),
        ("end", timestamp()),
        ("log_status", DataType::Utf8),
        ("source", DataType::Utf8),
        ("line", DataType::Int64),
    ]))
});

/// One row per record whose `log_status` is `OK`: the 72 fields of [`FIELDS`], then `extra`, `source` and `date`.
///
/// AWS's names and types (`INT_32`, `INT_64`, text), except that `start` and `end` are timestamps.
pub fn flows_schema() -> SchemaRef {
    Arc::clone(&FLOWS)
}

/// The schema of `flows` with its texts laid out as a query or a file wants them.
pub(crate) fn flows_schema_of(texts: TextLayout) -> SchemaRef {
    static KEYS: LazyLock<SchemaRef> = LazyLock::new(|| laid_out(TextLayout::Keys));
    static VIEWS: LazyLock<SchemaRef> = LazyLock::new(|| laid_out(TextLayout::Views));
    match texts {
        TextLayout::Keys => Arc::clone(&KEYS),
        TextLayout::Views => Arc::clone(&VIEWS),
    }
}

fn laid_out(texts: TextLayout) -> SchemaRef {
    let fields = FLOWS.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 => field.as_ref().clone().with_data_type(texts.data_type()),
        _ => field.as_ref().clone(),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// One row per NODATA or SKIPDATA record.
pub fn coverage_schema() -> SchemaRef {
    Arc::clone(&COVERAGE)
}

/// One row per object that was looked at.
pub fn objects_schema() -> SchemaRef {
    schema([
        ("key", DataType::Utf8),
        ("etag", DataType::Utf8),
        ("size", DataType::Int64),
        ("rows", DataType::Int64),
        ("bad_lines", DataType::Int64),
        ("outcome", DataType::Utf8),
        ("reason", DataType::Utf8),
        ("batch", DataType::Utf8),
        ("ingested_at", timestamp()),
    ])
}

/// The samples kept of lines that are no records.
pub fn bad_lines_schema() -> SchemaRef {
    schema([
        ("key", DataType::Utf8),
        ("line", DataType::Int64),
        ("field", DataType::Utf8),
        ("value", DataType::Utf8),
        ("expected", DataType::Utf8),
        ("text", DataType::Utf8),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_end_with_our_own_columns() {
        let flows = flows_schema();
        assert_eq!(flows.fields().len(), 75);
        assert_eq!(
            (
                flows.field(EXTRA).name(),
                flows.field(SOURCE).name(),
                flows.field(DATE).name()
            ),
            (
                &"extra".to_owned(),
                &"source".to_owned(),
                &"date".to_owned()
            )
        );
    }

    #[test]
    fn numbers_have_the_types_of_awss_parquet() {
        let flows = flows_schema();
        let of_type = |kind: &DataType| {
            flows
                .fields()
                .iter()
                .filter(|field| field.data_type() == kind)
                .map(|field| field.name().as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of_type(&DataType::Int32),
            [
                "version",
                "srcport",
                "dstport",
                "protocol",
                "tcp_flags",
                "traffic_path",
                "encryption_status"
            ]
        );
        assert_eq!(
            of_type(&DataType::Int64),
            [
                "packets",
                "bytes",
                "packets_lost_no_route",
                "packets_lost_blackhole",
                "packets_lost_mtu_exceeded",
                "packets_lost_ttl_expired"
            ]
        );
        assert_eq!(of_type(&timestamp()), ["start", "end"]);
    }
}
