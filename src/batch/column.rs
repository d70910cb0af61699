//! Growing columns that cost nothing while they are empty.
//!
//! Nulls are filled in only when a later row has a value, or at the end: a column that the format lacks is never touched.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, NullBufferBuilder, PrimitiveArray, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::DataType;

/// Text, end to end.
#[derive(Debug)]
pub(crate) struct TextColumn {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl TextColumn {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            offsets: vec![0],
            nulls: NullBufferBuilder::new(0),
        }
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes of text it holds.
    pub(crate) fn text_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Makes the column `rows` long with nulls.
    #[inline]
    fn pad(&mut self, rows: usize) {
        let missing = rows - self.len();
        if missing > 0 {
            let last = self.offsets[self.offsets.len() - 1];
            self.offsets.resize(rows + 1, last);
            self.nulls.append_n_nulls(missing);
        }
    }

    /// Sets row `row`, which must lie behind all rows set so far.
    #[inline]
    pub(crate) fn set(&mut self, row: usize, text: &[u8]) {
        self.pad(row);
        self.bytes.extend_from_slice(text);
        self.close();
    }

    /// Sets row `row` to what `write` appends; null when it says so (and then it must have appended nothing).
    #[inline]
    pub(crate) fn set_with(&mut self, row: usize, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        self.pad(row);
        if write(&mut self.bytes) {
            self.close();
        }
    }

    #[inline]
    fn close(&mut self) {
        let end = i32::try_from(self.bytes.len())
            .expect("batches are handed over long before 2 GiB of text");
        self.offsets.push(end);
        self.nulls.append_non_null();
    }

    /// The first `rows` rows as an array; the column is empty again.
    pub(crate) fn finish(&mut self, rows: usize) -> ArrayRef {
        self.pad(rows);
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(0));
        let mut next = Vec::with_capacity(rows + 1);
        next.push(0);
        self.bytes.reserve(bytes.len());
        let offsets = std::mem::replace(&mut self.offsets, next);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let array = StringArray::try_new(offsets, Buffer::from_vec(bytes), self.nulls.finish());
        Arc::new(array.expect("a line that is not UTF-8 is bad, and values end between characters"))
    }
}

/// Numbers of one type.
#[derive(Debug)]
pub(crate) struct NumberColumn<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
}

impl<T: ArrowPrimitiveType> NumberColumn<T> {
    pub(crate) fn new() -> Self {
        Self {
            values: Vec::new(),
            nulls: NullBufferBuilder::new(0),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    #[inline]
    fn pad(&mut self, rows: usize) {
        let missing = rows - self.values.len();
        if missing > 0 {
            self.values.resize(rows, T::Native::default());
            self.nulls.append_n_nulls(missing);
        }
    }

    /// Sets row `row`, which must lie behind all rows set so far.
    #[inline]
    pub(crate) fn set(&mut self, row: usize, value: T::Native) {
        self.pad(row);
        self.values.push(value);
        self.nulls.append_non_null();
    }

    /// The first `rows` rows as an array of `kind`; the column is empty again.
    pub(crate) fn finish(&mut self, rows: usize, kind: &DataType) -> ArrayRef {
        self.pad(rows);
        let values = std::mem::replace(&mut self.values, Vec::with_capacity(rows));
        let array = PrimitiveArray::<T>::new(ScalarBuffer::from(values), self.nulls.finish());
        Arc::new(array.with_data_type(kind.clone()))
    }
}

/// The same text in every row.
pub(crate) fn constant_text(text: &str, rows: usize) -> ArrayRef {
    Arc::new(StringArray::new_repeated(text, rows))
}
