//! Turns conversations into the records that each interface on their way logs.

use std::net::IpAddr;

use super::network::{Interface, named};
use super::random::Random;

pub(crate) const FIN: i64 = 1;
pub(crate) const SYN: i64 = 2;
pub(crate) const RST: i64 = 4;
pub(crate) const SYN_ACK: i64 = 18;

pub(crate) const ICMP: i64 = 1;
pub(crate) const TCP: i64 = 6;
pub(crate) const UDP: i64 = 17;

pub(crate) const MINUTE: i64 = 60;
pub(crate) const HOUR: i64 = 3_600;
pub(crate) const DAY: i64 = 86_400;
/// 2026-03-09T00:00:00Z, where the four days begin.
pub(crate) const FIRST_DAY: i64 = 1_773_014_400;
/// 2026-03-12, the day on which everything happens.
pub(crate) const LAST_DAY: i64 = FIRST_DAY + 3 * DAY;

/// One line of a flow log.
pub(crate) struct Record {
    pub(crate) at: &'static Interface,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) status: &'static str,
    /// None where the status is not OK.
    pub(crate) flow: Option<Flow>,
}

pub(crate) struct Flow {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) packet_src: IpAddr,
    pub(crate) packet_dst: IpAddr,
    pub(crate) src_port: i64,
    pub(crate) dst_port: i64,
    pub(crate) protocol: i64,
    pub(crate) packets: i64,
    pub(crate) bytes: i64,
    pub(crate) is_accepted: bool,
    pub(crate) tcp_flags: i64,
    pub(crate) is_egress: bool,
    pub(crate) path: Option<i64>,
    /// The interface that it goes to or comes from, where there is one.
    pub(crate) next: Option<&'static Interface>,
}

/// One end of a conversation.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    Ours(&'static Interface),
    Internet(IpAddr),
}

impl Side {
    /// The side that is written as an address, or as the name of one of our interfaces.
    fn of(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Self::Ours(named(text)), Self::Internet)
    }

    fn addr(self, is_v6: bool) -> IpAddr {
        match self {
            Self::Internet(addr) => addr,
            Self::Ours(at) if is_v6 => at.addr_v6.expect("this side has IPv6"),
            Self::Ours(at) => at.addr,
        }
    }

    fn interface(self) -> Option<&'static Interface> {
        if let Self::Ours(at) = self {
            Some(at)
        } else {
            None
        }
    }
}

/// What two sides say to each other within a minute, the longest that one record of theirs holds.
#[derive(Clone, Copy)]
pub(crate) struct Exchange {
    pub(crate) client: Side,
    pub(crate) server: Side,
    pub(crate) protocol: i64,
    pub(crate) client_port: i64,
    pub(crate) server_port: i64,
    pub(crate) start: i64,
    pub(crate) seconds: i64,
    /// Packets and bytes.
    pub(crate) sent: (i64, i64),
    /// None if nobody answered.
    pub(crate) received: Option<(i64, i64)>,
    pub(crate) client_flags: i64,
    pub(crate) server_flags: i64,
    /// False if the server's security group refuses.
    pub(crate) is_accepted: bool,
}

impl Exchange {
    /// A single accepted packet without flags; what differs is for the caller to say.
    pub(crate) fn new(client: &str, server: &str, ports: (i64, i64), start: i64) -> Self {
        Self {
            client: Side::of(client),
            server: Side::of(server),
            protocol: TCP,
            client_port: ports.0,
            server_port: ports.1,
            start,
            seconds: 1,
            sent: (1, 60),
            received: None,
            client_flags: 0,
            server_flags: 0,
            is_accepted: true,
        }
    }

    /// A TCP connection that opens and closes within it, with that many bytes each way.
    pub(crate) fn tcp(
        client: &str,
        server: &str,
        ports: (i64, i64),
        start: i64,
        bytes: (i64, i64),
    ) -> Self {
        Self {
            sent: load(bytes.0),
            received: Some(load(bytes.1)),
            client_flags: SYN | FIN,
            server_flags: SYN_ACK | FIN,
            ..Self::new(client, server, ports, start)
        }
    }
}

/// Packets and bytes on the wire for that much data.
pub(crate) fn load(bytes: i64) -> (i64, i64) {
    (bytes / 1_100 + 4, bytes + 212)
}

/// What was recorded so far, and the numbers to invent more with.
pub(crate) struct Recorder {
    pub(crate) random: Random,
    records: Vec<Record>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            random: Random::new(0),
            records: Vec::new(),
        }
    }

    /// Goes on with numbers from another seed.
    pub(crate) fn seeded(&mut self, seed: u64) -> &mut Self {
        self.random = Random::new(seed);
        self
    }

    pub(crate) fn into_records(self) -> Vec<Record> {
        self.records
    }

    /// A port that a client takes: load balancers and NAT gateways use more of them than Linux.
    pub(crate) fn port_of(&mut self, client: &str) -> i64 {
        let is_managed = Side::of(client)
            .interface()
            .is_some_and(|at| at.instance_id.is_none());
        if is_managed {
            self.random.between(1_024, 65_535)
        } else {
            self.random.between(32_768, 60_999)
        }
    }

    /// About `amount`, give or take a fifth.
    pub(crate) fn vary(&mut self, amount: i64) -> i64 {
        amount + self.random.between(-amount / 5, amount / 5)
    }

    /// Records a short TCP connection.
    pub(crate) fn tcp(
        &mut self,
        client: &str,
        server: &str,
        port: i64,
        start: i64,
        bytes: (i64, i64),
    ) {
        let ports = (self.port_of(client), port);
        let seconds = self.random.between(1, 50);
        self.exchange(&Exchange {
            seconds,
            ..Exchange::tcp(client, server, ports, start, bytes)
        });
    }

    /// Records a TCP connection over `minutes`, a record for each: only the first and last have flags.
    pub(crate) fn long_tcp(
        &mut self,
        client: &str,
        server: &str,
        port: i64,
        start: i64,
        minutes: i64,
        bytes: (i64, i64),
    ) {
        let ports = (self.port_of(client), port);
        for minute in 0..minutes {
            let bytes = (self.vary(bytes.0), self.vary(bytes.1));
            let (is_first, is_last) = (minute == 0, minute == minutes - 1);
            let fin = if is_last { FIN } else { 0 };
            self.exchange(&Exchange {
                seconds: 57,
                client_flags: fin | if is_first { SYN } else { 0 },
                server_flags: fin | if is_first { SYN_ACK } else { 0 },
                ..Exchange::tcp(client, server, ports, start + minute * MINUTE, bytes)
            });
        }
    }

    /// Records an attempt that the server's security group drops: SYN and its retries, no answer.
    pub(crate) fn refused(&mut self, client: &str, server: &str, port: i64, start: i64) {
        let ports = (self.port_of(client), port);
        let packets = self.random.between(1, 3);
        self.exchange(&Exchange {
            seconds: packets * 2,
            sent: (packets, packets * 60),
            client_flags: SYN,
            is_accepted: false,
            ..Exchange::new(client, server, ports, start)
        });
    }

    /// Records a minute of which an interface has no flow: NODATA or SKIPDATA.
    pub(crate) fn gap(&mut self, name: &str, start: i64, status: &'static str) {
        self.records.push(Record {
            at: named(name),
            start,
            end: start + 59,
            status,
            flow: None,
        });
    }

    /// Records an exchange at every interface that it passes.
    pub(crate) fn exchange(&mut self, exchange: &Exchange) {
        let is_v6 = [exchange.client, exchange.server]
            .iter()
            .any(|side| matches!(side, Side::Internet(IpAddr::V6(_))));
        let (client, server) = (exchange.client.addr(is_v6), exchange.server.addr(is_v6));
        if let Side::Ours(at) = exchange.client {
            let nat = match exchange.server {
                Side::Internet(addr) if !is_v6 && !at.has_endpoint_for(addr) => at.nat(),
                _ => None,
            };
            let (next, path) = (
                nat.or(exchange.server.interface()),
                path(at, exchange.server, nat),
            );
            self.log(
                true,
                &Hop {
                    next,
                    path,
                    ..Hop::new(exchange, at, client, server)
                },
            );
            if let Some(nat) = nat {
                // Legs 1 and 4: the packets keep the instance's and the server's addresses.
                let inside = Hop::new(exchange, nat, nat.addr, client);
                self.log(
                    false,
                    &Hop {
                        packet_near: server,
                        next: Some(at),
                        path: Some(1),
                        ..inside
                    },
                );
                // Legs 2 and 3: the gateway's own address and port.
                let client_port = self.random.between(1_024, 65_535);
                let outside = Hop::new(exchange, nat, nat.addr, server);
                self.log(
                    true,
                    &Hop {
                        client_port,
                        path: Some(8),
                        ..outside
                    },
                );
            }
        }
        if let Side::Ours(at) = exchange.server {
            let (next, path) = (exchange.client.interface(), path(at, exchange.client, None));
            self.log(
                false,
                &Hop {
                    next,
                    path,
                    ..Hop::new(exchange, at, server, client)
                },
            );
        }
    }

    /// Both directions at one interface. On the client's side, what the client sends leaves it.
    fn log(&mut self, is_client_side: bool, hop: &Hop<'_>) {
        let start = hop.exchange.start + self.random.between(0, 1);
        for is_sent in [true, false] {
            self.records
                .extend(hop.record(start, is_sent, is_sent == is_client_side));
        }
    }
}

/// An exchange as one interface sees it: between itself, near, and far.
struct Hop<'a> {
    exchange: &'a Exchange,
    at: &'static Interface,
    near: IpAddr,
    packet_near: IpAddr,
    far: IpAddr,
    client_port: i64,
    next: Option<&'static Interface>,
    path: Option<i64>,
}

impl<'a> Hop<'a> {
    fn new(exchange: &'a Exchange, at: &'static Interface, near: IpAddr, far: IpAddr) -> Self {
        let client_port = exchange.client_port;
        Self {
            exchange,
            at,
            near,
            packet_near: near,
            far,
            client_port,
            next: None,
            path: None,
        }
    }

    /// The record of what the client sent, or of what it received, if it did.
    fn record(&self, start: i64, is_sent: bool, is_egress: bool) -> Option<Record> {
        let exchange = self.exchange;
        let (packets, bytes) = if is_sent {
            exchange.sent
        } else {
            exchange.received?
        };
        let order = |is_so: bool, first, second| {
            if is_so {
                (first, second)
            } else {
                (second, first)
            }
        };
        let (src, dst) = order(is_egress, self.near, self.far);
        let (packet_src, packet_dst) = order(is_egress, self.packet_near, self.far);
        let (client_port, server_port) = (self.client_port, exchange.server_port);
        let (src_port, dst_port) = if is_sent {
            (client_port, server_port)
        } else {
            (server_port, client_port)
        };
        let flow = Flow {
            src,
            dst,
            packet_src,
            packet_dst,
            src_port,
            dst_port,
            protocol: exchange.protocol,
            packets,
            bytes,
            // What leaves is let out; what a server refuses is refused where it arrives.
            is_accepted: exchange.is_accepted || is_egress,
            tcp_flags: if is_sent {
                exchange.client_flags
            } else {
                exchange.server_flags
            },
            is_egress,
            path: self.path.filter(|_| is_egress),
            next: self.next,
        };
        Some(Record {
            at: self.at,
            start,
            end: start + exchange.seconds,
            status: "OK",
            flow: Some(flow),
        })
    }
}

/// The way from `at` to the far side, as `traffic-path` codes it.
fn path(at: &Interface, far: Side, nat: Option<&Interface>) -> Option<i64> {
    match far {
        Side::Ours(far) => Some(if far.vpc_id == at.vpc_id { 1 } else { 4 }),
        Side::Internet(_) if nat.is_some() => Some(1),
        Side::Internet(addr) if at.has_endpoint_for(addr) => Some(7),
        // AWS documents no code for an egress-only internet gateway.
        Side::Internet(IpAddr::V6(_)) if at.tier == "app" => None,
        Side::Internet(_) => Some(8),
    }
}
