//! What a topology lacks: sentences that say which answer is missing and what that costs.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::model::Resources;

/// Whether a reader can do something about a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advice {
    /// Add what these commands of the AWS CLI print.
    Commands,
    /// Everything was asked for; who refused what is said elsewhere.
    Nothing,
}

/// The gaps in a set of resources, one sentence each.
pub(super) fn of(resources: &Resources, advice: Advice) -> Vec<String> {
    let mut notes = Notes {
        lines: Vec::new(),
        advice,
    };
    missing_kinds(resources, &mut notes);
    missing_targets(resources, &mut notes);
    unreadable_addresses(resources, &mut notes);
    notes.lines
}

struct Notes {
    lines: Vec<String>,
    advice: Advice,
}

impl Notes {
    /// Counts what is missing and names the first.
    fn say<'a, T: ?Sized + 'a>(
        &mut self,
        missing: impl Iterator<Item = &'a T>,
        name: impl Fn(&'a T) -> &'a String,
        text: &str,
        command: Option<&str>,
    ) {
        let mut missing = missing.peekable();
        if let Some(first) = missing.peek() {
            let first = name(first);
            let count = missing.count();
            let advice = self.advice(command);
            self.lines
                .push(format!("{text}{advice}: {count}, such as `{first}`"));
        }
    }

    fn advice(&self, command: Option<&str>) -> String {
        match (self.advice, command) {
            (Advice::Commands, Some(command)) => format!(" (add `aws ec2 {command}`)"),
            _ => String::new(),
        }
    }
}

fn missing_kinds(resources: &Resources, notes: &mut Notes) {
    let tables: HashSet<_> = resources
        .route_tables
        .iter()
        .filter_map(|table| table.vpc_id.as_deref())
        .collect();
    let vpcs: HashSet<_> = resources
        .vpcs
        .iter()
        .map(|vpc| vpc.vpc_id.as_str())
        .collect();
    let guarded: HashSet<_> = resources
        .network_acls
        .iter()
        .flat_map(|acl| &acl.associations)
        .filter_map(|association| association.subnet_id.as_deref())
        .collect();
    let subnets = || resources.subnets.iter();
    notes.say(
        subnets().filter(|subnet| {
            !subnet
                .vpc_id
                .as_deref()
                .is_some_and(|id| tables.contains(id))
        }),
        |subnet| &subnet.subnet_id,
        "subnets whose VPC has no route table here, so that their class is unknown",
        Some("describe-route-tables"),
    );
    notes.say(
        subnets().filter(|subnet| !subnet.vpc_id.as_deref().is_some_and(|id| vpcs.contains(id))),
        |subnet| &subnet.subnet_id,
        "subnets whose VPC is missing, so that only their own CIDRs are known",
        Some("describe-vpcs"),
    );
    notes.say(
        subnets().filter(|subnet| !guarded.contains(subnet.subnet_id.as_str())),
        |subnet| &subnet.subnet_id,
        "subnets without a network ACL here",
        Some("describe-network-acls"),
    );
    if !resources.subnets.is_empty() && resources.network_interfaces.is_empty() {
        let advice = notes.advice(Some("describe-network-interfaces"));
        notes.lines.push(format!(
            "no interfaces: flows are matched by subnet only{advice}"
        ));
    }
    notes.say(
        resources
            .vpcs
            .iter()
            .filter(|vpc| vpc.account_id.is_none() || vpc.region.is_none()),
        |vpc| &vpc.vpc_id,
        "VPCs without an account or region: nothing names one",
        None,
    );
}

fn missing_targets(resources: &Resources, notes: &mut Notes) {
    let nats: HashSet<_> = resources
        .nat_gateways
        .iter()
        .map(|nat| nat.nat_gateway_id.as_str())
        .collect();
    let peerings: HashSet<_> = resources
        .vpc_peering_connections
        .iter()
        .map(|peering| peering.vpc_peering_connection_id.as_str())
        .collect();
    let endpoints: HashSet<_> = resources
        .vpc_endpoints
        .iter()
        .map(|endpoint| endpoint.vpc_endpoint_id.as_str())
        .collect();
    let interfaces: HashSet<_> = resources
        .network_interfaces
        .iter()
        .map(|interface| interface.network_interface_id.as_str())
        .collect();
    let lists: HashSet<_> = resources
        .prefix_lists
        .iter()
        .filter(|list| list.known_cidrs().is_some())
        .map(|list| list.prefix_list_id.as_str())
        .collect();
    let routes = || {
        resources
            .route_tables
            .iter()
            .flat_map(|table| &table.routes)
    };
    let gateways = routes().filter_map(|route| route.gateway_id.as_ref());
    let mut lacking = |ids: &mut dyn Iterator<Item = &String>,
                       known: &HashSet<&str>,
                       text: &str,
                       command: &str| {
        let mut missing: Vec<_> = ids.filter(|id| !known.contains(id.as_str())).collect();
        missing.sort();
        missing.dedup();
        notes.say(missing.into_iter(), |id| id, text, Some(command));
    };
    lacking(
        &mut routes().filter_map(|route| route.nat_gateway_id.as_ref()),
        &nats,
        "NAT gateways that are routed to but missing, and taken as public",
        "describe-nat-gateways",
    );
    lacking(
        &mut routes().filter_map(|route| route.vpc_peering_connection_id.as_ref()),
        &peerings,
        "peerings that are routed to but missing",
        "describe-vpc-peering-connections",
    );
    lacking(
        &mut gateways.filter(|id| id.starts_with("vpce-")),
        &endpoints,
        "endpoints that are routed to but missing",
        "describe-vpc-endpoints",
    );
    lacking(
        &mut routes().filter_map(|route| route.network_interface_id.as_ref()),
        &interfaces,
        "interfaces that are routed to but missing",
        "describe-network-interfaces",
    );
    lacking(
        &mut routes().filter_map(|route| route.destination_prefix_list_id.as_ref()),
        &lists,
        "prefix lists that are destinations of routes without their entries; S3's and DynamoDB's are taken from AWS's \
         public ranges",
        "get-managed-prefix-list-entries --prefix-list-id ID > ID.json",
    );
}

fn unreadable_addresses(resources: &Resources, notes: &mut Notes) {
    let is_cidr = |text: &String| text.parse::<IpNet>().is_ok();
    let is_addr = |text: &String| text.parse::<IpAddr>().is_ok();
    let cidrs = resources
        .vpcs
        .iter()
        .filter_map(|vpc| vpc.cidr_block.as_ref())
        .chain(
            resources
                .subnets
                .iter()
                .filter_map(|subnet| subnet.cidr_block.as_ref()),
        )
        .chain(
            resources
                .route_tables
                .iter()
                .flat_map(|table| &table.routes)
                .filter_map(|route| {
                    route
                        .destination_cidr_block
                        .as_ref()
                        .or(route.destination_ipv6_cidr_block.as_ref())
                }),
        );
    notes.say(
        cidrs.filter(|text| !is_cidr(text)),
        |text| text,
        "CIDRs that cannot be read and are ignored",
        None,
    );
    let private = resources.network_interfaces.iter().flat_map(|interface| {
        let listed = interface
            .private_ip_addresses
            .iter()
            .filter_map(|address| address.private_ip_address.as_ref());
        interface.private_ip_address.iter().chain(listed)
    });
    let elastic = resources.addresses.iter().map(|address| &address.public_ip);
    notes.say(
        private.chain(elastic).filter(|text| !is_addr(text)),
        |text| text,
        "addresses that cannot be read and are ignored",
        None,
    );
}
