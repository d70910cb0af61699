//! Where the two ends of a flow are: the one that is ours, and what the other is to it.

use std::net::IpAddr;
use std::sync::Arc;

use super::{EndWords, Looked, WalkError};
use crate::topology::{Family, Interface, Network, Scope, Subnet, Vantage, Vpc};

/// Finds both ends: the one that is ours, and what the other is to it.
pub(super) fn ends<'n>(
    network: &'n Network,
    looked: &Looked<'_>,
) -> Result<(Found<'n>, Found<'n>), WalkError> {
    let (from, to) = (looked.from, looked.to);
    let (vantage, local) = vantage(network, looked)?;
    let local_end = Found::local(network, vantage, local);
    let other = if local == from { to } else { from };
    let endpoint = network.resolve(&vantage, other);
    let owner = network
        .owner_of_public(other)
        .filter(|_| endpoint.interface.is_none());
    let other_end = match owner.filter(|owner| owner.vpc_id == local_end.vpc_id()) {
        Some(owner) => Found::of_interface(network, owner, other),
        None => Found {
            addr: other,
            public: None,
            subnet: endpoint.subnet,
            interface: endpoint.interface,
            vpc: endpoint.vpc,
            scope: endpoint.scope,
        },
    };
    Ok(match local == from {
        true => (local_end, other_end),
        false => (other_end, local_end),
    })
}

/// An end of a flow in the topology.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'n> {
    pub(super) addr: IpAddr,
    /// The public address by which it was named.
    public: Option<IpAddr>,
    pub(super) subnet: Option<&'n Subnet>,
    interface: Option<&'n Interface>,
    vpc: Option<&'n Vpc>,
    scope: Scope,
}

impl<'n> Found<'n> {
    fn vpc_id(&self) -> Option<Arc<str>> {
        self.vpc.map(|vpc| Arc::clone(&vpc.id))
    }

    fn local(network: &'n Network, vantage: Vantage<'n>, addr: IpAddr) -> Self {
        if let Some(owner) = network.owner_of_public(addr)
            && !owner.addresses.contains(&addr)
        {
            return Self::of_interface(network, owner, addr);
        }
        Self {
            addr,
            public: None,
            subnet: vantage.subnet,
            interface: vantage.interface,
            vpc: vantage.vpc,
            scope: Scope::Vpc,
        }
    }

    /// An interface, named by its public address: within the VPC packets carry the private one.
    fn of_interface(network: &'n Network, interface: &'n Interface, public: IpAddr) -> Self {
        let vantage = network.vantage(Some(&interface.id), None, None, None, None);
        let family = Family::of(public);
        let mut own = interface.addresses.iter();
        let private = own.find(|addr| Family::of(**addr) == family).copied();
        Self {
            addr: private.unwrap_or(public),
            public: private.filter(|private| *private != public).map(|_| public),
            subnet: vantage.subnet,
            interface: Some(interface),
            vpc: vantage.vpc,
            scope: Scope::Vpc,
        }
    }

    pub(super) fn words(&self) -> EndWords {
        let mut words = match (self.interface, self.subnet) {
            (Some(interface), Some(subnet)) => format!("{} in {}", interface.id, named(subnet)),
            (Some(interface), None) => interface.id.to_string(),
            (None, Some(subnet)) => format!("an address of {}", named(subnet)),
            (None, None) => match self.scope {
                Scope::Vpc => "in no subnet of the VPC".to_owned(),
                Scope::Peer => "in a peered VPC".to_owned(),
                Scope::Transit => "over a transit gateway".to_owned(),
                Scope::OnPrem => "on premises".to_owned(),
                Scope::AwsService => "an AWS service".to_owned(),
                Scope::Internet => "the internet".to_owned(),
                Scope::Unrouted => "a private address that no route leads to".to_owned(),
                Scope::Special => "a special address".to_owned(),
            },
        };
        if let Some(public) = self.public {
            words.push_str(&format!(", named by its public address {public}"));
        }
        EndWords {
            addr: self.addr.to_string(),
            words,
            subnet_id: self.subnet.map(|subnet| subnet.id.to_string()),
            vpc_id: self.vpc.map(|vpc| vpc.id.to_string()),
        }
    }
}

fn named(subnet: &Subnet) -> String {
    match subnet.name.as_deref() {
        Some(name) => format!("{} ({name})", subnet.id),
        None => subnet.id.to_string(),
    }
}

/// Where the flow is seen from, and which of its ends is there.
fn vantage<'n>(
    network: &'n Network,
    looked: &Looked<'_>,
) -> Result<(Vantage<'n>, IpAddr), WalkError> {
    let (from, to) = (looked.from, looked.to);
    let unknown = |flag, id: &str, what| WalkError::Unknown {
        flag,
        id: id.to_owned(),
        what,
    };
    let not_there = |place: &str| WalkError::NotThere {
        from,
        to,
        place: place.to_owned(),
    };
    let first_in =
        |holds: &dyn Fn(IpAddr) -> bool| [from, to].into_iter().find(|addr| holds(*addr));
    if let Some(id) = looked.interface_id {
        let interface = network
            .interface(id)
            .ok_or_else(|| unknown("--interface", id, "interface"))?;
        let local = first_in(&|addr| interface.owns(addr)).ok_or_else(|| not_there(id))?;
        return Ok((
            network.vantage(Some(id), None, None, None, Some(local)),
            local,
        ));
    }
    if let Some(id) = looked.subnet_id {
        let subnet = network
            .subnet(id)
            .ok_or_else(|| unknown("--subnet", id, "subnet"))?;
        let holds = |addr: IpAddr| {
            let cidrs = subnet.cidr_block.iter().chain(&subnet.ipv6_cidr_blocks);
            cidrs.into_iter().any(|net| net.contains(&addr))
        };
        let local = first_in(&holds).ok_or_else(|| not_there(id))?;
        let vpc_id = subnet.vpc_id.as_deref();
        return Ok((
            network.vantage(None, Some(id), vpc_id, None, Some(local)),
            local,
        ));
    }
    if let Some(id) = looked.vpc_id {
        let vpc = network.vpc(id).ok_or_else(|| unknown("--vpc", id, "VPC"))?;
        let local = first_in(&|addr| vpc.contains(addr)).ok_or_else(|| not_there(id))?;
        return Ok((
            network.vantage(None, None, Some(id), None, Some(local)),
            local,
        ));
    }
    for addr in [from, to] {
        if let Some(owner) = network.owner_of_public(addr) {
            return Ok((
                network.vantage(Some(&owner.id), None, None, None, Some(addr)),
                addr,
            ));
        }
        let vpcs: Vec<&Vpc> = network
            .vpcs()
            .iter()
            .filter(|vpc| vpc.contains(addr))
            .collect();
        match vpcs[..] {
            [] => {}
            [vpc] => {
                let vantage = network.vantage(None, None, Some(&vpc.id), None, Some(addr));
                return Ok((vantage, addr));
            }
            _ => {
                return Err(WalkError::Ambiguous {
                    addr,
                    vpcs: vpcs.iter().map(|vpc| vpc.id.to_string()).collect(),
                });
            }
        }
    }
    Err(WalkError::Nowhere { from, to })
}
