//! The fewest CIDR blocks that hold all of some addresses and none of others.
//!
//! Blocks nest or are apart, so the widest clean block around each address is the best choice for it, and the distinct ones of
//! these are the fewest there can be. Each is then drawn in as far as its addresses allow, which adds the least address space.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// A block, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The block.
    pub cidr: IpNet,
    /// How many of the addresses it holds.
    pub addresses: usize,
    /// Their weights, summed.
    pub weight: u64,
}

impl Block {
    /// How many addresses the block holds beside those that it was made for: the address space that it adds.
    pub fn added(&self) -> u128 {
        let bits = self.cidr.max_prefix_len() - self.cidr.prefix_len();
        let size = 1_u128.checked_shl(u32::from(bits)).unwrap_or(u128::MAX);
        size.saturating_sub(self.addresses as u128)
    }
}

/// The fewest blocks, none wider than `widest4` or `widest6` bits, that hold every address with a weight and none of `avoid`. An
/// address that is in both is left out.
pub fn aggregate(
    addresses: &BTreeMap<IpAddr, u64>,
    avoid: &[IpAddr],
    widest4: u8,
    widest6: u8,
) -> Vec<Block> {
    let mut avoided: Vec<IpAddr> = avoid.to_vec();
    avoided.sort_unstable();
    avoided.dedup();
    let mut blocks: Vec<(IpNet, Block)> = Vec::new();
    // In order of addresses, those of one block follow one another.
    for (address, weight) in addresses {
        if avoided.binary_search(address).is_ok() {
            continue;
        }
        if let Some((widest, block)) = blocks.last_mut()
            && widest.contains(address)
        {
            block.addresses += 1;
            block.weight += weight;
            block.cidr = around(&block.cidr, *address);
            continue;
        }
        let block = Block {
            cidr: IpNet::from(*address),
            addresses: 1,
            weight: *weight,
        };
        blocks.push((clean(*address, &avoided, widest4, widest6), block));
    }
    blocks.into_iter().map(|(_, block)| block).collect()
}

/// The widest block around an address that holds none of the avoided ones, which are sorted: the nearest on each side decide.
fn clean(address: IpAddr, avoided: &[IpAddr], widest4: u8, widest6: u8) -> IpNet {
    let widest = if address.is_ipv4() { widest4 } else { widest6 };
    let at = avoided.partition_point(|avoid| *avoid < address);
    let before = at.checked_sub(1).map(|before| avoided[before]);
    let neighbours = before.into_iter().chain(avoided.get(at).copied());
    let bits = neighbours
        .filter(|avoid| avoid.is_ipv4() == address.is_ipv4())
        .map(|avoid| common_bits(address, avoid) + 1)
        .fold(widest, u8::max);
    block(address, bits)
}

/// The smallest block that holds a block and an address.
fn around(net: &IpNet, address: IpAddr) -> IpNet {
    let bits = common_bits(net.network(), address).min(net.prefix_len());
    block(address, bits)
}

pub(super) fn block(address: IpAddr, bits: u8) -> IpNet {
    let whole = IpNet::from(address);
    let bits = bits.min(whole.max_prefix_len());
    IpNet::new(address, bits).map_or(whole, |net| net.trunc())
}

fn common_bits(one: IpAddr, other: IpAddr) -> u8 {
    let bits = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (number4(one) ^ number4(other)).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (number6(one) ^ number6(other)).leading_zeros(),
        _ => 0,
    };
    u8::try_from(bits).unwrap_or(0)
}

fn number4(address: Ipv4Addr) -> u32 {
    address.into()
}

fn number6(address: Ipv6Addr) -> u128 {
    address.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An address of a universe of 32.
    fn address(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
    }

    /// The fewest blocks by trying: every address alone, halves that are clean put together again and again.
    fn by_trying(sources: u32, avoid: u32, from: u32, size: u32) -> usize {
        let within = |set: u32| (from..from + size).any(|bit| set & (1 << bit) != 0);
        match (within(sources & !avoid), within(avoid)) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => {
                by_trying(sources, avoid, from, size / 2)
                    + by_trying(sources, avoid, from + size / 2, size / 2)
            }
        }
    }

    proptest! {
        #[test]
        fn every_source_is_covered_nobody_else_is_hit_and_there_are_no_fewer(sources: u32, avoid: u32, sparse: bool) {
            let sources = if sparse { sources & sources.rotate_left(7) & sources.rotate_left(13) } else { sources };
            let has = |set: u32| (0..32_u8).filter(move |bit| set & (1 << bit) != 0);
            let asked: BTreeMap<IpAddr, u64> = has(sources).map(|last| (address(last), 1)).collect();
            let avoided: Vec<IpAddr> = has(avoid).map(address).collect();
            let blocks = aggregate(&asked, &avoided, 27, 64);
            for source in asked.keys().filter(|source| !avoided.contains(source)) {
                prop_assert_eq!(blocks.iter().filter(|block| block.cidr.contains(source)).count(), 1);
            }
            for avoid in &avoided {
                prop_assert!(!blocks.iter().any(|block| block.cidr.contains(avoid)));
            }
            prop_assert_eq!(blocks.len(), by_trying(sources, avoid, 0, 32));
            for block in &blocks {
                let inside = asked.keys().filter(|source| block.cidr.contains(*source)).count();
                prop_assert_eq!(block.addresses, inside);
                prop_assert_eq!(block.weight, inside as u64);
            }
        }
    }

    #[test]
    fn a_block_is_no_wider_than_its_addresses_and_says_what_it_adds() {
        let asked = [(address(129), 3), (address(130), 4)].into_iter().collect();
        let blocks = aggregate(&asked, &[], 24, 64);
        assert_eq!(blocks.len(), 1);
        assert_eq!(blocks[0].cidr.to_string(), "192.0.2.128/30");
        assert_eq!((blocks[0].weight, blocks[0].added()), (7, 2));
    }

    #[test]
    fn families_stay_apart() {
        let asked = [
            (address(1), 1),
            ("2001:db8::1".parse().unwrap(), 1),
            ("2001:db8::2".parse().unwrap(), 1),
        ];
        let blocks = aggregate(
            &asked.into_iter().collect(),
            &["2001:db8::".parse().unwrap()],
            24,
            64,
        );
        let cidrs: Vec<String> = blocks.iter().map(|block| block.cidr.to_string()).collect();
        assert_eq!(
            cidrs,
            ["192.0.2.1/32", "2001:db8::1/128", "2001:db8::2/128"]
        );
    }
}
