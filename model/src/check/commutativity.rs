//! Commutativity: independent transactions come to the same in either order.
//!
//! Given two histories of the same transactions in which only independent ones changed places, it verifies that every
//! transaction ends alike and reads the same in both, and that both end in the same state. Two transactions are
//! independent if they write no key in common and neither reads, by get or by scan, what the other writes.
//!
//! It verifies its own precondition, because a comparison of histories that may differ proves nothing: the same labels
//! with the same operations in both, and no two dependent transactions whose beginnings, requests to commit or ends
//! stand in another order. If that does not hold, the verdict is `not-comparable`.
//!
//! It does NOT judge whether either history is right, which is what [`check`](super::check) is for. It does not compare
//! TxnIds or snapshots, which follow the order, and therefore takes no history with a read as of a TxnId.

use std::collections::BTreeMap;

use super::pair::Pair;
use super::timeline::{Outcome, Timeline, Transaction};
use super::{Checker, Violation};
use crate::text::{BytesText, ValueText};
use crate::{Event, History, KeyRange, Mode};

/// Compares two crash-free histories of the same transactions. The step of a violation is one of `b`, unless the
/// message speaks of the first history.
///
/// Both end with an [`Event::Opened`] that shows the final state. Takes time quadratic in the number of transactions.
pub fn check_commutes(a: &History, b: &History) -> Result<(), Violation> {
    let pair = Pair::new(Checker::Commutativity, a, b)?;
    let partners = match_transactions(&pair)?;
    verify_independence(&pair, &partners)?;
    compare_outcomes(&pair, &partners)?;
    compare_reads(&pair, &partners)?;
    pair.compare_ends(|difference| {
        let writer = |timeline: &Timeline<'_>| match last_writer(timeline, difference.key) {
            Some(transaction) => transaction.label.to_string(),
            None => "nobody".to_owned(),
        };
        format!(
            "the last to write it was {} in the first and {} in the second",
            writer(&pair.first),
            writer(&pair.second)
        )
    })
}

/// For each transaction of the second history, the same one of the first.
fn match_transactions<'p, 'h>(pair: &'p Pair<'h>) -> Result<Vec<&'p Transaction<'h>>, Violation> {
    let by_label: BTreeMap<_, _> = pair.first.transactions.iter().map(|t| (t.label, t)).collect();
    let mut partners = Vec::with_capacity(pair.second.transactions.len());
    for second in &pair.second.transactions {
        let (label, step) = (second.label, second.begin);
        let Some(&first) = by_label.get(&label) else {
            return Err(pair.not_comparable(step, format!("{label} is not in the first history")));
        };
        let durability = |transaction: &Transaction<'_>| transaction.submit.map(|(_, durability)| durability);
        let operations = |timeline: &Timeline<'h>, transaction: &Transaction<'_>| -> Vec<Event> {
            transaction.operations.iter().map(|step| request(&timeline.history.events[*step])).collect()
        };
        let alike = first.mode == second.mode
            && durability(first) == durability(second)
            && operations(&pair.first, first) == operations(&pair.second, second);
        if !alike {
            return Err(
                pair.not_comparable(step, format!("{label} does not ask for the same in both histories"))
            );
        }
        if let Mode::ReadAt(at) = second.mode {
            return Err(
                pair.not_comparable(step, format!("{label} reads as of {at}, which depends on the order"))
            );
        }
        partners.push(first);
    }
    if by_label.len() != partners.len() {
        let message = "the first history has transactions that the second has not".to_owned();
        return Err(pair.not_comparable(0, message));
    }
    Ok(partners)
}

/// An operation without its result.
fn request(event: &Event) -> Event {
    let mut request = event.clone();
    match &mut request {
        Event::Get { value, .. } => *value = None,
        Event::Scan { pairs, .. } => pairs.clear(),
        Event::DeleteRange { count, keys, .. } => {
            *count = 0;
            keys.clear();
        }
        _ => {}
    }
    request
}

fn verify_independence(pair: &Pair<'_>, partners: &[&Transaction<'_>]) -> Result<(), Violation> {
    let footprints: Vec<Footprint<'_>> = partners.iter().map(|t| Footprint::new(&pair.first, t)).collect();
    let places: Vec<([usize; 3], [usize; 3])> = partners
        .iter()
        .zip(&pair.second.transactions)
        .map(|(first, second)| (first.landmarks(), second.landmarks()))
        .collect();
    for later in 0..partners.len() {
        for earlier in 0..later {
            let (one, other) = (places[earlier], places[later]);
            if relation(one.0, other.0) == relation(one.1, other.1) {
                continue;
            }
            if let Some(key) = footprints[earlier].conflict(&footprints[later]) {
                let (one, other) = (partners[earlier].label, partners[later].label);
                let step = pair.second.transactions[later].begin;
                let message = format!(
                    "{one} and {other} changed places, but depend on each other at {}",
                    BytesText(key)
                );
                return Err(pair.not_comparable(step, message));
            }
        }
    }
    Ok(())
}

impl Transaction<'_> {
    /// The steps that matter to others: where it takes its snapshot, asks for its commit, and ends.
    fn landmarks(&self) -> [usize; 3] {
        let submit = self.submit.map_or(self.begin, |(step, _)| step);
        [self.begin, submit, self.committed_at().unwrap_or(submit)]
    }
}

/// Which landmarks of one transaction come before which of another.
fn relation(one: [usize; 3], other: [usize; 3]) -> [[bool; 3]; 3] {
    one.map(|step| other.map(|against| step < against))
}

/// What a transaction reads and writes.
struct Footprint<'h> {
    keys: Vec<&'h [u8]>,
    ranges: Vec<&'h KeyRange>,
    /// In order; empty if it was aborted, for then nobody sees them.
    writes: Vec<&'h [u8]>,
}

impl<'h> Footprint<'h> {
    fn new(timeline: &Timeline<'h>, transaction: &Transaction<'h>) -> Footprint<'h> {
        let mut footprint = Footprint { keys: Vec::new(), ranges: Vec::new(), writes: Vec::new() };
        for step in &transaction.operations {
            match &timeline.history.events[*step] {
                Event::Get { key, .. } => footprint.keys.push(key),
                Event::Scan { range, .. } | Event::DeleteRange { range, .. } => footprint.ranges.push(range),
                _ => {}
            }
        }
        if transaction.outcome != Outcome::Aborted {
            footprint.writes.extend(transaction.writes.keys());
        }
        footprint
    }

    /// A key by which two transactions depend on each other.
    fn conflict(&self, other: &Footprint<'h>) -> Option<&'h [u8]> {
        let written = self.writes.iter().find(|key| other.writes.binary_search(key).is_ok());
        written.copied().or_else(|| self.read_of(other)).or_else(|| other.read_of(self))
    }

    /// A key that this one reads and the other writes.
    fn read_of(&self, other: &Footprint<'h>) -> Option<&'h [u8]> {
        let read =
            |key: &&&'h [u8]| self.keys.contains(*key) || self.ranges.iter().any(|range| range.contains(key));
        other.writes.iter().find(read).copied()
    }
}

fn compare_outcomes(pair: &Pair<'_>, partners: &[&Transaction<'_>]) -> Result<(), Violation> {
    for (first, second) in partners.iter().zip(&pair.second.transactions) {
        if first.committed_at().is_some() != second.committed_at().is_some() {
            let ended =
                |t: &Transaction<'_>| if t.committed_at().is_some() { "committed" } else { "aborted" };
            let (label, first, second_end) = (second.label, ended(first), ended(second));
            let message = format!("{label} was {first} in the first history and {second_end} in the second");
            return Err(pair.violation("different-outcome", second.begin, message));
        }
    }
    Ok(())
}

fn compare_reads(pair: &Pair<'_>, partners: &[&Transaction<'_>]) -> Result<(), Violation> {
    let mut differing: Option<(usize, usize)> = None;
    for (first, second) in partners.iter().zip(&pair.second.transactions) {
        let mut steps = first.operations.iter().copied().zip(second.operations.iter().copied());
        let differs = |(one, other): &(usize, usize)| {
            pair.first.history.events[*one] != pair.second.history.events[*other]
        };
        if let Some(found) = steps.find(differs)
            && differing.is_none_or(|(_, step)| found.1 < step)
        {
            differing = Some(found);
        }
    }
    let Some((one, other)) = differing else { return Ok(()) };
    let message = match (&pair.first.history.events[one], &pair.second.history.events[other]) {
        (Event::Get { txn, key, value }, Event::Get { value: second, .. }) => {
            let text = |value: &Option<Vec<u8>>| match value {
                Some(value) => ValueText(value).to_string(),
                None => "none".to_owned(),
            };
            let (first, second) = (text(value), text(second));
            format!(
                "{txn} reads {} as {first} in the first history and as {second} in the second",
                BytesText(key)
            )
        }
        (first, second) => format!("`{first}` in the first history is `{second}` in the second"),
    };
    Err(pair.violation("different-read", other, message))
}

fn last_writer<'t, 'h>(timeline: &'t Timeline<'h>, key: &[u8]) -> Option<&'t Transaction<'h>> {
    let writers = timeline.transactions.iter().filter(|transaction| transaction.writes.contains_key(key));
    writers
        .filter(|transaction| transaction.committed_at().is_some())
        .max_by_key(|transaction| transaction.committed_at())
}

#[cfg(test)]
mod tests {
    use super::check_commutes;
    use crate::Checker::Commutativity;
    use crate::check::testing::{expect, history};

    const T1: &str =
        "begin t1 c0 write\nput t1 \"a\" #1*8\nget t1 \"m\" -> none\nsubmit t1 sync\ncommitted t1\n";
    const T2: &str = "begin t2 c1 write\nput t2 \"b\" #2*8\nsubmit t2 sync\ncommitted t2\n";
    /// Depends on `t1` by a get, and on `t2` by a scan.
    const T3: &str = r#"begin t3 c1 write
        get t3 "a" -> #1*8
        scan t3 ["b" .. "c") -> "b"=#2*8
        put t3 "d" #3*8
        submit t3 sync
        committed t3
    "#;
    const END: &str = r#"opened -> "a"=#1*8 "b"=#2*8 "d"=#3*8"#;

    fn compare(a: &[&str], b: &[&str]) -> Result<(), super::Violation> {
        check_commutes(&history(&a.concat()), &history(&b.concat()))
    }

    fn refused(a: &[&str], b: &[&str], kind: &str, step: usize) -> String {
        expect(compare(a, b), Commutativity, kind, step)
    }

    #[test]
    fn independent_transactions_commute() {
        assert_eq!(compare(&[T1, T2, T3, END], &[T1, T2, T3, END]), Ok(()));
        assert_eq!(compare(&[T1, T2, T3, END], &[T2, T1, T3, END]), Ok(()));
        assert_eq!(compare(&[END], &[END]), Ok(()));
    }

    #[test]
    fn their_operations_may_interleave() {
        let (begin, rest) = T2.split_once('\n').unwrap();
        assert_eq!(compare(&[T1, T2, T3, END], &[begin, "\n", T1, rest, T3, END]), Ok(()));
    }

    #[test]
    fn aborted_writers_depend_on_nobody() {
        let aborted = "begin t4 c0 write\nput t4 \"a\" #9*8\naborted t4\n";
        assert_eq!(compare(&[aborted, T1, T2, T3, END], &[T1, T2, T3, aborted, END]), Ok(()));
    }

    #[test]
    fn a_start_state_is_shared() {
        let start = "opened -> \"z\"=#8*8\n";
        let end = "opened -> \"a\"=#1*8 \"b\"=#2*8 \"z\"=#8*8";
        assert_eq!(compare(&[start, T1, T2, end], &[start, T2, T1, end]), Ok(()));
        refused(&[start, T1, T2, end], &[T2, T1, end], "not-comparable", 0);
    }

    #[test]
    fn different_reads_are_found() {
        let other = T3.replace("get t3 \"a\" -> #1*8", "get t3 \"a\" -> none");
        let message = refused(&[T1, T2, T3, END], &[T2, T1, &other, END], "different-read", 10);
        assert_eq!(message, "t3 reads \"a\" as #1*8 in the first history and as none in the second");
        let other = T3.replace("-> \"b\"=#2*8", "-> none");
        let message = refused(&[T1, T2, T3, END], &[T2, T1, &other, END], "different-read", 11);
        assert!(message.contains("`scan t3 [\"b\" .. \"c\") -> none`"), "{message}");
    }

    #[test]
    fn the_first_different_read_of_the_second_history_is_named() {
        let (one, three) = (T1.replace("\"m\" -> none", "\"m\" -> #1*8"), T3.replace("-> #1*8", "-> none"));
        refused(&[T1, T2, T3, END], &[T2, &one, &three, END], "different-read", 6);
    }

    #[test]
    fn different_ends_are_found() {
        let other = r#"opened -> "a"=#1*8 "d"=#3*8"#;
        let message = refused(&[T1, T2, T3, END], &[T2, T1, T3, other], "different-state", 15);
        let expected = "\"b\" ends as #2*8 in the first history and as none in the second; \
                        the last to write it was t2 in the first and t2 in the second";
        assert!(message.starts_with(expected), "{message}");
    }

    #[test]
    fn different_outcomes_are_found() {
        let other = T2.replace("committed", "aborted");
        refused(&[T1, T2, END], &[&other, T1, END], "different-outcome", 0);
    }

    #[test]
    fn only_independent_transactions_may_change_places() {
        let message = refused(&[T1, T2, T3, END], &[T3, T1, T2, END], "not-comparable", 6);
        assert!(message.contains("t3 and t1 changed places, but depend on each other at \"a\""), "{message}");
        refused(&[T1, T2, T3, END], &[T1, T3, T2, END], "not-comparable", 11);
        let writer = T2.replace("\"b\"", "\"a\"");
        refused(&[T1, &writer, END], &[&writer, T1, END], "not-comparable", 4);
    }

    #[test]
    fn the_transactions_are_the_same() {
        refused(&[T1, T2, END], &[T1, END], "not-comparable", 0);
        refused(&[T1, END], &[T1, T2, END], "not-comparable", 5);
        refused(&[T1, END], &[&T1.replace("#1*8", "#7*8"), END], "not-comparable", 0);
        refused(&[T1, END], &[&T1.replace("sync", "buffered"), END], "not-comparable", 0);
        let at = "begin t1 c0 read@0\naborted t1\n";
        refused(&[at, END], &[at, END], "not-comparable", 0);
    }

    #[test]
    fn both_histories_end_well() {
        refused(&[T1], &[T1, END], "not-comparable", 4);
        refused(&[T1, END], &[T1, "crash\n", END], "not-comparable", 5);
        refused(&[T1, END], &["failed \"get\" \"x\"\n", T1, END], "not-comparable", 0);
        refused(&["begin t1 c0 read\n", END], &["begin t1 c0 read\n", END], "not-comparable", 0);
    }
}
