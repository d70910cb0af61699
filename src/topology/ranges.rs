//! What holds for ranges of addresses, found by halving: CIDRs lie within each other or apart.

use std::net::IpAddr;

use ipnet::IpNet;

/// Values of ranges of addresses, both families on one line: IPv4 as it is mapped into IPv6.
#[derive(Debug, Default)]
pub(super) struct Ranges<V> {
    /// Where each stretch begins, and its value.
    stretches: Vec<(u128, V)>,
}

fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped().to_bits(),
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

impl<V: Copy + Default> Ranges<V> {
    /// Where a CIDR lies within others, `join` makes one value of what is around it and its own. Of two that are the same the later lies
    /// within the earlier.
    pub(super) fn new(nets: &[(IpNet, V)], join: impl Fn(V, V) -> V) -> Self {
        let ends: Vec<(u128, u128, V)> = {
            let mut ends: Vec<_> = nets
                .iter()
                .map(|(net, value)| (number(net.network()), number(net.broadcast()), *value))
                .collect();
            // The wider of two that begin at one place first: CIDRs lie within each other or apart.
            ends.sort_by_key(|(first, last, _)| (*first, u128::MAX - last));
            ends
        };
        let mut stretches = Vec::new();
        // The CIDRs that the place is within, the innermost last, each with what all around it say, too.
        let mut around: Vec<(u128, V)> = Vec::new();
        let close = |around: &mut Vec<(u128, V)>, stretches: &mut Vec<(u128, V)>, until: u128| {
            while let Some((last, _)) = around.last()
                && *last < until
            {
                let next = last.checked_add(1);
                around.pop();
                if let Some(next) = next {
                    let value = around.last().map(|(_, value)| *value);
                    stretches.push((next, value.unwrap_or_default()));
                }
            }
        };
        for (first, last, value) in ends {
            close(&mut around, &mut stretches, first);
            let value = match around.last() {
                Some((_, outer)) => join(*outer, value),
                None => value,
            };
            around.push((last, value));
            stretches.push((first, value));
        }
        close(&mut around, &mut stretches, u128::MAX);
        // Of several at one place the last holds.
        stretches.reverse();
        stretches.dedup_by_key(|(first, _)| *first);
        stretches.reverse();
        Self { stretches }
    }

    /// The value at an address, the default outside of all ranges.
    pub(super) fn get(&self, addr: IpAddr) -> V {
        let after = self
            .stretches
            .partition_point(|(first, _)| *first <= number(addr));
        let stretch = after.checked_sub(1).map(|at| self.stretches[at].1);
        stretch.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_know_what_a_search_knows(
            nets in prop::collection::vec((any::<u8>(), 20_u8..=32, 1_u32..8), 0..12),
            addr: u8,
        ) {
            let nets: Vec<(IpNet, u32)> = nets
                .into_iter()
                .map(|(host, prefix, bits)| {
                    let net = IpNet::new(IpAddr::from([10, 0, 0, host]), prefix).unwrap().trunc();
                    (net, bits)
                })
                .collect();
            let addr = IpAddr::from([10, 0, 0, addr]);
            let expected = nets
                .iter()
                .filter(|(net, _)| net.contains(&addr))
                .fold(0, |all, (_, bits)| all | bits);
            prop_assert_eq!(Ranges::new(&nets, |a, b| a | b).get(addr), expected);
        }
    }
}
