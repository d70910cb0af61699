//! Good records into `flows` batches.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{
    DataType, Date32Type, Int32Type, Int64Type, SchemaRef, TimestampMicrosecondType,
};
use arrow::error::ArrowError;

use crate::batch::column::{NumberColumn, TextColumn, constant_text};
use crate::batch::schema::{DATE, EXTRA, SOURCE, flows_schema};
use crate::decode::{Decoder, Header, Record, Rule, date_of, push_address, push_tag};

/// A batch is handed over at this much text, however few rows: text offsets are 32 bits, and `extra` may take six bytes for one.
const MAX_BATCH_TEXT: usize = 32 * 1024 * 1024;

/// Collects rows, only of the columns that are asked for.
#[derive(Debug)]
pub(crate) struct FlowsBuilder {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// For each output column its place in `flows_schema`.
    wanted: Vec<usize>,
    plan: Plan,
    rows: usize,
    text: usize,
    max_rows: usize,
    source: String,
    sources: Option<ArrayRef>,
    nulls: Vec<(DataType, ArrayRef)>,
}

#[derive(Debug)]
enum Column {
    Text(TextColumn),
    Int32(NumberColumn<Int32Type>),
    Int64(NumberColumn<Int64Type>),
    Timestamp(NumberColumn<TimestampMicrosecondType>),
    Date(NumberColumn<Date32Type>),
    Source,
}

/// Which value goes where, worked out once per header.
#[derive(Debug, Default)]
struct Plan {
    /// The header it was made for, by [`Decoder::header_changes`].
    header_changes: Option<u64>,
    cells: Vec<Cell>,
    /// Names and positions of unknown fields, if `extra` is wanted and there are any.
    extra: Option<(usize, Vec<(String, usize)>)>,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    column: usize,
    position: usize,
    rule: Rule,
}

impl FlowsBuilder {
    /// # Errors
    ///
    /// When the projection names a column that does not exist.
    pub(crate) fn try_new(
        wanted: Option<&[usize]>,
        source: &str,
        batch_rows: usize,
    ) -> Result<Self, ArrowError> {
        let all = flows_schema();
        let wanted = wanted.map_or_else(|| (0..all.fields().len()).collect(), <[usize]>::to_vec);
        let schema = Arc::new(all.project(&wanted)?);
        let columns = wanted
            .iter()
            .map(|index| match (*index, all.field(*index).data_type()) {
                (SOURCE, _) => Column::Source,
                (_, DataType::Int32) => Column::Int32(NumberColumn::new()),
                (_, DataType::Int64) => Column::Int64(NumberColumn::new()),
                (_, DataType::Timestamp(..)) => Column::Timestamp(NumberColumn::new()),
                (_, DataType::Date32) => Column::Date(NumberColumn::new()),
                _ => Column::Text(TextColumn::new()),
            });
        // The column `source` alone must stay below 2 GiB.
        let max_rows = batch_rows.clamp(1, (1 << 30) / (source.len() + 1));
        Ok(Self {
            schema,
            columns: columns.collect(),
            wanted,
            plan: Plan::default(),
            rows: 0,
            text: 0,
            max_rows,
            source: source.to_owned(),
            sources: None,
            nulls: Vec::new(),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Adds a record that took `length` bytes, and says whether the batch is full.
    pub(crate) fn append(&mut self, decoder: &Decoder, record: &Record<'_>, length: usize) -> bool {
        if self.plan.header_changes != Some(decoder.header_changes()) {
            self.plan = Plan::new(&self.wanted, decoder.header(), decoder.header_changes());
        }
        let row = self.rows;
        for cell in &self.plan.cells {
            match &mut self.columns[cell.column] {
                Column::Text(column) => {
                    let Some(text) = record.text(cell.position) else {
                        continue;
                    };
                    match cell.rule {
                        Rule::Address => column.set_with(row, |out| {
                            push_address(text, out);
                            true
                        }),
                        Rule::Tag => column.set_with(row, |out| push_tag(text, out)),
                        _ => column.set(row, text),
                    }
                }
                Column::Int32(column) => {
                    let Some(number) = record.number(cell.position) else {
                        continue;
                    };
                    column.set(
                        row,
                        i32::try_from(number).expect("the record was checked to fit"),
                    );
                }
                Column::Int64(column) => {
                    let Some(number) = record.number(cell.position) else {
                        continue;
                    };
                    column.set(row, number);
                }
                Column::Timestamp(column) => {
                    let Some(micros) = record.number(cell.position) else {
                        continue;
                    };
                    column.set(row, micros);
                }
                Column::Date(column) => {
                    let Some(micros) = record.number(cell.position) else {
                        continue;
                    };
                    column.set(row, date_of(micros));
                }
                Column::Source => {}
            }
        }
        if let Some((column, fields)) = &self.plan.extra
            && let Column::Text(column) = &mut self.columns[*column]
        {
            column.set_with(row, |out| push_extra(fields, record, out));
        }
        self.rows += 1;
        self.text += length;
        self.rows >= self.max_rows || self.text >= MAX_BATCH_TEXT
    }

    /// The rows so far; the builder is empty again.
    pub(crate) fn finish(&mut self) -> RecordBatch {
        let rows = std::mem::take(&mut self.rows);
        self.text = 0;
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (column, field) in self.columns.iter_mut().zip(self.schema.fields()) {
            let kind = field.data_type();
            arrays.push(match column {
                Column::Source => {
                    if self
                        .sources
                        .as_ref()
                        .is_none_or(|sources| sources.len() < rows)
                    {
                        self.sources = Some(constant_text(&self.source, rows));
                    }
                    match &self.sources {
                        Some(sources) => sources.slice(0, rows),
                        None => new_null_array(kind, rows),
                    }
                }
                Column::Text(column) if column.is_empty() => nulls(&mut self.nulls, kind, rows),
                Column::Int32(column) if column.is_empty() => nulls(&mut self.nulls, kind, rows),
                Column::Int64(column) if column.is_empty() => nulls(&mut self.nulls, kind, rows),
                Column::Timestamp(column) if column.is_empty() => {
                    nulls(&mut self.nulls, kind, rows)
                }
                Column::Date(column) if column.is_empty() => nulls(&mut self.nulls, kind, rows),
                Column::Text(column) => column.finish(rows),
                Column::Int32(column) => column.finish(rows, kind),
                Column::Int64(column) => column.finish(rows, kind),
                Column::Timestamp(column) => column.finish(rows, kind),
                Column::Date(column) => column.finish(rows, kind),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .expect("every column has the type of its field and as many rows as there are")
    }
}

/// Nulls of one type, made once and shared: most columns of most formats are empty.
fn nulls(made: &mut Vec<(DataType, ArrayRef)>, kind: &DataType, rows: usize) -> ArrayRef {
    if let Some((_, array)) = made
        .iter()
        .find(|(of, array)| of == kind && array.len() >= rows)
    {
        return array.slice(0, rows);
    }
    let array = new_null_array(kind, rows);
    made.retain(|(of, _)| of != kind);
    made.push((kind.clone(), Arc::clone(&array)));
    array
}

impl Plan {
    fn new(wanted: &[usize], header: &Header, header_changes: u64) -> Self {
        let start = header.position_of("start");
        let mut plan = Self {
            header_changes: Some(header_changes),
            ..Self::default()
        };
        for (column, index) in wanted.iter().enumerate() {
            let position = match *index {
                EXTRA => {
                    let unknown = header
                        .columns()
                        .iter()
                        .enumerate()
                        .filter(|(_, column)| column.field.is_none());
                    let unknown: Vec<_> = unknown
                        .map(|(position, column)| (column.name.clone(), position))
                        .collect();
                    plan.extra = (!unknown.is_empty()).then_some((column, unknown));
                    None
                }
                SOURCE => None,
                DATE => start,
                field => header.position(field),
            };
            if let Some(position) = position {
                plan.cells.push(Cell {
                    column,
                    position,
                    rule: header.columns()[position].rule,
                });
            }
        }
        plan
    }
}

/// Appends the unknown fields that have a value as a JSON object, and says whether there are any.
fn push_extra(fields: &[(String, usize)], record: &Record<'_>, out: &mut Vec<u8>) -> bool {
    let from = out.len();
    for (name, position) in fields {
        let Some(value) = record.text(*position) else {
            continue;
        };
        out.push(if out.len() == from { b'{' } else { b',' });
        push_json_text(name.as_bytes(), out);
        out.push(b':');
        push_json_text(value, out);
    }
    if out.len() == from {
        return false;
    }
    out.push(b'}');
    true
}

fn push_json_text(text: &[u8], out: &mut Vec<u8>) {
    let text = std::str::from_utf8(text).expect("a line that is not UTF-8 is bad");
    serde_json::to_writer(out, text).expect("writing text to a vector cannot fail");
}
