//! What the checkers' tests share: histories come as text, verdicts as checker, kind and step.

use super::{Checker, Violation, check};
use crate::History;

/// Parses a hand-written history.
pub(super) fn history(text: &str) -> History {
    text.parse().unwrap_or_else(|error| panic!("{error}\nin\n{text}"))
}

/// Asserts that nothing is wrong with a history.
pub(super) fn assert_accepted(text: &str) {
    if let Err(violation) = check(&history(text)) {
        panic!("{violation}\nin\n{text}");
    }
}

/// Asserts that this, and nothing before it, is wrong with a history; returns the message.
pub(super) fn assert_violation(text: &str, checker: Checker, kind: &str, step: usize) -> String {
    expect(check(&history(text)), checker, kind, step)
}

/// Asserts what a verdict is; returns the message.
pub(super) fn expect(verdict: Result<(), Violation>, checker: Checker, kind: &str, step: usize) -> String {
    let violation = verdict.expect_err("the history is wrong");
    assert_eq!((violation.checker, violation.kind, violation.step), (checker, kind, step), "{violation}");
    violation.message
}
