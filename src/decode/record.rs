//! One record: split into its fields, checked against its header, borrowed from the line.

use crate::decode::field::Rule;
use crate::decode::header::{Column, Header};
use crate::decode::value;

/// What a good record says about its interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Traffic was recorded.
    Ok,
    /// There was no traffic.
    NoData,
    /// Records were dropped inside AWS; one such record may stand for many flows.
    SkipData,
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::NoData => "NODATA",
            Self::SkipData => "SKIPDATA",
        }
    }
}

/// Why a line is not a record. Small and borrowed, because a file may hold millions and we keep a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    /// More bytes than a line may have.
    TooLong,
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// Another number of fields than the header names.
    Width { found: usize, expected: usize },
    /// A value that breaks the rule of its field.
    Value { position: usize },
    /// A JSON value where an envelope was expected.
    NotAnEnvelope,
    /// Text between JSON envelopes, or JSON that breaks off.
    NotJson,
}

/// Where one value lies in the line. An empty range is a missing value.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    from: u32,
    to: u32,
    /// The value of a number, microseconds for a time.
    number: i64,
}

/// The values of one record, kept from line to line so that no line allocates.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
}

impl Slots {
    /// Splits `line[from..to]` at runs of blanks and tabs, and stops at a comment.
    ///
    /// AWS's own examples have two blanks in a row, and comments that begin with `#`
    /// (<https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-records-examples.html>). No value begins with `#`: in tags it is encoded.
    fn split(&mut self, line: &[u8], from: usize, to: usize) {
        self.slots.clear();
        let line = &line[..to];
        let mut at = from;
        loop {
            while at < to && is_blank(line[at]) {
                at += 1;
            }
            if at == to || line[at] == b'#' {
                return;
            }
            let start = at;
            while at < to && !is_blank(line[at]) {
                at += 1;
            }
            let missing = at - start == 1 && line[start] == b'-';
            self.push(if missing { at } else { start }, at);
        }
    }

    fn push(&mut self, from: usize, to: usize) {
        let offset =
            |at: usize| u32::try_from(at).expect("a line and a row are cut long before 4 GiB");
        self.slots.push(Slot {
            from: offset(from),
            to: offset(to),
            number: 0,
        });
    }

    /// Splits and checks one line of text.
    pub(crate) fn read_line(
        &mut self,
        header: &Header,
        line: &[u8],
        from: usize,
        to: usize,
    ) -> Result<Status, Problem> {
        self.split(line, from, to);
        if self.slots.len() != header.len() {
            // A row is never padded or cut: it belongs to another format, and its values would land in the wrong fields.
            return Err(Problem::Width {
                found: self.slots.len(),
                expected: header.len(),
            });
        }
        self.check(header.columns(), line, OnMissingStatus::Refuse)
    }

    /// Copies the cells of one row to `row` and checks them.
    pub(crate) fn read_cells<'c>(
        &mut self,
        header: &Header,
        cells: impl Iterator<Item = Option<&'c str>>,
        row: &mut Vec<u8>,
    ) -> Result<Status, Problem> {
        self.slots.clear();
        row.clear();
        for cell in cells {
            let from = row.len();
            row.extend_from_slice(cell.unwrap_or_default().as_bytes());
            self.push(from, row.len());
        }
        self.check(header.columns(), row, OnMissingStatus::Infer)
    }

    fn check(
        &mut self,
        columns: &[Column],
        line: &[u8],
        on_missing_status: OnMissingStatus,
    ) -> Result<Status, Problem> {
        let mut status = None;
        // Whether the header has fields that a record without traffic leaves empty, and whether they are all empty.
        let (mut has_peers, mut peers_missing) = (false, true);
        let (mut has_counters, mut counters_missing) = (false, true);
        for (position, (slot, column)) in self.slots.iter_mut().zip(columns).enumerate() {
            let missing = slot.from == slot.to;
            match column.rule {
                Rule::Address | Rule::Port | Rule::Action => {
                    has_peers = true;
                    peers_missing &= missing;
                }
                Rule::Byte | Rule::Int64 => {
                    has_counters = true;
                    counters_missing &= missing;
                }
                Rule::Status if missing && on_missing_status == OnMissingStatus::Refuse => {
                    return Err(Problem::Value { position });
                }
                _ => {}
            }
            if missing {
                continue;
            }
            let token = &line[slot.from as usize..slot.to as usize];
            let good = match column.rule {
                Rule::Text | Rule::Tag | Rule::Unknown | Rule::Account | Rule::Action => {
                    column.rule.admits(token)
                }
                Rule::Address => value::is_address(token),
                Rule::Status => {
                    status = match token {
                        b"OK" => Some(Status::Ok),
                        b"NODATA" => Some(Status::NoData),
                        b"SKIPDATA" => Some(Status::SkipData),
                        _ => None,
                    };
                    status.is_some()
                }
                Rule::Port | Rule::Byte | Rule::Int32 | Rule::Int64 => {
                    slot.set(value::number(token), column.rule.most())
                }
                Rule::Epoch => slot.set(value::epoch_micros(token), column.rule.most()),
            };
            if !good {
                return Err(Problem::Value { position });
            }
        }
        let silent = if has_peers {
            peers_missing
        } else {
            has_counters && counters_missing
        };
        Ok(status.unwrap_or(if silent { Status::NoData } else { Status::Ok }))
    }

    /// The record that was read last.
    pub(crate) fn record<'r>(&'r self, line: &'r [u8]) -> Record<'r> {
        Record {
            line,
            slots: &self.slots,
        }
    }
}

/// What a status that is there but empty means: in text it breaks the format; Parquet leaves out what it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnMissingStatus {
    Refuse,
    Infer,
}

impl Slot {
    fn set(&mut self, number: Option<i64>, most: i64) -> bool {
        match number {
            Some(number) if number <= most => {
                self.number = number;
                true
            }
            _ => false,
        }
    }
}

/// A checked record; positions are those of its header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'r> {
    line: &'r [u8],
    slots: &'r [Slot],
}

impl<'r> Record<'r> {
    /// The value as written, or `None` when it is missing.
    pub(crate) fn text(&self, position: usize) -> Option<&'r [u8]> {
        let slot = &self.slots[position];
        (slot.from != slot.to).then(|| &self.line[slot.from as usize..slot.to as usize])
    }

    /// The value of a number, microseconds for a time, or `None` when it is missing.
    pub(crate) fn number(&self, position: usize) -> Option<i64> {
        let slot = &self.slots[position];
        (slot.from != slot.to).then_some(slot.number)
    }
}

pub(crate) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}
