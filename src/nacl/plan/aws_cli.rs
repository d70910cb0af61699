//! Changes as commands of the AWS CLI: `aws ec2 create-`, `replace-` and `delete-network-acl-entry`, or what `--cli-input-json` takes.

use serde_json::Value;

use super::{PlanError, Written, known, number_of};
use crate::nacl::{Change, Direction, Guarded, Step};

/// Commands, one a line; a backslash goes on, `#` is a comment, other lines are no business of ours.
pub(super) fn read_lines(text: &str, guarded: &Guarded) -> Result<Vec<Change>, PlanError> {
    let mut changes = Vec::new();
    let mut command = String::new();
    let mut first = 1;
    for (index, line) in text.lines().enumerate() {
        if command.is_empty() {
            first = index + 1;
        }
        match line.trim_end().strip_suffix('\\') {
            Some(part) => command.push_str(part),
            None => {
                command.push_str(line);
                changes.extend(of_command(&command, &format!("line {first}"), guarded)?);
                command.clear();
            }
        }
    }
    changes.extend(of_command(&command, &format!("line {first}"), guarded)?);
    Ok(changes)
}

fn of_command(command: &str, place: &str, guarded: &Guarded) -> Result<Option<Change>, PlanError> {
    let words = words(command);
    let verb = words
        .iter()
        .find_map(|word| word.strip_suffix("-network-acl-entry"));
    let Some(verb) = verb else { return Ok(None) };
    let option = |name: &str| {
        let with_value = format!("{name}=");
        words.iter().enumerate().find_map(|(index, word)| {
            match word.strip_prefix(with_value.as_str()) {
                Some(value) => Some(value.to_owned()),
                None if word == name => words.get(index + 1).cloned(),
                None => None,
            }
        })
    };
    let asked = |field: &'static str, expected: &'static str, value: Option<String>| {
        value.ok_or_else(|| PlanError::Value {
            place: place.to_owned(),
            field,
            expected,
            value: String::new(),
        })
    };
    let nacl_id = asked(
        "--network-acl-id",
        "the id of a network ACL",
        option("--network-acl-id"),
    )?;
    known(guarded, &nacl_id, place)?;
    let has = |flag: &str| words.iter().any(|word| word == flag);
    let direction = match (has("--ingress"), has("--egress")) {
        (true, false) => Direction::Ingress,
        (false, true) => Direction::Egress,
        _ => asked("--ingress|--egress", "one of the two", None)
            .map(|_: String| Direction::Ingress)?,
    };
    let number = option("--rule-number");
    let number = asked(
        "--rule-number",
        "1 to 32766",
        number.clone().filter(|text| text.parse::<i64>().is_ok()),
    )?;
    let number: i64 = number.parse().unwrap_or(0);
    let pairs = |name: &str, one: &str, other: &str| {
        let text = option(name)?;
        let value = |key: &str| {
            let mut parts = text.split(',').filter_map(|part| part.split_once('='));
            parts.find_map(|(name, value)| {
                name.eq_ignore_ascii_case(key)
                    .then(|| value.trim().parse().ok())?
            })
        };
        Some((value(one), value(other)))
    };
    let (protocol, action) = (
        option("--protocol").unwrap_or_default(),
        option("--rule-action").unwrap_or_default(),
    );
    let cidr = option("--cidr-block").or_else(|| option("--ipv6-cidr-block"));
    let rule = || {
        Written {
            number,
            egress: direction == Direction::Egress,
            protocol: &protocol,
            action: &action,
            cidr: cidr.as_deref(),
            ports: pairs("--port-range", "from", "to").unwrap_or((None, None)),
            icmp: pairs("--icmp-type-code", "type", "code"),
        }
        .rule(place)
    };
    let step = match verb {
        "create" => Step::Add(rule()?),
        "replace" => Step::Replace(rule()?),
        "delete" => Step::Delete(number_of(number, place)?),
        other => {
            return Err(PlanError::Value {
                place: place.to_owned(),
                field: "command",
                expected: "create-, replace- or delete-network-acl-entry",
                value: other.to_owned(),
            });
        }
    };
    Ok(Some(Change {
        nacl_id: nacl_id.into(),
        direction,
        step,
    }))
}

/// What a shell makes of a line, as far as these commands need it.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Objects for `--cli-input-json`. They don't name their command: without an action a rule goes, with one it comes, or takes the
/// place of the one that has its number.
pub(super) fn read_json(objects: &[Value], guarded: &Guarded) -> Result<Vec<Change>, PlanError> {
    let numbered = objects.iter().enumerate();
    numbered
        .map(|(index, object)| of_object(object, &format!("entry {}", index + 1), guarded))
        .collect()
}

fn of_object(object: &Value, place: &str, guarded: &Guarded) -> Result<Change, PlanError> {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let nacl_id = text("NetworkAclId").unwrap_or_default();
    known(guarded, nacl_id, place)?;
    let is_egress = object.get("Egress").and_then(Value::as_bool);
    let number = object
        .get("RuleNumber")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    let direction = match is_egress {
        Some(true) => Direction::Egress,
        _ => Direction::Ingress,
    };
    let pair = |key: &str, one: &str, other: &str| {
        let object = object.get(key)?;
        Some((
            object.get(one).and_then(Value::as_i64),
            object.get(other).and_then(Value::as_i64),
        ))
    };
    let step = match text("RuleAction") {
        None => Step::Delete(number_of(number, place)?),
        Some(action) => {
            let rule = Written {
                number,
                egress: direction == Direction::Egress,
                protocol: text("Protocol").unwrap_or_default(),
                action,
                cidr: text("CidrBlock").or_else(|| text("Ipv6CidrBlock")),
                ports: pair("PortRange", "From", "To").unwrap_or((None, None)),
                icmp: pair("IcmpTypeCode", "Type", "Code"),
            }
            .rule(place)?;
            let nacl = guarded.nacl(nacl_id);
            let is_there = nacl.is_some_and(|nacl| nacl.rule(direction, rule.number).is_some());
            match is_there {
                true => Step::Replace(rule),
                false => Step::Add(rule),
            }
        }
    };
    Ok(Change {
        nacl_id: nacl_id.into(),
        direction,
        step,
    })
}
