//! The columns that records are made of, with texts and addresses as their numbers.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use arrow::array::{Array, AsArray, Int32Array, Int64Array, UInt32Array};
use arrow::compute::take;
use datafusion::common::Result;

use super::flow::{Action, Address, Direction, NONE, Numbers, RecorderIds, Text};

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

/// The columns of [`INPUT`] by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
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

/// A column of some rows, by what its values become.
#[derive(Debug)]
pub(super) enum Typed {
    /// Texts, addresses and words, as their numbers.
    Numbers(Vec<u32>),
    Int(Int32Array),
    /// Numbers, and times in microseconds.
    Long(Int64Array),
    /// All are NULL.
    Nothing,
}

impl Typed {
    /// The values of some of the rows.
    pub(super) fn taken(&self, rows: &[u32]) -> Result<Self> {
        let indices = || UInt32Array::from(rows.to_vec());
        Ok(match self {
            Self::Numbers(numbers) => {
                Self::Numbers(rows.iter().map(|&row| numbers[row as usize]).collect())
            }
            Self::Int(numbers) => {
                Self::Int(take(numbers, &indices(), None)?.as_primitive().clone())
            }
            Self::Long(numbers) => {
                Self::Long(take(numbers, &indices(), None)?.as_primitive().clone())
            }
            Self::Nothing => Self::Nothing,
        })
    }
}

/// No number: neither ports nor protocols are negative.
pub(super) const NO_INT: i32 = i32::MIN;

/// The columns of some rows.
#[derive(Debug)]
pub(super) struct Columns(pub(super) [Typed; INPUT.len()]);

impl Default for Columns {
    fn default() -> Self {
        Self([const { Typed::Nothing }; INPUT.len()])
    }
}

impl Columns {
    /// The columns of some of the rows.
    pub(super) fn taken(&self, rows: &[u32]) -> Result<Self> {
        let mut taken = Self::default();
        for (to, column) in taken.0.iter_mut().zip(&self.0) {
            *to = column.taken(rows)?;
        }
        Ok(taken)
    }

    pub(super) fn number(&self, column: Column, row: usize) -> u32 {
        match &self.0[column as usize] {
            Typed::Numbers(numbers) => numbers[row],
            _ => NONE,
        }
    }

    /// The numbers of a column's texts or addresses; none where all are NULL.
    pub(super) fn numbers(&self, column: Column) -> &[u32] {
        match &self.0[column as usize] {
            Typed::Numbers(numbers) => numbers,
            _ => &[],
        }
    }

    /// The addresses as the interface saw them.
    pub(super) fn seen_ends(&self, row: usize) -> [Address; 2] {
        [Column::Srcaddr, Column::Dstaddr].map(|column| self.number(column, row))
    }

    /// Of each of some records the address that its packets came from.
    pub(super) fn packet_sources(&self, rows: usize) -> Cow<'_, [Address]> {
        self.packet_addresses(Column::PktSrcaddr, Column::Srcaddr, rows)
    }

    /// Of each of some records the address that its packets went to.
    pub(super) fn packet_destinations(&self, rows: usize) -> Cow<'_, [Address]> {
        self.packet_addresses(Column::PktDstaddr, Column::Dstaddr, rows)
    }

    fn packet_addresses(&self, packet: Column, seen: Column, rows: usize) -> Cow<'_, [Address]> {
        match (self.numbers(packet), self.numbers(seen)) {
            ([], []) => vec![NONE; rows].into(),
            ([], only) | (only, []) => only.into(),
            (packet, seen) => {
                let both = packet.iter().zip(seen);
                let known = both.map(|(&packet, &seen)| if packet == NONE { seen } else { packet });
                known.collect()
            }
        }
    }

    /// The addresses of the packet, where the record knows them; else as the interface saw them.
    pub(super) fn packet_ends(&self, row: usize) -> [Address; 2] {
        let [src, dst] = self.seen_ends(row);
        let or = |packet: Column, seen| match self.number(packet, row) {
            NONE => seen,
            packet => packet,
        };
        [or(Column::PktSrcaddr, src), or(Column::PktDstaddr, dst)]
    }

    pub(super) fn is_rejected(&self, row: usize) -> bool {
        self.action(row) == Action::Reject
    }

    pub(super) fn recorder_ids(&self, row: usize) -> RecorderIds {
        let text = |column| self.number(column, row);
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

    pub(super) fn action(&self, row: usize) -> Action {
        match self.number(Column::Action, row) {
            0 => Action::Accept,
            1 => Action::Reject,
            _ => Action::Unknown,
        }
    }

    pub(super) fn direction(&self, row: usize) -> Direction {
        match self.number(Column::FlowDirection, row) {
            0 => Direction::Ingress,
            1 => Direction::Egress,
            _ => Direction::Unknown,
        }
    }

    pub(super) fn counts(&self, row: usize) -> Numbers {
        Numbers {
            packets: self.long(Column::Packets, row),
            bytes: self.long(Column::Bytes, row),
            src_port: self.int(Column::Srcport, row),
            dst_port: self.int(Column::Dstport, row),
            protocol: self.int(Column::Protocol, row),
            tcp_flags: self.int(Column::TcpFlags, row),
        }
    }

    /// The numbers of a column, [`NO_INT`] for NULL.
    pub(super) fn ints(&self, column: Column, rows: usize) -> Cow<'_, [i32]> {
        match &self.0[column as usize] {
            Typed::Int(numbers) if numbers.null_count() == 0 => Cow::Borrowed(numbers.values()),
            Typed::Int(numbers) => numbers
                .iter()
                .map(|number| number.unwrap_or(NO_INT))
                .collect(),
            _ => vec![NO_INT; rows].into(),
        }
    }

    pub(super) fn int(&self, column: Column, row: usize) -> Option<i32> {
        match &self.0[column as usize] {
            Typed::Int(numbers) if numbers.is_valid(row) => Some(numbers.value(row)),
            _ => None,
        }
    }

    pub(super) fn long(&self, column: Column, row: usize) -> Option<i64> {
        match &self.0[column as usize] {
            Typed::Long(numbers) if numbers.is_valid(row) => Some(numbers.value(row)),
            _ => None,
        }
    }

    /// When it began; a format without `start` gives `end`, one with neither the epoch.
    pub(super) fn start(&self, row: usize) -> i64 {
        self.long(Column::Start, row)
            .or_else(|| self.long(Column::End, row))
            .unwrap_or(0)
    }

    pub(super) fn end(&self, row: usize) -> i64 {
        self.long(Column::End, row)
            .unwrap_or_else(|| self.start(row))
    }
}

/// An address as flow logs write it.
pub(super) fn parse_address(text: &str) -> Option<IpAddr> {
    parse_v4(text.as_bytes()).or_else(|| text.parse().ok())
}

/// The usual way to write IPv4, without a detour over a general parser; `None` for all else.
fn parse_v4(text: &[u8]) -> Option<IpAddr> {
    if text.len() > 15 {
        return None;
    }
    let mut octets = [0_u8; 4];
    let (mut at, mut value, mut digits) = (0, 0_u16, 0);
    for &byte in text {
        match byte {
            b'0'..=b'9' if digits < 3 && !(digits > 0 && value == 0) => {
                value = value * 10 + u16::from(byte - b'0');
                digits += 1;
            }
            b'.' if digits > 0 && at < 3 => {
                octets[at] = u8::try_from(value).ok()?;
                (at, value, digits) = (at + 1, 0, 0);
            }
            _ => return None,
        }
    }
    if at != 3 || digits == 0 {
        return None;
    }
    octets[3] = u8::try_from(value).ok()?;
    Some(Ipv4Addr::from(octets).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_as_the_standard_library_does() {
        for text in [
            "0.0.0.0",
            "10.20.30.40",
            "255.255.255.255",
            "256.1.1.1",
            "1.2.3",
            "1.2.3.4.5",
            "1..2.3",
            "01.2.3.4",
            "1.2.3.4 ",
            "",
            "-",
            "2001:db8::1",
            "::ffff:10.0.0.1",
            "1.2.3.0004",
        ] {
            assert_eq!(parse_address(text), text.parse().ok(), "{text}");
        }
    }
}
