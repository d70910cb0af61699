//! Growing columns that cost nothing while they are empty.
//!
//! Nulls are filled in only when a later row has a value, or at the end: a column that the format lacks is never touched. A text is
//! kept once for all rows that have it; the rows have its key.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, AsArray, BooleanBufferBuilder, DictionaryArray, PrimitiveArray,
    StringArray, UInt32Array, new_null_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, UInt32Type};

use crate::batch::dictionary::Dictionary;
use crate::decode::Token;

/// The key of a row without a value.
pub(crate) const NULL: u32 = u32::MAX;

/// Texts of few kinds.
#[derive(Debug)]
pub(crate) struct TextColumn {
    dictionary: Dictionary,
    keys: Vec<u32>,
}

impl TextColumn {
    pub(crate) fn new() -> Self {
        Self {
            dictionary: Dictionary::new(),
            keys: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Makes room for so many rows in all.
    pub(crate) fn reserve(&mut self, rows: usize) {
        self.keys
            .reserve_exact(rows.saturating_sub(self.keys.len()));
    }

    /// How many bytes of text it holds.
    pub(crate) fn text_bytes(&self) -> usize {
        self.dictionary.text_bytes()
    }

    /// Sets row `row`, which must lie behind all rows set so far.
    pub(crate) fn set(&mut self, row: usize, text: &[u8]) {
        self.keys.resize(row, NULL);
        self.keys.push(self.dictionary.intern(text));
    }

    /// Sets the rows from `row` on to one token each, by the keys that `key` gives; `false` if it gives none for some.
    #[inline]
    pub(crate) fn extend<'t>(
        &mut self,
        row: usize,
        tokens: impl ExactSizeIterator<Item = Token<'t>>,
        key: impl Fn(&mut Dictionary, Token<'t>) -> Option<u32>,
    ) -> bool {
        self.keys.resize(row, NULL);
        let mut fits = true;
        let dictionary = &mut self.dictionary;
        self.keys.extend(tokens.map(|token| {
            if token.is_missing() {
                return NULL;
            }
            let key = key(dictionary, token);
            fits &= key.is_some();
            key.unwrap_or(NULL)
        }));
        fits
    }

    /// Forgets row `rows` and all behind it.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.keys.truncate(rows);
    }

    /// The first `rows` rows, as keys into the distinct texts; the column is empty again.
    pub(crate) fn finish(&mut self, rows: usize) -> DictionaryArray<UInt32Type> {
        let mut keys = std::mem::take(&mut self.keys);
        keys.resize(rows, NULL);
        shrink(&mut keys);
        let nulls = nulls(&keys);
        if nulls.is_some() {
            keys.iter_mut()
                .filter(|key| **key == NULL)
                .for_each(|key| *key = 0);
        }
        let texts = self.dictionary.take();
        let offsets = OffsetBuffer::new(ScalarBuffer::from(texts.offsets));
        let texts = StringArray::try_new(offsets, Buffer::from_vec(texts.bytes), None);
        let texts =
            texts.expect("a line that is not UTF-8 is bad, and values end between characters");
        DictionaryArray::try_new(UInt32Array::new(keys.into(), nulls), Arc::new(texts))
            .expect("every key is one that the dictionary gave")
    }
}

fn nulls(keys: &[u32]) -> Option<NullBuffer> {
    if !keys.contains(&NULL) {
        return None;
    }
    let mut valid = BooleanBufferBuilder::new(keys.len());
    keys.iter().for_each(|key| valid.append(*key != NULL));
    Some(NullBuffer::new(valid.finish()))
}

/// Texts with keys as texts: a view of the one copy for each row.
pub(crate) fn views(texts: &DictionaryArray<UInt32Type>) -> ArrayRef {
    if texts.values().is_empty() {
        return new_null_array(&DataType::Utf8View, texts.keys().len());
    }
    let distinct = cast(texts.values(), &DataType::Utf8View).expect("every text is a view");
    take(&distinct, texts.keys(), None).expect("every key is one of the dictionary's")
}

/// Texts with keys as texts, end to end.
pub(crate) fn plain(texts: &DictionaryArray<UInt32Type>) -> ArrayRef {
    if texts.values().is_empty() {
        return new_null_array(&DataType::Utf8, texts.keys().len());
    }
    take(texts.values(), texts.keys(), None).expect("every key is one of the dictionary's")
}

/// Numbers of one type.
#[derive(Debug)]
pub(crate) struct NumberColumn<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    /// The rows without a value, in order.
    missing: Vec<u32>,
}

impl<T: ArrowPrimitiveType> NumberColumn<T> {
    pub(crate) fn new() -> Self {
        Self {
            values: Vec::new(),
            missing: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Makes room for so many rows in all.
    pub(crate) fn reserve(&mut self, rows: usize) {
        self.values
            .reserve_exact(rows.saturating_sub(self.values.len()));
    }

    #[inline]
    fn pad(&mut self, rows: usize) {
        if self.values.len() < rows {
            self.missing.extend(row(self.values.len())..row(rows));
            self.values.resize(rows, T::Native::default());
        }
    }

    /// Sets row `row`, which must lie behind all rows set so far.
    #[inline]
    pub(crate) fn set(&mut self, row: usize, value: T::Native) {
        self.pad(row);
        self.values.push(value);
    }

    /// Sets the rows from `row` on to one token each, if all have a value by `read`.
    #[inline]
    pub(crate) fn extend<'t>(
        &mut self,
        row: usize,
        tokens: impl ExactSizeIterator<Item = Token<'t>>,
        read: impl Fn(Token<'t>) -> Option<T::Native>,
    ) -> bool {
        self.pad(row);
        let mut fits = true;
        let missing = &mut self.missing;
        self.values.extend((row..).zip(tokens).map(|(row, token)| {
            read(token).unwrap_or_else(|| {
                if token.is_missing() {
                    missing.push(self::row(row));
                } else {
                    fits = false;
                }
                T::Native::default()
            })
        }));
        fits
    }

    /// Forgets row `rows` and all behind it.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        while self.missing.pop_if(|last| *last >= row(rows)).is_some() {}
    }

    /// The first `rows` rows as an array of `kind`; the column is empty again.
    pub(crate) fn finish(&mut self, rows: usize, kind: &DataType) -> ArrayRef {
        self.pad(rows);
        let mut values = std::mem::take(&mut self.values);
        shrink(&mut values);
        let missing = std::mem::take(&mut self.missing);
        let nulls = (!missing.is_empty()).then(|| {
            let mut valid = BooleanBufferBuilder::new(rows);
            valid.append_n(rows, true);
            missing
                .into_iter()
                .for_each(|row| valid.set_bit(row as usize, false));
            NullBuffer::new(valid.finish())
        });
        let array = PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls);
        Arc::new(array.with_data_type(kind.clone()))
    }
}

/// Gives back memory that was reserved for rows which did not come, where it is worth the copy.
fn shrink<T>(rows: &mut Vec<T>) {
    if rows.capacity() > rows.len() + rows.len() / 2 {
        rows.shrink_to_fit();
    }
}

fn row(rows: usize) -> u32 {
    u32::try_from(rows).expect("a batch has fewer than 2^32 rows")
}

/// The same text in every row.
pub(crate) fn constant_text(text: &str, rows: usize) -> DictionaryArray<UInt32Type> {
    let keys = shared(&DataType::UInt32, rows, |rows| {
        Arc::new(UInt32Array::from(vec![0; rows]))
    });
    let keys = keys.as_primitive::<UInt32Type>().clone();
    let texts = StringArray::from_iter_values([text]);
    DictionaryArray::try_new(keys, Arc::new(texts)).expect("there is a text with key 0")
}

/// Nulls of one type: most columns of most formats are empty.
pub(crate) fn null_array(kind: &DataType, rows: usize) -> ArrayRef {
    shared(kind, rows, |rows| new_null_array(kind, rows))
}

/// Arrays whose rows are all the same, made once for all objects.
fn shared(kind: &DataType, rows: usize, make: impl Fn(usize) -> ArrayRef) -> ArrayRef {
    static MADE: Mutex<Vec<(DataType, ArrayRef)>> = Mutex::new(Vec::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, array)) = made
        .iter()
        .find(|(of, array)| of == kind && array.len() >= rows)
    {
        return array.slice(0, rows);
    }
    let array = make(rows.next_power_of_two());
    made.retain(|(of, _)| of != kind);
    made.push((kind.clone(), Arc::clone(&array)));
    array.slice(0, rows)
}

/// An array of texts with keys.
pub(crate) fn keyed(array: &ArrayRef) -> &DictionaryArray<UInt32Type> {
    array.as_dictionary()
}
