//! Who recorded a flow: the interface, else the subnet, else the VPC, that everything else is seen from.

use std::net::IpAddr;

use super::network::{Interface, NatGateway, Network, Subnet, Vpc};

/// Who recorded a flow, as far as the topology knows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Vantage<'n> {
    /// The interface.
    pub interface: Option<&'n Interface>,
    /// The subnet.
    pub subnet: Option<&'n Subnet>,
    /// The VPC.
    pub vpc: Option<&'n Vpc>,
    /// A regional NAT gateway, which has neither interface nor subnet.
    pub nat_gateway: Option<&'n NatGateway>,
    /// The address on the recording side, where the caller knows it: it is in the VPC even if the topology isn't known.
    pub local_addr: Option<IpAddr>,
}

impl Network {
    /// Who recorded a flow: by interface, else by subnet, else by VPC. `resource_id` names a regional NAT gateway.
    /// `local_addr` is the address on the recording side; it finds the interface where the record does not name one.
    pub fn vantage(
        &self,
        interface_id: Option<&str>,
        subnet_id: Option<&str>,
        vpc_id: Option<&str>,
        resource_id: Option<&str>,
        local_addr: Option<IpAddr>,
    ) -> Vantage<'_> {
        if let Some(interface) = interface_id.and_then(|id| self.interface(id)) {
            return Vantage {
                local_addr,
                ..self.vantage_of(interface)
            };
        }
        let nat_gateway = resource_id
            .and_then(|id| self.nat_gateway(id))
            .filter(|nat| nat.is_regional);
        let subnet = subnet_id.and_then(|id| self.subnet(id));
        let vpc = subnet
            .and_then(|subnet| subnet.vpc)
            .map(|vpc| &self.vpcs[vpc])
            .or_else(|| vpc_id.and_then(|id| self.vpc(id)))
            .or_else(|| {
                nat_gateway
                    .and_then(|nat| nat.vpc)
                    .map(|vpc| &self.vpcs[vpc])
            });
        // An interface that is named but not in the topology is gone; who has its address now was not there then.
        let by_address = || {
            vpc?.addresses
                .get(&local_addr?)
                .map(|&interface| &self.interfaces[interface])
        };
        let interface = if interface_id.is_none() && nat_gateway.is_none() {
            by_address()
        } else {
            None
        };
        let subnet = subnet
            .or_else(|| interface?.subnet.map(|subnet| &self.subnets[subnet]))
            .or_else(|| {
                if nat_gateway.is_some() {
                    None
                } else {
                    self.subnet_in(vpc?, local_addr?)
                }
            });
        Vantage {
            interface,
            subnet,
            vpc,
            nat_gateway,
            local_addr,
        }
    }

    /// The last resort for records that name neither interface, subnet nor VPC that the topology knows: the one
    /// interface, else the one subnet, else the one VPC that the addresses can belong to.
    ///
    /// The interface is the one that has the address in this topology. A record that names another keeps its own name.
    pub fn vantage_by_address(
        &self,
        account_id: Option<&str>,
        src: IpAddr,
        dst: IpAddr,
    ) -> Option<Vantage<'_>> {
        let mut found: Option<Vantage<'_>> = None;
        for addr in [src, dst] {
            let interfaces = self
                .by_address
                .get(&addr)
                .into_iter()
                .flatten()
                .map(|&index| &self.interfaces[index]);
            for interface in
                interfaces.filter(|interface| is_of(interface.account_id.as_deref(), account_id))
            {
                found = Some(common(found, self.vantage_of(interface))?);
            }
        }
        if found.is_some() {
            return found;
        }
        // A regional NAT gateway has no interface; what it sends and takes in outside has its public address.
        let mut regional = self.nats.iter().filter(|nat| {
            let is_own = |addr| nat.public_addresses.contains(addr);
            nat.is_regional && [src, dst].iter().any(is_own)
        });
        if let (Some(nat), None) = (regional.next(), regional.next()) {
            return Some(Vantage {
                nat_gateway: Some(nat),
                vpc: nat.vpc.map(|vpc| &self.vpcs[vpc]),
                ..Vantage::default()
            });
        }
        for addr in [src, dst] {
            for subnet in self
                .subnets
                .iter()
                .filter(|subnet| is_of(subnet.account_id.as_deref(), account_id))
            {
                let holds = subnet
                    .cidr_block
                    .iter()
                    .chain(&subnet.ipv6_cidr_blocks)
                    .any(|net| net.contains(&addr));
                if holds {
                    let vpc = subnet.vpc.map(|vpc| &self.vpcs[vpc]);
                    found = Some(common(
                        found,
                        Vantage {
                            subnet: Some(subnet),
                            vpc,
                            ..Vantage::default()
                        },
                    )?);
                }
            }
        }
        found
    }

    fn vantage_of<'n>(&'n self, interface: &'n Interface) -> Vantage<'n> {
        let subnet = interface.subnet.map(|subnet| &self.subnets[subnet]);
        let vpc = interface
            .vpc
            .or(subnet.and_then(|subnet| subnet.vpc))
            .map(|vpc| &self.vpcs[vpc]);
        Vantage {
            interface: Some(interface),
            subnet,
            vpc,
            ..Vantage::default()
        }
    }
}

fn is_of(owner: Option<&str>, account_id: Option<&str>) -> bool {
    match (owner, account_id) {
        (Some(owner), Some(account_id)) => owner == account_id,
        _ => true,
    }
}

/// What two candidates have in common; `None` if not even the VPC.
fn common<'n>(one: Option<Vantage<'n>>, other: Vantage<'n>) -> Option<Vantage<'n>> {
    fn same<'n, T>(one: Option<&'n T>, other: Option<&'n T>) -> Option<&'n T> {
        one.filter(|&one| other.is_some_and(|other| std::ptr::eq(one, other)))
    }
    let Some(one) = one else { return Some(other) };
    let vpc = same(one.vpc, other.vpc)?;
    Some(Vantage {
        interface: same(one.interface, other.interface),
        subnet: same(one.subnet, other.subnet),
        vpc: Some(vpc),
        ..Vantage::default()
    })
}
