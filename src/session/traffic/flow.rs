//! A flow record in the compact form that the passes over `traffic` work on, and how it is read from a batch of `flows`.

use std::collections::HashMap;
use std::net::IpAddr;

use arrow::array::{
    Array, AsArray, Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result};

/// The columns of `flows` that `traffic` is made of.
pub(super) const INPUT: [&str; 34] = [
    "account_id",
    "interface_id",
    "srcaddr",
    "dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "packets",
    "bytes",
    "start",
    "end",
    "action",
    "vpc_id",
    "subnet_id",
    "tcp_flags",
    "pkt_srcaddr",
    "pkt_dstaddr",
    "region",
    "flow_direction",
    "traffic_path",
    "reject_reason",
    "resource_id",
    "pkt_src_aws_service",
    "pkt_dst_aws_service",
    "next_hop_interface_type",
    "tgw_id",
    "tgw_src_vpc_id",
    "tgw_dst_vpc_id",
    "tgw_src_subnet_id",
    "tgw_dst_subnet_id",
    "tgw_src_vpc_account_id",
    "tgw_attachment_id",
    "interface_type",
    "source",
];

/// An index into a [`Texts`]; [`NONE`] for NULL.
pub(super) type Text = u32;

/// No text, no endpoint, no route.
pub(super) const NONE: u32 = u32::MAX;

/// Each distinct text once.
#[derive(Debug, Default)]
pub(super) struct Texts {
    values: Vec<String>,
    known: HashMap<String, Text>,
}

impl Texts {
    /// The index of a text, new or known.
    pub(super) fn intern(&mut self, value: &str) -> Text {
        if let Some(&index) = self.known.get(value) {
            return index;
        }
        let index =
            u32::try_from(self.values.len()).expect("fewer than 2^32 distinct ids fit in memory");
        self.values.push(value.to_owned());
        self.known.insert(value.to_owned(), index);
        index
    }

    /// The text, or `None` for NULL.
    pub(super) fn get(&self, index: Text) -> Option<&str> {
        self.values.get(index as usize).map(String::as_str)
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
    /// At a load balancer, an endpoint or an appliance that neither sends nor receives.
    Middle,
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
    /// A network ACL, by this rule.
    Nacl(u16),
    SecurityGroup,
    BlockPublicAccess,
    EncryptionControls,
    LatePacket,
    Undecidable,
    /// Not rejected.
    Nobody,
}

/// One record. Addresses are those of the packet where the record knows them. Times are microseconds since 1970 UTC.
#[derive(Debug, Clone)]
pub(super) struct Flow {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) packets: Option<i64>,
    pub(super) bytes: Option<i64>,
    pub(super) src: Option<IpAddr>,
    pub(super) dst: Option<IpAddr>,
    /// The addresses as the interface saw them (`srcaddr`, `dstaddr`).
    pub(super) at_src: Option<IpAddr>,
    pub(super) at_dst: Option<IpAddr>,
    pub(super) src_port: Option<i32>,
    pub(super) dst_port: Option<i32>,
    pub(super) protocol: Option<i32>,
    pub(super) tcp_flags: Option<i32>,
    pub(super) traffic_path: Option<i32>,
    pub(super) action: Action,
    pub(super) direction: Direction,
    /// The ids that say who recorded it: an index into the distinct ones.
    pub(super) recorder: u32,
    /// Which flow log wrote it; while records are read, the object.
    pub(super) flow_log: Text,
    pub(super) reject_reason: Text,
    pub(super) src_service: Text,
    pub(super) dst_service: Text,
    pub(super) next_hop_type: Text,
    // What the passes find out.
    pub(super) src_end: u32,
    pub(super) dst_end: u32,
    pub(super) route: u32,
    pub(super) leg: Leg,
    pub(super) initiator: Initiator,
    pub(super) path: Path,
    pub(super) refused_by: RefusedBy,
    pub(super) late: bool,
    pub(super) counted: bool,
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

/// Every record of a scan, with the texts and recorders that they share.
#[derive(Debug, Default)]
pub(super) struct Flows {
    pub(super) rows: Vec<Flow>,
    pub(super) texts: Texts,
    pub(super) recorders: Vec<RecorderIds>,
    known_recorders: HashMap<RecorderIds, u32>,
}

impl Flows {
    /// Appends the records of a batch that has the columns of [`INPUT`], in their order.
    ///
    /// # Errors
    /// Fails if a column has another type than the schema of `flows` says.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = Columns::of(batch, &mut self.texts)?;
        self.rows.reserve(batch.num_rows());
        let mut last: Option<(RecorderIds, u32)> = None;
        for row in 0..batch.num_rows() {
            let ids = columns.recorder_ids(row);
            let recorder = match last {
                Some((known, recorder)) if known == ids => recorder,
                _ => self.recorder(ids),
            };
            last = Some((ids, recorder));
            let flow = Self::flow(&columns, row, recorder);
            self.rows.push(flow);
        }
        Ok(())
    }

    fn flow(columns: &Columns<'_>, row: usize, recorder: u32) -> Flow {
        let (at_src, at_dst) = (
            columns.address(Column::Srcaddr, row),
            columns.address(Column::Dstaddr, row),
        );
        let start = columns.start(row);
        Flow {
            start,
            end: columns.end(row).max(start),
            packets: columns.long(Column::Packets, row),
            bytes: columns.long(Column::Bytes, row),
            src: columns.address(Column::PktSrcaddr, row).or(at_src),
            dst: columns.address(Column::PktDstaddr, row).or(at_dst),
            at_src,
            at_dst,
            src_port: columns.int(Column::Srcport, row),
            dst_port: columns.int(Column::Dstport, row),
            protocol: columns.int(Column::Protocol, row),
            tcp_flags: columns.int(Column::TcpFlags, row),
            traffic_path: columns.int(Column::TrafficPath, row),
            action: match columns.text(Column::Action, row) {
                Some("ACCEPT") => Action::Accept,
                Some("REJECT") => Action::Reject,
                _ => Action::Unknown,
            },
            direction: match columns.text(Column::FlowDirection, row) {
                Some("ingress") => Direction::Ingress,
                Some("egress") => Direction::Egress,
                _ => Direction::Unknown,
            },
            recorder,
            flow_log: columns.interned(Column::Source, row),
            reject_reason: columns.interned(Column::RejectReason, row),
            src_service: columns.interned(Column::PktSrcAwsService, row),
            dst_service: columns.interned(Column::PktDstAwsService, row),
            next_hop_type: columns.interned(Column::NextHopInterfaceType, row),
            src_end: NONE,
            dst_end: NONE,
            route: NONE,
            leg: Leg::Direct,
            initiator: Initiator::Unknown,
            path: Path::Unknown,
            refused_by: RefusedBy::Nobody,
            late: false,
            counted: true,
        }
    }

    fn recorder(&mut self, ids: RecorderIds) -> u32 {
        let recorders = &mut self.recorders;
        *self.known_recorders.entry(ids).or_insert_with(|| {
            recorders.push(ids);
            u32::try_from(recorders.len() - 1).expect("fewer than 2^32 recorders fit in memory")
        })
    }

    /// Ends the reading: says of each record which flow log wrote it, the id in AWS's file name or, in files with other names, the
    /// fields that the file has.
    pub(super) fn finish(&mut self) {
        let mut fields: HashMap<Text, u8> = HashMap::new();
        for flow in &self.rows {
            let ids = &self.recorders[flow.recorder as usize];
            let has = u8::from(ids.vpc_id != NONE)
                | u8::from(ids.subnet_id != NONE) << 1
                | u8::from(ids.region != NONE) << 2
                | u8::from(flow.tcp_flags.is_some()) << 3
                | u8::from(flow.direction != Direction::Unknown) << 4;
            *fields.entry(flow.flow_log).or_default() |= has;
        }
        let names: HashMap<Text, Text> = fields
            .into_iter()
            .map(|(source, fields)| {
                let id = self.texts.get(source).and_then(|key| {
                    let name = key.rsplit('/').next()?;
                    let id = name.split('_').find(|part| part.starts_with("fl-"))?;
                    Some(id.to_owned())
                });
                let name = id.unwrap_or_else(|| format!("fields {fields:05b}"));
                (source, self.texts.intern(&name))
            })
            .collect();
        for flow in &mut self.rows {
            flow.flow_log = names[&flow.flow_log];
        }
    }
}

/// The columns of [`INPUT`] by name.
#[derive(Debug, Clone, Copy)]
enum Column {
    AccountId,
    InterfaceId,
    Srcaddr,
    Dstaddr,
    Srcport,
    Dstport,
    Protocol,
    Packets,
    Bytes,
    Start,
    End,
    Action,
    VpcId,
    SubnetId,
    TcpFlags,
    PktSrcaddr,
    PktDstaddr,
    Region,
    FlowDirection,
    TrafficPath,
    RejectReason,
    ResourceId,
    PktSrcAwsService,
    PktDstAwsService,
    NextHopInterfaceType,
    TgwId,
    TgwSrcVpcId,
    TgwDstVpcId,
    TgwSrcSubnetId,
    TgwDstSubnetId,
    TgwSrcVpcAccountId,
    TgwAttachmentId,
    InterfaceType,
    Source,
}

/// A column of a batch, by what its values become.
enum Typed<'a> {
    /// Addresses and words, read where they stand.
    Text(&'a StringViewArray),
    /// Ids, as their numbers; empty where all are NULL.
    Interned(Vec<Text>),
    Int(&'a Int32Array),
    Long(&'a Int64Array),
    Time(&'a TimestampMicrosecondArray),
}

struct Columns<'a>(Vec<Typed<'a>>);

/// The columns whose values are read where they stand.
const IN_PLACE: [&str; 6] = [
    "srcaddr",
    "dstaddr",
    "pkt_srcaddr",
    "pkt_dstaddr",
    "action",
    "flow_direction",
];

/// The numbers of a column's texts. Neighbours are often the same.
fn interned(array: &StringViewArray, texts: &mut Texts) -> Vec<Text> {
    if array.null_count() == array.len() {
        return Vec::new();
    }
    let mut last: Option<(&str, Text)> = None;
    let mut numbers = Vec::with_capacity(array.len());
    for value in array {
        let Some(value) = value else {
            numbers.push(NONE);
            continue;
        };
        let text = match last {
            Some((known, text)) if known == value => text,
            _ => texts.intern(value),
        };
        last = Some((value, text));
        numbers.push(text);
    }
    numbers
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch, texts: &mut Texts) -> Result<Self> {
        let mut typed = Vec::with_capacity(INPUT.len());
        for (array, name) in batch.columns().iter().zip(INPUT) {
            typed.push(if let Some(values) = array.as_string_view_opt() {
                if IN_PLACE.contains(&name) {
                    Typed::Text(values)
                } else {
                    Typed::Interned(interned(values, texts))
                }
            } else if let Some(numbers) = array.as_primitive_opt::<Int32Type>() {
                Typed::Int(numbers)
            } else if let Some(numbers) = array.as_primitive_opt::<Int64Type>() {
                Typed::Long(numbers)
            } else if let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>() {
                Typed::Time(times)
            } else {
                return Err(DataFusionError::Internal(format!(
                    "column `{name}` of `flows` has the type {}",
                    array.data_type()
                )));
            });
        }
        Ok(Self(typed))
    }

    fn interned(&self, column: Column, row: usize) -> Text {
        match &self.0[column as usize] {
            Typed::Interned(numbers) => numbers.get(row).copied().unwrap_or(NONE),
            _ => NONE,
        }
    }

    fn recorder_ids(&self, row: usize) -> RecorderIds {
        let text = |column| self.interned(column, row);
        let either = |own: Text, of_tgw: Text| if own == NONE { of_tgw } else { own };
        RecorderIds {
            account_id: either(text(Column::AccountId), text(Column::TgwSrcVpcAccountId)),
            region: text(Column::Region),
            vpc_id: either(text(Column::VpcId), text(Column::TgwSrcVpcId)),
            subnet_id: either(text(Column::SubnetId), text(Column::TgwSrcSubnetId)),
            interface_id: text(Column::InterfaceId),
            resource_id: text(Column::ResourceId),
            tgw_id: text(Column::TgwId),
            tgw_attachment_id: text(Column::TgwAttachmentId),
            tgw_dst_vpc_id: text(Column::TgwDstVpcId),
            tgw_dst_subnet_id: text(Column::TgwDstSubnetId),
            interface_type: text(Column::InterfaceType),
        }
    }

    fn text(&self, column: Column, row: usize) -> Option<&'a str> {
        match &self.0[column as usize] {
            Typed::Text(texts) if texts.is_valid(row) => Some(texts.value(row)),
            _ => None,
        }
    }

    fn address(&self, column: Column, row: usize) -> Option<IpAddr> {
        self.text(column, row).and_then(|text| text.parse().ok())
    }

    fn int(&self, column: Column, row: usize) -> Option<i32> {
        match &self.0[column as usize] {
            Typed::Int(numbers) if numbers.is_valid(row) => Some(numbers.value(row)),
            _ => None,
        }
    }

    fn long(&self, column: Column, row: usize) -> Option<i64> {
        match &self.0[column as usize] {
            Typed::Long(numbers) if numbers.is_valid(row) => Some(numbers.value(row)),
            _ => None,
        }
    }

    fn time(&self, column: Column, row: usize) -> Option<i64> {
        match &self.0[column as usize] {
            Typed::Time(times) if times.is_valid(row) => Some(times.value(row)),
            _ => None,
        }
    }

    /// When it began; a format without `start` gives `end`, one with neither the epoch.
    fn start(&self, row: usize) -> i64 {
        self.time(Column::Start, row)
            .or_else(|| self.time(Column::End, row))
            .unwrap_or(0)
    }

    fn end(&self, row: usize) -> i64 {
        self.time(Column::End, row)
            .unwrap_or_else(|| self.start(row))
    }
}
