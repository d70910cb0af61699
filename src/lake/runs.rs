//! Where runs of detections are kept: one object each, named by time, never changed. What is in them is not known here.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::place::Place;
use super::side::READS_AT_A_TIME;
use super::{Lake, LakeError, LakeSnapshot, SIDE};

const TIME: &str = "%Y%m%dT%H%M%S%.6fZ";
const SUFFIX: &str = ".json.gz";

fn folder() -> String {
    format!("{SIDE}/findings")
}

impl Lake {
    /// Keeps a run. Two at the same time are two.
    ///
    /// # Errors
    /// The lake cannot be written to.
    pub async fn put_run(&self, at: DateTime<Utc>, content: Bytes) -> Result<(), LakeError> {
        let name = format!(
            "{}/{}-{}{SUFFIX}",
            folder(),
            at.format(TIME),
            Uuid::new_v4().simple()
        );
        self.inner.place.write(&name, content).await
    }

    /// The runs, newest first, each read when it is asked for.
    ///
    /// # Errors
    /// They cannot be listed.
    pub async fn runs(&self) -> Result<Runs, LakeError> {
        Ok(Runs {
            place: self.inner.place.clone(),
            names: names(&self.inner.place).await?,
        })
    }
}

impl LakeSnapshot {
    /// All runs that are there now, oldest first.
    ///
    /// # Errors
    /// One cannot be read.
    pub async fn runs(&self) -> Result<Vec<Bytes>, LakeError> {
        let place = self.place();
        let read_one = |name: String| async move { read(place, &name).await }.boxed();
        let reads = stream::iter(names(place).await?)
            .map(read_one)
            .buffered(READS_AT_A_TIME);
        reads.try_collect().await
    }
}

/// Runs on their way from the newest to the oldest.
#[derive(Debug)]
pub struct Runs {
    place: Place,
    names: Vec<String>,
}

impl Runs {
    /// The next older one.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn next(&mut self) -> Result<Option<Bytes>, LakeError> {
        match self.names.pop() {
            Some(name) => Ok(Some(read(&self.place, &name).await?)),
            None => Ok(None),
        }
    }
}

/// Oldest first.
async fn names(place: &Place) -> Result<Vec<String>, LakeError> {
    let mut names = place.list(&folder(), "").await?;
    names.retain(|name| name.ends_with(SUFFIX));
    names.sort();
    Ok(names)
}

async fn read(place: &Place, name: &str) -> Result<Bytes, LakeError> {
    let path = format!("{}/{name}", folder());
    let gone = || LakeError::Damaged {
        uri: place.uri.clone(),
        what: format!("`{path}` is gone since it was listed"),
    };
    place.read(&path).await?.ok_or_else(gone)
}
