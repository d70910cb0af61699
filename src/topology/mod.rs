//! The network's own topology: read from EC2's JSON, kept as snapshots, asked what an address means.
//!
//! ```text
//! *.json ──> import ──┐
//!                     ├──> assemble ──> Snapshot ──> History ──> Network (as of a moment)
//! API answers ────────┘                                            ├─ vantage: which interface, subnet, VPC recorded a flow
//!                                                                  ├─ resolve: what an address means from there
//!                                                                  ├─ outlook: what it can mean at all, from anywhere
//!                                                                  ├─ route:   which route is in force
//!                                                                  └─ subnet.class: public, private_nat, … and why
//! ```
//!
//! No detections, no SQL, no network access of its own.

mod assemble;
mod batches;
mod build;
mod class;
pub(crate) mod diff;
mod ec2;
mod error;
pub(crate) mod explain;
mod gaps;
mod geo;
mod group_rules;
mod history;
mod import;
mod ip_ranges;
pub mod model;
mod network;
mod outlook;
mod place;
mod ranges;
mod recording;
mod resolve;
mod route;
mod show;
mod snapshot;
mod vantage;
mod words;
#[cfg(test)]
pub(crate) mod world;

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

pub use assemble::{Answer, Imported, assemble};
pub use batches::tables;
pub use class::Class;
pub use ec2::Listing;
pub use error::TopologyError;
pub use geo::Geo;
pub use group_rules::SecurityGroup;
pub use history::History;
pub use import::import;
pub use ip_ranges::{IpRanges, Owner};
pub use network::{Interface, InterfaceKind, NatGateway, Network, Settings, Subnet, Vpc};
pub use outlook::{InSubnet, Outlook, Outlooks, Scopes};
pub use recording::{FlowLogs, Recorded};
pub use resolve::{Endpoint, Scope, is_private};
pub use route::{Route, RouteTable, RouteTarget};
pub use show::{SubnetRow, subnet_rows};
pub use snapshot::Snapshot;
pub use vantage::Vantage;

/// IPv4 or IPv6: routes, rules and classes of one never apply to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// An address's family.
    pub fn of(addr: IpAddr) -> Self {
        if addr.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// A CIDR's family.
    pub fn of_net(net: &IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}
