//! The passes over the records of a slice, each on all threads, and what one slice leaves for the next.
//!
//! Memory: 88 bytes for each record of a slice, 4 for each conversation, 32 for each record that passed a NAT gateway, and what the records
//! share: an address costs about 50 bytes, a far address looked up from a route table 30. A slice is a day, or several small ones.

use std::sync::{Arc, Mutex, PoisonError};

use super::balancer;
use super::columns::{Chunk, Ends, Tables};
use super::conversation::{Conversations, End, FlowLogs, Peers, Scratch, ends, is_open};
use super::flow::{Flow, Leg, Pool, Text};
use super::hash::{Map, Set};
use super::nat::{self, Sides};
use super::read::{BUCKETS, Bucket, Reader};
use super::refusal::{Judging, Refusals};
use super::resolve::{Lens, Ways};
use super::run::{Job, Taker};
use super::slices::MARGIN_MICROS;
use super::threads::{Laps, in_parallel, locked};
use super::witness::Sightings;
use super::world::{Known, World};

/// Records of one bucket, as many batches as readers gave.
type Batches = Vec<Vec<Flow>>;

/// The state of a run from slice to slice.
pub(super) struct Passes<'n> {
    job: &'n Job,
    threads: usize,
    world: Mutex<World<'n>>,
    lenses: Vec<Mutex<Lens<'n>>>,
    refusals: Vec<Mutex<Refusals<'n>>>,
    sightings: Sightings,
    forwarding: Set<Text>,
    fields: Map<Text, u8>,
    /// By bucket, the records that the next slice needs too.
    kept: Vec<Vec<Flow>>,
    /// What starts before and was kept is in the answer already.
    given_before: i64,
}

impl<'n> Passes<'n> {
    pub(super) fn new(job: &'n Job, judging: Judging) -> Self {
        let threads = job.threads.max(1);
        Self {
            job,
            threads,
            world: Mutex::default(),
            lenses: (0..threads)
                .map(|_| Mutex::new(Lens::new(&job.history)))
                .collect(),
            refusals: (0..threads)
                .map(|_| Mutex::new(Refusals::new(judging)))
                .collect(),
            sightings: Sightings::default(),
            forwarding: Set::default(),
            fields: Map::default(),
            kept: Vec::new(),
            given_before: i64::MIN,
        }
    }

    /// The passes over one slice; false if no more is wanted.
    pub(super) fn settle(
        &mut self,
        mut readers: Vec<Reader>,
        until: i64,
        pool: &Pool,
        taker: &impl Taker,
        laps: &mut Laps,
    ) -> bool {
        for reader in &mut readers {
            self.sightings.merge(std::mem::take(&mut reader.sightings));
            self.forwarding.extend(reader.forwarding.drain());
            for (source, fields) in reader.fields.drain() {
                *self.fields.entry(source).or_default() |= fields;
            }
        }
        let flow_logs = flow_logs(pool, &self.fields);
        let mut read: Vec<Vec<Bucket>> = (0..BUCKETS).map(|_| Vec::new()).collect();
        for reader in readers {
            for (buckets, bucket) in read.iter_mut().zip(reader.buckets) {
                buckets.push(bucket);
            }
        }
        let mut kept = std::mem::take(&mut self.kept);
        kept.resize(BUCKETS, Vec::new());
        let fresh: Vec<Mutex<(Vec<Flow>, Vec<Bucket>)>> =
            kept.into_iter().zip(read).map(Mutex::new).collect();

        let (resolved, open) = self.resolve(fresh, until, pool);
        laps.lap("resolve");
        let parts = self.arrange(resolved, until, &open);
        laps.lap("arrange");
        let peers = self.count_peers(&parts, &open);
        let sides = self.judge(&parts, until, &peers, &flow_logs);
        laps.lap("judge");
        let mut buckets: Vec<Conversations> = parts
            .into_iter()
            .map(|part| part.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect();
        let world = locked(&self.world);
        nat::join(sides, &mut buckets, &pool.addresses, self.threads);
        balancer::join(&mut buckets, &world);
        laps.lap("join");
        let goes_on = self.give(buckets, until, (pool, &world), taker);
        drop(world);
        self.given_before = until;
        laps.lap("give");
        goes_on
    }

    /// Resolves the records that are new. Says of which ends of those that matter all conversations are to be kept: to be counted, or
    /// because they may be of the same packets.
    fn resolve(
        &self,
        fresh: Vec<Mutex<(Vec<Flow>, Vec<Bucket>)>>,
        until: i64,
        pool: &Pool,
    ) -> (Vec<Mutex<Batches>>, Set<End>) {
        let known = Known {
            pool,
            sightings: &self.sightings,
            forwarding: &self.forwarding,
        };
        for lens in &self.lenses {
            locked(lens).next_slice(&locked(&self.world));
        }
        let resolved: Vec<Mutex<Batches>> = fresh.iter().map(|_| Mutex::default()).collect();
        let open = Mutex::new(Set::default());
        in_parallel(self.threads, fresh.len(), |thread, todo| {
            let mut lens = locked(&self.lenses[thread]);
            for index in todo {
                let (kept, buckets) = std::mem::take(&mut *locked(&fresh[index]));
                let mut chunks = vec![kept];
                for mut bucket in buckets {
                    let mut seen = bucket.seen.iter().peekable();
                    let flows = bucket.chunks.iter_mut().flatten();
                    for (at, flow) in (0..).zip(flows) {
                        let addresses = match seen.next_if(|(row, _)| *row == at) {
                            Some((_, addresses)) => *addresses,
                            None => [flow.src, flow.dst],
                        };
                        lens.resolve(flow, addresses, known, &self.world);
                    }
                    chunks.append(&mut bucket.chunks);
                }
                let mut of_bucket = Set::default();
                for flow in chunks.iter().flatten() {
                    let common = balancer::common_end(flow, |end| lens.is_balancer(end));
                    let is_open = is_open(flow);
                    if (is_open || common.is_some()) && self.matters(flow, until, &*lens) {
                        of_bucket.extend(common);
                        of_bucket.extend(ends(flow).filter(|_| is_open).into_iter().flatten());
                    }
                }
                if !of_bucket.is_empty() {
                    locked(&open).extend(of_bucket);
                }
                *locked(&resolved[index]) = chunks;
            }
        });
        let open = open.into_inner().unwrap_or_else(PoisonError::into_inner);
        (resolved, open)
    }

    /// Whether a record may be in the answer, or decide about one at a NAT gateway or in the next slice. In all else, what happens in
    /// a conversation without such a record is nobody's business.
    fn matters(&self, flow: &Flow, until: i64, found: &(impl Ends + Ways)) -> bool {
        flow.start >= until.saturating_sub(MARGIN_MICROS)
            || matches!(
                flow.leg,
                Leg::NatOutside | Leg::NatInsideBlind | Leg::NatInside
            )
            || found.is_to_nat(flow.route)
            || self.job.tests.iter().all(|test| test.may_pass(flow, found))
    }

    /// Sorts the records of conversations that matter, or that are to be kept.
    fn arrange(
        &self,
        resolved: Vec<Mutex<Batches>>,
        until: i64,
        open: &Set<End>,
    ) -> Vec<Mutex<Conversations>> {
        let parts: Vec<Mutex<Conversations>> = resolved.iter().map(|_| Mutex::default()).collect();
        in_parallel(self.threads, resolved.len(), |thread, todo| {
            let mut lens = locked(&self.lenses[thread]);
            lens.sync(&locked(&self.world));
            let mut scratch = Scratch::default();
            let is_counted = |flow: &Flow| {
                let mut ends = ends(flow).into_iter().flatten();
                !open.is_empty() && ends.any(|end| open.contains(&end))
            };
            for index in todo {
                let chunks = std::mem::take(&mut *locked(&resolved[index]));
                let conversations = Conversations::arrange(
                    chunks,
                    |end, address| lens.talker(end, address),
                    |flow| self.matters(flow, until, &*lens) || is_counted(flow),
                    &mut scratch,
                );
                *locked(&parts[index]) = conversations;
            }
        });
        parts
    }

    /// Counts the conversations of the ends whose ports don't tell.
    fn count_peers(&self, parts: &[Mutex<Conversations>], open: &Set<End>) -> Peers {
        if open.is_empty() {
            return Peers::default();
        }
        let all = Mutex::new(Peers::of(open));
        in_parallel(self.threads, parts.len(), |_, todo| {
            let mut peers = Peers::of(open);
            for index in todo {
                let part = locked(&parts[index]);
                peers.count(&part);
            }
            locked(&all).add(peers);
        });
        all.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settles the conversations, keeps what the next slice needs, and collects what passed NAT gateways.
    fn judge(
        &mut self,
        parts: &[Mutex<Conversations>],
        until: i64,
        peers: &Peers,
        flow_logs: &FlowLogs,
    ) -> Sides {
        let world = locked(&self.world);
        let keep_from = until.saturating_sub(MARGIN_MICROS);
        // Before it counts: what happens at NAT gateways, and what is kept for the next slice.
        let is_wanted = |conversation: &[Flow]| {
            conversation.iter().any(|flow| {
                flow.start >= keep_from
                    || matches!(flow.leg, Leg::NatOutside | Leg::NatInsideBlind)
                    || self
                        .job
                        .tests
                        .iter()
                        .all(|test| test.may_pass(flow, &*world))
            })
        };
        let kept: Vec<Mutex<Vec<Flow>>> = parts.iter().map(|_| Mutex::default()).collect();
        let sides = Mutex::new(Sides::default());
        in_parallel(self.threads, parts.len(), |_, todo| {
            let mut scratch = Scratch::default();
            let mut own = Sides::default();
            for index in todo {
                let part = &mut *locked(&parts[index]);
                part.settle(is_wanted, peers, &world, flow_logs, &mut scratch);
                if until < i64::MAX {
                    let later = part.iter().filter(|flow| flow.start >= keep_from);
                    *locked(&kept[index]) = later.map(Flow::for_next_slice).collect();
                }
                let bucket = u32::try_from(index).expect("there are few buckets");
                own.add(bucket, part, &world, |flow| {
                    let mut tests = self.job.tests.iter();
                    if flow.leg == Leg::NatOutside {
                        tests.all(|test| test.may_pass_from_nat(flow, &*world))
                    } else {
                        tests.all(|test| test.passes(flow, &*world))
                    }
                });
            }
            locked(&sides).merge(own);
        });
        drop(world);
        self.kept = kept
            .into_iter()
            .map(|kept| kept.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect();
        sides.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives away the records that pass, bucket by bucket; false if no more are wanted.
    fn give(
        &self,
        buckets: Vec<Conversations>,
        until: i64,
        (pool, world): (&Pool, &World<'n>),
        taker: &impl Taker,
    ) -> bool {
        let tables = Arc::new(Tables::new(world, pool));
        let buckets: Vec<Mutex<Conversations>> = buckets.into_iter().map(Mutex::new).collect();
        let tests = &self.job.tests;
        in_parallel(self.threads, buckets.len(), |thread, todo| {
            let mut refusals = locked(&self.refusals[thread]);
            let mut chosen: Vec<Flow> = Vec::new();
            let mut give = |chosen: &mut Vec<Flow>| {
                let rows = std::mem::take(chosen);
                let judged = refusals.judge(&rows, world, pool);
                taker.take(Chunk {
                    rows,
                    judged,
                    tables: Arc::clone(&tables),
                })
            };
            for index in todo {
                let bucket = std::mem::take(&mut *locked(&buckets[index]));
                for flow in bucket.iter() {
                    let is_due = flow.start < until
                        && !(flow.standing.is_kept() && flow.start < self.given_before);
                    if is_due && tests.iter().all(|test| test.passes(flow, world)) {
                        chosen.push(*flow);
                        if chosen.len() >= self.job.chunk_rows && !give(&mut chosen) {
                            return;
                        }
                    }
                }
            }
            if !chosen.is_empty() {
                give(&mut chosen);
            }
        });
        taker.is_there()
    }
}

/// Says of each record which flow log wrote it, the id in AWS's file name or, in files with other names, the fields that the file has.
fn flow_logs(pool: &Pool, fields: &Map<Text, u8>) -> FlowLogs {
    let mut logs = FlowLogs::default();
    for traits in &pool.traits.values {
        let id = pool.texts.get(traits.source).and_then(|key| {
            let name = key.rsplit('/').next()?;
            let id = name.split('_').find(|part| part.starts_with("fl-"))?;
            Some(id.to_owned())
        });
        let name = id.unwrap_or_else(|| {
            let fields = fields.get(&traits.source).copied().unwrap_or(0);
            format!("fields {fields:05b}")
        });
        let log = logs.names.intern(&name);
        logs.of_traits.push(log);
    }
    let source = |kind: &usize| pool.texts.get(pool.traits.values[*kind].source);
    let mut kinds: Vec<usize> = (0..pool.traits.values.len()).collect();
    kinds.sort_by(|one, other| source(one).cmp(&source(other)));
    logs.order = vec![0; kinds.len()];
    for (place, kind) in kinds.into_iter().enumerate() {
        logs.order[kind] = place;
    }
    logs
}
