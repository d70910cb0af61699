//! Reads one object, whatever its content: text, JSON envelopes or Parquet.

use std::io::{self, BufRead, Cursor, Read};
use std::ops::ControlFlow;

use arrow::array::RecordBatch;

use crate::batch::cells::CellReader;
use crate::batch::coverage::CoverageBuilder;
use crate::batch::flows::FlowsBuilder;
use crate::batch::{Decoded, ObjectError, ReadOptions};
use crate::decode::{
    BadLine, Content, Decoder, Envelope, MAX_LINE, Marks, PEEK, Piece, Pieces, Plain, Problem,
    Status, Stretch, Stretches, Verdict, first_line, is_binary, read_some, sniff,
};

/// How many bad lines of an object are kept.
const MAX_SAMPLES: usize = 100;

/// The largest Parquet file. It needs random access, so it is held in memory; AWS's are 75 MB at most.
const MAX_PARQUET: u64 = 256 * 1024 * 1024;

/// Reads inflated bytes to their end; sniffs text, JSON envelopes and Parquet; hands over `flows` batches as they fill.
///
/// [`ControlFlow::Break`] stops early, with what was read so far. A bad line is counted and sampled; the rest goes on. After an error,
/// batches that were handed over belong to an object that could not be read to its end: the caller drops them.
///
/// # Errors
///
/// [`ObjectError::NotAFlowLog`] when no line is a record and there is no header; [`ObjectError::Unreadable`] when the bytes cannot be
/// read to their end, or when a Parquet file is damaged.
pub fn read_object(
    reader: impl BufRead,
    options: &ReadOptions,
    on_batch: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
) -> Result<Decoded, ObjectError> {
    let mut reader = Counted { reader, bytes: 0 };
    let peek = peek(&mut reader).map_err(ObjectError::from_read)?;
    let mut run = Run::try_new(options, on_batch)?;
    let is_envelope = match sniff(&peek, options.log_format.as_ref()) {
        Content::Other(why) => return Err(ObjectError::NotAFlowLog { why }),
        Content::Text => {
            run.read_text(Cursor::new(&peek).chain(&mut reader))?;
            true
        }
        Content::Json => run.read_json(Cursor::new(&peek).chain(&mut reader))?,
        Content::Parquet => {
            run.read_parquet(Cursor::new(&peek).chain(&mut reader))?;
            true
        }
    };
    if !is_envelope {
        let why = "JSON, but neither a CloudWatch nor a Firehose envelope".to_owned();
        return Err(ObjectError::NotAFlowLog { why });
    }
    run.finish(&peek, reader.bytes)
}

/// The first bytes of an object: all of them, or [`PEEK`]; never fewer, so that chunks do not matter.
fn peek(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut peek = vec![0; PEEK];
    let mut length = 0;
    while length < PEEK {
        match read_some(reader, &mut peek[length..])? {
            0 => break,
            read => length += read,
        }
    }
    peek.truncate(length);
    Ok(peek)
}

/// Everything that is under way while an object is read.
struct Run<'o> {
    decoder: Decoder,
    flows: FlowsBuilder,
    coverage: CoverageBuilder,
    source: &'o str,
    has_log_format: bool,
    on_batch: &'o mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    stopped: bool,
    rows: u64,
    nodata: u64,
    skipdata: u64,
    bad_lines: u64,
    samples: Vec<BadLine>,
}

impl<'o> Run<'o> {
    fn try_new(
        options: &'o ReadOptions,
        on_batch: &'o mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<Self, ObjectError> {
        let flows = FlowsBuilder::try_new(options).map_err(|error| {
            ObjectError::unreadable("the projection does not fit the flows table", error)
        })?;
        Ok(Self {
            decoder: Decoder::new(options.log_format.as_ref()),
            flows,
            coverage: CoverageBuilder::new(),
            source: &options.source,
            has_log_format: options.log_format.is_some(),
            on_batch,
            stopped: false,
            rows: 0,
            nodata: 0,
            skipdata: 0,
            bad_lines: 0,
            samples: Vec::new(),
        })
    }

    fn read_text(&mut self, reader: impl BufRead) -> Result<(), ObjectError> {
        let mut stretches = Stretches::new(reader);
        let mut marks = Marks::default();
        let mut number = 0;
        while let Some(stretch) = stretches.next().map_err(ObjectError::from_read)? {
            match stretch {
                Stretch::Lines(text) => self.read_lines(text, &mut marks, &mut number)?,
                Stretch::TooLong(start) => {
                    number += 1;
                    self.bad(number, Problem::TooLong, start);
                }
            }
            if self.stopped {
                break;
            }
        }
        Ok(())
    }

    /// Reads whole lines: plain ones together, all others one by one. `number` counts them.
    fn read_lines(
        &mut self,
        text: &[u8],
        marks: &mut Marks,
        number: &mut u64,
    ) -> Result<(), ObjectError> {
        marks.mark(text);
        let bounds = marks.bounds();
        let mut odd = marks.odd().iter().peekable();
        // The first line that is not read yet, and the one that is looked at: both by where their bounds begin.
        let (mut first, mut line) = (0, 0);
        for next in marks.lines() {
            let next = *next as usize;
            let mut is_odd = false;
            while odd.next_if(|at| **at < bounds[next]).is_some() {
                is_odd = true;
            }
            if !is_odd && self.decoder.is_plain(text, &bounds[line..=next]) {
                line = next;
                continue;
            }
            self.read_plain(text, &bounds[first..=line], number)?;
            self.read_line(
                &text[bounds[line] as usize..bounds[next] as usize - 1],
                number,
            )?;
            (first, line) = (next, next);
            if self.stopped {
                return Ok(());
            }
        }
        self.read_plain(text, &bounds[first..=line], number)?;
        // The last line of all may lack its line feed.
        let rest = &text[bounds[line] as usize..];
        if rest.is_empty() || self.stopped {
            return Ok(());
        }
        self.read_line(rest, number)
    }

    fn read_line(&mut self, line: &[u8], number: &mut u64) -> Result<(), ObjectError> {
        *number += 1;
        if line.len() > MAX_LINE {
            self.bad(*number, Problem::TooLong, line);
            return Ok(());
        }
        let verdict = self.decoder.line(line);
        self.take(*number, verdict, line)
    }

    /// Reads plain lines that follow one another.
    fn read_plain(
        &mut self,
        text: &[u8],
        bounds: &[u32],
        number: &mut u64,
    ) -> Result<(), ObjectError> {
        let fields = self.decoder.header().len();
        let mut from = 0;
        while from + 1 < bounds.len() && !self.stopped {
            let to = bounds.len().min(from + self.flows.room() * fields + 1);
            let records = Plain::new(text, &bounds[from..to], self.decoder.header());
            from = to - 1;
            match self.flows.append_plain(&self.decoder, &records) {
                Some(is_full) => {
                    self.decoder.took_plain();
                    self.rows += records.rows() as u64;
                    *number += records.rows() as u64;
                    if is_full {
                        self.hand_over();
                    }
                }
                // A value does not fit: one by one, to say which.
                None => {
                    for line in records.lines() {
                        if !self.stopped {
                            self.read_line(line, number)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether there was an envelope.
    fn read_json(&mut self, reader: impl BufRead) -> Result<bool, ObjectError> {
        let mut pieces = Pieces::new(reader);
        let mut is_envelope = false;
        let mut number = 0;
        while let Some(piece) = pieces.next().map_err(ObjectError::from_read)? {
            let (object, problem) = match piece {
                Piece::Object(object) => (object, None),
                Piece::Broken(bytes) => (bytes, Some(Problem::NotJson)),
                Piece::TooLarge(bytes) => (bytes, Some(Problem::NotAnEnvelope)),
            };
            if let Some(problem) = problem {
                number += 1;
                self.bad(number, problem, object);
                continue;
            }
            match Envelope::parse(object) {
                Some(Envelope::Messages(messages)) => {
                    is_envelope = true;
                    for message in messages {
                        self.take_message(&message, &mut number)?;
                    }
                }
                Some(Envelope::Control) => is_envelope = true,
                Some(Envelope::Foreign) => {
                    number += 1;
                    self.bad(number, Problem::NotAnEnvelope, object);
                }
                None => {
                    number += 1;
                    self.bad(number, Problem::NotJson, object);
                }
            }
            if self.stopped {
                break;
            }
        }
        Ok(is_envelope)
    }

    fn take_message(&mut self, message: &str, number: &mut u64) -> Result<(), ObjectError> {
        for line in message.as_bytes().split(|byte| *byte == b'\n') {
            if self.stopped {
                return Ok(());
            }
            let verdict = if line.len() > MAX_LINE {
                Verdict::Bad(Problem::TooLong)
            } else {
                self.decoder.line(line)
            };
            if verdict != Verdict::Nothing {
                *number += 1;
            }
            self.take(*number, verdict, line)?;
        }
        Ok(())
    }

    fn read_parquet(&mut self, reader: impl Read) -> Result<(), ObjectError> {
        let mut file = Vec::new();
        reader
            .take(MAX_PARQUET + 1)
            .read_to_end(&mut file)
            .map_err(ObjectError::from_read)?;
        if file.len() as u64 > MAX_PARQUET {
            let error = io::Error::other(format!("it is larger than {MAX_PARQUET} bytes"));
            return Err(ObjectError::unreadable(
                "cannot hold the Parquet file in memory",
                error,
            ));
        }
        let mut reader = CellReader::try_new(file.into())?;
        self.decoder.set_header(reader.header().clone());
        let mut number = 0;
        while let Some(cells) = reader.next()? {
            for row in 0..cells.rows() {
                number += 1;
                match self.decoder.cells(cells.row(row)) {
                    Verdict::Record(status) => {
                        let length = self.decoder.row_length();
                        self.record(number, status, None, length)?;
                    }
                    Verdict::Bad(problem) => {
                        let explained = |decoder: &Decoder| decoder.explain_row(number, problem);
                        self.count_bad(explained);
                    }
                    Verdict::Nothing | Verdict::Header => {}
                }
                if self.stopped {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn take(&mut self, number: u64, verdict: Verdict, line: &[u8]) -> Result<(), ObjectError> {
        match verdict {
            Verdict::Record(status) => self.record(number, status, Some(line), line.len())?,
            Verdict::Bad(problem) => self.bad(number, problem, line),
            Verdict::Nothing | Verdict::Header => {}
        }
        Ok(())
    }

    /// Takes the record that the decoder read last, from `line` or from the cells of a row.
    #[inline]
    fn record(
        &mut self,
        number: u64,
        status: Status,
        line: Option<&[u8]>,
        length: usize,
    ) -> Result<(), ObjectError> {
        let record = match line {
            Some(line) => self.decoder.record(line),
            None => self.decoder.row_record(),
        };
        match status {
            Status::Ok => {
                self.rows += 1;
                if self.flows.append(&self.decoder, &record, length) {
                    self.hand_over();
                }
                return Ok(());
            }
            Status::NoData => self.nodata += 1,
            Status::SkipData => self.skipdata += 1,
        }
        if self.coverage.is_full(self.source) {
            let error = io::Error::other(format!("they take too much memory at line {number}"));
            return Err(ObjectError::unreadable(
                "cannot hold the NODATA and SKIPDATA records of the object",
                error,
            ));
        }
        self.coverage.append(&self.decoder, &record, status, number);
        Ok(())
    }

    fn hand_over(&mut self) {
        let batch = self.flows.finish();
        self.stopped = (self.on_batch)(batch).is_break();
    }

    #[cold]
    fn bad(&mut self, number: u64, problem: Problem, line: &[u8]) {
        self.count_bad(|decoder| decoder.explain(number, problem, line));
    }

    fn count_bad(&mut self, explain: impl FnOnce(&Decoder) -> BadLine) {
        self.bad_lines += 1;
        if self.samples.len() < MAX_SAMPLES {
            self.samples.push(explain(&self.decoder));
        }
    }

    fn finish(mut self, peek: &[u8], bytes: u64) -> Result<Decoded, ObjectError> {
        let records = self.rows + self.nodata + self.skipdata;
        if !self.decoder.is_log()
            && let Some(why) = why_not_a_log(self.samples.first(), peek, self.has_log_format)
        {
            return Err(ObjectError::NotAFlowLog { why });
        }
        if !self.flows.is_empty() {
            self.hand_over();
        }
        Ok(Decoded {
            rows: self.rows,
            nodata: self.nodata,
            skipdata: self.skipdata,
            lines: records + self.bad_lines,
            bad_lines: self.bad_lines,
            bytes,
            coverage: self.coverage.finish(self.source),
            samples: self.samples,
        })
    }
}

/// What an object without any header or record is instead; nothing when it is empty, or holds only what goes around records.
fn why_not_a_log(bad: Option<&BadLine>, peek: &[u8], has_log_format: bool) -> Option<String> {
    let first = BadLine::sample(first_line(peek));
    let first = first.trim();
    if bad.is_none() && !first.starts_with('#') {
        return None;
    }
    if is_binary(peek) {
        return Some("a binary file".to_owned());
    }
    // In an envelope the record says more than the first line, which may be everything.
    let bad = bad.map(|bad| bad.text.trim()).unwrap_or_default();
    let first = if first.starts_with(['{', '[']) && !bad.is_empty() {
        bad
    } else {
        first
    };
    let mut why = format!("no line is a flow log record; the first is `{first}`");
    let words = ["eni-", " ACCEPT", " REJECT", " OK", " NODATA"];
    if words.iter().any(|word| bad.contains(word)) {
        // It looks like one, so say what is missing: without a header only one format can be read.
        why.push_str(match has_log_format {
            true => " (it has no header, and does not fit the log format that was given)",
            false => " (a custom format without a header needs the flow log's `LogFormat`)",
        });
    }
    Some(why)
}

/// Counts what is read.
struct Counted<R> {
    reader: R,
    bytes: u64,
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.reader.consume(bytes);
        self.bytes += bytes as u64;
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}
