//! Changes that a Terraform plan makes, of `terraform show -json PLAN`: `aws_network_acl_rule`, the lists and subnets of `aws_network_acl`
//! and `aws_default_network_acl`, and `aws_network_acl_association`.
//!
//! A network ACL that the plan creates has no id yet. It goes by its address in the plan, and what refers to it is found in the plan's
//! configuration.

mod references;

use std::collections::BTreeMap;

use serde_json::Value;

use self::references::References;
use super::{PlanError, Planned, Written, known, number_of};
use crate::nacl::{Change, Direction, Guarded, Nacl, Rule, Step};

pub(super) fn read(documents: &[Value], guarded: &Guarded) -> Result<Planned, PlanError> {
    let of_documents = |key: &'static str| documents.iter().filter_map(move |one| one.get(key));
    let resources = of_documents("resource_changes").filter_map(Value::as_array);
    let resources: Vec<Resource<'_>> = resources.flatten().filter_map(Resource::of).collect();
    let created = resources.iter().filter(|resource| {
        resource.kind == "aws_network_acl" && resource.before.is_none() && resource.after.is_some()
    });
    let created: Vec<&str> = created.map(|resource| resource.address).collect();
    let mut reader = Reader {
        guarded,
        references: References::new(of_documents("configuration").collect(), created),
        planned: Planned::default(),
    };
    for resource in &resources {
        match resource.kind {
            "aws_network_acl_rule" => reader.rule(resource)?,
            "aws_network_acl_association" => reader.association(resource)?,
            _ => reader.acl(resource)?,
        }
    }
    let Planned { changes, moves, .. } = &mut reader.planned;
    // What goes makes room for what comes, as Terraform destroys before it creates.
    changes.sort_by_key(|change| !matches!(change.step, Step::Delete(_)));
    // A subnet that one ACL gives up and another takes is the other's.
    let is_default = |id: &str| guarded.nacl(id).is_some_and(|nacl| nacl.is_default);
    moves.sort_by_key(|(_, nacl_id)| !is_default(nacl_id));
    Ok(reader.planned)
}

/// What a plan does to a resource that is about network ACLs.
struct Resource<'v> {
    kind: &'v str,
    address: &'v str,
    before: Option<&'v Value>,
    after: Option<&'v Value>,
    /// True in the place of each value that is known after apply.
    unknown: &'v Value,
}

impl<'v> Resource<'v> {
    fn of(value: &'v Value) -> Option<Self> {
        let kind = value.get("type")?.as_str()?;
        let change = value.get("change").unwrap_or(&Value::Null);
        let side = |key: &str| change.get(key).filter(|value| value.is_object());
        matches!(
            kind,
            "aws_network_acl_rule"
                | "aws_network_acl_association"
                | "aws_network_acl"
                | "aws_default_network_acl"
        )
        .then_some(Self {
            kind,
            address: value
                .get("address")
                .and_then(Value::as_str)
                .unwrap_or("a resource"),
            before: side("before"),
            after: side("after"),
            unknown: change.get("after_unknown").unwrap_or(&Value::Null),
        })
    }

    fn is_unknown(&self, key: &str) -> bool {
        self.unknown.get(key).and_then(Value::as_bool) == Some(true)
    }
}

struct Reader<'p> {
    guarded: &'p Guarded,
    references: References<'p>,
    planned: Planned,
}

/// The ACL, the list and the number of a rule.
type Place = (String, Direction, i64);

impl Reader<'_> {
    /// The ACL that a resource names before or after the change.
    fn acl_id(&self, resource: &Resource<'_>, value: &Value) -> Result<String, PlanError> {
        const KEY: &str = "network_acl_id";
        let is_missing = value.get(KEY).is_none_or(Value::is_null);
        if is_missing && resource.is_unknown(KEY) {
            return self.references.acl(resource.address, KEY);
        }
        let id = id_of(value, KEY, resource.address)?;
        known(self.guarded, &id, resource.address)?;
        Ok(id)
    }

    fn rule(&mut self, resource: &Resource<'_>) -> Result<(), PlanError> {
        let address = resource.address;
        for key in [
            "rule_number",
            "protocol",
            "rule_action",
            "cidr_block",
            "ipv6_cidr_block",
        ] {
            if resource.is_unknown(key) {
                let expected = "a value that the plan knows";
                return Err(self.references.unknown(address, key, expected));
            }
        }
        let side = |value: Option<&Value>| -> Result<Option<(Place, Rule)>, PlanError> {
            let Some(value) = value else { return Ok(None) };
            let direction = match value.get("egress").and_then(Value::as_bool) {
                Some(true) => Direction::Egress,
                _ => Direction::Ingress,
            };
            let number = integer(value, "rule_number").unwrap_or(0);
            let rule = written(value, number, direction, "rule_action").rule(address)?;
            let place = (self.acl_id(resource, value)?, direction, number);
            Ok(Some((place, rule)))
        };
        let (before, after) = (side(resource.before)?, side(resource.after)?);
        let change = |(id, direction, _): &Place, step| Change {
            nacl_id: id.as_str().into(),
            direction: *direction,
            step,
        };
        let delete = |place: &Place| -> Result<Change, PlanError> {
            Ok(change(place, Step::Delete(number_of(place.2, address)?)))
        };
        let changes = match (before, after) {
            (Some((was, old)), Some((is, new))) if was == is => match old == new {
                true => Vec::new(),
                false => vec![change(&is, Step::Replace(new))],
            },
            (Some((was, _)), Some((is, new))) => vec![delete(&was)?, change(&is, Step::Add(new))],
            (Some((was, _)), None) => vec![delete(&was)?],
            (None, Some((is, new))) => vec![change(&is, Step::Add(new))],
            (None, None) => Vec::new(),
        };
        self.planned.changes.extend(changes);
        Ok(())
    }

    fn association(&mut self, resource: &Resource<'_>) -> Result<(), PlanError> {
        let subnet = |side: Option<&'_ Value>| {
            let id = side.and_then(|value| value.get("subnet_id")?.as_str());
            id.map(str::to_owned)
        };
        let (old, new) = (subnet(resource.before), subnet(resource.after));
        if let Some(old) = old.filter(|old| new.as_ref() != Some(old)) {
            self.give_up(&old);
        }
        // A subnet that is not there yet has no id, and no flows.
        if let Some((subnet_id, after)) = new.zip(resource.after) {
            let acl_id = self.acl_id(resource, after)?;
            self.planned.moves.push((subnet_id, acl_id));
        }
        Ok(())
    }

    fn acl(&mut self, resource: &Resource<'_>) -> Result<(), PlanError> {
        let address = resource.address;
        let rules = |value: Option<&Value>, direction: Direction| {
            let list = value.and_then(|value| value.get(direction.as_str())?.as_array());
            let rules = list.into_iter().flatten().map(|item| {
                let number = integer(item, "rule_no").unwrap_or(0);
                let rule = written(item, number, direction, "action").rule(address)?;
                Ok((rule.number, rule))
            });
            rules.collect::<Result<BTreeMap<u16, Rule>, PlanError>>()
        };
        let subnets = |value: Option<&Value>| -> Vec<String> {
            let list = value.and_then(|value| value.get("subnet_ids")?.as_array());
            let ids = list.into_iter().flatten().filter_map(Value::as_str);
            ids.map(str::to_owned).collect()
        };
        let (before, after) = (resource.before, resource.after);
        let id = match before {
            None => address.to_owned(),
            Some(before) => {
                let key = match before.get("default_network_acl_id") {
                    Some(Value::String(_)) => "default_network_acl_id",
                    _ => "id",
                };
                let id = id_of(before, key, address)?;
                known(self.guarded, &id, address)?;
                id
            }
        };
        match (before, after) {
            (None, Some(after)) => {
                let of = |direction| -> Result<Vec<Rule>, PlanError> {
                    Ok(rules(Some(after), direction)?.into_values().collect())
                };
                self.planned.created.push(Nacl {
                    id: id.as_str().into(),
                    vpc_id: after.get("vpc_id").and_then(Value::as_str).map(Into::into),
                    is_default: false,
                    subnet_ids: Vec::new(),
                    ingress: of(Direction::Ingress)?,
                    egress: of(Direction::Egress)?,
                });
            }
            (Some(_), Some(_)) => {
                for direction in [Direction::Ingress, Direction::Egress] {
                    let (old, new) = (rules(before, direction)?, rules(after, direction)?);
                    self.lists(&id, direction, &old, &new);
                }
            }
            (_, None) => {}
        }
        let (old, new) = (subnets(before), subnets(after));
        // Left to others, the list is known after apply: then nothing is given up.
        if !resource.is_unknown("subnet_ids") {
            for subnet_id in old.iter().filter(|id| !new.contains(id)) {
                self.give_up(subnet_id);
            }
        }
        let taken = new.into_iter().filter(|subnet_id| !old.contains(subnet_id));
        let moves = taken.map(|subnet_id| (subnet_id, id.clone()));
        self.planned.moves.extend(moves);
        Ok(())
    }

    /// The difference of two lists of rules.
    fn lists(
        &mut self,
        id: &str,
        direction: Direction,
        old: &BTreeMap<u16, Rule>,
        new: &BTreeMap<u16, Rule>,
    ) {
        let change = |step| Change {
            nacl_id: id.into(),
            direction,
            step,
        };
        let changes = &mut self.planned.changes;
        let gone = old.keys().filter(|number| !new.contains_key(number));
        changes.extend(gone.map(|number| change(Step::Delete(*number))));
        for (number, rule) in new {
            match old.get(number) {
                None => changes.push(change(Step::Add(rule.clone()))),
                Some(was) if was != rule => changes.push(change(Step::Replace(rule.clone()))),
                Some(_) => {}
            }
        }
    }

    /// A subnet without another ACL is under the VPC's default one.
    fn give_up(&mut self, subnet_id: &str) {
        let vpc_id = self
            .guarded
            .of_subnet(subnet_id)
            .and_then(|nacl| nacl.vpc_id.clone());
        let mut nacls = self.guarded.nacls().iter();
        if let Some(default) = nacls.find(|nacl| nacl.is_default && nacl.vpc_id == vpc_id) {
            let default = default.id.to_string();
            self.planned.moves.push((subnet_id.to_owned(), default));
        }
    }
}

fn id_of(value: &Value, key: &'static str, address: &str) -> Result<String, PlanError> {
    let id = value.get(key).and_then(Value::as_str);
    id.map(str::to_owned).ok_or_else(|| PlanError::Value {
        place: address.to_owned(),
        field: key,
        expected: "the id of a network ACL that is there already",
        value: value.get(key).unwrap_or(&Value::Null).to_string(),
    })
}

fn integer(value: &Value, key: &str) -> Option<i64> {
    value.get(key)?.as_i64()
}

fn written<'v>(value: &'v Value, number: i64, direction: Direction, action: &str) -> Written<'v> {
    let text = |key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let protocol = text("protocol").unwrap_or_default();
    let is_icmp = matches!(protocol, "1" | "58" | "icmp" | "icmpv6");
    let has_ports = matches!(protocol, "6" | "17" | "tcp" | "udp");
    let ports = (integer(value, "from_port"), integer(value, "to_port"));
    Written {
        number,
        egress: direction == Direction::Egress,
        protocol,
        action: text(action).unwrap_or_default(),
        cidr: text("cidr_block").or_else(|| text("ipv6_cidr_block")),
        ports: if has_ports { ports } else { (None, None) },
        icmp: is_icmp.then(|| (integer(value, "icmp_type"), integer(value, "icmp_code"))),
    }
}
