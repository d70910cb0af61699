//! A local object store whose writes have reached the disk when they are acknowledged.
//!
//! `LocalFileSystem` never calls fsync: it survives a killed process, not a power cut. A commit that is half on disk would be
//! worse than none, so contents are synced before they get their name, and the folder after that:
//!
//! ```text
//! create `name#N` ─> write ─> fsync file ─> link or rename to `name` ─> fsync folder
//! ```

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use futures::{TryFutureExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result, UploadPart,
};
use uuid::Uuid;

const STORE: &str = "folder";

/// A folder of the file system, with durable writes.
#[derive(Debug)]
pub(super) struct DurableLocal {
    inner: LocalFileSystem,
}

impl DurableLocal {
    /// The folder must be there.
    pub(super) fn below(folder: &FilePath) -> Result<Self> {
        Ok(Self {
            inner: LocalFileSystem::new_with_prefix(folder)?,
        })
    }
}

impl fmt::Display for DurableLocal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DurableLocal")
    }
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if matches!(options.mode, PutMode::Update(_)) || !options.attributes.is_empty() {
            return self.inner.put_opts(location, payload, options).await;
        }
        let path = self.inner.path_to_filesystem(location)?;
        blocking(move || put(&path, &payload, &options.mode)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let path = self.inner.path_to_filesystem(location)?;
        let folder = path.clone();
        blocking(move || create_parent(&folder)).await?;
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(DurableUpload { inner, path }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        in_order(self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        in_order(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        let path = self.inner.path_to_filesystem(to)?;
        blocking(move || sync_written(&path)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        let path = self.inner.path_to_filesystem(to)?;
        blocking(move || sync_written(&path)).await
    }
}

/// An upload in parts; the staging file and its renaming are those of `LocalFileSystem`.
///
/// The name appears before the contents are synced: nothing refers to a file that is written in parts until it is complete.
#[derive(Debug)]
struct DurableUpload {
    inner: Box<dyn MultipartUpload>,
    path: PathBuf,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await?;
        let path = self.path.clone();
        blocking(move || sync_written(&path)).await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

/// Sorts a listing by name, as S3 does: Delta's kernel expects that of every scheme but `file`.
fn in_order(
    listing: BoxStream<'static, Result<ObjectMeta>>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let sorted = async {
        let mut found: Vec<ObjectMeta> = listing.try_collect().await?;
        found.sort_unstable_by(|one, other| one.location.as_ref().cmp(other.location.as_ref()));
        Ok::<_, Error>(stream::iter(found).map(Ok))
    };
    sorted.try_flatten_stream().boxed()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

fn failed(doing: &'static str, path: &FilePath) -> impl FnOnce(io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::Generic {
        store: STORE,
        source: format!("cannot {doing} `{path}`: {source}").into(),
    }
}

fn put(path: &FilePath, payload: &PutPayload, mode: &PutMode) -> Result<PutResult> {
    create_parent(path)?;
    let staged = staging_path(path);
    let result = write_synced(&staged, payload).and_then(|()| match mode {
        PutMode::Create => fs::hard_link(&staged, path).map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => Error::AlreadyExists {
                path: path.display().to_string(),
                source: source.into(),
            },
            _ => failed("create", path)(source),
        }),
        _ => fs::rename(&staged, path).map_err(failed("replace", path)),
    });
    // Already gone where it was renamed. What is left behind is hidden from listings by its name.
    let _ = fs::remove_file(&staged);
    result?;
    sync_parent(path)?;
    Ok(PutResult {
        e_tag: None,
        version: None,
    })
}

/// Named as `LocalFileSystem` names its own staging files, so that they are hidden from listings, but never the same twice.
fn staging_path(path: &FilePath) -> PathBuf {
    let mut staged = path.as_os_str().to_owned();
    staged.push(format!("#{}", Uuid::new_v4().as_u128()));
    staged.into()
}

fn write_synced(path: &FilePath, payload: &PutPayload) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(failed("create", path))?;
    payload
        .iter()
        .try_for_each(|part| file.write_all(part))
        .map_err(failed("write", path))?;
    file.sync_all().map_err(failed("sync", path))
}

fn sync_written(path: &FilePath) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(failed("sync", path))?;
    sync_parent(path)
}

fn sync_parent(path: &FilePath) -> Result<()> {
    path.parent().map_or(Ok(()), sync_folder)
}

fn sync_folder(folder: &FilePath) -> Result<()> {
    // Elsewhere a folder cannot be opened, and there is nothing to sync it with.
    if !cfg!(unix) {
        return Ok(());
    }
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("sync", folder))
}

fn create_parent(path: &FilePath) -> Result<()> {
    path.parent().map_or(Ok(()), create_folder)
}

/// Creates a folder, and those above it, so that it is still there after a power cut.
pub(super) fn create_folder(folder: &FilePath) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    create_parent(folder)?;
    match fs::create_dir(folder) {
        Ok(()) => sync_parent(folder),
        // Somebody else has been faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(failed("create", folder)(error)),
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    #[tokio::test]
    async fn creates_an_object_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let (store, path) = (
            DurableLocal::below(folder.path()).unwrap(),
            Path::from("a/b/0.json"),
        );
        store
            .put_opts(&path, "first".into(), PutMode::Create.into())
            .await
            .unwrap();
        let second = store
            .put_opts(&path, "second".into(), PutMode::Create.into())
            .await;
        assert!(
            matches!(second, Err(Error::AlreadyExists { .. })),
            "{second:?}"
        );
        assert_eq!(
            store.get(&path).await.unwrap().bytes().await.unwrap(),
            "first"
        );
        store.put(&path, "third".into()).await.unwrap();
        assert_eq!(
            store.get(&path).await.unwrap().bytes().await.unwrap(),
            "third"
        );
        assert_eq!(
            fs::read_dir(folder.path().join("a/b")).unwrap().count(),
            1,
            "no staging file is left"
        );
    }

    #[tokio::test]
    async fn of_many_creators_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        let (store, path) = (
            std::sync::Arc::new(DurableLocal::below(folder.path()).unwrap()),
            Path::from("0.json"),
        );
        let attempts = (0..16).map(|number| {
            let (store, path) = (std::sync::Arc::clone(&store), path.clone());
            tokio::spawn(async move {
                store
                    .put_opts(&path, format!("{number}").into(), PutMode::Create.into())
                    .await
                    .is_ok()
            })
        });
        let won = futures::future::join_all(attempts)
            .await
            .into_iter()
            .filter(|won| *won.as_ref().unwrap())
            .count();
        assert_eq!(won, 1);
    }

    #[tokio::test]
    async fn writes_in_parts_and_hides_what_is_staged() {
        let folder = tempfile::tempdir().unwrap();
        let (store, path) = (
            DurableLocal::below(folder.path()).unwrap(),
            Path::from("new/part"),
        );
        let mut upload = store.put_multipart(&path).await.unwrap();
        upload.put_part("one ".into()).await.unwrap();
        upload.put_part("two".into()).await.unwrap();
        let root = Path::from("new");
        assert_eq!(
            store
                .list(Some(&root))
                .try_collect::<Vec<_>>()
                .await
                .unwrap(),
            []
        );
        upload.complete().await.unwrap();
        assert_eq!(
            store.get(&path).await.unwrap().bytes().await.unwrap(),
            "one two"
        );
    }
}
