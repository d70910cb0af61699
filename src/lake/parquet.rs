//! How our Parquet files are written: settings with their reasons, and row groups encoded on blocking threads.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::arrow::{ArrowSchemaConverter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesPtr, WriterVersion,
};
use parquet::file::writer::SerializedFileWriter;
use zstd::bulk::Compressor;

use super::encode::{self, Bloom, Chunk};
use super::table::PARTITION;
use crate::batch::{TextLayout, flows_schema, flows_schema_of};

/// Rows of a row group at most. Smaller than usual, for a row group is also what one thread encodes at a time.
pub(super) const ROW_GROUP_ROWS: usize = 512 * 1024;

/// The columns of a data file: all but the one that the folder's name tells.
pub(super) fn file_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let flows = flows_schema();
        let fields = flows
            .fields()
            .iter()
            .filter(|field| field.name() != PARTITION)
            .cloned();
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    });
    Arc::clone(&SCHEMA)
}

/// The columns of a data file as they are written: texts with keys.
pub(super) fn keyed_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let flows = flows_schema_of(TextLayout::Keys);
        let fields = flows
            .fields()
            .iter()
            .filter(|field| field.name() != PARTITION)
            .cloned();
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    });
    Arc::clone(&SCHEMA)
}

/// Level 1: level 3 takes half as much time again and gains nothing on packed keys.
const ZSTD_LEVEL: i32 = 1;

fn compression() -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).expect("1 is a level of zstd"))
}

/// Columns with a bloom filter: somebody looks for one address.
const BLOOM_FILTERED: [&str; 4] = ["srcaddr", "dstaddr", "pkt_srcaddr", "pkt_dstaddr"];

/// Of the file as a whole, and of the small files beside the table; the pages of data files are our own.
fn properties() -> WriterPropertiesPtr {
    static PROPERTIES: LazyLock<WriterPropertiesPtr> = LazyLock::new(|| {
        Arc::new(
            WriterProperties::builder()
                .set_writer_version(WriterVersion::PARQUET_2_0)
                .set_compression(compression())
                .set_dictionary_enabled(true)
                .set_statistics_enabled(EnabledStatistics::Page)
                .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
                .set_created_by(concat!("flowscout version ", env!("CARGO_PKG_VERSION")).to_owned())
                .build(),
        )
    });
    Arc::clone(&PROPERTIES)
}

/// A row group that is encoded and belongs to no file yet.
pub(super) struct RowGroup {
    chunks: Vec<Chunk>,
    pub(super) rows: usize,
}

impl RowGroup {
    /// Encodes batches of [`keyed_schema`], on so many threads. Takes long: for a blocking thread.
    pub(super) fn encode(batches: Vec<RecordBatch>, threads: usize) -> Result<Self, ParquetError> {
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        let schema = keyed_schema();
        // Column by column, each released when it is encoded: at no time is everything there twice.
        let mut columns = vec![Vec::with_capacity(batches.len()); schema.fields().len()];
        for batch in batches {
            let (_, arrays, _) = batch.into_parts();
            for (column, array) in columns.iter_mut().zip(arrays) {
                column.push(array);
            }
        }
        let descriptor = ArrowSchemaConverter::new().convert(&file_schema())?;
        let columns = Mutex::new(columns.into_iter().enumerate());
        let next = || {
            let mut columns = columns.lock().unwrap_or_else(PoisonError::into_inner);
            columns.next()
        };
        let work = || {
            let mut zstd = Compressor::new(ZSTD_LEVEL)
                .map_err(|error| ParquetError::External(Box::new(error)))?;
            let mut chunks = Vec::new();
            while let Some((index, arrays)) = next() {
                let field = schema.field(index);
                let bloom = if BLOOM_FILTERED.contains(&field.name().as_str()) {
                    Bloom::Filter
                } else {
                    Bloom::None
                };
                let column = descriptor.column(index);
                let chunk = encode::encode(
                    &column,
                    &arrays,
                    field.data_type(),
                    bloom,
                    compression(),
                    &mut zstd,
                )?;
                chunks.push((index, chunk));
            }
            Ok::<_, ParquetError>(chunks)
        };
        let mut chunks = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut chunks = work()?;
            for other in others {
                let gave_up = |_| ParquetError::General("encoding a row group gave up".to_owned());
                chunks.extend(other.join().map_err(gave_up)??);
            }
            Ok::<_, ParquetError>(chunks)
        })?;
        chunks.sort_unstable_by_key(|(index, _)| *index);
        Ok(Self {
            chunks: chunks.into_iter().map(|(_, chunk)| chunk).collect(),
            rows,
        })
    }
}

/// A file being put together in memory; [`take`](Self::take) empties it as it grows.
pub(super) struct OpenFile {
    writer: SerializedFileWriter<Vec<u8>>,
}

impl OpenFile {
    pub(super) fn new() -> Result<Self, ParquetError> {
        let schema = ArrowSchemaConverter::new().convert(&file_schema())?;
        Ok(Self {
            writer: SerializedFileWriter::new(Vec::new(), schema.root_schema_ptr(), properties())?,
        })
    }

    pub(super) fn append(&mut self, row_group: RowGroup) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for Chunk { bytes, close } in row_group.chunks {
            group.append_column(&bytes, close)?;
        }
        group.close()?;
        Ok(())
    }

    /// What has been written since the last call.
    pub(super) fn take(&mut self) -> Result<Bytes, ParquetError> {
        self.writer.flush()?;
        Ok(std::mem::take(self.writer.inner_mut()).into())
    }

    pub(super) fn finish(&mut self) -> Result<(ParquetMetaData, Bytes), ParquetError> {
        let metadata = self.writer.finish()?;
        Ok((metadata, self.take()?))
    }

    pub(super) fn bytes(&self) -> usize {
        self.writer.bytes_written()
    }
}

/// A small file of the side data, whole.
pub(super) fn to_bytes(batches: &[RecordBatch], schema: SchemaRef) -> Result<Bytes, ParquetError> {
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some((*properties()).clone()))?;
    for batch in batches {
        writer.write(batch)?;
    }
    Ok(writer.into_inner()?.into())
}

/// Reads a small file back; of some columns only, if they are named.
pub(super) fn from_bytes(
    bytes: Bytes,
    columns: Option<&[&str]>,
) -> Result<Vec<RecordBatch>, ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let mask = match columns {
        Some(columns) => ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied()),
        None => ProjectionMask::all(),
    };
    let reader = builder.with_projection(mask).build()?;
    Ok(reader.collect::<Result<_, _>>()?)
}
