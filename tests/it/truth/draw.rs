//! Draws conversations of every kind between those who can reach each other in a world.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::conversations::{
    Again, Conversation, End, ICMP, ICMPV6, KINDS, Stream, TCP, UDP, Verdict, Via, is_of_aws,
};
use super::random::Random;
use super::records::{is_logged, sights};
use super::world::{
    LAB, NodeKind, PEERINGS, PLANT, REGIONAL_NAT, SHOP, SPARE, TRANSIT, TWIN, Target, World,
    chance, choose, s3,
};

/// 2026-03-10 23:00: the logs run over midnight.
const FIRST: i64 = 1_773_183_600;

/// Draws conversations, each with a port of its own in the VPCs that record it, save for what happens in two VPCs alike.
pub(super) struct Draw<'w> {
    world: &'w World,
    random: &'w mut Random,
    used: HashSet<(usize, u8, u16)>,
    /// Who has pinged whom, and was pinged by them: no port tells one ping from another.
    pinged: HashSet<(IpAddr, IpAddr)>,
    drawn: Vec<Conversation>,
}

const SERVICES: [u16; 13] = [
    22, 80, 443, 443, 3306, 5432, 6379, 8080, 8443, 9092, 9200, 27017, 50051,
];

impl<'w> Draw<'w> {
    pub(super) fn all(
        world: &'w World,
        random: &'w mut Random,
        of_each: usize,
    ) -> Vec<Conversation> {
        let mut draw = Self {
            world,
            random,
            used: HashSet::new(),
            pinged: HashSet::new(),
            drawn: Vec::new(),
        };
        for kind in KINDS {
            draw.kind(kind, of_each);
        }
        draw.drawn
    }

    fn kind(&mut self, kind: &'static str, count: usize) {
        let wanted = self.drawn.len() + count;
        for _ in 0..count * 3000 {
            if self.drawn.len() >= wanted {
                return;
            }
            let Some(conversation) = self.one(kind).filter(|found| self.is_visible(found)) else {
                continue;
            };
            let twin = self.in_the_other_vpc(&conversation);
            self.drawn.push(conversation);
            self.drawn.extend(twin);
        }
        panic!("this world has no conversation `{kind}`");
    }

    /// Whether the logs can tell of it: both directions are recorded, and a refusal where it happened.
    fn is_visible(&self, conversation: &Conversation) -> bool {
        let sights = sights(self.world, conversation);
        let is_seen = |up: bool| {
            let mut seen = sights.iter().filter(|sight| sight.up == up);
            seen.any(|sight| is_logged(self.world, sight.at))
        };
        let is_logged = |end: End| end.node.is_some_and(|node| self.world.is_logged(node));
        let (client, server) = (
            is_logged(conversation.client),
            is_logged(conversation.server),
        );
        match (conversation.verdict, conversation.via) {
            (Verdict::RefusedByServer, _) => server,
            (Verdict::RefusedByClient, _) => client,
            (_, Via::Nat(gateway, _)) => {
                let gateway = self.world.is_logged(gateway);
                match conversation.kind {
                    "NAT, both logged" => client && gateway,
                    "NAT, client logged" => client && !gateway,
                    "NAT, gateway logged" => gateway && !client,
                    _ => client || gateway,
                }
            }
            _ => is_seen(true) && is_seen(false),
        }
    }

    fn one(&mut self, kind: &'static str) -> Option<Conversation> {
        let client = self.instance();
        let further = kind.starts_with("further");
        let ours = |draw: &mut Self, further: bool| draw.pair(client, further);
        let (client, server, via, far) = match kind {
            "NAT, both logged"
            | "NAT, client logged"
            | "NAT, gateway logged"
            | "further address, NAT"
            | "port used again, NAT" => {
                let addr = self.addr_of(client, further)?;
                let away = self.stranger(client);
                let Target::Nat(gateway) = self.route(client, away)? else {
                    return None;
                };
                let port = self.port_between(1024, 65535);
                let far = if is_of_aws(away) {
                    "aws_service"
                } else {
                    "internet"
                };
                (
                    (addr, Some(client)),
                    (away, None),
                    Via::Nat(gateway, port),
                    far,
                )
            }
            "regional NAT" => {
                let (addr, away) = (self.addr_of(client, false)?, self.stranger(client));
                if self.world.vpc_of(client) != LAB
                    || self.route(client, away) != Some(Target::RegionalNat)
                {
                    return None;
                }
                let public = choose(self.random, &REGIONAL_NAT);
                let port = self.port_between(1024, 65535);
                let far = if is_of_aws(away) {
                    "aws_service"
                } else {
                    "internet"
                };
                let via = Via::RegionalNat((public.into(), port));
                ((addr, Some(client)), (away, None), via, far)
            }
            "straight out" | "from the internet" => {
                let (addr, away) = (self.addr_of(client, false)?, self.host_of_internet());
                if self.route(client, away) != Some(Target::Igw) {
                    return None;
                }
                let (us, them) = ((addr, Some(client)), (away, None));
                if kind == "straight out" {
                    (us, them, Via::Direct, "internet")
                } else {
                    (them, us, Via::Direct, "internet")
                }
            }
            "S3 by endpoint" => {
                let addr = self.addr_of(client, false)?;
                let region = self.world.vpcs[self.world.vpc_of(client)].region;
                let away = self.in_s3(region);
                if self.route(client, away) != Some(Target::S3) {
                    return None;
                }
                (
                    (addr, Some(client)),
                    (away, None),
                    Via::Direct,
                    "aws_service",
                )
            }
            "IPv6 out" => {
                let addr = self.world.nodes[client].addr6?;
                let away = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, self.low16());
                (
                    (addr.into(), Some(client)),
                    (away.into(), None),
                    Via::Direct,
                    "internet",
                )
            }
            "on premises" => {
                let addr = self.addr_of(client, false)?;
                let away = match self.world.vpc_of(client) {
                    SHOP => Ipv4Addr::new(172, 31, self.low8(), self.low8()),
                    PLANT => Ipv4Addr::new(192, 168, self.low8(), self.low8()),
                    _ => return None,
                };
                let away = IpAddr::V4(away);
                if self.route(client, away) != Some(Target::Vgw) {
                    return None;
                }
                let (us, them) = ((addr, Some(client)), (away, None));
                if chance(self.random, 50) {
                    (us, them, Via::Direct, "on_prem")
                } else {
                    (them, us, Via::Direct, "on_prem")
                }
            }
            "refused by the server" if chance(self.random, 30) => {
                let (addr, away) = (self.addr_of(client, false)?, self.host_of_internet());
                if self.route(client, away) != Some(Target::Igw) {
                    return None;
                }
                ((away, None), (addr, Some(client)), Via::Direct, "internet")
            }
            _ => ours(self, further)?,
        };
        let is_same_subnet = |a: Option<usize>, b: Option<usize>| {
            let subnet = |node: Option<usize>| node.map(|node| self.world.nodes[node].subnet);
            subnet(a) == subnet(b)
        };
        let fits = match kind {
            "inside a subnet" => is_same_subnet(client.1, server.1),
            "between subnets" => far == "vpc" && !is_same_subnet(client.1, server.1),
            "over a peering" => far == "peer",
            "over the transit gateway" => far == "transit",
            "further address" => matches!(via, Via::Direct) && far != "internet",
            "further address, transit"
            | "DNS, transit"
            | "refused, transit"
            | "port used again, transit" => far == "transit",
            "DNS" | "refused by the server" | "port used again" => far != "transit",
            "ports that mislead" | "ping" => far == "vpc",
            _ => true,
        };
        fits.then(|| self.talk(kind, client, server, via, far))?
    }

    /// Two of our interfaces that reach each other.
    fn pair(&mut self, client: usize, further: bool) -> Option<Found> {
        let server = self.instance();
        if client == server {
            return None;
        }
        let of_client = further && chance(self.random, 60);
        let of_server = further && !of_client;
        let both6 = self.world.nodes[client]
            .addr6
            .zip(self.world.nodes[server].addr6);
        let is_same_vpc = self.world.vpc_of(client) == self.world.vpc_of(server);
        let (from, to) = match both6 {
            Some((from, to)) if is_same_vpc && !further && chance(self.random, 20) => {
                (from.into(), to.into())
            }
            _ => (
                self.addr_of(client, of_client)?,
                self.addr_of(server, of_server)?,
            ),
        };
        let (there, back) = (self.route(client, to)?, self.route(server, from)?);
        let vpcs = (self.world.vpc_of(client), self.world.vpc_of(server));
        let (via, far) = match (there, back) {
            (Target::Local, Target::Local) if is_same_vpc => (Via::Direct, "vpc"),
            (Target::Pcx(one), Target::Pcx(other))
                if one == other && [vpcs, (vpcs.1, vpcs.0)].contains(&PEERINGS[one]) =>
            {
                (Via::Direct, "peer")
            }
            (Target::Tgw, Target::Tgw)
                if !is_same_vpc && TRANSIT.contains(&vpcs.0) && TRANSIT.contains(&vpcs.1) =>
            {
                (Via::Transit, "transit")
            }
            _ => return None,
        };
        Some(((from, Some(client)), (to, Some(server)), via, far))
    }

    fn talk(
        &mut self,
        kind: &'static str,
        client: (IpAddr, Option<usize>),
        server: (IpAddr, Option<usize>),
        via: Via,
        far: &'static str,
    ) -> Option<Conversation> {
        let protocol = match kind {
            "ping" if client.0.is_ipv6() => ICMPV6,
            "ping" => ICMP,
            _ if kind.starts_with("DNS") => UDP,
            _ => TCP,
        };
        let is_ping = kind == "ping";
        // A client of Windows 2003, a Lambda or a load balancer on a service above 32767: by the ports it is the server.
        let misleads = kind == "ports that mislead";
        let service = match protocol {
            UDP => 53,
            _ if misleads => 50_051,
            _ => choose(self.random, &SERVICES),
        };
        let port = match self.random.between(1, 100) {
            ..=94 if !misleads => self.port_between(32_768, 65_535),
            _ => self.port_between(1024, 32_767),
        };
        if !misleads && port < 32_768 && service > 32_767 {
            return None;
        }
        let (port, service) = if is_ping { (0, 0) } else { (port, service) };
        let vpcs = [client.1, server.1];
        let vpcs: HashSet<usize> = vpcs
            .into_iter()
            .flatten()
            .map(|node| self.world.vpc_of(node))
            .collect();
        if is_ping {
            let ends = (client.0.min(server.0), client.0.max(server.0));
            if !self.pinged.insert(ends) {
                return None;
            }
        } else if SERVICES.contains(&port)
            || vpcs
                .iter()
                .any(|&vpc| self.used.contains(&(vpc, protocol, port)))
        {
            return None;
        }
        // Ports of a gateway are numbered beyond those of VPCs.
        let outside = match via {
            Via::Nat(node, port) => Some((1000 + node, protocol, port)),
            Via::RegionalNat((_, port)) => Some((999, protocol, port)),
            Via::Direct | Via::Transit => None,
        };
        if outside.is_some_and(|key| SERVICES.contains(&key.2) || !self.used.insert(key)) {
            return None;
        }
        if !is_ping {
            self.used
                .extend(vpcs.into_iter().map(|vpc| (vpc, protocol, port)));
        }
        let verdict = match kind {
            "refused by the server" | "refused, transit" => Verdict::RefusedByServer,
            "refused by the client" => Verdict::RefusedByClient,
            _ => Verdict::Accepted,
        };
        let (seconds, up, down) = self.shape(protocol, verdict);
        let start = FIRST + self.random.between(0, 4800);
        let again = kind.starts_with("port used again").then(|| {
            let start = start + seconds + self.random.between(1, 900);
            let (seconds, up, down) = self.shape(protocol, verdict);
            Again {
                start,
                seconds,
                up,
                down,
            }
        });
        Some(Conversation {
            kind,
            client: End {
                socket: (client.0, port),
                node: client.1,
            },
            server: End {
                socket: (server.0, service),
                node: server.1,
            },
            far,
            via,
            protocol,
            start,
            seconds,
            mid: protocol == TCP
                && !misleads
                && verdict == Verdict::Accepted
                && chance(self.random, 5),
            up,
            down,
            verdict,
            again,
        })
    }

    /// A lookup, an attempt, a call, a transfer, or a connection that is kept alive.
    fn shape(&mut self, protocol: u8, verdict: Verdict) -> (i64, Stream, Stream) {
        let stream = |packets: i64, bytes: i64| Stream { packets, bytes };
        if verdict != Verdict::Accepted {
            let tries = self.random.between(1, 4);
            return (
                (1 << (tries - 1)) - 1,
                stream(tries, 60 * tries),
                stream(1, 0),
            );
        }
        if matches!(protocol, ICMP | ICMPV6) {
            let packets = self.random.between(1, 400);
            let bytes = packets * self.random.between(28, 1500);
            return (packets - 1, stream(packets, bytes), stream(packets, bytes));
        }
        if protocol == UDP {
            let (asked, told) = (self.random.between(60, 90), self.random.between(100, 600));
            return (self.random.between(0, 1), stream(1, asked), stream(1, told));
        }
        let (seconds, packets) = match self.random.between(1, 100) {
            1..=55 => (self.random.between(0, 8), self.random.between(3, 40)),
            56..=75 => (self.random.between(30, 400), self.random.between(20, 300)),
            76..=90 => (
                self.random.between(600, 1800),
                self.random.between(200, 600),
            ),
            _ => {
                let packets = self.random.between(4, 20);
                (packets * self.random.between(20, 200), packets)
            }
        };
        let back = (packets * self.random.between(50, 200) / 100).max(2);
        let up = stream(
            packets,
            packets * self.random.between(52, 900) + self.random.between(0, 40),
        );
        let down = stream(
            back,
            back * self.random.between(52, 1400) + self.random.between(0, 40),
        );
        (seconds, up, down)
    }

    /// The same addresses and ports at nearly the same time in a VPC with the same blocks.
    fn in_the_other_vpc(&mut self, one: &Conversation) -> Option<Conversation> {
        let client = one.client.node?;
        let other = choose(self.random, &[TWIN, SPARE]);
        if one.far != "vpc"
            || one.kind == "ping"
            || self.world.vpc_of(client) != SHOP
            || !chance(self.random, 50)
        {
            return None;
        }
        let same = |end: End| {
            let node = self.world.nodes.iter().position(|node| {
                let has = node
                    .addrs
                    .iter()
                    .any(|addr| IpAddr::V4(*addr) == end.socket.0);
                has && self.world.subnets[node.subnet].vpc == other
            });
            node.map(|node| End {
                node: Some(node),
                ..end
            })
        };
        let (seconds, up, down) = self.shape(one.protocol, one.verdict);
        let twin = Conversation {
            client: same(one.client)?,
            server: same(one.server)?,
            start: one.start + self.random.between(0, 60),
            seconds,
            up,
            down,
            ..one.clone()
        };
        let port = (other, one.protocol, one.client.socket.1);
        (self.is_visible(&twin) && self.used.insert(port)).then_some(twin)
    }

    fn instance(&mut self) -> usize {
        let last = i64::try_from(self.world.nodes.len()).unwrap() - 1;
        loop {
            let node = usize::try_from(self.random.between(0, last)).unwrap();
            if self.world.nodes[node].kind == NodeKind::Instance {
                return node;
            }
        }
    }

    /// The primary address, or one of the further ones.
    fn addr_of(&mut self, node: usize, further: bool) -> Option<IpAddr> {
        let of = &self.world.nodes[node];
        if !further {
            return Some(of.addrs[0].into());
        }
        match (of.addrs.get(1), of.prefix) {
            (Some(&addr), _) => Some(addr.into()),
            (None, Some(net)) => {
                let [a, b, c, d] = net.network().octets();
                let host = u8::try_from(self.random.between(0, 15)).unwrap();
                Some(Ipv4Addr::new(a, b, c, d + host).into())
            }
            _ => None,
        }
    }

    fn route(&self, node: usize, to: IpAddr) -> Option<Target> {
        self.world.route(self.world.subnet_of(node), to)
    }

    fn port_between(&mut self, low: u16, high: u16) -> u16 {
        u16::try_from(self.random.between(low.into(), high.into())).unwrap()
    }

    fn low8(&mut self) -> u8 {
        u8::try_from(self.random.between(1, 254)).unwrap()
    }

    fn low16(&mut self) -> u16 {
        self.port_between(1, 65_535)
    }

    fn in_s3(&mut self, region: &str) -> IpAddr {
        let [a, b, ..] = s3(region).network().octets();
        Ipv4Addr::new(a, b, self.low8() / 2, self.low8()).into()
    }

    fn host_of_internet(&mut self) -> IpAddr {
        let (host, third) = (self.low8(), self.low8() / 2);
        // Of strangers, and of other customers of EC2.
        match self.random.between(1, 10) {
            1..=5 => Ipv4Addr::new(192, 0, 2, host),
            6..=9 => Ipv4Addr::new(203, 0, 113, host),
            _ => Ipv4Addr::new(3, 248, third, host),
        }
        .into()
    }

    /// Someone on the internet, or S3 in the other region, which no gateway endpoint leads to.
    fn stranger(&mut self, client: usize) -> IpAddr {
        if chance(self.random, 10) {
            let own = self.world.vpcs[self.world.vpc_of(client)].region;
            let other = if own == "eu-west-1" {
                "us-east-1"
            } else {
                "eu-west-1"
            };
            return self.in_s3(other);
        }
        self.host_of_internet()
    }
}

type Found = (
    (IpAddr, Option<usize>),
    (IpAddr, Option<usize>),
    Via,
    &'static str,
);
