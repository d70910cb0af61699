//! A flow record in the compact form that the passes over `traffic` work on, and the texts, addresses and ids that records share.

use std::net::{IpAddr, Ipv6Addr};

use super::hash::Map;

/// An index into a [`Texts`]; [`NONE`] for NULL.
pub(super) type Text = u32;

/// An index into an [`Addresses`]; [`NONE`] for NULL.
pub(super) type Address = u32;

/// No text, no address, no endpoint, no route.
pub(super) const NONE: u32 = u32::MAX;

fn index(len: usize) -> u32 {
    u32::try_from(len).expect("fewer than 2^32 distinct values fit in memory")
}

/// Each distinct text once.
#[derive(Debug, Default)]
pub(super) struct Texts {
    values: Vec<Box<str>>,
    known: Map<Box<str>, Text>,
}

impl Texts {
    /// The index of a text, new or known.
    pub(super) fn intern(&mut self, value: &str) -> Text {
        if let Some(&text) = self.known.get(value) {
            return text;
        }
        let text = index(self.values.len());
        self.values.push(value.into());
        self.known.insert(value.into(), text);
        text
    }

    /// The text, or `None` for NULL.
    pub(super) fn get(&self, text: Text) -> Option<&str> {
        self.values.get(text as usize).map(AsRef::as_ref)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.values.iter().map(AsRef::as_ref)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves")]
fn halves(address: Ipv6Addr) -> [u64; 2] {
    let bits = address.to_bits();
    [(bits >> 64) as u64, bits as u64]
}

/// Each distinct address once.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    values: Vec<IpAddr>,
    v4: Map<u32, Address>,
    v6: Map<[u64; 2], Address>,
}

impl Addresses {
    pub(super) fn intern(&mut self, value: IpAddr) -> Address {
        let next = index(self.values.len());
        let known = match value {
            IpAddr::V4(value) => *self.v4.entry(value.to_bits()).or_insert(next),
            IpAddr::V6(value) => *self.v6.entry(halves(value)).or_insert(next),
        };
        if known == next {
            self.values.push(value);
        }
        known
    }

    /// The number of an address that is known.
    pub(super) fn lookup(&self, value: IpAddr) -> Option<Address> {
        match value {
            IpAddr::V4(value) => self.v4.get(&value.to_bits()),
            IpAddr::V6(value) => self.v6.get(&halves(value)),
        }
        .copied()
    }

    pub(super) fn get(&self, address: Address) -> Option<IpAddr> {
        self.values.get(address as usize).copied()
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = IpAddr> {
        self.values.iter().copied()
    }
}

/// What was done with the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Accept,
    Reject,
    /// Transit Gateway records have none.
    Unknown,
}

/// The way a record's packets cross its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Ingress,
    Egress,
    Unknown,
}

/// Who opened the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Initiator {
    Src,
    Dst,
    Unknown,
}

/// Where on the way of the packets a record was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leg {
    /// At the sender's or the receiver's own interface.
    Direct,
    /// At a NAT gateway, on the side of the client.
    NatInside,
    /// As `NatInside`, but the record does not name the far end (the v2 default format has no `pkt-*` fields).
    NatInsideBlind,
    /// At a NAT gateway, on the side of the internet.
    NatOutside,
    /// At a transit gateway.
    Transit,
    /// As `Transit`, but the record has the gateway's own address in the place of one end (the v2 default format has no `pkt-*` fields).
    /// A transit gateway sends and receives nothing itself, so that this never counts: the ends' own records do.
    TransitBlind,
    /// At a load balancer, an endpoint or an appliance that neither sends nor receives.
    Middle,
    /// As `Middle`, with a Gateway Load Balancer endpoint's own address in the place of one end; never counts either.
    MiddleBlind,
}

impl Leg {
    /// Whether its own address stands in the place of one end, though it sends and receives nothing itself.
    pub(super) fn stands_in(self) -> bool {
        matches!(self, Self::TransitBlind | Self::MiddleBlind)
    }
}

/// Which way the record's own evidence and the routes agree or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    Expected,
    Contradicts,
    Impossible,
    Unknown,
}

/// Who refused a rejected record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusedBy {
    /// A network ACL, by this rule; the security groups would have let it through, or are not known.
    Nacl(u16),
    SecurityGroup,
    /// A network ACL, and the security groups would have refused it too.
    Both,
    BlockPublicAccess,
    EncryptionControls,
    LatePacket,
    Undecidable,
    /// Not rejected.
    Nobody,
}

/// What the rules of the time say of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) refused_by: RefusedBy,
    /// Whether they would have done what was done; `None` where that can't be told, or where no rule decided.
    pub(super) agrees: Option<bool>,
}

/// One record: 80 bytes, which is what a record costs in memory while its slice of time is worked on. Addresses are those of the
/// packet where the record knows them. Times are microseconds since 1970 UTC.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    pub(super) start: i64,
    pub(super) end: i64,
    packets: i64,
    bytes: i64,
    pub(super) src: Address,
    pub(super) dst: Address,
    /// The ids that say who recorded it: an index into the distinct ones; from [`resolve`](super::resolve) on, into those at their times.
    pub(super) recorder: u32,
    /// An index into the distinct [`Traits`].
    pub(super) traits: u32,
    src_port: i32,
    dst_port: i32,
    // What the passes find out.
    pub(super) src_end: u32,
    pub(super) dst_end: u32,
    pub(super) route: u32,
    protocol: i16,
    tcp_flags: i16,
    pub(super) action: Action,
    pub(super) direction: Direction,
    pub(super) leg: Leg,
    pub(super) initiator: Initiator,
    pub(super) path: Path,
    pub(super) late: bool,
    pub(super) counted: bool,
    pub(super) standing: Standing,
}

/// Whether a record was there in the slice of time before, and whether flags tell who opened its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    New,
    NewByFlags,
    /// Kept as company for this slice's records: it is resolved.
    Kept,
    KeptByFlags,
}

impl Standing {
    pub(super) fn is_kept(self) -> bool {
        matches!(self, Self::Kept | Self::KeptByFlags)
    }

    pub(super) fn by_flags(self) -> Self {
        match self {
            Self::New | Self::NewByFlags => Self::NewByFlags,
            Self::Kept | Self::KeptByFlags => Self::KeptByFlags,
        }
    }
}

/// What a column holds, as a record keeps it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    pub(super) packets: Option<i64>,
    pub(super) bytes: Option<i64>,
    pub(super) src_port: Option<i32>,
    pub(super) dst_port: Option<i32>,
    pub(super) protocol: Option<i32>,
    pub(super) tcp_flags: Option<i32>,
}

impl Flow {
    pub(super) fn new(
        (start, end): (i64, i64),
        (src, dst): (Address, Address),
        numbers: Numbers,
        (action, direction): (Action, Direction),
        (recorder, traits): (u32, u32),
    ) -> Self {
        // No protocol and no flags are as large as that: what is, is no value.
        let small = |value: Option<i32>| value.and_then(|value| i16::try_from(value).ok());
        Self {
            start,
            end,
            packets: numbers.packets.unwrap_or(i64::MIN),
            bytes: numbers.bytes.unwrap_or(i64::MIN),
            src,
            dst,
            recorder,
            traits,
            src_port: numbers.src_port.unwrap_or(i32::MIN),
            dst_port: numbers.dst_port.unwrap_or(i32::MIN),
            src_end: NONE,
            dst_end: NONE,
            route: NONE,
            protocol: small(numbers.protocol).unwrap_or(i16::MIN),
            tcp_flags: small(numbers.tcp_flags).unwrap_or(i16::MIN),
            action,
            direction,
            leg: Leg::Direct,
            initiator: Initiator::Unknown,
            path: Path::Unknown,
            late: false,
            counted: true,
            standing: Standing::New,
        }
    }

    /// A settled record as the next slice of time finds it.
    pub(super) fn for_next_slice(&self) -> Self {
        let standing = match self.standing {
            Standing::New | Standing::Kept => Standing::Kept,
            Standing::NewByFlags | Standing::KeptByFlags => Standing::KeptByFlags,
        };
        Self {
            standing,
            late: false,
            counted: true,
            ..*self
        }
    }

    pub(super) fn packets(&self) -> Option<i64> {
        (self.packets != i64::MIN).then_some(self.packets)
    }

    pub(super) fn bytes(&self) -> Option<i64> {
        (self.bytes != i64::MIN).then_some(self.bytes)
    }

    pub(super) fn src_port(&self) -> Option<i32> {
        (self.src_port != i32::MIN).then_some(self.src_port)
    }

    pub(super) fn dst_port(&self) -> Option<i32> {
        (self.dst_port != i32::MIN).then_some(self.dst_port)
    }

    pub(super) fn protocol(&self) -> Option<i32> {
        (self.protocol != i16::MIN).then_some(self.protocol.into())
    }

    pub(super) fn tcp_flags(&self) -> Option<i32> {
        (self.tcp_flags != i16::MIN).then_some(self.tcp_flags.into())
    }

    /// The ports, the least number for none.
    pub(super) fn ports(&self) -> (i32, i32) {
        (self.src_port, self.dst_port)
    }

    /// The source's address and port, as one number; and the destination's.
    pub(super) fn sockets(&self) -> (u64, u64) {
        (
            socket(self.src, self.src_port),
            socket(self.dst, self.dst_port),
        )
    }
}

/// An address and a port as one number.
pub(super) fn socket(address: Address, port: i32) -> u64 {
    u64::from(address) << 32 | u64::from(port.cast_unsigned())
}

/// The ids by which a record says who recorded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RecorderIds {
    pub(super) account_id: Text,
    pub(super) region: Text,
    pub(super) vpc_id: Text,
    pub(super) subnet_id: Text,
    pub(super) interface_id: Text,
    pub(super) resource_id: Text,
    pub(super) tgw_id: Text,
    pub(super) tgw_attachment_id: Text,
    pub(super) tgw_dst_vpc_id: Text,
    pub(super) tgw_dst_subnet_id: Text,
    pub(super) interface_type: Text,
}

/// What few records differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Traits {
    /// The object that it came from.
    pub(super) source: Text,
    pub(super) reject_reason: Text,
    pub(super) src_service: Text,
    pub(super) dst_service: Text,
    pub(super) next_hop_type: Text,
    pub(super) traffic_path: Option<i32>,
}

/// Values by number, each once.
#[derive(Debug)]
pub(super) struct Numbered<T> {
    pub(super) values: Vec<T>,
    known: Map<T, u32>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            known: Map::default(),
        }
    }
}

impl<T: Copy + Eq + std::hash::Hash> Numbered<T> {
    pub(super) fn intern(&mut self, value: T) -> u32 {
        let values = &mut self.values;
        *self.known.entry(value).or_insert_with(|| {
            values.push(value);
            index(values.len() - 1)
        })
    }
}

/// What the records of a scan share.
#[derive(Debug, Default)]
pub(super) struct Pool {
    pub(super) texts: Texts,
    pub(super) addresses: Addresses,
    pub(super) recorders: Numbered<RecorderIds>,
    pub(super) traits: Numbered<Traits>,
}
