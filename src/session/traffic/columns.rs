//! The columns of `traffic`: their names and types, and how they are written from resolved records.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, RecordBatchOptions,
    StringViewBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::Result;

use super::flow::{Action, Direction, Flow, Initiator, Leg, Path, RefusedBy};
use super::resolve::{End, Resolved};

/// How a column is made from a record.
#[derive(Clone, Copy)]
enum Make {
    Start,
    End,
    Int(fn(&Flow) -> Option<i32>),
    Long(fn(&Flow) -> Option<i64>),
    Flag(fn(&Flow) -> bool),
    Word(fn(&Flow) -> Option<&'static str>),
    Address(fn(&Flow) -> Option<IpAddr>),
    /// A text of one of the record's ends.
    OfEnd(Which, for<'n> fn(&End<'n>) -> Option<&'n str>),
    /// A text of who recorded it.
    OfRecorder(for<'a, 'n> fn(&'a super::resolve::Recorder<'n>) -> Option<&'n str>),
    RouteTarget,
    RefusedBy,
}

/// Which end of a record.
#[derive(Clone, Copy)]
enum Which {
    Src,
    Dst,
    Client,
    Server,
}

impl Which {
    fn of(self, flow: &Flow) -> Option<u32> {
        match (self, flow.initiator) {
            (Self::Src, _) | (Self::Client, Initiator::Src) | (Self::Server, Initiator::Dst) => {
                Some(flow.src_end)
            }
            (Self::Dst, _) | (Self::Client, Initiator::Dst) | (Self::Server, Initiator::Src) => {
                Some(flow.dst_end)
            }
            (Self::Client | Self::Server, Initiator::Unknown) => None,
        }
    }

    fn address(self, flow: &Flow) -> Option<IpAddr> {
        match (self, flow.initiator) {
            (Self::Src, _) | (Self::Client, Initiator::Src) | (Self::Server, Initiator::Dst) => {
                flow.src
            }
            (Self::Dst, _) | (Self::Client, Initiator::Dst) | (Self::Server, Initiator::Src) => {
                flow.dst
            }
            (Self::Client | Self::Server, Initiator::Unknown) => None,
        }
    }
}

fn interface_id<'n>(end: &End<'n>) -> Option<&'n str> {
    end.interface_id
}

fn subnet_id<'n>(end: &End<'n>) -> Option<&'n str> {
    end.subnet_id
}

fn vpc_id<'n>(end: &End<'n>) -> Option<&'n str> {
    end.vpc_id
}

fn account_id<'n>(end: &End<'n>) -> Option<&'n str> {
    end.account_id
}

fn region<'n>(end: &End<'n>) -> Option<&'n str> {
    end.region
}

fn class<'n>(end: &End<'n>) -> Option<&'n str> {
    end.class
}

fn scope<'n>(end: &End<'n>) -> Option<&'n str> {
    Some(end.scope.as_str())
}

fn service<'n>(end: &End<'n>) -> Option<&'n str> {
    end.service
}

fn action(flow: &Flow) -> Option<&'static str> {
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

fn initiator(flow: &Flow) -> Option<&'static str> {
    Some(match flow.initiator {
        Initiator::Src => "src",
        Initiator::Dst => "dst",
        Initiator::Unknown => "unknown",
    })
}

fn service_port(flow: &Flow) -> Option<i32> {
    match flow.initiator {
        Initiator::Src => flow.dst_port,
        Initiator::Dst => flow.src_port,
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
        Leg::Transit => "transit",
        Leg::Middle => "middlebox",
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
    ("action", Make::Word(action)),
    ("protocol", Make::Int(|flow| flow.protocol)),
    ("packets", Make::Long(|flow| flow.packets)),
    ("bytes", Make::Long(|flow| flow.bytes)),
    ("tcp_flags", Make::Int(|flow| flow.tcp_flags)),
    ("src_addr", Make::Address(|flow| flow.src)),
    ("dst_addr", Make::Address(|flow| flow.dst)),
    ("src_port", Make::Int(|flow| flow.src_port)),
    ("dst_port", Make::Int(|flow| flow.dst_port)),
    ("src_subnet_id", Make::OfEnd(Which::Src, subnet_id)),
    ("dst_subnet_id", Make::OfEnd(Which::Dst, subnet_id)),
    ("src_vpc_id", Make::OfEnd(Which::Src, vpc_id)),
    ("dst_vpc_id", Make::OfEnd(Which::Dst, vpc_id)),
    ("src_class", Make::OfEnd(Which::Src, class)),
    ("dst_class", Make::OfEnd(Which::Dst, class)),
    ("src_scope", Make::OfEnd(Which::Src, scope)),
    ("dst_scope", Make::OfEnd(Which::Dst, scope)),
    ("src_service", Make::OfEnd(Which::Src, service)),
    ("dst_service", Make::OfEnd(Which::Dst, service)),
    ("direction", Make::Word(direction)),
    ("initiator", Make::Word(initiator)),
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
    ("client_scope", Make::OfEnd(Which::Client, scope)),
    (
        "server_interface_id",
        Make::OfEnd(Which::Server, interface_id),
    ),
    ("server_subnet_id", Make::OfEnd(Which::Server, subnet_id)),
    ("server_vpc_id", Make::OfEnd(Which::Server, vpc_id)),
    ("server_class", Make::OfEnd(Which::Server, class)),
    ("server_scope", Make::OfEnd(Which::Server, scope)),
    ("server_service", Make::OfEnd(Which::Server, service)),
    ("late", Make::Flag(|flow| flow.late)),
    ("refused_by", Make::RefusedBy),
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
                Make::Flag(_) => DataType::Boolean,
                _ => DataType::Utf8View,
            };
            Field::new(*name, data_type, true)
        })
        .collect();
    Arc::new(Schema::new(fields))
});

/// The columns asked for, of a run of records.
pub(super) fn batch(
    flows: &[Flow],
    resolved: &Resolved<'_>,
    columns: &[usize],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let arrays: Vec<ArrayRef> = columns
        .iter()
        .map(|&column| array(flows, resolved, COLUMNS[column].1))
        .collect();
    let rows = RecordBatchOptions::new().with_row_count(Some(flows.len()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        arrays,
        &rows,
    )?)
}

fn array(flows: &[Flow], resolved: &Resolved<'_>, make: Make) -> ArrayRef {
    match make {
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
        Make::Word(of) => texts(flows, |flow, builder| builder.append_option(of(flow))),
        Make::Address(of) => {
            use std::fmt::Write;
            let mut text = String::new();
            texts(flows, |flow, builder| match of(flow) {
                Some(address) => {
                    text.clear();
                    // Writing into a String cannot fail.
                    write!(text, "{address}").ok();
                    builder.append_value(&text);
                }
                None => builder.append_null(),
            })
        }
        Make::OfEnd(which, of) => texts(flows, |flow, builder| {
            builder.append_option(
                which
                    .of(flow)
                    .and_then(|end| resolved.end(end))
                    .and_then(of),
            );
        }),
        Make::OfRecorder(of) => texts(flows, |flow, builder| {
            builder.append_option(of(resolved.recorder(flow.recorder)))
        }),
        Make::RouteTarget => texts(flows, |flow, builder| {
            builder.append_option(resolved.way(flow.route).map(|way| way.target.as_str()));
        }),
        Make::RefusedBy => texts(flows, |flow, builder| match flow.refused_by {
            RefusedBy::Nobody => builder.append_null(),
            RefusedBy::Nacl(rule_number) => {
                builder.append_value(format!("nacl rule {rule_number}"))
            }
            RefusedBy::SecurityGroup => builder.append_value("security_group"),
            RefusedBy::BlockPublicAccess => builder.append_value("bpa"),
            RefusedBy::EncryptionControls => builder.append_value("encryption_controls"),
            RefusedBy::LatePacket => builder.append_value("late packet"),
            RefusedBy::Undecidable => builder.append_value("undecidable"),
        }),
    }
}

fn times(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}

fn texts(flows: &[Flow], mut append: impl FnMut(&Flow, &mut StringViewBuilder)) -> ArrayRef {
    let mut builder = StringViewBuilder::with_capacity(flows.len()).with_deduplicate_strings();
    for flow in flows {
        append(flow, &mut builder);
    }
    Arc::new(builder.finish())
}
