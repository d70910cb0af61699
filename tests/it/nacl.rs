//! `nacl explain`, `advise` and `replay` from outside: on seeded worlds against an evaluator of the test's own, and on the sample.

use std::net::IpAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Ended, FULL, Flow, Place, World, flow, log};
use crate::truth::random::Random;

/// A rule as the test evaluates it: nothing of it is the product's.
#[derive(Debug, Clone, PartialEq)]
struct Plain {
    number: i64,
    protocol: i64,
    from: i64,
    to: i64,
    cidr: String,
    allows: bool,
}

/// Both lists of an ACL: into the subnet, out of it.
type Lists = [Vec<Plain>; 2];

fn plain(number: i64, protocol: i64, ports: (i64, i64), cidr: &str, allows: bool) -> Plain {
    Plain {
        number,
        protocol,
        from: ports.0,
        to: ports.1,
        cidr: cidr.to_owned(),
        allows,
    }
}

/// The family's bits, left in the number.
fn bits(addr: &str) -> (bool, u128) {
    match addr.parse().unwrap() {
        IpAddr::V4(addr) => (false, u128::from(addr.to_bits()) << 96),
        IpAddr::V6(addr) => (true, addr.to_bits()),
    }
}

fn holds(cidr: &str, addr: &str) -> bool {
    let (network, length) = cidr.split_once('/').unwrap();
    let rest = 128 - length.parse::<u32>().unwrap();
    let ((is_v6, network), (addr_is_v6, addr)) = (bits(network), bits(addr));
    let left = |bits: u128| bits.checked_shr(rest).unwrap_or(0);
    is_v6 == addr_is_v6 && left(network) == left(addr)
}

fn passes(rules: &[Plain], protocol: i64, remote: &str, port: i64) -> bool {
    let mut rules: Vec<&Plain> = rules.iter().collect();
    rules.sort_by_key(|rule| rule.number);
    for rule in rules {
        let is_protocol = rule.protocol == -1 || rule.protocol == protocol;
        let is_port = rule.protocol == -1 || (rule.from..=rule.to).contains(&port);
        if is_protocol && is_port && holds(&rule.cidr, remote) {
            return rule.allows;
        }
    }
    false
}

fn entries(lists: &Lists) -> Vec<Value> {
    let of = |egress: bool, rules: &[Plain]| -> Vec<Value> {
        rules
            .iter()
            .map(|rule| {
                let ports = (rule.protocol != -1).then(|| json!({"From": rule.from, "To": rule.to}));
                let key = if rule.cidr.contains(':') { "Ipv6CidrBlock" } else { "CidrBlock" };
                json!({"RuleNumber": rule.number, "RuleAction": if rule.allows { "allow" } else { "deny" }, "Egress": egress,
                    "Protocol": rule.protocol.to_string(), key: rule.cidr, "PortRange": ports})
            })
            .collect()
    };
    [of(false, &lists[0]), of(true, &lists[1])].concat()
}

/// The lists after changes as the product prints them.
fn changed(lists: &Lists, changes: &[Value]) -> Lists {
    let mut lists = lists.clone();
    for change in changes {
        let list = &mut lists[usize::from(change["direction"] == "egress")];
        let of = change["rule_number"].as_i64().unwrap();
        match change["change"].as_str().unwrap() {
            "add" => assert!(!list.iter().any(|rule| rule.number == of), "{change}"),
            _ => assert!(list.iter().any(|rule| rule.number == of), "{change}"),
        }
        list.retain(|rule| rule.number != of);
        if change["change"] != "delete" {
            let protocol = change["protocol"].as_i64().unwrap();
            let ports = match protocol {
                6 | 17 => (
                    change["port_from"].as_i64().unwrap_or(0),
                    change["port_to"].as_i64().unwrap_or(65535),
                ),
                _ => (0, 65535),
            };
            let cidr = change["cidr"].as_str().unwrap();
            let allows = change["action"] == "allow";
            list.push(plain(of, protocol, ports, cidr, allows));
        }
        list.sort_by_key(|rule| rule.number);
    }
    lists
}

/// What happened: a client's port to a server's, accepted or refused by the server's security group.
#[derive(Debug, Clone)]
struct Talk {
    client: (String, u16),
    server: (String, u16),
    accepted: bool,
    /// True for a planted flood.
    flood: bool,
}

const ACLS: [(&str, &[&str]); 2] = [
    ("acl-edge", &["subnet-web"]),
    ("acl-back", &["subnet-app", "subnet-db"]),
];

/// Interface, subnet, addresses, security group.
const HOSTS: [(&str, &str, [&str; 2], &str); 6] = [
    (
        "eni-web1",
        "subnet-web",
        ["10.0.1.10", "2001:db8:1:1::10"],
        "sg-web",
    ),
    (
        "eni-web2",
        "subnet-web",
        ["10.0.1.11", "2001:db8:1:1::11"],
        "sg-web",
    ),
    (
        "eni-app1",
        "subnet-app",
        ["10.0.2.20", "2001:db8:1:2::20"],
        "sg-app",
    ),
    (
        "eni-app2",
        "subnet-app",
        ["10.0.2.21", "2001:db8:1:2::21"],
        "sg-app",
    ),
    (
        "eni-db1",
        "subnet-db",
        ["10.0.3.30", "2001:db8:1:3::30"],
        "sg-db",
    ),
    (
        "eni-db2",
        "subnet-db",
        ["10.0.3.31", "2001:db8:1:3::31"],
        "sg-db",
    ),
];

fn host(addr: &str) -> Option<(&'static str, &'static str)> {
    let mut hosts = HOSTS.iter();
    hosts
        .find(|(_, _, own, _)| own.contains(&addr))
        .map(|(interface, subnet, ..)| (*interface, *subnet))
}

/// The addresses of one family, and how those outside are spelled by a number.
struct Net {
    own: usize,
    visitor: fn(i64) -> String,
    /// The last numbers of floods.
    flood: fn(i64) -> String,
    /// Few that flood from elsewhere.
    elsewhere: fn(i64) -> String,
    noise: fn(i64) -> String,
    office: &'static str,
    partner: &'static str,
    /// In the partner's neighbourhood.
    beside: &'static str,
    mirror: &'static str,
}

impl Net {
    fn v4() -> Self {
        Self {
            own: 0,
            visitor: |last| format!("203.0.113.{last}"),
            flood: |last| format!("198.51.100.{last}"),
            elsewhere: |last| format!("192.0.2.{}", 200 + last),
            noise: |some| format!("{}.{}.7.9", 60 + some % 30, some),
            office: "203.0.113.8",
            partner: "198.51.100.70",
            beside: "198.51.100.71",
            mirror: "192.0.2.77",
        }
    }

    /// A network of one customer is a /64 or more, and whoever floods changes addresses within.
    fn v6() -> Self {
        Self {
            own: 1,
            visitor: |last| format!("2001:db8:cafe:{last:x}::1"),
            flood: |last| format!("2001:db8:bad:{last:x}::{:x}", last * 7919 % 65_521),
            elsewhere: |last| format!("2001:db8:f00d:{last:x}::2"),
            noise: |some| format!("2001:db8:{:x}::9", 0x4000 + some),
            office: "2001:db8:cafe:8::1",
            partner: "2001:db8:bad:46::70",
            beside: "2001:db8:bad:47::71",
            mirror: "2001:db8:77::77",
        }
    }

    /// What is said in it: `say` takes client, server, port, whether it is accepted, and whether it is a flood.
    fn talk(
        &self,
        random: &mut Random,
        say: &mut impl FnMut(&mut Random, &str, &str, u16, bool, bool),
    ) {
        let hosts = |subnet: &str| -> Vec<&'static str> {
            let of = HOSTS.iter().filter(|(_, own, ..)| *own == subnet);
            of.map(|(_, _, addrs, _)| addrs[self.own]).collect()
        };
        let (web, app, db) = (hosts("subnet-web"), hosts("subnet-app"), hosts("subnet-db"));
        for _ in 0..400 {
            let visitor = (self.visitor)(random.between(1, 250));
            let to = random.pick(&web);
            say(random, &visitor, to, 443, true, false);
        }
        for _ in 0..60 {
            let (from, to) = (random.pick(&web), random.pick(&app));
            say(random, from, to, 8080, true, false);
            let (from, to) = (random.pick(&app), random.pick(&db));
            say(random, from, to, 5432, true, false);
            let from = random.pick(&web);
            say(random, from, self.mirror, 443, true, false);
            say(random, web[0], web[1], 7946, true, false);
        }
        // The office uses SSH, a partner in the middle of the flood's block uses 8443.
        for _ in 0..20 {
            say(random, self.office, web[0], 22, true, false);
            say(random, self.partner, web[1], 8443, true, false);
        }
        for port in [22, 3389, 8443] {
            let (low, high) = random.pick(&[(64, 95), (128, 143), (65, 126)]);
            for _ in 0..400 {
                let source = match random.between(0, 3) {
                    0 => (self.elsewhere)(random.between(0, 3)),
                    _ => match random.between(low, high) {
                        70 => self.beside.to_owned(),
                        last => (self.flood)(last),
                    },
                };
                let to = random.pick(&web);
                say(random, &source, to, port, false, true);
            }
        }
        // Noise: from everywhere, too little of each to matter.
        for _ in 0..40 {
            let source = (self.noise)(random.between(1, 250));
            let port = u16::try_from(random.between(1, 1000)).unwrap();
            let to = random.pick(&web);
            say(random, &source, to, port, false, false);
        }
    }
}

/// A network, what was said in it, and its ACLs.
struct Scene {
    talks: Vec<Talk>,
    lists: [Lists; 2],
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let all = || {
            vec![
                plain(100, -1, (0, 65535), "0.0.0.0/0", true),
                plain(101, -1, (0, 65535), "::/0", true),
            ]
        };
        // Wide open, or with a rule for each use, one of them wider than the use.
        let edge = match seed % 2 {
            0 => [all(), all()],
            _ => [
                vec![
                    plain(50, 6, (0, 65535), "198.18.0.0/15", false),
                    plain(100, 6, (443, 443), "0.0.0.0/0", true),
                    plain(110, 6, (22, 22), "0.0.0.0/0", true),
                    plain(120, 6, (1024, 65535), "0.0.0.0/0", true),
                    plain(130, -1, (0, 65535), "10.0.0.0/16", true),
                    plain(140, 6, (443, 443), "::/0", true),
                    plain(150, 6, (22, 22), "::/0", true),
                    plain(160, 6, (1024, 65535), "::/0", true),
                ],
                all(),
            ],
        };
        let back = [
            vec![
                plain(100, 6, (0, 65535), "10.0.0.0/16", true),
                plain(110, 6, (1024, 65535), "0.0.0.0/0", true),
                plain(120, 6, (0, 65535), "2001:db8:1::/56", true),
            ],
            all(),
        ];
        let mut talks = Vec::new();
        let mut say = |random: &mut Random, client: &str, server: &str, port, accepted, flood| {
            let own = u16::try_from(random.between(1024, 65535)).unwrap();
            talks.push(Talk {
                client: (client.to_owned(), own),
                server: (server.to_owned(), port),
                accepted,
                flood,
            });
        };
        for family in [Net::v4(), Net::v6()] {
            family.talk(&mut random, &mut say);
        }
        let mut scene = Self {
            talks,
            lists: [edge, back],
        };
        // Nobody gets through where the ACL of the scene does not let him.
        let lists = scene.lists.clone();
        scene
            .talks
            .retain(|talk| broken(&lists, talk).is_none() || talk.flood);
        scene
            .talks
            .retain(|talk| !talk.flood || request_passes(&lists, talk));
        scene
    }

    fn world(&self) -> World {
        let to_igw: &[(&str, &str)] = &[("0.0.0.0/0", "igw-1"), ("::/0", "igw-1")];
        let local: &[(&str, &str)] = &[("10.0.0.0/16", "local"), ("2001:db8:1::/56", "local")];
        let nowhere: &[(&str, &str)] = &[];
        let mut world = World::new()
            .vpc6("vpc-1", "10.0.0.0/16", "2001:db8:1::/56")
            .internet_gateway("igw-1", "vpc-1");
        for (subnet, cidrs, routes) in [
            ("subnet-web", ["10.0.1.0/24", "2001:db8:1:1::/64"], to_igw),
            ("subnet-app", ["10.0.2.0/24", "2001:db8:1:2::/64"], nowhere),
            ("subnet-db", ["10.0.3.0/24", "2001:db8:1:3::/64"], nowhere),
        ] {
            world = world.subnet(subnet, "vpc-1", &cidrs, &[local, routes].concat());
        }
        for (interface, subnet, addrs, group) in HOSTS {
            world = world
                .interface(interface, "vpc-1", subnet, &addrs)
                .carrying(&[group]);
        }
        let let_in = |group: &str, port: u16, cidr: &str, cidr6: &str| {
            (
                group.to_owned(),
                json!({"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": cidr}],
                    "Ipv6Ranges": [{"CidrIpv6": cidr6}]}),
            )
        };
        let rules = [
            let_in("sg-web", 443, "0.0.0.0/0", "::/0"),
            let_in("sg-web", 7946, "10.0.1.0/24", "2001:db8:1:1::/64"),
            let_in("sg-web", 22, "203.0.113.8/32", "2001:db8:cafe:8::1/128"),
            let_in(
                "sg-web",
                8443,
                "198.51.100.70/32",
                "2001:db8:bad:46::70/128",
            ),
            let_in("sg-app", 8080, "10.0.1.0/24", "2001:db8:1:1::/64"),
            let_in("sg-db", 5432, "10.0.2.0/24", "2001:db8:1:2::/64"),
        ];
        for group in ["sg-web", "sg-app", "sg-db"] {
            let own: Vec<&Value> = rules
                .iter()
                .filter(|(of, _)| of == group)
                .map(|(_, rule)| rule)
                .collect();
            world = world.add(
                "SecurityGroups",
                json!({"GroupId": group, "VpcId": "vpc-1", "IpPermissions": own,
                    "IpPermissionsEgress": [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}], "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}]}),
            );
        }
        for ((id, subnets), lists) in ACLS.iter().zip(&self.lists) {
            let associations: Vec<Value> = subnets
                .iter()
                .map(|subnet| json!({"SubnetId": subnet, "NetworkAclId": id}))
                .collect();
            world = world.add(
                "NetworkAcls",
                json!({"NetworkAclId": id, "VpcId": "vpc-1", "Associations": associations, "Entries": entries(lists)}),
            );
        }
        world
    }

    /// Logs in a lake, with the topology.
    fn put(&self) -> Place {
        let place = Place::new();
        self.world().put(&place);
        let mut flows: Vec<Flow> = Vec::new();
        for (index, talk) in self.talks.iter().enumerate() {
            let at = format!(
                "2026-03-{:02}T{:02}:{:02}:00Z",
                10 + index % 2,
                index % 24,
                index % 60
            );
            let (client, server) = (
                (talk.client.0.as_str(), talk.client.1),
                (talk.server.0.as_str(), talk.server.1),
            );
            let mut see = |addr: &str, from: (&str, u16), to: (&str, u16), flags: u8| {
                let Some((interface, subnet)) = host(addr) else {
                    return;
                };
                let record = flow(interface, from, to)
                    .at(&at)
                    .with("vpc-id", "vpc-1")
                    .with("subnet-id", subnet)
                    .with("type", if addr.contains(':') { "IPv6" } else { "IPv4" })
                    .flags(flags);
                let record = if from.0 == addr {
                    record.egress()
                } else {
                    record.ingress()
                };
                let is_refused = !talk.accepted && addr == server.0;
                flows.push(if is_refused { record.reject() } else { record });
            };
            see(client.0, client, server, 2);
            see(server.0, client, server, 2);
            if talk.accepted {
                see(server.0, server, client, 18);
                see(client.0, server, client, 18);
            }
        }
        place.put("logs/all.log", log(FULL, &flows));
        place.run(&["ingest", "logs", "--lake", "lake"]).ok();
        let at = "2026-03-01T00:00:00Z";
        place
            .run(&[
                "topology", "import", "topology", "--lake", "lake", "--at", at,
            ])
            .ok();
        place
    }

    fn with(&self, changes: &[Value]) -> [Lists; 2] {
        let mut lists = self.lists.clone();
        for (list, (id, _)) in lists.iter_mut().zip(ACLS) {
            let own: Vec<Value> = changes
                .iter()
                .filter(|change| change["nacl_id"] == id)
                .cloned()
                .collect();
            *list = changed(list, &own);
        }
        lists
    }
}

/// How many rules are of IPv4 and of IPv6.
fn of_families(rules: &[Plain]) -> [usize; 2] {
    let six = rules.iter().filter(|rule| rule.cidr.contains(':')).count();
    [rules.len() - six, six]
}

/// The ACL of a subnet.
fn of_subnet(subnet: &str) -> usize {
    ACLS.iter()
        .position(|(_, subnets)| subnets.contains(&subnet))
        .unwrap()
}

/// Whether packets from one to another pass both edges; the remote end is matched, and the destination's port.
fn way_passes(lists: &[Lists; 2], from: &(String, u16), to: &(String, u16)) -> bool {
    let (src, dst) = (host(&from.0), host(&to.0));
    if src.is_some() && src.map(|(_, subnet)| subnet) == dst.map(|(_, subnet)| subnet) {
        return true;
    }
    let port = i64::from(to.1);
    let out = src.is_none_or(|(_, subnet)| passes(&lists[of_subnet(subnet)][1], 6, &to.0, port));
    out && dst.is_none_or(|(_, subnet)| passes(&lists[of_subnet(subnet)][0], 6, &from.0, port))
}

fn request_passes(lists: &[Lists; 2], talk: &Talk) -> bool {
    way_passes(lists, &talk.client, &talk.server)
}

/// The half of an accepted conversation that is denied.
fn broken(lists: &[Lists; 2], talk: &Talk) -> Option<&'static str> {
    if !request_passes(lists, talk) {
        return Some("request");
    }
    (!way_passes(lists, &talk.server, &talk.client)).then_some("reply")
}

const SEEDS: [u64; 4] = [1, 2, 3, 20_260_312];

#[test]
fn advice_stops_planted_floods_and_denies_no_accepted_flow() {
    for seed in SEEDS {
        let scene = Scene::new(seed);
        let place = scene.put();
        let changes = place.run(&["nacl", "advise", "--lake", "lake"]).ok().rows();
        assert!(!changes.is_empty(), "seed {seed}");
        let after = scene.with(&changes);
        let lost: Vec<&Talk> = scene
            .talks
            .iter()
            .filter(|talk| talk.accepted && broken(&after, talk).is_some())
            .collect();
        assert!(lost.is_empty(), "seed {seed}: {lost:#?}");
        for is_v6 in [false, true] {
            let floods = scene.talks.iter().filter(|talk| talk.flood);
            let floods: Vec<&Talk> = floods
                .filter(|talk| talk.client.0.contains(':') == is_v6)
                .collect();
            let stopped = floods
                .iter()
                .filter(|talk| !request_passes(&after, talk))
                .count();
            assert!(floods.len() >= 400);
            assert!(
                stopped * 100 >= floods.len() * 99,
                "seed {seed}, IPv6 {is_v6}: {stopped} of {}: {changes:#?}",
                floods.len()
            );
        }
        for change in &changes {
            let keys: Vec<&String> = change.as_object().unwrap().keys().collect();
            let expected = "nacl_id vpc_id subnet_ids direction change rule_number protocol port_from port_to cidr action reason replay";
            let mut expected: Vec<&str> = expected.split(' ').collect();
            expected.sort_unstable();
            let mut keys: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
            keys.sort_unstable();
            assert_eq!(keys, expected);
            assert_eq!(change["replay"]["accepted_flows_denied"], 0);
            assert!(change["replay"]["rejected_flows_matched"].as_u64().unwrap() > 0);
        }
        // The product's own replay of the whole says the same.
        let lines: Vec<String> = changes.iter().map(Value::to_string).collect();
        place.put("advice.json", lines.join("\n"));
        let replayed = place
            .run(&[
                "nacl",
                "replay",
                "--change",
                "advice.json",
                "--lake",
                "lake",
                "--allow-denied",
                "0",
            ])
            .ok()
            .rows();
        let matched: u64 = replayed
            .iter()
            .map(|row| row["replay"]["rejected_flows_matched"].as_u64().unwrap())
            .sum();
        let newly = scene.talks.iter().filter(|talk| {
            !talk.accepted && request_passes(&scene.lists, talk) && !request_passes(&after, talk)
        });
        assert_eq!(matched, newly.count() as u64, "seed {seed}");
    }
}

/// A change of a rule that somebody might make, as a command of the AWS CLI and as the product would print it.
fn any_change(random: &mut Random, number: i64) -> (String, Value) {
    let (acl, direction) = (
        random.pick(&["acl-edge", "acl-back"]),
        random.pick(&["ingress", "egress"]),
    );
    let action = random.pick(&["deny", "deny", "allow"]);
    let cidr = random.pick(&[
        "203.0.113.0/25",
        "203.0.113.8/32",
        "10.0.0.0/16",
        "10.0.2.20/32",
        "0.0.0.0/0",
        "198.51.100.64/26",
        "2001:db8:cafe::/57",
        "2001:db8:1:2::/64",
        "::/0",
    ]);
    let option = if cidr.contains(':') {
        "ipv6-cidr-block"
    } else {
        "cidr-block"
    };
    let (from, to) = random.pick(&[
        (443, 443),
        (5432, 5432),
        (1024, 32767),
        (50_000, 65535),
        (0, 65535),
        (8080, 8090),
    ]);
    let command = format!(
        "aws ec2 create-network-acl-entry --network-acl-id {acl} --{direction} --rule-number {number} --protocol tcp \
         --port-range From={from},To={to} --{option} {cidr} --rule-action {action}\n"
    );
    let change = json!({"nacl_id": acl, "direction": direction, "change": "add", "rule_number": number, "protocol": 6,
        "port_from": from, "port_to": to, "cidr": cidr, "action": action});
    (command, change)
}

#[test]
fn replay_says_what_a_naive_evaluation_says() {
    let mut denials = 0;
    for seed in [5, 6] {
        let scene = Scene::new(seed);
        let place = scene.put();
        let mut random = Random::new(seed);
        for round in 0..12 {
            let (one, other) = (any_change(&mut random, 10), any_change(&mut random, 20));
            place.put("change.sh", format!("{}{}", one.0, other.0));
            let replayed = place
                .run(&["nacl", "replay", "--change", "change.sh", "--lake", "lake"])
                .ok()
                .rows();
            let after = scene.with(&[one.1, other.1]);
            let lost = scene
                .talks
                .iter()
                .filter(|talk| talk.accepted && broken(&after, talk).is_some());
            // Request and reply count once each; every record has 1000 bytes.
            let lost = 2 * lost.count() as u64;
            let sum = |key: &str| -> u64 {
                replayed
                    .iter()
                    .map(|row| row["replay"][key].as_u64().unwrap())
                    .sum()
            };
            let said = format!("seed {seed}, round {round}: {}{}", one.0, other.0);
            assert_eq!(sum("accepted_flows_denied"), lost, "{said}");
            assert_eq!(sum("accepted_bytes_denied"), lost * 1000, "{said}");
            denials += lost;
        }
    }
    assert!(denials > 0);
}

#[test]
fn tightened_rules_let_every_accepted_flow_pass_and_no_flood() {
    for (seed, more) in [
        (1, &[][..]),
        (
            2,
            &[
                "--round-to",
                "32",
                "--most-blocks",
                "1000",
                "--rule-quota",
                "12",
            ][..],
        ),
    ] {
        let scene = Scene::new(seed);
        let place = scene.put();
        let mut arguments = vec!["nacl", "advise", "--tighten", "--lake", "lake"];
        arguments.extend(more);
        let changes = place.run(&arguments).ok().rows();
        let after = scene.with(&changes);
        assert_ne!(after, scene.lists);
        for talk in scene.talks.iter().filter(|talk| talk.accepted) {
            assert_eq!(broken(&after, talk), None, "seed {seed}: {talk:?}");
        }
        for lists in &after {
            let quota = if more.is_empty() { 20 } else { 12 };
            assert!(
                lists
                    .iter()
                    .flat_map(|rules| of_families(rules))
                    .all(|count| count < quota),
                "seed {seed}: {lists:#?}"
            );
            // Nothing is open to all protocols any more.
            assert!(
                lists
                    .iter()
                    .flatten()
                    .all(|rule| rule.protocol != -1 || !rule.allows)
            );
        }
        let passing = scene
            .talks
            .iter()
            .filter(|talk| talk.flood && talk.server.1 == 22);
        if more.is_empty() {
            assert_eq!(
                passing.filter(|talk| request_passes(&after, talk)).count(),
                0
            );
        }
    }
}

#[test]
fn commands_and_the_way_back_do_what_the_objects_say() {
    let scene = Scene::new(2);
    let place = scene.put();
    let advise = |more: &[&str]| {
        let mut arguments = vec!["nacl", "advise", "--lake", "lake"];
        arguments.extend(more);
        place.run(&arguments).ok()
    };
    let changes = advise(&[]).rows();
    let replayed = |file: &str| {
        let rows = place
            .run(&["nacl", "replay", "--change", file, "--lake", "lake"])
            .ok()
            .rows();
        rows.iter()
            .map(|row| row["replay"].clone())
            .collect::<Vec<_>>()
    };
    let lines: Vec<String> = changes.iter().map(Value::to_string).collect();
    place.put("advice.json", lines.join("\n"));
    place.put("advice.sh", advise(&["--format", "aws-cli"]).stdout);
    assert_eq!(replayed("advice.sh"), replayed("advice.json"));
    let back = advise(&["--rollback"]).rows();
    let there_and_back: Vec<Value> = changes.iter().chain(&back).cloned().collect();
    assert_eq!(scene.with(&there_and_back), scene.lists);
    let terraform = advise(&["--format", "terraform"]).stdout;
    assert_eq!(
        terraform
            .matches("resource \"aws_network_acl_rule\"")
            .count()
            - terraform.matches("# resource").count(),
        changes
            .iter()
            .filter(|change| change["change"] != "delete")
            .count(),
        "{terraform}"
    );
    assert!(terraform.contains("# The way back:"), "{terraform}");
}

#[test]
fn a_full_list_is_said_and_never_overfilled() {
    let scene = Scene::new(2);
    let place = scene.put();
    let advise = |quota: &str| {
        place
            .run(&["nacl", "advise", "--lake", "lake", "--rule-quota", quota])
            .ok()
    };
    let none = advise("2");
    assert_eq!(none.rows(), [] as [Value; 0]);
    assert!(
        none.stderr.contains("2 of 2 ingress rules are taken"),
        "{}",
        none.stderr
    );
    let lists = scene.with(&advise("4").rows());
    // The quota is of each family, the implicit deny counted.
    assert_eq!(of_families(&lists[0][0]), [3, 3]);
}

#[test]
fn logs_of_rejects_only_are_no_ground_for_advice_and_it_says_so() {
    let scene = Scene::new(2);
    let world = scene.world().add(
        "FlowLogs",
        json!({"FlowLogId": "fl-1", "ResourceId": "vpc-1", "TrafficType": "REJECT", "FlowLogStatus": "ACTIVE", "DeliverLogsStatus": "SUCCESS"}),
    );
    let place = scene.put();
    world.put(&place);
    let at = "2026-03-02T00:00:00Z";
    place
        .run(&[
            "topology", "import", "topology", "--lake", "lake", "--at", at,
        ])
        .ok();
    let rows = place.run(&["nacl", "advise", "--lake", "lake"]).ok().rows();
    let reason = rows[0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("confidence low: 2 days of flows, only rejects are logged of"),
        "{reason}"
    );
}

fn sample(place: &Place) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample-logs");
    let logs = root.join("AWSLogs");
    place
        .run(&["ingest", logs.to_str().unwrap(), "--lake", "lake"])
        .ok();
    let topology = root.join("topology");
    let at = "2026-03-01T00:00:00Z";
    place
        .run(&[
            "topology",
            "import",
            topology.to_str().unwrap(),
            "--lake",
            "lake",
            "--at",
            at,
        ])
        .ok();
}

#[test]
fn the_sample_s_flood_on_remote_desktop_is_denied_from_its_three_blocks() {
    let place = Place::new();
    sample(&place);
    let rows = place
        .run(&[
            "nacl",
            "advise",
            "--lake",
            "lake",
            "--subnet",
            "subnet-01111000020002000",
        ])
        .ok()
        .rows();
    let denies: Vec<(&str, u64, &str)> = rows
        .iter()
        .filter(|row| row["port_from"] == 3389)
        .map(|row| {
            assert_eq!(
                (&row["direction"], &row["action"], &row["protocol"]),
                (&json!("ingress"), &json!("deny"), &json!(6))
            );
            assert!(row["rule_number"].as_u64().unwrap() < 100, "{row}");
            (
                row["cidr"].as_str().unwrap(),
                row["replay"]["rejected_flows_matched"].as_u64().unwrap(),
                row["nacl_id"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        denies,
        [
            ("192.0.2.128/27", 201, "acl-01111000020000000"),
            ("198.51.100.160/27", 212, "acl-01111000020000000"),
            ("203.0.113.160/27", 227, "acl-01111000020000000"),
        ]
    );
}

fn explained(place: &Place, arguments: &[&str]) -> Ended {
    let topology = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample-logs/topology");
    let mut all = vec!["nacl", "explain", "--topology", topology.to_str().unwrap()];
    all.extend(arguments);
    place.run(&all)
}

#[test]
fn a_flow_is_followed_over_all_four_edges_and_over_the_nat_gateway_s() {
    let place = Place::new();
    let way = |arguments: &[&str]| {
        let row = explained(&place, arguments).ok().rows().remove(0);
        let edges: Vec<String> = row["crossings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|crossing| {
                format!(
                    "{} {} {}",
                    crossing["packet"], crossing["direction"], crossing["subnet_id"]
                )
                .replace('"', "")
            })
            .collect();
        (edges, row)
    };
    let production = "vpc-01111000020000000";
    let (edges, row) = way(&["10.20.11.31 -> 10.20.21.11:5432/tcp", "--vpc", production]);
    assert_eq!(
        edges,
        [
            "request egress subnet-01111000020011000",
            "request ingress subnet-01111000020021000",
            "reply egress subnet-01111000020021000",
            "reply ingress subnet-01111000020011000",
        ]
    );
    assert_eq!(row["verdict"], "allow");
    let (edges, row) = way(&[
        "--from-addr",
        "10.20.11.31",
        "--to-addr",
        "198.51.100.9",
        "--port",
        "53",
        "--protocol",
        "udp",
        "--vpc",
        production,
    ]);
    assert_eq!(edges.len(), 6, "{edges:?}");
    // Replies over UDP find no rule in the application's ACL.
    assert_eq!(row["verdict"], "deny");
    assert!(
        row["words"]
            .as_str()
            .unwrap()
            .contains("rule * of acl-01111000020000001 denies the reply into"),
        "{row}"
    );
    let (edges, row) = way(&[
        "10.20.11.21 -> 10.20.11.31:8080",
        "--subnet",
        "subnet-01111000020011000",
    ]);
    assert_eq!((edges.len(), &row["within_subnet"]), (0, &json!(true)));
    // Part of the client's ports would do.
    let (_, row) = way(&[
        "10.20.11.31 -> 198.51.100.9:443",
        "--vpc",
        production,
        "--client-ports",
        "1000-2000",
    ]);
    assert_eq!(row["verdict"], "partly");
}

#[test]
fn what_cannot_be_explained_is_said() {
    let place = Place::new();
    let said = |arguments: &[&str]| {
        let ended = explained(&place, arguments);
        assert_eq!(ended.code, Some(2));
        ended.stderr
    };
    assert!(
        said(&["10.20.11.31 -> 10.20.21.11:5432"])
            .contains("10.20.11.31 is in 2 VPCs: say which with `--vpc`")
    );
    assert!(said(&["10.20.11.31 > 10.20.21.11"]).contains("is no flow: expected one such as"));
    assert!(said(&["10.20.11.31 -> 10.20.21.11"]).contains("tcp needs a port"));
    assert!(said(&["192.0.2.1 -> 192.0.2.2:80"]).contains("in a VPC of the topology"));
    assert!(
        said(&["10.20.11.31 -> 10.20.21.11:1", "--vpc", "vpc-1"])
            .contains("`--vpc vpc-1`: the topology has no such VPC")
    );
    let ended = place.run(&["queries", "list", "--format", "terraform"]);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("are for `nacl advise`"),
        "{}",
        ended.stderr
    );
}

#[test]
fn replay_fails_a_pipeline_that_would_lose_accepted_flows() {
    let place = Place::new();
    sample(&place);
    place.put(
        "change.sh",
        "aws ec2 create-network-acl-entry --network-acl-id acl-01111000020000000 --egress --rule-number 90 --protocol tcp \\\n  \
         --port-range From=1024,To=65535 --cidr-block 203.0.113.0/24 --rule-action deny\n",
    );
    let ended = place.run(&[
        "nacl",
        "replay",
        "--change",
        "change.sh",
        "--lake",
        "lake",
        "--allow-denied",
        "0",
    ]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let row = ended.rows().remove(0);
    // The answers to visitors, and with them what they asked.
    assert_eq!(row["denied"][0]["packet"], "reply");
    assert_eq!(row["denied"][0]["direction"], "egress");
    assert!(row["replay"]["accepted_flows_denied"].as_u64().unwrap() > 1000);
    assert_eq!(row["confidence"], "low");
}

/// A new network ACL of a Terraform plan, which takes over the edge's subnet: its rules refer to it, since it has no id yet.
fn takeover() -> Value {
    let rule = |name: &str, egress: bool, number: i64, action: &str, ports: (i64, i64)| {
        json!({"address": format!("module.net.aws_network_acl_rule.{name}"), "type": "aws_network_acl_rule", "change": {"actions": ["create"],
            "before": null, "after_unknown": {"id": true, "network_acl_id": true}, "after": {"egress": egress, "rule_number": number, "protocol": "tcp",
            "rule_action": action, "cidr_block": "0.0.0.0/0", "ipv6_cidr_block": null, "from_port": ports.0, "to_port": ports.1}}})
    };
    let refers = |name: &str| {
        json!({"address": format!("aws_network_acl_rule.{name}"),
            "expressions": {"network_acl_id": {"references": ["aws_network_acl.new.id", "aws_network_acl.new"]}}})
    };
    json!({
        "resource_changes": [
            {"address": "module.net.aws_network_acl.new[0]", "type": "aws_network_acl", "change": {"actions": ["create"], "before": null,
                "after": {"vpc_id": "vpc-1", "subnet_ids": ["subnet-web"]}, "after_unknown": {"id": true, "ingress": true, "egress": true}}},
            rule("web", false, 100, "allow", (443, 443)),
            rule("replies", false, 110, "allow", (1024, 65535)),
            rule("out", true, 100, "allow", (1024, 65535)),
        ],
        "configuration": {"root_module": {"module_calls": {"net": {"module": {"resources":
            [refers("web"), refers("replies"), refers("out")]}}}}}
    })
}

#[test]
fn a_network_acl_that_a_plan_creates_is_replayed_for_the_subnets_that_it_takes() {
    let scene = Scene::new(2);
    let place = scene.put();
    place.put("plan.json", takeover().to_string());
    let replay = ["nacl", "replay", "--change", "plan.json", "--lake", "lake"];
    let rows = place.run(&replay).ok().rows();
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!(row["nacl_id"], "module.net.aws_network_acl.new[0]");
    assert_eq!(row["subnet_ids"], json!(["subnet-web"]));
    let any = "0.0.0.0/0";
    let edge = [
        vec![
            plain(100, 6, (443, 443), any, true),
            plain(110, 6, (1024, 65535), any, true),
        ],
        vec![plain(100, 6, (1024, 65535), any, true)],
    ];
    let after = [edge, scene.lists[1].clone()];
    let accepted = scene.talks.iter().filter(|talk| talk.accepted);
    let lost = 2 * accepted
        .filter(|talk| broken(&after, talk).is_some())
        .count();
    assert!(lost > 0);
    assert_eq!(row["replay"]["accepted_flows_denied"], lost);
}

#[test]
fn what_a_plan_knows_after_apply_only_is_said_by_its_address() {
    let scene = Scene::new(2);
    let place = scene.put();
    let text = takeover().to_string();
    place.put(
        "plan.json",
        text.replace("aws_network_acl.new.id", "var.acl")
            .replace("aws_network_acl.new\"", "var.acl\""),
    );
    let ended = place.run(&["nacl", "replay", "--change", "plan.json", "--lake", "lake"]);
    assert_eq!(ended.code, Some(2));
    let said = "module.net.aws_network_acl_rule.web: `network_acl_id` is known only after apply, from `var.acl`: expected the id of a network ACL that is \
                there already, or a reference to one that the plan creates";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
}

/// A host whose security group lets little out, and a database that lets nobody in.
fn outward() -> Place {
    let place = Place::new();
    let everywhere = json!([{"CidrIp": "0.0.0.0/0"}]);
    let out = |port: u16| json!({"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": everywhere});
    let group = |id: &str, egress: Value| json!({"GroupId": id, "VpcId": "vpc-1", "IpPermissions": [], "IpPermissionsEgress": egress});
    let own = [
        plain(90, 6, (22, 22), "203.0.113.0/24", true),
        plain(95, 6, (1024, 65535), "0.0.0.0/0", true),
    ];
    let all = || vec![plain(100, -1, (0, 65535), "0.0.0.0/0", true)];
    let acl = |id: &str, subnet: &str, lists: &Lists| json!({"NetworkAclId": id, "VpcId": "vpc-1", "Associations": [{"SubnetId": subnet, "NetworkAclId": id}], "Entries": entries(lists)});
    World::new()
        .vpc("vpc-1", "10.0.0.0/16")
        .internet_gateway("igw-1", "vpc-1")
        .subnet(
            "subnet-app",
            "vpc-1",
            &["10.0.1.0/24"],
            &[("10.0.0.0/16", "local"), ("0.0.0.0/0", "igw-1")],
        )
        .subnet(
            "subnet-db",
            "vpc-1",
            &["10.0.2.0/24"],
            &[("10.0.0.0/16", "local")],
        )
        .interface("eni-app", "vpc-1", "subnet-app", &["10.0.1.10"])
        .carrying(&["sg-app"])
        .interface("eni-db", "vpc-1", "subnet-db", &["10.0.2.20"])
        .carrying(&["sg-db"])
        .add(
            "SecurityGroups",
            group("sg-app", json!([out(443), out(5432)])),
        )
        .add("SecurityGroups", group("sg-db", json!([])))
        .add(
            "NetworkAcls",
            acl("acl-app", "subnet-app", &[own.to_vec(), all()]),
        )
        .add("NetworkAcls", acl("acl-db", "subnet-db", &[all(), all()]))
        .put(&place);
    let mut flows = Vec::new();
    for number in 0..200u16 {
        let at = format!("2026-03-{}T{:02}:00:00Z", 10 + number % 2, number % 24);
        let host = ("10.0.1.10", 40_000 + number);
        let out = |to: (&str, u16)| {
            flow("eni-app", host, to)
                .at(&at)
                .with("subnet-id", "subnet-app")
                .flags(2)
                .egress()
        };
        let mail = format!("198.51.100.{}", 1 + number);
        flows.push(out((&mail, 25)).reject());
        flows.push(out(("10.0.2.20", 5432)));
        // Replies are not logged.
        flows.push(out(("192.0.2.77", 443)));
        let came_in = flow("eni-db", host, ("10.0.2.20", 5432))
            .at(&at)
            .with("subnet-id", "subnet-db")
            .flags(2);
        flows.push(came_in.ingress().reject());
    }
    place.put("logs/all.log", log(FULL, &flows));
    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    let at = "2026-03-01T00:00:00Z";
    place
        .run(&[
            "topology", "import", "topology", "--lake", "lake", "--at", at,
        ])
        .ok();
    place
}

#[test]
fn what_own_security_groups_refuse_on_the_way_out_is_closed_there() {
    let place = outward();
    let ended = place.run(&["nacl", "advise", "--lake", "lake"]).ok();
    let rows = ended.rows();
    let [row] = &rows[..] else {
        panic!("{rows:#?}")
    };
    let expected = json!({"nacl_id": "acl-app", "direction": "egress", "change": "add", "protocol": 6, "port_from": 25, "port_to": 25,
        "cidr": "0.0.0.0/0", "action": "deny"});
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(row[key], *value, "{row:#}");
    }
    assert!(row["rule_number"].as_u64().unwrap() < 100);
    assert_eq!(row["replay"]["accepted_flows_denied"], 0);
    assert_eq!(row["replay"]["rejected_flows_matched"], 200);
    let reason = row["reason"].as_str().unwrap();
    let said = "200 attempts on tcp 25 of 200 addresses by our own machines (10.0.1.10 most) on 2 days were let out by rule 100 allows all traffic to \
                0.0.0.0/0 and refused by security groups only; nobody was accepted on that port";
    assert!(reason.contains(said), "{reason}");
    // What the far side refused is a mistake, which no rule should hide.
    for said in [
        "acl-app: 200 attempts on tcp 5432 of machines in these subnets (10.0.1.10 most) left them and were refused by security groups in subnet-db: \
         no rule is advised",
        "acl-db: 200 attempts on tcp 5432 come from our own machines (10.0.1.10 most): stop the client",
    ] {
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
}

#[test]
fn allows_that_nothing_needed_are_said_and_those_for_replies_that_no_log_has_are_not() {
    let ended = outward().run(&["nacl", "advise", "--lake", "lake"]).ok();
    let notes: Vec<&str> = ended
        .stderr
        .lines()
        .filter(|line| line.contains("acl-app: no accepted flow of the window"))
        .collect();
    assert_eq!(notes.len(), 1, "{}", ended.stderr);
    let said =
        "needed ingress rule 90 allows tcp 22 from 203.0.113.0/24 (confidence low: 2 days of flows";
    assert!(notes[0].contains(said), "{notes:?}");
    assert!(!notes[0].contains("rule 95"), "{notes:?}");
}
