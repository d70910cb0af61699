//! Result rows in every format.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::csv::writer::WriterBuilder as CsvBuilder;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::json::writer::{JsonArray, LineDelimited, WriterBuilder as JsonBuilder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;

use super::table::table_or_records;
use super::{Format, ReportError};

/// Writes batches as they come; [`RowWriter::finish`] ends the output.
pub struct RowWriter<W: Write + Send> {
    state: State<W>,
}

enum State<W: Write + Send> {
    Table {
        out: W,
        schema: SchemaRef,
        rows: Vec<Vec<String>>,
    },
    Json(Box<arrow::json::Writer<W, JsonArray>>),
    Ndjson(Box<arrow::json::Writer<W, LineDelimited>>),
    Csv {
        writer: Box<arrow::csv::Writer<W>>,
    },
    Parquet(Box<ArrowWriter<W>>),
}

impl<W: Write + Send> std::fmt::Debug for RowWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowWriter").finish_non_exhaustive()
    }
}

impl<W: Write + Send> RowWriter<W> {
    /// A writer of rows of this schema.
    ///
    /// # Errors
    /// When the format can't hold the schema, or the output fails.
    pub fn try_new(out: W, schema: &SchemaRef, format: Format) -> Result<Self, ReportError> {
        let state = match format {
            Format::Table => State::Table {
                out,
                schema: SchemaRef::clone(schema),
                rows: Vec::new(),
            },
            Format::Json => State::Json(Box::new(
                JsonBuilder::new().with_explicit_nulls(true).build(out),
            )),
            Format::Ndjson => State::Ndjson(Box::new(
                JsonBuilder::new().with_explicit_nulls(true).build(out),
            )),
            Format::Csv => State::Csv {
                writer: Box::new(CsvBuilder::new().with_header(true).build(out)),
            },
            Format::Parquet => State::Parquet(Box::new(ArrowWriter::try_new(
                out,
                SchemaRef::clone(schema),
                None,
            )?)),
        };
        let mut writer = Self { state };
        if matches!(format, Format::Csv) {
            // An answer without rows still has its header.
            writer.write(&RecordBatch::new_empty(SchemaRef::clone(schema)))?;
        }
        Ok(writer)
    }

    /// Writes a batch.
    ///
    /// # Errors
    /// When a value can't be rendered or the output fails.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), ReportError> {
        match &mut self.state {
            State::Table { rows, .. } => rows.extend(texts(batch)?),
            State::Json(writer) => writer.write(batch)?,
            State::Ndjson(writer) => writer.write(batch)?,
            State::Csv { writer } => writer.write(&flattened(batch)?)?,
            State::Parquet(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    /// Ends the output.
    ///
    /// # Errors
    /// When the output fails.
    pub fn finish(self) -> Result<(), ReportError> {
        match self.state {
            State::Table {
                mut out,
                schema,
                rows,
            } => {
                let names: Vec<&str> = schema
                    .fields()
                    .iter()
                    .map(|field| field.name().as_str())
                    .collect();
                let numbers = schema
                    .fields()
                    .iter()
                    .filter(|field| field.data_type().is_numeric());
                let right: Vec<&str> = numbers.map(|field| field.name().as_str()).collect();
                writeln!(out, "{}", table_or_records(&names, &right, rows))?;
                out.flush()?;
            }
            State::Json(mut writer) => {
                writer.finish()?;
                let mut out = writer.into_inner();
                writeln!(out)?;
                out.flush()?;
            }
            State::Ndjson(mut writer) => {
                writer.finish()?;
                writer.into_inner().flush()?;
            }
            State::Csv { writer } => writer.into_inner().flush()?,
            State::Parquet(writer) => {
                writer.into_inner()?.flush()?;
            }
        }
        Ok(())
    }
}

/// Writes batches that are all there.
///
/// # Errors
/// As [`RowWriter`].
pub fn write_rows<W: Write + Send>(
    out: W,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    format: Format,
) -> Result<(), ReportError> {
    let mut writer = RowWriter::try_new(out, schema, format)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()
}

fn texts(batch: &RecordBatch) -> Result<Vec<Vec<String>>, ReportError> {
    let options = FormatOptions::default()
        .with_null("")
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.fZ"));
    let columns = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<Vec<_>, _>>()?;
    let mut rows = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        rows.push(
            columns
                .iter()
                .map(|column| column.value(row).try_to_string())
                .collect::<Result<Vec<_>, _>>()?,
        );
    }
    Ok(rows)
}

/// CSV has no lists and structs: they become their text.
fn flattened(batch: &RecordBatch) -> Result<RecordBatch, ReportError> {
    use arrow::array::{ArrayRef, StringArray};
    use arrow::datatypes::{Field, Schema};
    use std::sync::Arc;
    if !batch
        .schema()
        .fields()
        .iter()
        .any(|field| field.data_type().is_nested())
    {
        return Ok(batch.clone());
    }
    let options = FormatOptions::default();
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            let formatter = ArrayFormatter::try_new(column, &options)?;
            let texts = (0..batch.num_rows())
                .map(|row| (!column.is_null(row)).then(|| formatter.value(row).to_string()));
            columns.push(Arc::new(texts.collect::<StringArray>()));
            fields.push(Field::new(field.name(), DataType::Utf8, true));
        } else {
            columns.push(Arc::clone(column));
            fields.push(field.as_ref().clone());
        }
    }
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}
