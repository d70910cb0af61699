//! A small language for test worlds: VPCs, subnets, tables and interfaces in a line each.

use chrono::DateTime;
use serde_json::{Map, Value, json};

use super::assemble::Imported;
use super::import::import_document;
use super::model::Kind;
use super::{History, Network, Settings};

/// EC2's answers about a made-up network.
#[derive(Debug, Default, Clone)]
pub(crate) struct World {
    answers: Map<String, Value>,
    pub(crate) settings: Settings,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a record of any kind.
    pub(crate) fn add(mut self, kind: Kind, record: Value) -> Self {
        let list = self.answers.entry(kind.key()).or_insert_with(|| json!([]));
        list.as_array_mut().unwrap().push(record);
        self
    }

    /// Changes the last record of a kind.
    pub(crate) fn with(mut self, kind: Kind, field: &str, value: Value) -> Self {
        self.answers[kind.key()]
            .as_array_mut()
            .unwrap()
            .last_mut()
            .unwrap()[field] = value;
        self
    }

    /// Changes every record of a kind.
    pub(crate) fn change_records(mut self, kind: Kind, change: impl Fn(&mut Value)) -> Self {
        self.answers[kind.key()]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .for_each(change);
        self
    }

    pub(crate) fn on_premises(mut self, cidr: &str) -> Self {
        self.settings.on_premises.push(cidr.parse().unwrap());
        self
    }

    pub(crate) fn vpc(self, id: &str, cidrs: &[&str]) -> Self {
        let (v6, v4): (Vec<&str>, Vec<&str>) = cidrs.iter().partition(|cidr| cidr.contains(':'));
        let v4: Vec<_> = v4
            .iter()
            .map(|cidr| json!({"CidrBlock": cidr, "CidrBlockState": {"State": "associated"}}))
            .collect();
        let record = json!({
            "VpcId": id, "OwnerId": "111111111111", "CidrBlockAssociationSet": v4,
            "Ipv6CidrBlockAssociationSet": ipv6_set(&v6),
        });
        self.add(Kind::Vpcs, record)
    }

    /// CIDRs: at most one IPv4, then IPv6.
    pub(crate) fn subnet(self, id: &str, vpc_id: &str, cidrs: &[&str]) -> Self {
        let (v6, v4): (Vec<&str>, Vec<&str>) = cidrs.iter().partition(|cidr| cidr.contains(':'));
        let record = json!({
            "SubnetId": id, "VpcId": vpc_id, "OwnerId": "111111111111", "AvailabilityZone": "eu-west-1a",
            "CidrBlock": v4.first(), "Ipv6CidrBlockAssociationSet": ipv6_set(&v6),
        });
        self.add(Kind::Subnets, record)
    }

    /// Subnets that the table is associated with, or `main`. Routes are (destination, target); a target that ends in
    /// `!` is gone (a black hole), one that ends in `~` is propagated.
    pub(crate) fn table(
        self,
        id: &str,
        vpc_id: &str,
        of: &[&str],
        routes: &[(&str, &str)],
    ) -> Self {
        let associations: Vec<_> = of
            .iter()
            .map(|&of| match of {
                "main" => json!({"Main": true}),
                gateway if gateway.starts_with("igw-") => json!({"Main": false, "GatewayId": gateway}),
                subnet => json!({"Main": false, "SubnetId": subnet, "AssociationState": {"State": "associated"}}),
            })
            .collect();
        let mut all =
            vec![json!({"DestinationCidrBlock": "10.255.255.0/28", "GatewayId": "local"})];
        all.extend(
            routes
                .iter()
                .map(|(destination, target)| route(destination, target)),
        );
        let record = json!({"RouteTableId": id, "VpcId": vpc_id, "Associations": associations, "Routes": all});
        self.add(Kind::RouteTables, record)
    }

    /// Private addresses (the first is the primary), and perhaps a public one.
    pub(crate) fn interface(
        self,
        id: &str,
        vpc_id: &str,
        subnet_id: &str,
        addrs: &[&str],
        public: Option<&str>,
    ) -> Self {
        let (v6, v4): (Vec<&str>, Vec<&str>) = addrs.iter().partition(|addr| addr.contains(':'));
        let private: Vec<_> = v4
            .iter()
            .map(|addr| json!({"PrivateIpAddress": addr}))
            .collect();
        let v6: Vec<_> = v6.iter().map(|addr| json!({"Ipv6Address": addr})).collect();
        let record = json!({
            "NetworkInterfaceId": id, "VpcId": vpc_id, "SubnetId": subnet_id, "OwnerId": "111111111111",
            "InterfaceType": "interface", "PrivateIpAddress": v4.first(), "PrivateIpAddresses": private,
            "Ipv6Addresses": v6, "Association": public.map(|public| json!({"PublicIp": public})),
        });
        self.add(Kind::NetworkInterfaces, record)
    }

    pub(crate) fn nat(self, id: &str, vpc_id: &str, subnet_id: &str) -> Self {
        self.add(
            Kind::NatGateways,
            json!({"NatGatewayId": id, "VpcId": vpc_id, "SubnetId": subnet_id, "State": "available", "NatGatewayAddresses": []}),
        )
    }

    pub(crate) fn endpoint(
        self,
        id: &str,
        vpc_id: &str,
        kind: &str,
        service: &str,
        subnet_ids: &[&str],
    ) -> Self {
        self.add(
            Kind::VpcEndpoints,
            json!({"VpcEndpointId": id, "VpcId": vpc_id, "VpcEndpointType": kind, "ServiceName": service, "SubnetIds": subnet_ids}),
        )
    }

    pub(crate) fn peering(
        self,
        id: &str,
        status: &str,
        requester: (&str, &str),
        accepter: (&str, &str),
    ) -> Self {
        let side = |(vpc_id, cidr): (&str, &str)| json!({"VpcId": vpc_id, "CidrBlock": cidr, "OwnerId": "111111111111"});
        self.add(
            Kind::VpcPeeringConnections,
            json!({"VpcPeeringConnectionId": id, "Status": {"Code": status},
                   "RequesterVpcInfo": side(requester), "AccepterVpcInfo": side(accepter)}),
        )
    }

    pub(crate) fn prefix_list(self, id: &str, cidrs: &[&str]) -> Self {
        self.add(
            Kind::PrefixLists,
            json!({"PrefixListId": id, "PrefixListName": "a list", "Cidrs": cidrs}),
        )
    }

    /// Imports what EC2 answers, as of a number of seconds since 1970.
    pub(crate) fn import_at(&self, seconds: i64) -> Imported {
        import_document(
            Value::Object(self.answers.clone()),
            DateTime::from_timestamp(seconds, 0).unwrap(),
        )
    }

    pub(crate) fn history(&self) -> History {
        History::new(vec![self.import_at(0).snapshot], self.settings.clone())
    }

    pub(crate) fn network(&self) -> Network {
        let snapshot = self.import_at(0).snapshot;
        Network::new(
            snapshot.at,
            snapshot.resources.into(),
            self.settings.clone(),
        )
    }
}

fn ipv6_set(cidrs: &[&str]) -> Vec<Value> {
    cidrs
        .iter()
        .map(|cidr| json!({"Ipv6CidrBlock": cidr, "Ipv6CidrBlockState": {"State": "associated"}}))
        .collect()
}

fn route(destination: &str, target: &str) -> Value {
    let (target, state) = target
        .strip_suffix('!')
        .map_or((target, "active"), |target| (target, "blackhole"));
    let (target, origin) = target
        .strip_suffix('~')
        .map_or((target, "CreateRoute"), |target| {
            (target, "EnableVgwRoutePropagation")
        });
    let destination_key = match destination {
        list if list.starts_with("pl-") => "DestinationPrefixListId",
        cidr if cidr.contains(':') => "DestinationIpv6CidrBlock",
        _ => "DestinationCidrBlock",
    };
    let target_key = match target.split('-').next().unwrap() {
        "nat" => "NatGatewayId",
        "tgw" => "TransitGatewayId",
        "pcx" => "VpcPeeringConnectionId",
        "eni" => "NetworkInterfaceId",
        "eigw" => "EgressOnlyInternetGatewayId",
        "cagw" => "CarrierGatewayId",
        "lgw" => "LocalGatewayId",
        "arn:aws:networkmanager::111111111111:core" => "CoreNetworkArn",
        _ => "GatewayId",
    };
    json!({destination_key: destination, target_key: target, "State": state, "Origin": origin})
}
