//! Arrow columns into Parquet column chunks: our own encoder, for rows whose texts come with keys.
//!
//! ```text
//! arrays ─> values (distinct ones, keys) ─> pages (levels, packed keys, zstd) ─> chunk
//! ```
//!
//! parquet-rs hashes each value of each row, also of an array that has keys already, compares each for the bounds and hashes it once
//! more for a bloom filter. Here that is done for each distinct text of a batch. All columns get a dictionary, unless it would be larger
//! than what it saves: most values of flow logs repeat. Its keys are in the order of first use, which compresses better than any other, for
//! frequent values come early.

mod hybrid;
mod values;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use bytes::Bytes;
use parquet::basic::{BoundaryOrder, Compression, Encoding, EncodingMask, PageType};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;

use self::values::{Bounds, Values};

/// Rows of a page: the least that can be skipped, and what zstd sees at a time.
const PAGE_ROWS: usize = 20_000;

/// Whether a chunk gets a bloom filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bloom {
    None,
    Filter,
}

/// An encoded column chunk.
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    pub(super) close: ColumnCloseResult,
}

/// Encodes one column of a row group; `codec` is the compression of `zstd`, for the metadata.
pub(super) fn encode(
    column: &ColumnDescPtr,
    arrays: &[ArrayRef],
    data_type: &DataType,
    bloom: Bloom,
    codec: Compression,
    zstd: &mut Compressor<'_>,
) -> Result<Chunk, ParquetError> {
    let values = Values::gather(arrays, data_type)?;
    let rows = arrays.iter().map(Array::len).sum();
    // Packed keys of the usual width; fresh memory that grows costs more than the packing.
    let mut out = TrackedWrite::new(Vec::with_capacity(values.len() * 2));
    let mut pages = Pages::new(column, SerializedPageWriter::new(&mut out), zstd);
    let width = hybrid::width_of(values.distinct.len());
    if values.keys.is_some() && values.len() > 0 {
        pages.write_dictionary(&values)?;
    }
    // Without values there is nothing to skip.
    let page_rows = if values.len() == 0 { rows } else { PAGE_ROWS };
    let mut validity = Validity::new(arrays);
    let (mut row, mut value) = (0, 0);
    while row < rows {
        let page = page_rows.min(rows - row);
        let mut body = pages.body();
        let present = if values.len() == 0 {
            hybrid::run(0, page, 1, &mut body);
            0
        } else {
            validity.write_levels(page, &mut body)
        };
        let levels = body.len();
        let range = value..value + present;
        let (encoding, bounds) = match &values.keys {
            // No row of the page has a value.
            _ if present == 0 => (Encoding::PLAIN, None),
            Some(keys) => {
                body.push(u8::try_from(width).unwrap_or_default());
                hybrid::encode(&keys[range.clone()], width, &mut body);
                (
                    Encoding::RLE_DICTIONARY,
                    values.distinct.bounds_of(&keys[range]),
                )
            }
            None => {
                values.distinct.write_plain(range.clone(), &mut body);
                (Encoding::PLAIN, values.distinct.bounds(range))
            }
        };
        pages.write_data(body, levels, page, page - present, encoding, bounds)?;
        (row, value) = (row + page, value + present);
    }
    let bloom_filter = match bloom {
        Bloom::Filter if values.len() > 0 => values.distinct.bloom_filter()?,
        _ => None,
    };
    let written = pages.finish()?;
    let bytes: Bytes = out.into_inner()?.into();
    let metadata = ColumnChunkMetaData::builder(ColumnDescPtr::clone(column))
        .set_compression(codec)
        .set_encodings_mask(written.encodings)
        .set_page_encoding_stats(written.encoding_stats)
        .set_total_compressed_size(narrow(bytes.len())?)
        .set_total_uncompressed_size(narrow(written.uncompressed)?)
        .set_num_values(narrow(rows)?)
        .set_dictionary_page_offset(written.dictionary.then_some(0))
        .set_data_page_offset(written.first_data_page)
        .set_statistics(
            values
                .distinct
                .statistics(values.keys.is_some(), rows - values.len()),
        )
        .build()?;
    let close = ColumnCloseResult {
        bytes_written: bytes.len() as u64,
        rows_written: rows as u64,
        metadata,
        bloom_filter,
        column_index: written
            .column_index
            .valid()
            .then(|| written.column_index.build())
            .transpose()?,
        offset_index: Some(written.offset_index.build()),
    };
    Ok(Chunk { bytes, close })
}

fn narrow<T: TryFrom<usize>>(length: usize) -> Result<T, ParquetError> {
    T::try_from(length)
        .map_err(|_| ParquetError::General(format!("a page or a chunk of {length} is too large")))
}

/// The pages of a chunk on their way out.
struct Pages<'w, 'z, 'd> {
    writer: SerializedPageWriter<'w, Vec<u8>>,
    zstd: &'z mut Compressor<'d>,
    body: Vec<u8>,
    buffer: Vec<u8>,
    written: Written,
}

/// What the chunk's metadata says of its pages.
struct Written {
    dictionary: bool,
    first_data_page: i64,
    uncompressed: usize,
    encodings: EncodingMask,
    encoding_stats: Vec<PageEncodingStats>,
    column_index: ColumnIndexBuilder,
    offset_index: OffsetIndexBuilder,
}

impl<'w, 'z, 'd> Pages<'w, 'z, 'd> {
    fn new(
        column: &ColumnDescPtr,
        writer: SerializedPageWriter<'w, Vec<u8>>,
        zstd: &'z mut Compressor<'d>,
    ) -> Self {
        Self {
            writer,
            zstd,
            body: Vec::new(),
            buffer: Vec::new(),
            written: Written {
                dictionary: false,
                first_data_page: 0,
                uncompressed: 0,
                // Levels are.
                encodings: EncodingMask::new_from_encodings([Encoding::RLE].iter()),
                encoding_stats: Vec::new(),
                column_index: ColumnIndexBuilder::new(column.physical_type()),
                offset_index: OffsetIndexBuilder::new(),
            },
        }
    }

    /// An empty buffer for a page, to be handed back to `write_data`.
    fn body(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.body)
    }

    fn write_dictionary(&mut self, values: &Values) -> Result<(), ParquetError> {
        let count = values.distinct.len();
        let mut body = Vec::new();
        values.distinct.write_plain(0..count, &mut body);
        let length = body.len();
        self.compress(&body)?;
        let page = Page::DictionaryPage {
            buf: Bytes::copy_from_slice(&self.buffer),
            num_values: narrow(count)?,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        let spec = self.writer.write_page(CompressedPage::new(page, length))?;
        self.written.dictionary = true;
        self.written.first_data_page =
            narrow(usize::try_from(spec.bytes_written).unwrap_or(usize::MAX))?;
        self.written.uncompressed += spec.uncompressed_size;
        self.count(PageType::DICTIONARY_PAGE, Encoding::PLAIN);
        Ok(())
    }

    /// Writes a page of which the first `levels` bytes are definition levels.
    fn write_data(
        &mut self,
        mut body: Vec<u8>,
        levels: usize,
        rows: usize,
        nulls: usize,
        encoding: Encoding,
        bounds: Option<Bounds>,
    ) -> Result<(), ParquetError> {
        let length = body.len();
        self.compress(&body[levels..])?;
        let is_compressed = self.buffer.len() < length - levels;
        if is_compressed {
            body.truncate(levels);
            body.extend_from_slice(&self.buffer);
        }
        let page = Page::DataPageV2 {
            buf: Bytes::copy_from_slice(&body),
            num_values: narrow(rows)?,
            encoding,
            num_nulls: narrow(nulls)?,
            num_rows: narrow(rows)?,
            def_levels_byte_len: narrow(levels)?,
            rep_levels_byte_len: 0,
            is_compressed,
            statistics: None,
        };
        let spec = self.writer.write_page(CompressedPage::new(page, length))?;
        let written = &mut self.written;
        written.uncompressed += spec.uncompressed_size;
        let index = &mut written.offset_index;
        index.append_offset_and_size(
            i64::try_from(spec.offset).unwrap_or(i64::MAX),
            narrow(spec.compressed_size)?,
        );
        index.append_row_count(narrow(rows)?);
        let nulls: i64 = narrow(nulls)?;
        match bounds {
            Some(bounds) => {
                written
                    .column_index
                    .append(false, bounds.min, bounds.max, nulls);
            }
            None if rows as i64 == nulls => {
                written
                    .column_index
                    .append(true, Vec::new(), Vec::new(), nulls);
            }
            None => written.column_index.to_invalid(),
        }
        self.count(PageType::DATA_PAGE_V2, encoding);
        body.clear();
        self.body = body;
        Ok(())
    }

    fn count(&mut self, page_type: PageType, encoding: Encoding) {
        self.written.encodings.insert(encoding);
        let stats = &mut self.written.encoding_stats;
        match stats
            .iter_mut()
            .find(|stats| stats.page_type == page_type && stats.encoding == encoding)
        {
            Some(stats) => stats.count += 1,
            None => stats.push(PageEncodingStats {
                page_type,
                encoding,
                count: 1,
            }),
        }
    }

    /// Into `buffer`.
    fn compress(&mut self, bytes: &[u8]) -> Result<(), ParquetError> {
        self.buffer.clear();
        self.buffer
            .reserve(zstd::zstd_safe::compress_bound(bytes.len()));
        self.zstd
            .compress_to_buffer(bytes, &mut self.buffer)
            .map_err(|error| ParquetError::External(Box::new(error)))?;
        Ok(())
    }

    fn finish(mut self) -> Result<Written, ParquetError> {
        self.writer.close()?;
        self.written
            .column_index
            .set_boundary_order(BoundaryOrder::UNORDERED);
        Ok(self.written)
    }
}

/// Which rows have a value, from the first to the last.
struct Validity<'a> {
    arrays: &'a [ArrayRef],
    /// The next row, by array and place in it.
    array: usize,
    at: usize,
}

impl<'a> Validity<'a> {
    fn new(arrays: &'a [ArrayRef]) -> Self {
        Self {
            arrays,
            array: 0,
            at: 0,
        }
    }

    /// Appends the definition levels of the next `rows` rows, and says how many of them have a value.
    fn write_levels(&mut self, rows: usize, out: &mut Vec<u8>) -> usize {
        let (mut left, mut present) = (rows, 0);
        let mut levels: Vec<u32> = Vec::new();
        while left > 0 {
            let array = &self.arrays[self.array];
            let part = left.min(array.len() - self.at);
            let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
            match nulls {
                None if levels.is_empty() && present + left == rows => present += part,
                nulls => {
                    // Some row has none: from here on each gets its level.
                    levels.resize(rows - left, 1);
                    let range = self.at..self.at + part;
                    let level = |row| u32::from(nulls.is_none_or(|nulls| nulls.is_valid(row)));
                    let from = levels.len();
                    levels.extend(range.map(level));
                    present += levels[from..].iter().filter(|level| **level == 1).count();
                }
            }
            left -= part;
            self.at += part;
            if self.at == array.len() {
                (self.array, self.at) = (self.array + 1, 0);
            }
        }
        if levels.is_empty() {
            hybrid::run(1, rows, 1, out);
        } else {
            hybrid::encode(&levels, 1, out);
        }
        present
    }
}
