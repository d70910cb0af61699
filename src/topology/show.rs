//! Subnets as rows for people: what `topology show` prints, elsewhere.

use super::network::{Network, Subnet};
use super::{Class, Family};

/// A subnet at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetRow {
    /// Its account.
    pub account_id: Option<String>,
    /// Its region.
    pub region: Option<String>,
    /// Its VPC.
    pub vpc_id: Option<String>,
    /// Its id.
    pub subnet_id: String,
    /// Its `Name` tag.
    pub name: Option<String>,
    /// Its availability zone.
    pub availability_zone: Option<String>,
    /// Its IPv4 CIDR.
    pub cidr_block: Option<String>,
    /// How it reaches the outside over IPv4.
    pub class: Option<Class>,
    /// Why.
    pub class_reason: Option<String>,
    /// Its IPv6 CIDR.
    pub ipv6_cidr_block: Option<String>,
    /// How it reaches the outside over IPv6.
    pub class6: Option<Class>,
    /// Why.
    pub class6_reason: Option<String>,
    /// Its network ACL.
    pub nacl_id: Option<String>,
}

/// Every subnet, by account, region, VPC and address.
pub fn subnet_rows(network: &Network) -> Vec<SubnetRow> {
    let mut subnets: Vec<&Subnet> = network.subnets().iter().collect();
    subnets.sort_by_key(|subnet| {
        (
            &subnet.account_id,
            &subnet.region,
            &subnet.vpc_id,
            subnet.cidr_block,
            &subnet.id,
        )
    });
    subnets.into_iter().map(row).collect()
}

fn row(subnet: &Subnet) -> SubnetRow {
    let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().map(str::to_owned);
    SubnetRow {
        account_id: text(&subnet.account_id),
        region: text(&subnet.region),
        vpc_id: text(&subnet.vpc_id),
        subnet_id: subnet.id.to_string(),
        name: text(&subnet.name),
        availability_zone: subnet.record.availability_zone.clone(),
        cidr_block: subnet.cidr_block.map(|net| net.to_string()),
        class: subnet.class(Family::V4),
        class_reason: subnet.class_reason(Family::V4).map(str::to_owned),
        ipv6_cidr_block: subnet.ipv6_cidr_blocks.first().map(ToString::to_string),
        class6: subnet.class(Family::V6),
        class6_reason: subnet.class_reason(Family::V6).map(str::to_owned),
        nacl_id: text(&subnet.nacl_id),
    }
}
