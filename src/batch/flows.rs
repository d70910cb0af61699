//! Good records into `flows` batches: one by one, or, if they are plain, column by column.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{
    DataType, Date32Type, Int32Type, Int64Type, SchemaRef, TimestampMicrosecondType,
};
use arrow::error::ArrowError;

use crate::batch::column::{NULL, NumberColumn, TextColumn, constant_text, null_array};
use crate::batch::schema::{DATE, EXTRA, SOURCE, flows_schema_of};
use crate::batch::{ReadOptions, TextLayout};
use crate::decode::{
    Decoder, Plain, Record, Rule, Token, canonical_address, date_of, micros, number, tag,
};

/// A batch is handed over at this much text, however few rows: text offsets are 32 bits, and `extra` may take six bytes for one.
const MAX_BATCH_TEXT: usize = 64 * 1024 * 1024;

/// Keys are 32 bits.
const MAX_BATCH_ROWS: usize = 1 << 30;

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
    /// How many are still to come, as far as one can tell.
    expected_rows: usize,
    texts: TextLayout,
    source: String,
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
    /// Those whose values are asked for.
    cells: Vec<Cell>,
    /// The other fields by position, whose values are only checked. Those of a single record are before it gets here.
    checks: Vec<(usize, Rule)>,
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
    pub(crate) fn try_new(options: &ReadOptions) -> Result<Self, ArrowError> {
        let all = flows_schema_of(options.texts);
        let wanted = match &options.columns {
            Some(wanted) => wanted.clone(),
            None => (0..all.fields().len()).collect(),
        };
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
        Ok(Self {
            columns: columns.collect(),
            schema,
            wanted,
            plan: Plan::default(),
            rows: 0,
            text: 0,
            max_rows: options.batch_rows.clamp(1, MAX_BATCH_ROWS),
            expected_rows: options.expected_rows,
            texts: options.texts,
            source: options.source.clone(),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// How many rows have room until the batch is full.
    pub(crate) fn room(&self) -> usize {
        self.max_rows - self.rows
    }

    /// Adds a record that took `length` bytes, and says whether the batch is full.
    pub(crate) fn append(&mut self, decoder: &Decoder, record: &Record<'_>, length: usize) -> bool {
        self.plan_for(decoder);
        let row = self.rows;
        for cell in &self.plan.cells {
            match &mut self.columns[cell.column] {
                Column::Text(column) => {
                    let Some(text) = record.text(cell.position) else {
                        continue;
                    };
                    if let Some(text) = kept(cell.rule, text) {
                        column.set(row, &text);
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
            && let Some(extra) = extra(fields, |position| record.text(position))
        {
            column.set(row, &extra);
        }
        self.count(1, length)
    }

    /// Adds plain records, of which there is room for all, and says whether the batch is full; `None`, and none of them is in, if a
    /// value does not fit.
    pub(crate) fn append_plain(&mut self, decoder: &Decoder, records: &Plain<'_>) -> Option<bool> {
        self.plan_for(decoder);
        let row = self.rows;
        if row == 0 {
            self.reserve(records.rows());
        }
        let mut checks = self.plan.checks.iter();
        let mut cells = self.plan.cells.iter();
        let fits = checks.all(|(position, rule)| records.fit(*position, *rule))
            && cells.all(|cell| extend(&mut self.columns[cell.column], row, *cell, records));
        if !fits {
            for column in &mut self.columns {
                column.truncate(row);
            }
            return None;
        }
        if let Some((column, fields)) = &self.plan.extra
            && let Column::Text(column) = &mut self.columns[*column]
        {
            for record in 0..records.rows() {
                let token = |position| {
                    let token = records.token(record, position);
                    (!token.is_missing()).then(|| token.bytes())
                };
                if let Some(extra) = extra(fields, token) {
                    column.set(row + record, &extra);
                }
            }
        }
        Some(self.count(records.rows(), records.length()))
    }

    fn count(&mut self, rows: usize, length: usize) -> bool {
        self.rows += rows;
        self.text += length;
        self.rows >= self.max_rows || self.text >= MAX_BATCH_TEXT
    }

    /// Makes room for the rows of a batch that begins with `first` ones.
    fn reserve(&mut self, first: usize) {
        let rows = self.expected_rows.clamp(first, self.max_rows);
        self.expected_rows -= self.expected_rows.min(self.max_rows);
        for cell in &self.plan.cells {
            match &mut self.columns[cell.column] {
                Column::Text(column) => column.reserve(rows),
                Column::Int32(column) => column.reserve(rows),
                Column::Int64(column) => column.reserve(rows),
                Column::Timestamp(column) => column.reserve(rows),
                Column::Date(column) => column.reserve(rows),
                Column::Source => {}
            }
        }
    }

    fn plan_for(&mut self, decoder: &Decoder) {
        if self.plan.header_changes != Some(decoder.header_changes()) {
            self.plan = Plan::new(&self.wanted, decoder);
        }
    }

    /// The rows so far; the builder is empty again.
    pub(crate) fn finish(&mut self) -> RecordBatch {
        let rows = std::mem::take(&mut self.rows);
        self.text = 0;
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (column, field) in self.columns.iter_mut().zip(self.schema.fields()) {
            let kind = field.data_type();
            arrays.push(match column {
                Column::Source => self.texts.lay_out(constant_text(&self.source, rows)),
                column if column.is_empty() => null_array(kind, rows),
                Column::Text(column) => self.texts.lay_out(column.finish(rows)),
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

impl Column {
    fn is_empty(&self) -> bool {
        match self {
            Self::Text(column) => column.is_empty(),
            Self::Int32(column) => column.is_empty(),
            Self::Int64(column) => column.is_empty(),
            Self::Timestamp(column) => column.is_empty(),
            Self::Date(column) => column.is_empty(),
            Self::Source => false,
        }
    }

    fn truncate(&mut self, rows: usize) {
        match self {
            Self::Text(column) => column.truncate(rows),
            Self::Int32(column) => column.truncate(rows),
            Self::Int64(column) => column.truncate(rows),
            Self::Timestamp(column) => column.truncate(rows),
            Self::Date(column) => column.truncate(rows),
            Self::Source => {}
        }
    }
}

/// Reads one field of plain records into its column, from row `row` on; `false` at a value that breaks the field's rule.
fn extend(column: &mut Column, row: usize, cell: Cell, records: &Plain<'_>) -> bool {
    let tokens = records.column(cell.position);
    let at_most = |token: Token<'_>, most: i64| {
        let number = match token.digits() {
            Some(number) => i64::try_from(number).ok(),
            None => number(token.bytes()),
        };
        number.filter(|number| *number <= most)
    };
    match column {
        Column::Text(column) => match cell.rule {
            Rule::Address => column.extend(row, tokens, |texts, token| {
                let is_canonical =
                    |text: &[u8]| canonical_address(text).is_some_and(|address| *address == *text);
                texts
                    .intern_token(token, is_canonical)
                    .or_else(|| Some(texts.intern(&canonical_address(token.bytes())?)))
            }),
            Rule::Tag => column.extend(row, tokens, |texts, token| {
                if memchr::memchr(b'%', token.bytes()).is_none() {
                    return texts.intern_token(token, |_| true);
                }
                Some(tag(token.bytes()).map_or(NULL, |tag| texts.intern(&tag)))
            }),
            rule => column.extend(row, tokens, |texts, token| {
                texts.intern_token(token, |text| rule.admits(text))
            }),
        },
        Column::Int32(column) => {
            let most = cell.rule.most();
            column.extend(row, tokens, |token| {
                i32::try_from(at_most(token, most)?).ok()
            })
        }
        Column::Int64(column) => column.extend(row, tokens, |token| at_most(token, i64::MAX)),
        Column::Timestamp(column) => {
            column.extend(row, tokens, |token| micros(at_most(token, i64::MAX)?))
        }
        Column::Date(column) => column.extend(row, tokens, |token| {
            Some(date_of(micros(at_most(token, i64::MAX)?)?))
        }),
        Column::Source => true,
    }
}

/// What is kept of a text that fits its field; nothing where it stands for a value that is not there.
fn kept(rule: Rule, text: &[u8]) -> Option<Cow<'_, [u8]>> {
    match rule {
        Rule::Address => canonical_address(text),
        Rule::Tag => tag(text),
        _ => Some(Cow::Borrowed(text)),
    }
}

impl Plan {
    fn new(wanted: &[usize], decoder: &Decoder) -> Self {
        let header = decoder.header();
        let start = header.position_of("start");
        let mut plan = Self {
            header_changes: Some(decoder.header_changes()),
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
        for (position, column) in header.columns().iter().enumerate() {
            let is_wanted = column.field.is_some_and(|field| wanted.contains(&field));
            if !is_wanted {
                plan.checks.push((position, column.rule));
            }
        }
        plan
    }
}

/// The unknown fields that have a value as a JSON object, if there are any.
fn extra<'t>(
    fields: &[(String, usize)],
    text: impl Fn(usize) -> Option<&'t [u8]>,
) -> Option<Vec<u8>> {
    let mut extra = Vec::new();
    for (name, position) in fields {
        let Some(value) = text(*position) else {
            continue;
        };
        extra.push(if extra.is_empty() { b'{' } else { b',' });
        push_json_text(name.as_bytes(), &mut extra);
        extra.push(b':');
        push_json_text(value, &mut extra);
    }
    if extra.is_empty() {
        return None;
    }
    extra.push(b'}');
    Some(extra)
}

fn push_json_text(text: &[u8], out: &mut Vec<u8>) {
    let text = std::str::from_utf8(text).expect("a line that is not UTF-8 is bad");
    serde_json::to_writer(out, text).expect("writing text to a vector cannot fail");
}
