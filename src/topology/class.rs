//! Subnet classes: how a subnet reaches the outside, judged by its active routes, and why in words.
//!
//! Of all that applies the first in this order counts, IPv4 and IPv6 each on their own: `public`,
//! `public_via_inspection`, `private_nat`, `private_nat_private`, `private_eigw`, `private_tgw`, `vpn_only`,
//! `peered_only`, `endpoint_only`, `isolated`; `unknown` where routes are missing.

mod judge;

use serde::{Serialize, Serializer};

use super::Family;
use super::network::Network;

pub(super) use judge::{Judged, SetOn, Verdict, block_mode, judge, judge_for_nat};

/// How a subnet reaches the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A route to an internet or carrier gateway.
    Public,
    /// Through a firewall or appliance whose subnet has one.
    PublicViaInspection,
    /// Through a NAT gateway or NAT instance that has one.
    PrivateNat,
    /// Through a private NAT gateway: not the internet by itself.
    PrivateNatPrivate,
    /// Outbound IPv6 only.
    PrivateEigw,
    /// Through a transit gateway or core network.
    PrivateTgw,
    /// Only to what lies behind a virtual private gateway, local gateway or VPN appliance.
    VpnOnly,
    /// Only to peered VPCs.
    PeeredOnly,
    /// Only to S3 or DynamoDB.
    EndpointOnly,
    /// Only within its VPC.
    Isolated,
    /// The topology does not have the routes.
    Unknown,
}

impl Class {
    /// Every class, the best way out first, as far as one may be preferred.
    pub(super) const BY_PRECEDENCE: [Self; 10] = [
        Self::Public,
        Self::PublicViaInspection,
        Self::PrivateNat,
        Self::PrivateNatPrivate,
        Self::PrivateEigw,
        Self::PrivateTgw,
        Self::VpnOnly,
        Self::PeeredOnly,
        Self::EndpointOnly,
        Self::Isolated,
    ];

    /// The word for it in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::PublicViaInspection => "public_via_inspection",
            Self::PrivateNat => "private_nat",
            Self::PrivateNatPrivate => "private_nat_private",
            Self::PrivateEigw => "private_eigw",
            Self::PrivateTgw => "private_tgw",
            Self::VpnOnly => "vpn_only",
            Self::PeeredOnly => "peered_only",
            Self::EndpointOnly => "endpoint_only",
            Self::Isolated => "isolated",
            Self::Unknown => "unknown",
        }
    }
}

impl Serialize for Class {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A class and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Classified {
    pub(super) class: Class,
    pub(super) reason: String,
}

/// Classifies every subnet.
pub(super) fn classify(network: &mut Network) {
    let classes: Vec<_> = network
        .subnets
        .iter()
        .map(|subnet| {
            let class = |family| {
                subnet
                    .has(family)
                    .then(|| judge(network, subnet, family).classified)
            };
            (class(Family::V4), class(Family::V6))
        })
        .collect();
    for (subnet, (class4, class6)) in network.subnets.iter_mut().zip(classes) {
        subnet.class4 = class4;
        subnet.class6 = class6;
    }
}

#[cfg(test)]
mod tests;
