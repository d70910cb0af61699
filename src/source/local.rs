//! Folders, files and pipes of this machine.
//!
//! A folder is read recursively, in the order in which S3 would list the same keys, so that runs
//! over a copy and over the bucket agree. Symbolic links inside it are never followed: one that
//! stays inside would read a file twice, one that leads out would read what nobody named. The
//! folder itself may be a link.

use std::fs::{self, DirEntry, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use chrono::{DateTime, Utc};
use futures::stream::{BoxStream, StreamExt, poll_fn};
use tokio::sync::mpsc;

use super::key::FlowLogKey;
use super::selection::{Selection, Verdict};
use super::{Listed, Object, SourceError};

/// How many entries the walk may be ahead of its reader.
const LISTED_AHEAD: usize = 1024;

/// A path that was named and exists.
#[derive(Debug, Clone)]
pub(super) enum Local {
    Folder(PathBuf),
    File(PathBuf),
    /// A named pipe or `/dev/fd/…`: it can be read once, and has neither size nor time.
    Pipe(PathBuf),
}

impl Local {
    pub(super) fn open(path: &Path) -> Result<Self, SourceError> {
        let refuse = |source| SourceError::Path {
            path: path.display().to_string(),
            source,
        };
        let metadata = fs::metadata(path).map_err(refuse)?;
        let local = if metadata.is_dir() {
            // Fails now rather than at the first listing when the folder itself is closed to us.
            fs::read_dir(path).map_err(refuse)?;
            Self::Folder(fs::canonicalize(path).map_err(refuse)?)
        } else if metadata.is_file() {
            Self::File(fs::canonicalize(path).map_err(refuse)?)
        } else {
            // The canonical form of a pipe in `/dev/fd` is not a path.
            Self::Pipe(std::path::absolute(path).map_err(refuse)?)
        };
        match local.path().to_str() {
            Some(_) => Ok(local),
            None => Err(refuse(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the path is not UTF-8",
            ))),
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::File(path) | Self::Pipe(path) => path,
        }
    }

    pub(super) fn list(
        &self,
        selection: Selection,
    ) -> BoxStream<'static, Result<Listed, SourceError>> {
        match self {
            Self::Folder(root) => {
                let (sender, mut receiver) = mpsc::channel(LISTED_AHEAD);
                let walk = Walk {
                    root: root.clone(),
                    selection,
                    last_skipped: None,
                    sender,
                };
                tokio::task::spawn_blocking(move || walk.run());
                poll_fn(move |context| receiver.poll_recv(context)).boxed()
            }
            Self::File(path) => {
                let listed = fs::metadata(path)
                    .map_err(|source| SourceError::Open {
                        key: path.display().to_string(),
                        source,
                    })
                    .map(|metadata| {
                        Listed::Object(object(path, &metadata, FlowLogKey::parse(&slashed(path))))
                    });
                futures::stream::iter([listed]).boxed()
            }
            Self::Pipe(path) => {
                let object = Object::unrepeatable(path.display().to_string());
                futures::stream::iter([Ok(Listed::Object(object))]).boxed()
            }
        }
    }
}

/// Opens a listed file, as long as it is the one that was listed.
pub(super) fn open(object: &Object) -> Result<Box<dyn Read + Send>, SourceError> {
    let refuse = |source| SourceError::Open {
        key: object.key.clone(),
        source,
    };
    let file = File::open(&object.key).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => SourceError::Gone {
            key: object.key.clone(),
        },
        _ => refuse(source),
    })?;
    let metadata = file.metadata().map_err(refuse)?;
    if metadata.is_file() && identity(&metadata) != object.etag {
        return Err(SourceError::Changed {
            key: object.key.clone(),
        });
    }
    Ok(Box::new(Named {
        key: object.key.clone(),
        file,
    }))
}

/// A file whose errors name it.
struct Named {
    key: String,
    file: File,
}

impl Read for Named {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            kind => io::Error::new(kind, format!("cannot read `{}`: {error}", self.key)),
        })
    }
}

/// Size and time of change: what stands for an ETag here.
fn identity(metadata: &Metadata) -> String {
    let nanos = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |age| age.as_nanos());
    format!("{:x}-{nanos:x}", metadata.len())
}

fn object(path: &Path, metadata: &Metadata, name: Option<FlowLogKey>) -> Object {
    Object {
        key: path.display().to_string(),
        etag: identity(metadata),
        size: metadata.len(),
        modified: metadata.modified().ok().map(DateTime::<Utc>::from),
        name,
    }
}

/// A path with `/` between its parts, on every system.
fn slashed(path: &Path) -> String {
    path.to_string_lossy()
        .replace(std::path::MAIN_SEPARATOR, "/")
}

/// The receiver has gone: nobody wants the rest of the walk.
struct Unwanted;

struct Walk {
    root: PathBuf,
    selection: Selection,
    last_skipped: Option<String>,
    sender: mpsc::Sender<Result<Listed, SourceError>>,
}

impl Walk {
    fn run(mut self) {
        let root = self.root.clone();
        // The only way to fail is that nobody listens any more.
        let _ = self.folder(&root);
    }

    fn folder(&mut self, folder: &Path) -> Result<(), Unwanted> {
        let mut entries =
            match fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<DirEntry>>>) {
                Ok(entries) => entries,
                Err(error) => return self.skip(folder, format!("folder cannot be read: {error}")),
            };
        entries.sort_by_cached_key(sort_key);
        for entry in entries {
            self.entry(&entry)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &DirEntry) -> Result<(), Unwanted> {
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            return self.skip(&path, "hidden".to_owned());
        }
        let kind = match entry.file_type() {
            Ok(kind) => kind,
            Err(error) => return self.skip(&path, format!("cannot be looked at: {error}")),
        };
        if kind.is_symlink() {
            return self.skip(&path, self.symlink_reason(&path));
        }
        if path.to_str().is_none() {
            return self.skip(&path, "its name is not UTF-8".to_owned());
        }
        if kind.is_dir() {
            return self.folder(&path);
        }
        if !kind.is_file() {
            return self.skip(&path, "not a regular file".to_owned());
        }
        let relative = slashed(path.strip_prefix(&self.root).unwrap_or(&path));
        match self.selection.judge(&relative) {
            Verdict::Unwanted { .. } => Ok(()),
            Verdict::Skip { what, reason, .. } => {
                if self.last_skipped.as_ref() == Some(&what) {
                    return Ok(());
                }
                let skipped = self.root.join(&what);
                self.last_skipped = Some(what);
                self.skip(&skipped, reason)
            }
            Verdict::Read(name) => match entry.metadata() {
                Ok(metadata) => self.send(Listed::Object(object(&path, &metadata, name))),
                Err(error) => self.skip(&path, format!("cannot be looked at: {error}")),
            },
        }
    }

    fn symlink_reason(&self, path: &Path) -> String {
        match fs::canonicalize(path) {
            Ok(target) if target.starts_with(&self.root) => {
                "symbolic link: what it leads to is read under its own name".to_owned()
            }
            Ok(_) => {
                "symbolic link that leads out of the folder: name its target to read it".to_owned()
            }
            Err(_) => "symbolic link that leads nowhere".to_owned(),
        }
    }

    fn skip(&self, path: &Path, reason: String) -> Result<(), Unwanted> {
        self.send(Listed::Skipped {
            key: path.display().to_string(),
            reason,
        })
    }

    fn send(&self, listed: Listed) -> Result<(), Unwanted> {
        self.sender.blocking_send(Ok(listed)).map_err(|_| Unwanted)
    }
}

/// Folders sort with a `/` behind their names, as their contents' keys do on S3.
fn sort_key(entry: &DirEntry) -> Vec<u8> {
    let mut name = entry.file_name().into_encoded_bytes();
    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
        name.push(b'/');
    }
    name
}
