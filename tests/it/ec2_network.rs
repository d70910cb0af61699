//! EC2's answers about a made-up network, in its XML.

use crate::ec2_server::{Call, Reply, element};

/// A resource in EC2's XML: `field=value` for text, anything else as it is.
pub(crate) fn xml(parts: &[&str]) -> String {
    let one = |part: &&str| match part.split_once('=') {
        Some((name, value)) if !name.starts_with('<') => element(name, value),
        _ => (*part).to_owned(),
    };
    parts.iter().map(one).collect()
}

pub(crate) fn set(name: &str, items: &[String]) -> String {
    let items: String = items.iter().map(|item| element("item", item)).collect();
    element(name, &items)
}

pub(crate) fn tagged(name: &str) -> String {
    set("tagSet", &[xml(&["key=Name", &format!("value={name}")])])
}

pub(crate) fn vpc(id: &str, owner: &str, cidr: &str) -> String {
    let cidr = format!("cidrBlock={cidr}");
    let associated = xml(&[
        &cidr,
        "<cidrBlockState><state>associated</state></cidrBlockState>",
    ]);
    let set = set("cidrBlockAssociationSet", &[associated]);
    xml(&[
        &format!("vpcId={id}"),
        &format!("ownerId={owner}"),
        "state=available",
        "isDefault=false",
        &cidr,
        &set,
    ])
}

pub(crate) fn subnet(id: &str, vpc: &str, owner: &str, cidr: &str, more: &str) -> String {
    xml(&[
        &format!("subnetId={id}"),
        &format!("vpcId={vpc}"),
        &format!("ownerId={owner}"),
        "state=available",
        &format!("cidrBlock={cidr}"),
        more,
    ])
}

/// A route table of these subnets, or the main one; routes as `destination target` of a kind.
pub(crate) fn table(
    id: &str,
    vpc: &str,
    owner: &str,
    subnets: &[&str],
    routes: &[(&str, &str)],
) -> String {
    let association = |subnet: &&str| {
        xml(&[
            &format!("routeTableAssociationId=rtbassoc-{subnet}"),
            &format!("subnetId={subnet}"),
            "main=false",
            "<associationState><state>associated</state></associationState>",
        ])
    };
    let associations: Vec<String> = match subnets {
        [] => vec![xml(&[
            "main=true",
            "<associationState><state>associated</state></associationState>",
        ])],
        subnets => subnets.iter().map(association).collect(),
    };
    let route = |(to, target): &(&str, &str)| {
        let by = match target.split('-').next().unwrap() {
            "nat" => "natGatewayId",
            "pcx" => "vpcPeeringConnectionId",
            _ => "gatewayId",
        };
        let (to, by) = (
            format!("destinationCidrBlock={to}"),
            format!("{by}={target}"),
        );
        xml(&[&to, &by, "state=active", "origin=CreateRoute"])
    };
    let routes: Vec<String> = routes.iter().map(route).collect();
    xml(&[
        &format!("routeTableId={id}"),
        &format!("vpcId={vpc}"),
        &format!("ownerId={owner}"),
        &set("associationSet", &associations),
        &set("routeSet", &routes),
    ])
}

/// A VPC with a public subnet and one behind a NAT gateway. Ids end in the region, or whatever tells networks apart.
pub(crate) fn company(call: &Call, owner: &str, name: &str) -> Option<Reply> {
    let id = |kind: &str| format!("{kind}-{name}");
    let (vpc_id, public, private) = (id("vpc"), id("subnet-public"), id("subnet-private"));
    let list = |set: &str, items: &[String]| Some(Reply::list(call, set, items, None));
    match call.action.as_str() {
        "DescribeVpcs" => list("vpcSet", &[vpc(&vpc_id, owner, "10.0.0.0/16")]),
        "DescribeSubnets" => list(
            "subnetSet",
            &[
                subnet(&public, &vpc_id, owner, "10.0.0.0/24", &tagged("edge")),
                subnet(&private, &vpc_id, owner, "10.0.1.0/24", &tagged("app")),
            ],
        ),
        "DescribeRouteTables" => list(
            "routeTableSet",
            &[
                table(
                    &id("rtb-public"),
                    &vpc_id,
                    owner,
                    &[&public],
                    &[("10.0.0.0/16", "local"), ("0.0.0.0/0", &id("igw"))],
                ),
                table(
                    &id("rtb-main"),
                    &vpc_id,
                    owner,
                    &[],
                    &[("10.0.0.0/16", "local"), ("0.0.0.0/0", &id("nat"))],
                ),
            ],
        ),
        "DescribeNatGateways" => {
            let address = xml(&[
                "privateIp=10.0.0.9",
                "publicIp=203.0.113.9",
                "networkInterfaceId=eni-nat",
            ]);
            let nat = xml(&[
                &format!("natGatewayId={}", id("nat")),
                &format!("vpcId={vpc_id}"),
                &format!("subnetId={public}"),
                "state=available",
                "connectivityType=public",
                &set("natGatewayAddressSet", &[address]),
            ]);
            list("natGatewaySet", &[nat])
        }
        "DescribeInternetGateways" => {
            let attached = xml(&[&format!("vpcId={vpc_id}"), "state=available"]);
            let gateway = xml(&[
                &format!("internetGatewayId={}", id("igw")),
                &format!("ownerId={owner}"),
                &set("attachmentSet", &[attached]),
            ]);
            list("internetGatewaySet", &[gateway])
        }
        _ => None,
    }
}
