//! What is said about worlds whose truth is known.

use serde_json::{Value, json};

use crate::topology::model::Kind;
use crate::topology::world::World;

fn world(routes: &[(&str, &str)]) -> World {
    World::new()
        .vpc("vpc-1", &["10.0.0.0/16", "2600:1f00::/56"])
        .subnet("subnet-1", "vpc-1", &["10.0.1.0/24", "2600:1f00:0:1::/64"])
        .subnet("subnet-public", "vpc-1", &["10.0.9.0/24"])
        .table("rtb-1", "vpc-1", &["subnet-1"], routes)
        .table(
            "rtb-public",
            "vpc-1",
            &["subnet-public"],
            &[("0.0.0.0/0", "igw-1")],
        )
        .table("rtb-main", "vpc-1", &["main"], &[])
        .nat("nat-1", "vpc-1", "subnet-public")
}

fn explained(world: &World, subject: &str, vpc_id: Option<&str>) -> Value {
    let network = world.network();
    serde_json::to_value(network.explain(subject, vpc_id).unwrap()).unwrap()
}

fn refused(world: &World, subject: &str, vpc_id: Option<&str>) -> String {
    world
        .network()
        .explain(subject, vpc_id)
        .unwrap_err()
        .to_string()
}

/// Destination, state, whether it decides, and what is said of each route of a family.
fn routes(explained: &Value, family: usize) -> Vec<(String, String, bool, String)> {
    let text = |route: &Value, key: &str| route[key].as_str().unwrap().to_owned();
    explained["families"][family]["routes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|route| {
            (
                text(route, "destination"),
                text(route, "state"),
                route["decides"].as_bool().unwrap(),
                text(route, "means"),
            )
        })
        .collect()
}

fn not_better(explained: &Value, family: usize) -> Vec<String> {
    explained["families"][family]["not_better"]
        .as_array()
        .unwrap()
        .iter()
        .map(|not| {
            format!(
                "{}: {}",
                not["class"].as_str().unwrap(),
                not["because"].as_str().unwrap()
            )
        })
        .collect()
}

#[test]
fn a_subnet_is_explained_route_by_route_and_families_apart() {
    let world = world(&[
        ("0.0.0.0/0", "nat-1"),
        ("::/0", "igw-1"),
        ("10.9.0.0/16", "tgw-1!"),
    ]);
    let explained = explained(&world, "subnet-1", None);
    assert_eq!(explained["kind"], "subnet");
    assert_eq!(explained["route_table"]["association"], "explicit");
    assert_eq!(explained["families"][0]["class"], "private_nat");
    assert_eq!(explained["families"][1]["class"], "public");
    let v4 = routes(&explained, 0);
    let by = |destination: &str| v4.iter().find(|route| route.0 == destination).unwrap();
    assert_eq!(
        by("0.0.0.0/0"),
        &(
            "0.0.0.0/0".to_owned(),
            "active".to_owned(),
            true,
            "a public NAT gateway in subnet-public, zone eu-west-1a; that subnet is public: rtb-public sends 0.0.0.0/0 to igw-1; \
             outwards only"
                .to_owned()
        )
    );
    let gone = by("10.9.0.0/16");
    assert_eq!((gone.1.as_str(), gone.2), ("blackhole", false));
    assert!(
        gone.3.starts_with("black hole: tgw-1 is gone"),
        "{}",
        gone.3
    );
    // The longest prefix comes first.
    assert_eq!(v4.last().unwrap().0, "0.0.0.0/0");
    assert_eq!(
        not_better(&explained, 0),
        [
            "public: no IPv4 route leads to an internet gateway (::/0 → igw-1 is of the other family, and one never covers the other)",
            "public_via_inspection: no IPv4 route leads to a firewall or appliance whose subnet is public",
        ]
    );
    assert!(not_better(&explained, 1).is_empty());
    let nat = &explained["families"][0]["routes"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()["nat_gateway"];
    assert_eq!(
        (&nat["subnet_id"], &nat["subnet_class"]),
        (&json!("subnet-public"), &json!("public"))
    );
}

#[test]
fn the_main_table_applies_where_none_is_associated() {
    let world = world(&[]).subnet("subnet-2", "vpc-1", &["10.0.2.0/24"]);
    let explained = explained(&world, "subnet-2", None);
    assert_eq!(explained["route_table"]["route_table_id"], "rtb-main");
    assert_eq!(explained["route_table"]["association"], "main");
    assert_eq!(explained["families"][0]["class"], "isolated");
    assert_eq!(not_better(&explained, 0).len(), 8);
}

#[test]
fn what_stands_in_the_way_of_a_better_class_is_named() {
    let world = world(&[("0.0.0.0/0", "igw-1")]).with(
        Kind::Vpcs,
        "BlockPublicAccessStates",
        json!({"InternetGatewayBlockMode": "block-bidirectional"}),
    );
    let explained = explained(&world, "subnet-1", None);
    assert_eq!(explained["block_public_access"]["set_on"], "vpc");
    assert_eq!(
        not_better(&explained, 0)[0],
        "public: 0.0.0.0/0 → igw-1 is blocked by Block Public Access (block-bidirectional)"
    );
    assert!(
        routes(&explained, 0)
            .last()
            .unwrap()
            .3
            .ends_with("; but it is blocked by Block Public Access (block-bidirectional)")
    );
}

#[test]
fn a_nat_gateway_may_get_out_where_hosts_may_not() {
    let world = world(&[("0.0.0.0/0", "nat-1")]).with(
        Kind::Vpcs,
        "BlockPublicAccessStates",
        json!({"InternetGatewayBlockMode": "block-ingress"}),
    );
    let explained = explained(&world, "subnet-1", None);
    assert_eq!(explained["families"][0]["class"], "private_nat");
    let v4 = routes(&explained, 0);
    assert!(
        v4.last().unwrap().3.contains(
            "; that subnet is isolated for hosts, and for it public: rtb-public sends 0.0.0.0/0 to igw-1"
        ),
        "{v4:#?}"
    );
}

#[test]
fn of_two_routes_with_one_destination_the_loser_says_why() {
    let world = world(&[
        ("10.9.0.0/16", "vgw-1~"),
        ("10.9.0.0/16", "pcx-1"),
        ("pl-1", "tgw-1"),
    ])
    .prefix_list("pl-1", &["10.9.0.0/16", "10.8.0.0/16"]);
    let v4 = routes(&explained(&world, "subnet-1", None), 0);
    let ends = |target: &str, end: &str| {
        assert!(
            v4.iter().any(|route| route.3.contains(end)),
            "{target}: {v4:#?}"
        );
    };
    ends(
        "vgw-1",
        "; not in force: 10.9.0.0/16 → pcx-1 wins, since a static route beats a propagated one",
    );
    ends(
        "tgw-1",
        "; the list holds 10.9.0.0/16, 10.8.0.0/16; not in force for 10.9.0.0/16: 10.9.0.0/16 → pcx-1 wins, since a route to a CIDR beats one \
         to a prefix list",
    );
}

#[test]
fn a_peering_that_is_over_leads_nowhere() {
    let peering = |status: &str| {
        let world = world(&[("10.1.0.0/16", "pcx-1")]).peering(
            "pcx-1",
            status,
            ("vpc-1", "10.0.0.0/16"),
            ("vpc-2", "10.1.0.0/16"),
        );
        explained(&world, "subnet-1", None)
    };
    let active = peering("active");
    assert_eq!(active["families"][0]["class"], "peered_only");
    assert_eq!(
        routes(&active, 0)[1].3,
        "vpc-2 over a peering, which holds 10.1.0.0/16"
    );
    let over = peering("deleted");
    assert_eq!(over["families"][0]["class"], "isolated");
    assert!(
        not_better(&over, 0)
            .iter()
            .any(|not| not
                == "peered_only: 10.1.0.0/16 → pcx-1 is ignored: the peering is not active")
    );
}

#[test]
fn an_interface_is_open_only_with_a_route_and_a_public_address() {
    let world = world(&[("0.0.0.0/0", "igw-1")])
        .interface("eni-1", "vpc-1", "subnet-1", &["10.0.1.5", "10.0.1.6"], None)
        .with(
            Kind::NetworkInterfaces,
            "Groups",
            json!([{"GroupId": "sg-1", "GroupName": "web"}]),
        )
        .interface("eni-2", "vpc-1", "subnet-1", &["10.0.1.7"], Some("203.0.113.7"))
        .add(
            Kind::SecurityGroups,
            json!({"GroupId": "sg-1", "GroupName": "web", "VpcId": "vpc-1", "IpPermissions":
                [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]}),
        );
    let one = explained(&world, "eni-1", None);
    assert_eq!(one["kind"], "interface");
    assert_eq!(one["addresses"][0]["role"], "primary");
    assert_eq!(one["addresses"][1]["role"], "secondary");
    assert_eq!(
        one["reach"],
        json!([
            "IPv4: the subnet is public and the interface is not: without a public address the internet gateway passes nothing of it"
        ])
    );
    assert_eq!(
        one["security_groups"][0]["ingress"],
        json!(["tcp 443 from 0.0.0.0/0"])
    );
    assert_eq!(one["subnet"]["subnet_id"], "subnet-1");
    let two = explained(&world, "eni-2", None);
    assert_eq!(two["addresses"][0]["public_address"], "203.0.113.7");
    assert!(
        two["reach"][0]
            .as_str()
            .unwrap()
            .starts_with("IPv4: open to the internet as 203.0.113.7")
    );
}

#[test]
fn an_address_means_something_else_in_each_vpc() {
    let world = world(&[("0.0.0.0/0", "nat-1")])
        .interface("eni-1", "vpc-1", "subnet-1", &["10.0.1.5"], None)
        .vpc("vpc-2", &["10.0.0.0/16"])
        .subnet("subnet-2", "vpc-2", &["10.0.1.0/24"])
        .interface("eni-2", "vpc-2", "subnet-2", &["10.0.1.5"], None)
        .table("rtb-2", "vpc-2", &["main"], &[])
        .vpc("vpc-3", &["10.3.0.0/16"])
        .subnet("subnet-3", "vpc-3", &["10.3.1.0/24"])
        .table("rtb-3", "vpc-3", &["main"], &[]);
    let both = explained(&world, "10.0.1.5", None);
    let held: Vec<&Value> = both["held_by"]
        .as_array()
        .unwrap()
        .iter()
        .map(|holder| &holder["interface_id"])
        .collect();
    assert_eq!(held, ["eni-1", "eni-2"]);
    let scopes: Vec<_> = both["seen_from"]
        .as_array()
        .unwrap()
        .iter()
        .map(|seen| {
            (
                seen["vpc_id"].as_str().unwrap(),
                seen["scope"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        scopes,
        [("vpc-1", "vpc"), ("vpc-2", "vpc"), ("vpc-3", "unrouted")]
    );
    let one = explained(&world, "10.0.1.5", Some("vpc-2"));
    assert_eq!(one["held_by"].as_array().unwrap().len(), 1);
    assert_eq!(one["held_by"][0]["interface_id"], "eni-2");
    // The router of the subnet is nobody's interface.
    assert_eq!(
        explained(&world, "10.0.1.1", Some("vpc-1"))["held_by"][0]["words"],
        "nobody's: reserved by AWS for the VPC's router"
    );
    let own_cidr = world.with(Kind::Vpcs, "CidrBlock", json!("10.3.0.0/16"));
    assert_eq!(
        explained(&own_cidr, "10.3.0.2", None)["held_by"][0]["words"],
        "Amazon's DNS server of the VPC: the first address of its CIDR plus two"
    );
}

#[test]
fn an_address_of_nobody_here_is_what_its_route_makes_of_it() {
    let world = world(&[("0.0.0.0/0", "nat-1")]);
    let outside = explained(&world, "192.0.2.9", None);
    let seen: Vec<_> = outside["seen_from"]
        .as_array()
        .unwrap()
        .iter()
        .map(|seen| {
            (
                seen["subnet_ids"][0].as_str().unwrap(),
                seen["words"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("subnet-1", "the internet, by 0.0.0.0/0 → nat-1"),
            ("subnet-public", "the internet, by 0.0.0.0/0 → igw-1"),
        ]
    );
    let metadata = explained(&world, "169.254.169.254", None);
    assert_eq!(metadata["held_by"], json!([]));
    assert_eq!(
        metadata["by_itself"],
        json!(["special: the instance metadata service, on the instance's own link"])
    );
    assert!(
        explained(&world, "52.216.8.8", None)["by_itself"][0]
            .as_str()
            .unwrap()
            .starts_with("AWS service S3 (us-east-1)")
    );
}

#[test]
fn what_is_not_there_is_refused_with_what_is() {
    let world = world(&[]);
    assert_eq!(
        refused(&world, "subnet-9", None),
        "no subnet `subnet-9` in the topology as of 1970-01-01T00:00:00Z; there are 2 subnets: subnet-1, subnet-public"
    );
    assert_eq!(
        refused(&world, "eni-9", None),
        "no interface `eni-9` in the topology as of 1970-01-01T00:00:00Z; there is no interface at all"
    );
    assert_eq!(
        refused(&world, "10.0.0.1", Some("vpc-9")),
        "no VPC `vpc-9` in the topology as of 1970-01-01T00:00:00Z; there is 1: vpc-1"
    );
    assert_eq!(
        refused(&world, "web-1", None),
        "expected a subnet (`subnet-…`), an interface (`eni-…`) or an address, got `web-1`"
    );
}
