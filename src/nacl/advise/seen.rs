//! What was refused at the edges of an ACL's subnets, and is not denied by the ACL: by port, and by who tried.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use chrono::NaiveDate;

use crate::nacl::{Action, Began, Direction, Nacl, Observed, Refusal, protocol_words};
use crate::topology::Family;

/// What attempts are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Knock {
    /// Into the subnets, or out of them.
    pub(super) direction: Direction,
    pub(super) protocol: u8,
    pub(super) port: u16,
    pub(super) is_v6: bool,
}

impl Knock {
    pub(super) fn words(self) -> String {
        let family = if self.is_v6 { " over IPv6" } else { "" };
        let protocol = protocol_words(Some(self.protocol));
        format!("{protocol} {}{family}", self.port)
    }

    pub(super) fn family(self) -> Family {
        if self.is_v6 { Family::V6 } else { Family::V4 }
    }
}

/// The attempts on a port that advice is about: those with one end outside.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// By the other end: the source of what comes in, the destination of what goes out.
    pub(super) strangers: BTreeMap<IpAddr, u64>,
    pub(super) days: BTreeSet<NaiveDate>,
    /// The rules that let them pass.
    pub(super) rules: BTreeSet<u16>,
    /// Who tried, of ours: of what goes out.
    pub(super) clients: Clients,
}

impl Attempts {
    pub(super) fn count(&self) -> u64 {
        self.strangers.values().sum()
    }
}

/// Attempts by machines of ours.
#[derive(Debug, Default)]
pub(super) struct Clients(BTreeMap<IpAddr, u64>);

impl Clients {
    fn add(&mut self, record: &Observed) {
        *self.0.entry(record.src).or_default() += record.flows;
    }

    fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// The one that tried most.
    pub(super) fn most(&self) -> String {
        let most = self.0.iter().max_by_key(|(_, count)| **count);
        most.map_or_else(|| "-".to_owned(), |(addr, _)| addr.to_string())
    }
}

/// What was refused.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// What advice is about.
    attempts: BTreeMap<Knock, Attempts>,
    /// Of our own machines on our own networks.
    ours: BTreeMap<Knock, Clients>,
    /// Let out here, and refused by security groups where they came in: with the subnets of these.
    afar: BTreeMap<Knock, (Clients, BTreeSet<Arc<str>>)>,
    /// Flows that the ACL denies already.
    contained: u64,
}

impl Seen {
    pub(super) fn of(nacl: &Nacl, observed: &[Observed], within: &HashSet<Arc<str>>) -> Self {
        let mut seen = Self::default();
        for record in observed {
            seen.see(nacl, record, within);
        }
        seen
    }

    fn see(&mut self, nacl: &Nacl, record: &Observed, within: &HashSet<Arc<str>>) {
        let Some(refusal) = record.refused else {
            return;
        };
        let mut edges = record.edges.iter();
        let Some(edge) = edges.find(|edge| within.contains(&edge.subnet_id)) else {
            self.see_afar(nacl, record, within);
            return;
        };
        let direction = edge.direction;
        let verdict = nacl.evaluate(&record.packet(direction));
        match refusal {
            Refusal::Nacl => self.contained += record.flows,
            Refusal::SecurityGroup if verdict.action == Action::Deny => {
                self.contained += record.flows;
            }
            Refusal::SecurityGroup => {
                let Some(knock) = Knock::of(record, direction) else {
                    return;
                };
                let (is_ours, stranger) = match direction {
                    Direction::Ingress => (record.from_ours, record.src),
                    Direction::Egress => (record.to_ours, record.dst),
                };
                if is_ours {
                    self.ours.entry(knock).or_default().add(record);
                    return;
                }
                let attempts = self.attempts.entry(knock).or_default();
                attempts.rules.insert(verdict.rule_number);
                attempts.days.insert(record.first.date_naive());
                *attempts.strangers.entry(stranger).or_default() += record.flows;
                if direction == Direction::Egress {
                    attempts.clients.add(record);
                }
            }
            Refusal::Other => {}
        }
    }

    /// What left these subnets, and another ACL let in.
    fn see_afar(&mut self, nacl: &Nacl, record: &Observed, within: &HashSet<Arc<str>>) {
        let is_from_here = record
            .from_subnet
            .as_ref()
            .is_some_and(|id| within.contains(id));
        if !is_from_here || record.refused != Some(Refusal::SecurityGroup) {
            return;
        }
        let mut edges = record.edges.iter();
        let far = edges.find(|edge| edge.direction == Direction::Ingress);
        let Some(far) = far.filter(|edge| !nacl.subnet_ids.contains(&edge.subnet_id)) else {
            return;
        };
        if let Some(knock) = Knock::of(record, Direction::Egress) {
            let (clients, subnets) = self.afar.entry(knock).or_default();
            clients.add(record);
            subnets.insert(Arc::clone(&far.subnet_id));
        }
    }

    /// What advice is about, the most attempts first.
    pub(super) fn most_first(&self) -> Vec<(Knock, &Attempts)> {
        let attempts = self.attempts.iter();
        let mut attempts: Vec<_> = attempts
            .map(|(knock, attempts)| (*knock, attempts))
            .collect();
        attempts.sort_by_key(|(_, attempts)| std::cmp::Reverse(attempts.count()));
        attempts
    }

    /// What no rule of an ACL is advised for, and why; of ports with so many attempts at least.
    pub(super) fn notes(&self, min_attempts: u64) -> Vec<String> {
        const TO_DO: &str = "stop the client, or open the security group on purpose";
        let mut notes = Vec::new();
        if self.contained > 0 {
            let count = self.contained;
            notes.push(format!(
                "{count} rejected flows are contained: this ACL denies them already"
            ));
        }
        let is_many = |clients: &Clients| clients.count() >= min_attempts;
        for (knock, clients) in self.ours.iter().filter(|(_, clients)| is_many(clients)) {
            let (count, words, most) = (clients.count(), knock.words(), clients.most());
            notes.push(match knock.direction {
                Direction::Ingress => format!(
                    "{count} attempts on {words} come from our own machines ({most} most): {TO_DO}"
                ),
                Direction::Egress => format!(
                    "{count} attempts on {words} of our own machines ({most} most) to our own networks were refused by their own security groups: \
                     {TO_DO}"
                ),
            });
        }
        for (knock, (clients, subnets)) in &self.afar {
            if is_many(clients) {
                let subnets: Vec<&str> = subnets.iter().map(AsRef::as_ref).collect();
                notes.push(format!(
                    "{} attempts on {} of machines in these subnets ({} most) left them and were refused by security groups in {}: no rule is advised, \
                     since it would keep no stranger out and hide the mistake; {TO_DO}",
                    clients.count(),
                    knock.words(),
                    clients.most(),
                    subnets.join(", ")
                ));
            }
        }
        notes
    }
}

impl Knock {
    /// `None` where it is not known who began, or there is no port.
    fn of(record: &Observed, direction: Direction) -> Option<Self> {
        let port = record.service_port?;
        (record.began == Began::Src).then_some(Self {
            direction,
            protocol: record.protocol,
            port,
            is_v6: record.src.is_ipv6(),
        })
    }
}
