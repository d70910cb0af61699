//! How a run is asked to end: what is in hand is finished and committed, nothing new is begun.

use tokio::sync::watch;

/// Asks for the end. Dropped, it never will.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Hears of it; cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// A pair of the two.
pub fn stopper() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Asks for the end; to do it twice is harmless.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Whether the end was asked for.
    pub fn is_asked_for(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the end is asked for: for ever, if nobody can any more.
    pub(super) async fn asked_for(&mut self) {
        if self.0.wait_for(|stop| *stop).await.is_err() {
            std::future::pending().await
        }
    }
}

impl Default for Stop {
    /// Nobody will ask.
    fn default() -> Self {
        stopper().1
    }
}
