//! Marks: which states of the past a store can be taken back to.
//!
//! It verifies that a store takes a transaction back to a mark exactly if there is one. A mark is there from the moment it
//! is set. A persistent one ends with the transaction that set it if that is aborted, and else lasts until a transaction
//! commits that forgot it; any other lasts until it is forgotten or the store is opened again, whatever becomes of the
//! transaction that set it. When a transaction commits that took the store back to a mark, those that were set after that
//! mark end; when it is aborted, nothing has happened.
//!
//! It does NOT look at what a transaction reads after that, which is for snapshot isolation. Where a commit is in doubt, or
//! was lost in a crash as it may be, a mark may be there or not; the first answer after the next crash decides. To forget a mark that is not
//! persistent and no longer there is no error.

use std::collections::BTreeMap;

use super::{Checker, Violation};
use crate::{Durability, Event, History, MarkLabel, TxnLabel};

/// Judges every answer about a mark. Events that make no sense are for the timeline.
pub(super) fn check(history: &History) -> Result<(), Violation> {
    let mut judge = Judge::default();
    for (step, event) in history.events.iter().enumerate() {
        judge.judge(step, event)?;
    }
    Ok(())
}

/// How far a transaction that set or ended a mark has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Running,
    /// It asked for its commit, and may have got it.
    InDoubt(Durability),
    /// It asked for its commit before a crash, and may have got it.
    Unknown,
    /// It was committed, and a crash may still undo it.
    Buffered,
    Committed,
    Aborted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    There,
    Gone,
    /// One answer is as good as the other now, and may be so again.
    Either,
    /// One answer is as good as the other, and decides.
    Unknown,
}

#[derive(Debug)]
struct Mark {
    is_persistent: bool,
    /// The transaction that set it, if it ends with that.
    setter: Option<TxnLabel>,
    /// The transactions that ended it, or try to.
    enders: Vec<TxnLabel>,
    is_gone: bool,
}

#[derive(Debug, Default)]
struct Judge {
    /// In the order in which they were set, which is that of their places here.
    order: Vec<MarkLabel>,
    marks: BTreeMap<MarkLabel, Mark>,
    fates: BTreeMap<TxnLabel, Fate>,
}

impl Judge {
    fn judge(&mut self, step: usize, event: &Event) -> Result<(), Violation> {
        match event {
            Event::Mark { txn, mark, is_persistent } => {
                self.fates.insert(*txn, Fate::Running);
                self.order.push(*mark);
                let setter = is_persistent.then_some(*txn);
                let mark_set =
                    Mark { is_persistent: *is_persistent, setter, enders: Vec::new(), is_gone: false };
                self.marks.insert(*mark, mark_set);
            }
            Event::Restore { txn, mark, is_refused } => {
                self.answered(step, *txn, *mark, *is_refused)?;
                if !is_refused {
                    self.end_those_after(*txn, *mark);
                }
            }
            Event::Forget { txn, mark, is_refused } => self.forget(step, *txn, *mark, *is_refused)?,
            Event::Submit { txn, durability } => self.turn(*txn, Fate::InDoubt(*durability)),
            Event::Committed { txn, .. } => self.committed(*txn),
            Event::Aborted { txn } | Event::Denied { txn, .. } => self.turn(*txn, Fate::Aborted),
            Event::Durable => self.made_durable(),
            Event::Crash { .. } => self.crash(),
            Event::Opened { .. } => self.opened(),
            _ => {}
        }
        Ok(())
    }

    fn forget(
        &mut self,
        step: usize,
        txn: TxnLabel,
        label: MarkLabel,
        is_refused: bool,
    ) -> Result<(), Violation> {
        let Some(mark) = self.marks.get(&label) else { return Ok(()) };
        if mark.is_persistent || is_refused {
            self.answered(step, txn, label, is_refused)?;
        }
        let Some(mark) = self.marks.get_mut(&label) else { return Ok(()) };
        if !mark.is_persistent {
            mark.is_gone = true;
        } else if !is_refused {
            self.fates.entry(txn).or_insert(Fate::Running);
            mark.enders.push(txn);
        }
        Ok(())
    }

    /// Judges an answer, and takes it in where it decides something.
    fn answered(
        &mut self,
        step: usize,
        txn: TxnLabel,
        label: MarkLabel,
        is_refused: bool,
    ) -> Result<(), Violation> {
        let violation = |kind, message| Err(Violation { checker: Checker::Marks, kind, step, message });
        let presence = self.presence(txn, label);
        let Some(mark) = self.marks.get_mut(&label) else { return Ok(()) };
        match (presence, is_refused) {
            (Presence::Gone, false) => {
                violation("stale-mark", format!("{txn} found the mark {label}, which had ended"))
            }
            (Presence::There, true) => violation(
                "false-no-mark",
                format!("{txn} was told that there is no mark {label}, but there is"),
            ),
            (Presence::Unknown, false) => {
                mark.setter = None;
                mark.enders.clear();
                Ok(())
            }
            (Presence::Unknown, true) => {
                mark.is_gone = true;
                Ok(())
            }
            (Presence::There, false) | (Presence::Gone, true) | (Presence::Either, _) => Ok(()),
        }
    }

    /// Whether `txn` can find a mark.
    fn presence(&self, txn: TxnLabel, label: MarkLabel) -> Presence {
        let Some(mark) = self.marks.get(&label) else { return Presence::Unknown };
        let fate = |other: &TxnLabel| self.fates.get(other).copied().unwrap_or(Fate::Running);
        let setter = mark.setter.as_ref().map(fate);
        let enders: Vec<Fate> = mark.enders.iter().map(fate).collect();
        let has_ended = enders.iter().any(|fate| matches!(fate, Fate::Committed | Fate::Buffered));
        let fates = || setter.iter().chain(&enders);
        if mark.is_gone || has_ended || setter == Some(Fate::Aborted) || mark.enders.contains(&txn) {
            Presence::Gone
        } else if fates().any(|fate| matches!(fate, Fate::InDoubt(_))) {
            Presence::Either
        } else if fates().any(|fate| *fate == Fate::Unknown) {
            Presence::Unknown
        } else {
            Presence::There
        }
    }

    fn end_those_after(&mut self, txn: TxnLabel, label: MarkLabel) {
        self.fates.entry(txn).or_insert(Fate::Running);
        let place = self.order.iter().position(|set| *set == label);
        for later in self.order.iter().skip(place.map_or(self.order.len(), |place| place + 1)) {
            if let Some(mark) = self.marks.get_mut(later) {
                mark.enders.push(txn);
            }
        }
    }

    fn turn(&mut self, txn: TxnLabel, to: Fate) {
        if let Some(fate) = self.fates.get_mut(&txn) {
            *fate = to;
        }
    }

    fn committed(&mut self, txn: TxnLabel) {
        match self.fates.get(&txn) {
            Some(Fate::InDoubt(Durability::Buffered)) => self.turn(txn, Fate::Buffered),
            _ => self.turn(txn, Fate::Committed),
        }
    }

    fn made_durable(&mut self) {
        for fate in self.fates.values_mut().filter(|fate| **fate == Fate::Buffered) {
            *fate = Fate::Committed;
        }
    }

    fn crash(&mut self) {
        for fate in self.fates.values_mut() {
            *fate = match *fate {
                Fate::InDoubt(_) | Fate::Buffered => Fate::Unknown,
                Fate::Running => Fate::Aborted,
                other => other,
            };
        }
    }

    fn opened(&mut self) {
        for fate in self.fates.values_mut().filter(|fate| **fate == Fate::Running) {
            *fate = Fate::Aborted;
        }
        for mark in self.marks.values_mut() {
            mark.is_gone |= !mark.is_persistent;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Checker::{CrashPrefix, Marks, SnapshotIsolation, Timeline};
    use crate::check::testing::{assert_accepted, assert_violation};

    /// Two marks with a commit after each: `a` is #1, then #2, then #3.
    fn marked(persistent: &str, text: &str) -> String {
        format!(
            r#"begin t1 c0 write
               put t1 "a" #1*8
               put t1 "b" #9*8
               submit t1 sync
               committed t1
               begin t2 c0 write
               mark t2 m1{persistent}
               put t2 "a" #2*8
               submit t2 sync
               committed t2
               begin t3 c0 write
               mark t3 m2{persistent}
               put t3 "a" #3*8
               delete t3 "b"
               put t3 "c" #4*8
               submit t3 sync
               committed t3
               begin t4 c0 write
               {text}"#
        )
    }
    const NEXT: usize = 18;
    const COMMIT: &str = "submit t4 sync\n committed t4\n begin t5 c0 write\n";
    const ABORT: &str = "aborted t4\n begin t5 c0 write\n";

    #[test]
    fn a_mark_brings_its_state_back() {
        for persistent in ["", " persistent"] {
            let good = |text: &str| assert_accepted(&marked(persistent, text));
            good("restore t4 m1\n scan t4 (-inf .. +inf) -> \"a\"=#1*8 \"b\"=#9*8");
            good("restore t4 m2\n scan t4 (-inf .. +inf) -> \"a\"=#2*8 \"b\"=#9*8");
            good(
                "put t4 \"d\" #5*8\n restore t4 m2\n get t4 \"d\" -> none\n restore t4 m1\n get t4 \"a\" -> #1*8",
            );
            good(&format!(
                "restore t4 m1\n put t4 \"b\" #5*8\n {COMMIT} scan t5 (-inf .. +inf) -> \"a\"=#1*8 \"b\"=#5*8"
            ));
            good(&format!("restore t4 m1\n {ABORT} get t5 \"a\" -> #3*8"));
            good("begin t5 c1 read\n restore t4 m1\n submit t4 sync\n committed t4\n get t5 \"a\" -> #3*8");
        }
    }

    #[test]
    fn what_was_not_marked_is_not_read() {
        let bad = |text: &str, kind: &str, step| {
            assert_violation(&marked("", text), SnapshotIsolation, kind, NEXT + step)
        };
        bad("restore t4 m1\n get t4 \"a\" -> #2*8", "future-read", 1);
        bad("restore t4 m2\n get t4 \"a\" -> #1*8", "stale-read", 1);
        bad("restore t4 m1\n get t4 \"c\" -> #4*8", "future-read", 1);
        bad("restore t4 m1\n get t4 \"b\" -> none", "missing-value", 1);
        bad("put t4 \"d\" #5*8\n restore t4 m2\n get t4 \"d\" -> #5*8", "dirty-read", 2);
        bad(&format!("restore t4 m1\n {COMMIT} get t5 \"a\" -> #3*8"), "stale-read", 4);
        bad(&format!("restore t4 m1\n {ABORT} get t5 \"a\" -> #1*8"), "stale-read", 3);
    }

    #[test]
    fn a_restored_state_survives_like_any_commit() {
        let opened = |state: &str| marked("", &format!("restore t4 m1\n {COMMIT} crash\n opened -> {state}"));
        assert_accepted(&opened("\"a\"=#1*8 \"b\"=#9*8"));
        for half in ["\"a\"=#1*8", "\"a\"=#1*8 \"b\"=#9*8 \"c\"=#4*8"] {
            assert_violation(&opened(half), CrashPrefix, "no-prefix-matches", NEXT + 5);
        }
        assert_violation(&opened("\"a\"=#3*8 \"c\"=#4*8"), CrashPrefix, "lost-acknowledged-commit", NEXT + 5);
        let in_doubt =
            |state: &str| marked("", &format!("restore t4 m1\n submit t4 sync\n crash\n opened -> {state}"));
        assert_accepted(&in_doubt("\"a\"=#1*8 \"b\"=#9*8"));
        assert_accepted(&in_doubt("\"a\"=#3*8 \"c\"=#4*8"));
        assert_violation(
            &in_doubt("\"a\"=#2*8 \"b\"=#9*8"),
            CrashPrefix,
            "lost-acknowledged-commit",
            NEXT + 3,
        );
    }

    #[test]
    fn going_back_ends_the_marks_after_it() {
        for persistent in ["", " persistent"] {
            let good = |text: &str| assert_accepted(&marked(persistent, text));
            let bad = |text: &str, kind: &str, step| {
                assert_violation(&marked(persistent, text), Marks, kind, NEXT + step)
            };
            good(&format!("restore t4 m1\n {COMMIT} restore t5 m2 refused"));
            bad(&format!("restore t4 m1\n {COMMIT} restore t5 m2"), "stale-mark", 4);
            bad(&format!("restore t4 m1\n {COMMIT} restore t5 m1 refused"), "false-no-mark", 4);
            bad(&format!("restore t4 m2\n {COMMIT} restore t5 m1 refused"), "false-no-mark", 4);
            good("restore t4 m1\n restore t4 m2 refused");
            bad("restore t4 m1\n restore t4 m2", "stale-mark", 1);
            good(&format!("restore t4 m1\n {ABORT} restore t5 m2"));
            bad(&format!("restore t4 m1\n {ABORT} restore t5 m2 refused"), "false-no-mark", 3);
        }
    }

    #[test]
    fn marks_last_until_they_are_forgotten() {
        let (lasting, passing) = (|text: &str| marked(" persistent", text), |text: &str| marked("", text));
        let bad = |text: &str, kind: &str, step| assert_violation(text, Marks, kind, NEXT + step);
        assert_accepted(&lasting(&format!("forget t4 m1\n {COMMIT} restore t5 m1 refused\n restore t5 m2")));
        bad(&lasting(&format!("forget t4 m1\n {COMMIT} restore t5 m1")), "stale-mark", 4);
        bad(&lasting(&format!("forget t4 m1\n {ABORT} restore t5 m1 refused")), "false-no-mark", 3);
        assert_accepted(&passing(&format!("forget t4 m1\n {ABORT} restore t5 m1 refused\n forget t5 m1")));
        bad(&passing(&format!("forget t4 m1\n {ABORT} restore t5 m1")), "stale-mark", 3);
        bad(&lasting("forget t4 m1\n forget t4 m1"), "stale-mark", 1);
        bad(&lasting("forget t4 m1 refused"), "false-no-mark", 0);

        let aborted = |persistent: &str, end: &str| {
            format!(
                "begin t1 c0 write\n mark t1 m1{persistent}\n aborted t1\n begin t2 c0 write\n restore t2 m1{end}"
            )
        };
        assert_accepted(&aborted(" persistent", " refused"));
        assert_violation(&aborted(" persistent", ""), Marks, "stale-mark", 4);
        assert_accepted(&aborted("", ""));
        assert_violation(&aborted("", " refused"), Marks, "false-no-mark", 4);
    }

    #[test]
    fn only_persistent_marks_outlive_the_store() {
        let state = "\"a\"=#3*8 \"c\"=#4*8";
        for crash in ["", "crash\n "] {
            let opened = |persistent: &str, end: &str| {
                marked(
                    persistent,
                    &format!(
                        "aborted t4\n {crash}opened -> {state}\n begin t5 c0 write\n restore t5 m1{end}"
                    ),
                )
            };
            let step = NEXT + 3 + usize::from(!crash.is_empty());
            assert_accepted(&opened(" persistent", "\n get t5 \"a\" -> #1*8"));
            assert_accepted(&opened("", " refused"));
            assert_violation(&opened(" persistent", " refused"), Marks, "false-no-mark", step);
            assert_violation(&opened("", ""), Marks, "stale-mark", step);
        }
    }

    #[test]
    fn what_is_in_doubt_is_settled_by_the_first_answer() {
        let opened = "crash\n opened -> \"a\"=#3*8 \"c\"=#4*8\n begin t5 c0 write\n";
        let after =
            |text: &str| marked(" persistent", &format!("forget t4 m2\n submit t4 sync\n {opened} {text}"));
        assert_accepted(&after("restore t5 m2\n restore t5 m2"));
        assert_accepted(&after("restore t5 m2 refused\n restore t5 m2 refused"));
        assert_violation(&after("restore t5 m2 refused\n restore t5 m2"), Marks, "stale-mark", NEXT + 6);
        assert_violation(&after("restore t5 m2\n restore t5 m2 refused"), Marks, "false-no-mark", NEXT + 6);
    }

    #[test]
    fn marks_are_set_first_thing_by_exclusive_writers() {
        let malformed = |text: &str, step| assert_violation(text, Timeline, "malformed-history", step);
        malformed("begin t1 c0 write\n put t1 \"a\" #1*8\n mark t1 m1", 2);
        malformed("begin t1 c0 write\n mark t1 m1\n restore t1 m1\n mark t1 m2", 3);
        malformed("begin t1 c0 write\n mark t1 m1\n mark t1 m1", 2);
        malformed("begin t1 c0 read\n mark t1 m1", 1);
        malformed("begin t1 c0 optimistic\n mark t1 m1", 1);
        malformed("begin t1 c0 write\n restore t1 m1", 1);
        malformed("begin t1 c0 write\n forget t1 m1", 1);
        malformed("begin t1 c0 write\n mark t1 m1\n submit t1 sync\n restore t1 m1", 3);
        assert_accepted("begin t1 c0 write\n mark t1 m1\n mark t1 m2 persistent\n put t1 \"a\" #1*8");
    }

    #[test]
    fn savepoints_end_when_the_store_goes_back() {
        let text = marked("", "put t4 \"d\" #5*8\n savepoint t4 s1\n restore t4 m1\n rollback t4 s1");
        assert_violation(&text, SnapshotIsolation, "stale-savepoint", NEXT + 3);
        assert_accepted(&format!("{text} refused\n get t4 \"d\" -> none"));
    }
}
