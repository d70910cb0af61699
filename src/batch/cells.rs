//! Parquet into rows of text cells, so that its values pass the same checks as a line's.
//!
//! AWS's Parquet has `INT_32` where its Athena tables say `bigint`, and how it writes a missing value is not documented; other
//! writers turn numbers into text or floats. So columns are taken by name, and every value by what it says.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    DataType, Float64Type, Int64Type, SchemaRef, TimeUnit, TimestampMillisecondType,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;

use crate::batch::ObjectError;
use crate::decode::{Header, index_of};

/// How many rows are turned into text at once.
const ROWS: usize = 4096;

/// A Parquet file as columns of text.
pub(crate) struct CellReader {
    reader: ParquetRecordBatchReader,
    header: Header,
}

/// Some rows as columns of text.
#[derive(Debug)]
pub(crate) struct Cells {
    columns: Vec<StringArray>,
    rows: usize,
}

impl CellReader {
    /// # Errors
    ///
    /// When the file is no Parquet, or its columns are not a flow log's.
    pub(crate) fn try_new(file: Bytes) -> Result<Self, ObjectError> {
        let builder = guarded(|| ParquetRecordBatchReaderBuilder::try_new(file))?;
        let schema = Arc::clone(builder.schema());
        let header = header_of(&schema)?;
        let reader = guarded(|| builder.with_batch_size(ROWS).build())?;
        Ok(Self { reader, header })
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn next(&mut self) -> Result<Option<Cells>, ObjectError> {
        let batch = guarded(|| self.reader.next().transpose())?;
        let Some(batch) = batch else { return Ok(None) };
        let columns = batch.columns().iter().zip(self.header.names());
        let columns = columns
            .map(|(column, name)| text_of(column, name))
            .collect::<Result<_, _>>();
        let columns = columns.map_err(|error| {
            ObjectError::unreadable("cannot read the Parquet file's values as text", error)
        })?;
        Ok(Some(Cells {
            columns,
            rows: batch.num_rows(),
        }))
    }
}

impl Cells {
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The cells of a row. Null, empty, `-` and `None` all stand for a missing value, as in flowlogs-reader.
    pub(crate) fn row(&self, row: usize) -> impl Iterator<Item = Option<&str>> {
        self.columns.iter().map(move |column| {
            if column.is_null(row) {
                return None;
            }
            let value = column.value(row);
            (!matches!(value, "" | "-" | "None")).then_some(value)
        })
    }
}

/// Names decide whether it is a flow log, as in the header of a text file.
fn header_of(schema: &SchemaRef) -> Result<Header, ObjectError> {
    let names = || schema.fields().iter().map(|field| field.name().as_str());
    let known = names().filter(|name| index_of(name).is_some()).count();
    let total = names().count();
    if known == 0 || (known * 2 < total && known < 4) {
        let first: Vec<_> = names().take(3).map(|name| format!("`{name}`")).collect();
        let why = format!(
            "Parquet, but its columns ({}{}) are not a flow log's",
            first.join(", "),
            if total > 3 { ", …" } else { "" }
        );
        return Err(ObjectError::NotAFlowLog { why });
    }
    Header::from_names(names())
        .map_err(|error| ObjectError::unreadable("the Parquet file has a column twice", error))
}

/// Runs Parquet code. A damaged file can make it panic, and one object must not end the run.
fn guarded<T, E: std::error::Error + Send + Sync + 'static>(
    run: impl FnOnce() -> Result<T, E>,
) -> Result<T, ObjectError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(ObjectError::unreadable(
            "cannot read the Parquet file",
            error,
        )),
        Err(_) => Err(ObjectError::unreadable(
            "cannot read the Parquet file",
            ParquetError::General("it is damaged".to_owned()),
        )),
    }
}

fn text_of(column: &ArrayRef, name: &str) -> Result<StringArray, ArrowError> {
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    match column.data_type() {
        DataType::Timestamp(..) => timestamps(column),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => floats(column),
        kind if kind.is_integer() && name.replace('-', "_").ends_with("account_id") => {
            accounts(column)
        }
        _ => match cast_with_options(column, &DataType::Utf8, &strict) {
            Ok(text) => Ok(text.as_string::<i32>().clone()),
            // Lists and structs, in fields that AWS does not have.
            Err(_) => displayed(column),
        },
    }
}

/// Seconds where that says it all, else milliseconds, as in text.
fn timestamps(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let column = cast(column, &DataType::Timestamp(TimeUnit::Millisecond, None))?;
    let text = |millis: i64| match millis {
        seconds if seconds % 1000 == 0 && seconds / 1000 <= i64::from(i32::MAX) => {
            (seconds / 1000).to_string()
        }
        millis => millis.to_string(),
    };
    Ok(column
        .as_primitive::<TimestampMillisecondType>()
        .iter()
        .map(|millis| millis.map(text))
        .collect())
}

/// Whole numbers without a point: dataframes make floats of integers with gaps, and gaps of NaN.
fn floats(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let column = cast(column, &DataType::Float64)?;
    let text = |number: f64| match number {
        number if number.is_nan() => None,
        number if number.fract() == 0.0 => Some(format!("{number:.0}")),
        number => Some(number.to_string()),
    };
    Ok(column
        .as_primitive::<Float64Type>()
        .iter()
        .map(|number| number.and_then(text))
        .collect())
}

/// Account ids have twelve digits; a number has lost its leading zeros.
fn accounts(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let column = cast(column, &DataType::Int64)?;
    Ok(column
        .as_primitive::<Int64Type>()
        .iter()
        .map(|number| number.map(|number| format!("{number:012}")))
        .collect())
}

fn displayed(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let options = FormatOptions::default();
    let format = ArrayFormatter::try_new(column, &options)?;
    let text = |row| {
        if column.is_null(row) {
            Ok(None)
        } else {
            format.value(row).try_to_string().map(Some)
        }
    };
    (0..column.len()).map(text).collect()
}
