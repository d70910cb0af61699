//! Which rows of a row group can pass a filter that names values: asked of ever more of the file, until the answer is known.
//!
//! ```text
//! statistics ─> bloom filters ─> dictionaries ─> dictionary indices
//! (footer)      (64 KiB each)    (exact)         (the very rows)
//! ```
//!
//! What each of them rules out is not read any further. A row that passes is never ruled out; what is left may hold others.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use parquet::arrow::async_reader::AsyncFileReader;
use parquet::basic::{LogicalType, Type};
use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescriptor;

use super::chunk::{self, InDictionary, Parts};
use super::condition::{Condition, OneOf, Term, Value};
use super::reader::Reader;
use super::rows::Rows;

/// Of a dictionary's entries, one in this many may be wanted: what more rows have is found faster by reading them all.
const WANTED_ENTRIES: usize = 32;

/// Of a row group's rows, one in this many may be chosen: to skip from row to row has its price too.
const CHOSEN_ROWS: usize = 32;

/// Which rows of a row group may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Access {
    /// None does.
    None,
    /// Any may.
    All,
    /// Those that pass are among these. `decided` are the terms that all of them pass, by their place.
    Some { rows: Rows, decided: Vec<usize> },
}

/// What is known of the rows that meet a condition.
#[derive(Debug, Clone)]
enum Known {
    Nothing,
    Rows { rows: Rows, is_exact: bool },
    Anything,
}

/// A condition with the place of each column in the file.
#[derive(Debug)]
enum Node {
    Leaf(usize),
    All(Vec<Node>),
    Any(Vec<Node>),
}

/// A column and the values that are wanted of it.
#[derive(Debug)]
struct Leaf {
    column: usize,
    values: Vec<Value>,
}

/// A filter's demands on one file.
#[derive(Debug)]
pub(super) struct Lookup {
    leaves: Vec<Leaf>,
    /// By the place of the term in the filter.
    terms: Vec<(usize, Node, bool)>,
}

/// How many row groups each of the means ruled out, and what is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) by_statistics: usize,
    pub(super) by_bloom_filter: usize,
    pub(super) by_dictionary: usize,
    pub(super) by_indices: usize,
    pub(super) left: usize,
    pub(super) rows: usize,
    pub(super) rows_left: usize,
}

impl Lookup {
    /// `None` where nothing can be looked up in a file of such columns.
    pub(super) fn new(terms: &[Term], footer: &ParquetMetaData) -> Option<Self> {
        let mut leaves = Vec::new();
        let mut found = Vec::new();
        for (place, term) in terms.iter().enumerate() {
            if let Some(node) =
                (term.condition.as_ref()).and_then(|condition| node(condition, footer, &mut leaves))
            {
                found.push((place, node, term.is_exact));
            }
        }
        (!found.is_empty()).then_some(Self {
            leaves,
            terms: found,
        })
    }

    /// Which rows of some row groups may pass, each with its number. What had to be read is left in `parts`.
    pub(super) async fn access(
        &self,
        reader: &mut Reader,
        footer: &ParquetMetaData,
        row_groups: &[usize],
        parts: &mut Parts,
        counts: &mut Counts,
    ) -> Result<Vec<(usize, Access)>, ParquetError> {
        let mut known: BTreeMap<usize, Vec<Known>> = BTreeMap::new();
        for &number in row_groups {
            let group = footer.row_group(number);
            let of_leaf = |leaf: &Leaf| match is_out_of_bounds(group.column(leaf.column), leaf) {
                true => Known::Nothing,
                false => Known::Anything,
            };
            known.insert(number, self.leaves.iter().map(of_leaf).collect());
        }
        let rule_out = |known: &mut BTreeMap<usize, Vec<Known>>, count: &mut usize| {
            let before = known.len();
            known.retain(|_, leaves| !self.is_ruled_out(leaves));
            *count += before - known.len();
        };
        rule_out(&mut known, &mut counts.by_statistics);

        self.ask_bloom_filters(reader, footer, &mut known).await?;
        rule_out(&mut known, &mut counts.by_bloom_filter);

        let mut answer = Vec::with_capacity(known.len());
        for (number, mut leaves) in known {
            let group = footer.row_group(number);
            let mut read = Parts::default();
            let access = self
                .in_row_group(reader, group, &mut leaves, &mut read, counts)
                .await?;
            let rows = usize::try_from(group.num_rows()).unwrap_or(usize::MAX);
            counts.rows += rows;
            match &access {
                Access::None => continue,
                Access::All => counts.rows_left += rows,
                Access::Some { rows, .. } => counts.rows_left += rows.count(),
            }
            counts.left += 1;
            parts.extend(read);
            answer.push((number, access));
        }
        Ok(answer)
    }

    /// Reads the filters of all row groups at once.
    async fn ask_bloom_filters(
        &self,
        reader: &mut Reader,
        footer: &ParquetMetaData,
        known: &mut BTreeMap<usize, Vec<Known>>,
    ) -> Result<(), ParquetError> {
        let mut wanted: BTreeMap<(usize, usize), Range<u64>> = BTreeMap::new();
        for (&group, leaves) in known.iter() {
            for (leaf, _) in self.open(leaves) {
                if let Some(range) = bloom_filter_range(footer.row_group(group).column(leaf.column))
                {
                    wanted.insert((group, leaf.column), range);
                }
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let read = reader
            .get_byte_ranges(wanted.values().cloned().collect())
            .await?;
        for (((group, column), range), bytes) in wanted.into_iter().zip(read) {
            let mut part = Parts::default();
            part.add(range.start, bytes);
            let filter =
                Sbbf::read_from_column_chunk(footer.row_group(group).column(column), &part)?;
            let (Some(filter), Some(leaves)) = (filter, known.get_mut(&group)) else {
                continue;
            };
            for (leaf, known) in self.leaves.iter().zip(leaves) {
                if leaf.column == column
                    && !leaf.values.iter().any(|value| may_have(&filter, value))
                {
                    *known = Known::Nothing;
                }
            }
        }
        Ok(())
    }

    async fn in_row_group(
        &self,
        reader: &mut Reader,
        group: &RowGroupMetaData,
        leaves: &mut [Known],
        parts: &mut Parts,
        counts: &mut Counts,
    ) -> Result<Access, ParquetError> {
        // A bloom filter that has let a value pass is right 99 times of 100: read the whole column. Without one, the dictionary first.
        let mut columns: Vec<usize> = self.open(leaves).map(|(leaf, _)| leaf.column).collect();
        columns.sort_unstable();
        columns.dedup();
        let first = columns.iter().filter_map(|&column| {
            let column = group.column(column);
            let dictionary = chunk::dictionary_range(column)?;
            match bloom_filter_range(column) {
                Some(_) => Some(whole(column)),
                None => Some(dictionary),
            }
        });
        let first: Vec<Range<u64>> = first.collect();
        read(reader, first, parts).await?;
        let shared = Arc::new(parts.clone());
        let mut dictionaries: Vec<Option<InDictionary>> = vec![None; leaves.len()];
        for (index, leaf) in self.leaves.iter().enumerate() {
            let column = group.column(leaf.column);
            if !matches!(leaves[index], Known::Anything)
                || chunk::dictionary_range(column).is_none()
            {
                continue;
            }
            dictionaries[index] = chunk::look_up(&shared, column, &leaf.values)?;
            if let Some(found) = &dictionaries[index]
                && found.wanted.is_empty()
                && chunk::is_all_in_dictionary(column)
            {
                leaves[index] = Known::Nothing;
            }
        }
        drop(shared);
        if self.is_ruled_out(leaves) {
            counts.by_dictionary += 1;
            return Ok(Access::None);
        }

        let is_few = |found: &&InDictionary| found.wanted.len() * WANTED_ENTRIES <= found.size;
        let few = |index: usize, leaves: &[Known]| {
            matches!(leaves[index], Known::Anything)
                .then(|| dictionaries[index].as_ref().filter(is_few))
                .flatten()
        };
        if !self.would_choose(&|leaf| {
            few(leaf, leaves).is_some() || matches!(leaves[leaf], Known::Nothing)
        }) {
            return Ok(Access::All);
        }
        let second = (0..leaves.len()).filter_map(|index| {
            few(index, leaves)?;
            let column = group.column(self.leaves[index].column);
            let data = chunk::dictionary_range(column)?.end..whole(column).end;
            parts.get(&data).is_none().then_some(data)
        });
        let mut second: Vec<Range<u64>> = second.collect();
        second.sort_unstable_by_key(|range| range.start);
        second.dedup();
        read(reader, second, parts).await?;
        let num_rows = usize::try_from(group.num_rows()).unwrap_or(usize::MAX);
        let shared = Arc::new(parts.clone());
        for index in 0..leaves.len() {
            if let Some(found) = few(index, leaves) {
                let column = group.column(self.leaves[index].column);
                let found = chunk::find(&shared, column, num_rows, &found.wanted)?;
                leaves[index] = if found.rows.is_empty() {
                    Known::Nothing
                } else {
                    Known::Rows {
                        rows: found.rows,
                        is_exact: found.is_exact,
                    }
                };
                if self.is_ruled_out(leaves) {
                    counts.by_indices += 1;
                    return Ok(Access::None);
                }
            }
        }
        Ok(self.chosen(leaves, num_rows, counts))
    }

    fn chosen(&self, leaves: &[Known], num_rows: usize, counts: &mut Counts) -> Access {
        let mut chosen: Option<Rows> = None;
        let mut decided = Vec::new();
        for (place, node, is_exact_term) in &self.terms {
            match of(node, leaves) {
                Known::Nothing => chosen = Some(Rows::default()),
                Known::Anything => {}
                Known::Rows { rows, is_exact } => {
                    if is_exact && *is_exact_term {
                        decided.push(*place);
                    }
                    chosen = Some(match chosen {
                        Some(others) => others.intersection(&rows),
                        None => rows,
                    });
                }
            }
        }
        match chosen {
            Some(rows) if rows.is_empty() => {
                counts.by_indices += 1;
                Access::None
            }
            Some(rows) if rows.count() <= num_rows / CHOSEN_ROWS => Access::Some { rows, decided },
            _ => Access::All,
        }
    }

    /// The leaves that nothing is known of.
    fn open<'a>(&'a self, known: &'a [Known]) -> impl Iterator<Item = (&'a Leaf, usize)> {
        let open = self.leaves.iter().zip(known).enumerate();
        open.filter_map(|(index, (leaf, known))| {
            matches!(known, Known::Anything).then_some((leaf, index))
        })
    }

    fn is_ruled_out(&self, leaves: &[Known]) -> bool {
        let mut terms = self.terms.iter();
        terms.any(|(_, node, _)| matches!(of(node, leaves), Known::Nothing))
    }

    /// Whether rows are chosen, if those leaves that are `told` tell theirs.
    fn would_choose(&self, told: &dyn Fn(usize) -> bool) -> bool {
        fn tells(node: &Node, told: &dyn Fn(usize) -> bool) -> bool {
            match node {
                Node::Leaf(leaf) => told(*leaf),
                Node::All(nodes) => nodes.iter().any(|node| tells(node, told)),
                Node::Any(nodes) => nodes.iter().all(|node| tells(node, told)),
            }
        }
        self.terms.iter().any(|(_, node, _)| tells(node, told))
    }
}

fn node(condition: &Condition, footer: &ParquetMetaData, leaves: &mut Vec<Leaf>) -> Option<Node> {
    let some = |conditions: &[Condition], leaves: &mut Vec<Leaf>| -> Vec<Option<Node>> {
        conditions
            .iter()
            .map(|condition| node(condition, footer, leaves))
            .collect()
    };
    match condition {
        Condition::OneOf(OneOf { column, values }) => {
            let columns = footer.file_metadata().schema_descr().columns();
            let place = columns
                .iter()
                .position(|found| found.path().parts() == [column.as_str()])?;
            if !values
                .iter()
                .all(|value| is_of_type(value, &columns[place]))
            {
                return None;
            }
            leaves.push(Leaf {
                column: place,
                values: values.clone(),
            });
            Some(Node::Leaf(leaves.len() - 1))
        }
        Condition::All(conditions) => {
            let nodes: Vec<Node> = some(conditions, leaves).into_iter().flatten().collect();
            (!nodes.is_empty()).then_some(Node::All(nodes))
        }
        Condition::Any(conditions) => {
            let nodes = some(conditions, leaves).into_iter().collect::<Option<_>>();
            nodes.map(Node::Any)
        }
    }
}

/// Whether a column keeps such values as they are.
fn is_of_type(value: &Value, column: &ColumnDescriptor) -> bool {
    let kind = column.logical_type_ref();
    let is_number = |bits| match kind {
        None => true,
        Some(LogicalType::Integer(kind)) => kind.bit_width == bits && kind.is_signed,
        Some(_) => false,
    };
    match value {
        Value::Text(_) => {
            column.physical_type() == Type::BYTE_ARRAY && matches!(kind, Some(LogicalType::String))
        }
        Value::Int(_) => column.physical_type() == Type::INT32 && is_number(32),
        Value::Long(_) => column.physical_type() == Type::INT64 && is_number(64),
    }
}

fn of(node: &Node, leaves: &[Known]) -> Known {
    match node {
        Node::Leaf(leaf) => leaves[*leaf].clone(),
        Node::All(nodes) => {
            let both = |one: Known, other: Known| match (one, other) {
                (Known::Nothing, _) | (_, Known::Nothing) => Known::Nothing,
                (Known::Anything, Known::Anything) => Known::Anything,
                (Known::Rows { rows, .. }, Known::Anything)
                | (Known::Anything, Known::Rows { rows, .. }) => Known::Rows {
                    rows,
                    is_exact: false,
                },
                (
                    Known::Rows {
                        rows: one,
                        is_exact: is_one,
                    },
                    Known::Rows {
                        rows: other,
                        is_exact: is_other,
                    },
                ) => {
                    let rows = one.intersection(&other);
                    if rows.is_empty() {
                        Known::Nothing
                    } else {
                        Known::Rows {
                            rows,
                            is_exact: is_one && is_other,
                        }
                    }
                }
            };
            let known = nodes.iter().map(|node| of(node, leaves));
            known.reduce(both).unwrap_or(Known::Anything)
        }
        Node::Any(nodes) => {
            let either = |one: Known, other: Known| match (one, other) {
                (Known::Anything, _) | (_, Known::Anything) => Known::Anything,
                (Known::Nothing, known) | (known, Known::Nothing) => known,
                (
                    Known::Rows {
                        rows: one,
                        is_exact: is_one,
                    },
                    Known::Rows {
                        rows: other,
                        is_exact: is_other,
                    },
                ) => Known::Rows {
                    rows: one.union(&other),
                    is_exact: is_one && is_other,
                },
            };
            let known = nodes.iter().map(|node| of(node, leaves));
            known.reduce(either).unwrap_or(Known::Nothing)
        }
    }
}

async fn read(
    reader: &mut Reader,
    ranges: Vec<Range<u64>>,
    parts: &mut Parts,
) -> Result<(), ParquetError> {
    if ranges.is_empty() {
        return Ok(());
    }
    let read = reader.get_byte_ranges(ranges.clone()).await?;
    ranges
        .into_iter()
        .zip(read)
        .for_each(|(range, bytes)| parts.add(range.start, bytes));
    Ok(())
}

fn whole(column: &ColumnChunkMetaData) -> Range<u64> {
    let (start, length) = column.byte_range();
    start..start + length
}

fn bloom_filter_range(column: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let start = u64::try_from(column.bloom_filter_offset()?).ok()?;
    let length = u64::try_from(column.bloom_filter_length()?).ok()?;
    Some(start..start + length)
}

fn may_have(filter: &Sbbf, value: &Value) -> bool {
    match value {
        Value::Text(text) => filter.check(text),
        Value::Int(number) => filter.check(number),
        Value::Long(number) => filter.check(number),
    }
}

/// Whether a column's bounds exclude every value.
fn is_out_of_bounds(column: &ColumnChunkMetaData, leaf: &Leaf) -> bool {
    let statistics = column.statistics();
    let Some(statistics) = statistics.filter(|bounds| !bounds.is_min_max_deprecated()) else {
        return false;
    };
    leaf.values.iter().all(|value| match (value, statistics) {
        (Value::Text(text), Statistics::ByteArray(bounds)) => {
            // Bounds that were cut are still bounds.
            let (min, max) = (bounds.min_bytes_opt(), bounds.max_bytes_opt());
            min.is_some_and(|min| text.as_slice() < min)
                || max.is_some_and(|max| text.as_slice() > max)
        }
        (Value::Int(number), Statistics::Int32(bounds)) => {
            bounds.min_opt().is_some_and(|min| number < min)
                || bounds.max_opt().is_some_and(|max| number > max)
        }
        (Value::Long(number), Statistics::Int64(bounds)) => {
            bounds.min_opt().is_some_and(|min| number < min)
                || bounds.max_opt().is_some_and(|max| number > max)
        }
        _ => false,
    })
}
