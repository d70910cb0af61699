//! `nacl advise`: changes of network ACLs out of what was refused, or with `--tighten` out of what was accepted.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;
use ipnet::IpNet;

use super::advised::{ForNacl, Print, script, written};
use super::explain::ports;
use super::window::{HistoryArgs, Past};
use crate::cli::Outcome;
use crate::cli::args::{FormatArg, GlobalArgs};
use crate::cli::printer::Printer;
use crate::evidence::{Confidence, Grounds, OnExpected, Which, observed, port_edges};
use crate::nacl::{
    AdviseSettings, Advised, Nacl, Observed, Quota, Refusal, RoundTo, TightenSettings, advise,
    aws_cli, terraform, tighten,
};
use crate::report::{Format, human_count};

#[derive(Debug, Args)]
pub(in crate::cli) struct AdviseArgs {
    #[command(flatten)]
    history: HistoryArgs,
    /// Only this network ACL (repeatable)
    #[arg(long, value_name = "ID")]
    nacl: Vec<String>,
    /// Only the network ACL of this subnet, and the attempts on this subnet (repeatable)
    #[arg(long, value_name = "ID")]
    subnet: Vec<String>,
    /// Accepted flows that the advice for a port, or for a tightened ACL, may deny
    #[arg(long, value_name = "N", default_value_t = 0)]
    allow_denied: u64,
    /// Print what takes the advised changes back, once they are made, instead of the changes
    #[arg(long)]
    rollback: bool,
    #[command(flatten)]
    refused: RefusedArgs,
    #[command(flatten)]
    accepted: AcceptedArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Out of what was refused")]
struct RefusedArgs {
    /// What the network's owner expects (policy.toml): attempts that it expects as `reject_spike` lead to no advice
    #[arg(long, value_name = "FILE", env = "FLOWSCOUT_POLICY")]
    policy: Option<PathBuf>,
    /// Attempts on a port that the ACL let in and security groups refused, below which nothing is advised
    #[arg(long, value_name = "N", default_value_t = 100)]
    min_attempts: u64,
    /// Days on which there were some; few days lower the confidence anyway
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_days: u64,
    /// Attempts that a deny must have stopped to be worth a rule; splinters of a larger block need a hundredth of all
    #[arg(long, value_name = "N", default_value_t = 10)]
    rule_attempts: u64,
    /// Sources are put together in blocks no wider than this many bits, unless the quota asks for it (IPv6: 32 bits more)
    #[arg(long, value_name = "BITS", default_value_t = 24, value_parser = clap::value_parser!(u8).range(8..=32))]
    widest: u8,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Out of what was accepted")]
struct AcceptedArgs {
    /// The smallest rules that would have let every accepted flow pass, in the place of today's
    #[arg(long)]
    tighten: bool,
    /// How far an address stands for its neighbours: its `subnet`, or this many bits (load balancers stand for their subnet)
    #[arg(long, value_name = "subnet|BITS", default_value = "subnet", value_parser = round_to)]
    round_to: RoundTo,
    /// The ports on which clients are answered
    #[arg(long, value_name = "FROM-TO", default_value = "1024-65535", value_parser = ports)]
    ephemeral: RangeInclusive<u16>,
    /// A port that more blocks outside of our subnets use is open to all; an allow is narrowed to so many at most
    #[arg(long, value_name = "N", default_value_t = 8)]
    most_blocks: usize,
}

fn round_to(text: &str) -> Result<RoundTo, String> {
    match (text, text.trim_start_matches('/').parse::<u8>()) {
        ("subnet", _) => Ok(RoundTo::Subnet),
        (_, Ok(bits @ 8..=32)) => Ok(RoundTo::Prefix(bits)),
        _ => Err("expected `subnet` or 8 to 32 bits".to_owned()),
    }
}

pub(super) async fn run(
    args: AdviseArgs,
    global: &GlobalArgs,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    if matches!(printer.format(), Format::Csv | Format::Parquet) {
        bail!(
            "`nacl advise` gives objects with lists: expected `--format` table, json, ndjson, terraform or aws-cli"
        );
    }
    let print = match args.rollback {
        true => Print::WayBack,
        false => Print::Changes,
    };
    let past = args
        .history
        .open(args.refused.policy.as_deref(), printer)
        .await?;
    let (ids, within) = chosen(&args, &past)?;
    let records = records(&args, &past).await?;
    let grounds = Grounds::of(&past.session, past.window).await?;
    let mut found = Vec::new();
    for nacl in past
        .guarded
        .nacls()
        .iter()
        .filter(|nacl| ids.contains(&nacl.id))
    {
        let subnets: HashSet<&str> = nacl.subnet_ids.iter().map(AsRef::as_ref).collect();
        let own: Vec<Observed> = records
            .iter()
            .filter(|record| {
                let edges = record.edges.iter().map(|edge| &edge.subnet_id);
                let mut of_record = edges.chain(&record.from_subnet);
                of_record.any(|id| subnets.contains(id.as_ref()))
            })
            .cloned()
            .collect();
        if own.is_empty() {
            continue;
        }
        let confidence = grounds.confidence(nacl, &past.network);
        let (advised, notes) = match args.accepted.tighten {
            true => tightened(&args, &past, nacl, &own),
            false => advice(&args, &past, nacl, &own, &within, &confidence),
        };
        found.push(ForNacl {
            nacl,
            advised,
            notes,
            confidence,
            is_tightened: args.accepted.tighten,
        });
    }
    let text = match global.format {
        Some(FormatArg::Terraform) => found
            .iter()
            .map(|of| script(of, print, &past, terraform))
            .collect(),
        Some(FormatArg::AwsCli) => found
            .iter()
            .map(|of| script(of, print, &past, aws_cli))
            .collect(),
        _ => written(&found, print, &past, printer)?,
    };
    printer.data(text.as_bytes())?;
    if printer.format() != Format::Table || global.format.is_some_and(FormatArg::is_script) {
        for of in &found {
            for note in &of.notes {
                printer.say(&format!("{}: {note}", of.nacl.id));
            }
        }
    }
    let changes: usize = found.iter().map(|of| of.advised.len()).sum();
    printer.say(&format!(
        "{changes} changes advised; nothing was changed; {}",
        past.words()
    ));
    Ok(Outcome::Done)
}

/// Ids of ACLs or of subnets.
type Ids = HashSet<Arc<str>>;

/// The ACLs that are asked for, and the subnets whose attempts are looked at.
fn chosen(args: &AdviseArgs, past: &Past) -> anyhow::Result<(Ids, Ids)> {
    let guarded = &past.guarded;
    for id in &args.nacl {
        if guarded.nacl(id).is_none() {
            let known: Vec<&str> = guarded.nacls().iter().map(|nacl| &*nacl.id).collect();
            bail!(
                "`--nacl {id}`: the topology has no such network ACL; it has {}",
                known.join(", ")
            );
        }
    }
    for id in &args.subnet {
        if guarded.of_subnet(id).is_none() {
            bail!("`--subnet {id}`: the topology has no such subnet, or not its network ACL");
        }
    }
    let is_asked =
        |asked: &[String], id: &str| asked.is_empty() || asked.iter().any(|asked| asked == id);
    let (mut ids, mut within) = (Ids::new(), Ids::new());
    for nacl in guarded.nacls() {
        let subnets = nacl
            .subnet_ids
            .iter()
            .filter(|id| is_asked(&args.subnet, id));
        let subnets: Ids = subnets.map(Arc::clone).collect();
        let has_subnet = args.subnet.is_empty() || !subnets.is_empty();
        if has_subnet && is_asked(&args.nacl, &nacl.id) {
            ids.insert(Arc::clone(&nacl.id));
        }
        within.extend(subnets);
    }
    Ok((ids, within))
}

/// The window's records, summed so that no rule of today or of the advice divides what is one.
async fn records(args: &AdviseArgs, past: &Past) -> anyhow::Result<Vec<Observed>> {
    let on_expected = match args.refused.policy {
        Some(_) => OnExpected::LeaveOut,
        None => OnExpected::Keep,
    };
    let mut edges: BTreeSet<u16> = port_edges([&past.guarded]).into_iter().collect();
    let mut add = |from: u16, to: u16| {
        edges.insert(from);
        edges.extend(to.checked_add(1));
    };
    if args.accepted.tighten {
        add(
            *args.accepted.ephemeral.start(),
            *args.accepted.ephemeral.end(),
        );
    } else {
        let refused =
            observed(&past.session, past.window, &[], Which::Refused, on_expected).await?;
        let mut attempts = BTreeMap::<u16, u64>::new();
        for record in refused {
            if let (Some(Refusal::SecurityGroup), Some(port)) =
                (record.refused, record.service_port)
            {
                *attempts.entry(port).or_default() += record.flows;
            }
        }
        let many = attempts
            .into_iter()
            .filter(|(_, count)| *count >= args.refused.min_attempts);
        for (port, _) in many {
            add(port, port);
        }
    }
    let edges: Vec<u16> = edges.into_iter().filter(|port| *port > 1024).collect();
    Ok(observed(&past.session, past.window, &edges, Which::All, on_expected).await?)
}

fn advice(
    args: &AdviseArgs,
    past: &Past,
    nacl: &Nacl,
    own: &[Observed],
    within: &Ids,
    confidence: &Confidence,
) -> (Vec<Advised>, Vec<String>) {
    let vpc: Vec<IpNet> = nacl
        .vpc_id
        .as_deref()
        .and_then(|id| past.network.vpc(id))
        .map_or_else(Vec::new, |vpc| vpc.cidrs.clone());
    let settings = AdviseSettings {
        min_attempts: args.refused.min_attempts,
        min_days: args.refused.min_days,
        rule_attempts: args.refused.rule_attempts,
        quota: Quota(args.history.rule_quota),
        widest4: args.refused.widest,
        widest6: args.refused.widest + 32,
        most_blocks: args.accepted.most_blocks,
        allow_denied: args.allow_denied,
    };
    let within = nacl
        .subnet_ids
        .iter()
        .filter(|id| within.contains(*id))
        .map(Arc::clone)
        .collect();
    let advice = advise(&past.guarded, nacl, &vpc, own, &within, &settings);
    let mut notes = advice.notes;
    notes.extend(unneeded(advice.unneeded.as_deref(), confidence));
    (advice.advised, notes)
}

/// What is said of allows that nothing needed. It is no advice: what runs once a quarter, or when another zone is down, needs them too.
fn unneeded(rules: Option<&[String]>, confidence: &Confidence) -> Option<String> {
    match rules {
        None => Some(
            "no accepted flow was recorded at its edges: it can't be told which allows are needed"
                .to_owned(),
        ),
        Some([]) => None,
        Some(rules) => Some(format!(
            "no accepted flow of the window, and no reply to one, needed {} ({confidence}): before you delete one, make sure that nothing rare \
             needs it, and try it with `nacl replay`",
            rules.join("; ")
        )),
    }
}

fn tightened(
    args: &AdviseArgs,
    past: &Past,
    nacl: &Nacl,
    own: &[Observed],
) -> (Vec<Advised>, Vec<String>) {
    let settings = TightenSettings {
        round_to: args.accepted.round_to,
        ephemeral: args.accepted.ephemeral.clone(),
        most_blocks: args.accepted.most_blocks,
        quota: Quota(args.history.rule_quota),
    };
    let tightened = tighten(&past.network, &past.guarded, nacl, own, &settings);
    let mut notes = tightened.notes;
    notes.push(format!(
        "{} rules in and {} out instead of {} and {}; it would newly deny {} flows that only security groups refused, {} accepted ones, and \
         whatever else today's allows let pass and no flow of the window used",
        tightened.after.ingress.len(),
        tightened.after.egress.len(),
        nacl.ingress.len(),
        nacl.egress.len(),
        human_count(tightened.numbers.rejected_flows_matched),
        human_count(tightened.numbers.accepted_flows_denied)
    ));
    if tightened.numbers.accepted_flows_denied > args.allow_denied {
        notes.push(
            "nothing is advised: accepted flows would be denied (--allow-denied N lets it)"
                .to_owned(),
        );
        return (Vec::new(), notes);
    }
    (tightened.advised, notes)
}
