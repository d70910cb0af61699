//! Changes that a Terraform plan makes, of `terraform show -json PLAN`: `aws_network_acl_rule`, and the lists of `aws_network_acl`
//! and `aws_default_network_acl`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{PlanError, Written, known, number_of};
use crate::nacl::{Change, Direction, Guarded, Rule, Step};

pub(super) fn read(documents: &[Value], guarded: &Guarded) -> Result<Vec<Change>, PlanError> {
    let resources = documents
        .iter()
        .filter_map(|document| document.get("resource_changes")?.as_array())
        .flatten();
    let mut changes = Vec::new();
    for resource in resources {
        let kind = resource.get("type").and_then(Value::as_str);
        let address = resource
            .get("address")
            .and_then(Value::as_str)
            .unwrap_or("a resource");
        let change = resource.get("change").unwrap_or(&Value::Null);
        let side = |key: &str| change.get(key).filter(|value| value.is_object());
        let (before, after) = (side("before"), side("after"));
        match kind {
            Some("aws_network_acl_rule") => {
                changes.extend(of_rule(before, after, address, guarded)?);
            }
            Some("aws_network_acl" | "aws_default_network_acl") => {
                changes.extend(of_lists(before, after, address, guarded)?);
            }
            _ => {}
        }
    }
    // What goes makes room for what comes, as Terraform destroys before it creates.
    changes.sort_by_key(|change| !matches!(change.step, Step::Delete(_)));
    Ok(changes)
}

fn of_rule(
    before: Option<&Value>,
    after: Option<&Value>,
    address: &str,
    guarded: &Guarded,
) -> Result<Vec<Change>, PlanError> {
    let place = |value: &Value| -> Result<(String, Direction, i64), PlanError> {
        let id = id_of(value, "network_acl_id", address)?;
        known(guarded, &id, address)?;
        let direction = match value.get("egress").and_then(Value::as_bool) {
            Some(true) => Direction::Egress,
            _ => Direction::Ingress,
        };
        Ok((id, direction, integer(value, "rule_number").unwrap_or(0)))
    };
    let rule = |value: &Value| {
        let (_, direction, number) = place(value)?;
        written(value, number, direction, "rule_action").rule(address)
    };
    let (before, after) = (
        before
            .map(|value| Ok((place(value)?, rule(value)?)))
            .transpose()?,
        after
            .map(|value| Ok((place(value)?, rule(value)?)))
            .transpose()?,
    );
    let change = |(id, direction, _): &(String, Direction, i64), step| Change {
        nacl_id: id.as_str().into(),
        direction: *direction,
        step,
    };
    let delete = |place: &(String, Direction, i64)| {
        Ok::<_, PlanError>(change(place, Step::Delete(number_of(place.2, address)?)))
    };
    Ok(match (before, after) {
        (Some((was, old)), Some((is, new))) if was == is => match old == new {
            true => Vec::new(),
            false => vec![change(&is, Step::Replace(new))],
        },
        (Some((was, _)), Some((is, new))) => vec![delete(&was)?, change(&is, Step::Add(new))],
        (Some((was, _)), None) => vec![delete(&was)?],
        (None, Some((is, new))) => vec![change(&is, Step::Add(new))],
        (None, None) => Vec::new(),
    })
}

fn of_lists(
    before: Option<&Value>,
    after: Option<&Value>,
    address: &str,
    guarded: &Guarded,
) -> Result<Vec<Change>, PlanError> {
    // A new ACL guards no subnet yet; one that is destroyed guards none any more.
    let (Some(before), Some(after)) = (before, after) else {
        return Ok(Vec::new());
    };
    let key = match before.get("default_network_acl_id") {
        Some(Value::String(_)) => "default_network_acl_id",
        _ => "id",
    };
    let id = id_of(before, key, address)?;
    known(guarded, &id, address)?;
    let mut changes = Vec::new();
    for direction in [Direction::Ingress, Direction::Egress] {
        let rules = |value: &Value| -> Result<BTreeMap<u16, Rule>, PlanError> {
            let list = value.get(direction.as_str()).and_then(Value::as_array);
            let mut rules = BTreeMap::new();
            for item in list.into_iter().flatten() {
                let number = integer(item, "rule_no").unwrap_or(0);
                let rule = written(item, number, direction, "action").rule(address)?;
                rules.insert(rule.number, rule);
            }
            Ok(rules)
        };
        let (old, new) = (rules(before)?, rules(after)?);
        let change = |step| Change {
            nacl_id: id.as_str().into(),
            direction,
            step,
        };
        let gone = old.keys().filter(|number| !new.contains_key(number));
        changes.extend(gone.map(|number| change(Step::Delete(*number))));
        for (number, rule) in &new {
            match old.get(number) {
                None => changes.push(change(Step::Add(rule.clone()))),
                Some(was) if was != rule => changes.push(change(Step::Replace(rule.clone()))),
                Some(_) => {}
            }
        }
    }
    Ok(changes)
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
