//! What a filter on `traffic` leaves unread changes nothing in its answer: who opened a connection, which record counts, and whose a NAT
//! gateway's packets are is told by records that do not pass themselves.

use proptest::prelude::*;
use proptest::sample::select;

use crate::harness::{FULL, Flow, Place, V2, World, block_on, flow, log, rows};

/// Filters that the detections use, and some that they don't.
const FILTERS: [&str; 15] = [
    "counted AND action = 'ACCEPT' AND client_scope IN ('vpc', 'peer', 'transit') AND server_scope = 'internet'",
    "counted AND action = 'ACCEPT' AND client_subnet_id <> server_subnet_id AND COALESCE(client_class, 'unknown') <> 'public' \
     AND COALESCE(server_class, 'unknown') <> 'public' AND leg <> 'nat_outside'",
    "counted AND action = 'REJECT' AND initiator = 'src' AND NOT late",
    "counted AND client_subnet_id <> server_subnet_id",
    "src_subnet_id = dst_subnet_id",
    "dst_scope IN ('special', 'unrouted')",
    "server_scope <> 'vpc' OR client_class = 'isolated'",
    "counted AND server_scope = 'aws_service'",
    "counted AND client_scope NOT IN ('internet', 'unrouted') AND server_subnet_id IS NOT NULL",
    "counted AND number_in('53 123 8080', service_port)",
    "counted AND service_port >= 32768 AND initiator = 'src' AND client_scope = 'internet' AND server_scope = 'vpc'",
    "counted AND service_port IN (53, 123, 443) AND client_scope IN ('vpc', 'peer', 'transit') AND server_scope = 'internet'",
    "counted AND service_port IS NULL",
    "counted AND protocol = 17 AND service_port BETWEEN 20000 AND 21000",
    "counted AND protocol NOT IN (6, 17) AND src_scope = 'vpc'",
];

fn world() -> World {
    World::new()
        .vpc("vpc-1", "10.0.0.0/16")
        .vpc("vpc-2", "10.9.0.0/16")
        .internet_gateway("igw-1", "vpc-1")
        .subnet(
            "subnet-public",
            "vpc-1",
            &["10.0.0.0/24"],
            &[("0.0.0.0/0", "igw-1")],
        )
        .subnet(
            "subnet-app",
            "vpc-1",
            &["10.0.1.0/24"],
            &[("0.0.0.0/0", "nat-a"), ("10.9.0.0/16", "pcx-1")],
        )
        .subnet("subnet-data", "vpc-1", &["10.0.2.0/24"], &[])
        .subnet(
            "subnet-far",
            "vpc-2",
            &["10.9.0.0/24"],
            &[("10.0.0.0/16", "pcx-1")],
        )
        .peering("pcx-1", ("vpc-1", "10.0.0.0/16"), ("vpc-2", "10.9.0.0/16"))
        .nat("a", "vpc-1", "subnet-public", "10.0.0.5", "203.0.113.5")
        .interface("eni-public", "vpc-1", "subnet-public", &["10.0.0.7"])
        .interface("eni-app", "vpc-1", "subnet-app", &["10.0.1.10"])
        .interface("eni-data", "vpc-1", "subnet-data", &["10.0.2.20"])
        .interface("eni-far", "vpc-2", "subnet-far", &["10.9.0.30"])
}

/// Interfaces, one of which the topology does not know, and ends: ours, a neighbour's, nobody's, S3's and others'.
const INTERFACES: [&str; 6] = [
    "eni-public",
    "eni-app",
    "eni-data",
    "eni-far",
    "eni-a",
    "eni-gone",
];
const OWN: [(&str, &str); 5] = [
    ("eni-public", "10.0.0.7"),
    ("eni-app", "10.0.1.10"),
    ("eni-data", "10.0.2.20"),
    ("eni-far", "10.9.0.30"),
    ("eni-a", "10.0.0.5"),
];
const ADDRESSES: [&str; 11] = [
    "10.0.0.5",
    "10.0.0.7",
    "10.0.1.10",
    "10.0.1.99",
    "10.0.2.20",
    "10.9.0.30",
    "172.16.0.1",
    "192.0.2.9",
    "198.51.100.7",
    "52.218.0.1",
    "224.0.0.251",
];
const PORTS: [u16; 8] = [443, 53, 123, 8080, 20_000, 21_000, 40_000, 50_000];

fn any_flow() -> impl Strategy<Value = Flow> {
    let end = || (select(&ADDRESSES[..]), select(&PORTS[..]));
    let packet = prop::option::weighted(0.2, (select(&ADDRESSES[..]), select(&ADDRESSES[..])));
    let flags = prop::option::of(select(&[2_u8, 18, 16][..]));
    let rest = (
        0_u32..5,
        select(&[6_u8, 6, 6, 17, 1][..]),
        0_u8..6,
        any::<bool>(),
        1_u64..4,
    );
    (select(&INTERFACES[..]), end(), end(), packet, flags, rest).prop_map(
        |(interface, src, dst, packet, flags, (minute, protocol, reject, direction, size))| {
            let mut flow = flow(interface, src, dst)
                .at(&format!("2026-03-10T08:0{minute}:00Z"))
                .with("protocol", protocol)
                .bytes(size, size * 100);
            if let Some((src, dst)) = packet {
                flow = flow.packet(src, dst);
            }
            if let Some(flags) = flags {
                flow = flow.with("tcp-flags", flags);
            }
            if reject == 0 {
                flow = flow.reject();
            }
            // What an interface sends has its own address at the source, what it receives at the destination (Amazon VPC User Guide).
            let own = OWN.iter().find(|(id, _)| *id == interface);
            match own.map(|(_, own)| (*own == src.0, *own == dst.0)) {
                Some((true, false)) if direction => flow.egress(),
                Some((false, true)) if direction => flow.ingress(),
                _ => flow,
            }
        },
    )
}

/// A call through the NAT gateway as the client's interface and the gateway's record it, or some of those records.
fn any_call() -> impl Strategy<Value = Vec<Flow>> {
    let client = (select(&["10.0.1.10", "10.0.1.99"][..]), select(&PORTS[..]));
    let far = (
        select(&["192.0.2.9", "198.51.100.7", "52.218.0.1"][..]),
        select(&PORTS[..]),
    );
    let rest = (
        // A NAT gateway gives out 1024 to 65535 (Amazon VPC User Guide, "NAT gateway basics").
        select(&PORTS[3..]),
        0_u32..5,
        select(&[6_u8, 17][..]),
        1_u64..3,
        1_u8..64,
    );
    (client, far, any::<bool>(), rest).prop_map(|(client, far, is_same, rest)| {
        let (port, minute, protocol, size, recorded) = rest;
        // As NTP's, whose ports do not tell who asked.
        let client = if is_same { (client.0, far.1) } else { client };
        let nat = "10.0.0.5";
        let records = [
            flow("eni-app", client, far).egress(),
            flow("eni-a", client, (nat, far.1))
                .packet(client.0, far.0)
                .ingress(),
            flow("eni-a", (nat, port), far).egress(),
            flow("eni-a", far, (nat, port)).ingress(),
            flow("eni-a", (nat, far.1), client)
                .packet(far.0, client.0)
                .egress(),
            flow("eni-app", far, client).ingress(),
        ];
        let records = records.into_iter().enumerate();
        let records = records.filter(|(place, _)| recorded >> place & 1 == 1);
        let record = |flow: Flow| {
            flow.at(&format!("2026-03-10T08:0{minute}:00Z"))
                .with("protocol", protocol)
                .bytes(size, size * 100)
        };
        records.map(|(_, flow)| record(flow)).collect()
    })
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

/// What is only in the first of two lists.
fn only<'r>(rows: &'r [String], others: &[String]) -> Vec<&'r String> {
    rows.iter().filter(|row| !others.contains(row)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn a_filter_changes_nothing_but_what_is_shown(
        // Few, too: among many, most ends are some others' company.
        flows in prop_oneof![prop::collection::vec(any_flow(), 0..3), prop::collection::vec(any_flow(), 3..40)],
        calls in prop::collection::vec(any_call(), 1..8),
        format in select(&[V2, FULL][..]),
    ) {
        let place = Place::new();
        world().put(&place);
        let flows = [flows, calls.concat()].concat();
        place.put("logs/a.log", log(format, &flows));
        let answers = block_on(async move {
            place.ingest().await;
            let session = place.session().await;
            let mut answers = Vec::new();
            for filter in FILTERS {
                // No filter passes a window whose number is asked for: the inner statement gives everything.
                let all = "SELECT *, ROW_NUMBER() OVER () AS number FROM traffic";
                let mut outside = rows(&session, &format!("SELECT * FROM ({all}) WHERE {filter}")).await;
                for row in &mut outside {
                    row.as_object_mut().unwrap().remove("number");
                }
                let inside = rows(&session, &format!("SELECT * FROM traffic WHERE {filter}")).await;
                let text = |rows: &[serde_json::Value]| sorted(rows.iter().map(ToString::to_string).collect());
                answers.push((filter, text(&inside), text(&outside)));
            }
            answers
        });
        for (filter, inside, outside) in answers {
            let (more, less): (Vec<_>, Vec<_>) = (only(&inside, &outside), only(&outside, &inside));
            prop_assert_eq!(more, less, "{}", filter);
        }
    }
}
