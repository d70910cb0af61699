//! SIGINT and SIGTERM: the first asks for an orderly end, the second ends at once.

use std::future::Future;
use std::io;

use anyhow::anyhow;

use super::printer::Printer;
use crate::ingest::Stopper;

/// Does work that knows how to stop.
pub(super) async fn stoppable<T>(
    work: impl Future<Output = anyhow::Result<T>>,
    stopper: &Stopper,
    printer: &Printer,
) -> anyhow::Result<T> {
    let mut signals = Signals::listen()?;
    let mut work = Box::pin(work);
    tokio::select! {
        result = &mut work => return result,
        () = signals.next() => {}
    }
    stopper.stop();
    printer
        .say("stopping: what is in hand is finished and committed; a second signal ends at once");
    tokio::select! {
        result = work => result,
        () = signals.next() => Err(anyhow!("interrupted; what was not committed is not in the lake")),
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // Without a console there is nobody to interrupt.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
