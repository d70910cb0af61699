//! What a scan for rejected records reads beside them: the other records of their conversations, which say who opened it, what is late
//! and what counts. Those are few of many, and are found by ports and addresses before anything else of a record is read.

use std::sync::{Arc, Mutex, PoisonError};

use super::conversation::is_open;
use super::flow::{Address, Flow, NONE, Pool, Text, socket};
use super::hash::{self, Set};
use super::read::Reader;
use crate::topology::{History, InterfaceKind};

/// Bits for pairs of ports, as a power of two: they fit into a second-level cache.
const PAIRS: usize = 1 << 20;

/// What records are looked for.
#[derive(Debug)]
pub(super) struct Company {
    /// Which pairs of ports the conversations have, by hash.
    pairs: Vec<u64>,
    /// The conversations, by hash, and which addresses have some, a bit each.
    talks: Set<u64>,
    talkers: Vec<u64>,
    /// Ends whose ports do not tell who opened it: how many conversations they have does. And ends of which a load balancer hides the other.
    ends: Set<u64>,
    end_ports: Set<i32>,
    /// Interfaces that the topology does not know: what they are all of their records tell.
    interfaces: Set<Text>,
}

fn pair(src_port: i32, dst_port: i32) -> usize {
    let (one, other) = (src_port.min(dst_port), src_port.max(dst_port));
    let ports = u64::from(one.cast_unsigned()) << 32 | u64::from(other.cast_unsigned());
    usize::try_from(hash::mix(hash::seed(), ports) >> 20).unwrap_or(0) % PAIRS
}

fn talk(src: u64, dst: u64) -> u64 {
    hash::mix(hash::mix(hash::seed(), src.min(dst)), src.max(dst))
}

impl Company {
    fn nobody() -> Self {
        Self {
            pairs: vec![0; PAIRS / 64],
            talks: Set::default(),
            talkers: Vec::new(),
            ends: Set::default(),
            end_ports: Set::default(),
            interfaces: Set::default(),
        }
    }

    /// The company of the ends whose ports do not tell who opened a connection, and of those that talk to `balancers`; `None` if there are
    /// no such ends.
    pub(super) fn of_open(readers: &[Reader], balancers: &Set<Address>) -> Option<Self> {
        let mut company = Self::nobody();
        for flow in flows(readers) {
            company.add_open(flow);
            let ((src, dst), ports) = (flow.sockets(), flow.ports());
            let ends = [(flow.src, dst, ports.1), (flow.dst, src, ports.0)];
            for (_, far, port) in ends.into_iter().filter(|(own, ..)| balancers.contains(own)) {
                company.ends.insert(far);
                company.end_ports.insert(port);
            }
        }
        (!company.ends.is_empty()).then_some(company)
    }

    /// The company of the rejected records that readers have; `None` where only all records can tell.
    pub(super) fn of(
        readers: &[&[Reader]],
        pool: &Arc<Mutex<Pool>>,
        history: &History,
    ) -> Option<Self> {
        let mut company = Self::nobody();
        let pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
        // Of each recorder, the NAT gateway's interface that it is.
        let mut gateways = Vec::with_capacity(pool.recorders.values.len());
        for ids in &pool.recorders.values {
            let id = pool.texts.get(ids.interface_id)?;
            let mut known = history
                .networks()
                .filter_map(|network| network.interface(id))
                .peekable();
            if known.peek().is_none() {
                company.interfaces.insert(ids.interface_id);
            }
            gateways.push(known.find(|interface| {
                matches!(
                    interface.kind(),
                    InterfaceKind::Nat | InterfaceKind::RegionalNat
                )
            }));
        }
        for flow in readers.iter().flat_map(|readers| flows(readers)) {
            // What a gateway is refused on its way out is told apart by the records of its clients, under other addresses.
            if let Some(gateway) = gateways[flow.recorder as usize]
                && pool
                    .addresses
                    .get(flow.src)
                    .is_some_and(|src| gateway.owns(src))
            {
                return None;
            }
            company.add(flow);
        }
        drop(pool);
        Some(company)
    }

    fn add(&mut self, flow: &Flow) {
        let (src, dst) = flow.sockets();
        if self.talks.insert(talk(src, dst)) {
            self.add_talker(flow.src);
            self.add_talker(flow.dst);
        }
        let (src_port, dst_port) = flow.ports();
        let pair = pair(src_port, dst_port);
        self.pairs[pair / 64] |= 1 << (pair % 64);
        self.add_open(flow);
    }

    fn add_talker(&mut self, address: Address) {
        if address != NONE {
            let word = address as usize / 64;
            self.talkers.resize(self.talkers.len().max(word + 1), 0);
            self.talkers[word] |= 1 << (address % 64);
        }
    }

    /// Whether an address has a conversation. Of no address that is not known.
    fn is_talker(&self, address: Address) -> bool {
        let word = self.talkers.get(address as usize / 64);
        address == NONE || word.is_some_and(|word| word >> (address % 64) & 1 == 1)
    }

    fn add_open(&mut self, flow: &Flow) {
        if is_open(flow) {
            self.ends.extend(<[u64; 2]>::from(flow.sockets()));
            self.end_ports.extend(<[i32; 2]>::from(flow.ports()));
        }
    }

    /// Whether a record with such ports can be one of the company.
    pub(super) fn may_be(&self, src_port: i32, dst_port: i32) -> bool {
        let pair = pair(src_port, dst_port);
        self.pairs[pair / 64] & 1 << (pair % 64) != 0
            || !self.end_ports.is_empty()
                && (self.end_ports.contains(&src_port) || self.end_ports.contains(&dst_port))
    }

    /// Whether a record between such addresses and ports is one of the company.
    pub(super) fn is(
        &self,
        (src_addr, src_port): (Address, i32),
        (dst_addr, dst_port): (Address, i32),
    ) -> bool {
        let (src, dst) = (socket(src_addr, src_port), socket(dst_addr, dst_port));
        self.is_talker(src_addr) && self.is_talker(dst_addr) && self.talks.contains(&talk(src, dst))
            || !self.ends.is_empty() && (self.ends.contains(&src) || self.ends.contains(&dst))
    }

    /// Whether all records of some interface are of the company.
    pub(super) fn has_interfaces(&self) -> bool {
        !self.interfaces.is_empty()
    }

    /// Whether all records of an interface are.
    pub(super) fn has_interface(&self, interface: Text) -> bool {
        self.interfaces.contains(&interface)
    }
}

fn flows(readers: &[Reader]) -> impl Iterator<Item = &Flow> {
    let buckets = readers.iter().flat_map(|reader| &reader.buckets);
    buckets.flat_map(|bucket| bucket.chunks.iter().flatten())
}
