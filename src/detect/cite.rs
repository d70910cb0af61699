//! What a finding rests on, beyond the numbers of its detection: the route in force, the rules of network ACLs that let it pass, and a
//! statement that shows its records.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Finding;
use super::statement::Statement;
use crate::nacl::{Action, Direction, Nacl, Packet};
use crate::topology::{History, Network, Subnet};

/// Adds `route`, `network_acl_rules` and `sql` to a finding's evidence, as far as they can be named, unless its detection gives them.
pub(super) fn cite(finding: &mut Finding, history: &History) {
    let at = time(finding.last_seen.as_deref()).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let network = history.at(at);
    let mut cited: Vec<(&str, Value)> = Vec::new();
    if let Some(crossing) = Crossing::of(finding, network) {
        cited.extend(route(&crossing, network).map(|route| ("route", route)));
        let rules = rules(&crossing, network);
        if !rules.is_empty() {
            cited.push(("network_acl_rules", Value::Array(rules)));
        }
    }
    let statement = Statement::of(finding);
    cited.extend(statement.map(|statement| ("sql", json!(statement.to_string()))));
    for (key, value) in cited {
        finding.evidence.entry(key).or_insert(value);
    }
}

fn time(text: Option<&str>) -> Option<DateTime<Utc>> {
    text?.parse().ok()
}

/// A request from a subnet of ours to one address.
struct Crossing<'n> {
    from: &'n Subnet,
    /// The server's subnet, if it is ours.
    to: Option<&'n Subnet>,
    client: Option<IpAddr>,
    server: IpAddr,
    protocol: u8,
    port: Option<u16>,
}

impl<'n> Crossing<'n> {
    /// `None` where the finding is not about a request to one address, or its subnet is not the client's.
    fn of(finding: &Finding, network: &'n Network) -> Option<Self> {
        let address = |text: &Option<String>| text.as_deref()?.parse::<IpAddr>().ok();
        let from = network.subnet(finding.subnet_id.as_deref()?)?;
        let client = address(&finding.src_addr);
        if client.is_some_and(|client| !holds(from, client)) {
            return None;
        }
        let to = finding.dst_subnet_id.as_deref();
        let to = to.and_then(|id| network.subnet(id));
        // Of several servers in one subnet, any shows the way; without one, the finding is about nothing that is routed.
        let server = address(&finding.dst_addr).or_else(|| Some(to?.cidr_block?.addr()))?;
        if client.is_none() && holds(from, server) {
            return None;
        }
        Some(Self {
            from,
            to,
            client,
            server,
            protocol: u8::try_from(finding.protocol?).ok()?,
            port: finding.dst_port.and_then(|port| u16::try_from(port).ok()),
        })
    }
}

fn holds(subnet: &Subnet, addr: IpAddr) -> bool {
    let mut blocks = subnet.cidr_block.iter().chain(&subnet.ipv6_cidr_blocks);
    blocks.any(|block| block.contains(&addr))
}

/// The route in force towards the server.
fn route(crossing: &Crossing<'_>, network: &Network) -> Option<Value> {
    let route = network.route(crossing.from, crossing.server)?;
    Some(json!({
        "route_table_id": route.route_table_id,
        "destination": route.destination,
        "target_id": route.target_id,
    }))
}

/// The rules that decide the request where it leaves the client's subnet and where it enters the server's.
fn rules(crossing: &Crossing<'_>, network: &Network) -> Vec<Value> {
    if crossing.to.is_some_and(|to| to.id == crossing.from.id) {
        return Vec::new();
    }
    let out = (
        Some(crossing.from),
        Direction::Egress,
        Some(crossing.server),
    );
    let into = (crossing.to, Direction::Ingress, crossing.client);
    let rule = |(subnet, direction, remote): (Option<&Subnet>, Direction, Option<IpAddr>)| {
        let (subnet, remote) = (subnet?, remote?);
        let nacl = Nacl::from_record(network.nacl(subnet.nacl_id.as_deref()?)?);
        let verdict = nacl.evaluate(&Packet {
            direction,
            protocol: crossing.protocol,
            remote,
            dst_port: crossing.port,
        });
        (verdict.action != Action::Undecidable).then(|| {
            json!({
                "nacl_id": &*nacl.id,
                "direction": direction.as_str(),
                "rule_number": verdict.rule_number,
                "action": verdict.action.as_str(),
            })
        })
    };
    [out, into].into_iter().filter_map(rule).collect()
}
