//! Where snapshots of the topology lie: one object each, named by time and content. What is in them is not known here.

use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, Utc};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};

use super::side::READS_AT_A_TIME;
use super::{Lake, LakeError, SIDE};

const TIME: &str = "%Y%m%dT%H%M%S%.6fZ";
const SUFFIX: &str = ".json.gz";

/// What became of a topology snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is in.
    Stored,
    /// The latest at or before its time has the same content.
    Unchanged,
}

fn folder() -> String {
    format!("{SIDE}/topology")
}

fn parse(name: &str) -> Option<(DateTime<Utc>, &str)> {
    let (time, hash) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    Some((
        NaiveDateTime::parse_from_str(time, TIME).ok()?.and_utc(),
        hash,
    ))
}

impl Lake {
    /// All topology snapshots, oldest first.
    ///
    /// # Errors
    /// One cannot be read.
    pub async fn topology_snapshots(&self) -> Result<Vec<Bytes>, LakeError> {
        let read_one = |name| {
            let lake = self.clone();
            async move { lake.read_topology(name).await }.boxed()
        };
        let names = stream::iter(self.topology_names().await?);
        names
            .map(read_one)
            .buffered(READS_AT_A_TIME)
            .try_collect()
            .await
    }

    /// The times of the topology snapshots, oldest first.
    ///
    /// # Errors
    /// They cannot be listed.
    pub async fn topology_times(&self) -> Result<Vec<DateTime<Utc>>, LakeError> {
        let names = self.topology_names().await?;
        Ok(names
            .iter()
            .filter_map(|name| Some(parse(name)?.0))
            .collect())
    }

    /// Stores a snapshot of the topology, unless nothing has changed.
    ///
    /// # Errors
    /// The lake cannot be listed or written to.
    pub async fn put_topology(
        &self,
        at: DateTime<Utc>,
        hash: &str,
        content: Bytes,
    ) -> Result<Put, LakeError> {
        let names = self.topology_names().await?;
        let before = names
            .iter()
            .rev()
            .filter_map(|name| parse(name))
            .find(|(time, _)| *time <= at);
        if before.is_some_and(|(_, other)| other == hash) {
            return Ok(Put::Unchanged);
        }
        let name = format!("{}/{}-{hash}{SUFFIX}", folder(), at.format(TIME));
        self.inner.place.write(&name, content).await?;
        Ok(Put::Stored)
    }

    async fn topology_names(&self) -> Result<Vec<String>, LakeError> {
        let mut names = self.inner.place.list(&folder(), "").await?;
        names.retain(|name| parse(name).is_some());
        Ok(names)
    }

    async fn read_topology(&self, name: String) -> Result<Bytes, LakeError> {
        let path = format!("{}/{name}", folder());
        let gone = || LakeError::Damaged {
            uri: self.inner.place.uri.clone(),
            what: format!("`{path}` is gone since it was listed"),
        };
        self.inner.place.read(&path).await?.ok_or_else(gone)
    }
}
