//! Interfaces that came, went, or changed, and addresses that moved from one to another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Compare, Pair, place};
use crate::topology::model::{Kind, NetworkInterface, tag};
use crate::topology::network::{Interface, Network};
use crate::topology::words::{listed, named};

impl<'n> Compare<'n> {
    /// Interfaces by id; an address that has another interface now is said once, as a move.
    pub(super) fn interfaces(&mut self) {
        if !self.knows(Kind::NetworkInterfaces) {
            return;
        }
        let moved = self.moved_addresses();
        let pairs = Self::pairs(
            &self.before.resources.network_interfaces,
            &self.after.resources.network_interfaces,
            |interface| &interface.network_interface_id,
        );
        for (id, pair) in pairs {
            match pair {
                Pair::Added(record) => {
                    let Some(interface) = self.after.interface(id) else {
                        continue;
                    };
                    let addresses = addresses_words(interface);
                    let words = format!(
                        "{} came{}: {addresses}",
                        name_of(record),
                        place_words(interface)
                    );
                    self.push(
                        "interface",
                        id,
                        (None, Some(addresses)),
                        place!(record),
                        words,
                    );
                }
                Pair::Removed(record) => {
                    let Some(interface) = self.before.interface(id) else {
                        continue;
                    };
                    let addresses = addresses_words(interface);
                    let words = format!(
                        "{} went{}: {addresses}",
                        name_of(record),
                        place_words(interface)
                    );
                    self.push(
                        "interface",
                        id,
                        (Some(addresses), None),
                        place!(record),
                        words,
                    );
                }
                Pair::Both(_, record) => {
                    let (Some(before), Some(after)) =
                        (self.before.interface(id), self.after.interface(id))
                    else {
                        continue;
                    };
                    self.interface(record, before, after, &moved);
                }
            }
        }
    }

    /// An interface that is there before and after.
    fn interface(
        &mut self,
        record: &NetworkInterface,
        before: &Interface,
        after: &Interface,
        moved: &BTreeSet<IpAddr>,
    ) {
        let id = after.id.as_ref();
        let name = name_of(record);
        let own = |interface: &Interface| -> BTreeSet<String> {
            let addresses = interface
                .addresses
                .iter()
                .filter(|addr| !moved.contains(addr));
            let public = interface
                .public_addresses
                .iter()
                .filter(|addr| !moved.contains(addr));
            addresses
                .map(ToString::to_string)
                .chain(public.map(|addr| format!("{addr} (public)")))
                .chain(interface.prefixes.iter().map(ToString::to_string))
                .collect()
        };
        let (was, is) = (own(before), own(after));
        for gained in is.difference(&was) {
            let words = format!("{name} gained {gained}");
            self.push(
                "interface_address",
                id,
                (None, Some(gained.clone())),
                place!(after),
                words,
            );
        }
        for lost in was.difference(&is) {
            let words = format!("{name} lost {lost}");
            self.push(
                "interface_address",
                id,
                (Some(lost.clone()), None),
                place!(after),
                words,
            );
        }
        let text = |text: Option<&str>| text.map(str::to_owned);
        self.value(
            "interface_subnet",
            id,
            (
                text(before.subnet_id.as_deref()),
                text(after.subnet_id.as_deref()),
            ),
            place!(after),
            |was, is| format!("{name} is now in {is}, was in {was}"),
        );
        self.value(
            "interface_instance",
            id,
            (
                text(before.instance_id.as_deref()),
                text(after.instance_id.as_deref()),
            ),
            place!(after),
            |was, is| format!("{name} is now attached to {is}, was to {was}"),
        );
        let groups = |interface: &Interface| {
            let mut groups: Vec<&str> = interface
                .record
                .groups
                .iter()
                .filter_map(|group| group.group_id.as_deref())
                .collect();
            groups.sort_unstable();
            Some(groups.join(", ")).filter(|groups| !groups.is_empty())
        };
        self.value(
            "interface_groups",
            id,
            (groups(before), groups(after)),
            place!(after),
            |was, is| format!("{name} now has security groups {is}, had {was}"),
        );
        let check = |interface: &Interface| {
            let is_on = interface.record.source_dest_check?;
            Some(if is_on { "on" } else { "off" }.to_owned())
        };
        self.value(
            "interface_source_dest_check",
            id,
            (check(before), check(after)),
            place!(after),
            |was, is| format!("{name} now has its source/destination check {is}, had it {was}"),
        );
    }

    /// Addresses that one interface had and another has, in the same VPC, or anywhere if public.
    fn moved_addresses(&mut self) -> BTreeSet<IpAddr> {
        let (was, is) = (holders(self.before), holders(self.after));
        let mut moved = BTreeSet::new();
        for ((vpc_id, addr), after) in is {
            let Some(before) = was.get(&(vpc_id, addr)) else {
                continue;
            };
            if before.id == after.id {
                continue;
            }
            moved.insert(addr);
            let within = vpc_id.map(|id| format!(" in {id}")).unwrap_or_default();
            let words = format!(
                "{addr}{within} moved from {} to {}",
                name_of(&before.record),
                name_of(&after.record)
            );
            self.push(
                "address",
                &addr.to_string(),
                (Some(before.id.to_string()), Some(after.id.to_string())),
                place!(after),
                words,
            );
        }
        moved
    }
}

type Holders<'n> = BTreeMap<(Option<&'n str>, IpAddr), &'n Interface>;

/// Who has an address in a VPC; public addresses without one.
fn holders(network: &Network) -> Holders<'_> {
    let mut holders = Holders::new();
    for interface in network.interfaces() {
        let vpc_id = interface.vpc_id.as_deref();
        for &addr in &interface.addresses {
            holders.insert((vpc_id, addr), interface);
        }
        for &addr in &interface.public_addresses {
            holders.insert((None, addr), interface);
        }
    }
    holders
}

/// Id, and the name or what AWS wrote about it.
fn name_of(record: &NetworkInterface) -> String {
    let description = record.description.as_deref();
    let name = tag(&record.tag_set, "Name").or(description);
    named(&record.network_interface_id, name)
}

fn addresses_words(interface: &Interface) -> String {
    let own = interface.addresses.iter().map(ToString::to_string);
    let public = interface
        .public_addresses
        .iter()
        .map(|addr| format!("{addr} (public)"));
    let words = listed(own.chain(public));
    if words.is_empty() {
        "no address".to_owned()
    } else {
        words
    }
}

fn place_words(interface: &Interface) -> String {
    let mut words = interface
        .subnet_id
        .as_ref()
        .map(|id| format!(" in {id}"))
        .unwrap_or_default();
    if let Some(instance) = &interface.instance_id {
        words.push_str(&format!(" for {instance}"));
    }
    words
}
