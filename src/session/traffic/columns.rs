//! The columns of `traffic`: their names and types, and how they are written from resolved records.

use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, RecordBatchOptions,
    StringViewArray, StringViewBuilder, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::Result;

use super::flow::{
    Action, Address, Direction, Flow, Initiator, Judged, Leg, NONE, Path, Pool, RefusedBy, Text,
};
use super::refusal::Judging;
use super::world::{EndTexts, RecorderTexts, Way, World};

/// What the records of a slice of time point at, ready to be written: every text stands there once, and columns share it.
#[derive(Debug)]
pub(super) struct Tables {
    texts: StringViewArray,
    addresses: StringViewArray,
    /// The object of each of the distinct traits.
    sources: StringViewArray,
    ends: Vec<EndTexts>,
    recorders: Vec<RecorderTexts>,
    ways: Vec<Way>,
}

impl Tables {
    pub(super) fn new(world: &World<'_>, pool: &Pool) -> Self {
        let mut texts = StringViewBuilder::with_capacity(world.texts.iter().len());
        for text in world.texts.iter() {
            texts.append_value(text);
        }
        let mut addresses = StringViewBuilder::with_capacity(pool.addresses.iter().len());
        let mut written = String::new();
        for address in pool.addresses.iter() {
            written.clear();
            // Writing into a String cannot fail.
            write!(written, "{address}").ok();
            addresses.append_value(&written);
        }
        let mut sources = StringViewBuilder::new().with_deduplicate_strings();
        for traits in &pool.traits.values {
            sources.append_option(pool.texts.get(traits.source));
        }
        Self {
            texts: texts.finish(),
            addresses: addresses.finish(),
            sources: sources.finish(),
            ends: world.ends.iter().map(|end| end.texts).collect(),
            recorders: world
                .recorders
                .iter()
                .map(|recorder| recorder.texts)
                .collect(),
            ways: world.ways.clone(),
        }
    }

    pub(super) fn end(&self, end: u32) -> Option<&EndTexts> {
        self.ends.get(end as usize)
    }
}

/// Resolved records with what they point at.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) rows: Vec<Flow>,
    /// What the rules of the time say of each record; empty where nobody asked.
    pub(super) judged: Vec<Judged>,
    pub(super) tables: Arc<Tables>,
}

/// How a column is made from a record.
#[derive(Clone, Copy)]
enum Make {
    Start,
    End,
    Int(fn(&Flow) -> Option<i32>),
    Long(fn(&Flow) -> Option<i64>),
    Flag(fn(&Flow) -> bool),
    Word(fn(&Flow) -> Option<&'static str>),
    Action,
    Initiator,
    Address(fn(&Flow) -> Address),
    /// A text of one of the record's ends.
    OfEnd(Which, fn(&EndTexts) -> Text),
    Scope(Which),
    /// A text of who recorded it.
    OfRecorder(fn(&RecorderTexts) -> Text),
    RouteTarget,
    RefusedBy,
    ModelAgrees,
    Source,
}

/// Which end of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Src,
    Dst,
    Client,
    Server,
}

impl Which {
    /// [`NONE`] where the record does not tell.
    fn of(self, flow: &Flow) -> u32 {
        match (self, flow.initiator) {
            (Self::Src, _) | (Self::Client, Initiator::Src) | (Self::Server, Initiator::Dst) => {
                flow.src_end
            }
            (Self::Dst, _) | (Self::Client, Initiator::Dst) | (Self::Server, Initiator::Src) => {
                flow.dst_end
            }
            (Self::Client | Self::Server, Initiator::Unknown) => NONE,
        }
    }

    fn address(self, flow: &Flow) -> Address {
        match (self, flow.initiator) {
            (Self::Src, _) | (Self::Client, Initiator::Src) | (Self::Server, Initiator::Dst) => {
                flow.src
            }
            (Self::Dst, _) | (Self::Client, Initiator::Dst) | (Self::Server, Initiator::Src) => {
                flow.dst
            }
            (Self::Client | Self::Server, Initiator::Unknown) => NONE,
        }
    }
}

fn interface_id(end: &EndTexts) -> Text {
    end.interface_id
}

fn subnet_id(end: &EndTexts) -> Text {
    end.subnet_id
}

fn vpc_id(end: &EndTexts) -> Text {
    end.vpc_id
}

fn account_id(end: &EndTexts) -> Text {
    end.account_id
}

fn region(end: &EndTexts) -> Text {
    end.region
}

fn class(end: &EndTexts) -> Text {
    end.class
}

fn service(end: &EndTexts) -> Text {
    end.service
}

pub(super) fn action(flow: &Flow) -> Option<&'static str> {
    match flow.action {
        Action::Accept => Some("ACCEPT"),
        Action::Reject => Some("REJECT"),
        Action::Unknown => None,
    }
}

fn direction(flow: &Flow) -> Option<&'static str> {
    match flow.direction {
        Direction::Ingress => Some("ingress"),
        Direction::Egress => Some("egress"),
        Direction::Unknown => None,
    }
}

pub(super) fn initiator(flow: &Flow) -> Option<&'static str> {
    Some(match flow.initiator {
        Initiator::Src => "src",
        Initiator::Dst => "dst",
        Initiator::Unknown => "unknown",
    })
}

fn service_port(flow: &Flow) -> Option<i32> {
    match flow.initiator {
        Initiator::Src => flow.dst_port(),
        Initiator::Dst => flow.src_port(),
        Initiator::Unknown => None,
    }
}

fn path(flow: &Flow) -> Option<&'static str> {
    match flow.path {
        Path::Expected => Some("expected"),
        Path::Contradicts => Some("contradicts"),
        Path::Impossible => Some("impossible"),
        Path::Unknown => None,
    }
}

fn leg(flow: &Flow) -> Option<&'static str> {
    Some(match flow.leg {
        Leg::Direct => "direct",
        Leg::NatInside | Leg::NatInsideBlind => "nat_inside",
        Leg::NatOutside => "nat_outside",
        Leg::Transit | Leg::TransitBlind => "transit",
        Leg::Middle | Leg::MiddleBlind => "middlebox",
    })
}

/// Name and making of every column, in the order of the contract; ours that help a detection stay short follow.
const COLUMNS: &[(&str, Make)] = &[
    ("start", Make::Start),
    ("end", Make::End),
    (
        "account_id",
        Make::OfRecorder(|recorder| recorder.account_id),
    ),
    ("region", Make::OfRecorder(|recorder| recorder.region)),
    ("vpc_id", Make::OfRecorder(|recorder| recorder.vpc_id)),
    ("subnet_id", Make::OfRecorder(|recorder| recorder.subnet_id)),
    (
        "interface_id",
        Make::OfRecorder(|recorder| recorder.interface_id),
    ),
    ("action", Make::Action),
    ("protocol", Make::Int(Flow::protocol)),
    ("packets", Make::Long(Flow::packets)),
    ("bytes", Make::Long(Flow::bytes)),
    ("tcp_flags", Make::Int(Flow::tcp_flags)),
    ("src_addr", Make::Address(|flow| flow.src)),
    ("dst_addr", Make::Address(|flow| flow.dst)),
    ("src_port", Make::Int(Flow::src_port)),
    ("dst_port", Make::Int(Flow::dst_port)),
    ("src_subnet_id", Make::OfEnd(Which::Src, subnet_id)),
    ("dst_subnet_id", Make::OfEnd(Which::Dst, subnet_id)),
    ("src_vpc_id", Make::OfEnd(Which::Src, vpc_id)),
    ("dst_vpc_id", Make::OfEnd(Which::Dst, vpc_id)),
    ("src_class", Make::OfEnd(Which::Src, class)),
    ("dst_class", Make::OfEnd(Which::Dst, class)),
    ("src_scope", Make::Scope(Which::Src)),
    ("dst_scope", Make::Scope(Which::Dst)),
    ("src_service", Make::OfEnd(Which::Src, service)),
    ("dst_service", Make::OfEnd(Which::Dst, service)),
    ("direction", Make::Word(direction)),
    ("initiator", Make::Initiator),
    (
        "client_addr",
        Make::Address(|flow| Which::Client.address(flow)),
    ),
    (
        "server_addr",
        Make::Address(|flow| Which::Server.address(flow)),
    ),
    ("service_port", Make::Int(service_port)),
    ("route_target", Make::RouteTarget),
    ("path", Make::Word(path)),
    ("leg", Make::Word(leg)),
    ("counted", Make::Flag(|flow| flow.counted)),
    ("src_interface_id", Make::OfEnd(Which::Src, interface_id)),
    ("dst_interface_id", Make::OfEnd(Which::Dst, interface_id)),
    (
        "client_interface_id",
        Make::OfEnd(Which::Client, interface_id),
    ),
    ("client_subnet_id", Make::OfEnd(Which::Client, subnet_id)),
    ("client_vpc_id", Make::OfEnd(Which::Client, vpc_id)),
    ("client_account_id", Make::OfEnd(Which::Client, account_id)),
    ("client_region", Make::OfEnd(Which::Client, region)),
    ("client_class", Make::OfEnd(Which::Client, class)),
    ("client_scope", Make::Scope(Which::Client)),
    (
        "server_interface_id",
        Make::OfEnd(Which::Server, interface_id),
    ),
    ("server_subnet_id", Make::OfEnd(Which::Server, subnet_id)),
    ("server_vpc_id", Make::OfEnd(Which::Server, vpc_id)),
    ("server_class", Make::OfEnd(Which::Server, class)),
    ("server_scope", Make::Scope(Which::Server)),
    ("server_service", Make::OfEnd(Which::Server, service)),
    ("late", Make::Flag(|flow| flow.late)),
    ("refused_by", Make::RefusedBy),
    ("model_agrees", Make::ModelAgrees),
    ("source", Make::Source),
];

/// The schema of `traffic`.
pub(super) static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let fields: Vec<Field> = COLUMNS
        .iter()
        .map(|(name, make)| {
            let data_type = match make {
                Make::Start | Make::End => time(),
                Make::Int(_) => DataType::Int32,
                Make::Long(_) => DataType::Int64,
                Make::Flag(_) | Make::ModelAgrees => DataType::Boolean,
                _ => DataType::Utf8View,
            };
            Field::new(*name, data_type, true)
        })
        .collect();
    Arc::new(Schema::new(fields))
});

/// The rows of a chunk from one on, as many as are asked for, in some columns.
pub(super) fn batch(
    chunk: &Chunk,
    rows: std::ops::Range<usize>,
    columns: &[usize],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let count = rows.len();
    let arrays: Vec<ArrayRef> = columns
        .iter()
        .map(|&column| array(chunk, rows.clone(), COLUMNS[column].1))
        .collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        arrays,
        &options,
    )?)
}

/// What must be replayed against the rules of the time for a column.
pub(super) fn judging(column: usize) -> Judging {
    match COLUMNS.get(column) {
        Some((_, Make::RefusedBy)) => Judging::Rejected,
        Some((_, Make::ModelAgrees)) => Judging::All,
        _ => Judging::Nothing,
    }
}

fn array(chunk: &Chunk, rows: std::ops::Range<usize>, make: Make) -> Result<ArrayRef> {
    let flows = &chunk.rows[rows.clone()];
    let tables = &*chunk.tables;
    Ok(match make {
        Make::Start => times(flows.iter().map(|flow| flow.start)),
        Make::End => times(flows.iter().map(|flow| flow.end)),
        Make::Int(of) => Arc::new(flows.iter().map(of).collect::<Int32Array>()),
        Make::Long(of) => Arc::new(flows.iter().map(of).collect::<Int64Array>()),
        Make::Flag(of) => Arc::new(
            flows
                .iter()
                .map(|flow| Some(of(flow)))
                .collect::<BooleanArray>(),
        ),
        Make::Word(of) => words(flows, of),
        Make::Action => words(flows, action),
        Make::Initiator => words(flows, initiator),
        Make::Scope(which) => words(flows, |flow| {
            tables.end(which.of(flow)).map(|end| end.scope.as_str())
        }),
        Make::Address(of) => shared(&tables.addresses, flows.iter().map(of))?,
        Make::OfEnd(which, of) => shared(
            &tables.texts,
            flows
                .iter()
                .map(|flow| tables.end(which.of(flow)).map_or(NONE, of)),
        )?,
        Make::OfRecorder(of) => shared(
            &tables.texts,
            flows
                .iter()
                .map(|flow| of(&tables.recorders[flow.recorder as usize])),
        )?,
        Make::RouteTarget => words(flows, |flow| {
            let way = tables.ways.get(flow.route as usize);
            way.map(|way| way.target.as_str())
        }),
        Make::RefusedBy => refused_by(&chunk.judged[rows]),
        Make::ModelAgrees => {
            let judged = chunk.judged[rows].iter();
            Arc::new(judged.map(|judged| judged.agrees).collect::<BooleanArray>())
        }
        Make::Source => shared(&tables.sources, flows.iter().map(|flow| flow.traits))?,
    })
}

fn times(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}

/// Texts that stand once for all rows.
fn shared(texts: &StringViewArray, numbers: impl Iterator<Item = u32>) -> Result<ArrayRef> {
    let numbers: UInt32Array = numbers
        .map(|number| (number != NONE).then_some(number))
        .collect();
    Ok(take(texts, &numbers, None)?)
}

/// Words that are short enough to stand in the column itself.
fn words(flows: &[Flow], of: impl Fn(&Flow) -> Option<&'static str>) -> ArrayRef {
    let mut builder = StringViewBuilder::with_capacity(flows.len());
    for flow in flows {
        builder.append_option(of(flow));
    }
    Arc::new(builder.finish())
}

fn refused_by(judged: &[Judged]) -> ArrayRef {
    let mut builder = StringViewBuilder::with_capacity(judged.len()).with_deduplicate_strings();
    for judged in judged {
        match judged.refused_by {
            RefusedBy::Nobody => builder.append_null(),
            RefusedBy::Nacl(rule_number) => {
                builder.append_value(format!("nacl rule {rule_number}"));
            }
            RefusedBy::SecurityGroup => builder.append_value("security_group"),
            RefusedBy::Both => builder.append_value("both"),
            RefusedBy::BlockPublicAccess => builder.append_value("bpa"),
            RefusedBy::EncryptionControls => builder.append_value("encryption_controls"),
            RefusedBy::LatePacket => builder.append_value("late packet"),
            RefusedBy::Undecidable => builder.append_value("undecidable"),
        }
    }
    Arc::new(builder.finish())
}

/// What a test of a single record compares.
#[derive(Clone, Copy)]
pub(super) enum Cheap {
    Start,
    End,
    Flag(fn(&Flow) -> bool),
    Word(fn(&Flow) -> Option<&'static str>),
    Action,
    Initiator,
    Scope(Which),
    OfEnd(Which, fn(&EndTexts) -> Text),
}

/// How a column is read without writing it, where that is cheap.
pub(super) fn cheap(name: &str) -> Option<Cheap> {
    let (_, make) = COLUMNS.iter().find(|(column, _)| *column == name)?;
    Some(match *make {
        Make::Start => Cheap::Start,
        Make::End => Cheap::End,
        Make::Flag(of) => Cheap::Flag(of),
        Make::Word(of) => Cheap::Word(of),
        Make::Action => Cheap::Action,
        Make::Initiator => Cheap::Initiator,
        Make::Scope(which) => Cheap::Scope(which),
        Make::OfEnd(which, of) => Cheap::OfEnd(which, of),
        _ => return None,
    })
}

impl Which {
    pub(super) fn scope(self, flow: &Flow, ends: &impl Ends) -> Option<&'static str> {
        ends.end(self.of(flow)).map(|end| end.scope.as_str())
    }

    pub(super) fn text(self, of: fn(&EndTexts) -> Text, flow: &Flow, ends: &impl Ends) -> Text {
        ends.end(self.of(flow)).map_or(NONE, of)
    }
}

/// Where the ends of records are found by number.
pub(super) trait Ends {
    fn end(&self, end: u32) -> Option<&EndTexts>;
}

impl Ends for World<'_> {
    fn end(&self, end: u32) -> Option<&EndTexts> {
        self.ends.get(end as usize).map(|end| &end.texts)
    }
}
