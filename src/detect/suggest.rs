//! What a policy could expect, learned from what detections find in a quiet time: for a person to review.
//!
//! ```text
//! findings ──> one line each: who, where to, port ──> lines that differ in one thing only become one entry
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Finding;

/// From this many addresses in one block on, the block is proposed and not each of them.
const ADDRESSES_OF_BLOCK: usize = 4;

/// The block that addresses are gathered in: what one customer of a provider has as a rule, and what one host has in IPv6.
const BLOCK_BITS: (u8, u8) = (24, 64);

/// Where connections come from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// These subnets.
    Subnets(BTreeSet<String>),
    /// These interfaces, whose subnet nobody knows.
    Interfaces(BTreeSet<String>),
}

/// One entry that a policy could have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// The detection whose findings it would expect.
    pub detection: String,
    /// The client's side.
    pub origin: Origin,
    /// The other end: CIDRs, or ids of subnets.
    pub remote: BTreeSet<String>,
    /// Service ports; empty where the protocol has none.
    pub ports: BTreeSet<i64>,
    /// The IANA number.
    pub protocol: i64,
    /// What it rests on.
    pub seen: Seen,
}

/// What a suggestion rests on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Findings that it would expect.
    pub findings: usize,
    /// The interfaces that opened connections.
    pub interfaces: BTreeSet<String>,
    /// The addresses that they opened them to.
    pub addresses: BTreeSet<String>,
    /// The client's records.
    pub flows: i64,
    /// Their bytes.
    pub bytes: i64,
    /// The first of them, RFC 3339.
    pub first: Option<String>,
    /// The last.
    pub last: Option<String>,
}

impl Seen {
    fn of(finding: &Finding) -> Self {
        Self {
            findings: 1,
            interfaces: finding.interface_id.iter().cloned().collect(),
            addresses: finding.dst_addr.iter().cloned().collect(),
            flows: finding.flows.unwrap_or(0),
            bytes: finding.bytes.unwrap_or(0),
            first: finding.first_seen.clone(),
            last: finding.last_seen.clone(),
        }
    }

    fn add(&mut self, other: Self) {
        self.findings += other.findings;
        self.interfaces.extend(other.interfaces);
        self.addresses.extend(other.addresses);
        self.flows += other.flows;
        self.bytes += other.bytes;
        self.first = [self.first.take(), other.first].into_iter().flatten().min();
        self.last = [self.last.take(), other.last].into_iter().flatten().max();
    }
}

/// Proposes entries that would expect findings, and counts those that no entry can name: without an origin, another end or a protocol.
pub fn suggest(findings: &[Finding]) -> (Vec<Suggestion>, usize) {
    let mut suggestions = Vec::new();
    let mut left_out = 0;
    for finding in findings {
        match line(finding) {
            Some(line) => suggestions.push(line),
            None => left_out += 1,
        }
    }
    // To one port from one place: their far ends, as blocks where they are many.
    let mut merged = merge(
        suggestions,
        |line| (line.origin.clone(), line.ports.clone(), BTreeSet::new()),
        |one, other| one.remote.extend(other.remote),
    );
    for suggestion in &mut merged {
        suggestion.remote = gathered(&suggestion.remote);
    }
    // Between the same two places: their ports.
    let merged = merge(
        merged,
        |line| (line.origin.clone(), BTreeSet::new(), line.remote.clone()),
        |one, other| one.ports.extend(other.ports),
    );
    // The same service of the same far end: their origins.
    let mut merged = merge(
        merged,
        |line| {
            let kind = match line.origin {
                Origin::Subnets(_) => Origin::Subnets(BTreeSet::new()),
                Origin::Interfaces(_) => Origin::Interfaces(BTreeSet::new()),
            };
            (kind, line.ports.clone(), line.remote.clone())
        },
        |one, other| match (&mut one.origin, other.origin) {
            (Origin::Subnets(ids), Origin::Subnets(more))
            | (Origin::Interfaces(ids), Origin::Interfaces(more)) => ids.extend(more),
            _ => {}
        },
    );
    merged.sort_by(|a, b| {
        (&a.detection, -a.seen.flows, &a.remote).cmp(&(&b.detection, -b.seen.flows, &b.remote))
    });
    (merged, left_out)
}

/// The entry that expects one finding and nothing else.
fn line(finding: &Finding) -> Option<Suggestion> {
    let remote = match (&finding.dst_subnet_id, &finding.dst_addr) {
        (Some(subnet_id), _) => subnet_id.clone(),
        (None, Some(addr)) => IpNet::from(addr.parse::<IpAddr>().ok()?).to_string(),
        (None, None) => return None,
    };
    let origin = match (&finding.subnet_id, &finding.interface_id) {
        (Some(id), _) => Origin::Subnets([id.clone()].into()),
        (None, Some(id)) => Origin::Interfaces([id.clone()].into()),
        (None, None) => return None,
    };
    Some(Suggestion {
        detection: finding.detection.clone(),
        origin,
        remote: [remote].into(),
        ports: finding.dst_port.into_iter().collect(),
        protocol: finding.protocol?,
        seen: Seen::of(finding),
    })
}

/// What two entries must have in common to become one, beside detection and protocol.
type Common = (Origin, BTreeSet<i64>, BTreeSet<String>);

fn merge(
    suggestions: Vec<Suggestion>,
    common: impl Fn(&Suggestion) -> Common,
    join: impl Fn(&mut Suggestion, Suggestion),
) -> Vec<Suggestion> {
    let mut merged: BTreeMap<(String, i64, Common), Suggestion> = BTreeMap::new();
    for suggestion in suggestions {
        let key = (
            suggestion.detection.clone(),
            suggestion.protocol,
            common(&suggestion),
        );
        match merged.get_mut(&key) {
            Some(known) => {
                known.seen.add(suggestion.seen.clone());
                join(known, suggestion);
            }
            None => {
                merged.insert(key, suggestion);
            }
        }
    }
    merged.into_values().collect()
}

/// Blocks in the place of many addresses of one block.
fn gathered(remote: &BTreeSet<String>) -> BTreeSet<String> {
    let mut of_block: BTreeMap<IpNet, BTreeSet<&String>> = BTreeMap::new();
    let mut gathered = BTreeSet::new();
    for name in remote {
        match name.parse::<IpNet>() {
            Ok(net) => {
                of_block.entry(block(net.addr())).or_default().insert(name);
            }
            Err(_) => {
                gathered.insert(name.clone());
            }
        }
    }
    for (block, names) in of_block {
        if names.len() >= ADDRESSES_OF_BLOCK {
            gathered.insert(block.to_string());
        } else {
            gathered.extend(names.into_iter().cloned());
        }
    }
    gathered
}

fn block(addr: IpAddr) -> IpNet {
    let (bits4, bits6) = BLOCK_BITS;
    match addr {
        IpAddr::V4(addr) => Ipv4Net::new_assert(addr, bits4).trunc().into(),
        IpAddr::V6(addr) => Ipv6Net::new_assert(addr, bits6).trunc().into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(subnet: &str, remote: &str, port: i64) -> Finding {
        let keys = super::super::finding_keys();
        let mut value = json!({});
        for key in keys {
            value[key] = json!(null);
        }
        value["fingerprint"] = json!("");
        value["detection"] = json!("egress_unexpected");
        value["severity"] = json!("medium");
        value["title"] = json!("");
        value["evidence"] = json!({});
        value["subnet_id"] = json!(subnet);
        value["dst_addr"] = json!(remote);
        value["dst_port"] = json!(port);
        value["protocol"] = json!(6);
        value["flows"] = json!(10);
        serde_json::from_value(value).unwrap()
    }

    fn entries(findings: &[Finding]) -> Vec<(Vec<String>, Vec<String>, Vec<i64>)> {
        let (suggestions, left_out) = suggest(findings);
        assert_eq!(left_out, 0);
        let strings = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
        suggestions
            .iter()
            .map(|one| match &one.origin {
                Origin::Subnets(ids) => (
                    strings(ids),
                    strings(&one.remote),
                    one.ports.iter().copied().collect(),
                ),
                Origin::Interfaces(_) => panic!("{one:?}"),
            })
            .collect()
    }

    fn entry(
        subnets: &[&str],
        remote: &[&str],
        ports: &[i64],
    ) -> (Vec<String>, Vec<String>, Vec<i64>) {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        (owned(subnets), owned(remote), ports.to_vec())
    }

    #[test]
    fn what_differs_in_one_thing_becomes_one_entry() {
        let findings = [
            found("subnet-a", "192.0.2.1", 80),
            found("subnet-a", "192.0.2.1", 443),
            found("subnet-b", "192.0.2.1", 443),
            found("subnet-b", "192.0.2.1", 80),
            found("subnet-b", "198.51.100.7", 22),
        ];
        assert_eq!(
            entries(&findings),
            [
                entry(&["subnet-a", "subnet-b"], &["192.0.2.1/32"], &[80, 443]),
                entry(&["subnet-b"], &["198.51.100.7/32"], &[22]),
            ]
        );
        let (suggestions, _) = suggest(&findings);
        assert_eq!(
            (suggestions[0].seen.findings, suggestions[0].seen.flows),
            (4, 40)
        );
    }

    #[test]
    fn many_addresses_of_one_block_become_the_block() {
        let few: Vec<Finding> = (1..4)
            .map(|host| found("subnet-a", &format!("192.0.2.{host}"), 443))
            .collect();
        assert_eq!(
            entries(&few),
            [entry(
                &["subnet-a"],
                &["192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32"],
                &[443]
            )]
        );
        let many: Vec<Finding> = (1..=4)
            .map(|host| found("subnet-a", &format!("2001:db8::{host}"), 443))
            .collect();
        assert_eq!(
            entries(&many),
            [entry(&["subnet-a"], &["2001:db8::/64"], &[443])]
        );
    }

    #[test]
    fn what_no_entry_can_name_is_counted() {
        let mut nowhere = found("subnet-a", "192.0.2.1", 443);
        nowhere.subnet_id = None;
        let (suggestions, left_out) = suggest(&[nowhere]);
        assert_eq!((suggestions.len(), left_out), (0, 1));
    }
}
