//! How our Parquet files are written: settings with their reasons, and row groups encoded on blocking threads.

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowRowGroupWriterFactory, ArrowWriter, compute_leaves,
};
use parquet::arrow::{ArrowSchemaConverter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesPtr, WriterVersion,
};
use parquet::file::writer::SerializedFileWriter;

use super::table::PARTITION;
use crate::batch::flows_schema;

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

fn properties() -> WriterPropertiesPtr {
    static PROPERTIES: LazyLock<WriterPropertiesPtr> = LazyLock::new(|| {
        // Level 1: level 3 takes half as much time again for a few percent of size.
        let level = ZstdLevel::try_new(1).expect("1 is a level of zstd");
        Arc::new(
            WriterProperties::builder()
                // Delta encodings where a dictionary gets too large: ports, counters and times shrink by half.
                .set_writer_version(WriterVersion::PARQUET_2_0)
                .set_compression(Compression::ZSTD(level))
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
    chunks: Vec<ArrowColumnChunk>,
    pub(super) rows: usize,
}

impl RowGroup {
    /// Encodes batches of [`file_schema`]. Takes long: for a blocking thread.
    pub(super) fn encode(batches: Vec<RecordBatch>) -> Result<Self, ParquetError> {
        let schema = file_schema();
        let batches = arrange(batches);
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        // A factory wants a writer to take schema and properties from; this one is never written to.
        let factory =
            ArrowRowGroupWriterFactory::new(&OpenFile::new()?.writer, Arc::clone(&schema));
        // Column by column, each released when it is encoded: at no time is everything there twice.
        let mut columns = vec![Vec::with_capacity(batches.len()); schema.fields().len()];
        for batch in batches {
            let (_, arrays, _) = batch.into_parts();
            for (column, array) in columns.iter_mut().zip(arrays) {
                column.push(array);
            }
        }
        let mut chunks = Vec::with_capacity(columns.len());
        let writers = factory.create_column_writers(0)?;
        for ((mut writer, arrays), field) in writers.into_iter().zip(columns).zip(schema.fields()) {
            for array in arrays {
                for leaf in compute_leaves(field, &array)? {
                    writer.write(&leaf)?;
                }
            }
            chunks.push(writer.close()?);
        }
        Ok(Self { chunks, rows })
    }
}

/// The order of rows within a row group: as they came, for now.
fn arrange(batches: Vec<RecordBatch>) -> Vec<RecordBatch> {
    batches
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
        for chunk in row_group.chunks {
            chunk.append_to_row_group(&mut group)?;
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
