//! The part of a filter that says which values a row must have: what bloom filters and dictionaries can answer.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, InListExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};

/// A value as Parquet keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(Vec<u8>),
    Int(i32),
    Long(i64),
}

impl Value {
    /// `None` for what is never stored, or stored in another way than its type tells.
    fn of(value: &ScalarValue) -> Option<Self> {
        match value {
            ScalarValue::Utf8(Some(text))
            | ScalarValue::Utf8View(Some(text))
            | ScalarValue::LargeUtf8(Some(text)) => Some(Self::Text(text.as_bytes().to_vec())),
            ScalarValue::Int32(Some(number)) => Some(Self::Int(*number)),
            ScalarValue::Int64(Some(number)) => Some(Self::Long(*number)),
            _ => None,
        }
    }
}

/// A row passes only if its column has one of the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OneOf {
    pub(super) column: String,
    pub(super) values: Vec<Value>,
}

/// What a filter demands of a row, as far as it is about values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    OneOf(OneOf),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

/// A term of a filter, and what it demands.
#[derive(Debug, Clone)]
pub(super) struct Term {
    pub(super) filter: Arc<dyn PhysicalExpr>,
    /// Every row that passes the term meets it; `None` where it is not about values.
    pub(super) condition: Option<Condition>,
    /// Whether every row that meets the condition passes the term.
    pub(super) is_exact: bool,
}

/// The terms of a filter, all of which a row must pass.
pub(super) fn terms(filter: &Arc<dyn PhysicalExpr>) -> Vec<Term> {
    let term = |filter: &Arc<dyn PhysicalExpr>| {
        let (condition, is_exact) = demanded(filter);
        Term {
            filter: Arc::clone(filter),
            condition,
            is_exact,
        }
    };
    split_conjunction(filter).into_iter().map(term).collect()
}

/// What a filter demands, and whether that is all it demands.
///
/// There is no negation in it, so that a comparison with NULL, which a row never passes, is one that it never meets.
fn demanded(filter: &Arc<dyn PhysicalExpr>) -> (Option<Condition>, bool) {
    let nothing = (None, false);
    if let Some(list) = filter.downcast_ref::<InListExpr>() {
        return match (list.negated(), one_of(list.expr(), list.list())) {
            (false, Some(one_of)) => (Some(Condition::OneOf(one_of)), true),
            _ => nothing,
        };
    }
    let Some(binary) = filter.downcast_ref::<BinaryExpr>() else {
        return nothing;
    };
    let (left, right) = (binary.left(), binary.right());
    match binary.op() {
        Operator::Eq => match one_of(left, std::slice::from_ref(right))
            .or_else(|| one_of(right, std::slice::from_ref(left)))
        {
            Some(one_of) => (Some(Condition::OneOf(one_of)), true),
            None => nothing,
        },
        Operator::And => match (demanded(left), demanded(right)) {
            ((Some(left), is_left), (Some(right), is_right)) => {
                (Some(Condition::All(vec![left, right])), is_left && is_right)
            }
            ((Some(one), _), (None, _)) | ((None, _), (Some(one), _)) => (Some(one), false),
            ((None, _), (None, _)) => nothing,
        },
        Operator::Or => match (demanded(left), demanded(right)) {
            ((Some(left), is_left), (Some(right), is_right)) => {
                (Some(Condition::Any(vec![left, right])), is_left && is_right)
            }
            // What may pass by the other way may have any value.
            _ => nothing,
        },
        _ => nothing,
    }
}

fn one_of(column: &Arc<dyn PhysicalExpr>, values: &[Arc<dyn PhysicalExpr>]) -> Option<OneOf> {
    let column = column.downcast_ref::<Column>()?.name().to_owned();
    let mut known = Vec::with_capacity(values.len());
    for value in values {
        let value = value.downcast_ref::<Literal>()?.value();
        if !value.is_null() {
            known.push(Value::of(value)?);
        }
    }
    Some(OneOf {
        column,
        values: known,
    })
}
