//! What flow logs record, and what no one will know about.

use super::{Check, Problem, counted, interfaces_in, listed, subnet_named, subnets_in, vpc_named};
use crate::detect::Severity;
use crate::topology::model::{FlowLog, Kind};
use crate::topology::{FlowLogs, Interface, Network, Recorded, Subnet, Vpc};

pub(super) const INCOMPLETE: Check = Check {
    id: "audit_flow_log_incomplete",
    title: "No flow log records all traffic",
};

/// How bad it is, and why in words; nobody looks for what they believe is recorded.
fn lack(recorded: &Recorded<'_>) -> (Severity, &'static str, String) {
    let ids = |logs: &[&FlowLog]| {
        let ids: Vec<String> = logs.iter().map(|log| log.flow_log_id.clone()).collect();
        listed(&ids)
    };
    if !recorded.accepts && !recorded.rejects {
        if let Some(first) = recorded.failed.first() {
            let message = first
                .deliver_logs_error_message
                .as_ref()
                .map(|message| format!(" ({message})"))
                .unwrap_or_default();
            let words = format!(
                "{} is active and cannot deliver{message}: nothing is recorded",
                ids(&recorded.failed)
            );
            return (Severity::High, "failed", words);
        }
        if !recorded.inactive.is_empty() {
            let words = format!(
                "{} is not active: nothing is recorded",
                ids(&recorded.inactive)
            );
            return (Severity::Medium, "inactive", words);
        }
        return (Severity::Medium, "none", "no flow log".to_owned());
    }
    let partial = ids(&recorded.partial);
    if recorded.rejects {
        let words = format!("{partial} records REJECT only: what was let in or out is not known");
        (Severity::Medium, "reject_only", words)
    } else {
        let words =
            format!("{partial} records ACCEPT only: what was tried and refused is not known");
        (Severity::Low, "accept_only", words)
    }
}

/// A VPC that nothing in it is recorded of is one finding; else each subnet with interfaces that are not.
pub(super) fn incomplete_flow_logs(network: &Network) -> Vec<Problem> {
    let logs = FlowLogs::of(network);
    let of = |id: &str| logs.of_resource(id);
    let mut problems = Vec::new();
    for vpc in network.vpcs().iter().filter(|vpc| logs.are_known(vpc)) {
        let whole = of(&vpc.id);
        if whole.is_complete() {
            continue;
        }
        let subnets = subnets_in(network, vpc);
        let interfaces: Vec<&Interface> = network
            .interfaces()
            .iter()
            .filter(|interface| interface.vpc_id.as_deref() == Some(vpc.id.as_ref()))
            .collect();
        let has_parts = subnets.iter().any(|subnet| !of(&subnet.id).is_nothing())
            || interfaces
                .iter()
                .any(|interface| !of(&interface.id).is_nothing());
        if has_parts {
            for subnet in subnets {
                let own = of(&subnet.id).within(&whole);
                let here = interfaces
                    .iter()
                    .filter(|interface| interface.subnet_id.as_deref() == Some(&subnet.id));
                let here: Vec<&Interface> = here.copied().collect();
                problems.extend(of_subnet(network, subnet, &own, &here, &of));
            }
            problems.extend(of_strays(network, vpc, &whole, &interfaces, &of));
        } else {
            problems.push(of_vpc(network, vpc, &whole));
        }
    }
    problems
}

fn of_vpc(network: &Network, vpc: &Vpc, recorded: &Recorded<'_>) -> Problem {
    let (severity, state, words) = lack(recorded);
    let interfaces = interfaces_in(network, vpc);
    let is_empty = interfaces.as_ref().is_some_and(Vec::is_empty);
    // Where nothing is, nothing goes unrecorded yet; that a flow log is broken holds all the same.
    let severity = if is_empty && state != "failed" {
        Severity::Info
    } else {
        severity
    };
    let what = match &interfaces {
        Some(_) if is_empty => ", which has no interfaces".to_owned(),
        Some(interfaces) => format!(" with {}", counted(interfaces.len(), "interface")),
        None => String::new(),
    };
    let reason = format!("{}{what}: {words}", vpc_named(vpc));
    with_logs(Problem::of_vpc(vpc, severity, reason), state, recorded)
}

fn of_subnet<'n>(
    network: &Network,
    subnet: &Subnet,
    own: &Recorded<'n>,
    interfaces: &[&Interface],
    of: &impl Fn(&str) -> Recorded<'n>,
) -> Option<Problem> {
    if own.is_complete() {
        return None;
    }
    let lacking: Vec<(&Interface, Recorded<'_>)> = interfaces
        .iter()
        .map(|interface| (*interface, of(&interface.id).within(own)))
        .filter(|(_, recorded)| !recorded.is_complete())
        .collect();
    let knows_interfaces = network.knows_any(Kind::NetworkInterfaces);
    if knows_interfaces && !interfaces.is_empty() && lacking.is_empty() {
        return None;
    }
    // What the worst of the interfaces lacks.
    let worst = lacking
        .iter()
        .map(|(_, recorded)| recorded)
        .max_by_key(|recorded| lack(recorded).0)
        .unwrap_or(own);
    let (severity, state, words) = lack(worst);
    let severity = if knows_interfaces && interfaces.is_empty() && state != "failed" {
        Severity::Info
    } else {
        severity
    };
    let ids: Vec<&str> = lacking
        .iter()
        .map(|(interface, _)| interface.id.as_ref())
        .collect();
    let some = if lacking.len() < interfaces.len() {
        let names: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        format!(
            " for {} of {}, {}",
            lacking.len(),
            counted(interfaces.len(), "interface"),
            listed(&names)
        )
    } else if interfaces.is_empty() && knows_interfaces {
        ", which has no interfaces".to_owned()
    } else {
        String::new()
    };
    let reason = format!("{}{some}: {words}", subnet_named(subnet));
    let problem = Problem::of_subnet(subnet, severity, reason).with_ids("interface", &ids);
    Some(with_logs(problem, state, worst))
}

/// Interfaces whose subnet the topology does not have: nothing but their VPC is there to name them.
fn of_strays<'n>(
    network: &Network,
    vpc: &Vpc,
    whole: &Recorded<'n>,
    interfaces: &[&Interface],
    of: &impl Fn(&str) -> Recorded<'n>,
) -> Option<Problem> {
    let lacking: Vec<(&str, Recorded<'_>)> = interfaces
        .iter()
        .filter_map(|interface| {
            let subnet_id = interface.subnet_id.as_deref().unwrap_or_default();
            if network.subnet(subnet_id).is_some() {
                return None;
            }
            let recorded = of(&interface.id).within(&of(subnet_id).within(whole));
            (!recorded.is_complete()).then_some((interface.id.as_ref(), recorded))
        })
        .collect();
    let (_, worst) = lacking
        .iter()
        .max_by_key(|(_, recorded)| lack(recorded).0)?;
    let (severity, state, words) = lack(worst);
    let ids: Vec<&str> = lacking.iter().map(|(id, _)| *id).collect();
    let names: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    let reason = format!(
        "{} for {} in subnets that the topology lacks, {}: {words}",
        vpc_named(vpc),
        counted(ids.len(), "interface"),
        listed(&names)
    );
    let problem = Problem::of_vpc(vpc, severity, reason).with_ids("interface", &ids);
    Some(with_logs(problem, state, worst))
}

fn with_logs(problem: Problem, state: &str, recorded: &Recorded<'_>) -> Problem {
    let logs = recorded
        .partial
        .iter()
        .chain(&recorded.failed)
        .chain(&recorded.inactive);
    let ids: Vec<&str> = logs.map(|log| log.flow_log_id.as_str()).collect();
    let message = recorded
        .failed
        .iter()
        .find_map(|log| log.deliver_logs_error_message.as_deref());
    problem
        .with("state", state)
        .with("flow_log_ids", ids)
        .with("deliver_logs_error_message", message)
}

/// Says of which VPCs the flow logs are not known.
pub(super) fn note(network: &Network) -> Option<String> {
    let logs = FlowLogs::of(network);
    let unknown: Vec<String> = network
        .vpcs()
        .iter()
        .filter(|vpc| !logs.are_known(vpc))
        .map(vpc_named)
        .collect();
    (!unknown.is_empty()).then(|| {
        format!(
            "flow logs are not known of {} (add `aws ec2 describe-flow-logs` of their accounts and regions): {}",
            counted(unknown.len(), "VPC"),
            listed(&unknown)
        )
    })
}
