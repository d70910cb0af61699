//! Arguments that several commands share.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};
use ipnet::IpNet;

use crate::decode::Header;
use crate::detect::Severity;
use crate::report::{FindingsFormat, Format};
use crate::source::S3Settings;
use crate::telemetry::LogStyle;

/// What every command takes.
#[derive(Debug, Args)]
pub(super) struct GlobalArgs {
    /// How to print data [default: table on a terminal, ndjson otherwise]
    #[arg(
        long,
        global = true,
        value_enum,
        env = "FLOWSCOUT_FORMAT",
        help_heading = "Output"
    )]
    pub(super) format: Option<FormatArg>,
    /// Say more (twice: debug)
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Output")]
    pub(super) verbose: u8,
    /// Say less: no summary (twice: errors only)
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "verbose", help_heading = "Output")]
    pub(super) quiet: u8,
    /// How lines on standard error look: for people, or one JSON object each
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "FLOWSCOUT_LOG_STYLE",
        help_heading = "Output"
    )]
    pub(super) log_style: LogStyleArg,
    /// No progress bar on a terminal
    #[arg(
        long,
        global = true,
        env = "FLOWSCOUT_NO_PROGRESS",
        help_heading = "Output"
    )]
    pub(super) no_progress: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FormatArg {
    Table,
    Json,
    Ndjson,
    Csv,
    Parquet,
    /// OCSF Detection Findings, one a line (findings only)
    Ocsf,
    /// A SARIF log (findings only)
    Sarif,
    /// Resources of Terraform's AWS provider (`nacl advise` only)
    Terraform,
    /// Commands of the AWS CLI (`nacl advise` only)
    AwsCli,
}

impl FormatArg {
    /// Whether it is a script that another tool carries out, as only advice has one.
    pub(super) fn is_script(self) -> bool {
        matches!(self, Self::Terraform | Self::AwsCli)
    }

    /// As a format of any answer; `None` for those of findings or of advice alone.
    pub(super) fn of_answers(self) -> Option<Format> {
        match self {
            Self::Table => Some(Format::Table),
            Self::Json => Some(Format::Json),
            Self::Ndjson => Some(Format::Ndjson),
            Self::Csv => Some(Format::Csv),
            Self::Parquet => Some(Format::Parquet),
            Self::Ocsf | Self::Sarif | Self::Terraform | Self::AwsCli => None,
        }
    }

    fn of_findings(self) -> Option<FindingsFormat> {
        match self {
            Self::Ocsf => Some(FindingsFormat::Ocsf),
            Self::Sarif => Some(FindingsFormat::Sarif),
            other => other.of_answers().map(FindingsFormat::Answer),
        }
    }
}

impl GlobalArgs {
    /// How findings are written, where `answers` is how other answers are.
    pub(super) fn findings_format(&self, answers: Format) -> FindingsFormat {
        let asked = self.format.and_then(FormatArg::of_findings);
        asked.unwrap_or(FindingsFormat::Answer(answers))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum LogStyleArg {
    #[default]
    Text,
    Json,
}

impl From<LogStyleArg> for LogStyle {
    fn from(style: LogStyleArg) -> Self {
        match style {
            LogStyleArg::Text => Self::Text,
            LogStyleArg::Json => Self::Json,
        }
    }
}

/// How sources are read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sources")]
pub(super) struct SourceArgs {
    /// Fields of logs that have no header, as in the flow log's LogFormat [default: the v2 default format]
    #[arg(long, value_name = "FIELDS", value_parser = log_format)]
    pub(super) log_format: Option<Header>,
    /// Only objects of this account (repeatable)
    #[arg(long, value_name = "ID")]
    pub(super) account: Vec<String>,
    /// Only objects of this region (repeatable)
    #[arg(long, value_name = "REGION")]
    pub(super) region: Vec<String>,
    /// Pay for requests to a requester-pays bucket
    #[arg(long)]
    pub(super) requester_pays: bool,
}

impl SourceArgs {
    pub(super) fn s3_settings(&self) -> S3Settings {
        S3Settings {
            requester_pays: self.requester_pays,
            ..S3Settings::default()
        }
    }
}

fn log_format(text: &str) -> Result<Header, String> {
    Header::from_log_format(text).map_err(|error| error.to_string())
}

/// What is known of the network beside its flows.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(super) struct NetworkArgs {
    /// Topology: a folder or file of what `aws ec2 describe-*` prints (repeatable)
    #[arg(long, value_name = "DIR|FILE")]
    pub(super) topology: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) addresses: AddressArgs,
}

/// What is known of addresses.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(super) struct AddressArgs {
    /// A newer ip-ranges.json than the built-in copy
    #[arg(long, value_name = "FILE", env = "FLOWSCOUT_IP_RANGES")]
    pub(super) ip_ranges: Option<PathBuf>,
    /// A MaxMind DB file (country, city or ASN): whose addresses of the internet are (repeatable)
    #[arg(
        long,
        value_name = "FILE",
        env = "FLOWSCOUT_MMDB",
        value_delimiter = ','
    )]
    pub(super) mmdb: Vec<PathBuf>,
    /// A block that is ours on premises (repeatable)
    #[arg(long, value_name = "CIDR", value_parser = cidr)]
    pub(super) on_premises: Vec<IpNet>,
}

fn cidr(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let block = text.parse().ok().or_else(address);
    block.ok_or_else(|| "expected a CIDR block such as `192.168.0.0/16`".to_owned())
}

/// What a detection run is told.
#[derive(Debug, Args)]
#[command(next_help_heading = "Detections")]
pub(super) struct DetectionArgs {
    /// What the network's owner expects (policy.toml)
    #[arg(long, value_name = "FILE", env = "FLOWSCOUT_POLICY")]
    pub(super) policy: Option<PathBuf>,
    /// A folder of detections of your own
    #[arg(long, value_name = "DIR")]
    pub(super) queries: Option<PathBuf>,
    /// A parameter of a detection (repeatable)
    #[arg(long, value_name = "K=V", value_parser = key_value)]
    pub(super) param: Vec<(String, String)>,
    /// Show what the policy expects too
    #[arg(long)]
    pub(super) all: bool,
    /// Records that each finding cites as evidence, the earliest of those that show it; to find them, all records of the findings' time are
    /// read once more [default: 3 for analyze, 0 for detect]
    #[arg(long, value_name = "N")]
    pub(super) records: Option<usize>,
    /// Exit with 1 if an unexpected finding is at least this severe: info, low, medium, high, critical
    #[arg(long, value_name = "SEVERITY")]
    pub(super) fail_on: Option<Severity>,
}

pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected `name=value`".to_owned()),
    }
}

/// The lake.
#[derive(Debug, Args)]
pub(super) struct LakeArgs {
    /// The lake: a folder or s3://bucket/prefix
    #[arg(
        long,
        value_name = "URI",
        default_value = "./flowscout-lake",
        env = "FLOWSCOUT_LAKE"
    )]
    pub(super) lake: String,
}
