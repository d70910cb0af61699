//! Other resources that came, went, or changed: VPCs, subnets, gateways, peerings, prefix lists, flow logs.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::{Compare, Pair, Place, place};
use crate::topology::model::{self, Kind};
use crate::topology::words::{listed, named, tagged};

impl<'n> Compare<'n> {
    /// VPCs and subnets, and their CIDRs.
    pub(super) fn vpcs_and_subnets(&mut self) {
        if self.knows(Kind::Vpcs) {
            let pairs = Self::pairs(
                &self.before.resources.vpcs,
                &self.after.resources.vpcs,
                |vpc| &vpc.vpc_id,
            );
            for (id, pair) in pairs {
                self.vpc(id, &pair);
            }
        }
        if self.knows(Kind::Subnets) {
            let pairs = Self::pairs(
                &self.before.resources.subnets,
                &self.after.resources.subnets,
                |subnet| &subnet.subnet_id,
            );
            for (id, pair) in pairs {
                self.subnet(id, &pair);
            }
        }
    }

    fn vpc(&mut self, id: &str, pair: &Pair<'_, model::Vpc>) {
        let (was, is) = (self.before.vpc(id), self.after.vpc(id));
        let record = newest(pair);
        let place = Place {
            account_id: record.account_id.as_deref(),
            region: record.region.as_deref(),
            vpc_id: Some(id),
        };
        let name = tagged(id, &record.tags);
        if let Some(sides) = self.came_or_went("vpc", id, pair, place, &name, |_| {
            is.or(was).map(|vpc| listed(&vpc.cidrs))
        }) {
            let (Some(was), Some(is)) = (was, is) else {
                return;
            };
            self.sets("vpc_cidr", id, place, &name, (&was.cidrs, &is.cidrs));
            let mode = |record: &model::Vpc| block(&record.block_public_access_states);
            self.value(
                "vpc_block_public_access",
                id,
                (mode(sides.0), mode(sides.1)),
                place,
                |was, is| format!("Block Public Access of {name} is now {is}, was {was}"),
            );
        }
    }

    fn subnet(&mut self, id: &str, pair: &Pair<'_, model::Subnet>) {
        let (was, is) = (self.before.subnet(id), self.after.subnet(id));
        let record = newest(pair);
        let place = place!(record);
        let name = tagged(id, &record.tags);
        if let Some(sides) = self.came_or_went("subnet", id, pair, place, &name, |_| {
            let subnet = is.or(was)?;
            let cidrs = subnet.cidr_block.iter().chain(&subnet.ipv6_cidr_blocks);
            let class = subnet
                .class(crate::topology::Family::V4)
                .or(subnet.class(crate::topology::Family::V6))?;
            Some(format!("{}, {}", listed(cidrs), class.as_str()))
        }) {
            let (Some(was), Some(is)) = (was, is) else {
                return;
            };
            let cidrs = |subnet: &crate::topology::Subnet| -> Vec<ipnet::IpNet> {
                let cidrs = subnet.cidr_block.iter().chain(&subnet.ipv6_cidr_blocks);
                cidrs.copied().collect()
            };
            self.sets("subnet_cidr", id, place, &name, (&cidrs(was), &cidrs(is)));
            let mode = |record: &model::Subnet| block(&record.block_public_access_states);
            self.value(
                "subnet_block_public_access",
                id,
                (mode(sides.0), mode(sides.1)),
                place,
                |was, is| format!("Block Public Access of {name} is now {is}, was {was}"),
            );
            let maps = |record: &model::Subnet| {
                let on = if record.map_public_ip_on_launch {
                    "on"
                } else {
                    "off"
                };
                Some(on.to_owned())
            };
            self.value(
                "subnet_public_ip_on_launch",
                id,
                (maps(sides.0), maps(sides.1)),
                place,
                |_, is| format!("{name} gives new instances a public address: {is}"),
            );
        }
    }

    /// NAT gateways, peerings, the gateways of VPCs, endpoints, prefix lists.
    pub(super) fn gateways(&mut self) {
        if self.knows(Kind::NatGateways) {
            let pairs = Self::pairs(
                &self.before.resources.nat_gateways,
                &self.after.resources.nat_gateways,
                |nat| &nat.nat_gateway_id,
            );
            for (id, pair) in pairs {
                let nat = newest(&pair);
                let (place, name) = (place!(nat), tagged(id, &nat.tags));
                let words = |nat: &model::NatGateway| Some(nat_words(nat));
                self.compared("nat_gateway", id, &pair, place, &name, words);
            }
        }
        if self.knows(Kind::VpcPeeringConnections) {
            let pairs = Self::pairs(
                &self.before.resources.vpc_peering_connections,
                &self.after.resources.vpc_peering_connections,
                |peering| &peering.vpc_peering_connection_id,
            );
            for (id, pair) in pairs {
                let peering = newest(&pair);
                let place = Place {
                    account_id: peering.account_id.as_deref(),
                    region: peering.region.as_deref(),
                    vpc_id: peering.requester_vpc_info.vpc_id.as_deref(),
                };
                let name = tagged(id, &peering.tags);
                let words = |peering: &model::VpcPeeringConnection| Some(peering_words(peering));
                self.compared("peering", id, &pair, place, &name, words);
            }
        }
        self.vpc_gateways();
        if self.knows(Kind::TransitGatewayVpcAttachments) {
            let pairs = Self::pairs(
                &self.before.resources.transit_gateway_vpc_attachments,
                &self.after.resources.transit_gateway_vpc_attachments,
                |attachment| &attachment.transit_gateway_attachment_id,
            );
            for (id, pair) in pairs {
                let attachment = newest(&pair);
                let (place, name) = (place!(attachment), tagged(id, &attachment.tags));
                let words = |of: &model::TransitGatewayVpcAttachment| Some(attachment_words(of));
                self.compared("transit_gateway_attachment", id, &pair, place, &name, words);
            }
        }
        if self.knows(Kind::VpcEndpoints) {
            let pairs = Self::pairs(
                &self.before.resources.vpc_endpoints,
                &self.after.resources.vpc_endpoints,
                |endpoint| &endpoint.vpc_endpoint_id,
            );
            for (id, pair) in pairs {
                let endpoint = newest(&pair);
                let (place, name) = (place!(endpoint), tagged(id, &endpoint.tags));
                let words = |endpoint: &model::VpcEndpoint| Some(endpoint_words(endpoint));
                self.compared("endpoint", id, &pair, place, &name, words);
            }
        }
        if self.knows(Kind::PrefixLists) {
            let pairs = Self::pairs(
                &self.before.resources.prefix_lists,
                &self.after.resources.prefix_lists,
                |list| &list.prefix_list_id,
            );
            for (id, pair) in pairs {
                self.prefix_list(id, &pair);
            }
        }
    }

    /// Internet and egress-only internet gateways, by what they are attached to.
    fn vpc_gateways(&mut self) {
        fn attached(attachments: &[model::GatewayAttachment]) -> Option<String> {
            let vpcs = attachments.iter().filter_map(|at| at.vpc_id.as_deref());
            let vpcs = listed(vpcs);
            Some(if vpcs.is_empty() {
                "attached to nothing".to_owned()
            } else {
                format!("attached to {vpcs}")
            })
        }
        fn vpc_of(attachments: &[model::GatewayAttachment]) -> Option<&str> {
            attachments.iter().find_map(|at| at.vpc_id.as_deref())
        }
        if self.knows(Kind::InternetGateways) {
            let pairs = Self::pairs(
                &self.before.resources.internet_gateways,
                &self.after.resources.internet_gateways,
                |gateway| &gateway.internet_gateway_id,
            );
            for (id, pair) in pairs {
                let gateway = newest(&pair);
                let place = Place {
                    account_id: gateway.account_id.as_deref(),
                    region: gateway.region.as_deref(),
                    vpc_id: vpc_of(&gateway.attachments),
                };
                let name = tagged(id, &gateway.tags);
                let words = |gateway: &model::InternetGateway| attached(&gateway.attachments);
                self.compared("internet_gateway", id, &pair, place, &name, words);
            }
        }
        if self.knows(Kind::EgressOnlyInternetGateways) {
            let pairs = Self::pairs(
                &self.before.resources.egress_only_internet_gateways,
                &self.after.resources.egress_only_internet_gateways,
                |gateway| &gateway.egress_only_internet_gateway_id,
            );
            for (id, pair) in pairs {
                let gateway = newest(&pair);
                let place = Place {
                    account_id: gateway.account_id.as_deref(),
                    region: gateway.region.as_deref(),
                    vpc_id: vpc_of(&gateway.attachments),
                };
                let name = tagged(id, &gateway.tags);
                let words =
                    |gateway: &model::EgressOnlyInternetGateway| attached(&gateway.attachments);
                self.compared(
                    "egress_only_internet_gateway",
                    id,
                    &pair,
                    place,
                    &name,
                    words,
                );
            }
        }
    }

    /// AWS changes its own lists as it grows; only what a customer's list holds is the network's.
    fn prefix_list(&mut self, id: &str, pair: &Pair<'_, model::PrefixList>) {
        let list = newest(pair);
        if list.owner_id.as_deref() == Some("AWS") {
            return;
        }
        let place = Place {
            account_id: list.account_id.as_deref(),
            region: list.region.as_deref(),
            vpc_id: None,
        };
        let name = named(id, list.prefix_list_name.as_deref());
        let cidrs = |list: &model::PrefixList| -> Option<Vec<String>> {
            let cidrs = list.known_cidrs()?;
            Some(cidrs.into_iter().map(str::to_owned).collect())
        };
        let words = |list: &model::PrefixList| Some(listed(cidrs(list).unwrap_or_default()));
        if let Some((was, is)) = self.came_or_went("prefix_list", id, pair, place, &name, words)
            && let (Some(was), Some(is)) = (cidrs(was), cidrs(is))
        {
            self.sets("prefix_list_entry", id, place, &name, (&was, &is));
        }
    }

    /// Flow logs: whether and what they record.
    pub(super) fn flow_logs(&mut self) {
        if !self.knows(Kind::FlowLogs) {
            return;
        }
        let pairs = Self::pairs(
            &self.before.resources.flow_logs,
            &self.after.resources.flow_logs,
            |log| &log.flow_log_id,
        );
        for (id, pair) in pairs {
            let log = newest(&pair);
            let on = log.resource_id.as_deref();
            let place = Place {
                account_id: log.account_id.as_deref(),
                region: log.region.as_deref(),
                vpc_id: on.filter(|id| id.starts_with("vpc-")),
            };
            let name = tagged(id, &log.tags);
            let words = |log: &model::FlowLog| Some(flow_log_words(log));
            self.compared("flow_log", id, &pair, place, &name, words);
        }
    }

    /// Says that a thing came, went, or is described otherwise.
    fn compared<T>(
        &mut self,
        kind: &'static str,
        id: &str,
        pair: &Pair<'_, T>,
        place: Place<'_>,
        name: &str,
        words: impl Fn(&T) -> Option<String>,
    ) {
        if let Some((was, is)) = self.came_or_went(kind, id, pair, place, name, &words) {
            self.value(kind, id, (words(was), words(is)), place, |was, is| {
                format!("{name} is now {is}; before: {was}")
            });
        }
    }

    /// Says that a thing came or went; gives both sides of one that did neither.
    fn came_or_went<'p, T>(
        &mut self,
        kind: &'static str,
        id: &str,
        pair: &Pair<'p, T>,
        place: Place<'_>,
        name: &str,
        words: impl Fn(&T) -> Option<String>,
    ) -> Option<(&'p T, &'p T)> {
        let about = |words: &Option<String>| match words {
            Some(words) if !words.is_empty() => format!(": {words}"),
            _ => String::new(),
        };
        match *pair {
            Pair::Both(was, is) => return Some((was, is)),
            Pair::Added(is) => {
                let after = words(is).or_else(|| Some(String::new()));
                let words = format!("{name} is new{}", about(&after));
                self.push(kind, id, (None, after), place, words);
            }
            Pair::Removed(was) => {
                let before = words(was).or_else(|| Some(String::new()));
                let words = format!("{name} is gone{}", about(&before));
                self.push(kind, id, (before, None), place, words);
            }
        }
        None
    }

    /// Members of a set that came and went.
    fn sets<T: Ord + Display>(
        &mut self,
        kind: &'static str,
        id: &str,
        place: Place<'_>,
        name: &str,
        (was, is): (&[T], &[T]),
    ) {
        let (was, is): (BTreeSet<&T>, BTreeSet<&T>) = (was.iter().collect(), is.iter().collect());
        for gained in is.difference(&was) {
            let words = format!("{name} gained {gained}");
            self.push(kind, id, (None, Some(gained.to_string())), place, words);
        }
        for lost in was.difference(&is) {
            let words = format!("{name} lost {lost}");
            self.push(kind, id, (Some(lost.to_string()), None), place, words);
        }
    }
}

/// The later record of a pair.
fn newest<'p, T>(pair: &Pair<'p, T>) -> &'p T {
    match *pair {
        Pair::Added(record) | Pair::Removed(record) | Pair::Both(_, record) => record,
    }
}

fn block(states: &model::BlockPublicAccessStates) -> Option<String> {
    states
        .internet_gateway_block_mode
        .clone()
        .or_else(|| Some("off".to_owned()))
}

fn nat_words(nat: &model::NatGateway) -> String {
    let public = nat
        .nat_gateway_addresses
        .iter()
        .filter_map(|address| address.public_ip.as_deref());
    let mut words = format!(
        "{} NAT gateway",
        nat.connectivity_type.as_deref().unwrap_or("public")
    );
    if let Some(state) = &nat.state {
        words.push_str(&format!(", {state}"));
    }
    match &nat.subnet_id {
        Some(subnet_id) => words.push_str(&format!(", in {subnet_id}")),
        None => words.push_str(", regional"),
    }
    let public = listed(public);
    if !public.is_empty() {
        words.push_str(&format!(", as {public}"));
    }
    words
}

fn peering_words(peering: &model::VpcPeeringConnection) -> String {
    let side = |info: &model::PeeringVpcInfo| {
        let cidrs = info
            .cidr_block_set
            .iter()
            .filter_map(|block| block.cidr_block.as_deref());
        let cidrs: Vec<&str> = cidrs.collect();
        let cidrs = if cidrs.is_empty() {
            info.cidr_block.as_deref().into_iter().collect()
        } else {
            cidrs
        };
        let id = info.vpc_id.as_deref().unwrap_or("a VPC");
        match cidrs.len() {
            0 => id.to_owned(),
            _ => format!("{id} ({})", listed(cidrs)),
        }
    };
    format!(
        "{}, between {} and {}",
        peering.status.code.as_deref().unwrap_or("state not known"),
        side(&peering.requester_vpc_info),
        side(&peering.accepter_vpc_info)
    )
}

fn attachment_words(attachment: &model::TransitGatewayVpcAttachment) -> String {
    format!(
        "{} on {}, {}",
        attachment.vpc_id.as_deref().unwrap_or("a VPC"),
        attachment
            .transit_gateway_id
            .as_deref()
            .unwrap_or("a transit gateway"),
        attachment.state.as_deref().unwrap_or("state not known")
    )
}

fn endpoint_words(endpoint: &model::VpcEndpoint) -> String {
    let mut words = format!(
        "{} endpoint of {}",
        endpoint.vpc_endpoint_type.as_deref().unwrap_or("an"),
        endpoint.service_name.as_deref().unwrap_or("a service")
    );
    if let Some(state) = &endpoint.state {
        words.push_str(&format!(", {}", state.to_ascii_lowercase()));
    }
    let places = endpoint.subnet_ids.iter().chain(&endpoint.route_table_ids);
    let places = listed(places);
    if !places.is_empty() {
        words.push_str(&format!(", in {places}"));
    }
    words
}

fn flow_log_words(log: &model::FlowLog) -> String {
    let mut words = format!(
        "{} of {}, {}",
        log.traffic_type.as_deref().unwrap_or("traffic"),
        log.resource_id.as_deref().unwrap_or("nothing"),
        log.flow_log_status
            .as_deref()
            .unwrap_or("state not known")
            .to_ascii_lowercase()
    );
    if log.deliver_logs_status.as_deref() == Some("FAILED") {
        words.push_str(", delivery FAILED");
        if let Some(message) = &log.deliver_logs_error_message {
            words.push_str(&format!(" ({message})"));
        }
    }
    if let Some(destination) = log.log_destination.as_ref().or(log.log_group_name.as_ref()) {
        words.push_str(&format!(", to {destination}"));
    }
    words
}
