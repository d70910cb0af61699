//! What can go wrong while reading a topology.

use std::io;
use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, Utc};

/// Why a topology, a snapshot or a list of AWS's ranges could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// The file or folder cannot be read at all.
    #[error("cannot read topology `{}`", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why it was not.
        source: io::Error,
    },
    /// The file breaks off or is no JSON.
    #[error("{}: line {line}, column {column}: not valid JSON, expected what `aws ec2 describe-… > FILE.json` prints", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the JSON reader says.
        source: serde_json::Error,
    },
    /// The file holds something else.
    #[error("{}: not EC2 JSON: found {found}, expected what `aws ec2 describe-…` prints, such as an object with a key `Vpcs`, `Subnets` or `RouteTables`", path.display())]
    NotEc2 {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: String,
    },
    /// The folder holds no EC2 JSON.
    #[error("folder `{}` has no EC2 JSON: found {found}, expected `*.json` files as `aws ec2 describe-…` prints them", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
        /// What it holds.
        found: String,
    },
    /// What is to be explained is of no kind that can be.
    #[error(
        "expected a subnet (`subnet-…`), an interface (`eni-…`) or an address, got `{subject}`"
    )]
    NotExplained {
        /// What was given.
        subject: String,
    },
    /// The topology does not have it.
    #[error("no {what} `{id}` in the topology as of {}; {there}", at.to_rfc3339_opts(SecondsFormat::Secs, true))]
    Unknown {
        /// `subnet`, `interface` or `VPC`.
        what: &'static str,
        /// What was asked for.
        id: String,
        /// As of when.
        at: DateTime<Utc>,
        /// What there is instead.
        there: String,
    },
    /// The bytes of a snapshot are damaged or from a newer version.
    #[error("cannot read the stored topology snapshot")]
    Snapshot {
        /// What is wrong with it.
        source: io::Error,
    },
    /// A file of AWS's address ranges is no JSON.
    #[error("line {line}, column {column}: not valid JSON, expected AWS's ip-ranges.json")]
    RangesJson {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the JSON reader says.
        source: serde_json::Error,
    },
    /// A file of AWS's address ranges has an entry that cannot be used.
    #[error("{list}[{index}]: field `{field}`: expected {expected}, got `{value}`")]
    RangesEntry {
        /// `prefixes` or `ipv6_prefixes`.
        list: &'static str,
        /// The entry, from 0.
        index: usize,
        /// Which field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
}
