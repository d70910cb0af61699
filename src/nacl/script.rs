//! Changes as text that other tools carry out: Terraform resources, and commands of the AWS CLI. Both end with the way back.

use super::{Change, Direction, ICMP, ICMPV6, Rule, Step, rule_words};

/// A change to write, and what is known about it.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The change.
    pub change: &'a Change,
    /// The rule that goes or is replaced.
    pub was: Option<&'a Rule>,
    /// Why.
    pub reason: &'a str,
    /// The region of the ACL.
    pub region: Option<&'a str>,
}

/// Resources of Terraform's AWS provider. A rule that goes has no resource any more: it is said where it must be taken out.
pub fn terraform(lines: &[Line<'_>], back: &[Line<'_>]) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(&comment(line.reason));
        text.push_str(&resource(line));
        text.push('\n');
    }
    text.push_str(&way_back(back, resource));
    text
}

/// Commands of the AWS CLI.
pub fn aws_cli(lines: &[Line<'_>], back: &[Line<'_>]) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(&comment(line.reason));
        text.push_str(&command(line));
    }
    text.push_str(&way_back(back, command));
    text
}

fn way_back(back: &[Line<'_>], write: impl Fn(&Line<'_>) -> String) -> String {
    if back.is_empty() {
        return String::new();
    }
    let lines: String = back.iter().map(write).collect();
    format!("\n# The way back:\n{}", comment(&lines))
}

/// Each line of a text behind a `#`, so that nothing in it is ever carried out.
fn comment(text: &str) -> String {
    let lines = text.lines();
    lines
        .map(|line| line.trim_start_matches("# "))
        .map(|line| format!("# {line}").trim_end().to_owned() + "\n")
        .collect()
}

fn resource(line: &Line<'_>) -> String {
    let Change {
        nacl_id,
        direction,
        step,
    } = line.change;
    let name = format!("{nacl_id}_{}_{}", direction.as_str(), step.number()).replace('-', "_");
    let rule = match step {
        Step::Add(rule) => rule,
        Step::Replace(rule) => {
            let was = line.was.map(|was| rule_words(was, *direction));
            return format!(
                "# takes the place of `{}`: if that is a resource of yours, change it instead\n{}",
                was.unwrap_or_default(),
                block(&name, nacl_id, *direction, rule)
            );
        }
        Step::Delete(number) => {
            let was = line
                .was
                .map_or(format!("rule {number}"), |was| rule_words(was, *direction));
            return format!(
                "# take out the {} rule of {nacl_id}: {was}\n",
                direction.as_str()
            );
        }
    };
    block(&name, nacl_id, *direction, rule)
}

fn block(name: &str, nacl_id: &str, direction: Direction, rule: &Rule) -> String {
    let mut values = vec![
        ("network_acl_id", quoted(nacl_id)),
        ("egress", (direction == Direction::Egress).to_string()),
        ("rule_number", rule.number.to_string()),
        ("rule_action", quoted(action(rule))),
        ("protocol", quoted(&protocol(rule))),
        (
            if is_v6(rule) {
                "ipv6_cidr_block"
            } else {
                "cidr_block"
            },
            quoted(&rule.cidr.to_string()),
        ),
    ];
    if let Some((from, to)) = ports(rule) {
        values.push(("from_port", from.to_string()));
        values.push(("to_port", to.to_string()));
    }
    if let Some((kind, code)) = icmp(rule) {
        values.push(("icmp_type", kind.to_string()));
        values.push(("icmp_code", code.to_string()));
    }
    let width = values.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let values = values
        .iter()
        .map(|(name, value)| format!("  {name:width$} = {value}\n"));
    format!(
        "resource \"aws_network_acl_rule\" \"{name}\" {{\n{}}}\n",
        values.collect::<String>()
    )
}

fn command(line: &Line<'_>) -> String {
    let Change {
        nacl_id,
        direction,
        step,
    } = line.change;
    let verb = match step {
        Step::Add(_) => "create",
        Step::Replace(_) => "replace",
        Step::Delete(_) => "delete",
    };
    let mut text = format!("aws ec2 {verb}-network-acl-entry");
    if let Some(region) = line.region {
        text.push_str(&format!(" --region {region}"));
    }
    text.push_str(&format!(
        " --network-acl-id {nacl_id} --{} --rule-number {}",
        direction.as_str(),
        step.number()
    ));
    if let Step::Add(rule) | Step::Replace(rule) = step {
        text.push_str(&format!(" --protocol {}", protocol(rule)));
        if let Some((from, to)) = ports(rule) {
            text.push_str(&format!(" --port-range From={from},To={to}"));
        }
        if let Some((kind, code)) = icmp(rule) {
            text.push_str(&format!(" --icmp-type-code Type={kind},Code={code}"));
        }
        let option = if is_v6(rule) {
            "--ipv6-cidr-block"
        } else {
            "--cidr-block"
        };
        text.push_str(&format!(
            " {option} {} --rule-action {}",
            rule.cidr,
            action(rule)
        ));
    }
    text.push('\n');
    text
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn action(rule: &Rule) -> &'static str {
    if rule.allows { "allow" } else { "deny" }
}

fn protocol(rule: &Rule) -> String {
    rule.protocol
        .map_or("-1".to_owned(), |number| number.to_string())
}

fn is_v6(rule: &Rule) -> bool {
    rule.cidr.addr().is_ipv6()
}

/// EC2 asks for the ports of every TCP and UDP rule.
fn ports(rule: &Rule) -> Option<(u16, u16)> {
    let has_ports = matches!(rule.protocol, Some(super::TCP | super::UDP));
    let all = 0..=u16::MAX;
    let ports = rule.ports.as_ref().unwrap_or(&all);
    has_ports.then(|| (*ports.start(), *ports.end()))
}

/// EC2 asks for type and code of every ICMP rule.
fn icmp(rule: &Rule) -> Option<(i32, i32)> {
    let has_types = matches!(rule.protocol, Some(ICMP | ICMPV6));
    has_types.then(|| rule.icmp.unwrap_or((-1, -1)))
}
