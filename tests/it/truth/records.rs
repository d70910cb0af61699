//! The records that AWS writes of a conversation: at every interface on its way, for every flow log, cut into intervals.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::IpAddr;

use chrono::DateTime;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::conversations::{Conversation, Socket, TCP, Verdict, Via, service};
use super::world::{LAB, NodeKind, Target, World};
use crate::harness::Place;

/// Who records: an interface, or the lab's regional NAT gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    Node(usize),
    RegionalNat,
}

/// What one recorder sees of one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight {
    pub(crate) at: At,
    /// From the client to the server.
    pub(crate) up: bool,
    egress: bool,
    refused: bool,
    from: Socket,
    to: Socket,
}

pub(crate) fn is_logged(world: &World, at: At) -> bool {
    match at {
        At::Node(node) => world.is_logged(node),
        At::RegionalNat => world.flow_logs.iter().any(|log| log.vpc == LAB),
    }
}

/// Everything that is seen of a conversation, in the order of its way.
pub(crate) fn sights(world: &World, conversation: &Conversation) -> Vec<Sight> {
    let (client, server) = (conversation.client.socket, conversation.server.socket);
    let mut sights = Vec::new();
    let mut see = |at: Option<At>, up: bool, egress: bool, from: Socket, to: Socket| {
        sights.extend(at.map(|at| Sight {
            at,
            up,
            egress,
            refused: false,
            from,
            to,
        }));
    };
    let at_client = conversation.client.node.map(At::Node);
    let at_server = conversation.server.node.map(At::Node);
    // A transit gateway stays in the sender's zone.
    let tgw = |in_vpc_of: Option<usize>, sender: Option<usize>| {
        let (vpc, zone) = (world.vpc_of(in_vpc_of?), world.subnet_of(sender?).zone);
        world.gateway(vpc, NodeKind::Tgw, zone).map(At::Node)
    };
    let (of_client, of_server) = (conversation.client.node, conversation.server.node);
    see(at_client, true, true, client, server);
    match conversation.via {
        Via::Direct => {}
        Via::Nat(gateway, port) => {
            let at = Some(At::Node(gateway));
            let outside = (world.nodes[gateway].addrs[0].into(), port);
            see(at, true, false, client, server);
            see(at, true, true, outside, server);
            see(at, false, false, server, outside);
            see(at, false, true, server, client);
        }
        Via::RegionalNat(outside) => {
            let at = Some(At::RegionalNat);
            see(at, true, false, client, server);
            see(at, true, true, outside, server);
            see(at, false, false, server, outside);
            see(at, false, true, server, client);
        }
        Via::Transit => {
            see(tgw(of_client, of_client), true, false, client, server);
            see(tgw(of_server, of_client), true, true, client, server);
            see(tgw(of_server, of_server), false, false, server, client);
            see(tgw(of_client, of_server), false, true, server, client);
        }
    }
    see(at_server, true, false, client, server);
    see(at_server, false, true, server, client);
    see(at_client, false, false, server, client);
    match conversation.verdict {
        Verdict::Accepted => {}
        Verdict::RefusedByServer => {
            sights.retain(|sight| sight.up);
            if let Some(last) = sights.last_mut() {
                last.refused = true;
            }
        }
        Verdict::RefusedByClient => {
            sights.truncate(1);
            sights[0].refused = true;
        }
    }
    sights
}

/// The addresses on the interface's own level: its primary one stands for whatever passes it.
fn seen(world: &World, sight: &Sight) -> (IpAddr, IpAddr) {
    let (from, to) = (sight.from.0, sight.to.0);
    let At::Node(node) = sight.at else {
        return (from, to);
    };
    let node = &world.nodes[node];
    let own = match (from, node.addr6) {
        (IpAddr::V6(_), Some(own)) => own.into(),
        _ => node.addrs[0].into(),
    };
    if sight.egress { (own, to) } else { (from, own) }
}

/// What a packet's record adds up to over an interval.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    first: i64,
    last: i64,
    packets: i64,
    bytes: i64,
    flags: u8,
}

fn sums(conversation: &Conversation, up: bool, interval: i64, phase: i64) -> BTreeMap<i64, Sum> {
    let mut sums: BTreeMap<i64, Sum> = BTreeMap::new();
    for (time, bytes, flags) in conversation.packets(up) {
        let window = (time - phase).div_euclid(interval) * interval + phase;
        let sum = sums.entry(window).or_insert(Sum {
            first: time,
            ..Sum::default()
        });
        sum.last = time;
        sum.packets += 1;
        sum.bytes += bytes;
        sum.flags |= flags;
    }
    sums
}

/// A format of a flow log, by the names of its fields.
pub(crate) const V2: &str = crate::harness::V2;

/// Versions 2 to 5, and version 9's id of a regional NAT gateway.
pub(crate) const FULL: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action \
     log-status vpc-id subnet-id instance-id tcp-flags type pkt-srcaddr pkt-dstaddr region az-id sublocation-type sublocation-id \
     pkt-src-aws-service pkt-dst-aws-service flow-direction traffic-path resource-id";

/// Objects by key: the lines of each flow log that end within the same five minutes.
type Objects = BTreeMap<String, Vec<String>>;

/// AWS writes an object for every five minutes.
const SLOT_SECS: i64 = 300;

/// Writes the objects of all flow logs, each in a format.
pub(crate) fn deliver(
    world: &World,
    conversations: &[Conversation],
    format: impl Fn(usize) -> &'static str,
    place: &Place,
) {
    deliver_in(SLOT_SECS, world, conversations, format, place);
}

/// The same, an object for every so many seconds.
pub(crate) fn deliver_in(
    slot_secs: i64,
    world: &World,
    conversations: &[Conversation],
    format: impl Fn(usize) -> &'static str,
    place: &Place,
) {
    let mut objects = Objects::new();
    for conversation in conversations {
        for sight in sights(world, conversation) {
            let logs: Vec<usize> = match sight.at {
                At::Node(node) => world.logs_of(node).collect(),
                At::RegionalNat => (0..world.flow_logs.len())
                    .filter(|&log| world.flow_logs[log].vpc == LAB)
                    .collect(),
            };
            for log in logs {
                let as_written = (format(log), slot_secs);
                record(world, conversation, &sight, log, as_written, &mut objects);
            }
        }
    }
    for (key, lines) in objects {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(lines.join("\n").as_bytes()).unwrap();
        gzip.write_all(b"\n").unwrap();
        place.put(&format!("logs/{key}"), gzip.finish().unwrap());
    }
}

fn record(
    world: &World,
    conversation: &Conversation,
    sight: &Sight,
    log: usize,
    (format, slot_secs): (&str, i64),
    objects: &mut Objects,
) {
    let flow_log = &world.flow_logs[log];
    let node = match sight.at {
        At::Node(node) => Some(&world.nodes[node]),
        At::RegionalNat => None,
    };
    let interval = match node {
        Some(node) if !node.nitro => flow_log.interval,
        _ => 60,
    };
    let number = match sight.at {
        At::Node(node) => i64::try_from(node).unwrap(),
        At::RegionalNat => 0,
    };
    // Every interface has its own beat.
    let phase = (number * 37 + i64::try_from(log).unwrap() * 101) % interval;
    for (window, sum) in sums(conversation, sight.up, interval, phase) {
        let (start, end) = if node.is_some_and(|node| node.loose) {
            (
                window.max(sum.first - 60),
                (window + interval).min(sum.last + 60),
            )
        } else {
            (sum.first, sum.last)
        };
        let line: Vec<String> = format
            .split_whitespace()
            .map(|field| {
                value(
                    world,
                    conversation,
                    sight,
                    log,
                    &sum,
                    (start, end),
                    format,
                    field,
                )
            })
            .collect();
        let key = key(world, log, end, slot_secs);
        objects
            .entry(key)
            .or_insert_with(|| vec![format.split_whitespace().collect::<Vec<_>>().join(" ")])
            .push(line.join(" "));
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "a field may tell of any of them, and of nothing else"
)]
fn value(
    world: &World,
    conversation: &Conversation,
    sight: &Sight,
    log: usize,
    sum: &Sum,
    (start, end): (i64, i64),
    format: &str,
    field: &str,
) -> String {
    let vpc = &world.vpcs[world.flow_logs[log].vpc];
    let node = match sight.at {
        At::Node(node) => Some(&world.nodes[node]),
        At::RegionalNat => None,
    };
    let (from, to) = seen(world, sight);
    let of_node = |value: Option<String>| value.unwrap_or("-".to_owned());
    match field {
        "version" if format == V2 => "2".to_owned(),
        "version" => "9".to_owned(),
        "account-id" => vpc.account.to_owned(),
        "interface-id" => of_node(node.map(|node| node.id.clone())),
        "srcaddr" => from.to_string(),
        "dstaddr" => to.to_string(),
        "srcport" => sight.from.1.to_string(),
        "dstport" => sight.to.1.to_string(),
        "protocol" => conversation.protocol.to_string(),
        "packets" => sum.packets.to_string(),
        "bytes" => sum.bytes.to_string(),
        "start" => start.to_string(),
        "end" => end.to_string(),
        "action" => if sight.refused { "REJECT" } else { "ACCEPT" }.to_owned(),
        "log-status" => "OK".to_owned(),
        "vpc-id" => vpc.id.clone(),
        "subnet-id" => of_node(node.map(|node| world.subnets[node.subnet].id.clone())),
        "instance-id" => {
            let instance = node.filter(|node| node.kind == NodeKind::Instance);
            of_node(instance.map(|node| node.id.replacen("eni", "i", 1)))
        }
        "tcp-flags" if conversation.protocol == TCP => sum.flags.to_string(),
        "tcp-flags" => "0".to_owned(),
        "type" => if from.is_ipv6() { "IPv6" } else { "IPv4" }.to_owned(),
        "pkt-srcaddr" => sight.from.0.to_string(),
        "pkt-dstaddr" => sight.to.0.to_string(),
        "region" => vpc.region.to_owned(),
        "az-id" => of_node(node.map(|node| {
            let zone = world.subnets[node.subnet].zone + 1;
            let region = if vpc.region == "eu-west-1" {
                "euw1"
            } else {
                "use1"
            };
            format!("{region}-az{zone}")
        })),
        "pkt-src-aws-service" => service(sight.from.0).to_owned(),
        "pkt-dst-aws-service" => service(sight.to.0).to_owned(),
        "flow-direction" => if sight.egress { "egress" } else { "ingress" }.to_owned(),
        "traffic-path" if sight.egress => path(world, sight),
        "resource-id" if node.is_none() => vpc.id.replacen("vpc", "nat", 1),
        _ => "-".to_owned(),
    }
}

/// AWS's code for the way out of an interface.
fn path(world: &World, sight: &Sight) -> String {
    let At::Node(node) = sight.at else {
        let is_inside = world.vpcs[LAB].cidrs.iter().any(|net| match sight.to.0 {
            IpAddr::V4(addr) => net.contains(&addr),
            IpAddr::V6(_) => false,
        });
        return if is_inside { "1" } else { "8" }.to_owned();
    };
    let (subnet, nitro) = (world.subnet_of(node), world.nodes[node].nitro);
    let code = match world.route(subnet, sight.to.0) {
        Some(Target::Local | Target::Nat(_) | Target::RegionalNat | Target::Tgw) => "1",
        Some(Target::Igw) if nitro => "8",
        Some(Target::S3) if nitro => "7",
        Some(Target::Igw | Target::S3) => "2",
        Some(Target::Vgw) => "3",
        Some(Target::Pcx(number)) => {
            let (one, other) = super::world::PEERINGS[number];
            let is_near = world.vpcs[one].region == world.vpcs[other].region;
            if is_near { "4" } else { "5" }
        }
        Some(Target::Eigw) | None => "-",
    };
    code.to_owned()
}

/// AWS's key of the object that holds what ended then.
fn key(world: &World, log: usize, end: i64, slot_secs: i64) -> String {
    let flow_log = &world.flow_logs[log];
    let vpc = &world.vpcs[flow_log.vpc];
    let (account, region, id) = (vpc.account, vpc.region, &flow_log.id);
    let slot = DateTime::from_timestamp(end - end % slot_secs, 0).unwrap();
    let (day, minute) = (slot.format("%Y/%m/%d"), slot.format("%Y%m%dT%H%MZ"));
    format!(
        "AWSLogs/{account}/vpcflowlogs/{region}/{day}/{account}_vpcflowlogs_{region}_{id}_{minute}_{log:08x}.log.gz"
    )
}
