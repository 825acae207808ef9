//! What the checkers that compare two histories share: when two histories can be compared, and how their ends differ.

use std::collections::BTreeMap;

use super::timeline::{Outcome, Timeline};
use super::{Checker, Violation};
use crate::text::{BytesText, ValueText};
use crate::{Event, History, Key, Value, digest_pairs};

/// Two histories that start alike and end well.
#[derive(Debug)]
pub(super) struct Pair<'h> {
    checker: Checker,
    pub(super) first: Timeline<'h>,
    pub(super) second: Timeline<'h>,
}

/// A key at which two states differ, with what each holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Difference<'h> {
    pub(super) key: &'h [u8],
    pub(super) first: Option<&'h [u8]>,
    pub(super) second: Option<&'h [u8]>,
}

impl<'h> Pair<'h> {
    /// Reads both, and verifies that neither crashes or fails, that every transaction has an outcome, that both start
    /// with the same state and end with an opening.
    pub(super) fn new(
        checker: Checker,
        first: &'h History,
        second: &'h History,
    ) -> Result<Pair<'h>, Violation> {
        let pair = Pair { checker, first: Timeline::new(first)?, second: Timeline::new(second)? };
        for (name, timeline) in [("first", &pair.first), ("second", &pair.second)] {
            if let Some((step, why)) = incomparable(timeline) {
                return Err(pair.not_comparable(step, format!("the {name} history {why}")));
            }
        }
        if start(first) != start(second) {
            return Err(pair.not_comparable(0, "the histories start with different states".to_owned()));
        }
        Ok(pair)
    }

    /// The verdict that these histories are not ones to compare.
    pub(super) fn not_comparable(&self, step: usize, message: String) -> Violation {
        self.violation("not-comparable", step, message)
    }

    pub(super) fn violation(&self, kind: &'static str, step: usize, message: String) -> Violation {
        Violation { checker: self.checker, kind, step, message }
    }

    /// Compares the final states; `explain` says what led to a difference.
    pub(super) fn compare_ends(
        &self,
        explain: impl FnOnce(&Difference<'h>) -> String,
    ) -> Result<(), Violation> {
        let (first, second) = (end(self.first.history), end(self.second.history));
        let Some(difference) = first_difference(first, second) else { return Ok(()) };
        let text =
            |value: Option<&[u8]>| value.map_or("none".to_owned(), |value| ValueText(value).to_string());
        let digests =
            [first, second].map(|state| digest_pairs(state.iter().map(|(key, value)| (key, value))));
        let message = format!(
            "{} ends as {} in the first history and as {} in the second; {}; digests {} and {}",
            BytesText(difference.key),
            text(difference.first),
            text(difference.second),
            explain(&difference),
            digests[0],
            digests[1],
        );
        let step = self.second.history.events.len().saturating_sub(1);
        Err(self.violation("different-state", step, message))
    }
}

fn incomparable(timeline: &Timeline<'_>) -> Option<(usize, &'static str)> {
    let events = &timeline.history.events;
    for (step, event) in events.iter().enumerate() {
        match event {
            Event::Crash { .. } => return Some((step, "crashes")),
            Event::Failed { .. } => return Some((step, "has a failure")),
            Event::Restore { .. } => return Some((step, "goes back to a mark")),
            _ => {}
        }
    }
    if let Some(open) = timeline.transactions.iter().find(|open| open.outcome == Outcome::Unknown) {
        return Some((open.begin, "has a transaction without an outcome"));
    }
    match events.last() {
        Some(Event::Opened { .. }) => None,
        _ => Some((events.len().saturating_sub(1), "does not end with an opening")),
    }
}

/// The state that the first event of a history gives.
fn start(history: &History) -> &[(Key, Value)] {
    match history.events.first() {
        Some(Event::Opened { state, .. }) if history.events.len() > 1 => state,
        _ => &[],
    }
}

fn end(history: &History) -> &[(Key, Value)] {
    match history.events.last() {
        Some(Event::Opened { state, .. }) => state,
        _ => &[],
    }
}

fn first_difference<'h>(first: &'h [(Key, Value)], second: &'h [(Key, Value)]) -> Option<Difference<'h>> {
    if first == second {
        return None;
    }
    let mut held: BTreeMap<&[u8], Difference<'h>> = BTreeMap::new();
    for (key, value) in first {
        let fresh = Difference { key, first: None, second: None };
        held.entry(key).or_insert(fresh).first = Some(value);
    }
    for (key, value) in second {
        let fresh = Difference { key, first: None, second: None };
        held.entry(key).or_insert(fresh).second = Some(value);
    }
    held.into_values().find(|difference| difference.first != difference.second)
}
