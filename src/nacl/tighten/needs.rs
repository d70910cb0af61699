//! What rules would be needed, as blocks by kind of packet, and how they are put together until they fit a quota.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::nacl::Rule;

/// Which packets a rule would be for.
pub(super) type Kind = (Option<u8>, Option<(u16, u16)>, Option<(i32, i32)>);

/// Blocks by kind, for one direction and family.
#[derive(Debug, Default, Clone)]
pub(super) struct Needs(BTreeMap<Kind, BTreeSet<IpNet>>);

impl Needs {
    pub(super) fn of(
        kinds: &BTreeMap<Kind, (BTreeSet<IpNet>, BTreeSet<IpNet>)>,
        most_blocks: usize,
        is_v6: bool,
    ) -> Self {
        let mut needs = Self::default();
        for (kind, (inside, outside)) in kinds {
            let outside = joined(outside.iter().copied());
            let blocks = match outside.len() > most_blocks {
                true => BTreeSet::from([everywhere(is_v6)]),
                false => joined(inside.iter().copied().chain(outside)),
            };
            needs.0.insert(*kind, blocks);
        }
        needs.simplify();
        needs
    }

    fn count(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// Takes out what other needs cover, and joins port ranges that touch and have the same blocks.
    fn simplify(&mut self) {
        let all = self.0.clone();
        for (kind, blocks) in &mut self.0 {
            blocks.retain(|net| {
                !all.iter().any(|(other, others)| {
                    other != kind
                        && holds(other, kind)
                        && others.iter().any(|wide| wide.contains(net))
                })
            });
        }
        self.0.retain(|_, blocks| !blocks.is_empty());
        while let Some((one, other)) = self.touching() {
            self.join(one, other);
        }
    }

    fn touching(&self) -> Option<(Kind, Kind)> {
        self.0.iter().find_map(|(one, blocks)| {
            let (protocol, Some((_, to)), None) = *one else {
                return None;
            };
            let next = self.0.iter().find(|(other, others)| {
                let (of, ports, icmp) = **other;
                let touches = ports.is_some_and(|(from, _)| to.checked_add(1) == Some(from));
                of == protocol && icmp.is_none() && touches && *others == blocks
            });
            next.map(|(other, _)| (*one, *other))
        })
    }

    /// Two needs as one: both port ranges and what lies between, for the blocks of both.
    fn join(&mut self, one: Kind, other: Kind) {
        let blocks = [one, other]
            .into_iter()
            .filter_map(|kind| self.0.remove(&kind))
            .flatten();
        let blocks = joined(blocks.collect::<Vec<_>>());
        let ports = one
            .1
            .zip(other.1)
            .map(|((a, b), (c, d))| (a.min(c), b.max(d)));
        self.0
            .entry((one.0, ports, None))
            .or_default()
            .extend(blocks);
    }

    /// Joins what costs least until it fits; says how often.
    pub(super) fn fit(&mut self, room: usize) -> usize {
        let mut joins = 0;
        while self.count() > room && self.join_cheapest() {
            joins += 1;
            self.simplify();
        }
        joins
    }

    /// Joins the two blocks of one need whose common block is smallest; where every need has one block, the two nearest port ranges of a protocol.
    fn join_cheapest(&mut self) -> bool {
        let pairs = self.0.iter().flat_map(|(kind, blocks)| {
            let next = blocks.iter().skip(1);
            blocks
                .iter()
                .zip(next)
                .map(|(one, other)| (*kind, common(one, other), *one, *other))
        });
        let cheapest = pairs.max_by_key(|(_, net, ..)| net.prefix_len());
        if let Some((kind, net, one, other)) = cheapest
            && let Some(blocks) = self.0.get_mut(&kind)
        {
            blocks.remove(&one);
            blocks.remove(&other);
            blocks.retain(|block| !net.contains(block));
            blocks.insert(net);
            return true;
        }
        let kinds: Vec<Kind> = self.0.keys().copied().collect();
        let pairs = kinds.windows(2).filter_map(|pair| {
            let ((one, Some((_, to)), None), (other, Some((from, _)), None)) = (pair[0], pair[1])
            else {
                return None;
            };
            (one == other).then(|| (from.saturating_sub(to), pair[0], pair[1]))
        });
        let Some((_, one, other)) = pairs.min() else {
            return false;
        };
        self.join(one, other);
        true
    }

    /// As allows, not numbered yet.
    pub(super) fn rules(&self) -> Vec<Rule> {
        let kinds = self.0.iter();
        kinds
            .flat_map(|((protocol, ports, icmp), blocks)| {
                blocks.iter().map(|cidr| Rule {
                    number: 0,
                    protocol: *protocol,
                    cidr: *cidr,
                    ports: ports
                        .map(|(from, to)| from..=to)
                        .filter(|ports| *ports != (0..=u16::MAX)),
                    icmp: *icmp,
                    allows: true,
                })
            })
            .collect()
    }
}

/// Whether a rule for one kind holds every packet of another.
fn holds(wide: &Kind, kind: &Kind) -> bool {
    let protocol = wide.0.is_none() || wide.0 == kind.0;
    let ports = match (wide.1, kind.1) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some((a, b)), Some((c, d))) => a <= c && d <= b,
    };
    protocol && ports && (wide.2.is_none() || wide.2 == kind.2)
}

/// Blocks without those that others hold, and halves put together.
fn joined(nets: impl IntoIterator<Item = IpNet>) -> BTreeSet<IpNet> {
    let nets: Vec<IpNet> = nets.into_iter().collect();
    IpNet::aggregate(&nets).into_iter().collect()
}

fn common(one: &IpNet, other: &IpNet) -> IpNet {
    let mut net = one.trunc();
    while !net.contains(other) {
        match net.supernet() {
            Some(wider) => net = wider,
            None => break,
        }
    }
    net
}

/// Every address of a family.
pub(super) fn everywhere(is_v6: bool) -> IpNet {
    match is_v6 {
        true => IpNet::V6(ipnet::Ipv6Net::default()),
        false => IpNet::V4(ipnet::Ipv4Net::default()),
    }
}
