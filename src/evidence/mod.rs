//! What was recorded at the edges of subnets: `traffic`, summed by SQL into groups of records that no rule of a network ACL tells apart.
//!
//! It asks a session and knows ACLs; the model and the advice themselves are `nacl`'s, which knows no SQL. Which records count:
//!
//! - Every half of a conversation once (`counted`), at both edges that it crosses: out of the sender's subnet, into the receiver's,
//!   none within one subnet.
//! - At a NAT gateway, a transit gateway and whatever else stands between (`leg` is not `direct`), the records of that interface,
//!   at its own subnet's edge: the ACL there sees those packets.
//! - Refused attempts once, where they were refused, without late packets.

mod confidence;
mod rows;

use chrono::{DateTime, Utc};
use datafusion::common::DataFusionError;
use futures::{TryFutureExt, TryStreamExt};

use crate::nacl::{Guarded, Observed};
use crate::session::{Session, SessionError, timestamp_scalar};

pub use confidence::{Confidence, Grounds};

/// What to ask of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Accepted and refused ones.
    All,
    /// Refused ones.
    Refused,
}

/// What to do with refused attempts that the owner's policy expects as `reject_spike`, such as those of a scanner of one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExpected {
    /// They are records as all others.
    Keep,
    /// They are nobody's attack.
    LeaveOut,
}

/// Ports at which some rule begins or ends, above the well-known ones: client's ports between two of them are one to every rule.
pub fn port_edges<'g>(guarded: impl IntoIterator<Item = &'g Guarded>) -> Vec<u16> {
    let nacls = guarded.into_iter().flat_map(Guarded::nacls);
    let rules = nacls.flat_map(|nacl| nacl.ingress.iter().chain(&nacl.egress));
    let ports = rules.filter_map(|rule| rule.ports.clone());
    let mut edges: Vec<u16> = ports
        .flat_map(|ports| [Some(*ports.start()), ports.end().checked_add(1)])
        .flatten()
        .filter(|port| *port > WELL_KNOWN)
        .collect();
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// Batches that are read at once: a few thousand groups each.
const BATCHES_AT_A_TIME: usize = 8;

/// Ports below this are told apart one by one.
const WELL_KNOWN: u16 = 1024;

/// The records of a window, summed. `edges` are the ports at which rules that are in question begin or end.
///
/// # Errors
/// When the records can't be read.
pub async fn observed(
    session: &Session,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    edges: &[u16],
    which: Which,
    on_expected: OnExpected,
) -> Result<Vec<Observed>, SessionError> {
    let values = vec![
        ("from".to_owned(), timestamp_scalar(from)),
        ("to".to_owned(), timestamp_scalar(to)),
    ];
    let statement = statement(edges, which, on_expected);
    let frame = session.plan(&statement, values).await?;
    let batches = frame.execute_stream().await.map_err(SessionError::Run)?;
    // There may be millions of groups: each batch is read and left behind while others are on their way.
    let mut read = batches
        .map_ok(|batch| {
            let read = tokio::task::spawn_blocking(move || rows::read(&batch));
            read.map_err(|error| DataFusionError::External(Box::new(error)))
        })
        .try_buffered(BATCHES_AT_A_TIME);
    let mut observed = Vec::new();
    while let Some(records) = read.try_next().await.map_err(SessionError::Run)? {
        observed.extend(records);
    }
    Ok(observed)
}

fn statement(edges: &[u16], which: Which, on_expected: OnExpected) -> String {
    let mut bucket = format!("CASE WHEN client_port < {WELL_KNOWN} THEN client_port");
    for edge in edges.iter().rev() {
        bucket.push_str(&format!(" WHEN client_port >= {edge} THEN {edge}"));
    }
    bucket.push_str(&format!(
        " WHEN client_port IS NOT NULL THEN {WELL_KNOWN} END"
    ));
    let condition = match which {
        Which::All => {
            "(counted OR leg <> 'direct') AND (action = 'ACCEPT' OR action = 'REJECT' AND counted AND NOT late)"
        }
        Which::Refused => "counted AND action = 'REJECT' AND NOT late",
    };
    let expected = match on_expected {
        OnExpected::Keep => "",
        OnExpected::LeaveOut => {
            " AND (action = 'ACCEPT' OR expected_by('reject_spike', subnet_id, interface_id, vpc_id, \
             CASE WHEN direction = 'egress' THEN dst_addr ELSE src_addr END, \
             CASE WHEN direction = 'egress' THEN dst_subnet_id ELSE src_subnet_id END, \
             CASE WHEN direction = 'egress' THEN dst_service ELSE src_service END, service_port, protocol, start) IS NULL)"
        }
    };
    // A refused attempt has no reply that its port would matter for.
    format!(
        "SELECT action, counted, leg, subnet_id, direction, src_subnet_id, dst_subnet_id, src_addr, dst_addr, protocol, initiator, \
         service_port, dst_port, client_bucket, refused_by, src_scope, COUNT(*), SUM(bytes), MIN(client_port), MAX(client_port), \
         MIN(start), MAX(\"end\"), dst_scope \
         FROM (SELECT action, counted, leg, subnet_id, direction, src_subnet_id, dst_subnet_id, src_addr, dst_addr, protocol, initiator, \
         service_port, CASE WHEN initiator = 'unknown' THEN dst_port END AS dst_port, \
         CASE WHEN action = 'ACCEPT' THEN {bucket} END AS client_bucket, \
         CASE WHEN action = 'REJECT' THEN refused_by END AS refused_by, src_scope, dst_scope, \
         CASE WHEN action = 'REJECT' THEN date_trunc('day', start) END AS day, bytes, client_port, start, \"end\" \
         FROM (SELECT *, CASE initiator WHEN 'src' THEN src_port WHEN 'dst' THEN dst_port END AS client_port FROM traffic \
         WHERE start < $to AND \"end\" >= $from AND {condition}{expected}) AS kept) AS bucketed \
         GROUP BY action, counted, leg, subnet_id, direction, src_subnet_id, dst_subnet_id, src_addr, dst_addr, protocol, initiator, \
         service_port, dst_port, client_bucket, refused_by, src_scope, dst_scope, day"
    )
}
