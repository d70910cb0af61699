//! Looks at a bucket or a folder again and again.

use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use futures::stream::{self, BoxStream, StreamExt};
use tokio::time::Instant;

use super::super::feed::{Fed, Feed};
use super::super::pause::Trouble;
use super::Pace;
use crate::ingest::IngestError;
use crate::source::{Listed, Selection, Source, SourceError};
use crate::telemetry::{self, Retried};

/// Two streams of the same place: the days of the window, often, and everything, seldom. Neither waits for the other, so that new
/// objects are seen while years of them are listed.
pub(super) fn feeds(source: &Source, selection: &Selection, pace: &Pace) -> [Feed; 2] {
    let feed = |look_back, every| {
        let polling = Polling {
            source: source.clone(),
            selection: selection.clone(),
            look_back,
            every,
            trouble: Trouble::new(Some(pace.patience)),
            listing: None,
            next_look: Instant::now(),
        };
        stream::try_unfold(polling, |mut polling| async move {
            let fed = polling.next().await?;
            Ok(Some((fed, polling)))
        })
        .boxed()
    };
    [
        feed(Some(pace.look_back), pace.poll),
        feed(None, pace.sweep),
    ]
}

struct Polling {
    source: Source,
    selection: Selection,
    /// How far back to look; everything, if nothing is said.
    look_back: Option<Duration>,
    every: Duration,
    trouble: Trouble,
    listing: Option<BoxStream<'static, Result<Listed, SourceError>>>,
    next_look: Instant,
}

impl Polling {
    async fn next(&mut self) -> Result<Fed, IngestError> {
        loop {
            let listing = match &mut self.listing {
                Some(listing) => listing,
                None => {
                    tokio::time::sleep_until(self.next_look).await;
                    self.next_look = Instant::now() + self.every;
                    let selection = window(&self.selection, self.look_back, Utc::now());
                    self.listing.insert(self.source.list(selection))
                }
            };
            match listing.next().await {
                Some(Ok(listed)) => {
                    self.trouble.is_over();
                    return Ok(Fed {
                        source: self.source.clone(),
                        listed,
                        receipt: None,
                    });
                }
                Some(Err(error)) => self.bear(error).await?,
                None => {
                    self.trouble.is_over();
                    self.listing = None;
                }
            }
        }
    }

    /// Waits for trouble to pass, and then looks again from the beginning.
    async fn bear(&mut self, error: SourceError) -> Result<(), IngestError> {
        self.listing = None;
        let Some(pause) = self.trouble.pause(error.outlook()) else {
            return Err(error.into());
        };
        telemetry::retried(Retried::Listing);
        tracing::warn!(source = %self.source.describe(), %error, pause_secs = pause.as_secs(), "trouble with a source, trying again");
        self.next_look = Instant::now() + pause;
        Ok(())
    }
}

/// What is selected, from the beginning of the day so long ago on: a day's folder is always listed whole.
fn window(selection: &Selection, look_back: Option<Duration>, now: DateTime<Utc>) -> Selection {
    let mut selection = selection.clone();
    if let Some(look_back) = look_back {
        let back = TimeDelta::from_std(look_back)
            .ok()
            .and_then(|back| now.checked_sub_signed(back))
            .unwrap_or(DateTime::<Utc>::MIN_UTC);
        let midnight = back.date_naive().and_time(NaiveTime::MIN).and_utc();
        selection.from = selection.from.max(Some(midnight));
    }
    selection
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_begins_at_midnight_and_never_before_what_was_selected() {
        let now = time("2026-03-10T15:30:00Z");
        let from = |selected: Option<&str>, days: u64| {
            let selection = Selection {
                from: selected.map(time),
                ..Selection::default()
            };
            let look_back = Some(Duration::from_secs(days * 86_400));
            window(&selection, look_back, now).from
        };
        assert_eq!(from(None, 3), Some(time("2026-03-07T00:00:00Z")));
        assert_eq!(from(None, 0), Some(time("2026-03-10T00:00:00Z")));
        let selected = Some("2026-03-09T06:00:00Z");
        assert_eq!(from(selected, 3), selected.map(time));
        assert_eq!(from(selected, 0), Some(time("2026-03-10T00:00:00Z")));
        assert_eq!(from(None, 90_000_000_000), Some(DateTime::<Utc>::MIN_UTC));
        let everything = Selection::default();
        assert_eq!(window(&everything, None, now), everything);
    }
}
