//! Gateways, peerings, endpoints, prefix lists and flow logs that came, went, or are described otherwise.

use super::resources::newest;
use super::{Compare, Pair, Place};
use crate::topology::model::{self, Kind};
use crate::topology::words::{listed, named, tagged};

/// Compares the records of a kind by what they are in words, each in the VPC that is given.
macro_rules! compare {
    ($compare:ident, $kind:ident $records:ident $id:ident $name:literal, $record:ident in $vpc_id:expr, $words:expr) => {
        if $compare.knows(Kind::$kind) {
            let pairs = Self::pairs(
                &$compare.before.resources.$records,
                &$compare.after.resources.$records,
                |record| &record.$id,
            );
            for (id, pair) in pairs {
                let $record = newest(&pair);
                let place = Place {
                    account_id: $record.account_id.as_deref(),
                    region: $record.region.as_deref(),
                    vpc_id: $vpc_id,
                };
                let name = tagged(id, &$record.tags);
                $compare.compared($name, id, &pair, place, &name, |$record| Some($words));
            }
        }
    };
}

impl<'n> Compare<'n> {
    /// NAT gateways, peerings, gateways of VPCs and between them, endpoints, prefix lists.
    pub(super) fn gateways(&mut self) {
        compare!(self, NatGateways nat_gateways nat_gateway_id "nat_gateway",
            nat in nat.vpc_id.as_deref(), nat_words(nat));
        compare!(self, VpcPeeringConnections vpc_peering_connections vpc_peering_connection_id "peering",
            peering in peering.requester_vpc_info.vpc_id.as_deref(), peering_words(peering));
        compare!(self, InternetGateways internet_gateways internet_gateway_id "internet_gateway",
            gateway in vpc_of(&gateway.attachments), attached(&gateway.attachments));
        compare!(self, EgressOnlyInternetGateways egress_only_internet_gateways egress_only_internet_gateway_id "egress_only_internet_gateway",
            gateway in vpc_of(&gateway.attachments), attached(&gateway.attachments));
        compare!(self, VpnGateways vpn_gateways vpn_gateway_id "vpn_gateway",
            gateway in vpc_of(&gateway.vpc_attachments),
            format!("{}, {}", state(&gateway.state), attached(&gateway.vpc_attachments)));
        compare!(self, CarrierGateways carrier_gateways carrier_gateway_id "carrier_gateway",
            gateway in gateway.vpc_id.as_deref(),
            format!("{}, of {}", state(&gateway.state), gateway.vpc_id.as_deref().unwrap_or("a VPC")));
        compare!(self, TransitGateways transit_gateways transit_gateway_id "transit_gateway",
            gateway in None, state(&gateway.state).to_owned());
        compare!(self, TransitGatewayRouteTables transit_gateway_route_tables transit_gateway_route_table_id "transit_gateway_route_table",
            table in None,
            format!("{}, of {}", state(&table.state), transit_gateway(&table.transit_gateway_id)));
        compare!(self, TransitGatewayVpcAttachments transit_gateway_vpc_attachments transit_gateway_attachment_id "transit_gateway_attachment",
            attachment in attachment.vpc_id.as_deref(), attachment_words(attachment));
        compare!(self, VpcEndpoints vpc_endpoints vpc_endpoint_id "endpoint",
            endpoint in endpoint.vpc_id.as_deref(), endpoint_words(endpoint));
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

    /// Flow logs: whether and what they record.
    pub(super) fn flow_logs(&mut self) {
        compare!(self, FlowLogs flow_logs flow_log_id "flow_log",
            log in log.resource_id.as_deref().filter(|id| id.starts_with("vpc-")), flow_log_words(log));
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
}

fn attached(attachments: &[model::GatewayAttachment]) -> String {
    let vpcs = attachments.iter().filter_map(|at| at.vpc_id.as_deref());
    let vpcs = listed(vpcs);
    if vpcs.is_empty() {
        "attached to nothing".to_owned()
    } else {
        format!("attached to {vpcs}")
    }
}

fn vpc_of(attachments: &[model::GatewayAttachment]) -> Option<&str> {
    attachments.iter().find_map(|at| at.vpc_id.as_deref())
}

fn state(state: &Option<String>) -> &str {
    state.as_deref().unwrap_or("state not known")
}

fn transit_gateway(id: &Option<String>) -> &str {
    id.as_deref().unwrap_or("a transit gateway")
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
        transit_gateway(&attachment.transit_gateway_id),
        state(&attachment.state)
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
