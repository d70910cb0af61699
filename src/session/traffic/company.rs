//! What a scan for rejected records reads beside them: the other records of their conversations, which say who opened it, what is late
//! and what counts. Those are few of many, and are found by ports and addresses before anything else of a record is read.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int32Type, Schema};
use datafusion::common::{DataFusionError, Result};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ColumnarValue;

use super::conversation::is_open;
use super::flow::{Flow, NONE, Pool, socket};
use super::hash::{self, Set};
use super::read::{Reader, parse_address};
use crate::topology::{History, InterfaceKind};

/// Which records of a slice are read.
#[derive(Clone)]
pub(super) enum Choice {
    All,
    Rejected,
    /// Records that were not rejected, of the conversations of those that were.
    Company(Arc<Company>),
}

/// Bits for pairs of ports, as a power of two: they fit into a second-level cache.
const PAIRS: usize = 1 << 20;

/// What records are looked for.
pub(super) struct Company {
    pool: Arc<Mutex<Pool>>,
    /// Which pairs of ports the conversations have, by hash.
    pairs: Vec<u64>,
    /// The conversations, by hash.
    talks: Set<u64>,
    /// Ends whose ports do not tell who opened it: how many conversations they have does.
    ends: Set<u64>,
    end_ports: Set<i32>,
    /// Interfaces that the topology does not know: what they are all of their records tell.
    interfaces: Set<String>,
    dictionaries: Mutex<Vec<Translated>>,
}

/// A file's dictionary of addresses, as our numbers.
struct Translated {
    values: StringArray,
    addresses: Vec<u32>,
}

/// Dictionaries that are kept: of each address column in each stream.
const MOST_DICTIONARIES: usize = 16;

const UNTRANSLATED: u32 = NONE - 1;

fn pair(src_port: i32, dst_port: i32) -> usize {
    let (one, other) = (src_port.min(dst_port), src_port.max(dst_port));
    let ports = u64::from(one.cast_unsigned()) << 32 | u64::from(other.cast_unsigned());
    usize::try_from(hash::mix(hash::seed(), ports) >> 20).unwrap_or(0) % PAIRS
}

fn talk(src: u64, dst: u64) -> u64 {
    hash::mix(hash::mix(hash::seed(), src.min(dst)), src.max(dst))
}

impl Company {
    /// The company of the rejected records that readers have; `None` where only all records can tell.
    pub(super) fn of(
        readers: &[&[Reader]],
        pool: &Arc<Mutex<Pool>>,
        history: &History,
    ) -> Option<Self> {
        let mut company = Self {
            pool: Arc::clone(pool),
            pairs: vec![0; PAIRS / 64],
            talks: Set::default(),
            ends: Set::default(),
            end_ports: Set::default(),
            interfaces: Set::default(),
            dictionaries: Mutex::default(),
        };
        let pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
        // Of each recorder, the NAT gateway's interface that it is.
        let mut gateways = Vec::with_capacity(pool.recorders.values.len());
        for ids in &pool.recorders.values {
            let id = pool.texts.get(ids.interface_id)?;
            let mut known = history
                .networks()
                .filter_map(|network| network.interface(id))
                .peekable();
            if known.peek().is_none() {
                company.interfaces.insert(id.to_owned());
            }
            gateways.push(known.find(|interface| {
                matches!(
                    interface.kind(),
                    InterfaceKind::Nat | InterfaceKind::RegionalNat
                )
            }));
        }
        let buckets = readers
            .iter()
            .flat_map(|readers| readers.iter())
            .flat_map(|reader| &reader.buckets);
        for flow in buckets.flat_map(|bucket| bucket.chunks.iter().flatten()) {
            // What a gateway is refused on its way out is told apart by the records of its clients, under other addresses.
            if let Some(gateway) = gateways[flow.recorder as usize]
                && pool
                    .addresses
                    .get(flow.src)
                    .is_some_and(|src| gateway.owns(src))
            {
                return None;
            }
            company.add(flow);
        }
        drop(pool);
        Some(company)
    }

    fn add(&mut self, flow: &Flow) {
        let (src, dst) = flow.sockets();
        self.talks.insert(talk(src, dst));
        let (src_port, dst_port) = flow.ports();
        let pair = pair(src_port, dst_port);
        self.pairs[pair / 64] |= 1 << (pair % 64);
        if is_open(flow) {
            self.ends.extend([src, dst]);
            self.end_ports.extend([src_port, dst_port]);
        }
    }

    fn may_be(&self, src_port: i32, dst_port: i32) -> bool {
        let pair = pair(src_port, dst_port);
        self.pairs[pair / 64] & 1 << (pair % 64) != 0
            || !self.end_ports.is_empty()
                && (self.end_ports.contains(&src_port) || self.end_ports.contains(&dst_port))
    }

    fn is(&self, src: u64, dst: u64) -> bool {
        self.talks.contains(&talk(src, dst))
            || !self.ends.is_empty() && (self.ends.contains(&src) || self.ends.contains(&dst))
    }

    /// The numbers of a column's addresses; [`NONE`] for those that nobody has met.
    fn addresses(&self, array: &ArrayRef) -> Result<Vec<u32>> {
        if array.null_count() == array.len() {
            return Ok(vec![NONE; array.len()]);
        }
        let (texts, keys) = dictionary(array)?;
        let lock = || {
            self.dictionaries
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let known = {
            let mut dictionaries = lock();
            let known = dictionaries.iter().position(|known| {
                known.values.len() == texts.len()
                    && known.values.value_data().as_ptr() == texts.value_data().as_ptr()
                    && known.values.value_offsets().as_ptr() == texts.value_offsets().as_ptr()
            });
            known.map(|known| dictionaries.swap_remove(known))
        };
        let mut known = known.unwrap_or_else(|| Translated {
            values: texts.clone(),
            addresses: vec![UNTRANSLATED; texts.len()],
        });
        let mut pool = None;
        let mut numbers = Vec::with_capacity(array.len());
        for key in keys {
            let Some(key) = key else {
                numbers.push(NONE);
                continue;
            };
            // Keys of a dictionary are its places.
            let slot = &mut known.addresses[key.cast_unsigned() as usize];
            if *slot == UNTRANSLATED {
                let pool = pool.get_or_insert_with(|| {
                    self.pool.lock().unwrap_or_else(PoisonError::into_inner)
                });
                let address = parse_address(texts.value(key.cast_unsigned() as usize));
                *slot = address
                    .and_then(|address| pool.addresses.lookup(address))
                    .unwrap_or(NONE);
            }
            numbers.push(*slot);
        }
        drop(pool);
        let mut dictionaries = lock();
        if dictionaries.len() >= MOST_DICTIONARIES {
            dictionaries.swap_remove(0);
        }
        dictionaries.push(known);
        Ok(numbers)
    }
}

fn dictionary(
    array: &ArrayRef,
) -> Result<(&StringArray, &arrow::array::PrimitiveArray<Int32Type>)> {
    array
        .as_dictionary_opt::<Int32Type>()
        .and_then(|array| Some((array.values().as_string_opt::<i32>()?, array.keys())))
        .ok_or_else(|| {
            DataFusionError::Internal(format!("expected a dictionary, got {}", array.data_type()))
        })
}

/// Of each row, whether a text is one of some.
fn is_one(array: &ArrayRef, wanted: impl Fn(&str) -> bool) -> Result<Vec<bool>> {
    if array.null_count() == array.len() {
        return Ok(vec![false; array.len()]);
    }
    let (texts, keys) = dictionary(array)?;
    let chosen: Vec<bool> = texts.iter().map(|text| text.is_some_and(&wanted)).collect();
    let is = |key: Option<i32>| {
        key.is_some_and(|key| chosen.get(key.cast_unsigned() as usize) == Some(&true))
    };
    Ok(keys.iter().map(is).collect())
}

impl Choice {
    /// Filters that files are read with, the cheapest first: none for all records. `has` says which columns have values.
    pub(super) fn filters(
        &self,
        schema: &Schema,
        has: impl Fn(&str) -> bool,
    ) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        let on = |columns: &[&'static str], what: What| {
            let columns = columns
                .iter()
                .map(|name| {
                    let column = Column::new(name, schema.index_of(name)?);
                    Ok(Arc::new(column) as Arc<dyn PhysicalExpr>)
                })
                .collect::<Result<Vec<_>>>()?;
            Ok::<_, DataFusionError>(Arc::new(Chosen { what, columns }) as Arc<dyn PhysicalExpr>)
        };
        match self {
            Self::All => Ok(Vec::new()),
            Self::Rejected => Ok(vec![on(&["action"], What::Rejected)?]),
            Self::Company(company) => {
                let mut by_ports = vec!["action", "srcport", "dstport"];
                let mut by_ends = vec!["srcport", "dstport", "srcaddr", "dstaddr"];
                if has("pkt_srcaddr") || has("pkt_dstaddr") {
                    by_ends.extend(["pkt_srcaddr", "pkt_dstaddr"]);
                }
                if !company.interfaces.is_empty() {
                    by_ports.push("interface_id");
                    by_ends.push("interface_id");
                }
                Ok(vec![
                    on(&by_ports, What::Ports(Arc::clone(company)))?,
                    on(&by_ends, What::Ends(Arc::clone(company)))?,
                ])
            }
        }
    }
}

#[derive(Clone)]
enum What {
    Rejected,
    Ports(Arc<Company>),
    Ends(Arc<Company>),
}

impl What {
    fn choose(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<bool>> {
        let port = |column: usize, row: usize| {
            let ports = columns[column].as_primitive::<Int32Type>();
            if ports.is_valid(row) {
                ports.value(row)
            } else {
                i32::MIN
            }
        };
        let unknown = |company: &Company, column: Option<usize>| match column {
            Some(column) if !company.interfaces.is_empty() => {
                is_one(&columns[column], |id| company.interfaces.contains(id))
            }
            _ => Ok(Vec::new()),
        };
        match self {
            Self::Rejected => is_one(&columns[0], |action| action == "REJECT"),
            Self::Ports(company) => {
                let rejected = is_one(&columns[0], |action| action == "REJECT")?;
                let unknown = unknown(company, Some(3))?;
                let may_be = |row: usize| {
                    !rejected[row]
                        && (company.may_be(port(1, row), port(2, row))
                            || unknown.get(row) == Some(&true))
                };
                Ok((0..rows).map(may_be).collect())
            }
            Self::Ends(company) => {
                let seen = [2, 3].map(|column| company.addresses(&columns[column]));
                let [at_src, at_dst] = seen;
                let (at_src, at_dst) = (at_src?, at_dst?);
                let with_packet = columns.len() >= 6;
                let packet = if with_packet {
                    (
                        company.addresses(&columns[4])?,
                        company.addresses(&columns[5])?,
                    )
                } else {
                    Default::default()
                };
                let names = !company.interfaces.is_empty();
                let unknown = unknown(company, names.then(|| columns.len() - 1))?;
                let or = |packet: &[u32], column: usize, seen: u32, row: usize| {
                    // A packet's address that nobody has met is still the packet's.
                    if with_packet && columns[column].is_valid(row) {
                        packet[row]
                    } else {
                        seen
                    }
                };
                let is = |row: usize| {
                    let src = or(&packet.0, 4, at_src[row], row);
                    let dst = or(&packet.1, 5, at_dst[row], row);
                    unknown.get(row) == Some(&true)
                        || company.is(socket(src, port(0, row)), socket(dst, port(1, row)))
                };
                Ok((0..rows).map(is).collect())
            }
        }
    }
}

/// A filter of ours, as a file's reader takes it.
struct Chosen {
    what: What,
    columns: Vec<Arc<dyn PhysicalExpr>>,
}

impl fmt::Debug for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.what {
            What::Rejected => "rejected",
            What::Ports(_) => "ports of rejected",
            What::Ends(_) => "ends of rejected",
        })
    }
}

impl Chosen {
    fn number(&self) -> usize {
        match &self.what {
            What::Rejected => 0,
            What::Ports(company) => Arc::as_ptr(company) as usize,
            What::Ends(company) => Arc::as_ptr(company) as usize + 1,
        }
    }
}

impl PartialEq for Chosen {
    fn eq(&self, other: &Self) -> bool {
        self.number() == other.number() && self.columns == other.columns
    }
}

impl Eq for Chosen {}

impl Hash for Chosen {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number().hash(state);
        self.columns.hash(state);
    }
}

impl PhysicalExpr for Chosen {
    fn data_type(&self, _input_schema: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _input_schema: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = batch.num_rows();
        let columns = self
            .columns
            .iter()
            .map(|column| column.evaluate(batch)?.into_array(rows))
            .collect::<Result<Vec<_>>>()?;
        let chosen = self.what.choose(&columns, rows)?;
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(chosen))))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.columns.iter().collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self {
            what: self.what.clone(),
            columns: children,
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
