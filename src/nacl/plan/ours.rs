//! Changes as `nacl advise` prints them: an object for each.

use serde_json::Value;

use super::{PlanError, Written, known, number_of};
use crate::nacl::{Change, Direction, Guarded, Step};

pub(super) fn read(objects: &[Value], guarded: &Guarded) -> Result<Vec<Change>, PlanError> {
    let numbered = objects.iter().enumerate();
    numbered
        .map(|(index, object)| change(object, &format!("change {}", index + 1), guarded))
        .collect()
}

fn change(object: &Value, place: &str, guarded: &Guarded) -> Result<Change, PlanError> {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let wrong = |field: &'static str, expected: &'static str| PlanError::Value {
        place: place.to_owned(),
        field,
        expected,
        value: object.get(field).unwrap_or(&Value::Null).to_string(),
    };
    let nacl_id = text("nacl_id").ok_or_else(|| wrong("nacl_id", "the id of a network ACL"))?;
    known(guarded, nacl_id, place)?;
    let direction = match text("direction") {
        Some("ingress") => Direction::Ingress,
        Some("egress") => Direction::Egress,
        _ => return Err(wrong("direction", "`ingress` or `egress`")),
    };
    let number = object
        .get("rule_number")
        .and_then(Value::as_i64)
        .ok_or_else(|| wrong("rule_number", "1 to 32766"))?;
    let rule = || {
        let protocol = match object.get("protocol") {
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::String(text)) => text.clone(),
            _ => return Err(wrong("protocol", "a number, -1 for all")),
        };
        let port = |key: &str| object.get(key).and_then(Value::as_i64);
        let ports = (port("port_from"), port("port_to"));
        let is_icmp = matches!(protocol.as_str(), "1" | "58" | "icmp" | "icmpv6");
        Written {
            number,
            egress: direction == Direction::Egress,
            protocol: &protocol,
            action: text("action").unwrap_or_default(),
            cidr: text("cidr"),
            ports: if is_icmp { (None, None) } else { ports },
            icmp: is_icmp.then_some(ports),
        }
        .rule(place)
    };
    let step = match text("change") {
        Some("add") => Step::Add(rule()?),
        Some("replace") => Step::Replace(rule()?),
        Some("delete") => Step::Delete(number_of(number, place)?),
        _ => return Err(wrong("change", "`add`, `replace` or `delete`")),
    };
    Ok(Change {
        nacl_id: nacl_id.into(),
        direction,
        step,
    })
}
