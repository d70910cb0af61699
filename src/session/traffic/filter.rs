//! Filters that a record answers by itself, so that no column need be written for those that fail.

use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::columns::{Cheap, Ends, Which, action, cheap, initiator};
use super::flow::{Direction, Flow, NONE, Text};
use super::world::EndTexts;

/// One of the texts of an end.
type TextOf = fn(&EndTexts) -> Text;

/// A filter in the form that records are tested with. As in SQL, a record passes only what is true of it.
#[derive(Clone)]
pub(super) enum Test {
    Flag(fn(&Flow) -> bool, bool),
    /// A time in microseconds: start or end.
    Time(fn(&Flow) -> i64, Operator, i64),
    Word(fn(&Flow) -> Option<&'static str>, Words),
    Action(Words),
    Initiator(Words),
    Scope(Which, Words),
    IsSet(Which, TextOf),
    /// Both are set and differ, or are the same.
    Pair([(Which, TextOf); 2], bool),
    Any(Vec<Test>),
}

/// What a word may be.
#[derive(Clone)]
pub(super) enum Words {
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Words {
    fn allow(&self, word: Option<&str>) -> bool {
        let Some(word) = word else { return false };
        match self {
            Self::In(words) => words.iter().any(|allowed| allowed == word),
            Self::NotIn(words) => words.iter().all(|other| other != word),
        }
    }
}

impl Test {
    /// The test of a filter; `None` where only columns can answer it.
    pub(super) fn of(filter: &Expr) -> Option<Self> {
        match filter {
            Expr::Column(column) => flag(column, true),
            Expr::Not(inner) => match inner.as_ref() {
                Expr::Column(column) => flag(column, false),
                _ => None,
            },
            Expr::IsNotNull(inner) => match inner.as_ref() {
                Expr::Column(column) => match cheap(&column.name)? {
                    Cheap::Action => Some(Self::Action(Words::NotIn(Vec::new()))),
                    Cheap::Word(of) => Some(Self::Word(of, Words::NotIn(Vec::new()))),
                    Cheap::Scope(which) => Some(Self::Scope(which, Words::NotIn(Vec::new()))),
                    Cheap::OfEnd(which, of) => Some(Self::IsSet(which, of)),
                    _ => None,
                },
                _ => None,
            },
            Expr::InList(InList {
                expr,
                list,
                negated,
            }) => {
                let Expr::Column(column) = expr.as_ref() else {
                    return None;
                };
                let words = list.iter().map(text).collect::<Option<Vec<_>>>()?;
                worded(column, words, *negated)
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                match (left.as_ref(), op, right.as_ref()) {
                    (left, Operator::Or, right) => {
                        Some(Self::Any(vec![Self::of(left)?, Self::of(right)?]))
                    }
                    (Expr::Column(one), Operator::Eq | Operator::NotEq, Expr::Column(other)) => {
                        match (cheap(&one.name)?, cheap(&other.name)?) {
                            (Cheap::OfEnd(one, of_one), Cheap::OfEnd(other, of_other)) => Some(
                                Self::Pair([(one, of_one), (other, of_other)], *op == Operator::Eq),
                            ),
                            _ => None,
                        }
                    }
                    (Expr::Column(column), op, value @ Expr::Literal(..)) => {
                        Self::compared(column, *op, value)
                    }
                    (value @ Expr::Literal(..), op, Expr::Column(column)) => {
                        Self::compared(column, op.swap()?, value)
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn compared(column: &Column, op: Operator, value: &Expr) -> Option<Self> {
        if let Expr::Literal(ScalarValue::TimestampMicrosecond(Some(at), _), _) = value {
            let known = matches!(
                op,
                Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
            );
            let of: fn(&Flow) -> i64 = match cheap(&column.name)? {
                Cheap::Start => |flow| flow.start,
                Cheap::End => |flow| flow.end,
                _ => return None,
            };
            return known.then_some(Self::Time(of, op, *at));
        }
        match op {
            Operator::Eq => worded(column, vec![text(value)?], false),
            Operator::NotEq => worded(column, vec![text(value)?], true),
            _ => None,
        }
    }

    pub(super) fn passes(&self, flow: &Flow, ends: &impl Ends) -> bool {
        match self {
            Self::Flag(of, wanted) => of(flow) == *wanted,
            Self::Time(of, op, at) => {
                let time = of(flow);
                match op {
                    Operator::Lt => time < *at,
                    Operator::LtEq => time <= *at,
                    Operator::Gt => time > *at,
                    _ => time >= *at,
                }
            }
            Self::Word(of, words) => words.allow(of(flow)),
            Self::Action(words) => words.allow(action(flow)),
            Self::Initiator(words) => words.allow(initiator(flow)),
            Self::Scope(which, words) => words.allow(which.scope(flow, ends)),
            Self::IsSet(which, of) => which.text(*of, flow, ends) != NONE,
            Self::Pair([(one, of_one), (other, of_other)], same) => {
                let one = one.text(*of_one, flow, ends);
                let other = other.text(*of_other, flow, ends);
                one != NONE && other != NONE && (one == other) == *same
            }
            Self::Any(tests) => tests.iter().any(|test| test.passes(flow, ends)),
        }
    }

    /// Whether nothing but rejected records passes.
    pub(super) fn is_of_rejected(&self) -> bool {
        match self {
            Self::Action(Words::In(words)) => words.iter().all(|word| word == "REJECT"),
            _ => false,
        }
    }

    /// Whether a record may pass once its conversation is settled, which says who opened it, what is late and what counts. Not for
    /// records at NAT gateways, whose ends may change.
    pub(super) fn may_pass(&self, flow: &Flow, ends: &impl Ends) -> bool {
        let either = |which: Which, allows: &dyn Fn(Which) -> bool| match which {
            Which::Client | Which::Server => allows(Which::Src) || allows(Which::Dst),
            known => allows(known),
        };
        match self {
            Self::Flag(..) | Self::Initiator(_) => true,
            Self::Time(..) | Self::Word(..) | Self::Action(_) => self.passes(flow, ends),
            Self::Scope(which, words) => {
                either(*which, &|which| words.allow(which.scope(flow, ends)))
            }
            Self::IsSet(which, of) => either(*which, &|which| which.text(*of, flow, ends) != NONE),
            Self::Pair([(one, of_one), (other, of_other)], _) => {
                either(*one, &|which| which.text(*of_one, flow, ends) != NONE)
                    && either(*other, &|which| which.text(*of_other, flow, ends) != NONE)
            }
            Self::Any(tests) => tests.iter().any(|test| test.may_pass(flow, ends)),
        }
    }

    /// Whether a record out on the internet side of a NAT gateway may pass, or one that takes over its far end: of which nothing else
    /// is known.
    pub(super) fn may_pass_from_nat(&self, flow: &Flow, ends: &impl Ends) -> bool {
        match self {
            Self::Pair([(_, of_one), (_, of_other)], _) => {
                let far = if flow.direction == Direction::Egress {
                    Which::Dst
                } else {
                    Which::Src
                };
                far.text(*of_one, flow, ends) != NONE || far.text(*of_other, flow, ends) != NONE
            }
            Self::Any(tests) => tests.iter().any(|test| test.may_pass_from_nat(flow, ends)),
            _ => true,
        }
    }
}

fn flag(column: &Column, wanted: bool) -> Option<Test> {
    match cheap(&column.name)? {
        Cheap::Flag(of) => Some(Test::Flag(of, wanted)),
        _ => None,
    }
}

fn worded(column: &Column, words: Vec<String>, negated: bool) -> Option<Test> {
    let words = if negated {
        Words::NotIn(words)
    } else {
        Words::In(words)
    };
    match cheap(&column.name)? {
        Cheap::Word(of) => Some(Test::Word(of, words)),
        Cheap::Action => Some(Test::Action(words)),
        Cheap::Initiator => Some(Test::Initiator(words)),
        Cheap::Scope(which) => Some(Test::Scope(which, words)),
        _ => None,
    }
}

fn text(value: &Expr) -> Option<String> {
    match value {
        Expr::Literal(
            ScalarValue::Utf8View(Some(text))
            | ScalarValue::Utf8(Some(text))
            | ScalarValue::LargeUtf8(Some(text)),
            _,
        ) => Some(text.clone()),
        _ => None,
    }
}
