//! The store that a lake lies in, and the lake's paths inside it.

use std::path::{MAIN_SEPARATOR, Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use url::Url;

use super::bundle;
use super::durable::{self, DurableLocal};
use super::progress::short_hash;
use super::s3::{Patience, Surroundings};
use super::uri::{Kind, LakeUri};
use super::{LakeError, SIDE};
use crate::source::S3Settings;

/// The scheme of the URLs of folders; what stands for the host tells one lake from another.
pub(super) const FOLDER_SCHEME: &str = "lake";

/// A store with the lake's root in it; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) uri: String,
    /// The lake's folder, or the whole bucket.
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) root: Path,
    /// What the keys of objects in it begin with, as a source lists them.
    keys: String,
    /// The lake's URL, as Delta knows it.
    pub(super) url: Url,
    /// The store's URL.
    pub(super) store_url: Url,
}

/// What is there before the table is looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// A table's log.
    Table,
    /// Nothing, or nothing that matters.
    Nothing,
    /// Something else, for example this.
    Other(String),
    /// A lake that has lost its log, for example this.
    Remains(String),
}

/// Whether a missing folder is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Refuse,
    Create,
}

impl Place {
    /// Finds the store, and says what is there.
    pub(super) async fn find(
        uri: &LakeUri,
        missing: Missing,
        settings: &S3Settings,
    ) -> Result<(Self, Contents), LakeError> {
        match &uri.kind {
            Kind::Folder(path) => Self::folder(uri, path, missing),
            Kind::S3 { bucket, prefix } => Box::pin(Self::s3(uri, bucket, prefix, settings)).await,
        }
    }

    fn folder(
        uri: &LakeUri,
        path: &FilePath,
        missing: Missing,
    ) -> Result<(Self, Contents), LakeError> {
        let shown = uri.to_string();
        let refuse = |doing| {
            let path = shown.clone();
            move |source| LakeError::Folder {
                doing,
                path,
                source,
            }
        };
        if path.exists() && !path.is_dir() {
            return Err(LakeError::NotAFolder { uri: shown });
        }
        let contents = if path.exists() {
            look(path).map_err(refuse("open"))?
        } else {
            Contents::Nothing
        };
        match (&contents, missing) {
            (Contents::Table, _) => {}
            (Contents::Remains(entry), _) => return Err(no_log(&shown, entry)),
            (_, Missing::Refuse) => return Err(LakeError::NoLake { uri: shown }),
            (Contents::Other(entry), Missing::Create) => {
                return Err(LakeError::Occupied {
                    uri: shown,
                    entry: entry.clone(),
                });
            }
            (Contents::Nothing, Missing::Create) => {
                let absolute = std::path::absolute(path).map_err(refuse("create"))?;
                durable::create_folder(&absolute).map_err(|error| LakeError::Unwritable {
                    uri: shown.clone(),
                    error,
                })?;
            }
        }
        let path = std::fs::canonicalize(path).map_err(refuse("open"))?;
        let not_utf8 =
            || std::io::Error::new(std::io::ErrorKind::InvalidInput, "the path is not UTF-8");
        let name = path.to_str().ok_or_else(|| refuse("open")(not_utf8()))?;
        let store = DurableLocal::below(&path).map_err(|error| LakeError::Unreachable {
            uri: shown.clone(),
            error,
        })?;
        // A URL of our own: one of the `file` scheme is decoded twice on its way through Delta, and opens the whole disk.
        let store_url = Url::parse(&format!("{FOLDER_SCHEME}://{:016x}/", short_hash(name)))
            .expect("a name of hexadecimal digits");
        Ok((
            Self {
                uri: shown,
                store: Arc::new(store),
                root: Path::default(),
                keys: name.trim_end_matches('/').to_owned(),
                url: store_url.clone(),
                store_url,
            },
            contents,
        ))
    }

    async fn s3(
        uri: &LakeUri,
        bucket: &str,
        prefix: &str,
        settings: &S3Settings,
    ) -> Result<(Self, Contents), LakeError> {
        let uri = uri.to_string();
        let surroundings = Surroundings::find(&uri, bucket, settings).await?;
        let refuse = |error| LakeError::Unreachable {
            uri: uri.clone(),
            error,
        };
        let text = || LakeError::Uri {
            text: uri.clone(),
            expected: "a bucket and a prefix that make a URL",
        };
        let root = Path::parse(prefix).map_err(|_| text())?;
        let store_url = Url::parse(&format!("s3://{bucket}")).map_err(|_| text())?;
        let mut url = store_url.clone();
        url.set_path(&if prefix.is_empty() {
            String::from("/")
        } else {
            format!("/{prefix}/")
        });
        let first = surroundings.store(Patience::Short).map_err(refuse)?;
        let contents = look_in_bucket(&first, &root).await.map_err(refuse)?;
        if let Contents::Remains(entry) = &contents {
            return Err(no_log(&uri, entry));
        }
        let store = Arc::new(surroundings.store(Patience::Long).map_err(refuse)?);
        Ok((
            Self {
                keys: format!("s3://{bucket}/{prefix}")
                    .trim_end_matches('/')
                    .to_owned(),
                uri: uri.clone(),
                store,
                root,
                url,
                store_url,
            },
            contents,
        ))
    }

    /// The path in the store of something in the lake.
    pub(super) fn path(&self, relative: &str) -> Path {
        relative
            .split('/')
            .fold(self.root.clone(), |path, part| path.join(part))
    }

    /// Whether a source's key names something that lies in the lake and belongs to it.
    pub(super) fn holds(&self, key: &str) -> bool {
        let inside = key
            .strip_prefix(&self.keys)
            .and_then(|rest| rest.strip_prefix(['/', MAIN_SEPARATOR]));
        inside.is_some_and(|inside| {
            ["_delta_log", SIDE, "date="]
                .iter()
                .any(|ours| inside.starts_with(ours))
        })
    }

    pub(super) async fn read(&self, relative: &str) -> Result<Option<Bytes>, LakeError> {
        let path = self.path(relative);
        let found = match self.store.get(&path).await {
            Ok(found) => found.bytes().await,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => Err(error),
        };
        found.map(Some).map_err(self.failed("read", &path))
    }

    pub(super) async fn write(&self, relative: &str, bytes: Bytes) -> Result<(), LakeError> {
        let path = self.path(relative);
        self.store
            .put(&path, bytes.into())
            .await
            .map_err(self.failed("write", &path))?;
        Ok(())
    }

    /// Writes an object that nobody has written before. False if it is there.
    pub(super) async fn create(&self, relative: &str, bytes: Bytes) -> Result<bool, LakeError> {
        let path = self.path(relative);
        let created = create(self.store.as_ref(), &path, bytes).await;
        created.map_err(self.failed("write", &path))
    }

    /// Deletes what can be deleted: what cannot is an orphan that nothing refers to.
    pub(super) async fn delete_quietly(&self, relative: Vec<String>) {
        for relative in relative {
            let path = self.path(&relative);
            match self.store.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => tracing::warn!(%path, %error, "cannot delete what was not committed"),
            }
        }
    }

    /// Names of what lies directly in a folder of the lake, behind `after`, in order.
    pub(super) async fn list(&self, folder: &str, after: &str) -> Result<Vec<String>, LakeError> {
        let folder = self.path(folder);
        let offset = if after.is_empty() {
            folder.clone()
        } else {
            folder.clone().join(after)
        };
        let mut listing = self.store.list_with_offset(Some(&folder), &offset);
        let mut names = Vec::new();
        while let Some(found) = listing.next().await {
            let found = found.map_err(self.failed("list", &folder))?;
            names.extend(found.location.filename().map(str::to_owned));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// A path of the store as seen from the lake's root.
    pub(super) fn inside(&self, path: &Path) -> String {
        let inside = path
            .as_ref()
            .strip_prefix(self.root.as_ref())
            .unwrap_or(path.as_ref());
        inside.trim_start_matches('/').to_owned()
    }

    /// A path of the store as a reader knows it.
    pub(super) fn shown(&self, path: &Path) -> String {
        format!("{}/{}", self.uri.trim_end_matches('/'), self.inside(path))
    }

    pub(super) fn failed(
        &self,
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(object_store::Error) -> LakeError + use<> {
        let path = self.shown(path);
        move |error| LakeError::Store { doing, path, error }
    }

    /// The folder that the lake is, unless it is in a bucket.
    pub(super) fn folder_path(&self) -> Option<PathBuf> {
        (self.url.scheme() == FOLDER_SCHEME).then(|| PathBuf::from(&self.keys))
    }

    /// A folder of a test.
    #[cfg(test)]
    pub(super) fn of_folder(folder: &FilePath) -> Self {
        let uri = LakeUri::parse(folder.to_str().unwrap()).unwrap();
        Self::folder(&uri, folder, Missing::Create).unwrap().0
    }
}

/// Creates an object, unless it is there; whether it did.
pub(super) async fn create(
    store: &dyn ObjectStore,
    path: &Path,
    bytes: Bytes,
) -> object_store::Result<bool> {
    let created = store.put_opts(path, bytes.into(), PutMode::Create.into());
    match created.await {
        Ok(_) => Ok(true),
        Err(
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. },
        ) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A name that does not keep a lake from being created beside it: hidden files, and what an interrupted creation left.
fn does_not_matter(name: &str) -> bool {
    name.starts_with('.') || name == SIDE || name == "_delta_log"
}

/// What is left of a lake whose log is gone. A new one there would ingest again what these files already have.
const REMAINS: [&str; 4] = ["ledger", "batches", bundle::BUNDLES, "topology"];

fn no_log(uri: &str, entry: &str) -> LakeError {
    LakeError::Damaged {
        uri: uri.to_owned(),
        what: format!("it has `{entry}`, and its log `_delta_log` is gone"),
    }
}

fn look(folder: &FilePath) -> std::io::Result<Contents> {
    let log = folder.join("_delta_log");
    if log.is_dir() {
        for entry in std::fs::read_dir(log)? {
            if entry?
                .path()
                .extension()
                .is_some_and(|extension| extension == "json" || extension == "parquet")
            {
                return Ok(Contents::Table);
            }
        }
    }
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("date=") {
            return Ok(Contents::Remains(name));
        }
        if !does_not_matter(&name) {
            return Ok(Contents::Other(name));
        }
    }
    let side = folder.join(SIDE);
    for remains in REMAINS {
        let is_empty =
            std::fs::read_dir(side.join(remains)).is_ok_and(|mut all| all.next().is_none());
        if side.join(remains).is_dir() && !is_empty {
            return Ok(Contents::Remains(format!("{SIDE}/{remains}")));
        }
    }
    Ok(Contents::Nothing)
}

async fn look_in_bucket(store: &dyn ObjectStore, root: &Path) -> object_store::Result<Contents> {
    let log = root.clone().join("_delta_log");
    if let Some(found) = store.list(Some(&log)).next().await {
        found?;
        return Ok(Contents::Table);
    }
    let root = (!root.as_ref().is_empty()).then_some(root);
    let mut listing = store.list(root);
    while let Some(found) = listing.next().await {
        let location = found?.location;
        let mut parts = root.map_or_else(
            || Some(location.parts().collect::<Vec<_>>()),
            |root| Some(location.prefix_match(root)?.collect()),
        );
        let parts: Vec<String> = parts
            .iter_mut()
            .flatten()
            .map(|part| part.as_ref().to_owned())
            .collect();
        let name = parts.first().cloned();
        if let [first, second, ..] = parts.as_slice()
            && (first.starts_with("date=") || first == SIDE && REMAINS.contains(&second.as_str()))
        {
            return Ok(Contents::Remains(format!("{first}/{second}")));
        }
        if let Some(name) = name.filter(|name| !does_not_matter(name)) {
            return Ok(Contents::Other(name));
        }
    }
    Ok(Contents::Nothing)
}
