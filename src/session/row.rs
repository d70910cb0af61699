//! The values of an answer, row by row.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, Utc};

/// A row of an answer, its columns by their position in the statement. NULL, or a column of another kind, is `None`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'b> {
    pub(crate) batch: &'b RecordBatch,
    pub(crate) row: usize,
}

impl<'b> Row<'b> {
    pub(crate) fn text(&self, column: usize) -> Option<&'b str> {
        let column = self.batch.column(column).as_string_view_opt()?;
        column.is_valid(self.row).then(|| column.value(self.row))
    }

    pub(crate) fn integer(&self, column: usize) -> Option<i64> {
        let column = self.batch.column(column);
        if column.is_null(self.row) {
            return None;
        }
        match column.data_type() {
            DataType::Int32 => Some(column.as_primitive::<Int32Type>().value(self.row).into()),
            DataType::Int64 => Some(column.as_primitive::<Int64Type>().value(self.row)),
            _ => {
                let column = cast(&column.slice(self.row, 1), &DataType::Int64).ok()?;
                Some(column.as_primitive::<Int64Type>().value(0))
            }
        }
    }

    pub(crate) fn time(&self, column: usize) -> Option<DateTime<Utc>> {
        let times = self.batch.column(column);
        let times = times.as_primitive_opt::<TimestampMicrosecondType>()?;
        let micros = times.is_valid(self.row).then(|| times.value(self.row))?;
        DateTime::from_timestamp_micros(micros)
    }
}
