//! How our Parquet files are written: settings with their reasons, and row groups encoded on blocking threads.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
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
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| without_partition(&flows_schema()));
    Arc::clone(&SCHEMA)
}

/// The columns of a data file as they are written: texts with keys.
pub(super) fn keyed_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> =
        LazyLock::new(|| without_partition(&flows_schema_of(TextLayout::Keys)));
    Arc::clone(&SCHEMA)
}

fn without_partition(flows: &Schema) -> SchemaRef {
    let fields = flows
        .fields()
        .iter()
        .filter(|field| field.name() != PARTITION)
        .cloned();
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
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

/// Reads a small file back, a thousand rows at a time; of some columns only, if they are named.
pub(super) fn from_bytes(
    bytes: Bytes,
    columns: Option<&[&str]>,
) -> Result<ParquetRecordBatchReader, ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let mask = match columns {
        Some(columns) => ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied()),
        None => ProjectionMask::all(),
    };
    builder.with_projection(mask).build()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::ops::ControlFlow;

    use arrow::array::AsArray;
    use arrow::compute::{cast, concat_batches};
    use parquet::arrow::arrow_reader::ArrowReaderOptions;
    use parquet::bloom_filter::Sbbf;
    use parquet::file::metadata::PageIndexPolicy;
    use parquet::file::statistics::Statistics;

    use super::*;
    use crate::batch::{ReadOptions, read_object};

    /// Several batches with more rows than a page has: values that repeat, that are all distinct, and that are missing here and there.
    fn batches() -> Vec<RecordBatch> {
        let mut text =
            "srcaddr bytes start tcp-flags vpc-id instance-id packets dstport log-status\n"
                .to_owned();
        for row in 0..45_000_u64 {
            let flags = if row % 7 == 0 {
                "-".to_owned()
            } else {
                (row % 5).to_string()
            };
            let vpc = if row < 30_000 { "-" } else { "vpc-1" };
            // Pages without any value follow one that has some.
            let early = |number: u64| {
                if row < 12_000 {
                    number.to_string()
                } else {
                    "-".to_owned()
                }
            };
            let unique = row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1;
            writeln!(
                text,
                "10.0.{}.{} {unique} {} {flags} {vpc} i-{unique:x}-{unique} {} {} OK",
                row % 20,
                row % 251,
                1_700_000_000 + row / 100,
                early(1 + row % 3),
                early(440 + row % 6),
            )
            .unwrap();
        }
        let batches = decoded(&text);
        assert_eq!(batches.len(), 3);
        batches
    }

    fn decoded(text: &str) -> Vec<RecordBatch> {
        let options = ReadOptions {
            batch_rows: 17_000,
            ..ReadOptions::new("log")
        };
        let mut batches = Vec::new();
        read_object(text.as_bytes(), &options, &mut |mut batch| {
            batch.remove_column(batch.num_columns() - 1);
            batches.push(batch);
            ControlFlow::Continue(())
        })
        .unwrap();
        batches
    }

    /// A log whose columns have values in stretches of their own: in every row, in some, in none.
    fn patchy(seed: u64) -> Vec<RecordBatch> {
        const ROWS: usize = 90_000;
        let mut state = seed;
        let mut random = move |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let columns: Vec<Vec<String>> = (0..5)
            .map(|column| {
                let mut values: Vec<String> = Vec::with_capacity(ROWS);
                while values.len() < ROWS {
                    let (length, kind) = (1 + random(45_000), random(3));
                    let distinct = [3, 500, 1 << 30][usize::try_from(random(3)).unwrap()];
                    for _ in 0..length {
                        let number = random(distinct);
                        let is_there = kind == 0 || kind == 1 && random(4) > 0;
                        values.push(match column {
                            _ if !is_there => "-".to_owned(),
                            0 => format!("10.{}.{}.7", number % 200, number / 200 % 200),
                            1 => (number % 60_000).to_string(),
                            2 => format!("vpc-{number}"),
                            _ => (1_700_000_000 + number).to_string(),
                        });
                    }
                }
                values
            })
            .collect();
        let mut text = "srcaddr dstport vpc-id bytes start log-status\n".to_owned();
        for row in 0..ROWS {
            for column in &columns {
                write!(text, "{} ", column[row]).unwrap();
            }
            text.push_str("OK\n");
        }
        decoded(&text)
    }

    fn file(batches: Vec<RecordBatch>, threads: usize) -> Bytes {
        let mut file = OpenFile::new().unwrap();
        for _ in 0..2 {
            file.append(RowGroup::encode(batches.clone(), threads).unwrap())
                .unwrap();
        }
        file.finish().unwrap().1
    }

    fn assert_parquet_reads(batches: Vec<RecordBatch>) {
        let written = concat_batches(&keyed_schema(), batches.iter().chain(&batches)).unwrap();
        let bytes = file(batches, 2);
        let read = from_bytes(bytes, None).unwrap();
        let read: Vec<_> = read.map(Result::unwrap).collect();
        let read = concat_batches(&read[0].schema(), &read).unwrap();
        assert_eq!(read.num_rows(), written.num_rows());
        for (index, field) in file_schema().fields().iter().enumerate() {
            let expected = cast(written.column(index), field.data_type()).unwrap();
            assert_eq!(read.column(index), &expected, "{}", field.name());
        }
    }

    #[test]
    fn what_is_encoded_is_what_parquet_reads() {
        assert_parquet_reads(batches());
    }

    #[test]
    fn values_may_be_missing_wherever_they_like() {
        for seed in 1..=6 {
            assert_parquet_reads(patchy(seed));
        }
    }

    #[test]
    fn statistics_bound_each_page_and_filters_know_each_address() {
        let bytes = file(batches(), 1);
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        let builder =
            ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), options).unwrap();
        let metadata = builder.metadata();
        let column = |name: &str| file_schema().index_of(name).unwrap();
        let group = metadata.row_group(1);

        let Some(Statistics::Int64(start)) = group.column(column("start")).statistics() else {
            panic!("times are numbers");
        };
        let (min, max) = (1_700_000_000_000_000, 1_700_000_449_000_000);
        assert_eq!((start.min_opt(), start.max_opt()), (Some(&min), Some(&max)));
        assert_eq!(
            (start.distinct_count(), start.null_count_opt()),
            (Some(450), Some(0))
        );
        let vpc = group.column(column("vpc_id")).statistics().unwrap();
        assert_eq!(vpc.null_count_opt(), Some(30_000));
        assert_eq!(vpc.min_bytes_opt(), Some(&b"vpc-1"[..]));

        let pages = &metadata.offset_index().unwrap()[1][column("start")].page_locations;
        let first_rows: Vec<i64> = pages.iter().map(|page| page.first_row_index).collect();
        assert_eq!(first_rows, [0, 20_000, 40_000]);
        let index = &metadata.column_index().unwrap()[1][column("start")];
        let parquet::file::page_index::column_index::ColumnIndexMetaData::INT64(index) = index
        else {
            panic!("times are numbers");
        };
        assert_eq!(index.min_value(1), Some(&1_700_000_200_000_000));
        assert_eq!(index.max_value(1), Some(&1_700_000_399_000_000));

        let chunk = group.column(column("srcaddr"));
        assert!(chunk.dictionary_page_offset().is_some());
        let filter = Sbbf::read_from_column_chunk(chunk, &bytes)
            .unwrap()
            .unwrap();
        let read = from_bytes(bytes, Some(&["srcaddr"])).unwrap();
        let read: Vec<_> = read.map(Result::unwrap).collect();
        let addresses = read
            .iter()
            .flat_map(|batch| batch.column(0).as_string::<i32>());
        assert!(addresses.flatten().all(|address| filter.check(address)));
        let absent = (0..1000).filter(|n| filter.check(format!("192.0.2.{n}").as_str()));
        assert!(absent.count() < 50);
        let unique = group.column(column("bytes"));
        assert_eq!(
            unique.dictionary_page_offset(),
            None,
            "it would be as large as the numbers"
        );
    }
}
