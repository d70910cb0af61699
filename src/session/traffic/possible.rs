//! Which records can be in an answer at all: told by their addresses and ports, before anything else of them is read.
//!
//! Filters on an end's scope, subnet and class rule out most records of most questions. What is ruled out is ruled out for all records of
//! a conversation alike, wherever they were made: what an address can mean is asked of the whole topology, not of the recorder. So the
//! records that are left have all of their company.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::common::{self, ScalarValue};
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::columns::Which;
use super::conversation::{ephemeral, has_ports};
use super::flow::{Address, NONE, Pool, Text};
use super::hash::Map;
use super::input::{Column, Columns, NO_INT};
use super::numbers::Numbers;
use crate::topology::{History, InSubnet, Outlook, Outlooks, Scope, Scopes};

/// What a filter asks of the ends of a record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Hint {
    Scope(Which, Scopes),
    /// In some subnet.
    IsInSubnet(Which),
    /// In the same subnet, or in two.
    Subnets(Which, Which, bool),
    /// Of a class, if the class is known, that is among these or, if false, is not.
    Class(Which, Vec<String>, bool),
    Any(Vec<Hint>),
}

/// A column of `traffic` about an end.
fn of_end(column: &common::Column) -> Option<(Which, &str)> {
    let (which, field) = column.name.split_once('_')?;
    let which = match which {
        "src" => Which::Src,
        "dst" => Which::Dst,
        "client" => Which::Client,
        "server" => Which::Server,
        _ => return None,
    };
    Some((which, field))
}

fn text(value: &Expr) -> Option<&str> {
    match value {
        Expr::Literal(
            ScalarValue::Utf8View(Some(text))
            | ScalarValue::Utf8(Some(text))
            | ScalarValue::LargeUtf8(Some(text)),
            _,
        ) => Some(text),
        _ => None,
    }
}

impl Hint {
    /// What a filter asks of the ends; `None` for all else.
    pub(super) fn of(filter: &Expr) -> Option<Self> {
        match filter {
            Expr::IsNotNull(inner) => match inner.as_ref() {
                Expr::Column(column) => match of_end(column)? {
                    (which, "subnet_id") => Some(Self::IsInSubnet(which)),
                    _ => None,
                },
                _ => None,
            },
            Expr::InList(InList {
                expr,
                list,
                negated,
            }) => {
                let words = list.iter().map(text).collect::<Option<Vec<_>>>()?;
                Self::words(expr, &words, !negated)
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), op) {
                (left, Operator::Or) => Some(Self::Any(vec![Self::of(left)?, Self::of(right)?])),
                (Expr::Column(one), Operator::Eq | Operator::NotEq) => match right.as_ref() {
                    Expr::Column(other) => match (of_end(one)?, of_end(other)?) {
                        ((one, "subnet_id"), (other, "subnet_id")) => {
                            Some(Self::Subnets(one, other, *op == Operator::Eq))
                        }
                        _ => None,
                    },
                    value => Self::words(left, &[text(value)?], *op == Operator::Eq),
                },
                (left, Operator::Eq | Operator::NotEq) => {
                    Self::words(left, &[text(right)?], *op == Operator::Eq)
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// What it means that an end's scope or class is one of some words, or none of them.
    fn words(of: &Expr, words: &[&str], is_one: bool) -> Option<Self> {
        let column = match of {
            Expr::Column(column) => column,
            // A default for what is not known says nothing of what is.
            Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "coalesce" => {
                match args.first()? {
                    Expr::Column(column) => column,
                    _ => return None,
                }
            }
            _ => return None,
        };
        match of_end(column)? {
            (which, "scope") if matches!(of, Expr::Column(_)) => {
                let allowed = |scope: Scope| words.contains(&scope.as_str()) == is_one;
                Some(Self::Scope(which, Scopes::where_is(allowed)))
            }
            (which, "class") => {
                let words = words.iter().map(|word| (*word).to_owned()).collect();
                Some(Self::Class(which, words, is_one))
            }
            _ => None,
        }
    }

    /// Whether two ends, of which one is the client, may fulfil it.
    fn may_be(&self, ends: Ends<'_>) -> bool {
        match self {
            Self::Scope(which, scopes) => ends
                .get(*which)
                .is_some_and(|end| end.scopes.meets(*scopes)),
            Self::IsInSubnet(which) => ends
                .get(*which)
                .is_some_and(|end| end.subnet != InSubnet::No),
            Self::Subnets(one, other, same) => match (ends.get(*one), ends.get(*other)) {
                (Some(one), Some(other)) => match (one.subnet, other.subnet) {
                    (InSubnet::No, _) | (_, InSubnet::No) => false,
                    (InSubnet::Only(one), InSubnet::Only(other)) => (one == other) == *same,
                    _ => true,
                },
                _ => false,
            },
            Self::Class(which, words, is_one) => ends.get(*which).is_some_and(|end| {
                end.class
                    .is_none_or(|class| words.iter().any(|word| word == class.as_str()) == *is_one)
            }),
            Self::Any(hints) => hints.iter().any(|hint| hint.may_be(ends)),
        }
    }
}

#[derive(Clone, Copy)]
struct Ends<'o> {
    src: &'o Outlook,
    dst: &'o Outlook,
    /// Whether the source is the client; `None` where nobody is.
    client_is_src: Option<bool>,
}

impl<'o> Ends<'o> {
    fn get(self, which: Which) -> Option<&'o Outlook> {
        let either = |is_src| if is_src { self.src } else { self.dst };
        match which {
            Which::Src => Some(self.src),
            Which::Dst => Some(self.dst),
            Which::Client => self.client_is_src.map(either),
            Which::Server => self
                .client_is_src
                .map(|client_is_src| either(!client_is_src)),
        }
    }
}

/// What the filters of a scan ask of a record that can be told before it is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pub(super) hints: Vec<Hint>,
    pub(super) service_ports: Option<Numbers>,
    pub(super) protocols: Option<Numbers>,
}

impl Asked {
    fn is_nothing(&self) -> bool {
        self.hints.is_empty() && self.service_ports.is_none() && self.protocols.is_none()
    }
}

/// The ports below are not given out by NAT gateways (Amazon VPC User Guide, "NAT gateway basics": 1024 to 65535).
const FIRST_OF_NAT: usize = 1024;

/// Tells which records may be in an answer.
#[derive(Debug)]
pub(super) struct Possible {
    asked: Asked,
    /// Whether a NAT gateway may have put a port that is asked for in the place of another.
    asks_port_of_nat: bool,
    outlooks: Outlooks,
    history: Arc<History>,
    /// Whether a record may have TCP flags, which say who opened a connection whatever the ports are.
    with_flags: bool,
}

impl Possible {
    /// `None` where nothing is ruled out.
    pub(super) fn new(asked: &Asked, history: &Arc<History>, with_flags: bool) -> Option<Self> {
        if asked.is_nothing() || history.is_empty() {
            return None;
        }
        let ports = asked.service_ports.as_ref();
        Some(Self {
            asks_port_of_nat: ports.is_some_and(|ports| ports.any_from(FIRST_OF_NAT)),
            asked: asked.clone(),
            outlooks: Outlooks::new(history.networks()),
            history: Arc::clone(history),
            with_flags,
        })
    }

    fn knows(&self, interface_id: &str) -> bool {
        let mut networks = self.history.networks();
        networks.all(|network| network.interface(interface_id).is_some())
    }

    fn may_be(&self, src: &Outlook, dst: &Outlook, clients: &[Option<bool>]) -> bool {
        // Behind a NAT gateway's address is somebody else. What the gateway says of an end behind it has another port.
        let ours = Outlook::ours();
        src.is_of_nat
            || dst.is_of_nat
            || self.fulfil(src, dst, clients)
            || src.is_behind_nat && self.fulfil(&ours, dst, CLIENTS[EITHER])
            || dst.is_behind_nat && self.fulfil(src, &ours, CLIENTS[EITHER])
    }

    fn fulfil(&self, src: &Outlook, dst: &Outlook, clients: &[Option<bool>]) -> bool {
        clients.iter().any(|&client_is_src| {
            let ends = Ends {
                src,
                dst,
                client_is_src,
            };
            self.asked.hints.iter().all(|hint| hint.may_be(ends))
        })
    }

    /// Whether protocol and ports may be what is asked for. `client` is a place in [`CLIENTS`].
    fn numbers_may_be(
        &self,
        protocol: i32,
        (src, dst): (i32, i32),
        client: usize,
        is_at_nat: bool,
    ) -> bool {
        let is_asked = |numbers: &Option<Numbers>, number| {
            let numbers = numbers.as_ref();
            numbers.is_none_or(|numbers| numbers.may_pass(number))
        };
        if !is_asked(&self.asked.protocols, protocol) {
            return false;
        }
        // Of the two legs at a NAT gateway neither is left out without the other: one end has another port there.
        if is_at_nat && self.asks_port_of_nat {
            return true;
        }
        let client = if is_at_nat { EITHER } else { client };
        CLIENTS[client].iter().any(|client_is_src| {
            let port = match client_is_src {
                None => NO_INT,
                Some(true) => dst,
                Some(false) => src,
            };
            is_asked(&self.asked.service_ports, port)
        })
    }

    /// Who may be the client, as a place in [`CLIENTS`]. What is NULL is [`NO_INT`].
    fn client(&self, protocol: i32, src: i32, dst: i32) -> usize {
        if src == NO_INT || dst == NO_INT || !has_ports(Some(protocol)) {
            return NOBODY;
        }
        if self.with_flags && protocol == 6 {
            return EITHER;
        }
        match ephemeral(src, dst) {
            _ if src == dst => NOBODY,
            Some(true) => SRC,
            Some(false) => DST,
            None => EITHER,
        }
    }
}

const NOBODY: usize = 0;
const SRC: usize = 1;
const DST: usize = 2;
const EITHER: usize = 3;

/// By number, whether the source may be the client.
const CLIENTS: [&[Option<bool>]; 4] = [
    &[None],
    &[Some(true)],
    &[Some(false)],
    &[None, Some(true), Some(false)],
];

/// Of an answer, which has a bit for each of [`CLIENTS`], the bit that says that it was found.
const FOUND: u8 = 1 << CLIENTS.len();

/// The bit that says that an end is a NAT gateway, or behind one.
const AT_NAT: u8 = FOUND << 1;

/// Outlooks whose answers are kept, by two of them in a megabyte; of more, each answer is found anew.
const MOST_KEPT: usize = 1 << 10;

/// One reader's memory of what is possible.
pub(super) struct Chooser {
    possible: Arc<Possible>,
    /// Each distinct outlook once: one for each subnet, and a few others. The first is that of no address.
    outlooks: Vec<Outlook>,
    numbers: Map<Outlook, u32>,
    /// By address, the number of its outlook.
    of_address: Vec<u32>,
    /// By interface, whether every network knows it.
    is_known: Map<Text, bool>,
    /// Whether every network knows all interfaces of the rows at hand.
    pub(super) knows_all: bool,
    /// By the numbers of two outlooks.
    answers: Vec<u8>,
}

impl Chooser {
    pub(super) fn new(possible: &Arc<Possible>) -> Self {
        Self {
            possible: Arc::clone(possible),
            outlooks: vec![Outlook::NONE],
            numbers: Map::default(),
            of_address: Vec::new(),
            is_known: Map::default(),
            knows_all: false,
            answers: vec![0; MOST_KEPT * MOST_KEPT],
        }
    }

    /// Of each of some records, whether it may be in the answer.
    pub(super) fn may_be(
        &mut self,
        columns: &Columns,
        rows: usize,
        pool: &Mutex<Pool>,
    ) -> Vec<bool> {
        // Each entry of a pool is whole in itself.
        let pool = || pool.lock().unwrap_or_else(PoisonError::into_inner);
        let src = self.outlooks_of(&columns.packet_sources(rows), pool);
        let dst = self.outlooks_of(&columns.packet_destinations(rows), pool);
        let [protocols, src_ports, dst_ports] =
            [Column::Protocol, Column::Srcport, Column::Dstport]
                .map(|column| columns.ints(column, rows));
        let mut may_be = Vec::with_capacity(rows);
        for row in 0..rows {
            let (protocol, ports) = (protocols[row], (src_ports[row], dst_ports[row]));
            let client = self.possible.client(protocol, ports.0, ports.1);
            let answer = self.answer(src[row], dst[row]);
            let numbers_may_be = |is_at_nat| {
                self.possible
                    .numbers_may_be(protocol, ports, client, is_at_nat)
            };
            may_be.push(answer & 1 << client != 0 && numbers_may_be(answer & AT_NAT != 0));
        }
        if !self.knows_all {
            self.add_unknown(columns.numbers(Column::InterfaceId), &mut may_be, pool);
        }
        may_be
    }

    /// Whether every network knows an interface.
    pub(super) fn knows(&self, interface_id: &str) -> bool {
        self.possible.knows(interface_id)
    }

    fn outlooks_of<'p>(
        &mut self,
        addresses: &[Address],
        pool: impl Fn() -> MutexGuard<'p, Pool>,
    ) -> Vec<u32> {
        let known = |of_address: &[u32], address: Address| match of_address.get(address as usize) {
            Some(number) => *number,
            None if address == NONE => 0,
            None => NONE,
        };
        let is_new = |of_address: &[u32]| {
            let is_new = |&address: &Address| known(of_address, address) == NONE;
            addresses.iter().any(is_new)
        };
        if is_new(&self.of_address) {
            let pool = pool();
            self.of_address.resize(pool.addresses.iter().len(), NONE);
            for &address in addresses {
                if known(&self.of_address, address) == NONE
                    && let Some(ip) = pool.addresses.get(address)
                {
                    self.of_address[address as usize] = self.number(ip);
                }
            }
        }
        let known = |&address: &Address| known(&self.of_address, address);
        addresses.iter().map(known).collect()
    }

    fn number(&mut self, address: IpAddr) -> u32 {
        let outlook = self.possible.outlooks.of(address);
        let outlooks = &mut self.outlooks;
        *self.numbers.entry(outlook).or_insert_with(|| {
            outlooks.push(outlook);
            // There are not more of them than addresses, whose numbers are as long.
            u32::try_from(outlooks.len() - 1).unwrap_or(0)
        })
    }

    /// What is possible between two ends.
    fn answer(&mut self, src: u32, dst: u32) -> u8 {
        let (src, dst) = (src as usize, dst as usize);
        let place = (src < MOST_KEPT && dst < MOST_KEPT).then_some(src * MOST_KEPT + dst);
        let kept = place.map_or(0, |place| self.answers[place]);
        if kept != 0 {
            return kept;
        }
        let (src, dst) = (&self.outlooks[src], &self.outlooks[dst]);
        let is_at_nat = |end: &Outlook| end.is_of_nat || end.is_behind_nat;
        let mut answer = FOUND;
        if is_at_nat(src) || is_at_nat(dst) {
            answer |= AT_NAT;
        }
        for (place, clients) in CLIENTS.iter().enumerate() {
            answer |= u8::from(self.possible.may_be(src, dst, clients)) << place;
        }
        if let Some(place) = place {
            self.answers[place] = answer;
        }
        answer
    }

    /// What an interface does that the topology does not know is told by all of its records. No interface is no known one.
    fn add_unknown<'p>(
        &mut self,
        interfaces: &[Text],
        may_be: &mut [bool],
        pool: impl Fn() -> MutexGuard<'p, Pool>,
    ) {
        if interfaces.is_empty() {
            may_be.fill(true);
            return;
        }
        let mut last = None;
        for (may_be, &interface) in may_be.iter_mut().zip(interfaces) {
            if *may_be {
                continue;
            }
            let is_known = match last {
                Some((last, is_known)) if last == interface => is_known,
                _ => *self.is_known.entry(interface).or_insert_with(|| {
                    let pool = pool();
                    let id = pool.texts.get(interface);
                    id.is_some_and(|id| self.possible.knows(id))
                }),
            };
            last = Some((interface, is_known));
            *may_be = !is_known;
        }
    }
}
