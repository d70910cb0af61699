//! Reads a data file back as it was written: row group by row group, all columns, texts with keys.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use crate::batch::ReadOptions;
use crate::lake::LakeError;
use crate::lake::parquet::keyed_schema;
use crate::lake::place::Place;
use crate::lake::snapshot::DataFile;

/// The rows of one data file.
pub(super) struct Rows {
    place: Place,
    location: Path,
    stream: ParquetRecordBatchStream<FileReader>,
}

impl Rows {
    /// Opens a file: what its footer says has to fit to what the log says.
    pub(super) async fn open(place: &Place, file: &DataFile) -> Result<Self, LakeError> {
        let opened = async {
            let mut reader = FileReader {
                store: Arc::clone(&place.store),
                location: file.location.clone(),
                size: file.size,
            };
            // Its own schema first: a file of an older flowscout has fewer columns.
            let own = ArrowReaderMetadata::load_async(&mut reader, options()).await?;
            let rows = own.metadata().file_metadata().num_rows();
            if u64::try_from(rows).ok() != Some(file.rows) {
                let says = format!("it has {rows} rows, and the log says {}", file.rows);
                return Err(ParquetError::General(says));
            }
            let with_keys = options().with_schema(with_keys(own.schema())?);
            let metadata = ArrowReaderMetadata::try_new(Arc::clone(own.metadata()), with_keys)?;
            ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata)
                .with_batch_size(ReadOptions::BATCH_ROWS)
                .build()
        };
        Ok(Self {
            place: place.clone(),
            location: file.location.clone(),
            stream: opened
                .await
                .map_err(|source| failed(place, &file.location, source))?,
        })
    }

    /// The next row group, in batches of [`keyed_schema`]; nothing behind the last.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<RecordBatch>>, LakeError> {
        let failed = |source| failed(&self.place, &self.location, source);
        let Some(reader) = self.stream.next_row_group().await.map_err(failed)? else {
            return Ok(None);
        };
        let decoded = tokio::task::spawn_blocking(move || decode(reader)).await;
        let decoded = decoded.map_err(|source| LakeError::GivenUp {
            uri: self.place.uri.clone(),
            source,
        })?;
        decoded.map(Some).map_err(failed)
    }
}

fn failed(place: &Place, location: &Path, source: ParquetError) -> LakeError {
    LakeError::Parquet {
        doing: "decode",
        path: place.shown(location),
        source,
    }
}

fn options() -> ArrowReaderOptions {
    ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Skip)
}

/// The columns of a file, those of text with keys.
fn with_keys(own: &SchemaRef) -> Result<SchemaRef, ParquetError> {
    let keyed = keyed_schema();
    let fields = own.fields().iter().map(|field| {
        let ours = keyed.field_with_name(field.name());
        ours.cloned()
            .map_err(|_| ParquetError::General(format!("no column is called `{}`", field.name())))
    });
    Ok(Arc::new(Schema::new(
        fields.collect::<Result<Vec<_>, _>>()?,
    )))
}

fn decode(reader: ParquetRecordBatchReader) -> Result<Vec<RecordBatch>, ParquetError> {
    let schema = keyed_schema();
    let in_order = |batch: RecordBatch| {
        let column = |field: &Arc<arrow::datatypes::Field>| -> ArrayRef {
            match batch.column_by_name(field.name()) {
                Some(column) => Arc::clone(column),
                None => new_null_array(field.data_type(), batch.num_rows()),
            }
        };
        let columns = schema.fields().iter().map(column).collect();
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &rows)
    };
    reader
        .map(|batch| Ok(in_order(batch?)?))
        .collect::<Result<_, _>>()
}

/// Reads ranges of a file of known size.
struct FileReader {
    store: Arc<dyn ObjectStore>,
    location: Path,
    size: u64,
}

impl AsyncFileReader for FileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        let read = self.store.get_range(&self.location, range);
        async move { read.await.map_err(ParquetError::from) }.boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move {
            let read = self.store.get_ranges(&self.location, &ranges).await;
            read.map_err(ParquetError::from)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let size = self.size;
            let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip);
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}
