//! Hands the chunks of an asynchronous download to a blocking reader, a bounded few at a time.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

/// How many chunks may wait; the HTTP client hands out at most a few hundred kilobytes at a time.
const CHUNKS_AHEAD: usize = 8;

/// What the downloading side sends.
#[derive(Debug)]
pub(super) enum Part {
    Chunk(Bytes),
    /// All has been received. Without it a download that died would look like the end of the
    /// object.
    End,
    Failed(io::Error),
}

pub(super) fn channel(key: String) -> (mpsc::Sender<Part>, Body) {
    let (sender, parts) = mpsc::channel(CHUNKS_AHEAD);
    (
        sender,
        Body {
            key,
            parts,
            chunk: Bytes::new(),
            ended: false,
        },
    )
}

/// The blocking end. Dropping it ends the download.
pub(super) struct Body {
    key: String,
    parts: mpsc::Receiver<Part>,
    chunk: Bytes,
    ended: bool,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !self.ended && !buffer.is_empty() {
            match self.parts.blocking_recv() {
                Some(Part::Chunk(chunk)) => self.chunk = chunk,
                Some(Part::End) => self.ended = true,
                Some(Part::Failed(error)) => return Err(error),
                None => {
                    let message = format!("cannot read `{}`: the download was given up", self.key);
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
                }
            }
        }
        let count = self.chunk.len().min(buffer.len());
        self.chunk.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_chunks_of_any_length_to_their_end() {
        let (sender, mut body) = channel("k".into());
        for chunk in ["", "ab", "", "cde"] {
            sender
                .blocking_send(Part::Chunk(Bytes::from_static(chunk.as_bytes())))
                .unwrap();
        }
        sender.blocking_send(Part::End).unwrap();
        let mut text = String::new();
        body.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcde");
        assert_eq!(body.read(&mut [0; 4]).unwrap(), 0);
    }

    #[test]
    fn a_download_that_dies_is_no_end() {
        let (sender, mut body) = channel("s3://b/k".into());
        sender
            .blocking_send(Part::Chunk(Bytes::from_static(b"ab")))
            .unwrap();
        drop(sender);
        let error = body.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read `s3://b/k`: the download was given up"
        );
    }
}
