//! JSON around records: what CloudWatch Logs subscriptions and Firehose deliver.
//!
//! - Firehose: `{"message": "2 1234… OK"}`, one after the other with or without line feeds
//!   (<https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-firehose.html>), or in an array;
//! - a CloudWatch Logs subscription: `{"messageType": "DATA_MESSAGE", "logEvents": [{"message": …}]}`, several of them end to end
//!   (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html>); a `CONTROL_MESSAGE` only tests the way;
//! - `aws logs filter-log-events`: `{"events": [{"message": …}]}`.

use std::borrow::Cow;
use std::io::{self, BufRead};

use serde::Deserialize;

/// The largest envelope. CloudWatch Logs sends at most some megabytes; what a command printed may be larger.
const MAX_ENVELOPE: usize = 64 * 1024 * 1024;

/// One stretch of a JSON stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'b> {
    /// A balanced object: a top-level one, or an element of a top-level array.
    Object(&'b [u8]),
    /// Anything else: text between objects, an object that breaks off.
    Broken(&'b [u8]),
    /// The beginning of an object larger than any envelope.
    TooLarge(&'b [u8]),
}

/// Cuts a stream into objects without parsing them, so that one broken object costs only itself.
#[derive(Debug)]
pub(crate) struct Pieces<R> {
    reader: R,
    piece: Vec<u8>,
}

/// Where the cutter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Outside,
    Garbage,
    Object { depth: u32 },
    Text { depth: u32 },
    Escape { depth: u32 },
}

/// What one look at the buffer came to.
enum Step {
    More,
    Object,
    Broken,
}

impl<R: BufRead> Pieces<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            piece: Vec::new(),
        }
    }

    /// The next piece, or `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        self.piece.clear();
        let mut too_large = false;
        let mut at = At::Outside;
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                return Ok(match at {
                    At::Outside => None,
                    _ => Some(Piece::Broken(&self.piece)),
                });
            }
            let (used, from, step) = scan(buffer, &mut at);
            let room = MAX_ENVELOPE.saturating_sub(self.piece.len());
            let part = &buffer[from..used];
            too_large |= part.len() > room;
            self.piece.extend_from_slice(&part[..part.len().min(room)]);
            self.reader.consume(used);
            match step {
                Step::More => {}
                Step::Object if too_large => return Ok(Some(Piece::TooLarge(&self.piece))),
                Step::Object => return Ok(Some(Piece::Object(&self.piece))),
                Step::Broken => return Ok(Some(Piece::Broken(&self.piece))),
            }
        }
    }
}

/// Moves through the buffer until a piece ends: how much is used, from where it belongs to the piece, and what it came to.
fn scan(buffer: &[u8], at: &mut At) -> (usize, usize, Step) {
    let mut from = 0;
    for (index, &byte) in buffer.iter().enumerate() {
        *at = match (*at, byte) {
            (At::Outside, b'{') => {
                from = index;
                At::Object { depth: 1 }
            }
            (At::Outside, b' ' | b'\t' | b'\r' | b'\n' | b',' | b'[' | b']' | 0x1e) => {
                from = index + 1;
                At::Outside
            }
            (At::Outside, _) => {
                from = index;
                At::Garbage
            }
            (At::Garbage, b'\n') => return (index + 1, from, Step::Broken),
            // Not used up: an object begins here.
            (At::Garbage, b'{') => return (index, from, Step::Broken),
            (At::Garbage, _) => At::Garbage,
            (At::Object { depth }, b'{') => At::Object {
                depth: depth.saturating_add(1),
            },
            (At::Object { depth: 1 }, b'}') => return (index + 1, from, Step::Object),
            (At::Object { depth }, b'}') => At::Object { depth: depth - 1 },
            (At::Object { depth }, b'"') => At::Text { depth },
            (At::Object { depth }, _) => At::Object { depth },
            (At::Text { depth }, b'"') => At::Object { depth },
            (At::Text { depth }, b'\\') => At::Escape { depth },
            // JSON has no line feed inside a string: this object breaks off, the next line may be good again.
            (At::Text { .. } | At::Escape { .. }, b'\n') => return (index + 1, from, Step::Broken),
            (At::Text { depth } | At::Escape { depth }, _) => At::Text { depth },
        };
    }
    (buffer.len(), from, Step::More)
}

/// An envelope's messages, each a record or several lines of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Envelope<'j> {
    /// Records, as text.
    Messages(Vec<Cow<'j, str>>),
    /// A test of the way, without records.
    Control,
    /// Some other object.
    Foreign,
}

#[derive(Deserialize)]
struct RawEnvelope<'j> {
    #[serde(borrow)]
    message: Option<Message<'j>>,
    #[serde(borrow, rename = "messageType")]
    message_type: Option<Message<'j>>,
    #[serde(borrow, rename = "logEvents", alias = "events")]
    log_events: Option<Vec<RawEvent<'j>>>,
}

#[derive(Deserialize)]
struct RawEvent<'j> {
    #[serde(borrow)]
    message: Message<'j>,
}

/// A newtype, because serde borrows a `Cow` only where it is not inside an `Option`.
#[derive(Deserialize)]
struct Message<'j>(#[serde(borrow)] Cow<'j, str>);

impl<'j> Envelope<'j> {
    /// Reads an object; `None` when it is not JSON.
    pub(crate) fn parse(object: &'j [u8]) -> Option<Self> {
        let raw: RawEnvelope<'_> = match serde_json::from_slice(object) {
            Ok(raw) => raw,
            // Good JSON whose `message` or `events` is something else.
            Err(error) if error.is_data() => return Some(Self::Foreign),
            Err(_) => return None,
        };
        Some(match raw {
            RawEnvelope {
                message_type: Some(kind),
                ..
            } if kind.0 == "CONTROL_MESSAGE" => Self::Control,
            RawEnvelope {
                log_events: Some(events),
                ..
            } => Self::Messages(events.into_iter().map(|event| event.message.0).collect()),
            RawEnvelope {
                message: Some(message),
                ..
            } => Self::Messages(vec![message.0]),
            RawEnvelope { .. } => Self::Foreign,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn pieces(bytes: &[u8], capacity: usize) -> Vec<(char, String)> {
        let mut pieces = Pieces::new(BufReader::with_capacity(capacity, bytes));
        let mut all = Vec::new();
        while let Some(piece) = pieces.next().unwrap() {
            let (kind, bytes) = match piece {
                Piece::Object(bytes) => ('o', bytes),
                Piece::Broken(bytes) => ('b', bytes),
                Piece::TooLarge(bytes) => ('l', bytes),
            };
            all.push((kind, String::from_utf8_lossy(bytes).into_owned()));
        }
        all
    }

    #[test]
    fn cuts_objects_however_they_are_joined() {
        for capacity in [1, 2, 7, 1000] {
            for joined in [
                r#"{"a":{}}{"b":"}\"{"}"#,
                "{\"a\":{}}\n{\"b\":\"}\\\"{\"}\n",
                r#"[{"a":{}}, {"b":"}\"{"}]"#,
            ] {
                let found = pieces(joined.as_bytes(), capacity);
                assert_eq!(
                    found,
                    [
                        ('o', r#"{"a":{}}"#.to_owned()),
                        ('o', r#"{"b":"}\"{"}"#.to_owned())
                    ],
                    "{joined}"
                );
            }
        }
    }

    #[test]
    fn a_broken_object_costs_only_itself() {
        for capacity in [1, 3, 1000] {
            let found = pieces(b"{\"a\":\"b\n{\"c\":1} oops {\"d\":2}{\"e\"", capacity);
            let kinds: String = found.iter().map(|(kind, _)| *kind).collect();
            assert_eq!(kinds, "bobob", "{found:?}");
        }
    }

    #[test]
    fn reads_every_envelope() {
        let messages = |json: &'static str| match Envelope::parse(json.as_bytes()) {
            Some(Envelope::Messages(messages)) => {
                messages.into_iter().map(Cow::into_owned).collect()
            }
            other => vec![format!("{other:?}")],
        };
        assert_eq!(messages(r#"{"message":"2 a\tb"}"#), ["2 a\tb"]);
        assert_eq!(
            messages(
                r#"{"logEvents":[{"id":"1","message":"x"},{"message":"y","extractedFields":{}}],"messageType":"DATA_MESSAGE"}"#
            ),
            ["x", "y"]
        );
        assert_eq!(
            messages(r#"{"events":[{"message":"x"}],"searchedLogStreams":[]}"#),
            ["x"]
        );
        assert_eq!(
            messages(
                r#"{"logEvents":[{"message":"CWL CONTROL MESSAGE"}],"messageType":"CONTROL_MESSAGE"}"#
            ),
            ["Some(Control)"]
        );
        assert_eq!(messages(r#"{"Vpcs":[]}"#), ["Some(Foreign)"]);
        assert_eq!(messages(r#"{"message":{"a":1}}"#), ["Some(Foreign)"]);
        assert_eq!(messages(r#"{"message":"a",}"#), ["None"]);
    }
}
