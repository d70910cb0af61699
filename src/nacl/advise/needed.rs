//! Which rules accepted flows needed.

use std::collections::BTreeSet;

use crate::nacl::crossing::Crossing;
use crate::nacl::{Began, Direction, Match, Nacl, Observed, Packet, Rule};

/// The rules that accepted packets met first, or may have, and the answers to them: a log may show one half of a conversation only, and
/// the other half needs its rules all the same.
#[derive(Debug, Default)]
pub(super) struct Needed {
    /// By direction and number.
    rules: BTreeSet<(Direction, u16)>,
}

impl Needed {
    pub(super) fn of(nacl: &Nacl, crossings: &[Crossing<'_>]) -> Self {
        let mut needed = Self::default();
        for Crossing { record, packet } in crossings {
            needed.meet(nacl, packet);
            needed.meet(nacl, &answer(record, packet));
        }
        needed
    }

    fn meet(&mut self, nacl: &Nacl, packet: &Packet) {
        for rule in nacl.rules(packet.direction) {
            let matches = rule.matches(packet);
            if matches != Match::No {
                self.rules.insert((packet.direction, rule.number));
            }
            if matches == Match::Yes {
                break;
            }
        }
    }

    /// The allows that nothing needed. Flow logs do not record ICMP types, so that of rules for some nothing can be said.
    pub(super) fn unneeded_allows<'n>(
        &self,
        nacl: &'n Nacl,
    ) -> impl Iterator<Item = (Direction, &'n Rule)> {
        let of = |direction: Direction| {
            let rules = nacl.rules(direction).iter();
            rules.map(move |rule| (direction, rule))
        };
        of(Direction::Ingress)
            .chain(of(Direction::Egress))
            .filter(|(_, rule)| rule.allows && rule.icmp.is_none())
            .filter(|(direction, rule)| !self.rules.contains(&(*direction, rule.number)))
    }
}

/// The packet the other way: to the client's port where this one is a request, to the server's where it is a reply.
fn answer(record: &Observed, packet: &Packet) -> Packet {
    Packet {
        direction: packet.direction.opposite(),
        dst_port: match record.began {
            Began::Src => record.client_ports.as_ref().map(|ports| *ports.start()),
            Began::Dst => record.service_port,
            Began::Unknown => None,
        },
        ..*packet
    }
}
