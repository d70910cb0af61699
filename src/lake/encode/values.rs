//! The values of one column of a row group, each distinct one once where that is shorter.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use parquet::bloom_filter::Sbbf;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::statistics::{Statistics, ValueStatistics};

use super::hybrid;
use crate::batch::{Dictionary, Interner, keyed};
use crate::lake::stats::{Side, cut};

/// Bounds of texts are cut to this many characters, as parquet-rs and Spark do: long ones are names, and their beginnings say enough.
const MAX_BOUND_CHARS: usize = 64;

/// Bounds of the texts of a page need the order of all, which is worked out up to this many. More are addresses, in no order in a page.
const MAX_ORDERED: usize = 4096;

/// False positives of a bloom filter.
const BLOOM_FPP: f64 = 0.01;

/// The values that are there, without nulls.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) distinct: Distinct,
    /// For each row with a value the place of it in `distinct`; without keys the values stand there row by row.
    pub(super) keys: Option<Vec<u32>>,
}

/// Values of one type.
#[derive(Debug)]
pub(super) enum Distinct {
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Text(Texts),
}

/// Texts, and, where they are few, their order.
#[derive(Debug)]
pub(super) struct Texts {
    texts: Dictionary,
    order: Option<Order>,
}

/// Which text has which place in the order of all, and the other way round.
#[derive(Debug)]
struct Order {
    ranks: Vec<u32>,
    keys: Vec<u32>,
}

/// The least and the largest of some values, as statistics have them.
pub(super) struct Bounds {
    pub(super) min: Vec<u8>,
    pub(super) max: Vec<u8>,
    /// Whether they are values, and not only below and above all.
    pub(super) is_exact: bool,
}

impl Values {
    /// Gathers the values of arrays of one type: numbers, times, or texts with keys.
    pub(super) fn gather(arrays: &[ArrayRef], data_type: &DataType) -> Result<Self, ParquetError> {
        // Most columns of most formats have no values at all.
        let has_values = |array: &&ArrayRef| array.null_count() < array.len();
        let arrays: Vec<&ArrayRef> = arrays.iter().filter(has_values).collect();
        let arrays = arrays.as_slice();
        Ok(match data_type {
            DataType::Int32 => numbers::<Int32Type>(arrays, Steps::Ones, Distinct::Int32),
            DataType::Int64 => numbers::<Int64Type>(arrays, Steps::Ones, Distinct::Int64),
            DataType::Timestamp(..) => {
                numbers::<TimestampMicrosecondType>(arrays, Steps::Seconds, Distinct::Int64)
            }
            DataType::Dictionary(..) => texts(arrays),
            other => {
                let message = format!("a column of {other} has no place in a lake");
                return Err(ParquetError::General(message));
            }
        })
    }

    /// How many rows have a value.
    pub(super) fn len(&self) -> usize {
        self.keys
            .as_ref()
            .map_or_else(|| self.distinct.len(), Vec::len)
    }
}

/// Numbers up to this far above the least one are looked up by place: all ports, the seconds of an interval, most counters.
const BY_PLACE: u64 = 1 << 16;

/// What numbers of a column mostly differ by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Steps {
    Ones,
    /// They are microseconds, and times are whole seconds nearly always.
    Seconds,
}

/// A number as its distance from the least one of its column.
trait Number: Copy + Ord {
    /// The distance in steps, which take the numbers apart whatever they are.
    fn steps_above(self, least: Self, steps: Steps) -> u64;
}

impl Number for i32 {
    #[inline]
    fn steps_above(self, least: Self, _: Steps) -> u64 {
        u64::from(self.wrapping_sub(least).cast_unsigned())
    }
}

impl Number for i64 {
    #[inline]
    fn steps_above(self, least: Self, steps: Steps) -> u64 {
        let distance = self.wrapping_sub(least).cast_unsigned();
        if steps == Steps::Ones {
            return distance;
        }
        // Whole seconds one by one, whatever is between them far behind.
        let (seconds, rest) = (distance / MICROS, distance % MICROS);
        if rest == 0 {
            seconds
        } else {
            distance | 1 << 63
        }
    }
}

const MICROS: u64 = 1_000_000;

fn numbers<T: ArrowPrimitiveType<Native: Number>>(
    arrays: &[&ArrayRef],
    steps: Steps,
    distinct: impl Fn(Vec<T::Native>) -> Distinct,
) -> Values {
    const UNKNOWN: u32 = u32::MAX;
    let present = || arrays.iter().map(|array| array.as_primitive::<T>());
    let total = present()
        .map(|array| array.len() - array.null_count())
        .sum();
    let least = present()
        .filter_map(|array| arrow::compute::min(array))
        .min();
    let least = least.unwrap_or_default();
    let mut keys: Vec<u32> = Vec::with_capacity(total);
    let mut values: Vec<T::Native> = Vec::new();
    let mut by_place = vec![UNKNOWN; usize::try_from(BY_PLACE).unwrap_or_default()];
    let mut others = Interner::<u64>::new();
    let mut take = |value: T::Native| {
        let next = u32::try_from(values.len()).unwrap_or(UNKNOWN - 1);
        let place = value.steps_above(least, steps);
        match by_place.get_mut(usize::try_from(place).unwrap_or(usize::MAX)) {
            Some(key) => {
                if *key == UNKNOWN {
                    *key = next;
                    values.push(value);
                }
                *key
            }
            None => {
                let key = others.get_or_insert(place, || {
                    values.push(value);
                    Some(next)
                });
                key.unwrap_or(next)
            }
        }
    };
    for array in present() {
        if array.null_count() == 0 {
            keys.extend(array.values().iter().map(|value| take(*value)));
        } else {
            keys.extend(array.iter().flatten().map(&mut take));
        }
    }
    let bytes = size_of::<T::Native>();
    let with_keys = values.len() * bytes + total * hybrid::width_of(values.len()) as usize / 8;
    if with_keys < total * bytes {
        return Values {
            distinct: distinct(values),
            keys: Some(keys),
        };
    }
    let mut all = Vec::with_capacity(total);
    for array in present() {
        if array.null_count() == 0 {
            all.extend_from_slice(array.values());
        } else {
            all.extend(array.iter().flatten());
        }
    }
    Values {
        distinct: distinct(all),
        keys: None,
    }
}

/// Joins the dictionaries of the arrays: each distinct text is looked up once, and only if a row has it.
fn texts(arrays: &[&ArrayRef]) -> Values {
    const UNKNOWN: u32 = u32::MAX;
    let mut texts = Dictionary::new();
    let total = arrays
        .iter()
        .map(|array| array.len() - array.null_count())
        .sum();
    let mut keys = Vec::with_capacity(total);
    let mut bytes = 0;
    for array in arrays {
        let array = keyed(array);
        let distinct = array.values().as_string::<i32>();
        let mut known = vec![UNKNOWN; distinct.len()];
        let mut take = |key: u32| {
            let known = &mut known[key as usize];
            if *known == UNKNOWN {
                *known = texts.intern(distinct.value(key as usize).as_bytes());
            }
            *known
        };
        if array.null_count() == 0 {
            keys.extend(array.keys().values().iter().map(|key| take(*key)));
        } else {
            keys.extend(array.keys().iter().flatten().map(&mut take));
        }
        if distinct.len() * 2 > array.len() {
            let lengths = array.keys().iter().flatten();
            bytes += lengths
                .map(|key| distinct.value(key as usize).len() + size_of::<u32>())
                .sum::<usize>();
        }
    }
    let with_keys = texts.text_bytes()
        + texts.len() * size_of::<u32>()
        + keys.len() * hybrid::width_of(texts.len()) as usize / 8;
    if bytes > 0 && with_keys > bytes {
        let mut all = Dictionary::new();
        for key in &keys {
            all.push(texts.get(*key));
        }
        let texts = Texts {
            texts: all,
            order: None,
        };
        return Values {
            distinct: Distinct::Text(texts),
            keys: None,
        };
    }
    let order = (texts.len() <= MAX_ORDERED).then(|| Order::of(&texts));
    Values {
        distinct: Distinct::Text(Texts { texts, order }),
        keys: Some(keys),
    }
}

impl Order {
    fn of(texts: &Dictionary) -> Self {
        let mut keys: Vec<u32> = (0..).take(texts.len()).collect();
        keys.sort_unstable_by(|one, other| texts.get(*one).cmp(texts.get(*other)));
        let mut ranks = vec![0; texts.len()];
        for (rank, key) in (0..).zip(&keys) {
            ranks[*key as usize] = rank;
        }
        Self { ranks, keys }
    }
}

impl Distinct {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Int32(values) => values.len(),
            Self::Int64(values) => values.len(),
            Self::Text(values) => values.texts.len(),
        }
    }

    /// Appends values in Parquet's plain encoding.
    pub(super) fn write_plain(&self, range: std::ops::Range<usize>, out: &mut Vec<u8>) {
        match self {
            Self::Int32(values) => values[range]
                .iter()
                .for_each(|value| out.extend_from_slice(&value.to_le_bytes())),
            Self::Int64(values) => values[range]
                .iter()
                .for_each(|value| out.extend_from_slice(&value.to_le_bytes())),
            Self::Text(values) => {
                for key in range {
                    let text = values.texts.get(u32::try_from(key).unwrap_or(u32::MAX));
                    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                    out.extend_from_slice(&length.to_le_bytes());
                    out.extend_from_slice(text);
                }
            }
        }
    }

    /// The bounds of some of the values; none if there are none, or if their order is not known.
    pub(super) fn bounds_of(&self, keys: &[u32]) -> Option<Bounds> {
        match self {
            Self::Int32(values) => number_bounds(keys.iter().map(|key| values[*key as usize])),
            Self::Int64(values) => number_bounds(keys.iter().map(|key| values[*key as usize])),
            Self::Text(values) => {
                let order = values.order.as_ref()?;
                let ranks = keys.iter().map(|key| order.ranks[*key as usize]);
                let (least, largest) = ends(ranks)?;
                let text = |rank: u32| values.texts.get(order.keys[rank as usize]);
                text_bounds(text(least), text(largest))
            }
        }
    }

    /// The bounds of a stretch of the values.
    pub(super) fn bounds(&self, range: std::ops::Range<usize>) -> Option<Bounds> {
        match self {
            Self::Int32(values) => number_bounds(values[range].iter().copied()),
            Self::Int64(values) => number_bounds(values[range].iter().copied()),
            Self::Text(values) => {
                let key = |key| u32::try_from(key).unwrap_or(u32::MAX);
                let (min, max) = ends(range.map(|at| values.texts.get(key(at))))?;
                text_bounds(min, max)
            }
        }
    }

    pub(super) fn statistics(&self, is_distinct: bool, nulls: usize) -> Statistics {
        let count = is_distinct.then_some(self.len() as u64);
        let nulls = Some(nulls as u64);
        match self {
            Self::Int32(values) => Statistics::Int32(ValueStatistics::new(
                values.iter().min().copied(),
                values.iter().max().copied(),
                count,
                nulls,
                false,
            )),
            Self::Int64(values) => Statistics::Int64(ValueStatistics::new(
                values.iter().min().copied(),
                values.iter().max().copied(),
                count,
                nulls,
                false,
            )),
            Self::Text(_) => {
                let bounds = self.bounds(0..self.len());
                let is_exact = bounds.as_ref().is_some_and(|bounds| bounds.is_exact);
                let (min, max) = bounds
                    .map(|bounds| (ByteArray::from(bounds.min), ByteArray::from(bounds.max)))
                    .unzip();
                Statistics::ByteArray(
                    ValueStatistics::new(min, max, count, nulls, false)
                        .with_min_is_exact(is_exact)
                        .with_max_is_exact(is_exact),
                )
            }
        }
    }

    /// A bloom filter of all values; none of numbers.
    pub(super) fn bloom_filter(&self) -> Result<Option<Sbbf>, ParquetError> {
        let Self::Text(values) = self else {
            return Ok(None);
        };
        let mut filter = Sbbf::new_with_ndv_fpp(self.len() as u64, BLOOM_FPP)?;
        for key in (0..).take(self.len()) {
            filter.insert(values.texts.get(key));
        }
        Ok(Some(filter))
    }
}

/// The least and the largest.
fn ends<T: Copy + Ord>(mut values: impl Iterator<Item = T>) -> Option<(T, T)> {
    let first = values.next()?;
    Some(values.fold((first, first), |(min, max), value| {
        (min.min(value), max.max(value))
    }))
}

fn number_bounds<N: Copy + Ord + ToBytes>(values: impl Iterator<Item = N>) -> Option<Bounds> {
    let (min, max) = ends(values)?;
    Some(Bounds {
        min: min.to_bytes(),
        max: max.to_bytes(),
        is_exact: true,
    })
}

trait ToBytes {
    fn to_bytes(self) -> Vec<u8>;
}

impl ToBytes for i32 {
    fn to_bytes(self) -> Vec<u8> {
        self.to_le_bytes().into()
    }
}

impl ToBytes for i64 {
    fn to_bytes(self) -> Vec<u8> {
        self.to_le_bytes().into()
    }
}

/// None where nothing is above the largest, once it is cut.
fn text_bounds(min: &[u8], max: &[u8]) -> Option<Bounds> {
    let cut_to = |text: &[u8], side| {
        if text.len() <= MAX_BOUND_CHARS {
            return Some(text.to_vec());
        }
        let text = std::str::from_utf8(text).ok()?;
        Some(cut(text.to_owned(), MAX_BOUND_CHARS, side)?.into_bytes())
    };
    let bounds = [cut_to(min, Side::Min)?, cut_to(max, Side::Max)?];
    let is_exact = bounds[0] == min && bounds[1] == max;
    let [min, max] = bounds;
    Some(Bounds { min, max, is_exact })
}
