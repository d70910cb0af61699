//! What the log says of the data files, in the terms of the query engine.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, ScalarValue, Statistics};

use crate::lake::{ColumnStats, DataFile, StatValue};

/// The partition as days since 1970-01-01, which is how Arrow counts dates.
pub(super) fn days(file: &DataFile) -> Option<i32> {
    file.date.map(arrow::datatypes::Date32Type::from_naive_date)
}

/// Files whose statistics may rule a filter out. Values are made for those columns alone that are asked for.
pub(super) struct FileStatistics<'a> {
    pub(super) files: &'a [&'a DataFile],
    pub(super) schema: &'a Schema,
}

impl FileStatistics<'_> {
    fn bounds(
        &self,
        column: &Column,
        bound: fn(&ColumnStats) -> &Option<StatValue>,
    ) -> Option<ArrayRef> {
        let data_type = self.schema.field_with_name(&column.name).ok()?.data_type();
        let none = ScalarValue::try_from(data_type).ok()?;
        let values = self.files.iter().map(|file| {
            if column.name == super::PARTITION {
                return ScalarValue::Date32(days(file));
            }
            file.columns
                .get(&column.name)
                .and_then(|known| scalar(bound(known).as_ref()?, data_type))
                .unwrap_or_else(|| none.clone())
        });
        ScalarValue::iter_to_array(values).ok()
    }
}

impl PruningStatistics for FileStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |known| &known.min)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |known| &known.max)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let nulls = self.files.iter().map(|file| {
            if column.name == super::PARTITION {
                return Some(if file.date.is_none() { file.rows } else { 0 });
            }
            file.columns.get(&column.name)?.nulls
        });
        Some(Arc::new(nulls.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let rows = self.files.iter().map(|file| Some(file.rows));
        Some(Arc::new(rows.collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// What is known of all rows of some files together; of the columns that are asked for.
pub(super) fn total(files: &[&DataFile], schema: &Schema, columns: &[usize]) -> Statistics {
    let mut total = Statistics::new_unknown(schema);
    let rows: u64 = files.iter().map(|file| file.rows).sum();
    total.num_rows = usize::try_from(rows).map_or(Precision::Absent, Precision::Exact);
    if !files.is_empty() {
        for &column in columns {
            let field = schema.field(column);
            if let Some(known) = of_column(files, field.name(), field.data_type()) {
                total.column_statistics[column] = known;
            }
        }
    }
    total
}

/// `None` unless every file has exact bounds: what is left out would be taken for the whole.
fn of_column(files: &[&DataFile], name: &str, data_type: &DataType) -> Option<ColumnStatistics> {
    let (mut nulls, mut min, mut max) = (0, None, None);
    for file in files {
        let known = if name == super::PARTITION {
            // A file's rows are all of one date.
            let date = ScalarValue::Date32(days(file));
            let missing = if file.date.is_none() { file.rows } else { 0 };
            (missing, date.clone(), date)
        } else {
            let known = file.columns.get(name).filter(|known| known.exact)?;
            let missing = known.nulls?;
            let bound = |bound: &Option<StatValue>| match bound {
                Some(value) => scalar(value, data_type),
                None if missing == file.rows => ScalarValue::try_from(data_type).ok(),
                None => None,
            };
            (missing, bound(&known.min)?, bound(&known.max)?)
        };
        nulls += known.0;
        min = Some(match min {
            Some(other) => least(other, known.1),
            None => known.1,
        });
        max = Some(match max {
            Some(other) => greatest(other, known.2),
            None => known.2,
        });
    }
    let (min, max) = min.zip(max)?;
    let bound = |bound: ScalarValue| match bound.is_null() {
        true => Precision::Absent,
        false => Precision::Exact(bound),
    };
    Some(ColumnStatistics {
        null_count: Precision::Exact(usize::try_from(nulls).ok()?),
        min_value: bound(min),
        max_value: bound(max),
        ..ColumnStatistics::new_unknown()
    })
}

/// The lesser of two values of one type; NULL is none.
fn least(one: ScalarValue, other: ScalarValue) -> ScalarValue {
    if other.is_null() || (!one.is_null() && one <= other) {
        one
    } else {
        other
    }
}

fn greatest(one: ScalarValue, other: ScalarValue) -> ScalarValue {
    if other.is_null() || (!one.is_null() && one >= other) {
        one
    } else {
        other
    }
}

fn scalar(value: &StatValue, data_type: &DataType) -> Option<ScalarValue> {
    match (value, data_type) {
        (StatValue::Int(value), DataType::Int32) => i32::try_from(*value)
            .ok()
            .map(|value| ScalarValue::Int32(Some(value))),
        (StatValue::Int(value), DataType::Int64) => Some(ScalarValue::Int64(Some(*value))),
        (StatValue::Micros(value), DataType::Timestamp(_, zone)) => Some(
            ScalarValue::TimestampMicrosecond(Some(*value), zone.clone()),
        ),
        (StatValue::Text(value), DataType::Utf8View) => {
            Some(ScalarValue::Utf8View(Some(value.clone())))
        }
        _ => None,
    }
}
