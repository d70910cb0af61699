//! NODATA and SKIPDATA records into the `coverage` batch: what the logs say they do not show.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

use crate::batch::column::{NumberColumn, TextColumn, constant_text, plain};
use crate::batch::schema::{COVERAGE_TEXTS, coverage_schema, timestamp};
use crate::decode::{Decoder, Record, Status};

/// The most text that the coverage of one object may hold: text offsets are 32 bits, and it is kept in memory as a whole.
/// An object that AWS wrote (75 MB at most) stays far below.
const MAX_TEXT: usize = 1 << 30;

/// Collects the coverage of one object.
#[derive(Debug)]
pub(crate) struct CoverageBuilder {
    texts: [TextColumn; COVERAGE_TEXTS.len()],
    start: NumberColumn<TimestampMicrosecondType>,
    end: NumberColumn<TimestampMicrosecondType>,
    status: Vec<&'static str>,
    line: NumberColumn<Int64Type>,
    header_changes: Option<u64>,
    text_positions: [Option<usize>; COVERAGE_TEXTS.len()],
    time_positions: [Option<usize>; 2],
}

impl CoverageBuilder {
    pub(crate) fn new() -> Self {
        Self {
            texts: std::array::from_fn(|_| TextColumn::new()),
            start: NumberColumn::new(),
            end: NumberColumn::new(),
            status: Vec::new(),
            line: NumberColumn::new(),
            header_changes: None,
            text_positions: [None; COVERAGE_TEXTS.len()],
            time_positions: [None; 2],
        }
    }

    pub(crate) fn append(
        &mut self,
        decoder: &Decoder,
        record: &Record<'_>,
        status: Status,
        line: u64,
    ) {
        if self.header_changes != Some(decoder.header_changes()) {
            let position = |column: &str| decoder.header().position_of(column);
            self.text_positions = COVERAGE_TEXTS.map(position);
            self.time_positions = ["start", "end"].map(position);
            self.header_changes = Some(decoder.header_changes());
        }
        let row = self.status.len();
        for (column, position) in self.texts.iter_mut().zip(self.text_positions) {
            if let Some(text) = position.and_then(|position| record.text(position)) {
                column.set(row, text);
            }
        }
        for (column, position) in [&mut self.start, &mut self.end]
            .into_iter()
            .zip(self.time_positions)
        {
            if let Some(micros) = position.and_then(|position| record.number(position)) {
                column.set(row, micros);
            }
        }
        self.status.push(status.as_str());
        self.line.set(row, i64::try_from(line).unwrap_or(i64::MAX));
    }

    /// Whether another record could be too much.
    pub(crate) fn is_full(&self, source: &str) -> bool {
        let longest = self
            .texts
            .iter()
            .map(TextColumn::text_bytes)
            .max()
            .unwrap_or_default();
        longest.max(self.status.len() * source.len().max(8)) > MAX_TEXT
    }

    pub(crate) fn finish(mut self, source: &str) -> RecordBatch {
        let rows = self.status.len();
        let mut arrays: Vec<_> = self
            .texts
            .iter_mut()
            .map(|column| plain(&column.finish(rows)))
            .collect();
        arrays.push(self.start.finish(rows, &timestamp()));
        arrays.push(self.end.finish(rows, &timestamp()));
        arrays.push(Arc::new(StringArray::from(self.status)) as Arc<dyn Array>);
        arrays.push(plain(&constant_text(source, rows)));
        arrays.push(self.line.finish(rows, &arrow::datatypes::DataType::Int64));
        RecordBatch::try_new(coverage_schema(), arrays)
            .expect("the columns are in the order of the schema, equally long")
    }
}
