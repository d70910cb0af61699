//! Lines in, verdicts out: keeps the header in force, and takes off what transports put around a record.

use crate::decode::bad_line::BadLine;
use crate::decode::field::Rule;
use crate::decode::header::Header;
use crate::decode::plain::Shape;
use crate::decode::record::{Problem, Record, Slots, Status, is_blank};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What one line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A blank line, a comment, or the column names of a CSV export: nothing to count.
    Nothing,
    /// A header; what follows is read by it.
    Header,
    /// A good record. [`Decoder::record`] has its values.
    Record(Status),
    /// A line that should have been a record.
    Bad(Problem),
}

/// Decodes lines one after the other.
#[derive(Debug)]
pub(crate) struct Decoder {
    header: Header,
    shape: Shape,
    /// Counts changes of the header, so that whoever planned by the old one notices.
    header_changes: u64,
    seen_header: bool,
    /// Whether no line that counts came yet.
    at_first: bool,
    /// Whether a header or a record was there: this is a flow log.
    is_log: bool,
    in_csv: bool,
    slots: Slots,
    /// The cells of a Parquet row, end to end.
    row: Vec<u8>,
}

impl Decoder {
    /// Starts with a log format, or with the default one: what comes from CloudWatch Logs and Firehose has no header.
    pub(crate) fn new(log_format: Option<&Header>) -> Self {
        let header = log_format.cloned().unwrap_or_else(Header::v2_default);
        Self {
            shape: Shape::of(&header),
            header,
            header_changes: 0,
            seen_header: false,
            at_first: true,
            is_log: false,
            in_csv: false,
            slots: Slots::default(),
            row: Vec::new(),
        }
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) fn is_in_csv(&self) -> bool {
        self.in_csv
    }

    /// Plain lines were taken: what [`Decoder::line`] would have learnt from them.
    pub(crate) fn took_plain(&mut self) {
        self.is_log = true;
        self.at_first = false;
    }

    pub(crate) fn header_changes(&self) -> u64 {
        self.header_changes
    }

    /// Whether a header or a record was there: this is a flow log, even if all its other lines are bad.
    pub(crate) fn is_log(&self) -> bool {
        self.is_log
    }

    /// Decodes one line, without its line feed.
    pub(crate) fn line(&mut self, line: &[u8]) -> Verdict {
        let (mut from, mut to) = (0, line.len());
        if line.starts_with(BYTE_ORDER_MARK) {
            from = BYTE_ORDER_MARK.len();
        }
        (from, to) = trim(line, from, to);
        if from == to || line[from] == b'#' {
            return Verdict::Nothing;
        }
        let Ok(text) = std::str::from_utf8(&line[from..to]) else {
            self.at_first = false;
            return Verdict::Bad(Problem::NotUtf8);
        };
        if matches!(line[from], b't' | b'@' | b'"') && is_csv_header(text) {
            self.in_csv = true;
            return Verdict::Nothing;
        }
        if self.in_csv {
            (from, to) = csv_message(line, from, to);
            if from == to {
                return Verdict::Nothing;
            }
        }
        let verdict = self.record_or_header(line, from, to);
        self.is_log |= !matches!(verdict, Verdict::Bad(_));
        self.at_first = false;
        verdict
    }

    fn record_or_header(&mut self, line: &[u8], mut from: usize, to: usize) -> Verdict {
        if line[from].is_ascii_digit() {
            from = self.after_timestamp(line, from, to);
        } else if let Some(header) = self.header_in(&line[from..to]) {
            return self.start_header(header);
        }
        match self.slots.read_line(&self.header, line, from, to) {
            Ok(status) => Verdict::Record(status),
            // A header may also follow the timestamp of an export.
            Err(problem) => match self.header_in(&line[from..to]) {
                Some(header) => self.start_header(header),
                None => Verdict::Bad(problem),
            },
        }
    }

    /// A header, if the bytes may be one at all: records mostly begin with a digit, which no name does.
    ///
    /// A line of one or two names is one only on top or in what is known to be a flow log: `end` alone is a line of Ruby.
    pub(crate) fn header_in(&self, text: &[u8]) -> Option<Header> {
        if !text
            .first()
            .is_some_and(|first| first.is_ascii_lowercase() || *first == b'$')
        {
            return None;
        }
        let header = Header::parse(std::str::from_utf8(text).ok()?)?;
        (header.len() > 2 || self.at_first || self.is_log).then_some(header)
    }

    /// Decodes the cells of one Parquet row under `header`, set with [`Decoder::set_header`].
    pub(crate) fn cells<'c>(&mut self, cells: impl Iterator<Item = Option<&'c str>>) -> Verdict {
        match self.slots.read_cells(&self.header, cells, &mut self.row) {
            Ok(status) => Verdict::Record(status),
            Err(problem) => Verdict::Bad(problem),
        }
    }

    pub(crate) fn set_header(&mut self, header: Header) {
        self.start_header(header);
        self.is_log = true;
    }

    fn start_header(&mut self, header: Header) -> Verdict {
        self.seen_header = true;
        if header != self.header {
            self.shape = Shape::of(&header);
            self.header = header;
            self.header_changes += 1;
        }
        Verdict::Header
    }

    /// The values of the last good record; `line` is the line it came from.
    pub(crate) fn record<'r>(&'r self, line: &'r [u8]) -> Record<'r> {
        self.slots.record(line)
    }

    /// The values of the last good Parquet row.
    pub(crate) fn row_record(&self) -> Record<'_> {
        self.slots.record(&self.row)
    }

    /// How many bytes the values of the last Parquet row take.
    pub(crate) fn row_length(&self) -> usize {
        self.row.len()
    }

    /// Puts a problem into words.
    pub(crate) fn explain(&self, number: u64, problem: Problem, line: &[u8]) -> BadLine {
        let (mut field, mut value) = (None, None);
        let expected = match problem {
            Problem::TooLong => "a line of at most 65536 bytes".to_owned(),
            Problem::NotUtf8 => "UTF-8 text".to_owned(),
            Problem::NotAnEnvelope => "a CloudWatch or Firehose envelope".to_owned(),
            Problem::NotJson => "a JSON object".to_owned(),
            Problem::Width { found, expected } => {
                value = Some(format!("{found} fields"));
                let source = if self.seen_header {
                    "as the header names"
                } else {
                    "as the log format names"
                };
                format!("{expected} fields, {source}")
            }
            Problem::Value { position } => {
                let column = &self.header.columns()[position];
                field = Some(column.name.clone());
                let text = self.slots.record(line).text(position).unwrap_or(b"-");
                value = Some(BadLine::sample(text));
                column.rule.expected().to_owned()
            }
        };
        BadLine {
            line: number,
            field,
            value,
            expected,
            text: BadLine::sample(line),
        }
    }

    /// Puts the problem of the last Parquet row into words.
    pub(crate) fn explain_row(&self, number: u64, problem: Problem) -> BadLine {
        let mut bad = self.explain(number, problem, &self.row);
        let record = self.row_record();
        let cells = (0..self.header.len()).map(|position| record.text(position).unwrap_or(b"-"));
        bad.text = BadLine::sample(&cells.collect::<Vec<_>>().join(&b' '));
        bad
    }

    /// Where the record begins when a log group's export to S3 put an ISO 8601 timestamp before it.
    fn after_timestamp(&self, line: &[u8], from: usize, to: usize) -> usize {
        if to - from < 20 || line[from + 4] != b'-' || line[from + 10] != b'T' {
            return from;
        }
        // No field that AWS documents begins like this, but one that we do not know might.
        if self.header.columns()[0].rule == Rule::Unknown {
            return from;
        }
        let end = line[from..to]
            .iter()
            .position(|byte| is_blank(*byte))
            .map_or(to, |length| from + length);
        let is_time = |byte: &u8| {
            byte.is_ascii_digit() || matches!(byte, b'-' | b':' | b'.' | b'T' | b'Z' | b'+')
        };
        if line[from..end].iter().all(is_time) {
            trim(line, end, to).0
        } else {
            from
        }
    }
}

/// The console's CSV (`timestamp,message`) and Logs Insights' (`@timestamp,@message`).
fn is_csv_header(text: &str) -> bool {
    let mut names = text
        .split(',')
        .map(|name| name.trim().trim_matches('"').trim_start_matches('@'));
    names.next() == Some("timestamp") && names.next() == Some("message") && names.next().is_none()
}

/// The message of a CSV row: what follows the first comma, without quotes. A message that ends with a line feed leaves a lone quote on the next line.
fn csv_message(line: &[u8], from: usize, to: usize) -> (usize, usize) {
    if &line[from..to] == b"\"" {
        return (to, to);
    }
    let start = memchr::memchr(b',', &line[from..to]).map_or(from, |comma| from + comma + 1);
    let (mut from, mut to) = trim(line, start, to);
    if from < to && line[from] == b'"' {
        from += 1;
        if from < to && line[to - 1] == b'"' {
            to -= 1;
        }
    }
    trim(line, from, to)
}

/// Takes blanks, tabs and carriage returns off both ends of `line[from..to]`.
fn trim(line: &[u8], mut from: usize, mut to: usize) -> (usize, usize) {
    while from < to && (is_blank(line[to - 1]) || line[to - 1] == b'\r') {
        to -= 1;
    }
    while from < to && is_blank(line[from]) {
        from += 1;
    }
    (from, to)
}
