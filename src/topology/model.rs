//! EC2's resources as plain records: AWS's names, AWS's words, everything optional that a call may leave out.
//!
//! The same records are read from what `aws ec2 describe-*` prints and kept in a [`Snapshot`](super::Snapshot).
//! Enumerations stay text, so that a value AWS adds next year is kept, not refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Declares records whose fields carry EC2's own names (`vpc_id` is `VpcId` in JSON), all of them optional.
macro_rules! records {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub struct $name {
            $(#[doc = concat!("EC2's `", stringify!($field), "`.")] pub $field: $type,)*
        }
    )*};
}

records! {
    /// A key and a value that somebody gave a resource.
    Tag { key: String, value: String, }
    /// A state by name.
    State { state: Option<String>, }
    /// What Block Public Access does to a VPC or subnet.
    BlockPublicAccessStates { internet_gateway_block_mode: Option<String>, }
    /// An IPv4 CIDR of a VPC.
    CidrBlockAssociation { cidr_block: Option<String>, cidr_block_state: State, }
    /// An IPv6 CIDR of a VPC or subnet.
    Ipv6CidrBlockAssociation { ipv6_cidr_block: Option<String>, ipv6_cidr_block_state: State, }

    /// A VPC.
    Vpc {
        account_id: Option<String>, region: Option<String>, vpc_id: String, cidr_block: Option<String>,
        cidr_block_association_set: Vec<CidrBlockAssociation>,
        ipv6_cidr_block_association_set: Vec<Ipv6CidrBlockAssociation>,
        is_default: bool, owner_id: Option<String>, state: Option<String>,
        block_public_access_states: BlockPublicAccessStates, tags: Vec<Tag>,
    }
    /// A subnet.
    Subnet {
        account_id: Option<String>, region: Option<String>, subnet_id: String, vpc_id: Option<String>,
        cidr_block: Option<String>, ipv6_cidr_block_association_set: Vec<Ipv6CidrBlockAssociation>,
        availability_zone: Option<String>, availability_zone_id: Option<String>, ipv6_native: bool,
        available_ip_address_count: Option<i32>,
        map_public_ip_on_launch: bool, owner_id: Option<String>, state: Option<String>,
        block_public_access_states: BlockPublicAccessStates, tags: Vec<Tag>,
    }

    /// What a route table is associated with: a subnet, a gateway, or (main) every subnet without one.
    RouteTableAssociation {
        main: bool, route_table_association_id: Option<String>, subnet_id: Option<String>,
        gateway_id: Option<String>, association_state: State,
    }
    /// A virtual private gateway that propagates routes.
    PropagatingVgw { gateway_id: Option<String>, }
    /// A route: one destination, one target.
    Route {
        destination_cidr_block: Option<String>, destination_ipv6_cidr_block: Option<String>,
        destination_prefix_list_id: Option<String>, gateway_id: Option<String>, vpc_endpoint_id: Option<String>,
        egress_only_internet_gateway_id: Option<String>, nat_gateway_id: Option<String>,
        transit_gateway_id: Option<String>, vpc_peering_connection_id: Option<String>,
        network_interface_id: Option<String>, instance_id: Option<String>, carrier_gateway_id: Option<String>,
        local_gateway_id: Option<String>, core_network_arn: Option<String>, odb_network_arn: Option<String>,
        ip_address: Option<String>, state: Option<String>, origin: Option<String>,
    }
    /// A route table.
    RouteTable {
        account_id: Option<String>, region: Option<String>, route_table_id: String, vpc_id: Option<String>,
        owner_id: Option<String>, associations: Vec<RouteTableAssociation>, routes: Vec<Route>,
        propagating_vgws: Vec<PropagatingVgw>, tags: Vec<Tag>,
    }

    /// A subnet that a network ACL guards.
    NetworkAclAssociation { network_acl_association_id: Option<String>, network_acl_id: Option<String>, subnet_id: Option<String>, }
    /// First and last port.
    PortRange { from: Option<i32>, to: Option<i32>, }
    /// ICMP type and code; -1 is any.
    IcmpTypeCode { r#type: Option<i32>, code: Option<i32>, }
    /// A rule of a network ACL.
    NetworkAclEntry {
        cidr_block: Option<String>, ipv6_cidr_block: Option<String>, egress: bool, protocol: Option<String>,
        port_range: Option<PortRange>, icmp_type_code: Option<IcmpTypeCode>, rule_action: Option<String>, rule_number: i32,
    }
    /// A network ACL.
    NetworkAcl {
        account_id: Option<String>, region: Option<String>, network_acl_id: String, vpc_id: Option<String>,
        owner_id: Option<String>, is_default: bool, associations: Vec<NetworkAclAssociation>,
        entries: Vec<NetworkAclEntry>, tags: Vec<Tag>,
    }

    /// An IPv4 range of a security group rule.
    IpRange { cidr_ip: Option<String>, description: Option<String>, }
    /// An IPv6 range of a security group rule.
    Ipv6Range { cidr_ipv6: Option<String>, description: Option<String>, }
    /// A prefix list of a security group rule.
    PrefixListReference { prefix_list_id: Option<String>, description: Option<String>, }
    /// A security group that another one's rule, or an interface, names.
    GroupReference { group_id: Option<String>, group_name: Option<String>, user_id: Option<String>, description: Option<String>, }
    /// Rules of a security group that share protocol and ports.
    IpPermission {
        ip_protocol: Option<String>, from_port: Option<i32>, to_port: Option<i32>, ip_ranges: Vec<IpRange>,
        ipv6_ranges: Vec<Ipv6Range>, prefix_list_ids: Vec<PrefixListReference>, user_id_group_pairs: Vec<GroupReference>,
    }
    /// A security group.
    SecurityGroup {
        account_id: Option<String>, region: Option<String>, group_id: String, group_name: Option<String>,
        vpc_id: Option<String>, owner_id: Option<String>, description: Option<String>,
        ip_permissions: Vec<IpPermission>, ip_permissions_egress: Vec<IpPermission>, tags: Vec<Tag>,
    }
    /// One rule of a security group.
    SecurityGroupRule {
        account_id: Option<String>, region: Option<String>, security_group_rule_id: String, group_id: Option<String>,
        is_egress: bool, ip_protocol: Option<String>, from_port: Option<i32>, to_port: Option<i32>,
        cidr_ipv4: Option<String>, cidr_ipv6: Option<String>, prefix_list_id: Option<String>,
        referenced_group_info: Option<GroupReference>, description: Option<String>, tags: Vec<Tag>,
    }

    /// The public address behind a private one.
    AddressAssociation { public_ip: Option<String>, carrier_ip: Option<String>, customer_owned_ip: Option<String>, allocation_id: Option<String>, }
    /// A private IPv4 address of an interface.
    PrivateIpAddress { private_ip_address: Option<String>, primary: bool, association: Option<AddressAssociation>, }
    /// An IPv6 address of an interface.
    Ipv6Address { ipv6_address: Option<String>, }
    /// An IPv4 prefix delegated to an interface.
    Ipv4Prefix { ipv4_prefix: Option<String>, }
    /// An IPv6 prefix delegated to an interface.
    Ipv6Prefix { ipv6_prefix: Option<String>, }
    /// What an interface is attached to.
    Attachment { instance_id: Option<String>, instance_owner_id: Option<String>, status: Option<String>, }
    /// A network interface.
    NetworkInterface {
        account_id: Option<String>, region: Option<String>, network_interface_id: String, vpc_id: Option<String>,
        subnet_id: Option<String>, owner_id: Option<String>, availability_zone: Option<String>,
        interface_type: Option<String>, description: Option<String>, status: Option<String>,
        requester_id: Option<String>, requester_managed: bool, source_dest_check: Option<bool>,
        private_ip_address: Option<String>, private_ip_addresses: Vec<PrivateIpAddress>,
        ipv6_addresses: Vec<Ipv6Address>, ipv4_prefixes: Vec<Ipv4Prefix>, ipv6_prefixes: Vec<Ipv6Prefix>,
        association: Option<AddressAssociation>, attachment: Option<Attachment>, groups: Vec<GroupReference>,
        tag_set: Vec<Tag>,
    }

    /// An address of a NAT gateway.
    NatGatewayAddress {
        private_ip: Option<String>, public_ip: Option<String>, network_interface_id: Option<String>,
        allocation_id: Option<String>, availability_zone_id: Option<String>,
    }
    /// A NAT gateway.
    NatGateway {
        account_id: Option<String>, region: Option<String>, nat_gateway_id: String, vpc_id: Option<String>,
        subnet_id: Option<String>, state: Option<String>, connectivity_type: Option<String>,
        availability_mode: Option<String>, route_table_id: Option<String>,
        nat_gateway_addresses: Vec<NatGatewayAddress>, tags: Vec<Tag>,
    }
    /// The VPC that a gateway is attached to.
    GatewayAttachment { vpc_id: Option<String>, state: Option<String>, }
    /// An internet gateway.
    InternetGateway {
        account_id: Option<String>, region: Option<String>, internet_gateway_id: String, owner_id: Option<String>,
        attachments: Vec<GatewayAttachment>, tags: Vec<Tag>,
    }
    /// An egress-only internet gateway.
    EgressOnlyInternetGateway {
        account_id: Option<String>, region: Option<String>, egress_only_internet_gateway_id: String,
        attachments: Vec<GatewayAttachment>, tags: Vec<Tag>,
    }
    /// A virtual private gateway.
    VpnGateway {
        account_id: Option<String>, region: Option<String>, vpn_gateway_id: String, state: Option<String>,
        vpc_attachments: Vec<GatewayAttachment>, tags: Vec<Tag>,
    }
    /// A carrier gateway (Wavelength).
    CarrierGateway {
        account_id: Option<String>, region: Option<String>, carrier_gateway_id: String, vpc_id: Option<String>,
        state: Option<String>, owner_id: Option<String>, tags: Vec<Tag>,
    }
    /// A transit gateway.
    TransitGateway {
        account_id: Option<String>, region: Option<String>, transit_gateway_id: String, owner_id: Option<String>,
        state: Option<String>, description: Option<String>, tags: Vec<Tag>,
    }
    /// Anything attached to a transit gateway.
    TransitGatewayAttachment {
        account_id: Option<String>, region: Option<String>, transit_gateway_attachment_id: String,
        transit_gateway_id: Option<String>, resource_type: Option<String>, resource_id: Option<String>,
        resource_owner_id: Option<String>, state: Option<String>, tags: Vec<Tag>,
    }
    /// A VPC attached to a transit gateway.
    TransitGatewayVpcAttachment {
        account_id: Option<String>, region: Option<String>, transit_gateway_attachment_id: String,
        transit_gateway_id: Option<String>, vpc_id: Option<String>, vpc_owner_id: Option<String>,
        subnet_ids: Vec<String>, state: Option<String>, tags: Vec<Tag>,
    }
    /// A route table of a transit gateway.
    TransitGatewayRouteTable {
        account_id: Option<String>, region: Option<String>, transit_gateway_route_table_id: String,
        transit_gateway_id: Option<String>, state: Option<String>, tags: Vec<Tag>,
    }
    /// A VPC endpoint of any type.
    VpcEndpoint {
        account_id: Option<String>, region: Option<String>, vpc_endpoint_id: String, vpc_endpoint_type: Option<String>,
        vpc_id: Option<String>, owner_id: Option<String>, service_name: Option<String>, state: Option<String>,
        route_table_ids: Vec<String>, subnet_ids: Vec<String>, network_interface_ids: Vec<String>, tags: Vec<Tag>,
    }
    /// One side of a peering.
    PeeringVpcInfo {
        vpc_id: Option<String>, owner_id: Option<String>, region: Option<String>, cidr_block: Option<String>,
        cidr_block_set: Vec<CidrBlockAssociation>, ipv6_cidr_block_set: Vec<Ipv6CidrBlockAssociation>,
    }
    /// Where a peering stands.
    PeeringStatus { code: Option<String>, message: Option<String>, }
    /// A VPC peering connection.
    VpcPeeringConnection {
        account_id: Option<String>, region: Option<String>, vpc_peering_connection_id: String,
        requester_vpc_info: PeeringVpcInfo, accepter_vpc_info: PeeringVpcInfo, status: PeeringStatus, tags: Vec<Tag>,
    }
    /// An entry of a prefix list.
    PrefixListEntry { cidr: String, description: Option<String>, }
    /// A prefix list. `cidrs` is what `describe-prefix-lists` prints, `entries` what `get-managed-prefix-list-entries` does; both absent: not known.
    PrefixList {
        account_id: Option<String>, region: Option<String>, prefix_list_id: String, prefix_list_name: Option<String>,
        owner_id: Option<String>, address_family: Option<String>, state: Option<String>, version: Option<i64>,
        cidrs: Option<Vec<String>>, entries: Option<Vec<PrefixListEntry>>, tags: Vec<Tag>,
    }
    /// A flow log: what is recorded, and where to.
    FlowLog {
        account_id: Option<String>, region: Option<String>, flow_log_id: String, resource_id: Option<String>,
        traffic_type: Option<String>, flow_log_status: Option<String>, deliver_logs_status: Option<String>,
        deliver_logs_error_message: Option<String>, log_destination_type: Option<String>,
        log_destination: Option<String>, log_group_name: Option<String>, log_format: Option<String>,
        max_aggregation_interval: Option<i32>, creation_time: Option<String>, tags: Vec<Tag>,
    }
    /// An Elastic IP address.
    Address {
        account_id: Option<String>, region: Option<String>, public_ip: String, allocation_id: Option<String>,
        network_interface_id: Option<String>, private_ip_address: Option<String>, instance_id: Option<String>, tags: Vec<Tag>,
    }
}

impl PrefixList {
    /// The CIDRs, from whichever call printed them; `None` if neither did.
    pub fn known_cidrs(&self) -> Option<Vec<&str>> {
        match (&self.entries, &self.cidrs) {
            (Some(entries), _) => Some(entries.iter().map(|entry| entry.cidr.as_str()).collect()),
            (None, Some(cidrs)) => Some(cidrs.iter().map(String::as_str).collect()),
            (None, None) => None,
        }
    }

    /// Adds what another call printed about the same list.
    fn complete_with(&mut self, other: &Self) {
        fn fill<T: Clone>(mine: &mut Option<T>, theirs: &Option<T>) {
            if theirs.is_some() {
                mine.clone_from(theirs);
            }
        }
        fill(&mut self.account_id, &other.account_id);
        fill(&mut self.region, &other.region);
        fill(&mut self.prefix_list_name, &other.prefix_list_name);
        fill(&mut self.owner_id, &other.owner_id);
        fill(&mut self.address_family, &other.address_family);
        fill(&mut self.state, &other.state);
        fill(&mut self.version, &other.version);
        fill(&mut self.cidrs, &other.cidrs);
        fill(&mut self.entries, &other.entries);
        if !other.tags.is_empty() {
            self.tags.clone_from(&other.tags);
        }
    }
}

/// The value of the tag `key`.
pub(crate) fn tag<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter()
        .find(|tag| tag.key == key)
        .map(|tag| tag.value.as_str())
}

/// A kind's resources of one account and region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Coverage {
    /// What kind.
    pub kind: Kind,
    /// Whose; `None` where it could not be told.
    pub account_id: Option<String>,
    /// Where; `None` where it could not be told.
    pub region: Option<String>,
}

/// What every kind of record has.
trait Record {
    fn id(&self) -> &str;
    fn place(&self) -> (&Option<String>, &Option<String>);
}

/// Which of two records of the same id is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    New,
    /// The same again, or more about it.
    Same,
    /// Replaced one that said otherwise.
    Replaced,
}

/// The one table of kinds: name, field, record, EC2's key in JSON, the record's id.
macro_rules! kinds {
    ($($kind:ident $field:ident $record:ident $key:literal $id:ident;)*) => {
        /// A kind of EC2 resource that a topology is made of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Kind { $(#[doc = concat!("`", $key, "`.")] $kind,)* }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The key under which `aws ec2 describe-*` prints it.
            pub fn key(self) -> &'static str {
                match self { $(Self::$kind => $key,)* }
            }
        }

        $(impl Record for $record {
            fn id(&self) -> &str { &self.$id }
            fn place(&self) -> (&Option<String>, &Option<String>) { (&self.account_id, &self.region) }
        })*

        /// EC2 resources by kind, each sorted by id.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Resources {
            $(#[doc = concat!("What `", $key, "` lists.")] pub $field: Vec<Arc<$record>>,)*
        }

        impl Resources {
            /// How many records there are of each kind that has any.
            pub fn counts(&self) -> Vec<(Kind, usize)> {
                let mut counts = Vec::new();
                $(if !self.$field.is_empty() { counts.push((Kind::$kind, self.$field.len())); })*
                counts
            }

            /// These resources, and those of `earlier` that `covered` says nothing about.
            pub(super) fn over(&self, earlier: &Self, covered: &BTreeSet<Coverage>) -> Self {
                let mut merged = Self { $($field: merge(Kind::$kind, &self.$field, &earlier.$field, covered),)* };
                merged.complete_prefix_lists(earlier);
                merged
            }
        }

        /// Records as they are read, by kind and id.
        #[derive(Debug, Default)]
        pub(super) struct Draft { $($field: BTreeMap<String, $record>,)* }

        impl Draft {
            /// Reads one record; the later of two with the same id is kept.
            pub(super) fn push(&mut self, kind: Kind, value: serde_json::Value) -> Result<(String, Pushed), serde_json::Error> {
                match kind {
                    $(Kind::$kind => {
                        let record: $record = serde_json::from_value(value)?;
                        let id = record.id().to_owned();
                        let pushed = match self.$field.get(&id) {
                            None => Pushed::New,
                            Some(before) if *before == record => Pushed::Same,
                            Some(_) => Pushed::Replaced,
                        };
                        self.$field.insert(id.clone(), record);
                        Ok((id, pushed))
                    })*
                }
            }

            /// Reads one record, unless there is one of its id already.
            pub(super) fn push_if_new(&mut self, kind: Kind, value: serde_json::Value) -> Result<(String, Pushed), serde_json::Error> {
                match kind {
                    $(Kind::$kind => {
                        let record: $record = serde_json::from_value(value)?;
                        let id = record.id().to_owned();
                        let pushed = if self.$field.contains_key(&id) { Pushed::Same } else { Pushed::New };
                        self.$field.entry(id.clone()).or_insert(record);
                        Ok((id, pushed))
                    })*
                }
            }

            pub(super) fn into_resources(self) -> Resources {
                Resources { $($field: self.$field.into_values().map(Arc::new).collect(),)* }
            }
        }
    };
}

kinds! {
    Vpcs vpcs Vpc "Vpcs" vpc_id;
    Subnets subnets Subnet "Subnets" subnet_id;
    RouteTables route_tables RouteTable "RouteTables" route_table_id;
    NetworkAcls network_acls NetworkAcl "NetworkAcls" network_acl_id;
    SecurityGroups security_groups SecurityGroup "SecurityGroups" group_id;
    SecurityGroupRules security_group_rules SecurityGroupRule "SecurityGroupRules" security_group_rule_id;
    NetworkInterfaces network_interfaces NetworkInterface "NetworkInterfaces" network_interface_id;
    NatGateways nat_gateways NatGateway "NatGateways" nat_gateway_id;
    InternetGateways internet_gateways InternetGateway "InternetGateways" internet_gateway_id;
    EgressOnlyInternetGateways egress_only_internet_gateways EgressOnlyInternetGateway "EgressOnlyInternetGateways" egress_only_internet_gateway_id;
    VpnGateways vpn_gateways VpnGateway "VpnGateways" vpn_gateway_id;
    CarrierGateways carrier_gateways CarrierGateway "CarrierGateways" carrier_gateway_id;
    TransitGateways transit_gateways TransitGateway "TransitGateways" transit_gateway_id;
    TransitGatewayAttachments transit_gateway_attachments TransitGatewayAttachment "TransitGatewayAttachments" transit_gateway_attachment_id;
    TransitGatewayVpcAttachments transit_gateway_vpc_attachments TransitGatewayVpcAttachment "TransitGatewayVpcAttachments" transit_gateway_attachment_id;
    TransitGatewayRouteTables transit_gateway_route_tables TransitGatewayRouteTable "TransitGatewayRouteTables" transit_gateway_route_table_id;
    VpcEndpoints vpc_endpoints VpcEndpoint "VpcEndpoints" vpc_endpoint_id;
    VpcPeeringConnections vpc_peering_connections VpcPeeringConnection "VpcPeeringConnections" vpc_peering_connection_id;
    PrefixLists prefix_lists PrefixList "PrefixLists" prefix_list_id;
    FlowLogs flow_logs FlowLog "FlowLogs" flow_log_id;
    Addresses addresses Address "Addresses" public_ip;
}

impl Resources {
    /// A list whose entries were imported once keeps them when only its description is imported again, and the other
    /// way round.
    fn complete_prefix_lists(&mut self, earlier: &Self) {
        for list in &mut self.prefix_lists {
            let known = earlier
                .prefix_lists
                .iter()
                .find(|known| known.prefix_list_id == list.prefix_list_id && *known != list);
            if let Some(known) = known {
                let mut whole = PrefixList::clone(known);
                whole.complete_with(list);
                *list = Arc::new(whole);
            }
        }
    }
}

impl Draft {
    /// Reads one prefix list. Three calls print parts of the same list, so parts add up instead of replacing each other.
    pub(super) fn push_prefix_list(
        &mut self,
        value: serde_json::Value,
    ) -> Result<(String, Pushed), serde_json::Error> {
        let part: PrefixList = serde_json::from_value(value)?;
        let id = part.prefix_list_id.clone();
        let pushed = match self.prefix_lists.get_mut(&id) {
            Some(list) => {
                list.complete_with(&part);
                Pushed::Same
            }
            None => {
                self.prefix_lists.insert(id.clone(), part);
                Pushed::New
            }
        };
        Ok((id, pushed))
    }
}

/// The later records, and the earlier ones that nothing covered and no later record replaces.
fn merge<T: Record>(
    kind: Kind,
    later: &[Arc<T>],
    earlier: &[Arc<T>],
    covered: &BTreeSet<Coverage>,
) -> Vec<Arc<T>> {
    let mut merged: BTreeMap<&str, &Arc<T>> =
        later.iter().map(|record| (record.id(), record)).collect();
    for record in earlier {
        let (account_id, region) = record.place();
        let place = Coverage {
            kind,
            account_id: account_id.clone(),
            region: region.clone(),
        };
        if !covered.contains(&place) {
            merged.entry(record.id()).or_insert(record);
        }
    }
    merged.into_values().map(Arc::clone).collect()
}
