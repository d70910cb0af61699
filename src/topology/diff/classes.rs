//! Classes that changed, above all to public, and the routes and tables behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Compare, Pair, Place, place};
use crate::topology::class::block_mode;
use crate::topology::model::Kind;
use crate::topology::network::{Network, Subnet};
use crate::topology::route::{Line, RouteTable, RouteTarget};
use crate::topology::words::{listed, named, tagged};
use crate::topology::{Class, Family};

impl<'n> Compare<'n> {
    /// Subnets whose class changed: those that turned public first.
    pub(super) fn classes(&mut self) {
        let mut turned_public = Vec::new();
        let mut others = Vec::new();
        for after in self.after.subnets() {
            let Some(before) = self.before.subnet(&after.id) else {
                continue;
            };
            for family in [Family::V4, Family::V6] {
                let classes = (before.class(family), after.class(family));
                // Learning the routes, or no longer knowing them, is not a change of the network.
                let is_known = |class: Option<Class>| class != Some(Class::Unknown);
                if classes.0 == classes.1 || !is_known(classes.0) || !is_known(classes.1) {
                    continue;
                }
                if classes.1 == Some(Class::Public) {
                    turned_public.push((before, after, family));
                } else {
                    others.push((before, after, family));
                }
            }
        }
        for (before, after, family) in turned_public {
            self.class("turned_public", before, after, family);
        }
        for (before, after, family) in others {
            self.class("changed", before, after, family);
        }
    }

    fn class(&mut self, change: &'static str, before: &Subnet, after: &Subnet, family: Family) {
        let subnet = named(&after.id, after.name.as_deref());
        let text = |subnet: &Subnet| subnet.class(family).map(|class| class.as_str().to_owned());
        let (was, is) = (text(before), text(after));
        let cause = self.cause(before, after, family);
        let was_words = was.as_deref().map_or_else(
            || format!("had no {family} before"),
            |class| format!("was {class}"),
        );
        let words = match is.as_deref() {
            Some("public") => format!("{subnet} turned public in {family} ({was_words}): {cause}"),
            Some(is) => format!("{subnet} is now {is} in {family} ({was_words}): {cause}"),
            None => format!("{subnet} no longer has {family} ({was_words})"),
        };
        self.push("subnet_class", &after.id, (was, is), place_of(after), words);
        if let Some(last) = self.difference.changes.last_mut() {
            last.change = change;
        }
    }

    /// Why a class changed: another table, routes gained or lost, or something behind them.
    fn cause(&self, before: &'n Subnet, after: &'n Subnet, family: Family) -> String {
        let table = |network: &'n Network, subnet: &Subnet| {
            subnet.table.map(|table| &network.tables[table])
        };
        let (old, new) = (table(self.before, before), table(self.after, after));
        let reason = after.class_reason(family).unwrap_or("it has no CIDR of it");
        let (Some(old), Some(new)) = (old, new) else {
            return reason.to_owned();
        };
        if old.id != new.id {
            return format!(
                "its route table is now {}, was {}: {reason}",
                new.id, old.id
            );
        }
        let (old_block, new_block) = (
            block_mode(self.before, before),
            block_mode(self.after, after),
        );
        let block = |mode: Option<(&str, _)>| mode.map_or("off", |(mode, _)| mode).to_owned();
        let (was, is) = (active_routes(old, family), active_routes(new, family));
        let mut gained: Vec<_> = is.difference(&was).collect();
        let mut lost: Vec<_> = was.difference(&is).collect();
        // What made a subnet public is a route to a gateway; what else changed stands among the routes.
        let is_gateway = |route: &&&ActiveRoute| route.is_gateway;
        if gained.iter().any(|route| route.is_gateway) && after.class(family) == Some(Class::Public)
        {
            gained = gained.iter().filter(is_gateway).copied().collect();
            lost.clear();
        }
        let mut causes = Vec::new();
        if !gained.is_empty() {
            causes.push(format!("gained {}", listed(gained)));
        }
        if !lost.is_empty() {
            causes.push(format!("lost {}", listed(lost)));
        }
        if !causes.is_empty() {
            return format!("{} {}", new.id, causes.join(" and "));
        }
        if old_block.map(|(mode, _)| mode) != new_block.map(|(mode, _)| mode) {
            return format!(
                "Block Public Access is now {}, was {}; {reason}",
                block(new_block),
                block(old_block)
            );
        }
        reason.to_owned()
    }

    /// Routes of tables that are there before and after; tables that came or went; tables that subnets changed to.
    pub(super) fn routes(&mut self) {
        if !self.knows(Kind::RouteTables) {
            return;
        }
        for after in self.after.subnets() {
            let Some(before) = self.before.subnet(&after.id) else {
                continue;
            };
            // A subnet that moved with its class is said already, and why; one that kept it is not.
            let was = before.route_table_id.as_deref().map(str::to_owned);
            let is = after.route_table_id.as_deref().map(str::to_owned);
            if was.is_none() || is.is_none() {
                continue;
            }
            let subnet = named(&after.id, after.name.as_deref());
            let how = match (before.is_explicit, after.is_explicit) {
                (true, false) => ", by losing its own association",
                (false, true) => ", by an association of its own",
                _ => "",
            };
            self.value(
                "subnet_route_table",
                &after.id,
                (was, is),
                place_of(after),
                |was, is| format!("{subnet} now uses {is} instead of {was}{how}"),
            );
        }
        let (before, after) = (self.before, self.after);
        let pairs = Self::pairs(
            &before.resources.route_tables,
            &after.resources.route_tables,
            |table| &table.route_table_id,
        );
        for (id, pair) in pairs {
            match pair {
                Pair::Added(record) => {
                    let Some(table) = after.route_table(id) else {
                        continue;
                    };
                    let routes = table_words(table);
                    let words = format!("{} is new: {routes}", tagged(id, &record.tags));
                    self.push(
                        "route_table",
                        id,
                        (None, Some(routes)),
                        place!(record),
                        words,
                    );
                }
                Pair::Removed(record) => {
                    let Some(table) = before.route_table(id) else {
                        continue;
                    };
                    let words = format!("{} is gone", tagged(id, &record.tags));
                    self.push(
                        "route_table",
                        id,
                        (Some(table_words(table)), None),
                        place!(record),
                        words,
                    );
                }
                Pair::Both(_, record) => {
                    let (Some(old), Some(new)) = (before.route_table(id), after.route_table(id))
                    else {
                        continue;
                    };
                    self.table(old, new, &tagged(id, &record.tags), place!(record));
                }
            }
        }
    }

    /// Destination by destination. An export that leaves local routes out says nothing of them.
    fn table(&mut self, old: &RouteTable, new: &RouteTable, name: &str, place: Place<'_>) {
        let by_destination = |table: &RouteTable| -> BTreeMap<String, Vec<String>> {
            let mut routes: BTreeMap<String, Vec<String>> = BTreeMap::new();
            let lines = table
                .lines
                .iter()
                .filter(|line| line.target != RouteTarget::Local);
            for line in lines {
                let targets = routes.entry(line.destination.to_string()).or_default();
                let target = target_words(line);
                // A prefix list of both families is two lines, and one route.
                if !targets.contains(&target) {
                    targets.push(target);
                }
            }
            for targets in routes.values_mut() {
                targets.sort();
            }
            routes
        };
        let (was, is) = (by_destination(old), by_destination(new));
        let mut destinations: Vec<&String> = was.keys().chain(is.keys()).collect();
        destinations.sort();
        destinations.dedup();
        for destination in destinations {
            let (before, after) = (was.get(destination), is.get(destination));
            if before == after {
                continue;
            }
            let text = |targets: Option<&Vec<String>>| targets.map(|targets| targets.join(" and "));
            let (before, after) = (text(before), text(after));
            let words = match (&before, &after) {
                (None, Some(after)) => format!("{name} gained {destination} → {after}"),
                (Some(before), None) => format!("{name} lost {destination} → {before}"),
                (before, after) => format!(
                    "{name} sends {destination} to {}, no longer to {}",
                    after.as_deref().unwrap_or("nothing"),
                    before.as_deref().unwrap_or("nothing")
                ),
            };
            let arrow =
                |target: Option<String>| target.map(|target| format!("{destination} → {target}"));
            self.push(
                "route",
                &old.id,
                (arrow(before), arrow(after)),
                place,
                words,
            );
        }
    }
}

/// A route in force that leads out of the VPC.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ActiveRoute {
    destination: String,
    target_id: String,
    is_gateway: bool,
}

impl fmt::Display for ActiveRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.destination, self.target_id)
    }
}

fn active_routes(table: &RouteTable, family: Family) -> BTreeSet<ActiveRoute> {
    table
        .lines
        .iter()
        .filter(|line| line.family == family && !line.blackhole)
        .filter(|line| !matches!(line.target, RouteTarget::Local | RouteTarget::None))
        .map(|line| ActiveRoute {
            destination: line.destination.to_string(),
            target_id: line.target_id.to_string(),
            is_gateway: matches!(
                line.target,
                RouteTarget::InternetGateway | RouteTarget::CarrierGateway
            ),
        })
        .collect()
}

fn place_of(subnet: &Subnet) -> Place<'_> {
    place!(subnet)
}

fn target_words(line: &Line) -> String {
    if line.blackhole {
        format!("{} (black hole)", line.target_id)
    } else {
        line.target_id.to_string()
    }
}

fn table_words(table: &RouteTable) -> String {
    let routes = table
        .lines
        .iter()
        .filter(|line| line.target != RouteTarget::Local)
        .map(|line| format!("{} → {}", line.destination, target_words(line)));
    let routes = listed(routes);
    if routes.is_empty() {
        "only local routes".to_owned()
    } else {
        routes
    }
}
