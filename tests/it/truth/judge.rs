//! What `traffic` says of each conversation, held against the truth.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;

use serde_json::Value;

use super::conversations::{Conversation, ICMP, ICMPV6, KINDS, Verdict, Via};
use super::world::{NodeKind, World};
use crate::harness::Place;

/// What is asked of every conversation.
pub(super) const ASKED: [&str; 8] = [
    "bytes", "action", "client", "server", "port", "c.subnet", "s.subnet", "scopes",
];

/// How the conversations of one kind came out.
#[derive(Debug, Default, Clone)]
pub(super) struct Score {
    pub(super) count: usize,
    /// How many are right, by what is asked.
    pub(super) right: [usize; ASKED.len()],
    pub(super) sent: i64,
    pub(super) counted: i64,
}

#[derive(Debug, Default)]
pub(super) struct Scores {
    pub(super) of_kind: HashMap<&'static str, Score>,
    /// Rows that belong to no conversation.
    pub(super) strays: Vec<Value>,
    /// What is wrong, a line each.
    pub(super) wrong: Vec<String>,
}

const SQL: &str = "SELECT vpc_id, src_addr, src_port, dst_addr, dst_port, protocol, action, client_addr, server_addr, service_port, \
     client_subnet_id, server_subnet_id, client_scope, server_scope, SUM(bytes) AS bytes, SUM(packets) AS packets \
     FROM traffic WHERE counted GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14";

fn socket(row: &Value, side: &str) -> Option<(IpAddr, u16)> {
    let addr = row[format!("{side}_addr")].as_str()?.parse().ok()?;
    let port = u16::try_from(row[format!("{side}_port")].as_i64()?).ok()?;
    Some((addr, port))
}

/// Conversations by their client's sockets, under every address that stands for it somewhere.
struct Index<'c> {
    world: &'c World,
    conversations: &'c [Conversation],
    by_socket: HashMap<(IpAddr, u16, i64), Vec<usize>>,
}

impl<'c> Index<'c> {
    fn new(world: &'c World, conversations: &'c [Conversation]) -> Self {
        let mut by_socket: HashMap<_, Vec<usize>> = HashMap::new();
        for (number, conversation) in conversations.iter().enumerate() {
            let (addr, port) = conversation.client.socket;
            let mut sockets = vec![(addr, port)];
            if let Some(node) = conversation.client.node {
                sockets.push((world.nodes[node].addrs[0].into(), port));
            }
            match conversation.via {
                Via::Direct => {}
                Via::Nat(node, port) => sockets.push((world.nodes[node].addrs[0].into(), port)),
                Via::RegionalNat(socket) => sockets.push(socket),
                Via::Transit => {
                    let gateways = world.nodes.iter().filter(|node| node.kind == NodeKind::Tgw);
                    sockets.extend(gateways.map(|node| (node.addrs[0].into(), port)));
                }
            }
            sockets.sort_unstable();
            sockets.dedup();
            for (addr, port) in sockets {
                let key = (addr, port, conversation.protocol.into());
                by_socket.entry(key).or_default().push(number);
            }
        }
        Self {
            world,
            conversations,
            by_socket,
        }
    }

    /// The conversation that a row belongs to, and whether it goes from the client to the server.
    fn find(&self, row: &Value) -> Option<(usize, bool)> {
        let protocol = row["protocol"].as_i64()?;
        let (src, dst) = (socket(row, "src")?, socket(row, "dst")?);
        [(src, dst, true), (dst, src, false)]
            .into_iter()
            .find_map(|(client, server, up)| {
                let all = self.by_socket.get(&(client.0, client.1, protocol))?;
                let here = |&&number: &&usize| {
                    let mut vpcs = self.conversations[number].vpcs(self.world).into_iter();
                    row["vpc_id"].is_null()
                        || vpcs.any(|vpc| row["vpc_id"] == *self.world.vpcs[vpc].id)
                };
                let exact = |&&number: &&usize| self.conversations[number].server.socket == server;
                let mut candidates: Vec<&usize> = all.iter().filter(here).collect();
                // No port tells one ping from another.
                if candidates.len() > 1 || server.1 == 0 {
                    candidates.retain(exact);
                }
                candidates.first().map(|&&number| (number, up))
            })
    }
}

pub(super) fn judge(place: &Place, world: &World, conversations: &[Conversation]) -> Scores {
    let rows = place.sql(SQL);
    let index = Index::new(world, conversations);
    let mut of_conversation: Vec<Vec<(bool, &Value)>> = vec![Vec::new(); conversations.len()];
    let mut scores = Scores::default();
    for row in &rows {
        match index.find(row) {
            Some((number, up)) => of_conversation[number].push((up, row)),
            None => scores.strays.push(row.clone()),
        }
    }
    for (conversation, rows) in conversations.iter().zip(&of_conversation) {
        let truth = Truth::of(conversation, world);
        let score = scores.of_kind.entry(conversation.kind).or_default();
        let sum = |wanted: Option<bool>| -> i64 {
            rows.iter()
                .filter(|(up, _)| wanted.is_none_or(|wanted| wanted == *up))
                .map(|(_, row)| row["bytes"].as_i64().unwrap_or(0))
                .sum()
        };
        score.count += 1;
        score.sent += truth.up + truth.down;
        score.counted += sum(None);
        let all = |is_right: &dyn Fn(&Value) -> bool| {
            !rows.is_empty() && rows.iter().all(|(_, row)| is_right(row))
        };
        let right = [
            sum(Some(true)) == truth.up && sum(Some(false)) == truth.down,
            all(&|row| row["action"] == truth.action),
            all(&|row| row["client_addr"].as_str() == truth.client.as_deref()),
            all(&|row| row["server_addr"].as_str() == truth.server.as_deref()),
            all(&|row| row["service_port"].as_u64() == truth.port),
            all(&|row| row["client_subnet_id"].as_str() == truth.client_subnet),
            all(&|row| row["server_subnet_id"].as_str() == truth.server_subnet),
            all(&|row| {
                row["client_scope"].as_str() == truth.scope(truth.client_vpc, row)
                    && row["server_scope"].as_str() == truth.scope(truth.server_vpc, row)
            }),
        ];
        for (count, is_right) in score.right.iter_mut().zip(right) {
            *count += usize::from(is_right);
        }
        if right.contains(&false) {
            let wrong = ASKED.iter().zip(right).filter(|(_, right)| !right);
            let wrong: Vec<&str> = wrong.map(|(asked, _)| *asked).collect();
            let mut line = format!(
                "{}: {} of {conversation:?}",
                conversation.kind,
                wrong.join(", ")
            );
            for (up, row) in rows {
                write!(line, "\n    {} {row}", if *up { "up" } else { "down" }).unwrap();
            }
            scores.wrong.push(line);
        }
    }
    scores
}

/// What should be said. Who opened it, only where a record could tell: of a ping none does, for its type is not recorded.
struct Truth<'w> {
    up: i64,
    down: i64,
    action: &'static str,
    client: Option<String>,
    server: Option<String>,
    port: Option<u64>,
    client_subnet: Option<&'w str>,
    server_subnet: Option<&'w str>,
    client_vpc: Option<&'w str>,
    server_vpc: Option<&'w str>,
    far: Option<&'static str>,
}

impl<'w> Truth<'w> {
    fn of(conversation: &Conversation, world: &'w World) -> Self {
        let is_told = !matches!(conversation.protocol, ICMP | ICMPV6);
        let node = |node: Option<usize>| node.filter(|_| is_told);
        let subnet = |of: Option<usize>| node(of).map(|node| &*world.subnet_of(node).id);
        let vpc = |of: Option<usize>| node(of).map(|node| &*world.vpcs[world.vpc_of(node)].id);
        let accepted = conversation.verdict == Verdict::Accepted;
        let (client, server) = (conversation.client, conversation.server);
        Self {
            up: conversation.bytes(true),
            down: if accepted {
                conversation.bytes(false)
            } else {
                0
            },
            action: if accepted { "ACCEPT" } else { "REJECT" },
            client: is_told.then(|| client.socket.0.to_string()),
            server: is_told.then(|| server.socket.0.to_string()),
            port: is_told.then_some(server.socket.1.into()),
            client_subnet: subnet(client.node),
            server_subnet: subnet(server.node),
            client_vpc: vpc(client.node),
            server_vpc: vpc(server.node),
            far: is_told.then_some(conversation.far),
        }
    }

    /// Scopes are as seen from the VPC of the row.
    fn scope(&self, end: Option<&str>, row: &Value) -> Option<&'static str> {
        if end.is_some_and(|vpc| row["vpc_id"] == vpc) {
            Some("vpc")
        } else {
            self.far
        }
    }
}

impl Scores {
    /// What is wrong with a kind, the first few.
    pub(super) fn wrong_of(&self, kind: &str) -> Vec<&String> {
        let start = format!("{kind}: ");
        let wrong = self.wrong.iter().filter(|line| line.starts_with(&start));
        wrong.take(5).collect()
    }

    /// How many are right, a line for each kind.
    pub(super) fn table(&self, title: &str) -> String {
        let mut text = format!("{title}\n{:<26}{:>6}", "kind", "count");
        for asked in ASKED {
            write!(text, "{asked:>10}").unwrap();
        }
        text.push_str("   counted/sent\n");
        for kind in KINDS {
            let Some(score) = self.of_kind.get(kind) else {
                continue;
            };
            write!(text, "{kind:<26}{:>6}", score.count).unwrap();
            for right in score.right {
                write!(text, "{right:>10}").unwrap();
            }
            writeln!(text, "{:>11}/{}", score.counted, score.sent).unwrap();
        }
        text
    }

    pub(super) fn add(&mut self, other: Self) {
        for (kind, score) in other.of_kind {
            let sum = self.of_kind.entry(kind).or_default();
            sum.count += score.count;
            sum.sent += score.sent;
            sum.counted += score.counted;
            for (sum, right) in sum.right.iter_mut().zip(score.right) {
                *sum += right;
            }
        }
        self.strays.extend(other.strays);
        self.wrong.extend(other.wrong);
    }
}
