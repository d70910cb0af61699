//! The columns of a row group as they lie in a data file: a text is looked up once for each row group, a row costs an index into that.
//!
//! Data files keep nearly everything by dictionary. What rows are wanted is known after a few columns; of all others only those
//! rows are taken, and pages without any are not even decompressed.

use std::sync::Arc;

use arrow::array::{Int32Array, Int64Array};
use arrow::buffer::NullBuffer;
use bytes::Bytes;
use parquet::basic::{Encoding, LogicalType, TimeUnit, Type};
use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescriptor;

use super::flow::NONE;
use super::input::Typed;
use crate::session::flows_table::chunk::{self, Parts};

/// A value that has not been looked up.
const UNKNOWN: u32 = NONE - 1;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Int,
    Long,
}

impl Kind {
    /// `None` for columns that we leave to a general reader.
    fn of(column: &ColumnDescriptor) -> Option<Self> {
        if column.max_rep_level() > 0 || column.max_def_level() > 1 {
            return None;
        }
        match (column.physical_type(), column.logical_type_ref()) {
            (Type::BYTE_ARRAY, Some(LogicalType::String)) => Some(Self::Text),
            (Type::INT32, None) => Some(Self::Int),
            (Type::INT32, Some(LogicalType::Integer(kind))) => {
                (kind.is_signed && kind.bit_width == 32).then_some(Self::Int)
            }
            (Type::INT64, None) => Some(Self::Long),
            (Type::INT64, Some(LogicalType::Integer(kind))) => {
                (kind.is_signed && kind.bit_width == 64).then_some(Self::Long)
            }
            (Type::INT64, Some(LogicalType::Timestamp(kind))) => {
                matches!(kind.unit, TimeUnit::MICROS).then_some(Self::Long)
            }
            _ => None,
        }
    }
}

/// Whether some columns of a row group are written in a way that is read here.
pub(super) fn can_read(group: &RowGroupMetaData, columns: impl IntoIterator<Item = usize>) -> bool {
    columns.into_iter().all(|column| {
        let column = group.column(column);
        let known = |encoding: Encoding| {
            matches!(
                encoding,
                Encoding::PLAIN
                    | Encoding::PLAIN_DICTIONARY
                    | Encoding::RLE
                    | Encoding::RLE_DICTIONARY
            )
        };
        Kind::of(column.column_descr()).is_some() && column.encodings().all(known)
    })
}

/// Values by index.
#[derive(Debug)]
enum Values {
    Texts {
        bytes: Bytes,
        /// Where each text lies.
        places: Vec<(u32, u32)>,
        /// The number of each, [`UNKNOWN`] until it occurs.
        numbers: Vec<u32>,
    },
    Ints(Vec<i32>),
    Longs(Vec<i64>),
}

impl Values {
    /// Reads values in Parquet's plain encoding.
    fn plain(bytes: &Bytes, kind: Kind, count: usize) -> Option<Self> {
        match kind {
            Kind::Text => {
                let mut places = Vec::with_capacity(count);
                let mut at = 0_usize;
                for _ in 0..count {
                    let length = bytes.get(at..)?.first_chunk::<4>()?;
                    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
                    let (first, end) = (at + 4, (at + 4).checked_add(length)?);
                    if end > bytes.len() {
                        return None;
                    }
                    places.push((u32::try_from(first).ok()?, u32::try_from(end).ok()?));
                    at = end;
                }
                Some(Self::Texts {
                    bytes: bytes.clone(),
                    numbers: vec![UNKNOWN; count],
                    places,
                })
            }
            Kind::Int => {
                let (numbers, _) = bytes.as_chunks::<4>();
                let numbers = numbers.get(..count)?.iter();
                Some(Self::Ints(
                    numbers.map(|&n| i32::from_le_bytes(n)).collect(),
                ))
            }
            Kind::Long => {
                let (numbers, _) = bytes.as_chunks::<8>();
                let numbers = numbers.get(..count)?.iter();
                Some(Self::Longs(
                    numbers.map(|&n| i64::from_le_bytes(n)).collect(),
                ))
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Texts { numbers, .. } => numbers.len(),
            Self::Ints(numbers) => numbers.len(),
            Self::Longs(numbers) => numbers.len(),
        }
    }
}

/// One column of a row group, read from front to back.
pub(super) struct StoredColumn {
    pages: SerializedPageReader<Parts>,
    kind: Kind,
    has_nulls: bool,
    /// Whether each row has a value that is in the dictionary.
    is_all_in_dictionary: bool,
    name: String,
    dictionary: Option<Values>,
    /// Of the page at hand: its indices, all of which have a value or are [`chunk::NULL`], its values if it has no dictionary, and what
    /// comes next.
    indices: Vec<u32>,
    page_has_nulls: bool,
    own_values: Option<Values>,
    at: usize,
    /// Rows to be left out before the page that comes next.
    skipped: usize,
}

/// What a stretch of a column became.
enum Taken {
    Numbers(Vec<u32>),
    Ints(Vec<i32>, Vec<bool>),
    Longs(Vec<i64>, Vec<bool>),
}

impl StoredColumn {
    /// # Errors
    /// The column is of no kind that [`can_read`] allows, or its pages have not been read into `parts`.
    pub(super) fn open(
        parts: &Arc<Parts>,
        column: &ColumnChunkMetaData,
        rows: usize,
    ) -> Result<Self, ParquetError> {
        let descriptor = column.column_descr();
        let name = descriptor.name().to_owned();
        let kind = Kind::of(descriptor)
            .ok_or_else(|| ParquetError::NYI(format!("column `{name}` of another type")))?;
        Ok(Self {
            pages: SerializedPageReader::new(Arc::clone(parts), column, rows, None)?,
            kind,
            has_nulls: descriptor.max_def_level() == 1,
            is_all_in_dictionary: chunk::is_all_in_dictionary(column)
                && column.statistics().and_then(Statistics::null_count_opt) == Some(0),
            name,
            dictionary: None,
            indices: Vec::new(),
            page_has_nulls: false,
            own_values: None,
            at: 0,
            skipped: 0,
        })
    }

    /// The texts of the column's dictionary; `None` where rows may have others, or nothing.
    ///
    /// # Errors
    /// The dictionary makes no sense.
    pub(super) fn texts(&mut self) -> Result<Option<Vec<&str>>, ParquetError> {
        if !self.is_all_in_dictionary {
            return Ok(None);
        }
        if self.dictionary.is_none() && self.indices.is_empty() {
            self.next_page()?;
        }
        let Some(Values::Texts { bytes, places, .. }) = &self.dictionary else {
            return Ok(None);
        };
        let text = |&(first, end): &(u32, u32)| {
            std::str::from_utf8(&bytes[first as usize..end as usize]).ok()
        };
        Ok(places.iter().map(text).collect())
    }

    fn malformed(&self) -> ParquetError {
        ParquetError::General(format!("column `{}` has a malformed page", self.name))
    }

    /// Leaves out rows.
    pub(super) fn skip(&mut self, rows: usize) {
        let here = (self.indices.len() - self.at).min(rows);
        self.at += here;
        self.skipped += rows - here;
    }

    /// Takes what comes next of so many rows: all of them, or those that are chosen, by their place and in order. `number` gives a
    /// text's number.
    ///
    /// # Errors
    /// The column ends early or makes no sense.
    pub(super) fn take(
        &mut self,
        rows: usize,
        chosen: Option<&[u32]>,
        mut number: impl FnMut(&str) -> u32,
    ) -> Result<Typed, ParquetError> {
        let capacity = chosen.map_or(rows, <[u32]>::len);
        let mut taken = match self.kind {
            Kind::Text => Taken::Numbers(Vec::with_capacity(capacity)),
            Kind::Int => Taken::Ints(Vec::with_capacity(capacity), Vec::new()),
            Kind::Long => Taken::Longs(Vec::with_capacity(capacity), Vec::new()),
        };
        let mut done = 0;
        let mut left = chosen;
        while done < rows {
            if self.at == self.indices.len() {
                self.next_page()?;
                continue;
            }
            let here = (self.indices.len() - self.at).min(rows - done);
            let end = done + here;
            let indices = &self.indices[self.at..self.at + here];
            let own = self.own_values.as_mut();
            let values = own.or(self.dictionary.as_mut());
            let with_nulls = self.page_has_nulls;
            let is_taken = match left {
                None => {
                    let indices = indices.iter().copied();
                    append(indices, values, with_nulls, &mut taken, &mut number)
                }
                Some(chosen) => {
                    let of_page = chosen.partition_point(|&row| (row as usize) < end);
                    let (now, later) = chosen.split_at(of_page);
                    left = Some(later);
                    let indices = now.iter().map(|&row| indices[row as usize - done]);
                    append(indices, values, with_nulls, &mut taken, &mut number)
                }
            };
            is_taken.ok_or_else(|| self.malformed())?;
            self.at += here;
            done = end;
        }
        let nulls = |valid: Vec<bool>| (!valid.is_empty()).then(|| NullBuffer::from(valid));
        Ok(match taken {
            Taken::Numbers(numbers) => Typed::Numbers(numbers),
            Taken::Ints(values, valid) => Typed::Int(Int32Array::new(values.into(), nulls(valid))),
            Taken::Longs(values, valid) => {
                Typed::Long(Int64Array::new(values.into(), nulls(valid)))
            }
        })
    }

    fn next_page(&mut self) -> Result<(), ParquetError> {
        // Pages of which no row is wanted stay as they are.
        while self.skipped > 0 {
            let Some(next) = self.pages.peek_next_page()? else {
                break;
            };
            let rows = match next.num_rows.or(next.num_levels) {
                Some(rows) if !next.is_dict => rows,
                _ => break,
            };
            if rows > self.skipped {
                break;
            }
            self.pages.skip_next_page()?;
            self.skipped -= rows;
        }
        let Some(page) = self.pages.get_next_page()? else {
            let name = &self.name;
            return Err(ParquetError::EOF(format!("column `{name}` ends early")));
        };
        if let Page::DictionaryPage {
            buf, num_values, ..
        } = &page
        {
            let values = Values::plain(buf, self.kind, *num_values as usize);
            self.dictionary = Some(values.ok_or_else(|| self.malformed())?);
            return Ok(());
        }
        let plain = chunk::indices_of(&page, self.has_nulls, &mut self.indices);
        let plain = plain.map_err(|_| self.malformed())?;
        self.own_values = match plain {
            Some(bytes) => {
                let count = self.indices.iter().filter(|&&at| at != chunk::NULL).count();
                let values = Values::plain(&page.buffer().slice_ref(bytes), self.kind, count);
                Some(values.ok_or_else(|| self.malformed())?)
            }
            None => None,
        };
        let values = self.own_values.as_ref().or(self.dictionary.as_ref());
        let count = values.map_or(0, Values::len);
        // One above the index, so that NULL is the least.
        let next = |index: &u32| index.wrapping_add(1);
        let last = self.indices.iter().map(next).max().unwrap_or(0);
        if last as usize > count {
            return Err(self.malformed());
        }
        self.page_has_nulls = self.has_nulls && self.indices.contains(&chunk::NULL);
        self.at = self.skipped.min(self.indices.len());
        self.skipped -= self.at;
        Ok(())
    }
}

/// Appends the values of some indices, each of which has one or is [`chunk::NULL`]; `None` if one is no text.
fn append(
    indices: impl Iterator<Item = u32>,
    values: Option<&mut Values>,
    with_nulls: bool,
    taken: &mut Taken,
    number: &mut impl FnMut(&str) -> u32,
) -> Option<()> {
    match (taken, values) {
        (
            Taken::Numbers(out),
            Some(Values::Texts {
                bytes,
                places,
                numbers,
            }),
        ) => {
            for index in indices {
                if index == chunk::NULL {
                    out.push(NONE);
                    continue;
                }
                let known = &mut numbers[index as usize];
                if *known == UNKNOWN {
                    let (first, end) = places[index as usize];
                    let text = std::str::from_utf8(&bytes[first as usize..end as usize]);
                    *known = number(text.ok()?);
                }
                out.push(*known);
            }
        }
        (Taken::Ints(out, valid), Some(Values::Ints(values))) => {
            gather(indices, values, with_nulls, out, valid);
        }
        (Taken::Longs(out, valid), Some(Values::Longs(values))) => {
            gather(indices, values, with_nulls, out, valid);
        }
        // All are NULL, and no dictionary was needed to say so.
        (Taken::Numbers(out), _) => out.extend(indices.map(|_| NONE)),
        (Taken::Ints(out, valid), _) => gather(indices, &[], true, out, valid),
        (Taken::Longs(out, valid), _) => gather(indices, &[], true, out, valid),
    }
    Some(())
}

/// Appends numbers. `valid` is empty as long as none is NULL.
fn gather<N: Copy + Default>(
    indices: impl Iterator<Item = u32>,
    values: &[N],
    with_nulls: bool,
    out: &mut Vec<N>,
    valid: &mut Vec<bool>,
) {
    let before = out.len();
    if !with_nulls {
        out.extend(indices.map(|index| values[index as usize]));
        if !valid.is_empty() {
            valid.resize(out.len(), true);
        }
        return;
    }
    valid.resize(before, true);
    for index in indices {
        let value = values.get(index as usize);
        valid.push(value.is_some());
        out.push(value.copied().unwrap_or_default());
    }
}
