//! Where a topology comes from: the snapshots of a lake, or folders of EC2 JSON.

use std::path::PathBuf;

use anyhow::bail;
use chrono::{DateTime, SubsecRound, Utc};
use clap::Args;

use crate::cli::args::{AddressArgs, LakeArgs};
use crate::cli::knowledge;
use crate::cli::printer::Printer;
use crate::lake::{Lake, LakeUri};
use crate::topology::History;

/// A lake, or folders.
#[derive(Debug, Args)]
pub(super) struct TopologySource {
    #[command(flatten)]
    lake: LakeArgs,
    /// Straight from these folders or files of EC2 JSON, without a lake (repeatable)
    #[arg(long, value_name = "DIR|FILE")]
    pub(super) topology: Vec<PathBuf>,
    #[command(flatten)]
    addresses: AddressArgs,
}

impl TopologySource {
    /// Everything that the lake knows; with folders, what they say now.
    pub(super) async fn history(
        &self,
        now: DateTime<Utc>,
        printer: &Printer,
    ) -> anyhow::Result<History> {
        match knowledge::import(&self.topology, now.trunc_subsecs(0), printer)? {
            Some(snapshot) => Ok(History::new(
                vec![snapshot],
                knowledge::settings(&self.addresses)?,
            )),
            None => self.lake_history().await,
        }
    }

    /// Each folder as a snapshot of its own, a second apart, in the order in which they were named.
    pub(super) fn folders_history(
        &self,
        now: DateTime<Utc>,
        printer: &Printer,
    ) -> anyhow::Result<History> {
        let mut snapshots = Vec::new();
        let mut at = now.trunc_subsecs(0) - chrono::TimeDelta::seconds(60);
        for path in &self.topology {
            snapshots.extend(knowledge::import(std::slice::from_ref(path), at, printer)?);
            at += chrono::TimeDelta::seconds(1);
        }
        Ok(History::new(
            snapshots,
            knowledge::settings(&self.addresses)?,
        ))
    }

    async fn lake_history(&self) -> anyhow::Result<History> {
        let uri = &self.lake.lake;
        let settings = knowledge::settings(&self.addresses)?;
        let snapshots = knowledge::snapshots(&Lake::open(&LakeUri::parse(uri)?).await?).await?;
        if snapshots.is_empty() {
            bail!(
                "the lake `{uri}` has no topology: `flowscout topology import DIR --lake {uri}` brings one in"
            );
        }
        Ok(History::new(snapshots, settings))
    }
}
