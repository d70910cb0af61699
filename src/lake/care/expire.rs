//! Old days out of the table, in one commit. Their objects stay known, so that they are not ingested again.

use chrono::NaiveDate;

use super::change::{Change, Landed, Purpose};
use super::{Mode, checkpoint};
use crate::lake::snapshot::DataFile;
use crate::lake::{Lake, LakeError};

/// How often it is tried anew because somebody else changed the same files.
const MAX_ROUNDS: usize = 20;

/// What is to expire.
#[derive(Debug, Clone)]
pub struct Expire {
    /// Days before this one.
    pub before: NaiveDate,
    /// Also rows without a date, if they were written before it.
    pub undated: bool,
    /// Whether anything is done.
    pub mode: Mode,
}

/// What has expired, or would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expired {
    /// The days, in order; nothing stands for rows without a date.
    pub dates: Vec<Option<NaiveDate>>,
    /// Their files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their rows.
    pub rows: u64,
}

impl Lake {
    /// Takes whole days out of the table. Their files are deleted by a later [`vacuum`](Self::vacuum).
    ///
    /// # Errors
    /// The lake cannot be read or written.
    pub async fn expire(&self, expire: &Expire) -> Result<Expired, LakeError> {
        for _ in 0..MAX_ROUNDS {
            self.catch_up().await?;
            let snapshot = self.snapshot().await?;
            let files = snapshot.files().iter();
            let files: Vec<DataFile> = files.filter(|file| is_old(file, expire)).cloned().collect();
            let mut dates: Vec<_> = files.iter().map(|file| file.date).collect();
            dates.sort_unstable();
            dates.dedup();
            let expired = Expired {
                dates,
                files: files.len() as u64,
                bytes: files.iter().map(|file| file.size).sum(),
                rows: files.iter().map(|file| file.rows).sum(),
            };
            if expire.mode == Mode::DryRun || files.is_empty() {
                return Ok(expired);
            }
            let mut what = format!("date < '{}'", expire.before);
            if expire.undated {
                what.push_str(" OR date IS NULL");
            }
            let purpose = Purpose::Expire { what };
            if let Landed::In(_) = Change::new(self, purpose, &files, Vec::new())
                .commit()
                .await?
            {
                checkpoint::write_if_due(self).await?;
                return Ok(expired);
            }
        }
        Err(LakeError::Overtaken {
            what: "expiry",
            uri: self.inner.place.uri.clone(),
        })
    }
}

fn is_old(file: &DataFile, expire: &Expire) -> bool {
    match file.date {
        Some(date) => date < expire.before,
        None => expire.undated && file.modified.date_naive() < expire.before,
    }
}
