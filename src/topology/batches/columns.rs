//! Columns out of rows: a name and how to get a value.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use serde::Serialize;
use serde_json::Value;

use crate::topology::model::Tag;
use crate::topology::network::Network;

/// A record in a snapshot.
#[derive(Debug)]
pub(super) struct Row<'n, T> {
    pub(super) network: &'n Network,
    pub(super) record: T,
}

impl<'n, T> Row<'n, T> {
    pub(super) fn new(network: &'n Network, record: T) -> Self {
        Self { network, record }
    }
}

/// A table in the making.
pub(super) struct Columns<'r, 'n, T> {
    rows: &'r [Row<'n, T>],
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl<'r, 'n, T> Columns<'r, 'n, T> {
    /// Starts with `snapshot_at`, which every row has.
    pub(super) fn of(rows: &'r [Row<'n, T>]) -> Self {
        let times: TimestampMicrosecondArray = rows
            .iter()
            .map(|row| Some(row.network.at().timestamp_micros()))
            .collect();
        Self {
            rows,
            fields: Vec::new(),
            arrays: Vec::new(),
        }
        .push("snapshot_at", Arc::new(times.with_timezone("UTC")))
    }

    pub(super) fn text<V: AsRef<str>>(
        self,
        name: &str,
        value: impl Fn(&'r Row<'n, T>) -> Option<V>,
    ) -> Self {
        let array: StringArray = self.rows.iter().map(value).collect();
        self.push(name, Arc::new(array))
    }

    pub(super) fn flag(self, name: &str, value: impl Fn(&'r Row<'n, T>) -> Option<bool>) -> Self {
        let array: BooleanArray = self.rows.iter().map(value).collect();
        self.push(name, Arc::new(array))
    }

    pub(super) fn int(self, name: &str, value: impl Fn(&'r Row<'n, T>) -> Option<i32>) -> Self {
        let array: Int32Array = self.rows.iter().map(value).collect();
        self.push(name, Arc::new(array))
    }

    pub(super) fn finish(self) -> RecordBatch {
        RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.arrays)
            .expect("every column has a value for each row and the type of its field")
    }

    fn push(mut self, name: &str, array: ArrayRef) -> Self {
        let nullable = name != "snapshot_at";
        self.fields
            .push(Field::new(name, array.data_type().clone(), nullable));
        self.arrays.push(array);
        self
    }
}

/// A list as JSON text.
pub(super) fn list<V: Serialize>(values: impl IntoIterator<Item = V>) -> Option<String> {
    let values: Vec<_> = values.into_iter().collect();
    serde_json::to_string(&values).ok()
}

/// Tags as a JSON object.
pub(super) fn tags(tags: &[Tag]) -> Option<String> {
    let object: serde_json::Map<_, _> = tags
        .iter()
        .map(|tag| (tag.key.clone(), Value::String(tag.value.clone())))
        .collect();
    serde_json::to_string(&object).ok()
}
