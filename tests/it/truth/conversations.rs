//! What really happened: who opened a connection to whom, what each side sent and when, and who refused it.

use std::net::IpAddr;

use super::world::{World, s3};

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMP: u8 = 1;
pub(crate) const ICMPV6: u8 = 58;

pub(crate) const KINDS: [&str; 26] = [
    "inside a subnet",
    "between subnets",
    "over a peering",
    "over the transit gateway",
    "on premises",
    "NAT, both logged",
    "NAT, client logged",
    "NAT, gateway logged",
    "regional NAT",
    "straight out",
    "from the internet",
    "S3 by endpoint",
    "IPv6 out",
    "DNS",
    "DNS, transit",
    "refused by the server",
    "refused, transit",
    "refused by the client",
    "ports that mislead",
    "further address",
    "further address, transit",
    "further address, NAT",
    "port used again",
    "port used again, transit",
    "port used again, NAT",
    "ping",
];

pub(crate) type Socket = (IpAddr, u16);

/// An end; `node` where it is ours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub(crate) socket: Socket,
    pub(crate) node: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Via {
    Direct,
    /// The gateway's interface, and the port it gave.
    Nat(usize, u16),
    /// The gateway's public socket.
    RegionalNat(Socket),
    Transit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    RefusedByServer,
    RefusedByClient,
}

/// What one side sends: packets, evenly over the conversation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    pub(crate) packets: i64,
    pub(crate) bytes: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Conversation {
    pub(crate) kind: &'static str,
    pub(crate) client: End,
    pub(crate) server: End,
    /// The scope of either end, seen from the other.
    pub(crate) far: &'static str,
    pub(crate) via: Via,
    pub(crate) protocol: u8,
    pub(crate) start: i64,
    pub(crate) seconds: i64,
    /// Open before the logs begin: no SYN in them.
    pub(crate) mid: bool,
    pub(crate) up: Stream,
    pub(crate) down: Stream,
    pub(crate) verdict: Verdict,
    /// The client uses its port again for the same server, once it has closed.
    pub(crate) again: Option<Again>,
}

/// A later connection between the same ends and ports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Again {
    pub(crate) start: i64,
    pub(crate) seconds: i64,
    pub(crate) up: Stream,
    pub(crate) down: Stream,
}

impl Conversation {
    /// What one side sent in all.
    pub(crate) fn bytes(&self, up: bool) -> i64 {
        let of = |(one, other): (Stream, Stream)| if up { one.bytes } else { other.bytes };
        of((self.up, self.down)) + self.again.map_or(0, |again| of((again.up, again.down)))
    }

    /// When each packet of a stream passed, its bytes and its flags.
    pub(crate) fn packets(&self, up: bool) -> impl Iterator<Item = (i64, i64, u8)> {
        let again = self.again.map(|again| Self {
            start: again.start,
            seconds: again.seconds,
            up: again.up,
            down: again.down,
            mid: false,
            again: None,
            ..self.clone()
        });
        let later = again
            .into_iter()
            .flat_map(move |again| again.first(up).collect::<Vec<_>>());
        self.first(up).chain(later)
    }

    /// The same of the first connection alone.
    fn first(&self, up: bool) -> impl Iterator<Item = (i64, i64, u8)> {
        const FIN: u8 = 1;
        const SYN: u8 = 2;
        const SYN_ACK: u8 = 18;
        let stream = if up { self.up } else { self.down };
        let count = stream.packets;
        let (each, rest) = (stream.bytes / count.max(1), stream.bytes % count.max(1));
        (0..count).map(move |number| {
            let time = self.start + number * self.seconds / (count - 1).max(1);
            let mut flags = 0;
            if self.protocol == TCP {
                let answered = self.verdict == Verdict::Accepted && self.down.packets > 0;
                let opens = !self.mid && (number == 0 || !answered);
                flags |= match (opens, up) {
                    (false, _) => 0,
                    (true, true) => SYN,
                    (true, false) => SYN_ACK,
                };
                if number == count - 1 && answered {
                    flags |= FIN;
                }
            }
            (time, each + i64::from(number < rest), flags)
        })
    }

    /// The VPCs that record it.
    pub(crate) fn vpcs(&self, world: &World) -> Vec<usize> {
        let ends = [self.client.node, self.server.node];
        ends.into_iter()
            .flatten()
            .map(|node| world.vpc_of(node))
            .collect()
    }
}

/// The name that AWS writes for a public address.
pub(crate) fn service(addr: IpAddr) -> &'static str {
    match addr {
        IpAddr::V4(addr) if addr.octets()[..2] == [3, 248] => "EC2",
        _ if is_of_aws(addr) => "S3",
        _ => "-",
    }
}

pub(crate) fn is_of_aws(addr: IpAddr) -> bool {
    let IpAddr::V4(addr) = addr else { return false };
    ["eu-west-1", "us-east-1"]
        .iter()
        .any(|region| s3(region).contains(&addr))
}
