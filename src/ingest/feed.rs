//! What a run works on: objects as listings or notifications bring them, until there are no more.

use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc::UnboundedSender;

use super::IngestError;
use super::follow::Took;
use crate::source::{Listed, Selection, Source};

/// One object, and whoever wants to hear what became of it.
#[derive(Debug)]
pub(super) struct Fed {
    pub(super) source: Source,
    pub(super) listed: Listed,
    pub(super) receipt: Option<Receipt>,
}

/// Objects, until there are no more. A stream may be dropped at any time.
pub(super) type Feed = BoxStream<'static, Result<Fed, IngestError>>;

/// What became of an object, for whoever brought it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Settled {
    /// The lake knows it: there is nothing more to do.
    Done,
    /// The run ended before the object was looked at.
    NotBegun,
    /// It could not be fetched: later, perhaps.
    Deferred,
}

/// To be settled once; dropped, it says that the object was not begun.
#[derive(Debug)]
pub(super) struct Receipt {
    number: u64,
    sender: Option<UnboundedSender<Took>>,
}

impl Receipt {
    pub(super) fn new(number: u64, sender: UnboundedSender<Took>) -> Self {
        Self {
            number,
            sender: Some(sender),
        }
    }

    pub(super) fn settle(mut self, settled: Settled) {
        self.send(settled);
    }

    fn send(&mut self, settled: Settled) {
        if let Some(sender) = self.sender.take() {
            // Nobody may be there to hear it any more, and then nobody minds.
            let number = self.number;
            sender.send(Took::Object { number, settled }).ok();
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.send(Settled::NotBegun);
    }
}

/// All that the sources list, one after the other.
pub(super) fn once(sources: Vec<(Source, Selection)>) -> Feed {
    let listings = stream::iter(sources).flat_map(|(source, selection)| {
        let listing = source.list(selection);
        listing.map(move |listed| {
            Ok(Fed {
                source: source.clone(),
                listed: listed?,
                receipt: None,
            })
        })
    });
    listings.boxed()
}
