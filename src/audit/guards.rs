//! Network ACLs that guard nothing.

use super::{Check, Problem, counted, interfaces_in, listed, named, subnet_named};
use crate::detect::Severity;
use crate::nacl::Rule;
use crate::topology::model::{NetworkAcl, tag};
use crate::topology::{Family, Network, Subnet};

pub(super) const ALLOW_ALL: Check = Check {
    id: "audit_nacl_allows_all",
    title: "Subnets under a network ACL that allows everything",
};

/// The network ACL that comes with a VPC lets everything pass, both ways, and so does every subnet that nobody gave another: then
/// security groups are the only layer, and one careless rule opens the host. (VPC User Guide, "Default network ACL".)
pub(super) fn allow_all_nacls(network: &Network) -> Vec<Problem> {
    let mut problems = Vec::new();
    for nacl in &network.resources().network_acls {
        let open: Vec<String> = [Family::V4, Family::V6]
            .into_iter()
            .filter(|family| allows_all(nacl, *family, false) && allows_all(nacl, *family, true))
            .map(|family| family.to_string())
            .collect();
        let subnets: Vec<&Subnet> = network
            .subnets()
            .iter()
            .filter(|subnet| subnet.nacl_id.as_deref() == Some(nacl.network_acl_id.as_str()))
            .collect();
        if open.is_empty() || subnets.is_empty() {
            continue;
        }
        let is_empty = nacl
            .vpc_id
            .as_deref()
            .and_then(|id| network.vpc(id))
            .and_then(|vpc| interfaces_in(network, vpc))
            .is_some_and(|interfaces| interfaces.is_empty());
        let names: Vec<String> = subnets.iter().map(|subnet| subnet_named(subnet)).collect();
        let reason = format!(
            "{}{} allows all {} traffic, both ways, to {}: {}",
            named(&nacl.network_acl_id, tag(&nacl.tags, "Name")),
            if nacl.is_default {
                ", the default of its VPC,"
            } else {
                ""
            },
            open.join(" and "),
            counted(subnets.len(), "subnet"),
            listed(&names)
        );
        let ids: Vec<&str> = subnets.iter().map(|subnet| subnet.id.as_ref()).collect();
        let text = |text: &Option<String>| text.clone();
        problems.push(
            Problem {
                severity: Some(if is_empty {
                    Severity::Info
                } else {
                    Severity::Low
                }),
                account_id: text(&nacl.account_id),
                region: text(&nacl.region),
                vpc_id: text(&nacl.vpc_id),
                reason,
                ..Problem::default()
            }
            .about(nacl.network_acl_id.as_str())
            .with("nacl_id", nacl.network_acl_id.as_str())
            .with("is_default", nacl.is_default)
            .with("families", open)
            .with_ids("subnet", &ids),
        );
    }
    problems
}

/// True if the first rule for a family that denies anything comes after one that allows everything.
fn allows_all(nacl: &NetworkAcl, family: Family, egress: bool) -> bool {
    let mut rules: Vec<Rule> = nacl
        .entries
        .iter()
        .filter(|entry| entry.egress == egress)
        .filter_map(Rule::from_entry)
        .filter(|rule| Family::of_net(&rule.cidr) == family)
        .collect();
    rules.sort_by_key(|rule| rule.number);
    rules
        .iter()
        .take_while(|rule| rule.allows)
        .any(|rule| rule.protocol.is_none() && rule.cidr.prefix_len() == 0)
}
