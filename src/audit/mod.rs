//! Checks the network's design as careful teams do: each check one function, each finding about one object.
//!
//! | Module | Checks |
//! |---|---|
//! | `layout` | default VPC in use, fewer than two zones, zones with only private or only public subnets |
//! | `addresses` | masks, subnets that are nearly full, CIDRs that overlap |
//! | `routing` | private subnets with a route to an internet gateway, NAT across zones |
//! | `guards` | network ACLs that allow everything |
//! | `flow_logs` | VPCs, subnets and interfaces that no flow log records in full |
//!
//! What the topology does not know is no finding: it is a note.

mod addresses;
mod flow_logs;
mod guards;
mod layout;
mod routing;
#[cfg(test)]
mod tests;

use chrono::SecondsFormat;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::detect::{Finding, Severity};
use crate::topology::model::Kind;
use crate::topology::{Network, Subnet, Vpc};

/// Evidence lists this many ids; the number says how many there are.
const MOST_IDS: usize = 50;

/// A check: its findings carry the id as their detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// Stable.
    pub id: &'static str,
    /// One line for a reader.
    pub title: &'static str,
}

/// A check and what it is made of.
type Run = (Check, fn(&Network) -> Vec<Problem>);

const CHECKS: [Run; 11] = [
    (layout::DEFAULT_VPC, layout::default_vpc_in_use),
    (layout::SINGLE_ZONE, layout::fewer_than_two_zones),
    (layout::PARTNERS, layout::zones_without_partners),
    (addresses::MASKS, addresses::masks),
    (addresses::FULL, addresses::nearly_full_subnets),
    (addresses::OVERLAP, addresses::overlaps),
    (addresses::ON_PREMISES, addresses::overlaps_on_premises),
    (routing::PRIVATE_PUBLIC, routing::private_routed_to_internet),
    (routing::NAT_ZONES, routing::nat_across_zones),
    (guards::ALLOW_ALL, guards::allow_all_nacls),
    (flow_logs::INCOMPLETE, flow_logs::incomplete_flow_logs),
];

/// What an audit found, and what it could not look at.
#[derive(Debug)]
pub struct Audited {
    /// Worst first.
    pub findings: Vec<Finding>,
    /// What could not be told, a sentence each.
    pub notes: Vec<String>,
}

/// Every check there is.
pub fn checks() -> impl Iterator<Item = Check> {
    CHECKS.iter().map(|(check, _)| *check)
}

/// Runs every check.
pub fn audit(network: &Network) -> Audited {
    let mut findings: Vec<Finding> = CHECKS
        .iter()
        .flat_map(|(check, run)| {
            run(network)
                .into_iter()
                .map(|problem| problem.finding(*check, network))
        })
        .collect();
    findings.sort_by(|a, b| {
        b.severity
            .cmp(&a.severity)
            .then_with(|| a.detection.cmp(&b.detection))
            .then_with(|| a.vpc_id.cmp(&b.vpc_id))
            .then_with(|| a.subnet_id.cmp(&b.subnet_id))
            .then_with(|| a.reason.cmp(&b.reason))
    });
    Audited {
        findings,
        notes: notes(network),
    }
}

/// Kinds that the topology lacks, and what can't be told without them.
fn notes(network: &Network) -> Vec<String> {
    let lacking = [
        (
            Kind::Subnets,
            "describe-subnets",
            "nothing can be told of subnets",
        ),
        (
            Kind::RouteTables,
            "describe-route-tables",
            "classes are not known, so nothing can be told of public and private subnets and of NAT gateways",
        ),
        (
            Kind::NetworkInterfaces,
            "describe-network-interfaces",
            "whether VPCs and subnets are in use is not known",
        ),
        (
            Kind::NetworkAcls,
            "describe-network-acls",
            "nothing can be told of network ACLs",
        ),
    ];
    let mut notes: Vec<String> = lacking
        .into_iter()
        .filter(|(kind, ..)| !network.knows_any(*kind))
        .map(|(kind, call, cost)| {
            format!(
                "the topology has no `{}` (`aws ec2 {call}`): {cost}",
                kind.key()
            )
        })
        .collect();
    notes.extend(flow_logs::note(network));
    notes.extend(addresses::note(network));
    notes
}

/// What a check found about one object.
#[derive(Debug, Default)]
struct Problem {
    severity: Option<Severity>,
    account_id: Option<String>,
    region: Option<String>,
    vpc_id: Option<String>,
    subnet_id: Option<String>,
    interface_id: Option<String>,
    /// The object, where the ids above do not name it.
    object: Vec<String>,
    reason: String,
    evidence: Map<String, Value>,
}

impl Problem {
    fn of_vpc(vpc: &Vpc, severity: Severity, reason: String) -> Self {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Self {
            severity: Some(severity),
            account_id: text(vpc.account_id.as_deref()),
            region: text(vpc.region.as_deref()),
            vpc_id: Some(vpc.id.to_string()),
            reason,
            ..Self::default()
        }
    }

    fn of_subnet(subnet: &Subnet, severity: Severity, reason: String) -> Self {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Self {
            severity: Some(severity),
            account_id: text(subnet.account_id.as_deref()),
            region: text(subnet.region.as_deref()),
            vpc_id: text(subnet.vpc_id.as_deref()),
            subnet_id: Some(subnet.id.to_string()),
            reason,
            ..Self::default()
        }
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.evidence.insert(key.to_owned(), value.into());
        self
    }

    /// How many ids, and the first of them.
    fn with_ids(self, key: &str, ids: &[&str]) -> Self {
        let shown: Vec<&str> = ids.iter().copied().take(MOST_IDS).collect();
        self.with(&format!("{key}s"), ids.len())
            .with(&format!("{key}_ids"), shown)
    }

    fn about(mut self, object: impl Into<String>) -> Self {
        self.object.push(object.into());
        self
    }

    fn finding(self, check: Check, network: &Network) -> Finding {
        let at = Some(network.at().to_rfc3339_opts(SecondsFormat::Secs, true));
        Finding {
            fingerprint: self.fingerprint(check),
            detection: check.id.to_owned(),
            severity: self.severity.unwrap_or(Severity::Low),
            title: check.title.to_owned(),
            first_seen: at.clone(),
            last_seen: at,
            account_id: self.account_id,
            region: self.region,
            vpc_id: self.vpc_id,
            subnet_id: self.subnet_id,
            interface_id: self.interface_id,
            src_addr: None,
            dst_addr: None,
            dst_subnet_id: None,
            dst_port: None,
            protocol: None,
            flows: None,
            packets: None,
            bytes: None,
            reason: Some(self.reason),
            evidence: self.evidence,
            expected_by: None,
            life: None,
        }
    }

    /// A hash of the check and of the object: neither severity nor words nor time change it.
    fn fingerprint(&self, check: Check) -> String {
        let mut hash = Sha256::new();
        hash.update(check.id.as_bytes());
        let ids = [&self.vpc_id, &self.subnet_id, &self.interface_id];
        let ids = ids.into_iter().map(|id| id.as_deref().unwrap_or_default());
        for part in ids.chain(self.object.iter().map(String::as_str)) {
            hash.update([0]);
            hash.update(part.as_bytes());
        }
        hash.finalize()[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// The interfaces of a VPC; `None` where the topology knows of no interfaces at all.
fn interfaces_in<'n>(network: &'n Network, vpc: &Vpc) -> Option<Vec<&'n str>> {
    network.knows_any(Kind::NetworkInterfaces).then(|| {
        network
            .interfaces()
            .iter()
            .filter(|interface| interface.vpc_id.as_deref() == Some(vpc.id.as_ref()))
            .map(|interface| interface.id.as_ref())
            .collect()
    })
}

/// The subnets of a VPC, by id.
fn subnets_in<'n>(network: &'n Network, vpc: &Vpc) -> Vec<&'n Subnet> {
    network
        .subnets()
        .iter()
        .filter(|subnet| subnet.vpc_id.as_deref() == Some(vpc.id.as_ref()))
        .collect()
}

/// An id, and the name where there is one.
fn named(id: &str, name: Option<&str>) -> String {
    match name {
        Some(name) if !name.is_empty() => format!("{id} ({name})"),
        _ => id.to_owned(),
    }
}

fn vpc_named(vpc: &Vpc) -> String {
    named(&vpc.id, vpc.name.as_deref())
}

fn subnet_named(subnet: &Subnet) -> String {
    named(&subnet.id, subnet.name.as_deref())
}

/// The first few of a list, and how many more there are.
fn listed(items: &[String]) -> String {
    const SHOWN: usize = 5;
    match items.len() {
        0 => "none".to_owned(),
        count if count <= SHOWN + 1 => items.join(", "),
        count => format!("{} and {} more", items[..SHOWN].join(", "), count - SHOWN),
    }
}

/// `1 interface`, `2 interfaces`.
fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}
