//! The SDK's types as the AWS CLI prints them: AWS's names, enumerations as AWS's words, no nulls.
//!
//! One line for each type, with the fields that [`topology::model`](crate::topology::model) reads or that tell account and
//! region. Lists are sorted: EC2 promises no order, and an unchanged network must give the same bytes.

use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::types;
use serde_json::{Map, Value};

/// Something that has a form in JSON; null where it is absent.
pub(super) trait Shape {
    fn to_json(&self) -> Value;
}

impl<T: Shape> Shape for Option<T> {
    fn to_json(&self) -> Value {
        self.as_ref().map_or(Value::Null, Shape::to_json)
    }
}

impl<T: Shape> Shape for Vec<T> {
    fn to_json(&self) -> Value {
        let mut items: Vec<Value> = self.iter().map(Shape::to_json).collect();
        items.sort_by_cached_key(Value::to_string);
        items.into()
    }
}

impl Shape for DateTime {
    fn to_json(&self) -> Value {
        self.to_string().into()
    }
}

macro_rules! plain {
    ($($type:ty)*) => {$(
        impl Shape for $type {
            fn to_json(&self) -> Value {
                self.clone().into()
            }
        }
    )*};
}

plain! { String bool i32 i64 }

/// A value that AWS adds tomorrow is kept as its text, and `as_str` is right also where the SDK's own spelling is not:
/// `nat_gateway` of an interface arrives as unknown.
macro_rules! words {
    ($($type:ident)*) => {$(
        impl Shape for types::$type {
            fn to_json(&self) -> Value {
                self.as_str().into()
            }
        }
    )*};
}

words! {
    AttachmentStatus AvailabilityMode BlockPublicAccessMode CarrierGatewayState ConnectivityType LogDestinationType
    NatGatewayState NetworkInterfaceStatus NetworkInterfaceType PrefixListState RouteOrigin RouteState
    RouteTableAssociationStateCode RuleAction State SubnetCidrBlockStateCode SubnetState TrafficType
    TransitGatewayAttachmentResourceType TransitGatewayAttachmentState TransitGatewayRouteTableState TransitGatewayState
    VpcCidrBlockStateCode VpcEndpointType VpcPeeringConnectionStateReasonCode VpcState VpnState
}

macro_rules! shapes {
    ($($type:ident { $($field:ident)* })*) => {
        /// Every type's fields, for the test that compares them with the model's.
        #[cfg(test)]
        const FIELDS: &[(&str, &[&str])] = &[$((stringify!($type), &[$(stringify!($field)),*])),*];

        $(impl Shape for types::$type {
            fn to_json(&self) -> Value {
                let mut object = Map::new();
                $(insert(&mut object, stringify!($field), self.$field.to_json());)*
                object.into()
            }
        })*
    };
}

shapes! {
    Tag { key value }

    Vpc {
        vpc_id owner_id cidr_block cidr_block_association_set ipv6_cidr_block_association_set is_default state
        block_public_access_states tags
    }
    VpcCidrBlockAssociation { cidr_block cidr_block_state }
    VpcIpv6CidrBlockAssociation { ipv6_cidr_block ipv6_cidr_block_state }
    VpcCidrBlockState { state }
    BlockPublicAccessStates { internet_gateway_block_mode }
    Subnet {
        subnet_id subnet_arn vpc_id owner_id cidr_block ipv6_cidr_block_association_set availability_zone
        availability_zone_id ipv6_native map_public_ip_on_launch available_ip_address_count state block_public_access_states
        tags
    }
    SubnetIpv6CidrBlockAssociation { ipv6_cidr_block ipv6_cidr_block_state }
    SubnetCidrBlockState { state }

    RouteTable { route_table_id vpc_id owner_id associations routes propagating_vgws tags }
    RouteTableAssociation { main route_table_association_id subnet_id gateway_id association_state }
    RouteTableAssociationState { state }
    PropagatingVgw { gateway_id }
    Route {
        destination_cidr_block destination_ipv6_cidr_block destination_prefix_list_id gateway_id
        egress_only_internet_gateway_id nat_gateway_id transit_gateway_id vpc_peering_connection_id network_interface_id
        instance_id carrier_gateway_id local_gateway_id core_network_arn odb_network_arn ip_address state origin
    }

    NetworkAcl { network_acl_id vpc_id owner_id is_default associations entries tags }
    NetworkAclAssociation { network_acl_association_id network_acl_id subnet_id }
    NetworkAclEntry { cidr_block ipv6_cidr_block egress protocol port_range icmp_type_code rule_action rule_number }
    PortRange { from to }
    IcmpTypeCode { r#type code }

    SecurityGroup {
        group_id group_name security_group_arn vpc_id owner_id description ip_permissions ip_permissions_egress tags
    }
    IpPermission { ip_protocol from_port to_port ip_ranges ipv6_ranges prefix_list_ids user_id_group_pairs }
    IpRange { cidr_ip description }
    Ipv6Range { cidr_ipv6 description }
    PrefixListId { prefix_list_id description }
    UserIdGroupPair { group_id group_name user_id description }
    SecurityGroupRule {
        security_group_rule_id security_group_rule_arn group_id group_owner_id is_egress ip_protocol from_port to_port
        cidr_ipv4 cidr_ipv6 prefix_list_id referenced_group_info description tags
    }
    ReferencedSecurityGroup { group_id user_id }

    NetworkInterface {
        network_interface_id vpc_id subnet_id owner_id availability_zone interface_type description status requester_id
        requester_managed source_dest_check private_ip_address private_ip_addresses ipv6_addresses ipv4_prefixes
        ipv6_prefixes association attachment groups tag_set
    }
    NetworkInterfacePrivateIpAddress { private_ip_address primary association }
    NetworkInterfaceAssociation { public_ip carrier_ip customer_owned_ip allocation_id }
    NetworkInterfaceIpv6Address { ipv6_address }
    Ipv4PrefixSpecification { ipv4_prefix }
    Ipv6PrefixSpecification { ipv6_prefix }
    NetworkInterfaceAttachment { instance_id instance_owner_id status }
    GroupIdentifier { group_id group_name }

    NatGateway {
        nat_gateway_id vpc_id subnet_id state connectivity_type availability_mode route_table_id nat_gateway_addresses tags
    }
    NatGatewayAddress { private_ip public_ip network_interface_id allocation_id availability_zone_id }
    InternetGateway { internet_gateway_id owner_id attachments tags }
    EgressOnlyInternetGateway { egress_only_internet_gateway_id attachments tags }
    InternetGatewayAttachment { vpc_id state }
    VpnGateway { vpn_gateway_id state vpc_attachments tags }
    VpcAttachment { vpc_id state }
    CarrierGateway { carrier_gateway_id vpc_id state owner_id tags }

    TransitGateway { transit_gateway_id transit_gateway_arn owner_id state description tags }
    TransitGatewayAttachment {
        transit_gateway_attachment_id transit_gateway_id transit_gateway_owner_id resource_type resource_id
        resource_owner_id state tags
    }
    TransitGatewayVpcAttachment { transit_gateway_attachment_id transit_gateway_id vpc_id vpc_owner_id subnet_ids state tags }
    TransitGatewayRouteTable { transit_gateway_route_table_id transit_gateway_id state tags }

    VpcEndpoint {
        vpc_endpoint_id vpc_endpoint_type vpc_id owner_id service_name state route_table_ids subnet_ids
        network_interface_ids tags
    }
    VpcPeeringConnection { vpc_peering_connection_id requester_vpc_info accepter_vpc_info status tags }
    VpcPeeringConnectionVpcInfo { vpc_id owner_id region cidr_block cidr_block_set ipv6_cidr_block_set }
    CidrBlock { cidr_block }
    Ipv6CidrBlock { ipv6_cidr_block }
    VpcPeeringConnectionStateReason { code message }

    ManagedPrefixList { prefix_list_id prefix_list_name prefix_list_arn owner_id address_family state version tags }
    PrefixList { prefix_list_id prefix_list_name cidrs }
    PrefixListEntry { cidr description }
    FlowLog {
        flow_log_id resource_id traffic_type flow_log_status deliver_logs_status deliver_logs_error_message
        log_destination_type log_destination log_group_name log_format max_aggregation_interval creation_time tags
    }
    Address {
        public_ip allocation_id network_interface_id network_interface_owner_id network_border_group private_ip_address
        instance_id tags
    }
}

fn insert(object: &mut Map<String, Value>, field: &str, value: Value) {
    if !value.is_null() {
        object.insert(aws_name(field), value);
    }
}

/// `vpc_id` is `VpcId`, as serde has it where the records are read.
fn aws_name(field: &str) -> String {
    let words = field.strip_prefix("r#").unwrap_or(field).split('_');
    words
        .map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            first.to_ascii_uppercase() + rest
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::topology::model;

    #[test]
    fn keeps_words_that_the_sdk_does_not_know() {
        let interface = types::NetworkInterface::builder()
            .network_interface_id("eni-1")
            .interface_type("nat_gateway".into())
            .status("resting".into())
            .build();
        assert_eq!(
            interface.to_json(),
            json!({"NetworkInterfaceId": "eni-1", "InterfaceType": "nat_gateway", "Status": "resting"})
        );
    }

    #[test]
    fn lists_have_one_order() {
        let tag = |key: &str| types::Tag::builder().key(key).value("x").build();
        let vpc = |keys: [&str; 2]| {
            types::Vpc::builder()
                .set_tags(Some(keys.map(tag).to_vec()))
                .build()
        };
        assert_eq!(vpc(["a", "b"]).to_json(), vpc(["b", "a"]).to_json());
    }

    /// The model's fields that none of these types gives.
    fn missing<T: Default + serde::Serialize>(types: &[&str]) -> Vec<String> {
        let given: Vec<String> = FIELDS
            .iter()
            .filter(|(name, _)| types.contains(name))
            .flat_map(|(_, fields)| fields.iter().map(|field| aws_name(field)))
            .collect();
        assert!(!given.is_empty(), "{types:?}");
        let Value::Object(record) = serde_json::to_value(T::default()).unwrap() else {
            panic!("{types:?} is no record");
        };
        let known = |name: &String| {
            // Account and region come from who asked and where; entries are a call of their own.
            given.contains(name) || ["AccountId", "Region", "Entries"].contains(&name.as_str())
        };
        record.keys().filter(|name| !known(name)).cloned().collect()
    }

    #[test]
    fn every_field_that_the_model_reads_is_kept() {
        let mut all = Vec::new();
        macro_rules! each {
            ($($record:ident: $($type:ident)+;)*) => {$(
                let types = [$(stringify!($type)),+];
                let lacking = missing::<model::$record>(&types);
                all.extend(lacking.into_iter().map(|name| format!("{}.{name}", stringify!($record))));
            )*};
        }
        each! {
            Tag: Tag;
            Vpc: Vpc;
            CidrBlockAssociation: VpcCidrBlockAssociation;
            Ipv6CidrBlockAssociation: VpcIpv6CidrBlockAssociation;
            Ipv6CidrBlockAssociation: SubnetIpv6CidrBlockAssociation;
            State: VpcCidrBlockState;
            State: SubnetCidrBlockState;
            State: RouteTableAssociationState;
            BlockPublicAccessStates: BlockPublicAccessStates;
            Subnet: Subnet;
            RouteTable: RouteTable;
            RouteTableAssociation: RouteTableAssociation;
            PropagatingVgw: PropagatingVgw;
            Route: Route;
            NetworkAcl: NetworkAcl;
            NetworkAclAssociation: NetworkAclAssociation;
            NetworkAclEntry: NetworkAclEntry;
            PortRange: PortRange;
            IcmpTypeCode: IcmpTypeCode;
            SecurityGroup: SecurityGroup;
            IpPermission: IpPermission;
            IpRange: IpRange;
            Ipv6Range: Ipv6Range;
            PrefixListReference: PrefixListId;
            GroupReference: UserIdGroupPair;
            SecurityGroupRule: SecurityGroupRule;
            NetworkInterface: NetworkInterface;
            PrivateIpAddress: NetworkInterfacePrivateIpAddress;
            AddressAssociation: NetworkInterfaceAssociation;
            Ipv6Address: NetworkInterfaceIpv6Address;
            Ipv4Prefix: Ipv4PrefixSpecification;
            Ipv6Prefix: Ipv6PrefixSpecification;
            Attachment: NetworkInterfaceAttachment;
            NatGateway: NatGateway;
            NatGatewayAddress: NatGatewayAddress;
            InternetGateway: InternetGateway;
            EgressOnlyInternetGateway: EgressOnlyInternetGateway;
            GatewayAttachment: InternetGatewayAttachment;
            GatewayAttachment: VpcAttachment;
            VpnGateway: VpnGateway;
            CarrierGateway: CarrierGateway;
            TransitGateway: TransitGateway;
            TransitGatewayAttachment: TransitGatewayAttachment;
            TransitGatewayVpcAttachment: TransitGatewayVpcAttachment;
            TransitGatewayRouteTable: TransitGatewayRouteTable;
            VpcEndpoint: VpcEndpoint;
            VpcPeeringConnection: VpcPeeringConnection;
            PeeringVpcInfo: VpcPeeringConnectionVpcInfo;
            PeeringStatus: VpcPeeringConnectionStateReason;
            PrefixList: ManagedPrefixList PrefixList;
            PrefixListEntry: PrefixListEntry;
            FlowLog: FlowLog;
            Address: Address;
        }
        // The SDK has it in `gateway_id`, as EC2 does.
        assert_eq!(all, ["Route.VpcEndpointId"]);
    }

    #[test]
    fn names_are_those_of_the_cli() {
        for (field, name) in [
            ("vpc_id", "VpcId"),
            ("r#type", "Type"),
            (
                "ipv6_cidr_block_association_set",
                "Ipv6CidrBlockAssociationSet",
            ),
            ("cidr_ipv6", "CidrIpv6"),
        ] {
            assert_eq!(aws_name(field), name);
        }
    }
}
