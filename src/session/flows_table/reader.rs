//! Reads data files: footers once for all scans of a session, and nothing twice that a scan has at hand.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::{ParquetFileMetrics, ParquetFileReaderFactory};
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet};
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataBuilder, ParquetMetaDataReader,
};

use super::chunk::Parts;

/// Read from the end of a file at once: the footer of a file of eight row groups takes 80 KiB.
const FOOTER_BYTES: usize = 128 << 10;

/// What a scan has read of a file before the reader is opened; goes with the file as an extension.
#[derive(Debug, Clone)]
pub(super) struct AtHand {
    pub(super) metadata: Arc<ParquetMetaData>,
    pub(super) parts: Arc<Parts>,
}

/// Opens readers of data files.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) footers: Arc<FileMetadataCache>,
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let path = file.object_meta.location.as_ref();
        let bytes_scanned = ParquetFileMetrics::new(partition, path, metrics).bytes_scanned;
        Ok(Box::new(self.open(&file, bytes_scanned)))
    }
}

impl Readers {
    pub(super) fn open(&self, file: &PartitionedFile, bytes_scanned: Count) -> Reader {
        Reader {
            readers: self.clone(),
            file: file.object_meta.clone(),
            at_hand: file.extensions.get::<AtHand>().cloned(),
            bytes_scanned,
        }
    }
}

/// Reads one data file.
pub(super) struct Reader {
    readers: Readers,
    file: ObjectMeta,
    at_hand: Option<AtHand>,
    bytes_scanned: Count,
}

impl Reader {
    fn at_hand(&self, range: &Range<u64>) -> Option<Bytes> {
        self.at_hand.as_ref()?.parts.get(range)
    }

    /// The footer alone.
    pub(super) async fn footer(&self) -> Result<Arc<ParquetMetaData>> {
        DFParquetMetadata::new(self.readers.store.as_ref(), &self.file)
            .with_file_metadata_cache(Some(Arc::clone(&self.readers.footers)))
            .with_metadata_size_hint(Some(FOOTER_BYTES))
            .with_page_index_policy(Some(PageIndexPolicy::Skip))
            .fetch_metadata()
            .await
    }

    /// A footer with the places of the pages of some row groups: where rows are chosen, the pages of others need not be read.
    pub(super) async fn with_page_places(
        &mut self,
        footer: &ParquetMetaData,
        row_groups: &[usize],
    ) -> Result<ParquetMetaData, ParquetError> {
        // The index of the whole file would be read and decoded for a few row groups.
        let chosen = row_groups
            .iter()
            .map(|&group| footer.row_group(group).clone());
        let chosen = ParquetMetaDataBuilder::new(footer.file_metadata().clone())
            .set_row_groups(chosen.collect())
            .build();
        let mut reader = ParquetMetaDataReader::new_with_metadata(chosen)
            .with_column_index_policy(PageIndexPolicy::Skip)
            .with_offset_index_policy(PageIndexPolicy::Optional);
        reader.load_page_index(&mut *self).await?;
        let mut chosen = reader.finish()?.into_builder();
        let places = chosen.take_offset_index().map(|places| {
            let mut all = vec![Vec::new(); footer.num_row_groups()];
            for (&group, places) in row_groups.iter().zip(places) {
                all[group] = places;
            }
            all
        });
        Ok(footer
            .clone()
            .into_builder()
            .set_offset_index(places)
            .build())
    }
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move {
            if let Some(bytes) = self.at_hand(&range) {
                return Ok(bytes);
            }
            self.bytes_scanned.add(length(&range));
            let bytes = self.readers.store.get_range(&self.file.location, range);
            bytes.await.map_err(ParquetError::from)
        }
        .boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move {
            let mut bytes: Vec<Option<Bytes>> =
                ranges.iter().map(|range| self.at_hand(range)).collect();
            let missing: Vec<Range<u64>> = ranges
                .into_iter()
                .zip(&bytes)
                .filter_map(|(range, bytes)| bytes.is_none().then_some(range))
                .collect();
            if !missing.is_empty() {
                self.bytes_scanned.add(missing.iter().map(length).sum());
                let store = &self.readers.store;
                let read = store.get_ranges(&self.file.location, &missing).await?;
                let empty = bytes.iter_mut().filter(|bytes| bytes.is_none());
                empty
                    .zip(read)
                    .for_each(|(empty, read)| *empty = Some(read));
            }
            Ok(bytes.into_iter().flatten().collect())
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            if let Some(at_hand) = &self.at_hand {
                return Ok(Arc::clone(&at_hand.metadata));
            }
            let footer = self.footer().await;
            footer.map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }
}

fn length(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).unwrap_or(usize::MAX)
}
