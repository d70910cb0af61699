//! Records at the edges of an ACL's subnets.

use std::collections::HashSet;

use super::{Nacl, Observed, Packet};

/// A record where it crosses an edge of the subnets of an ACL.
pub(super) struct Crossing<'o> {
    pub(super) record: &'o Observed,
    /// What the ACL sees there.
    pub(super) packet: Packet,
}

/// Where records cross the edges of an ACL's subnets: found once, since there are millions of records and whole lists of subnets.
pub(super) fn crossings<'o>(
    nacl: &Nacl,
    records: impl Iterator<Item = &'o Observed>,
) -> Vec<Crossing<'o>> {
    let own: HashSet<&str> = nacl.subnet_ids.iter().map(AsRef::as_ref).collect();
    let crossings = records.flat_map(|record| {
        let edges = record.edges.iter();
        let own = edges.filter(|edge| own.contains(edge.subnet_id.as_ref()));
        own.map(move |edge| Crossing {
            record,
            packet: record.packet(edge.direction),
        })
    });
    crossings.collect()
}

/// The same of accepted records alone.
pub(super) fn accepted<'o>(nacl: &Nacl, records: &'o [Observed]) -> Vec<Crossing<'o>> {
    crossings(
        nacl,
        records.iter().filter(|record| record.refused.is_none()),
    )
}
