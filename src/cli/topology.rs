//! `topology import`, `topology sync` and `topology show`; the other commands of `topology` each have a file.

mod audit;
mod diff;
mod explain;
mod source;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use chrono::{SubsecRound, Utc};
use clap::{Args, Subcommand};

use super::args::{AddressArgs, GlobalArgs, LakeArgs};
use super::printer::Printer;
use super::time::TimeArg;
use super::{Outcome, knowledge};
use crate::ec2::{self, Ec2Settings};
use crate::lake::{Lake, LakeUri, Put};
use crate::report::{Format, plain_table, write_rows};
use crate::topology::{History, Snapshot, SubnetRow, assemble, subnet_rows};

/// The network's topology.
#[derive(Debug, Subcommand)]
pub(super) enum TopologyCommand {
    /// Bring what `aws ec2 describe-*` prints into a lake, as a snapshot
    Import(ImportArgs),
    /// Ask EC2 for it and bring it into a lake, as a snapshot
    ///
    /// Reads VPCs, subnets, routes, network ACLs, security groups, interfaces, gateways, endpoints, peerings, transit gateways,
    /// prefix lists, flow logs and addresses, and changes nothing. Credentials, region, retries and endpoints are the AWS SDK's:
    /// `AWS_PROFILE`, `AWS_REGION`, `AWS_MAX_ATTEMPTS`, `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_EC2`. What one call is refused is
    /// said, and what the lake knows of it stays; everything else is kept.
    Sync(SyncArgs),
    /// Show subnets: VPC, zone, CIDR, class and why, network ACL
    Show(ShowArgs),
    /// Explain a subnet, an interface or an address: route tables, routes, class, and why it is not a better one
    Explain(explain::ExplainArgs),
    /// Say what changed from one time to another, subnets that turned public first
    Diff(diff::DiffArgs),
    /// Check the network's design: zones, CIDRs, private subnets that are public, NAT, network ACLs, flow logs
    Audit(audit::AuditArgs),
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Folders or files of EC2 JSON; a folder is read whole, any file names, several accounts and regions
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    lake: LakeArgs,
    /// When the network looked like this: RFC 3339, a date, or a duration back from now [default: now]
    #[arg(long, value_name = "T", value_parser = TimeArg::parse)]
    at: Option<TimeArg>,
}

#[derive(Debug, Args)]
pub(super) struct SyncArgs {
    #[command(flatten)]
    lake: LakeArgs,
    /// A region to read (repeatable) [default: the configured one]
    #[arg(long, value_name = "REGION", help_heading = "AWS")]
    region: Vec<String>,
    /// A role to assume, for an account of its own (repeatable) [default: the caller's own credentials]
    #[arg(long, value_name = "ARN", help_heading = "AWS")]
    role_arn: Vec<String>,
    /// The external id that the roles ask for
    #[arg(long, value_name = "ID", requires = "role_arn", help_heading = "AWS")]
    external_id: Option<String>,
    /// Another endpoint of EC2 than AWS's
    #[arg(long, value_name = "URL", help_heading = "AWS")]
    endpoint_url: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    lake: LakeArgs,
    /// Straight from these folders or files of EC2 JSON, without a lake (repeatable)
    #[arg(long, value_name = "DIR|FILE")]
    topology: Vec<PathBuf>,
    /// As of this time: RFC 3339, a date, or a duration back from now [default: the latest snapshot]
    #[arg(long, value_name = "T", value_parser = TimeArg::parse)]
    at: Option<TimeArg>,
    #[command(flatten)]
    addresses: AddressArgs,
}

impl TopologyCommand {
    pub(super) fn gives_findings(&self) -> bool {
        matches!(self, Self::Audit(_))
    }
}

pub(super) async fn run(
    command: TopologyCommand,
    _global: &GlobalArgs,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    match command {
        TopologyCommand::Import(args) => import(args, printer).await,
        TopologyCommand::Sync(args) => sync(args, printer).await,
        TopologyCommand::Show(args) => show(args, printer).await,
        TopologyCommand::Explain(args) => explain::run(args, printer).await,
        TopologyCommand::Diff(args) => diff::run(args, printer).await,
        TopologyCommand::Audit(args) => audit::run(args, printer).await,
    }
}

async fn import(args: ImportArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    let now = Utc::now();
    let at = args.at.map_or(now, |time| time.at(now)).trunc_subsecs(0);
    let Some(snapshot) = knowledge::import(&args.paths, at, printer)? else {
        bail!("there is nothing to import")
    };
    if snapshot.resources.counts().is_empty() {
        bail!("there is nothing to import: not one resource could be read");
    }
    store(&snapshot, &LakeUri::parse(&args.lake.lake)?, printer).await
}

async fn sync(args: SyncArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    // What is wrong about the lake's name shows before anything is asked.
    let lake = LakeUri::parse(&args.lake.lake)?;
    // As exact as the lake's names are, so that the later of two in one second is the later.
    let at = Utc::now().trunc_subsecs(6);
    let settings = Ec2Settings {
        regions: args.region,
        role_arns: args.role_arn,
        external_id: args.external_id,
        endpoint_url: args.endpoint_url,
    };
    let described = ec2::describe(&settings).await?;
    for gap in &described.gaps {
        printer.warn(&gap.to_string());
    }
    let assembled = assemble(described.answers, at);
    knowledge::warn_of(&assembled.notes, printer);
    store(&assembled.snapshot, &lake, printer).await
}

/// Stores a snapshot, unless nothing has changed.
async fn store(snapshot: &Snapshot, lake: &LakeUri, printer: &Printer) -> anyhow::Result<Outcome> {
    let lake = Lake::open_or_create(lake).await?;
    let at = snapshot.at;
    let put = lake
        .put_topology(at, &snapshot.content_hash(), snapshot.to_bytes().into())
        .await?;
    let counts: Vec<String> = snapshot
        .resources
        .counts()
        .iter()
        .map(|(kind, count)| format!("{count} {}", kind.key()))
        .collect();
    let outcome = match put {
        Put::Stored => format!(
            "stored a snapshot as of {}",
            at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
        ),
        Put::Unchanged => {
            "nothing has changed since the latest snapshot; nothing was stored".to_owned()
        }
    };
    printer.say(&format!("{outcome}: {}", counts.join(", ")));
    Ok(Outcome::Done)
}

async fn show(args: ShowArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    let now = Utc::now();
    let settings = knowledge::settings(&args.addresses)?;
    let snapshots = match knowledge::import(&args.topology, now, printer)? {
        Some(snapshot) => vec![snapshot],
        None => knowledge::snapshots(&Lake::open(&LakeUri::parse(&args.lake.lake)?).await?).await?,
    };
    if snapshots.is_empty() {
        bail!(
            "the lake `{}` has no topology: `flowscout topology sync --lake {}` or `topology import DIR` brings one in",
            args.lake.lake,
            args.lake.lake
        );
    }
    let history = History::new(snapshots, settings);
    let network = args
        .at
        .map_or_else(|| history.latest(), |time| history.at(time.at(now)));
    let rows = subnet_rows(network);
    if printer.format() == Format::Table {
        printer.data(table(&rows).as_bytes())?;
    } else {
        let batch = batch(&rows)?;
        write_rows(printer.out(), &batch.schema(), &[batch], printer.format())?;
    }
    printer.say(&format!(
        "{} subnets as of {}",
        rows.len(),
        network
            .at()
            .to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    ));
    Ok(Outcome::Done)
}

fn table(rows: &[SubnetRow]) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let both = |v4: Option<String>, v6: Option<String>| match (v4, v6) {
        (Some(v4), Some(v6)) => format!("{v4}\n{v6}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "-".to_owned(),
    };
    let rows = rows.iter().map(|row| {
        vec![
            text(&row.vpc_id),
            both(Some(row.subnet_id.clone()), row.name.clone()),
            text(&row.availability_zone),
            both(row.cidr_block.clone(), row.ipv6_cidr_block.clone()),
            both(
                row.class.map(|class| class.as_str().to_owned()),
                row.class6.map(|class| format!("IPv6: {}", class.as_str())),
            ),
            both(
                row.class_reason.clone(),
                row.class6_reason
                    .as_ref()
                    .map(|reason| format!("IPv6: {reason}")),
            ),
            text(&row.nacl_id),
        ]
    });
    format!(
        "{}\n",
        plain_table(
            &["VPC", "subnet", "zone", "CIDR", "class", "why", "NACL"],
            &[],
            rows
        )
    )
}

fn batch(rows: &[SubnetRow]) -> anyhow::Result<RecordBatch> {
    type Column = (&'static str, fn(&SubnetRow) -> Option<String>);
    const COLUMNS: [Column; 13] = [
        ("account_id", |row| row.account_id.clone()),
        ("region", |row| row.region.clone()),
        ("vpc_id", |row| row.vpc_id.clone()),
        ("subnet_id", |row| Some(row.subnet_id.clone())),
        ("name", |row| row.name.clone()),
        ("availability_zone", |row| row.availability_zone.clone()),
        ("cidr_block", |row| row.cidr_block.clone()),
        ("class", |row| {
            row.class.map(|class| class.as_str().to_owned())
        }),
        ("class_reason", |row| row.class_reason.clone()),
        ("ipv6_cidr_block", |row| row.ipv6_cidr_block.clone()),
        ("class6", |row| {
            row.class6.map(|class| class.as_str().to_owned())
        }),
        ("class6_reason", |row| row.class6_reason.clone()),
        ("nacl_id", |row| row.nacl_id.clone()),
    ];
    let fields: Vec<Field> = COLUMNS
        .iter()
        .map(|(name, _)| Field::new(*name, DataType::Utf8, true))
        .collect();
    let columns = COLUMNS
        .iter()
        .map(|(_, of)| Arc::new(rows.iter().map(of).collect::<StringArray>()) as ArrayRef)
        .collect();
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}
