//! `topology explain`: a subnet, an interface or an address, walked through for a reader.

use std::fmt::Write;

use anyhow::bail;
use chrono::{SecondsFormat, Utc};
use clap::Args;

use super::source::TopologySource;
use crate::cli::Outcome;
use crate::cli::printer::Printer;
use crate::cli::time::TimeArg;
use crate::report::{Format, key_values, plain_table, printable};
use crate::topology::explain::{
    AddressExplained, Explained, FamilyExplained, Group, Holder, InterfaceExplained, NotBetter,
    RouteExplained, Rules, Seen, SubnetExplained, VpcNamed, What,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArgs {
    /// A subnet (`subnet-…`), an interface (`eni-…`) or an address
    #[arg(value_name = "SUBNET|INTERFACE|ADDRESS")]
    subject: String,
    /// Only in this VPC: where CIDRs overlap, an address means something in several
    #[arg(long, value_name = "ID")]
    vpc: Option<String>,
    /// As of this time: RFC 3339, a date, or a duration back from now [default: the latest snapshot]
    #[arg(long, value_name = "T", value_parser = TimeArg::parse)]
    at: Option<TimeArg>,
    #[command(flatten)]
    source: TopologySource,
}

pub(super) async fn run(args: ExplainArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    let format = printer.format();
    if matches!(format, Format::Csv | Format::Parquet) {
        bail!(
            "`topology explain` gives one object, not rows: expected `--format` table, json or ndjson"
        );
    }
    let now = Utc::now();
    let history = args.source.history(now, printer).await?;
    let network = args
        .at
        .map_or_else(|| history.latest(), |time| history.at(time.at(now)));
    let explained = network.explain(&args.subject, args.vpc.as_deref())?;
    let text = match format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&explained)?),
        Format::Table => printable(&text(&explained)),
        _ => format!("{}\n", serde_json::to_string(&explained)?),
    };
    printer.data(text.as_bytes())?;
    Ok(Outcome::Done)
}

fn text(explained: &Explained) -> String {
    let at = explained.at.to_rfc3339_opts(SecondsFormat::Secs, true);
    match &explained.what {
        What::Subnet(subnet) => format!("As of {at}\n\n{}", subnet_text(subnet)),
        What::Interface(interface) => format!("As of {at}\n\n{}", interface_text(interface)),
        What::Address(address) => format!("As of {at}\n\n{}", address_text(address)),
    }
}

fn named(id: &str, name: Option<&String>) -> String {
    name.map_or_else(|| id.to_owned(), |name| format!("{id} ({name})"))
}

fn subnet_text(subnet: &SubnetExplained) -> String {
    let zone = match (&subnet.availability_zone, &subnet.availability_zone_id) {
        (Some(zone), Some(id)) => format!("{zone} ({id})"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => "-".to_owned(),
    };
    let table = &subnet.route_table;
    let table = match &table.route_table_id {
        Some(id) => format!("{}: {}", named(id, table.name.as_ref()), table.why),
        None => format!("none: {}", table.why),
    };
    let mut pairs = vec![
        ("subnet", named(&subnet.subnet_id, subnet.name.as_ref())),
        (
            "VPC",
            subnet
                .vpc
                .as_ref()
                .map_or_else(|| "-".to_owned(), VpcNamed::words),
        ),
        ("zone", zone),
        ("CIDRs", subnet.cidrs.join(", ")),
        ("route table", table),
        ("network ACL", nacl_line(subnet.nacl.as_ref())),
    ];
    if let Some(block) = &subnet.block_public_access {
        pairs.push((
            "Block Public Access",
            format!(
                "{}, set on the {}: {}",
                block.mode,
                if block.set_on == "vpc" {
                    "VPC"
                } else {
                    "subnet"
                },
                block.means
            ),
        ));
    }
    let mut text = key_values(&pairs);
    for family in &subnet.families {
        text.push('\n');
        text.push_str(&family_text(family));
    }
    text
}

fn nacl_line(nacl: Option<&Rules>) -> String {
    let Some(nacl) = nacl else {
        return "not in the topology".to_owned();
    };
    let default = if nacl.is_default {
        ", the VPC's default"
    } else {
        ""
    };
    format!(
        "{}{default}, {} rules in, {} out",
        named(&nacl.nacl_id, nacl.name.as_ref()),
        nacl.ingress.len(),
        nacl.egress.len()
    )
}

fn family_text(family: &FamilyExplained) -> String {
    let mut text = format!(
        "{}: {}\n  since {}\n",
        family.family,
        family.class.as_str(),
        family.reason
    );
    for not in shown(&family.not_better) {
        // Written into memory, which cannot fail.
        writeln!(text, "  not {}: {}", not.class.as_str(), not.because).ok();
    }
    if family.routes.is_empty() {
        return text;
    }
    text.push_str("  The longest prefix that holds an address is in force for it:\n");
    let rows = family.routes.iter().map(route_row);
    text.push_str(&plain_table(
        &["", "destination", "target", "state", "leads to"],
        &[],
        rows,
    ));
    text.push('\n');
    text
}

/// Of the better classes: the best, those that something stands in the way of, and the next one.
fn shown(not_better: &[NotBetter]) -> impl Iterator<Item = &NotBetter> {
    let last = not_better.len().saturating_sub(1);
    not_better
        .iter()
        .enumerate()
        .filter(move |(index, not)| *index == 0 || *index == last || not.nearly)
        .map(|(_, not)| not)
}

fn route_row(route: &RouteExplained) -> Vec<String> {
    let origin = match route.origin {
        "propagated" => ", propagated",
        _ => "",
    };
    vec![
        if route.decides { "→" } else { "" }.to_owned(),
        named(&route.destination, route.destination_name.as_ref()),
        route.target_id.clone(),
        format!("{}{origin}", route.state),
        route.means.clone(),
    ]
}

fn interface_text(interface: &InterfaceExplained) -> String {
    let mut pairs = vec![(
        "interface",
        named(&interface.interface_id, interface.name.as_ref()),
    )];
    let mut part_of = interface.part_of.to_owned();
    if let Some(instance) = &interface.instance_id {
        part_of.push_str(&format!(", instance {instance}"));
    }
    if let Some(description) = &interface.description {
        part_of.push_str(&format!(": {description}"));
    }
    pairs.push(("part of", part_of));
    if let Some(status) = &interface.status {
        pairs.push(("status", status.clone()));
    }
    if interface.source_dest_check == Some(false) {
        pairs.push((
            "source/dest check",
            "off: it may pass on packets of others, as a NAT or an appliance does".to_owned(),
        ));
    }
    let addresses: Vec<String> = interface
        .addresses
        .iter()
        .map(|address| match &address.public_address {
            Some(public) => format!("{} {}, public as {public}", address.role, address.address),
            None => format!("{} {}", address.role, address.address),
        })
        .collect();
    pairs.push(("addresses", addresses.join("; ")));
    if !interface.prefixes.is_empty() {
        pairs.push(("prefixes", interface.prefixes.join(", ")));
    }
    let is_said = |public: &&String| {
        let mut own = interface.addresses.iter();
        own.any(|address| address.public_address.as_ref() == Some(*public))
    };
    let others: Vec<&str> = interface
        .public_addresses
        .iter()
        .filter(|public| !is_said(public))
        .map(String::as_str)
        .collect();
    if !others.is_empty() {
        pairs.push(("public addresses", others.join(", ")));
    }
    for sentence in &interface.reach {
        pairs.push(("reach", sentence.clone()));
    }
    let mut text = key_values(&pairs);
    for group in &interface.security_groups {
        text.push_str(&group_text(group));
    }
    match &interface.subnet {
        Some(subnet) => {
            if let Some(nacl) = &subnet.nacl {
                text.push_str(&nacl_text(nacl));
            }
            text.push('\n');
            text.push_str(&subnet_text(subnet));
        }
        None => text.push_str(&format!(
            "\nIts subnet {} is not in the topology: no route table, no class.\n",
            interface.subnet_id.as_deref().unwrap_or("-")
        )),
    }
    text
}

fn group_text(group: &Group) -> String {
    let mut text = format!(
        "security group {}\n",
        named(&group.group_id, group.group_name.as_ref())
    );
    if !group.rules_known {
        text.push_str("  its rules are not in the topology\n");
        return text;
    }
    text.push_str(&lines("in ", &group.ingress, "nothing"));
    text.push_str(&lines("out", &group.egress, "nothing"));
    text
}

fn nacl_text(nacl: &Rules) -> String {
    format!(
        "network ACL {}, the first rule that matches decides\n{}{}",
        named(&nacl.nacl_id, nacl.name.as_ref()),
        lines("in ", &nacl.ingress, "no rules"),
        lines("out", &nacl.egress, "no rules")
    )
}

fn lines(label: &str, rules: &[String], none: &str) -> String {
    if rules.is_empty() {
        return format!("  {label}  {none}\n");
    }
    rules
        .iter()
        .map(|rule| format!("  {label}  {rule}\n"))
        .collect()
}

fn address_text(address: &AddressExplained) -> String {
    let mut text = format!("{}\n", address.address);
    for fact in &address.by_itself {
        text.push_str(&format!("  {fact}\n"));
    }
    if !address.held_by.is_empty() {
        text.push_str(match address.held_by.len() {
            1 => "\nWho has it:\n",
            _ => "\nWho has it; it means something else in each of these:\n",
        });
        let rows = address.held_by.iter().map(holder_row);
        text.push_str(&plain_table(&["VPC", "subnet", "class", "what"], &[], rows));
        text.push('\n');
    }
    if !address.seen_from.is_empty() {
        text.push_str("\nWhat it is, as seen from:\n");
        let ways_of = |vpc_id: &str| {
            let of_vpc = address
                .seen_from
                .iter()
                .filter(|seen| seen.vpc_id == vpc_id);
            of_vpc.count()
        };
        let rows = address
            .seen_from
            .iter()
            .map(|seen| seen_row(seen, ways_of(&seen.vpc_id)));
        text.push_str(&plain_table(
            &["VPC", "subnets", "scope", "what"],
            &[],
            rows,
        ));
        text.push('\n');
    }
    text
}

fn holder_row(holder: &Holder) -> Vec<String> {
    let vpc = holder.vpc.as_ref();
    vec![
        vpc.map_or_else(|| "-".to_owned(), VpcNamed::words),
        holder.subnet_id.as_ref().map_or_else(
            || "-".to_owned(),
            |id| named(id, holder.subnet_name.as_ref()),
        ),
        holder
            .subnet_class
            .map_or_else(|| "-".to_owned(), |class| class.as_str().to_owned()),
        holder.words.clone(),
    ]
}

fn seen_row(seen: &Seen, ways_of_vpc: usize) -> Vec<String> {
    let subnets = match (seen.subnet_ids.len(), ways_of_vpc) {
        (0, _) => "-".to_owned(),
        (2.., 1) => format!("all {}", seen.subnet_ids.len()),
        _ => seen.subnet_ids.join("\n"),
    };
    vec![
        named(&seen.vpc_id, seen.vpc_name.as_ref()),
        subnets,
        seen.scope.as_str().to_owned(),
        seen.words.clone(),
    ]
}
