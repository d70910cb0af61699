//! Sets of rows of a row group.

use std::ops::Range;

/// Rows in order, as ranges that neither touch nor overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rows {
    ranges: Vec<Range<usize>>,
}

impl Rows {
    pub(super) fn ranges(&self) -> &[Range<usize>] {
        &self.ranges
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.ranges.iter().map(ExactSizeIterator::len).sum()
    }

    /// Adds rows that come after all others.
    pub(super) fn push(&mut self, rows: Range<usize>) {
        debug_assert!(self.ranges.last().is_none_or(|last| last.end <= rows.start));
        match self.ranges.last_mut() {
            _ if rows.is_empty() => {}
            Some(last) if last.end == rows.start => last.end = rows.end,
            _ => self.ranges.push(rows),
        }
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        let (mut one, mut two) = (
            self.ranges.iter().peekable(),
            other.ranges.iter().peekable(),
        );
        let mut union = Self::default();
        while let Some(next) = match (one.peek(), two.peek()) {
            (Some(first), Some(second)) if second.start < first.start => two.next(),
            (Some(_), _) => one.next(),
            (None, _) => two.next(),
        } {
            match union.ranges.last_mut() {
                Some(last) if next.start <= last.end => last.end = last.end.max(next.end),
                _ => union.ranges.push(next.clone()),
            }
        }
        union
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        let (mut one, mut two) = (&self.ranges[..], &other.ranges[..]);
        let mut intersection = Self::default();
        while let ([first, after_first @ ..], [second, after_second @ ..]) = (one, two) {
            intersection.push(
                first.start.max(second.start)
                    ..first.end.min(second.end).max(first.start.max(second.start)),
            );
            if first.end <= second.end {
                one = after_first;
            } else {
                two = after_second;
            }
        }
        intersection
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn rows(of: &BTreeSet<usize>) -> Rows {
        let mut rows = Rows::default();
        of.iter().for_each(|row| rows.push(*row..*row + 1));
        rows
    }

    proptest! {
        #[test]
        fn are_sets(one in prop::collection::btree_set(0_usize..60, 0..40), two in prop::collection::btree_set(0_usize..60, 0..40)) {
            prop_assert_eq!(rows(&one).union(&rows(&two)), rows(&(&one | &two)));
            prop_assert_eq!(rows(&one).intersection(&rows(&two)), rows(&(&one & &two)));
            prop_assert_eq!(rows(&one).count(), one.len());
        }
    }
}
