//! Longest prefixes and ties.

use crate::topology::world::World;

fn route(routes: &[(&str, &str)], addr: &str) -> Option<(String, &'static str, String)> {
    let network = World::new()
        .vpc("vpc-1", &["10.0.0.0/16", "2600:1f00::/56"])
        .subnet("subnet-1", "vpc-1", &["10.0.1.0/24", "2600:1f00:0:1::/64"])
        .table("rtb-1", "vpc-1", &["subnet-1"], routes)
        .prefix_list("pl-aaaa", &["192.168.0.0/16", "2600:9999::/32"])
        .endpoint(
            "vpce-gwlb",
            "vpc-1",
            "GatewayLoadBalancer",
            "com.amazonaws.vpce.eu-west-1.vpce-svc-1",
            &[],
        )
        .endpoint(
            "vpce-s3",
            "vpc-1",
            "Gateway",
            "com.amazonaws.eu-west-1.s3",
            &[],
        )
        .network();
    let subnet = network.subnet("subnet-1").unwrap();
    let route = network.route(subnet, addr.parse().unwrap())?;
    assert_eq!(route.route_table_id, "rtb-1");
    Some((
        route.destination.to_owned(),
        route.target.as_str(),
        route.target_id.to_owned(),
    ))
}

#[track_caller]
fn expect(routes: &[(&str, &str)], addr: &str, destination: &str, target: &str, target_id: &str) {
    let expected = (
        destination.to_owned(),
        target.to_owned(),
        target_id.to_owned(),
    );
    let found =
        route(routes, addr).map(|(destination, target, id)| (destination, target.to_owned(), id));
    assert_eq!(found, Some(expected), "{addr}");
}

#[test]
fn the_longest_prefix_wins() {
    let routes = [
        ("0.0.0.0/0", "igw-1"),
        ("10.0.0.0/8", "tgw-1"),
        ("10.9.0.0/16", "pcx-1"),
        ("10.9.8.0/24", "vgw-1~"),
    ];
    expect(&routes, "8.8.8.8", "0.0.0.0/0", "igw", "igw-1");
    expect(&routes, "10.1.0.1", "10.0.0.0/8", "tgw", "tgw-1");
    expect(&routes, "10.9.0.1", "10.9.0.0/16", "pcx", "pcx-1");
    expect(&routes, "10.9.8.1", "10.9.8.0/24", "vgw", "vgw-1");
}

#[test]
fn every_cidr_of_the_vpc_has_a_local_route() {
    expect(
        &[("0.0.0.0/0", "igw-1")],
        "10.0.200.1",
        "10.0.0.0/16",
        "local",
        "local",
    );
    expect(
        &[("::/0", "igw-1")],
        "2600:1f00::1",
        "2600:1f00::/56",
        "local",
        "local",
    );
}

#[test]
fn a_local_route_can_be_sent_elsewhere() {
    expect(
        &[("10.0.0.0/16", "vpce-gwlb")],
        "10.0.200.1",
        "10.0.0.0/16",
        "vpce",
        "vpce-gwlb",
    );
    expect(
        &[("10.0.2.0/24", "nat-1")],
        "10.0.2.1",
        "10.0.2.0/24",
        "nat",
        "nat-1",
    );
}

#[test]
fn the_families_are_apart() {
    assert_eq!(route(&[("0.0.0.0/0", "igw-1")], "2600:9999::1"), None);
    assert_eq!(route(&[("::/0", "igw-1")], "8.8.8.8"), None);
    expect(
        &[("::/0", "eigw-1")],
        "2600:9999::1",
        "::/0",
        "eigw",
        "eigw-1",
    );
}

#[test]
fn ties_go_to_cidrs_then_prefix_lists_then_propagated_routes() {
    let all = [
        ("192.168.0.0/16", "vgw-1~"),
        ("pl-aaaa", "pcx-1"),
        ("192.168.0.0/16", "tgw-1"),
    ];
    expect(&all, "192.168.1.1", "192.168.0.0/16", "tgw", "tgw-1");
    expect(&all[..2], "192.168.1.1", "pl-aaaa", "pcx", "pcx-1");
    expect(&all[..2], "2600:9999::1", "pl-aaaa", "pcx", "pcx-1");
    expect(&all[..1], "192.168.1.1", "192.168.0.0/16", "vgw", "vgw-1");
}

#[test]
fn a_black_hole_swallows_what_a_wider_route_would_carry() {
    expect(
        &[("0.0.0.0/0", "igw-1"), ("8.8.0.0/16", "nat-1!")],
        "8.8.8.8",
        "8.8.0.0/16",
        "none",
        "nat-1",
    );
}

#[test]
fn a_gateway_endpoint_takes_its_service_from_the_default_route() {
    // The list's entries are not in the topology: AWS's published ranges of S3 in that region stand in.
    let settings = crate::topology::Settings::default();
    let s3 = settings.ip_ranges.nets_of("S3", "eu-west-1");
    let addr = s3
        .iter()
        .find(|net| net.network().is_ipv4())
        .unwrap()
        .network()
        .to_string();
    expect(
        &[("0.0.0.0/0", "igw-1"), ("pl-6da54004", "vpce-s3")],
        &addr,
        "pl-6da54004",
        "vpce",
        "vpce-s3",
    );
}
