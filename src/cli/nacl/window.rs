//! The lake, the network and the window that `nacl advise` and `nacl replay` look at.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::Args;

use crate::cli::args::{AddressArgs, LakeArgs};
use crate::cli::knowledge;
use crate::cli::printer::Printer;
use crate::cli::time::{TimeArg, to_second};
use crate::lake::{Lake, LakeUri};
use crate::nacl::{Guarded, Nacl};
use crate::session::Session;
use crate::topology::Network;

#[derive(Debug, Args)]
pub(super) struct WindowArgs {
    /// The window's start: RFC 3339, a date, or a duration back from now [default: the first flow]
    #[arg(long, value_name = "T", value_parser = TimeArg::parse)]
    pub(super) from: Option<TimeArg>,
    /// The window's end, exclusive [default: the last flow]
    #[arg(long, value_name = "T", value_parser = TimeArg::parse)]
    pub(super) to: Option<TimeArg>,
    /// The window is this long and ends now
    #[arg(long, value_name = "DURATION", value_parser = TimeArg::parse, conflicts_with_all = ["from", "to"])]
    pub(super) since: Option<TimeArg>,
}

impl WindowArgs {
    /// The window in the flows of a session.
    pub(super) async fn within(
        &self,
        session: &Session,
        lake: &str,
    ) -> anyhow::Result<(DateTime<Utc>, DateTime<Utc>)> {
        let now = Utc::now();
        let Some((first, last)) = session.span().await? else {
            bail!("the lake `{lake}` has no flows")
        };
        let from = self.since.or(self.from).map_or(first, |time| time.at(now));
        let to = match (self.to, self.since) {
            (Some(to), _) => to.at(now),
            (None, Some(_)) => now,
            (None, None) => last + TimeDelta::seconds(1),
        };
        if from >= to {
            bail!(
                "the window is empty: it would run from {} to {}",
                from.to_rfc3339(),
                to.to_rfc3339()
            );
        }
        Ok((from, to))
    }
}

/// A lake with its topology, and a window.
#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    #[command(flatten)]
    lake: LakeArgs,
    #[command(flatten)]
    window: WindowArgs,
    /// The network as it is now, from folders or files of EC2 JSON [default: the lake's latest snapshot]
    #[arg(long, value_name = "DIR|FILE", help_heading = "Network")]
    topology: Vec<PathBuf>,
    #[command(flatten)]
    addresses: AddressArgs,
    /// AWS's quota of rules for each direction and family, the implicit deny counted; 40 at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=40))]
    pub(super) rule_quota: u16,
}

/// What a window says, and the network that changes are made to.
pub(super) struct Past {
    pub(super) session: Session,
    pub(super) network: Arc<Network>,
    pub(super) guarded: Guarded,
    pub(super) window: (DateTime<Utc>, DateTime<Utc>),
}

impl HistoryArgs {
    pub(super) async fn open(
        &self,
        policy: Option<&Path>,
        printer: &Printer,
    ) -> anyhow::Result<Past> {
        let policy = knowledge::policy(policy)?;
        let uri = &self.lake.lake;
        let settings = knowledge::settings(&self.addresses)?;
        let lake = Lake::open(&LakeUri::parse(uri)?).await?;
        let mut snapshots = knowledge::snapshots(&lake).await?;
        snapshots.extend(knowledge::import(&self.topology, Utc::now(), printer)?);
        if snapshots.is_empty() {
            bail!(
                "the lake `{uri}` has no topology: `flowscout topology import DIR --lake {uri}` brings one in, or give `--topology DIR`"
            );
        }
        let knowledge = knowledge::knowledge(snapshots, settings, policy);
        let session = Session::over_lake(&lake, &knowledge).await?;
        let window = self.window.within(&session, uri).await?;
        // A change is made to the network as it is now, whenever the flows were.
        let network = Arc::clone(knowledge.history.latest());
        let guarded = Guarded::of(&network);
        if guarded.nacls().is_empty() {
            bail!(
                "the topology has no network ACLs: `aws ec2 describe-network-acls` prints them, `topology sync` reads them"
            );
        }
        Ok(Past {
            session,
            network,
            guarded,
            window,
        })
    }
}

impl Past {
    /// The window in words.
    pub(super) fn words(&self) -> String {
        let (from, to) = self.window;
        format!("window {} to {}", to_second(from), to_second(to))
    }
}

pub(super) fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// An ACL with the names of its subnets.
pub(super) fn nacl_words(nacl: &Nacl, network: &Network) -> String {
    let subnets: Vec<String> = nacl
        .subnet_ids
        .iter()
        .map(
            |id| match network.subnet(id).and_then(|subnet| subnet.name.as_deref()) {
                Some(name) => name.to_owned(),
                None => id.to_string(),
            },
        )
        .collect();
    let default = if nacl.is_default {
        ", the VPC's default"
    } else {
        ""
    };
    match subnets.len() {
        0 => format!("{}{default}, of no subnet", nacl.id),
        _ => format!("{}{default}, of {}", nacl.id, subnets.join(", ")),
    }
}
