//! Which records of a slice are read.

use std::sync::{Arc, Mutex};

use super::company::Company;
use super::flow::Pool;
use super::input::{Column, Columns};
use super::possible::{Chooser, Possible};

/// Which records of a slice are read.
#[derive(Debug, Clone)]
pub(super) enum Choice {
    All,
    Rejected,
    /// Records that were not rejected, of the conversations of those that were.
    CompanyOfRejected(Arc<Company>),
    /// Records that may be in the answer.
    Possible(Arc<Possible>),
    /// Records that can't be, of ends that those that can share.
    CompanyOfPossible(Arc<Possible>, Arc<Company>),
}

/// Columns that tell which records have the same ends.
const ENDS: [Column; 6] = [
    Column::Srcaddr,
    Column::Dstaddr,
    Column::PktSrcaddr,
    Column::PktDstaddr,
    Column::Srcport,
    Column::Dstport,
];

/// One reader's way to choose.
pub(super) struct Chooses {
    choice: Choice,
    chooser: Option<Chooser>,
    pool: Arc<Mutex<Pool>>,
}

impl Chooses {
    pub(super) fn new(choice: Choice, pool: &Arc<Mutex<Pool>>) -> Self {
        let chooser = match &choice {
            Choice::Possible(possible) | Choice::CompanyOfPossible(possible, _) => {
                Some(Chooser::new(possible))
            }
            _ => None,
        };
        Self {
            choice,
            chooser,
            pool: Arc::clone(pool),
        }
    }

    /// The columns that tell; none where all records are read.
    pub(super) fn asks(&self) -> Vec<Column> {
        let ends = |more: &[Column]| ENDS.iter().chain(more).copied().collect();
        match &self.choice {
            Choice::All => Vec::new(),
            Choice::Rejected => vec![Column::Action],
            Choice::CompanyOfRejected(company) if company.has_interfaces() => {
                ends(&[Column::Action, Column::InterfaceId])
            }
            Choice::CompanyOfRejected(_) => ends(&[Column::Action]),
            Choice::Possible(_) | Choice::CompanyOfPossible(..) => {
                ends(&[Column::InterfaceId, Column::Protocol])
            }
        }
    }

    /// Takes note of all interfaces of the rows that come; whether a choice among them need not look at their interfaces.
    pub(super) fn interfaces(&mut self, ids: Option<&[&str]>) -> bool {
        let Some(chooser) = &mut self.chooser else {
            return false;
        };
        chooser.knows_all = ids.is_some_and(|ids| ids.iter().all(|id| chooser.knows(id)));
        chooser.knows_all
    }

    /// The rows to be read, in order; `None` for all.
    pub(super) fn rows(&mut self, columns: &Columns, rows: usize) -> Option<Vec<u32>> {
        let chosen: Vec<bool> = match &self.choice {
            Choice::All => return None,
            Choice::Rejected => (0..rows).map(|row| columns.is_rejected(row)).collect(),
            Choice::CompanyOfRejected(company) => {
                let mut chosen = of_company(company, columns, rows);
                let interfaces = columns.numbers(Column::InterfaceId);
                for (chosen, interface) in chosen.iter_mut().zip(interfaces) {
                    *chosen |= company.has_interface(*interface);
                }
                for (row, chosen) in chosen.iter_mut().enumerate() {
                    *chosen &= !columns.is_rejected(row);
                }
                chosen
            }
            Choice::Possible(_) => self.possible(columns, rows)?,
            Choice::CompanyOfPossible(_, company) => {
                let company = of_company(company, columns, rows);
                let possible = self.possible(columns, rows)?;
                let company = company.into_iter().zip(possible);
                company
                    .map(|(is, is_possible)| is && !is_possible)
                    .collect()
            }
        };
        let chosen = (0..).zip(chosen);
        Some(chosen.filter_map(|(row, is)| is.then_some(row)).collect())
    }

    fn possible(&mut self, columns: &Columns, rows: usize) -> Option<Vec<bool>> {
        let chooser = self.chooser.as_mut()?;
        Some(chooser.may_be(columns, rows, &self.pool))
    }
}

/// Of each of some records, whether it is one of a company by its ends.
fn of_company(company: &Company, columns: &Columns, rows: usize) -> Vec<bool> {
    let [src_ports, dst_ports] =
        [Column::Srcport, Column::Dstport].map(|column| columns.ints(column, rows));
    let (src, dst) = (
        columns.packet_sources(rows),
        columns.packet_destinations(rows),
    );
    let is = |row: usize| {
        let (src_port, dst_port) = (src_ports[row], dst_ports[row]);
        company.may_be(src_port, dst_port) && company.is((src[row], src_port), (dst[row], dst_port))
    };
    (0..rows).map(is).collect()
}
