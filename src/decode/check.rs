//! Whether the values of a field that nobody asks for fit it: what is a good line does not depend on the question.

use crate::decode::field::Rule;
use crate::decode::plain::{Plain, Token};
use crate::decode::value::{is_address, micros, number};

impl Plain<'_> {
    /// Whether each value of a field is missing or fits a rule. Nothing is kept of them, so most need not even be read.
    pub(crate) fn fit(&self, position: usize, rule: Rule) -> bool {
        match rule {
            // Any text will do; of the status all was seen when the lines were found to be plain.
            Rule::Text | Rule::Tag | Rule::Unknown | Rule::Status => true,
            Rule::Address => self.all(position, |token| {
                token.is_ipv4() || token.is_missing() || is_address(token.bytes())
            }),
            Rule::Account | Rule::Action => {
                // Mostly the same again.
                let mut last = None;
                self.all(position, |token| {
                    let is_known = token.len() <= 16 && last == Some((token.len(), token.head()));
                    is_known || {
                        last = Some((token.len(), token.head()));
                        token.is_missing() || rule.admits(token.bytes())
                    }
                })
            }
            Rule::Port | Rule::Byte | Rule::Int32 | Rule::Int64 | Rule::Epoch => {
                let safe = safe_digits(rule);
                self.all(position, |token| {
                    token.len() <= safe && token.is_digits()
                        || token.is_missing()
                        || number(token.bytes()).is_some_and(|number| is_within(rule, number))
                })
            }
        }
    }

    #[inline]
    fn all(&self, position: usize, mut fits: impl FnMut(Token<'_>) -> bool) -> bool {
        // No early end: nearly always all fit, and a loop that only counts is quicker.
        let misfits = self.column(position).filter(|token| !fits(*token));
        misfits.count() == 0
    }
}

/// So many digits are within the rule whatever they are.
fn safe_digits(rule: Rule) -> usize {
    match rule {
        Rule::Port => 4,
        Rule::Byte => 2,
        Rule::Int32 => 9,
        Rule::Epoch => 14,
        _ => 16,
    }
}

fn is_within(rule: Rule, number: i64) -> bool {
    match rule {
        Rule::Epoch => micros(number).is_some(),
        rule => number <= rule.most(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [Rule; 5] = [
        Rule::Port,
        Rule::Byte,
        Rule::Int32,
        Rule::Int64,
        Rule::Epoch,
    ];

    #[test]
    fn so_many_digits_are_safe_and_one_more_is_not() {
        for rule in RULES {
            let nines = |digits: usize| number("9".repeat(digits).as_bytes());
            let fits = |digits| nines(digits).is_some_and(|number| is_within(rule, number));
            assert!((1..=safe_digits(rule)).all(fits), "{rule:?}");
            assert!(
                safe_digits(rule) == 16 || !fits(safe_digits(rule) + 1),
                "{rule:?}"
            );
        }
    }
}
