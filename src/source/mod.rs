//! Where logs come from: a folder, a file, standard input, an S3 bucket. Knows nothing of what is
//! in them.
//!
//! [`Source::list`] says what there is, judged by names alone, and [`Source::fetch`] gives one
//! object's bytes; [`gzip::inflate`] makes text of them. How many objects are open at a time is the
//! caller's business.
//!
//! ```
//! use std::io::Read;
//!
//! use flowscout::source::{Listed, Location, S3Settings, Selection, Source, gzip};
//! use futures::TryStreamExt;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # std::fs::write(folder.path().join("a.log"), "version account-id\n2 123456789010\n")?;
//! # let folder = folder.path().to_str().ok_or("not UTF-8")?;
//! let runtime = tokio::runtime::Runtime::new()?;
//! let (source, listed) = runtime.block_on(async {
//!     let source = Source::open(Location::parse(folder)?, &S3Settings::default()).await?;
//!     let listed: Vec<Listed> = source.list(Selection::default()).try_collect().await?;
//!     Ok::<_, flowscout::source::SourceError>((source, listed))
//! })?;
//! for entry in listed {
//!     let Listed::Object(object) = entry else { continue };
//!     let raw = runtime.block_on(source.fetch(&object))?;
//!     let mut text = String::new();
//!     gzip::inflate(raw, object.size)?.read_to_string(&mut text)?;
//!     assert!(text.starts_with("version account-id"));
//! }
//! # Ok(())
//! # }
//! ```

mod body;
mod error;
pub mod gzip;
pub mod key;
mod local;
mod location;
pub mod queue;
mod s3;
mod selection;

use std::io::Read;

use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::{BoxStream, StreamExt};

pub(crate) use s3::load as load_aws_config;

pub use error::{Outlook, SourceError};
pub(crate) use error::{is_about_credentials, is_about_the_clock};
pub use location::Location;
pub use s3::S3Settings;
pub use selection::Selection;

/// One object as it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is known by, unique among all sources: `s3://bucket/key`, a canonical path, or `-`.
    pub key: String,
    /// Changes whenever the content does: S3's ETag without its quotes, a file's size and time of
    /// change, or, for what can be read only once, a number that never comes again.
    pub etag: String,
    /// Length in bytes as it is stored; 0 for what can be read only once.
    pub size: u64,
    /// When it was last written.
    pub modified: Option<DateTime<Utc>>,
    /// What its name says, if it follows AWS's naming.
    pub name: Option<key::FlowLogKey>,
}

impl Object {
    /// What comes through a pipe: not the same thing twice.
    fn unrepeatable(key: String) -> Self {
        Self {
            key,
            etag: uuid::Uuid::new_v4().simple().to_string(),
            size: 0,
            modified: None,
            name: None,
        }
    }
}

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// To be read.
    Object(Object),
    /// Left out because its name says that it is no flow log, or because it cannot be read. What
    /// the selection rules out is not listed at all.
    Skipped {
        /// The object, or a folder of which all is left out (it then ends in `/`).
        key: String,
        /// In words, to be counted and shown.
        reason: String,
    },
}

/// A place that logs are read from; cheap to clone.
#[derive(Debug, Clone)]
pub struct Source {
    kind: Kind,
    location: Location,
}

#[derive(Debug, Clone)]
enum Kind {
    Local(local::Local),
    Stdin,
    S3(s3::Bucket),
}

impl Source {
    /// Opens a location: looks at the path, or finds credentials and the bucket's region.
    ///
    /// # Errors
    /// The path or bucket does not exist, or cannot be reached with what is configured. No
    /// credentials is an error within a few seconds: the last resort of the SDK's chain, the
    /// instance's metadata service, gets one attempt of one second to connect.
    pub async fn open(location: Location, settings: &S3Settings) -> Result<Self, SourceError> {
        let kind = match &location {
            Location::S3 { bucket, prefix } => {
                Kind::S3(Box::pin(s3::Bucket::open(bucket, prefix, settings)).await?)
            }
            Location::Path(path) => Kind::Local(local::Local::open(path)?),
            Location::Stdin => Kind::Stdin,
        };
        Ok(Self { kind, location })
    }

    /// The location, as messages name it.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Local(local) => local.path().display().to_string(),
            Kind::Stdin | Kind::S3(_) => self.location.to_string(),
        }
    }

    /// Lists what the selection may need, in the order of the keys, a page at a time.
    ///
    /// An object that was named itself is listed whatever the selection says. The stream of a
    /// folder needs a Tokio runtime.
    pub fn list(&self, selection: Selection) -> BoxStream<'static, Result<Listed, SourceError>> {
        match &self.kind {
            Kind::Local(local) => local.list(selection),
            Kind::Stdin => {
                futures::stream::iter([Ok(Listed::Object(Object::unrepeatable("-".to_owned())))])
                    .boxed()
            }
            Kind::S3(bucket) => bucket.list(selection),
        }
    }

    /// What a listing would say of an object that a notification tells of; nothing if the selection, or the prefix that was
    /// opened, leaves it out.
    pub fn offered(&self, told: &queue::Told, selection: &Selection) -> Option<Listed> {
        match &self.kind {
            Kind::S3(bucket) => bucket.offered(told, selection),
            Kind::Local(_) | Kind::Stdin => None,
        }
    }

    /// Looks at an object of a bucket as it is now; nothing if it is gone.
    ///
    /// # Errors
    /// S3 does not say.
    pub async fn look(&self, key: &str) -> Result<Option<Object>, SourceError> {
        match &self.kind {
            Kind::S3(bucket) => bucket.look(key).await,
            Kind::Local(_) | Kind::Stdin => Ok(None),
        }
    }

    /// By how much the clock of a bucket's service is ahead of ours, where it says so.
    pub async fn clock_offset(&self) -> Option<TimeDelta> {
        match &self.kind {
            Kind::S3(bucket) => bucket.clock_offset().await,
            Kind::Local(_) | Kind::Stdin => None,
        }
    }

    /// A bucket's region, and the endpoint that answers for it.
    pub fn whereabouts(&self) -> Option<(&str, &str)> {
        match &self.kind {
            Kind::S3(bucket) => Some(bucket.whereabouts()),
            Kind::Local(_) | Kind::Stdin => None,
        }
    }

    /// Opens one listed object and gives its bytes as they are stored.
    ///
    /// The reader blocks: read it on a blocking thread (`tokio::task::spawn_blocking`), while the
    /// runtime that this was called on goes on running. An object of S3 streams as it is read, is
    /// the very version that was listed, and is resumed when the connection breaks; errors while
    /// reading name the key.
    ///
    /// # Errors
    /// The object is gone, has changed since it was listed, or may not be read.
    pub async fn fetch(&self, object: &Object) -> Result<Box<dyn Read + Send>, SourceError> {
        match &self.kind {
            Kind::Local(_) => local::open(object),
            Kind::Stdin => Ok(Box::new(std::io::stdin())),
            Kind::S3(bucket) => bucket.fetch(object).await,
        }
    }
}
