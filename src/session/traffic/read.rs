//! Reads batches of `flows` into records, spread over buckets so that the records of a conversation meet in one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, AsArray, DictionaryArray, RecordBatch, StringArray, StringViewArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result};

use super::choice::{Choice, Chooses};
use super::flow::{Address, Direction, Flow, NONE, Numbered, Pool, RecorderIds, Text, Traits};
use super::hash::{self, Map, Set};
use super::input::{Column, Columns, INPUT, Typed, parse_address};
use super::witness::{Sightings, forwards};
use crate::topology::History;

/// A power of two. A day of four million records makes buckets of 16,000, which the second-level cache holds while they are sorted.
pub(super) const BUCKETS: usize = 256;

/// Records of a chunk: 20 kB, so that what half-filled chunks waste is little and what they leave is used again.
const CHUNK: usize = 256;

/// Addresses that a reader has at hand: half a megabyte.
const RECENT: usize = 1 << 16;

/// The records of some conversations, as they were read.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) chunks: Vec<Vec<Flow>>,
    /// The addresses as the interface saw them (`srcaddr`, `dstaddr`), of those rows where they are not the packet's.
    pub(super) seen: Vec<(u32, [Address; 2])>,
    len: usize,
}

impl Bucket {
    fn push(&mut self, flow: Flow) {
        self.len += 1;
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(flow),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(flow);
                self.chunks.push(chunk);
            }
        }
    }
}

/// What one stream of a scan reads.
pub(super) struct Reader {
    pool: Arc<Mutex<Pool>>,
    history: Arc<History>,
    pub(super) chooses: Chooses,
    pub(super) buckets: Vec<Bucket>,
    pub(super) sightings: Sightings,
    /// Interfaces that hand on packets of others.
    pub(super) forwarding: Set<Text>,
    /// Of each object the fields that its records have, as bits.
    pub(super) fields: Map<Text, u8>,
    texts: HashMap<Box<str>, Text, hash::Seeded>,
    /// Addresses that were looked up lately, by hash.
    recent: Vec<(u32, Address)>,
    recorders: Map<RecorderIds, u32>,
    traits: Map<Traits, u32>,
    /// The latest recorder of each interface.
    latest: Vec<Option<(RecorderIds, u32)>>,
    /// Of each column of [`INPUT`] the dictionary that it had last.
    dictionaries: [Option<Dictionary>; INPUT.len()],
}

/// What the values of a file's dictionary are to us.
struct Dictionary {
    values: StringArray,
    /// By place; [`UNKNOWN`] until the value occurs.
    numbers: Vec<u32>,
}

/// A value that has not been looked up.
const UNKNOWN: u32 = NONE - 1;

impl Dictionary {
    /// Whether these are the same values in the same place: held by us, they can't have made way for others.
    fn is_of(&self, values: &StringArray) -> bool {
        self.values.len() == values.len()
            && self.values.value_data().as_ptr() == values.value_data().as_ptr()
            && self.values.value_offsets().as_ptr() == values.value_offsets().as_ptr()
    }
}

fn locked(pool: &Mutex<Pool>) -> MutexGuard<'_, Pool> {
    // Each entry of a pool is whole in itself.
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wrong_type(column: &str, data_type: &DataType) -> DataFusionError {
    DataFusionError::Internal(format!(
        "column `{column}` of `flows` has the type {data_type}"
    ))
}

impl Reader {
    pub(super) fn new(pool: Arc<Mutex<Pool>>, history: Arc<History>, choice: Choice) -> Self {
        Self {
            chooses: Chooses::new(choice, &pool),
            pool,
            history,
            buckets: (0..BUCKETS).map(|_| Bucket::default()).collect(),
            sightings: Sightings::default(),
            forwarding: Set::default(),
            fields: Map::default(),
            texts: HashMap::default(),
            recent: Vec::new(),
            recorders: Map::default(),
            traits: Map::default(),
            latest: Vec::new(),
            dictionaries: [const { None }; INPUT.len()],
        }
    }

    /// Takes the records of a batch that are to be read. It has columns of [`INPUT`]; those that it lacks are NULL.
    ///
    /// # Errors
    /// Fails if a column has another type than the schema of `flows` says.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut columns = self.columns(batch)?;
        let mut rows = batch.num_rows();
        if let Some(chosen) = self.chooses.rows(&columns, rows) {
            columns = columns.taken(&chosen)?;
            rows = chosen.len();
        }
        self.append(&columns, rows);
        Ok(())
    }

    /// Appends records.
    pub(super) fn append(&mut self, columns: &Columns, rows: usize) {
        let mut last_traits: Option<(Traits, u32)> = None;
        let mut last_fields: Option<(Text, u8)> = None;
        for row in 0..rows {
            let action = columns.action(row);
            let ids = columns.recorder_ids(row);
            let recorder = self.recorder(ids);
            let own = Traits {
                source: columns.number(Column::Source, row),
                reject_reason: columns.number(Column::RejectReason, row),
                src_service: columns.number(Column::PktSrcAwsService, row),
                dst_service: columns.number(Column::PktDstAwsService, row),
                next_hop_type: columns.number(Column::NextHopInterfaceType, row),
                traffic_path: columns.int(Column::TrafficPath, row),
            };
            let traits = match last_traits {
                Some((known, traits)) if known == own => traits,
                _ => self.traits(own),
            };
            last_traits = Some((own, traits));
            let (seen, packet) = (columns.seen_ends(row), columns.packet_ends(row));
            let direction = columns.direction(row);
            let numbers = columns.counts(row);
            let has = u8::from(ids.vpc_id != NONE)
                | u8::from(ids.subnet_id != NONE) << 1
                | u8::from(ids.region != NONE) << 2
                | u8::from(numbers.tcp_flags.is_some()) << 3
                | u8::from(direction != Direction::Unknown) << 4;
            if last_fields != Some((own.source, has)) {
                *self.fields.entry(own.source).or_default() |= has;
                last_fields = Some((own.source, has));
            }
            let start = columns.start(row);
            let flow = Flow::new(
                (start, columns.end(row).max(start)),
                (packet[0], packet[1]),
                numbers,
                (action, direction),
                (recorder, traits),
            );
            if direction == Direction::Unknown {
                let (pool, history) = (&self.pool, &self.history);
                self.sightings.saw(ids.interface_id, seen, |id| {
                    let pool = locked(pool);
                    pool.texts.get(id).is_none_or(|id| {
                        let mut networks = history.networks();
                        networks.any(|network| network.interface(id).is_some())
                    })
                });
            }
            let bucket = &mut self.buckets[bucket_of(&flow)];
            if packet != seen {
                let index =
                    u32::try_from(bucket.len).expect("fewer than 2^32 records fit in memory");
                bucket.seen.push((index, seen));
                if !self.forwarding.contains(&ids.interface_id)
                    && forwards(direction, seen, packet, &locked(&self.pool).addresses)
                {
                    self.forwarding.insert(ids.interface_id);
                }
            }
            bucket.push(flow);
        }
    }

    /// The columns of a batch, with texts and addresses as their numbers.
    fn columns(&mut self, batch: &RecordBatch) -> Result<Columns> {
        let mut columns = Columns::default();
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let Some(column) = INPUT.iter().position(|name| name == field.name()) else {
                continue;
            };
            columns.0[column] = if array.null_count() == array.len() {
                Typed::Nothing
            } else if let Some(texts) = array.as_dictionary_opt::<Int32Type>() {
                Typed::Numbers(self.of_dictionary(column, texts)?)
            } else if let Some(texts) = array.as_string_view_opt() {
                Typed::Numbers(self.of_views(column, texts))
            } else if let Some(numbers) = array.as_primitive_opt::<Int32Type>() {
                Typed::Int(numbers.clone())
            } else if let Some(numbers) = array.as_primitive_opt::<Int64Type>() {
                Typed::Long(numbers.clone())
            } else if let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>() {
                Typed::Long(times.reinterpret_cast())
            } else {
                return Err(wrong_type(field.name(), array.data_type()));
            };
        }
        Ok(columns)
    }

    /// The numbers of a column's values. A file's dictionary is looked up once, and only those of its values that occur.
    fn of_dictionary(
        &mut self,
        column: usize,
        array: &DictionaryArray<Int32Type>,
    ) -> Result<Vec<u32>> {
        let values = array
            .values()
            .as_string_opt::<i32>()
            .ok_or_else(|| wrong_type(INPUT[column], array.data_type()))?;
        let known = self.dictionaries[column].take();
        let mut known = match known {
            Some(known) if known.is_of(values) => known,
            _ => Dictionary {
                values: values.clone(),
                numbers: vec![UNKNOWN; values.len()],
            },
        };
        let keys = array.keys();
        let mut numbers = Vec::with_capacity(array.len());
        let mut missing = false;
        for (row, &key) in keys.values().iter().enumerate() {
            let number = if keys.is_null(row) {
                NONE
            } else {
                // Keys of a dictionary are its places.
                known.numbers[key.cast_unsigned() as usize]
            };
            missing |= number == UNKNOWN;
            numbers.push(number);
        }
        if missing {
            for (number, &key) in numbers.iter_mut().zip(keys.values()) {
                if *number == UNKNOWN {
                    let slot = &mut known.numbers[key.cast_unsigned() as usize];
                    if *slot == UNKNOWN {
                        *slot = self.number(column, values.value(key.cast_unsigned() as usize));
                    }
                    *number = *slot;
                }
            }
        }
        self.dictionaries[column] = Some(known);
        Ok(numbers)
    }

    /// The numbers of a column's values. Neighbours are often the same, and equal texts of a batch often stand in the same place.
    fn of_views(&mut self, column: usize, array: &StringViewArray) -> Vec<u32> {
        const SLOTS: usize = 1024;
        let mut recent: Vec<Option<(u128, u32)>> = vec![None; SLOTS];
        let mut numbers = Vec::with_capacity(array.len());
        for (row, &view) in array.views().iter().enumerate() {
            if array.is_null(row) {
                numbers.push(NONE);
                continue;
            }
            #[expect(clippy::cast_possible_truncation, reason = "the bits of a hash")]
            let slot = hash::mix(view as u64, (view >> 64) as u64) as usize % SLOTS;
            let number = match recent[slot] {
                Some((known, number)) if known == view => number,
                _ => self.number(column, array.value(row)),
            };
            recent[slot] = Some((view, number));
            numbers.push(number);
        }
        numbers
    }

    /// The number of a value in a column: of an address, of one of few words, or of a text.
    pub(super) fn number(&mut self, column: usize, value: &str) -> u32 {
        const ADDRESSES: [usize; 4] = [
            Column::Srcaddr as usize,
            Column::Dstaddr as usize,
            Column::PktSrcaddr as usize,
            Column::PktDstaddr as usize,
        ];
        if ADDRESSES.contains(&column) {
            return match parse_address(value) {
                Some(IpAddr::V4(address)) => self.v4_number(address),
                Some(address) => locked(&self.pool).addresses.intern(address),
                None => NONE,
            };
        }
        for (of_words, words) in [
            (Column::Action, ["ACCEPT", "REJECT"]),
            (Column::FlowDirection, ["ingress", "egress"]),
        ] {
            if column == of_words as usize {
                let place = (0..).zip(words).find(|(_, word)| *word == value);
                return place.map_or(NONE, |(place, _)| place);
            }
        }
        if let Some(&text) = self.texts.get(value) {
            return text;
        }
        let text = locked(&self.pool).texts.intern(value);
        self.texts.insert(value.into(), text);
        text
    }

    /// The number of an address. Every row group names the same ones again, and others look them up at the same time.
    fn v4_number(&mut self, address: Ipv4Addr) -> Address {
        let bits = address.to_bits();
        #[expect(clippy::cast_possible_truncation, reason = "the bits of a hash")]
        let slot = hash::mix(hash::seed(), bits.into()) as usize % RECENT;
        if self.recent.is_empty() {
            self.recent.resize(RECENT, (0, NONE));
        }
        let (known, number) = &mut self.recent[slot];
        if *known != bits || *number == NONE {
            *known = bits;
            *number = locked(&self.pool).addresses.intern(address.into());
        }
        *number
    }

    fn recorder(&mut self, ids: RecorderIds) -> u32 {
        let slot = ids.interface_id.wrapping_add(1) as usize;
        if let Some(Some((known, recorder))) = self.latest.get(slot)
            && *known == ids
        {
            return *recorder;
        }
        let recorder = lookup(&mut self.recorders, ids, &self.pool, |pool| {
            &mut pool.recorders
        });
        if self.latest.len() <= slot {
            self.latest.resize(slot + 1, None);
        }
        self.latest[slot] = Some((ids, recorder));
        recorder
    }

    fn traits(&mut self, own: Traits) -> u32 {
        lookup(&mut self.traits, own, &self.pool, |pool| &mut pool.traits)
    }
}

/// A number that this reader knows, else that all readers share.
fn lookup<T: Copy + Eq + std::hash::Hash>(
    known: &mut Map<T, u32>,
    value: T,
    pool: &Mutex<Pool>,
    of: impl FnOnce(&mut Pool) -> &mut Numbered<T>,
) -> u32 {
    *known
        .entry(value)
        .or_insert_with(|| of(&mut locked(pool)).intern(value))
}

/// The same for both directions of a conversation, wherever it was recorded: by its ports, since an end may have several addresses.
fn bucket_of(flow: &Flow) -> usize {
    let (src, dst) = flow.ports();
    let [one, other] = [src.min(dst), src.max(dst)].map(|port| u64::from(port.cast_unsigned()));
    let hash = hash::mix(hash::seed(), one << 32 | other);
    // Not the bits that a map would use.
    usize::try_from(hash >> 40).unwrap_or(0) % BUCKETS
}
