//! Operations and violations as text.

use std::fmt::Debug;

use super::search::{Effect, Entry, Window};
use super::{Call, Operation};

/// The most operations that are shown: those that began last, and the one that can't be explained.
const LINES_MAX: usize = 40;

/// One operation: `c1 [4..9] Upsert(3, 17) -> Value(None)`.
pub(super) fn of_operation<K: Debug, V: Debug>(operation: &Operation<K, V>) -> String {
    let Operation { client, call, invoked, answered } = operation;
    match answered {
        Some((returned, answer)) => format!("c{client} [{invoked}..{returned}] {call:?} -> {answer:?}"),
        None => format!("c{client} [{invoked}..] {call:?} -> nothing yet"),
    }
}

/// The operations on `key` that no order explains, one a line.
pub(super) fn of_window<K: Debug, V: Debug>(key: &K, entries: &[Entry<'_, K, V>], window: &Window) -> String {
    let before = match window.is_free {
        true => "whatever it held before",
        false => "from the start of the history",
    };
    let mut lines =
        vec![format!("key {key:?}: no order of these operations explains their answers, {before}")];
    let hidden = window.entries.len().saturating_sub(LINES_MAX);
    if hidden > 0 {
        lines.push(format!("  ({hidden} operations began before the last {LINES_MAX})"));
    }
    for (place, index) in window.entries.iter().enumerate() {
        let is_culprit = *index == window.culprit;
        if place >= hidden || is_culprit {
            let mark = if is_culprit { "  <- the first that can't be explained" } else { "" };
            lines.push(format!("  {}{mark}", of_entry(key, &entries[*index])));
        }
    }
    lines.join("\n")
}

fn of_entry<K: Debug, V: Debug>(key: &K, entry: &Entry<'_, K, V>) -> String {
    let shown = match &entry.effect {
        Effect::Read(Some(value)) => format!("shows {key:?} = {value:?}"),
        _ => format!("does not show {key:?}"),
    };
    let Some(operation) = entry.operation else { return format!("the scan at the end {shown}") };
    match (&operation.call, operation.answered.as_ref()) {
        (Call::Scan(..) | Call::ScanReverse(..) | Call::First | Call::Last, Some((returned, _))) => {
            format!("c{} [{}..{returned}] {:?} {shown}", operation.client, operation.invoked, operation.call)
        }
        _ => of_operation(operation),
    }
}
