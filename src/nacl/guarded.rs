//! The network ACLs of a network, and which of them guards each subnet.

use std::collections::HashMap;
use std::sync::Arc;

use super::Nacl;
use crate::topology::Network;

/// The ACLs of a network, by the subnets that they guard.
#[derive(Debug, Clone, Default)]
pub struct Guarded {
    nacls: Vec<Nacl>,
    of_subnet: HashMap<Arc<str>, usize>,
}

impl Guarded {
    /// Of a network.
    pub fn of(network: &Network) -> Self {
        let nacls: Vec<Nacl> = network
            .resources()
            .network_acls
            .iter()
            .map(|record| Nacl::from_record(record))
            .collect();
        let of_subnet = network.subnets().iter().filter_map(|subnet| {
            let id = subnet.nacl_id.as_deref()?;
            let at = nacls.iter().position(|nacl| nacl.id.as_ref() == id)?;
            Some((Arc::clone(&subnet.id), at))
        });
        let of_subnet: HashMap<Arc<str>, usize> = of_subnet.collect();
        let mut guarded = Self { nacls, of_subnet };
        // A subnet that nothing associates has the VPC's default ACL.
        for nacl in &mut guarded.nacls {
            nacl.subnet_ids.clear();
        }
        let mut pairs: Vec<(Arc<str>, usize)> = guarded
            .of_subnet
            .iter()
            .map(|(id, at)| (Arc::clone(id), *at))
            .collect();
        pairs.sort();
        for (id, at) in pairs {
            guarded.nacls[at].subnet_ids.push(id);
        }
        guarded
    }

    /// Every ACL.
    pub fn nacls(&self) -> &[Nacl] {
        &self.nacls
    }

    /// An ACL by id.
    pub fn nacl(&self, id: &str) -> Option<&Nacl> {
        self.nacls.iter().find(|nacl| nacl.id.as_ref() == id)
    }

    /// The ACL of a subnet.
    pub fn of_subnet(&self, id: &str) -> Option<&Nacl> {
        self.of_subnet.get(id).map(|at| &self.nacls[*at])
    }

    /// The same with a further ACL, which guards no subnet yet.
    #[must_use]
    pub fn with_created(mut self, nacl: Nacl) -> Self {
        self.nacls.push(Nacl {
            subnet_ids: Vec::new(),
            ..nacl
        });
        self
    }

    /// The same with a subnet under another ACL; a subnet or an ACL that is not there changes nothing.
    #[must_use]
    pub fn with_moved(mut self, subnet_id: &str, nacl_id: &str) -> Self {
        let to = self
            .nacls
            .iter()
            .position(|nacl| nacl.id.as_ref() == nacl_id);
        let Some((to, (subnet_id, at))) = to.zip(self.of_subnet.get_key_value(subnet_id)) else {
            return self;
        };
        let (subnet_id, from) = (Arc::clone(subnet_id), *at);
        self.nacls[from].subnet_ids.retain(|id| *id != subnet_id);
        self.nacls[to].subnet_ids.push(Arc::clone(&subnet_id));
        self.nacls[to].subnet_ids.sort();
        self.of_subnet.insert(subnet_id, to);
        self
    }

    /// The same with another version of an ACL.
    #[must_use]
    pub fn with(mut self, nacl: Nacl) -> Self {
        if let Some(there) = self.nacls.iter_mut().find(|there| there.id == nacl.id) {
            *there = nacl;
        }
        self
    }
}
