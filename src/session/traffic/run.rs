//! Runs the passes over the slices of a scan, each pass on all threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlanProperties;
use futures::TryStreamExt;
use tokio::runtime::Handle;

use super::balancer;
use super::choice::Choice;
use super::columns::Chunk;
use super::company::Company;
use super::files::{self, RowGroup, Work};
use super::filter::Test;
use super::flow::Pool;
use super::passes::Passes;
use super::possible::{Asked, Possible};
use super::read::Reader;
use super::refusal::Judging;
use super::slices::{Bound, Records, Slice};
use super::threads::{Laps, locked};
use crate::topology::History;

/// A scan to be run.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) slices: Vec<Slice>,
    pub(super) history: Arc<History>,
    /// What is read is within these times.
    pub(super) bounds: Vec<Bound>,
    /// What is given passes all of these.
    pub(super) tests: Vec<Test>,
    /// What else is known of what is wanted.
    pub(super) asked: Asked,
    /// Whether a record may have TCP flags.
    pub(super) with_flags: bool,
    pub(super) threads: usize,
    pub(super) chunk_rows: usize,
}

/// Takes the answer as it comes.
pub(super) trait Taker: Sync {
    /// Takes some records; false if no more are wanted.
    fn take(&self, chunk: Chunk) -> bool;

    /// Whether the answer is still wanted.
    fn is_there(&self) -> bool;
}

impl Job {
    /// Runs to the end, or until nobody wants the answer. Takes long: for a blocking thread of a runtime.
    ///
    /// # Errors
    /// When `flows` can't be read.
    pub(super) fn run(
        &self,
        context: &Arc<TaskContext>,
        judging: Judging,
        taker: &impl Taker,
    ) -> Result<()> {
        let pool = Arc::new(Mutex::new(Pool::default()));
        let mut passes = Passes::new(self, judging);
        let is_of_rejected = self.tests.iter().any(Test::is_of_rejected);
        let possible = Possible::new(&self.asked, &self.history, self.with_flags).map(Arc::new);
        let balancers = balancer::addresses(&self.history);
        let read = |slice: &Slice, choice: Choice| {
            Handle::current().block_on(self.read(slice, choice, context, &pool, taker))
        };
        // The rejected records of the next slice: this one keeps their company too.
        let mut ahead: Option<Vec<Reader>> = None;
        for (at, slice) in self.slices.iter().enumerate() {
            if !taker.is_there() {
                break;
            }
            // Files can be read twice.
            let is_of_files = matches!(slice.records, Records::Files(_));
            let mut laps = Laps::default();
            let readers = match &possible {
                _ if is_of_rejected && is_of_files => {
                    let mut readers = match ahead.take() {
                        Some(readers) => readers,
                        None => read(slice, Choice::Rejected)?,
                    };
                    if let Some(next) = self.slices.get(at + 1) {
                        ahead = Some(read(next, Choice::Rejected)?);
                    }
                    let rejected = [readers.as_slice(), ahead.as_deref().unwrap_or_default()];
                    match Company::of(&rejected, &pool, &self.history) {
                        Some(company) => {
                            let company = Arc::new(company);
                            readers.extend(read(slice, Choice::CompanyOfRejected(company))?);
                            readers
                        }
                        None => read(slice, Choice::All)?,
                    }
                }
                Some(possible) if is_of_files => {
                    let mut readers = read(slice, Choice::Possible(Arc::clone(possible)))?;
                    let balancers = {
                        let known = &locked(&pool).addresses;
                        let known = balancers.iter().filter_map(|&ip| known.lookup(ip));
                        known.collect()
                    };
                    if let Some(company) = Company::of_open(&readers, &balancers) {
                        let (possible, company) = (Arc::clone(possible), Arc::new(company));
                        readers.extend(read(slice, Choice::CompanyOfPossible(possible, company))?);
                    }
                    readers
                }
                _ => read(slice, Choice::All)?,
            };
            laps.lap("read");
            let pool = locked(&pool);
            let goes_on = passes.settle(readers, slice.until, &pool, taker, &mut laps);
            tracing::debug!(slice = at, %laps, "settled a slice of traffic");
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Reads every stream of a slice at once.
    async fn read(
        &self,
        slice: &Slice,
        choice: Choice,
        context: &Arc<TaskContext>,
        pool: &Arc<Mutex<Pool>>,
        taker: &impl Taker,
    ) -> Result<Vec<Reader>> {
        let Work { row_groups, plans } = match &slice.records {
            Records::Files(scan) => files::open(scan, &self.bounds, self.threads, context).await?,
            Records::Elsewhere(plan) => Work {
                plans: vec![Arc::clone(plan)],
                ..Work::default()
            },
        };
        let reader = || {
            let (pool, history) = (Arc::clone(pool), Arc::clone(&self.history));
            Reader::new(pool, history, choice.clone())
        };
        let mut streams = tokio::task::JoinSet::new();
        let num_streams = self.threads.min(row_groups.len());
        let row_groups: Arc<[RowGroup]> = row_groups.into();
        let next = Arc::new(AtomicUsize::new(0));
        for _ in 0..num_streams {
            let (row_groups, next) = (Arc::clone(&row_groups), Arc::clone(&next));
            let mut reader = reader();
            streams.spawn(async move {
                while let Some(group) = row_groups.get(next.fetch_add(1, Ordering::Relaxed)) {
                    group.read(&mut reader).await?;
                }
                Ok::<_, DataFusionError>(reader)
            });
        }
        for plan in &plans {
            for partition in 0..plan.output_partitioning().partition_count() {
                let mut stream = plan.execute(partition, Arc::clone(context))?;
                let mut reader = reader();
                streams.spawn(async move {
                    while let Some(batch) = stream.try_next().await? {
                        reader.push(&batch)?;
                    }
                    Ok::<_, DataFusionError>(reader)
                });
            }
        }
        let mut readers = Vec::new();
        let mut look = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                next = streams.join_next() => match next {
                    Some(reader) => readers.push(
                        reader.map_err(|error| DataFusionError::External(Box::new(error)))??,
                    ),
                    None => return Ok(readers),
                },
                // Dropped, the streams end.
                _ = look.tick(), if !taker.is_there() => return Ok(Vec::new()),
            }
        }
    }
}
