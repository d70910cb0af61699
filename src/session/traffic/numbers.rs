//! Filters that ask for one small number, a port or a protocol: answered once for each number there is, not for each row.

use std::iter;
use std::sync::Arc;

use arrow::array::{Int32Array, RecordBatch};
use datafusion::catalog::Session;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;

use super::columns::SCHEMA;
use super::input::NO_INT;

/// A column of `traffic` that has few values, and the last of them; the first is 0.
type Few = (&'static str, i32);

/// The port of the server.
pub(super) const SERVICE_PORT: Few = ("service_port", 65535);

/// The protocol by its number.
pub(super) const PROTOCOL: Few = ("protocol", 255);

/// Whether a filter asks for such a column and nothing else.
pub(super) fn asks_only(filter: &Expr, (column, _): Few) -> bool {
    let columns = filter.column_refs();
    !filter.is_volatile() && columns.len() == 1 && columns.iter().all(|asked| asked.name == column)
}

/// The numbers that pass.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Numbers {
    /// Of NULL, then of each number from 0 on, whether it passes.
    passing: Vec<bool>,
}

impl Numbers {
    /// What passes those of some filters that ask for one column only; `None` if there are no such filters.
    ///
    /// # Errors
    /// When a filter can't be evaluated.
    pub(super) fn of(state: &dyn Session, filters: &[Expr], few: Few) -> Result<Option<Self>> {
        let (column, last) = few;
        let asking = filters.iter().filter(|filter| asks_only(filter, few));
        let Some(filter) = conjunction(asking.cloned()) else {
            return Ok(None);
        };
        let schema = Arc::new(SCHEMA.project(&[SCHEMA.index_of(column)?])?);
        let of_column = DFSchema::try_from(schema.as_ref().clone())?;
        let filter = state.create_physical_expr(filter, &of_column)?;
        let numbers: Int32Array = iter::once(None).chain((0..=last).map(Some)).collect();
        let rows = numbers.len();
        let batch = RecordBatch::try_new(schema, vec![Arc::new(numbers)])?;
        let passing = filter.evaluate(&batch)?.into_array(rows)?;
        let passing = as_boolean_array(&passing)?;
        Ok(Some(Self {
            passing: passing.iter().map(|passes| passes == Some(true)).collect(),
        }))
    }

    /// Whether a number passes; [`NO_INT`] is NULL. What nobody expects may.
    pub(super) fn may_pass(&self, number: i32) -> bool {
        let place = if number == NO_INT {
            0
        } else {
            usize::try_from(number).map_or(usize::MAX, |number| number + 1)
        };
        self.passing.get(place).copied().unwrap_or(true)
    }

    /// Whether any number from `first` on passes.
    pub(super) fn any_from(&self, first: usize) -> bool {
        self.passing[first + 1..].contains(&true)
    }
}
