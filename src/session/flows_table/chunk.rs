//! One column of one row group, as it lies in the file: which of the wanted values its dictionary has, and in which rows they are.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::condition::Value;
use super::indices::{self, Malformed, Wanted};
use super::rows::Rows;

/// Parts of a file, by where they begin.
#[derive(Debug, Clone, Default)]
pub(in crate::session) struct Parts {
    parts: Vec<(u64, Bytes)>,
}

impl Parts {
    pub(in crate::session) fn add(&mut self, start: u64, bytes: Bytes) {
        let at = self.parts.partition_point(|(other, _)| *other < start);
        self.parts.insert(at, (start, bytes));
    }

    pub(super) fn extend(&mut self, others: Self) {
        others
            .parts
            .into_iter()
            .for_each(|(start, bytes)| self.add(start, bytes));
    }

    /// What is there from a place to the end of its part.
    fn from(&self, start: u64) -> Option<Bytes> {
        let at = self.parts.partition_point(|(other, _)| *other <= start);
        let (first, bytes) = &self.parts[at.checked_sub(1)?];
        let inside = usize::try_from(start - first).ok()?;
        (inside < bytes.len()).then(|| bytes.slice(inside..))
    }

    /// A range of the file, if it is all in one part, or in parts that follow each other.
    pub(super) fn get(&self, range: &Range<u64>) -> Option<Bytes> {
        let length = usize::try_from(range.end.checked_sub(range.start)?).ok()?;
        let first = self.from(range.start)?;
        if length <= first.len() {
            return Some(first.slice(..length));
        }
        let mut joined = Vec::with_capacity(length);
        let mut next = first;
        loop {
            joined.extend_from_slice(&next[..next.len().min(length - joined.len())]);
            if joined.len() == length {
                return Some(joined.into());
            }
            next = self.from(range.start + joined.len() as u64)?;
        }
    }
}

impl Length for Parts {
    fn len(&self) -> u64 {
        self.parts
            .last()
            .map_or(0, |(start, bytes)| start + bytes.len() as u64)
    }
}

impl ChunkReader for Parts {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let missing = || ParquetError::EOF(format!("byte {start} has not been read"));
        Ok(self.from(start).ok_or_else(missing)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let missing = || ParquetError::EOF(format!("byte {start} has not been read"));
        self.get(&(start..start + length as u64))
            .ok_or_else(missing)
    }
}

/// Where the dictionary lies, if there is one.
pub(super) fn dictionary_range(column: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let (start, length) = column.byte_range();
    let dictionary = u64::try_from(column.dictionary_page_offset()?).ok()?;
    let data = u64::try_from(column.data_page_offset()).ok()?;
    (start == dictionary && dictionary < data && data <= start + length).then_some(dictionary..data)
}

/// Whether every value of the column is in its dictionary.
pub(in crate::session) fn is_all_in_dictionary(column: &ColumnChunkMetaData) -> bool {
    column.page_encoding_stats_mask().is_some_and(|encodings| {
        encodings.is_only(Encoding::RLE_DICTIONARY) || encodings.is_only(Encoding::PLAIN_DICTIONARY)
    })
}

/// What a dictionary has of the values that are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InDictionary {
    pub(super) wanted: Vec<u32>,
    pub(super) size: usize,
}

/// Looks values up in a dictionary; `None` where it is not one that we can read.
pub(super) fn look_up(
    parts: &Arc<Parts>,
    column: &ColumnChunkMetaData,
    values: &[Value],
) -> Result<Option<InDictionary>, ParquetError> {
    let mut pages = SerializedPageReader::new(Arc::clone(parts), column, 0, None)?;
    let Some(Page::DictionaryPage {
        buf,
        num_values,
        encoding: Encoding::PLAIN | Encoding::PLAIN_DICTIONARY,
        ..
    }) = pages.get_next_page()?
    else {
        return Ok(None);
    };
    let size = num_values as usize;
    let wanted = match column.column_type() {
        Type::BYTE_ARRAY => texts(&buf, num_values, values),
        Type::INT32 => numbers(&buf, num_values, |bytes| {
            let number = i32::from_le_bytes(*bytes);
            values.contains(&Value::Int(number))
        }),
        Type::INT64 => numbers(&buf, num_values, |bytes| {
            let number = i64::from_le_bytes(*bytes);
            values.contains(&Value::Long(number))
        }),
        _ => None,
    };
    Ok(wanted.map(|wanted| InDictionary { wanted, size }))
}

/// Each text has its length before it.
fn texts(dictionary: &[u8], size: u32, values: &[Value]) -> Option<Vec<u32>> {
    let texts: Vec<&[u8]> = values
        .iter()
        .filter_map(|value| match value {
            Value::Text(text) => Some(text.as_slice()),
            _ => None,
        })
        .collect();
    let mut rest = dictionary;
    let mut wanted = Vec::new();
    for index in 0..size {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (text, behind) = behind.split_at_checked(length)?;
        if texts.contains(&text) {
            wanted.push(index);
        }
        rest = behind;
    }
    Some(wanted)
}

fn numbers<const BYTES: usize>(
    dictionary: &[u8],
    size: u32,
    is_wanted: impl Fn(&[u8; BYTES]) -> bool,
) -> Option<Vec<u32>> {
    let (numbers, _) = dictionary.as_chunks::<BYTES>();
    let wanted = (0..size)
        .zip(numbers)
        .filter(|(_, number)| is_wanted(number));
    (numbers.len() >= size as usize).then(|| wanted.map(|(index, _)| index).collect())
}

/// The rows that may have a wanted value, and whether they surely have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) rows: Rows,
    pub(super) is_exact: bool,
}

/// Finds the rows of a column that have a wanted index. Rows of pages without indices are among them.
pub(super) fn find(
    parts: &Arc<Parts>,
    column: &ColumnChunkMetaData,
    num_rows: usize,
    wanted: &[u32],
) -> Result<Found, ParquetError> {
    let malformed = |Malformed| ParquetError::General("malformed dictionary indices".to_owned());
    let descriptor = column.column_descr();
    if descriptor.max_rep_level() > 0 || descriptor.max_def_level() > 1 {
        return Err(ParquetError::NYI("a nested column".to_owned()));
    }
    let has_nulls = descriptor.max_def_level() == 1;
    let wanted = Wanted::new(wanted);
    let mut found = Found {
        rows: Rows::default(),
        is_exact: true,
    };
    let mut first = 0;
    let mut pages = SerializedPageReader::new(Arc::clone(parts), column, num_rows, None)?;
    while let Some(page) = pages.get_next_page()? {
        if !page.is_data_page() {
            continue;
        }
        let rows = page.num_values() as usize;
        let end = first + rows;
        if !matches!(
            page.encoding(),
            Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY
        ) {
            found.is_exact = false;
            found.rows.push(first..end);
        } else if let Some(wanted) = &wanted {
            in_page(&page, has_nulls, wanted, |positions| {
                found
                    .rows
                    .push(first + positions.start..first + positions.end);
            })
            .map_err(malformed)?;
        }
        first = end;
    }
    if first == num_rows {
        Ok(found)
    } else {
        Err(ParquetError::General(format!("{first} of {num_rows} rows")))
    }
}

/// What stands in a data page: where values are, and the values.
struct Body<'p> {
    levels: &'p [u8],
    values: &'p [u8],
    /// How many values are NULL, if the page says so.
    nulls: Option<usize>,
}

impl<'p> Body<'p> {
    fn of(page: &'p Page, has_nulls: bool) -> Result<Self, Malformed> {
        let (levels, values, nulls): (&[u8], &[u8], Option<usize>) = match page {
            Page::DataPageV2 {
                buf,
                num_nulls,
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => {
                let (levels, values) = buf
                    .split_at_checked((def_levels_byte_len + rep_levels_byte_len) as usize)
                    .ok_or(Malformed)?;
                (levels, values, Some(*num_nulls as usize))
            }
            Page::DataPage {
                buf,
                def_level_encoding,
                ..
            } if has_nulls => {
                if *def_level_encoding != Encoding::RLE {
                    return Err(Malformed);
                }
                let (length, rest) = buf.split_first_chunk::<4>().ok_or(Malformed)?;
                let (levels, values) = rest
                    .split_at_checked(u32::from_le_bytes(*length) as usize)
                    .ok_or(Malformed)?;
                (levels, values, None)
            }
            _ => (&[], page.buffer(), Some(0)),
        };
        Ok(Self {
            levels,
            values,
            nulls,
        })
    }

    /// The positions of the values that are there; `None` if all are.
    fn present(&self, count: usize) -> Result<Option<Vec<usize>>, Malformed> {
        if self.nulls == Some(0) {
            return Ok(None);
        }
        let mut there = Vec::with_capacity(count);
        indices::find(self.levels, 1, count, &Wanted::One(1), |positions| {
            there.extend(positions);
        })?;
        Ok(Some(there))
    }
}

/// Positions among all values of a page, NULLs included.
fn in_page(
    page: &Page,
    has_nulls: bool,
    wanted: &Wanted,
    mut found: impl FnMut(Range<usize>),
) -> Result<(), Malformed> {
    let values = page.num_values() as usize;
    let body = Body::of(page, has_nulls)?;
    let find = |count: usize, found: &mut dyn FnMut(Range<usize>)| {
        if count == 0 {
            return Ok(());
        }
        let (bit_width, indices) = body.values.split_first().ok_or(Malformed)?;
        indices::find(indices, *bit_width, count, wanted, found)
    };
    // Only values that are there have an index.
    let Some(there) = body.present(values)? else {
        return find(values, &mut found);
    };
    let mut at = Vec::new();
    find(there.len(), &mut |positions| {
        at.extend(there.get(positions).unwrap_or_default().iter().copied());
    })?;
    at.into_iter()
        .for_each(|position| found(position..position + 1));
    Ok(())
}

/// No index: the value is NULL.
pub(in crate::session) const NULL: u32 = u32::MAX;

/// Leaves the indices of a page's values in `out`, [`NULL`] where there is none. The values of a page without a dictionary, which are
/// returned, have their place among those that are there.
pub(in crate::session) fn indices_of<'p>(
    page: &'p Page,
    has_nulls: bool,
    out: &mut Vec<u32>,
) -> Result<Option<&'p [u8]>, Malformed> {
    let count = page.num_values() as usize;
    let body = Body::of(page, has_nulls)?;
    let present = body.present(count)?;
    let values = present.as_ref().map_or(count, Vec::len);
    out.clear();
    let plain = match page.encoding() {
        Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY => {
            if values > 0 {
                let (bit_width, indices) = body.values.split_first().ok_or(Malformed)?;
                indices::unpack(indices, *bit_width, values, out)?;
            }
            None
        }
        Encoding::PLAIN => {
            out.extend((0..).take(values));
            Some(body.values)
        }
        _ => return Err(Malformed),
    };
    if let Some(present) = present {
        out.resize(count, NULL);
        // From behind, so that none is overwritten before it has moved.
        let mut end = count;
        for (from, &to) in present.iter().enumerate().rev() {
            out[to + 1..end].fill(NULL);
            out[to] = out[from];
            end = to;
        }
        out[..end].fill(NULL);
    }
    Ok(plain)
}
