//! `nacl explain`, `advise` and `replay` from outside: on seeded worlds against an evaluator of the test's own, and on the sample.

use std::net::Ipv4Addr;
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
    network: u32,
    mask: u32,
    allows: bool,
}

/// Both lists of an ACL: into the subnet, out of it.
type Lists = [Vec<Plain>; 2];

fn number(addr: &str) -> u32 {
    addr.parse::<Ipv4Addr>().unwrap().into()
}

fn plain(number_: i64, protocol: i64, ports: (i64, i64), cidr: &str, allows: bool) -> Plain {
    let (network, bits) = cidr.split_once('/').unwrap();
    let bits: u32 = bits.parse().unwrap();
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    Plain {
        number: number_,
        protocol,
        from: ports.0,
        to: ports.1,
        network: number(network) & mask,
        mask,
        allows,
    }
}

fn passes(rules: &[Plain], protocol: i64, remote: &str, port: i64) -> bool {
    let mut rules: Vec<&Plain> = rules.iter().collect();
    rules.sort_by_key(|rule| rule.number);
    for rule in rules {
        let is_protocol = rule.protocol == -1 || rule.protocol == protocol;
        let is_port = rule.protocol == -1 || (rule.from..=rule.to).contains(&port);
        if is_protocol && is_port && number(remote) & rule.mask == rule.network {
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
                let cidr = format!("{}/{}", Ipv4Addr::from(rule.network), rule.mask.count_ones());
                let ports = (rule.protocol != -1).then(|| json!({"From": rule.from, "To": rule.to}));
                json!({"RuleNumber": rule.number, "RuleAction": if rule.allows { "allow" } else { "deny" }, "Egress": egress,
                    "Protocol": rule.protocol.to_string(), "CidrBlock": cidr, "PortRange": ports})
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
            if !cidr.contains(':') {
                list.push(plain(
                    of,
                    protocol,
                    ports,
                    cidr,
                    change["action"] == "allow",
                ));
            }
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

/// Interface, subnet, address, security group.
const HOSTS: [(&str, &str, &str, &str); 6] = [
    ("eni-web1", "subnet-web", "10.0.1.10", "sg-web"),
    ("eni-web2", "subnet-web", "10.0.1.11", "sg-web"),
    ("eni-app1", "subnet-app", "10.0.2.20", "sg-app"),
    ("eni-app2", "subnet-app", "10.0.2.21", "sg-app"),
    ("eni-db1", "subnet-db", "10.0.3.30", "sg-db"),
    ("eni-db2", "subnet-db", "10.0.3.31", "sg-db"),
];

fn host(addr: &str) -> Option<(&'static str, &'static str)> {
    let mut hosts = HOSTS.iter();
    hosts
        .find(|(_, _, own, _)| *own == addr)
        .map(|(interface, subnet, ..)| (*interface, *subnet))
}

/// A network, what was said in it, and its ACLs.
struct Scene {
    talks: Vec<Talk>,
    lists: [Lists; 2],
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let all = || vec![plain(100, -1, (0, 65535), "0.0.0.0/0", true)];
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
                ],
                all(),
            ],
        };
        let back = [
            vec![
                plain(100, 6, (0, 65535), "10.0.0.0/16", true),
                plain(110, 6, (1024, 65535), "0.0.0.0/0", true),
            ],
            all(),
        ];
        let mut talks = Vec::new();
        let mut say = |client: String,
                       server: &str,
                       port: u16,
                       accepted: bool,
                       flood: bool,
                       random: &mut Random| {
            let own = u16::try_from(random.between(1024, 65535)).unwrap();
            talks.push(Talk {
                client: (client, own),
                server: (server.to_owned(), port),
                accepted,
                flood,
            });
        };
        let web = ["10.0.1.10", "10.0.1.11"];
        let app = ["10.0.2.20", "10.0.2.21"];
        let db = ["10.0.3.30", "10.0.3.31"];
        for _ in 0..400 {
            let visitor = format!("203.0.113.{}", random.between(1, 250));
            say(visitor, random.pick(&web), 443, true, false, &mut random);
        }
        for _ in 0..60 {
            say(
                random.pick(&web).to_owned(),
                random.pick(&app),
                8080,
                true,
                false,
                &mut random,
            );
            say(
                random.pick(&app).to_owned(),
                random.pick(&db),
                5432,
                true,
                false,
                &mut random,
            );
            say(
                random.pick(&web).to_owned(),
                "192.0.2.77",
                443,
                true,
                false,
                &mut random,
            );
            say(
                "10.0.1.10".to_owned(),
                "10.0.1.11",
                7946,
                true,
                false,
                &mut random,
            );
        }
        // The office uses SSH, a partner in the middle of the flood's block uses 8443.
        for _ in 0..20 {
            say(
                "203.0.113.8".to_owned(),
                "10.0.1.10",
                22,
                true,
                false,
                &mut random,
            );
            say(
                "198.51.100.70".to_owned(),
                "10.0.1.11",
                8443,
                true,
                false,
                &mut random,
            );
        }
        for port in [22, 3389, 8443] {
            let (low, high) = random.pick(&[(64, 95), (128, 143), (65, 126)]);
            for _ in 0..400 {
                let source = match random.between(0, 3) {
                    0 => format!("192.0.2.{}", random.between(200, 203)),
                    _ => match random.between(low, high) {
                        70 => "198.51.100.71".to_owned(),
                        last => format!("198.51.100.{last}"),
                    },
                };
                say(source, random.pick(&web), port, false, true, &mut random);
            }
        }
        // Noise: from everywhere, too little of each to matter.
        for _ in 0..40 {
            let source = format!("{}.{}.7.9", random.between(60, 90), random.between(1, 250));
            let port = u16::try_from(random.between(1, 1000)).unwrap();
            say(source, random.pick(&web), port, false, false, &mut random);
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
        let to_igw: &[(&str, &str)] = &[("0.0.0.0/0", "igw-1")];
        let mut world = World::new()
            .vpc("vpc-1", "10.0.0.0/16")
            .internet_gateway("igw-1", "vpc-1")
            .subnet("subnet-web", "vpc-1", &["10.0.1.0/24"], to_igw)
            .subnet("subnet-app", "vpc-1", &["10.0.2.0/24"], &[])
            .subnet("subnet-db", "vpc-1", &["10.0.3.0/24"], &[]);
        for (interface, subnet, addr, group) in HOSTS {
            world = world
                .interface(interface, "vpc-1", subnet, &[addr])
                .carrying(&[group]);
        }
        let let_in = |group: &str, port: u16, cidr: &str| {
            (
                group.to_owned(),
                json!({"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": cidr}]}),
            )
        };
        let rules = [
            let_in("sg-web", 443, "0.0.0.0/0"),
            let_in("sg-web", 7946, "10.0.1.0/24"),
            let_in("sg-web", 22, "203.0.113.8/32"),
            let_in("sg-web", 8443, "198.51.100.70/32"),
            let_in("sg-app", 8080, "10.0.1.0/24"),
            let_in("sg-db", 5432, "10.0.2.0/24"),
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
                    "IpPermissionsEgress": [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]}),
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
        let floods: Vec<&Talk> = scene.talks.iter().filter(|talk| talk.flood).collect();
        let stopped = floods
            .iter()
            .filter(|talk| !request_passes(&after, talk))
            .count();
        assert!(
            stopped * 100 >= floods.len() * 99,
            "seed {seed}: {stopped} of {}: {changes:#?}",
            floods.len()
        );
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
    ]);
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
         --port-range From={from},To={to} --cidr-block {cidr} --rule-action {action}\n"
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
                lists.iter().all(|rules| rules.len() < quota),
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
    assert_eq!(lists[0][0].len(), 3);
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
