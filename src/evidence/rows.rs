//! Rows of the statement as groups of records, each with the edges that its packets cross.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};

use crate::nacl::{Began, Direction, Edge, Observed, Refusal};
use crate::session::Row;

/// The groups of a batch; a row without a protocol or addresses is none.
pub(super) fn read(batch: &RecordBatch) -> Vec<Observed> {
    let mut subnets = HashMap::new();
    (0..batch.num_rows())
        .filter_map(|row| Row { batch, row }.observed(&mut subnets))
        .collect()
}

impl<'b> Row<'b> {
    fn port(&self, column: usize) -> Option<u16> {
        u16::try_from(self.integer(column)?).ok()
    }

    fn count(&self, column: usize) -> u64 {
        u64::try_from(self.integer(column).unwrap_or(0)).unwrap_or(0)
    }

    fn observed(&self, subnets: &mut HashMap<&'b str, Arc<str>>) -> Option<Observed> {
        let is_accepted = match self.text(0)? {
            "ACCEPT" => true,
            "REJECT" => false,
            _ => return None,
        };
        let counted = self.batch.column(1).as_boolean_opt()?.value(self.row);
        let leg = self.text(2);
        let own = self.text(3);
        let direction = match self.text(4) {
            Some("ingress") => Some(Direction::Ingress),
            Some("egress") => Some(Direction::Egress),
            _ => None,
        };
        let (src_subnet, dst_subnet) = (self.text(5), self.text(6));
        let src: IpAddr = self.text(7)?.parse().ok()?;
        let dst: IpAddr = self.text(8)?.parse().ok()?;
        let protocol = u8::try_from(self.integer(9)?).ok()?;
        let began = match self.text(10) {
            Some("src") => Began::Src,
            Some("dst") => Began::Dst,
            _ => Began::Unknown,
        };
        let has_ports = matches!(protocol, 6 | 17);
        let service_port = self.port(11).filter(|_| has_ports);
        let bucket = self.port(13).filter(|_| has_ports);
        let dst_port = match began {
            Began::Src => service_port,
            Began::Dst => bucket,
            Began::Unknown => self.port(12).filter(|_| has_ports),
        };
        let refused = (!is_accepted).then(|| match self.text(14) {
            Some("security_group") => Refusal::SecurityGroup,
            Some(by) if by == "both" || by.starts_with("nacl") => Refusal::Nacl,
            _ => Refusal::Other,
        });
        let is_ours =
            |scope: Option<&str>| matches!(scope, Some("vpc" | "peer" | "transit" | "on_prem"));
        // The sender's and the receiver's.
        let mut edges: Vec<Edge> = Vec::with_capacity(2);
        let mut cross =
            |subnet: Option<&'b str>, far: Option<&str>, direction: Option<Direction>| {
                // What stays in a subnet crosses nothing.
                let Some((subnet, direction)) =
                    subnet.filter(|subnet| far != Some(*subnet)).zip(direction)
                else {
                    return;
                };
                let subnet_id = subnets.entry(subnet).or_insert_with(|| subnet.into());
                let edge = Edge {
                    subnet_id: Arc::clone(subnet_id),
                    direction,
                };
                if !edges.contains(&edge) {
                    edges.push(edge);
                }
            };
        let far = match direction {
            Some(Direction::Egress) => dst_subnet,
            _ => src_subnet,
        };
        cross(own, far, direction);
        if counted && is_accepted {
            cross(src_subnet, dst_subnet, Some(Direction::Egress));
            cross(dst_subnet, src_subnet, Some(Direction::Ingress));
        }
        let conversation = match began {
            _ if !is_accepted => None,
            Began::Unknown => None,
            Began::Src => Some((src_subnet, src, dst_subnet, dst)),
            Began::Dst => Some((dst_subnet, dst, src_subnet, src)),
        };
        let conversation = conversation.map(|ends| {
            let place = (!counted).then_some((own, leg));
            let mut hasher = DefaultHasher::new();
            (place, ends, protocol, service_port, bucket).hash(&mut hasher);
            hasher.finish()
        });
        Some(Observed {
            edges,
            src,
            dst,
            protocol,
            dst_port,
            service_port,
            client_ports: self.port(18).zip(self.port(19)).map(|(from, to)| from..=to),
            began,
            refused,
            from_ours: is_ours(self.text(15)),
            to_ours: is_ours(self.text(22)),
            from_subnet: src_subnet
                .map(|id| Arc::clone(subnets.entry(id).or_insert_with(|| id.into()))),
            is_absorbed: is_accepted
                && counted
                && leg == Some("nat_outside")
                && direction == Some(Direction::Ingress)
                && began == Began::Src,
            conversation,
            flows: self.count(16),
            bytes: self.count(17),
            first: self.time(20).unwrap_or_default(),
            last: self.time(21).unwrap_or_default(),
        })
    }
}
