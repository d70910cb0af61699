//! `nacl explain`: which rule decides a flow, there and back, and what the log says.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use anyhow::{Context, bail};
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use chrono::{SubsecRound, Utc};
use clap::Args;
use datafusion::common::ScalarValue;
use serde::Serialize;

use super::window::{WindowArgs, rfc3339};
use crate::cli::Outcome;
use crate::cli::args::AddressArgs;
use crate::cli::knowledge;
use crate::cli::printer::Printer;
use crate::cli::time::TimeArg;
use crate::cli::time::to_second;
use crate::lake::{Lake, LakeUri};
use crate::nacl::{Guarded, Looked, Walk, number_words, protocol_words, walk};
use crate::policy::{Policy, protocol_number};
use crate::report::{Format, key_values, printable};
use crate::session::{Session, timestamp_scalar};

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArgs {
    /// The flow in one text, such as "10.0.1.10 -> 10.0.2.20:5432/tcp" or "2001:db8::1 -> [2001:db8::2]:443"
    #[arg(value_name = "FLOW", conflicts_with_all = ["from_addr", "to_addr", "port", "protocol"])]
    flow: Option<String>,
    /// The client's address
    #[arg(long, value_name = "ADDR", required_unless_present = "flow")]
    from_addr: Option<IpAddr>,
    /// The server's address
    #[arg(long, value_name = "ADDR", required_unless_present = "flow")]
    to_addr: Option<IpAddr>,
    /// The server's port
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// tcp, udp, icmp, icmpv6 or a number
    #[arg(long, value_name = "PROTOCOL", default_value = "tcp", value_parser = protocol)]
    protocol: u8,
    /// The ports that the client may use, which the reply is sent to
    #[arg(long, value_name = "FROM-TO", default_value = "1024-65535", value_parser = ports)]
    client_ports: RangeInclusive<u16>,
    /// The interface of one end, where an address means something in several VPCs
    #[arg(long, value_name = "ID", help_heading = "Network")]
    interface: Option<String>,
    /// The subnet of one end
    #[arg(long, value_name = "ID", help_heading = "Network")]
    subnet: Option<String>,
    /// The VPC of one end
    #[arg(long, value_name = "ID", help_heading = "Network")]
    vpc: Option<String>,
    /// As of this time: RFC 3339, a date, or a duration back from now [default: the latest snapshot]
    #[arg(long, value_name = "T", value_parser = TimeArg::parse)]
    at: Option<TimeArg>,
    /// The lake: a folder or s3://bucket/prefix [default: ./flowscout-lake, none with --topology]
    #[arg(long, value_name = "URI", env = "FLOWSCOUT_LAKE")]
    lake: Option<String>,
    /// Straight from these folders or files of EC2 JSON (repeatable)
    #[arg(long, value_name = "DIR|FILE", help_heading = "Network")]
    topology: Vec<PathBuf>,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    addresses: AddressArgs,
}

fn protocol(text: &str) -> Result<u8, String> {
    let number = protocol_number(text).and_then(|number| u8::try_from(number).ok());
    number.ok_or_else(|| "expected `tcp`, `udp`, `icmp`, `icmpv6` or a number up to 255".to_owned())
}

pub(super) fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (from.parse(), to.parse()) {
        (Ok(from), Ok(to)) if from <= to => Ok(from..=to),
        _ => Err("expected a port or a range such as `1024-65535`".to_owned()),
    }
}

/// `10.0.1.10 -> 10.0.2.20:5432/tcp`.
fn parse(text: &str) -> anyhow::Result<(IpAddr, IpAddr, Option<u16>, u8)> {
    let wrong =
        || format!("`{text}` is no flow: expected one such as `10.0.1.10 -> 10.0.2.20:5432/tcp`");
    let (from, rest) = text.split_once("->").with_context(wrong)?;
    let (to, word) = match rest.split_once('/') {
        Some((to, word)) => (to.trim(), word.trim()),
        None => (rest.trim(), "tcp"),
    };
    let from: IpAddr = from.trim().parse().with_context(wrong)?;
    let protocol = protocol(word)
        .map_err(anyhow::Error::msg)
        .with_context(wrong)?;
    if let Ok(to) = to.parse::<SocketAddr>() {
        return Ok((from, to.ip(), Some(to.port()), protocol));
    }
    Ok((from, to.parse().with_context(wrong)?, None, protocol))
}

pub(super) async fn run(args: ExplainArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    let format = printer.format();
    if matches!(format, Format::Csv | Format::Parquet) {
        bail!(
            "`nacl explain` gives one object, not rows: expected `--format` table, json or ndjson"
        );
    }
    let (from, to, port, protocol) = match (&args.flow, args.from_addr, args.to_addr) {
        (Some(flow), ..) => parse(flow)?,
        (None, Some(from), Some(to)) => (from, to, args.port, args.protocol),
        (None, ..) => bail!("there is no flow: give one, or `--from-addr` and `--to-addr`"),
    };
    let has_ports = matches!(protocol, 6 | 17);
    if has_ports && port.is_none() {
        bail!(
            "{} needs a port: `--port PORT`",
            protocol_words(Some(protocol))
        );
    }
    if from.is_ipv4() != to.is_ipv4() {
        bail!("{from} and {to} are of different families: no packet goes from one to the other");
    }
    let now = Utc::now();
    let settings = knowledge::settings(&args.addresses)?;
    let imported = knowledge::import(&args.topology, now.trunc_subsecs(0), printer)?;
    let uri = args
        .lake
        .clone()
        .or_else(|| imported.is_none().then(|| "./flowscout-lake".to_owned()));
    let lake = match &uri {
        Some(uri) => Some(Lake::open(&LakeUri::parse(uri)?).await?),
        None => None,
    };
    let mut snapshots = match &lake {
        Some(lake) => knowledge::snapshots(lake).await?,
        None => Vec::new(),
    };
    snapshots.extend(imported);
    if snapshots.is_empty() {
        let uri = uri.unwrap_or_default();
        bail!(
            "the lake `{uri}` has no topology: `flowscout topology import DIR --lake {uri}` brings one in, or give `--topology DIR`"
        );
    }
    let knowledge = knowledge::knowledge(snapshots, settings, Policy::default());
    let network = args.at.map_or_else(
        || knowledge.history.latest(),
        |time| knowledge.history.at(time.at(now)),
    );
    let looked = Looked {
        from,
        to,
        protocol,
        port: port.filter(|_| has_ports),
        client_ports: args.client_ports.clone(),
        interface_id: args.interface.as_deref(),
        subnet_id: args.subnet.as_deref(),
        vpc_id: args.vpc.as_deref(),
    };
    let walked = walk(network, &Guarded::of(network), &looked)?;
    let log = match &lake {
        Some(lake) => {
            let session = Session::over_lake(lake, &knowledge).await?;
            match session.span().await? {
                Some(_) => Some(Log::of(&session, &args.window, &walked).await?),
                None => None,
            }
        }
        None => None,
    };
    let explained = Explained {
        at: rfc3339(network.at()),
        walk: walked,
        log,
    };
    let text = match format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&explained)?),
        Format::Table => printable(&text(&explained)),
        _ => format!("{}\n", serde_json::to_string(&explained)?),
    };
    printer.data(text.as_bytes())?;
    Ok(Outcome::Done)
}

#[derive(Debug, Serialize)]
struct Explained {
    at: String,
    #[serde(flatten)]
    walk: Walk,
    log: Option<Log>,
}

/// What the window says of the flow.
#[derive(Debug, Serialize)]
struct Log {
    from: String,
    to: String,
    accepted: i64,
    rejected: i64,
    rejected_by_nacl: i64,
    rejected_by_security_group: i64,
    /// Whether it is what the rules do; null where the log does not tell.
    agrees: Option<bool>,
    words: String,
}

impl Log {
    async fn of(session: &Session, window: &WindowArgs, walk: &Walk) -> anyhow::Result<Self> {
        let (from, to) = window.within(session, "").await?;
        // Where who began is not recorded, packets either way are the flow's.
        let ends = match walk.port {
            Some(_) => "client_addr = $client AND server_addr = $server AND service_port = $port",
            None => {
                "(src_addr = $client AND dst_addr = $server OR src_addr = $server AND dst_addr = $client)"
            }
        };
        let vpc_id = walk.client.vpc_id.as_ref().or(walk.server.vpc_id.as_ref());
        let place = match vpc_id {
            Some(_) => "AND $vpc IN (src_vpc_id, dst_vpc_id, vpc_id)",
            None => "",
        };
        let sql = format!(
            "SELECT action = 'ACCEPT', COALESCE(refused_by, ''), COUNT(*) FROM traffic WHERE counted AND NOT late \
             AND start < $to AND \"end\" >= $from AND protocol = $protocol AND {ends} {place} AND leg = 'direct' GROUP BY 1, 2"
        );
        let text = |text: &str| ScalarValue::Utf8View(Some(text.to_owned()));
        let values = vec![
            ("from".to_owned(), timestamp_scalar(from)),
            ("to".to_owned(), timestamp_scalar(to)),
            ("client".to_owned(), text(&walk.client.addr)),
            ("server".to_owned(), text(&walk.server.addr)),
            (
                "port".to_owned(),
                ScalarValue::Int32(walk.port.map(i32::from)),
            ),
            (
                "protocol".to_owned(),
                ScalarValue::Int32(Some(walk.protocol.into())),
            ),
            ("vpc".to_owned(), text(vpc_id.map_or("", String::as_str))),
        ];
        let (mut accepted, mut rejected, mut by_nacl, mut by_group) = (0, 0, 0, 0);
        for batch in session.query(&sql, values).await? {
            let is_accepted = batch.column(0).as_boolean();
            let by = batch.column(1).as_string_view();
            let counts = batch.column(2).as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let count = counts.value(row);
                if is_accepted.is_valid(row) && is_accepted.value(row) {
                    accepted += count;
                    continue;
                }
                rejected += count;
                match by.value(row) {
                    "security_group" => by_group += count,
                    by if by == "both" || by.starts_with("nacl") => by_nacl += count,
                    _ => {}
                }
            }
        }
        let agrees = match (walk.verdict, accepted > 0, by_nacl > 0) {
            ("allow", true, false) | ("deny", false, true) => Some(true),
            ("allow", false, false) if by_group > 0 => Some(true),
            ("allow", _, true) | ("deny", true, _) => Some(false),
            _ => None,
        };
        let says = match (agrees, accepted + rejected) {
            (_, 0) => "no such flow was recorded".to_owned(),
            (Some(true), _) if accepted == 0 && by_group > 0 => {
                "it agrees: the network ACLs let it pass, security groups refused it".to_owned()
            }
            (Some(true), _) => "it agrees".to_owned(),
            (Some(false), _) => {
                "it disagrees: the rules were others then, or the topology is incomplete".to_owned()
            }
            (None, _) => "it does not tell about these rules".to_owned(),
        };
        let words = format!(
            "{accepted} ACCEPT, {rejected} REJECT ({by_group} by security groups, {by_nacl} by network ACLs), each packet counted once, \
             from {} to {}: {says}",
            to_second(from),
            to_second(to)
        );
        Ok(Self {
            from: rfc3339(from),
            to: rfc3339(to),
            accepted,
            rejected,
            rejected_by_nacl: by_nacl,
            rejected_by_security_group: by_group,
            agrees,
            words,
        })
    }
}

fn text(explained: &Explained) -> String {
    let walk = &explained.walk;
    let end = |end: &crate::nacl::EndWords| format!("{} ({})", end.addr, end.words);
    let protocol = protocol_words(Some(walk.protocol));
    let mut pairs = vec![
        ("client", end(&walk.client)),
        ("server", end(&walk.server)),
        (
            "flow",
            walk.port.map_or(protocol.clone(), |port| {
                format!("{protocol} to port {port}")
            }),
        ),
        ("verdict", format!("{}: {}", walk.verdict, walk.words)),
    ];
    if let Some(log) = &explained.log {
        pairs.push(("log", log.words.clone()));
    }
    let mut text = format!("As of {}\n\n{}", explained.at, key_values(&pairs));
    for crossing in &walk.crossings {
        let subnet = match &crossing.subnet_name {
            Some(name) => format!("{} ({name})", crossing.subnet_id),
            None => crossing.subnet_id.clone(),
        };
        let way = match crossing.direction {
            "ingress" => ("into", "from"),
            _ => ("out of", "to"),
        };
        let ports = match &crossing.ports {
            Some(ports) => format!(", to port {ports}"),
            None => String::new(),
        };
        text.push_str(&format!(
            "\nthe {} {} {subnet}, {} {}{ports}: {}\n",
            crossing.packet,
            way.0,
            way.1,
            crossing.remote,
            crossing
                .nacl_id
                .as_deref()
                .unwrap_or("no network ACL known")
        ));
        for rule in &crossing.rules {
            text.push_str(&format!("  {rule}\n"));
        }
        for outcome in &crossing.outcomes {
            let ports = match &outcome.ports {
                Some(ports) => format!(" {ports}"),
                None => String::new(),
            };
            let number = number_words(outcome.rule_number);
            text.push_str(&format!(" → {}{ports} by rule {number}\n", outcome.action));
        }
    }
    text
}
