//! Records as people say them: rules of network ACLs and security groups, names beside ids, lists that stay short.

use std::fmt::Display;

use super::model::{self, NetworkAclEntry, SecurityGroupRule};

/// A list names this many; the rest are counted.
const MOST_NAMED: usize = 6;

/// An id, and the name where there is one.
pub(super) fn named(id: &str, name: Option<&str>) -> String {
    match name {
        Some(name) if !name.is_empty() => format!("{id} ({name})"),
        _ => id.to_owned(),
    }
}

/// An id, and the `Name` tag where there is one.
pub(super) fn tagged(id: &str, tags: &[model::Tag]) -> String {
    named(id, model::tag(tags, "Name"))
}

/// The first few of a list, and how many more there are.
pub(super) fn listed<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    let more = items.len().saturating_sub(MOST_NAMED);
    // One more takes no more room than saying so.
    if more <= 1 {
        return items.join(", ");
    }
    format!("{} and {more} more", items[..MOST_NAMED].join(", "))
}

/// `1 subnet`, `2 subnets`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// A rule of a network ACL: `rule 100 allows tcp 443 from 0.0.0.0/0`.
pub(super) fn nacl_rule(entry: &NetworkAclEntry) -> String {
    let number = match entry.rule_number {
        // The rule that nobody wrote; the console shows it as `*`.
        32767 | 32768 => "*".to_owned(),
        number => number.to_string(),
    };
    let does = match entry.rule_action.as_deref() {
        Some("allow") => "allows",
        _ => "denies",
    };
    format!("rule {number} {does} {}", nacl_traffic(entry))
}

/// What a rule of a network ACL is about, without its number and what it does.
pub(super) fn nacl_traffic(entry: &NetworkAclEntry) -> String {
    let protocol = entry.protocol.as_deref().unwrap_or("-1");
    let (from, to) = match &entry.port_range {
        Some(range) => (range.from, range.to),
        None => match &entry.icmp_type_code {
            Some(icmp) => (icmp.r#type, icmp.code),
            None => (None, None),
        },
    };
    let cidr = entry
        .cidr_block
        .as_deref()
        .or(entry.ipv6_cidr_block.as_deref())
        .unwrap_or("anywhere");
    format!(
        "{} {} {cidr}",
        traffic(protocol, from, to),
        toward(entry.egress)
    )
}

/// A rule of a security group: `tcp 443 from 0.0.0.0/0`.
pub(super) fn group_rule(rule: &SecurityGroupRule) -> String {
    let group = rule
        .referenced_group_info
        .as_ref()
        .and_then(|group| group.group_id.as_deref());
    let peer = rule
        .cidr_ipv4
        .as_deref()
        .or(rule.cidr_ipv6.as_deref())
        .or(rule.prefix_list_id.as_deref())
        .or(group)
        .unwrap_or("nobody that is named");
    let protocol = rule.ip_protocol.as_deref().unwrap_or("-1");
    format!(
        "{} {} {peer}",
        traffic(protocol, rule.from_port, rule.to_port),
        toward(rule.is_egress)
    )
}

fn toward(is_egress: bool) -> &'static str {
    if is_egress { "to" } else { "from" }
}

/// Protocol and ports, or ICMP type and code; -1 is any.
fn traffic(protocol: &str, from: Option<i32>, to: Option<i32>) -> String {
    let name = match protocol {
        "-1" | "all" => return "all traffic".to_owned(),
        "6" | "tcp" => "tcp",
        "17" | "udp" => "udp",
        "1" | "icmp" => "icmp",
        "58" | "icmpv6" => "icmpv6",
        other => return format!("protocol {other}"),
    };
    let is_icmp = name.starts_with("icmp");
    match (from, to) {
        (Some(kind), code) if is_icmp && kind >= 0 => match code {
            Some(code) if code >= 0 => format!("{name} type {kind} code {code}"),
            _ => format!("{name} type {kind}"),
        },
        _ if is_icmp => name.to_owned(),
        (None | Some(0 | -1), None | Some(65535 | -1)) => format!("all {name}"),
        (Some(from), Some(to)) if from != to => format!("{name} {from}-{to}"),
        (Some(port), _) | (None, Some(port)) => format!("{name} {port}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn nacl(entry: serde_json::Value) -> String {
        nacl_rule(&serde_json::from_value(entry).unwrap())
    }

    #[track_caller]
    fn group(rule: serde_json::Value) -> String {
        group_rule(&serde_json::from_value(rule).unwrap())
    }

    #[test]
    fn rules_of_network_acls_read_as_sentences() {
        assert_eq!(
            nacl(
                json!({"CidrBlock": "0.0.0.0/0", "Egress": false, "Protocol": "-1", "RuleAction": "allow", "RuleNumber": 100})
            ),
            "rule 100 allows all traffic from 0.0.0.0/0"
        );
        assert_eq!(
            nacl(
                json!({"CidrBlock": "10.0.0.0/8", "Egress": true, "Protocol": "6", "RuleAction": "deny", "RuleNumber": 90,
                       "PortRange": {"From": 22, "To": 22}})
            ),
            "rule 90 denies tcp 22 to 10.0.0.0/8"
        );
        assert_eq!(
            nacl(
                json!({"Ipv6CidrBlock": "::/0", "Egress": false, "Protocol": "58", "RuleAction": "allow", "RuleNumber": 110,
                       "IcmpTypeCode": {"Type": 2, "Code": -1}})
            ),
            "rule 110 allows icmpv6 type 2 from ::/0"
        );
        assert_eq!(
            nacl(
                json!({"CidrBlock": "0.0.0.0/0", "Egress": false, "Protocol": "-1", "RuleAction": "deny", "RuleNumber": 32767})
            ),
            "rule * denies all traffic from 0.0.0.0/0"
        );
    }

    #[test]
    fn rules_of_security_groups_name_their_peer() {
        assert_eq!(
            group(
                json!({"IsEgress": false, "IpProtocol": "tcp", "FromPort": 8000, "ToPort": 8099,
                        "ReferencedGroupInfo": {"GroupId": "sg-2"}})
            ),
            "tcp 8000-8099 from sg-2"
        );
        assert_eq!(
            group(json!({"IsEgress": true, "IpProtocol": "-1", "CidrIpv6": "::/0"})),
            "all traffic to ::/0"
        );
        assert_eq!(
            group(
                json!({"IsEgress": false, "IpProtocol": "udp", "FromPort": 0, "ToPort": 65535, "PrefixListId": "pl-1"})
            ),
            "all udp from pl-1"
        );
        assert_eq!(
            group(
                json!({"IsEgress": false, "IpProtocol": "icmp", "FromPort": -1, "ToPort": -1, "CidrIpv4": "10.0.0.0/8"})
            ),
            "icmp from 10.0.0.0/8"
        );
    }

    #[test]
    fn long_lists_are_counted() {
        assert_eq!(listed(1..=7), "1, 2, 3, 4, 5, 6, 7");
        assert_eq!(listed(1..=9), "1, 2, 3, 4, 5, 6 and 3 more");
    }
}
