//! A world as `aws ec2 describe-*` prints it: a folder for each account and region, a file for each call.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::world::{
    LAB, NodeKind, PEERINGS, REGIONAL_NAT, Role, SHOP, Subnet, TRANSIT, Target, Vpc, World, s3,
};
use crate::harness::Place;

/// By account, region and kind.
#[derive(Default)]
struct Answers(BTreeMap<(&'static str, &'static str), Map<String, Value>>);

impl Answers {
    fn add(&mut self, of: &Vpc, kind: &str, record: Value) {
        let place = self.0.entry((of.account, of.region)).or_default();
        let list = place.entry(kind).or_insert_with(|| json!([]));
        list.as_array_mut().unwrap().push(record);
    }
}

fn of_vpc(what: &str, vpc: &Vpc) -> String {
    vpc.id.replacen("vpc", what, 1)
}

fn blocks(vpc: &Vpc) -> Vec<Value> {
    let state = json!({"State": "associated"});
    let blocks = vpc.cidrs.iter();
    blocks
        .map(|net| json!({"CidrBlock": net.to_string(), "CidrBlockState": state}))
        .collect()
}

fn blocks6(net: Option<ipnet::Ipv6Net>) -> Vec<Value> {
    net.iter()
        .map(|net| json!({"Ipv6CidrBlock": net.to_string(), "Ipv6CidrBlockState": {"State": "associated"}}))
        .collect()
}

/// AWS's own ids of the S3 lists.
fn s3_list(region: &str) -> &'static str {
    match region {
        "eu-west-1" => "pl-6da54004",
        _ => "pl-63a5400a",
    }
}

impl World {
    pub(crate) fn put(&self, place: &Place) {
        let mut answers = Answers::default();
        for (number, vpc) in self.vpcs.iter().enumerate() {
            self.add_vpc(number, vpc, &mut answers);
        }
        for subnet in &self.subnets {
            self.add_subnet(subnet, &mut answers);
        }
        for number in 0..self.nodes.len() {
            self.add_interface(number, &mut answers);
        }
        for (number, (one, other)) in PEERINGS.into_iter().enumerate() {
            let side = |vpc: usize| {
                let vpc = &self.vpcs[vpc];
                json!({"VpcId": vpc.id, "OwnerId": vpc.account, "Region": vpc.region, "CidrBlock": vpc.cidrs[0].to_string(),
                    "CidrBlockSet": blocks(vpc)})
            };
            let record = json!({"VpcPeeringConnectionId": format!("pcx-{number:017x}"), "Status": {"Code": "active"},
                "RequesterVpcInfo": side(one), "AccepterVpcInfo": side(other)});
            answers.add(&self.vpcs[one], "VpcPeeringConnections", record.clone());
            answers.add(&self.vpcs[other], "VpcPeeringConnections", record);
        }
        for ((account, region), kinds) in answers.0 {
            for (kind, records) in kinds {
                let mut document = Map::new();
                document.insert(kind.clone(), records);
                place.put(
                    &format!("topology/{account}/{region}/{kind}.json"),
                    Value::Object(document).to_string(),
                );
            }
        }
    }

    fn add_vpc(&self, number: usize, vpc: &Vpc, answers: &mut Answers) {
        answers.add(
            vpc,
            "Vpcs",
            json!({"VpcId": vpc.id, "OwnerId": vpc.account, "CidrBlock": vpc.cidrs[0].to_string(),
                "CidrBlockAssociationSet": blocks(vpc), "Ipv6CidrBlockAssociationSet": blocks6(vpc.cidr6)}),
        );
        let attached = json!([{"State": "available", "VpcId": vpc.id}]);
        let own_subnets = || self.subnets.iter().filter(|subnet| subnet.vpc == number);
        if own_subnets().any(|subnet| subnet.role == Role::Public) {
            answers.add(
                vpc,
                "InternetGateways",
                json!({"InternetGatewayId": of_vpc("igw", vpc), "OwnerId": vpc.account, "Attachments": attached}),
            );
        }
        if vpc.cidr6.is_some() {
            answers.add(
                vpc,
                "EgressOnlyInternetGateways",
                json!({"EgressOnlyInternetGatewayId": of_vpc("eigw", vpc), "Attachments": [{"State": "attached", "VpcId": vpc.id}]}),
            );
        }
        if number == SHOP || number == super::world::PLANT {
            answers.add(
                vpc,
                "VpnGateways",
                json!({"VpnGatewayId": of_vpc("vgw", vpc), "State": "available",
                    "VpcAttachments": [{"State": "attached", "VpcId": vpc.id}]}),
            );
        }
        if TRANSIT.contains(&number) {
            let in_app = own_subnets().filter(|subnet| subnet.role == Role::App);
            let subnets: Vec<&str> = in_app.map(|subnet| subnet.id.as_str()).collect();
            answers.add(
                vpc,
                "TransitGatewayVpcAttachments",
                json!({"TransitGatewayAttachmentId": of_vpc("tgw-attach", vpc), "TransitGatewayId": "tgw-00000000000000001",
                    "VpcId": vpc.id, "VpcOwnerId": vpc.account, "State": "available", "SubnetIds": subnets}),
            );
        }
        if number == LAB {
            let addresses: Vec<Value> = REGIONAL_NAT
                .iter()
                .map(|addr| json!({"PublicIp": addr.to_string(), "Status": "succeeded"}))
                .collect();
            answers.add(
                vpc,
                "NatGateways",
                json!({"NatGatewayId": of_vpc("nat", vpc), "VpcId": vpc.id, "State": "available", "ConnectivityType": "public",
                    "AvailabilityMode": "regional", "RouteTableId": of_vpc("rtb", vpc), "NatGatewayAddresses": addresses}),
            );
            answers.add(
                vpc,
                "RouteTables",
                json!({"RouteTableId": of_vpc("rtb", vpc), "VpcId": vpc.id, "OwnerId": vpc.account, "Associations": [],
                    "Routes": [{"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": of_vpc("igw", vpc), "State": "active"}]}),
            );
        }
        let tables = own_subnets().filter(|subnet| subnet.role != Role::Public);
        let tables: Vec<String> = tables.map(table_of).collect();
        answers.add(
            vpc,
            "VpcEndpoints",
            json!({"VpcEndpointId": of_vpc("vpce", vpc), "VpcEndpointType": "Gateway", "VpcId": vpc.id, "OwnerId": vpc.account,
                "ServiceName": format!("com.amazonaws.{}.s3", vpc.region), "State": "available", "RouteTableIds": tables}),
        );
        answers.add(
            vpc,
            "PrefixLists",
            json!({"PrefixListId": s3_list(vpc.region), "PrefixListName": format!("com.amazonaws.{}.s3", vpc.region),
                "Cidrs": [s3(vpc.region).to_string()]}),
        );
    }

    fn add_subnet(&self, subnet: &Subnet, answers: &mut Answers) {
        let vpc = &self.vpcs[subnet.vpc];
        let zone = ["a", "b"][subnet.zone];
        answers.add(
            vpc,
            "Subnets",
            json!({"SubnetId": subnet.id, "VpcId": vpc.id, "OwnerId": vpc.account, "CidrBlock": subnet.cidr.to_string(),
                "AvailabilityZone": format!("{}{zone}", vpc.region), "Ipv6CidrBlockAssociationSet": blocks6(subnet.cidr6)}),
        );
        let routes: Vec<Value> = subnet
            .routes
            .iter()
            .map(|&(net, target)| self.route_record(vpc, net, target))
            .collect();
        answers.add(
            vpc,
            "RouteTables",
            json!({"RouteTableId": table_of(subnet), "VpcId": vpc.id, "OwnerId": vpc.account, "Routes": routes,
                "Associations": [{"Main": false, "SubnetId": subnet.id, "AssociationState": {"State": "associated"}}]}),
        );
    }

    fn route_record(&self, vpc: &Vpc, net: IpNet, target: Target) -> Value {
        let (by, id) = match target {
            Target::Local => ("GatewayId", "local".to_owned()),
            Target::Igw => ("GatewayId", of_vpc("igw", vpc)),
            Target::Eigw => ("EgressOnlyInternetGatewayId", of_vpc("eigw", vpc)),
            Target::Nat(node) => (
                "NatGatewayId",
                self.nodes[node].id.replacen("eni", "nat", 1),
            ),
            Target::RegionalNat => ("NatGatewayId", of_vpc("nat", vpc)),
            Target::Pcx(number) => ("VpcPeeringConnectionId", format!("pcx-{number:017x}")),
            Target::Tgw => ("TransitGatewayId", "tgw-00000000000000001".to_owned()),
            Target::Vgw => ("GatewayId", of_vpc("vgw", vpc)),
            Target::S3 => ("GatewayId", of_vpc("vpce", vpc)),
        };
        let (to, destination) = match (target, net) {
            (Target::S3, _) => ("DestinationPrefixListId", s3_list(vpc.region).to_owned()),
            (_, IpNet::V4(net)) => ("DestinationCidrBlock", net.to_string()),
            (_, IpNet::V6(net)) => ("DestinationIpv6CidrBlock", net.to_string()),
        };
        json!({to: destination, by: id, "State": "active", "Origin": "CreateRoute"})
    }

    fn add_interface(&self, number: usize, answers: &mut Answers) {
        let node = &self.nodes[number];
        let subnet = &self.subnets[node.subnet];
        let vpc = &self.vpcs[subnet.vpc];
        let kind = match node.kind {
            NodeKind::Instance => "interface",
            NodeKind::Nat => "nat_gateway",
            NodeKind::Tgw => "transit_gateway",
        };
        let primary = node.addrs[0].to_string();
        let private: Vec<Value> = node
            .addrs
            .iter()
            .enumerate()
            .map(|(number, addr)| {
                let public = node.public.filter(|_| number == 0);
                json!({"PrivateIpAddress": addr.to_string(), "Primary": number == 0,
                    "Association": public.map(|public| json!({"PublicIp": public.to_string()}))})
            })
            .collect();
        let prefixes: Vec<Value> = node
            .prefix
            .iter()
            .map(|net| json!({"Ipv4Prefix": net.to_string()}))
            .collect();
        let v6: Vec<Value> = node
            .addr6
            .iter()
            .map(|addr| json!({"Ipv6Address": addr.to_string()}))
            .collect();
        answers.add(
            vpc,
            "NetworkInterfaces",
            json!({"NetworkInterfaceId": node.id, "VpcId": vpc.id, "SubnetId": subnet.id, "OwnerId": vpc.account,
                "InterfaceType": kind, "Status": "in-use", "PrivateIpAddress": primary, "PrivateIpAddresses": private,
                "Ipv4Prefixes": prefixes, "Ipv6Addresses": v6}),
        );
        if node.kind == NodeKind::Nat {
            let public = node.public.map(|public| public.to_string());
            answers.add(
                vpc,
                "NatGateways",
                json!({"NatGatewayId": node.id.replacen("eni", "nat", 1), "VpcId": vpc.id, "SubnetId": subnet.id,
                    "State": "available", "ConnectivityType": "public", "NatGatewayAddresses":
                    [{"NetworkInterfaceId": node.id, "PrivateIp": primary, "PublicIp": public, "Status": "succeeded"}]}),
            );
        }
    }
}

fn table_of(subnet: &Subnet) -> String {
    subnet.id.replacen("subnet", "rtb", 1)
}
