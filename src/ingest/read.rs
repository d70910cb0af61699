//! One object: fetched, inflated and decoded, its rows kept until it has been read to its end.

use std::error::Error;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use super::progress::Meter;
use crate::batch::{Decoded, ObjectError, ReadOptions, read_object};
use crate::lake::{LakeError, ObjectRows};
use crate::source::{Object, Source, SourceError, gzip};

/// How reading one object ended.
pub(super) enum Ending {
    /// At its end.
    Whole {
        rows: Box<ObjectRows>,
        decoded: Box<Decoded>,
    },
    /// It is no flow log.
    NotAFlowLog { reason: String },
    /// What was fetched cannot be read: no use to try again.
    Unreadable { reason: String },
    /// It could not be fetched: it says nothing about the object.
    NotFetched {
        reason: String,
        whereabouts: Whereabouts,
    },
    /// The source is to be given up.
    SourceFailed(SourceError),
    /// The lake is to be given up.
    LakeFailed(LakeError),
    /// The run was over before the object was.
    Stopped,
}

/// Whether an object that could not be fetched is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whereabouts {
    Unknown,
    /// It is not there any more.
    Gone,
}

impl Ending {
    /// For an ending that nobody uses: deletes what was written.
    pub(super) async fn discard(self) {
        if let Self::Whole { rows, .. } = self {
            rows.discard().await;
        }
    }
}

/// Reads an object. If it is not what was told any more, `object` becomes what it is now.
pub(super) async fn read(
    source: Source,
    object: &mut Object,
    options: ReadOptions,
    rows: ObjectRows,
    meter: Arc<Meter>,
) -> Ending {
    let mut fetched = source.fetch(object).await;
    if matches!(fetched, Err(SourceError::Changed { .. }))
        && let Ok(Some(now)) = source.look(&object.key).await
    {
        *object = now;
        fetched = source.fetch(object).await;
    }
    let raw = match fetched {
        Ok(raw) => raw,
        Err(error) if error.is_object_only() => {
            let whereabouts = if matches!(error, SourceError::Gone { .. }) {
                Whereabouts::Gone
            } else {
                Whereabouts::Unknown
            };
            return Ending::NotFetched {
                reason: chain(&error),
                whereabouts,
            };
        }
        Err(error) => return Ending::SourceFailed(error),
    };
    let runtime = Handle::current();
    let size = object.size;
    let work =
        tokio::task::spawn_blocking(move || decode(raw, size, &options, rows, &meter, &runtime));
    // A bug in the decoder must not stop the other objects.
    work.await.unwrap_or_else(|error| Ending::Unreadable {
        reason: format!("internal error: {error}"),
    })
}

fn decode(
    raw: Box<dyn Read + Send>,
    size: u64,
    options: &ReadOptions,
    mut rows: ObjectRows,
    meter: &Arc<Meter>,
    runtime: &Handle,
) -> Ending {
    let fetching = Fetching::default();
    let raw = Watched {
        inner: raw,
        meter: Arc::clone(meter),
        fetching: fetching.clone(),
    };
    let mut refused = None;
    let result = match gzip::inflate(raw, size) {
        Ok(text) => read_object(text, options, &mut |batch| {
            meter
                .decoded
                .fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
            if let Err(error) = runtime.block_on(rows.push(batch)) {
                refused = Some(error);
            }
            if refused.is_some() || meter.is_stopped() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        }),
        Err(source) => Err(ObjectError::Unreadable {
            doing: "cannot read the object",
            source: source.into(),
        }),
    };
    let ending = match (refused, fetching.error(), result) {
        (Some(error), _, _) => Ending::LakeFailed(error),
        _ if meter.is_stopped() => Ending::Stopped,
        (_, Some(reason), _) => Ending::NotFetched {
            reason,
            whereabouts: Whereabouts::Unknown,
        },
        (_, _, Ok(decoded)) => {
            return Ending::Whole {
                rows: Box::new(rows),
                decoded: Box::new(decoded),
            };
        }
        (_, _, Err(error @ ObjectError::NotAFlowLog { .. })) => Ending::NotAFlowLog {
            reason: error.reason(),
        },
        (_, _, Err(error)) => Ending::Unreadable {
            reason: error.reason(),
        },
    };
    runtime.block_on(rows.discard());
    ending
}

/// The first error of the source itself, as against one of what it gave.
#[derive(Debug, Clone, Default)]
struct Fetching(Arc<Mutex<Option<String>>>);

impl Fetching {
    fn failed(&self, error: &io::Error) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| chain(error));
    }

    fn error(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Watched {
    inner: Box<dyn Read + Send>,
    meter: Arc<Meter>,
    fetching: Fetching,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(count) => {
                self.meter
                    .fetched
                    .fetch_add(count as u64, Ordering::Relaxed);
                Ok(count)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.fetching.failed(&error);
                }
                Err(error)
            }
        }
    }
}

/// An error with its causes on one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Errors of I/O print what they wrap.
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
