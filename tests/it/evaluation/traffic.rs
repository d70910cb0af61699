//! Conversations as they are planned: who calls whom, when, how much; the way there is up to the routes.

use std::net::IpAddr;

use super::calendar::{Busy, Calendar, DAY, HOUR, weekday};
use super::company::Company;
use crate::truth::conversations::{Conversation, End, Stream, TCP, UDP, Verdict, Via};
use crate::truth::random::Random;
use crate::truth::records::{is_logged, sights};
use crate::truth::world::{NodeKind, REGIONAL_NAT, Target};

/// One end of a conversation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Party {
    Host(usize),
    /// The host's IPv6 address.
    Six(usize),
    /// A further address of the host's interface.
    Further(usize),
    /// One of the addresses that are delegated to the host: a container on it.
    Container(usize, u8),
    Away(IpAddr),
}

use Party::{Away, Container, Further, Host, Six};

/// A conversation in words: a short call over TCP unless it says otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Talk {
    pub(super) from: Party,
    pub(super) to: Party,
    pub(super) port: u16,
    pub(super) at: i64,
    pub(super) protocol: u8,
    /// What the client's port may be.
    pub(super) from_ports: Option<(u16, u16)>,
    pub(super) seconds: i64,
    pub(super) up: Option<(i64, i64)>,
    pub(super) down: Option<(i64, i64)>,
    pub(super) verdict: Verdict,
    pub(super) mid: bool,
}

pub(super) fn talk(from: Party, to: Party, port: u16, at: i64) -> Talk {
    Talk {
        from,
        to,
        port,
        at,
        protocol: TCP,
        from_ports: None,
        seconds: 2,
        up: None,
        down: None,
        verdict: Verdict::Accepted,
        mid: false,
    }
}

impl Talk {
    pub(super) fn over(mut self, protocol: u8) -> Self {
        self.protocol = protocol;
        self
    }

    pub(super) fn out_of_port(self, port: u16) -> Self {
        self.out_of_ports((port, port))
    }

    pub(super) fn out_of_ports(mut self, ports: (u16, u16)) -> Self {
        self.from_ports = Some(ports);
        self
    }

    pub(super) fn lasting(mut self, seconds: i64) -> Self {
        self.seconds = seconds;
        self
    }

    pub(super) fn sending(mut self, packets: i64, bytes: i64) -> Self {
        self.up = Some((packets, bytes));
        self
    }

    pub(super) fn getting(mut self, packets: i64, bytes: i64) -> Self {
        self.down = Some((packets, bytes));
        self
    }

    /// Let in, and nobody answers.
    pub(super) fn unanswered(self) -> Self {
        self.lasting(7).sending(3, 180).getting(0, 0)
    }

    /// The server's side refuses it.
    pub(super) fn refused(mut self) -> Self {
        self.verdict = Verdict::RefusedByServer;
        self.lasting(0).sending(1, 60).getting(1, 0)
    }

    /// The client's own side refuses it.
    pub(super) fn refused_at_home(mut self) -> Self {
        self = self.refused();
        self.verdict = Verdict::RefusedByClient;
        self
    }

    /// Refused, and no attempt: its connection was closed before.
    pub(super) fn late(mut self) -> Self {
        self.mid = true;
        self.refused()
    }
}

/// Everything that happens.
pub(super) struct Traffic {
    pub(super) random: Random,
    pub(super) calendar: Calendar,
    pub(super) conversations: Vec<Conversation>,
}

impl Traffic {
    /// Adds a conversation.
    pub(super) fn add(&mut self, company: &Company, talk: Talk) {
        let conversation = self.conversation(company, talk);
        self.conversations.push(conversation);
    }

    /// Adds a conversation of which the logs must tell.
    pub(super) fn add_seen(&mut self, company: &Company, talk: Talk) {
        let conversation = self.conversation(company, talk);
        let sights = sights(&company.world, &conversation);
        let mut up = sights.iter().filter(|sight| sight.up);
        assert!(
            up.any(|sight| is_logged(&company.world, sight.at)),
            "no flow log sees {talk:?}"
        );
        self.conversations.push(conversation);
    }

    fn conversation(&mut self, company: &Company, talk: Talk) -> Conversation {
        let (client, from) = self.address(company, talk.from);
        let (server, to) = self.address(company, talk.to);
        let via = match client {
            Some(node) => self.way(company, node, to),
            None => Via::Direct,
        };
        // Some visitors are behind gateways, which use nearly all ports.
        let ports = if client.is_none() && self.random.between(1, 10) == 1 {
            (1_024, 32_767)
        } else {
            (32_768, 60_999)
        };
        let from_port = self.port(talk.from_ports.unwrap_or(ports));
        let mut stream = |given: Option<(i64, i64)>, most: i64| {
            let drawn = self.random.between(4, most);
            let bytes = drawn * self.random.between(60, 900);
            let (packets, bytes) = given.unwrap_or(match talk.protocol {
                TCP => (drawn, bytes),
                _ => (1, drawn + 60),
            });
            Stream { packets, bytes }
        };
        Conversation {
            kind: "",
            client: End {
                socket: (from, from_port),
                node: client,
            },
            server: End {
                socket: (to, talk.port),
                node: server,
            },
            far: "",
            via,
            protocol: talk.protocol,
            start: talk.at,
            seconds: talk.seconds,
            mid: talk.mid,
            up: stream(talk.up, 20),
            down: stream(talk.down, 40),
            verdict: talk.verdict,
            again: None,
        }
    }

    fn port(&mut self, (low, high): (u16, u16)) -> u16 {
        u16::try_from(self.random.between(low.into(), high.into())).unwrap()
    }

    fn address(&self, company: &Company, party: Party) -> (Option<usize>, IpAddr) {
        let of = |node: usize| &company.world.nodes[node];
        match party {
            Host(node) => (Some(node), of(node).addrs[0].into()),
            Six(node) => (Some(node), of(node).addr6.expect("an IPv6 address").into()),
            Further(node) => (Some(node), of(node).addrs[1].into()),
            Container(node, number) => {
                let net = of(node).prefix.expect("delegated addresses").network();
                let [a, b, c, d] = net.octets();
                (Some(node), IpAddr::from([a, b, c, d + number]))
            }
            Away(addr) => (None, addr),
        }
    }

    fn way(&mut self, company: &Company, client: usize, to: IpAddr) -> Via {
        let world = &company.world;
        // What a gateway sends by itself passes no other.
        if world.nodes[client].kind != NodeKind::Instance {
            return Via::Direct;
        }
        match world.route(world.subnet_of(client), to) {
            Some(Target::Nat(gateway)) => Via::Nat(gateway, self.port((1_024, 65_535))),
            Some(Target::RegionalNat) => {
                let addr = self.random.pick(&REGIONAL_NAT);
                Via::RegionalNat((addr.into(), self.port((1_024, 65_535))))
            }
            Some(Target::Tgw) => Via::Transit,
            _ => Via::Direct,
        }
    }
}

/// What repeats: some clients call some servers, so often a day.
#[derive(Debug, Clone)]
pub(super) struct Habit {
    pub(super) clients: Vec<Party>,
    pub(super) servers: Vec<Party>,
    pub(super) port: u16,
    /// All of them together, at full load.
    pub(super) per_day: i64,
    pub(super) busy: Busy,
    /// What each call is like; its ends and time are filled in.
    pub(super) like: Talk,
}

impl Habit {
    pub(super) fn new(clients: &[Party], servers: &[Party], port: u16, per_day: i64) -> Self {
        Self {
            clients: clients.to_vec(),
            servers: servers.to_vec(),
            port,
            per_day,
            busy: Busy::Always,
            like: talk(clients[0], servers[0], port, 0),
        }
    }

    pub(super) fn when(mut self, busy: Busy) -> Self {
        self.busy = busy;
        self
    }

    pub(super) fn like(mut self, change: impl Fn(Talk) -> Talk) -> Self {
        self.like = change(self.like);
        self
    }

    pub(super) fn udp(self) -> Self {
        self.like(|talk| talk.over(UDP))
    }

    /// All days of it.
    pub(super) fn live(&self, company: &Company, traffic: &mut Traffic) {
        let calendar = traffic.calendar;
        for hour in calendar.hours() {
            let of_day = hour.rem_euclid(DAY) / HOUR;
            let calls = match self.busy {
                Busy::Daily(at) if at != of_day => 0,
                Busy::Weekly(at) if at != of_day || weekday(hour) != weekday(calendar.window()) => {
                    0
                }
                // One for each client.
                Busy::Daily(_) | Busy::Weekly(_) => {
                    for &client in &self.clients {
                        self.call(client, hour, company, traffic);
                    }
                    0
                }
                busy => {
                    let wanted = self.per_day * busy.load(hour) * traffic.random.between(70, 130);
                    let (whole, rest) = (wanted / 240_000, wanted % 240_000);
                    whole + i64::from(traffic.random.between(1, 240_000) <= rest)
                }
            };
            for _ in 0..calls {
                let client = traffic.random.pick(&self.clients);
                self.call(client, hour, company, traffic);
            }
        }
    }

    fn call(&self, client: Party, hour: i64, company: &Company, traffic: &mut Traffic) {
        let talk = Talk {
            from: client,
            to: traffic.random.pick(&self.servers),
            port: self.port,
            at: hour + traffic.random.between(0, HOUR - 1),
            ..self.like
        };
        traffic.add(company, talk);
    }
}
