//! The savepoints of one transaction: what its writes were at each, and which can still be gone back to.
//!
//! Going back to a savepoint keeps it and ends those that were taken after it.

use super::scan::Writes;
use crate::SavepointLabel;

/// The savepoints of one transaction, in the order in which they were taken.
#[derive(Debug, Default)]
pub(super) struct Savepoints<'h> {
    valid: Vec<(SavepointLabel, Writes<'h>)>,
    ended: Vec<SavepointLabel>,
}

impl<'h> Savepoints<'h> {
    /// Remembers `writes`; whether the name is new.
    pub(super) fn take(&mut self, label: SavepointLabel, writes: &Writes<'h>) -> bool {
        let is_new = !self.is_known(label);
        if is_new {
            self.valid.push((label, writes.clone()));
        }
        is_new
    }

    /// The writes as they were, unless the savepoint has ended. Those after it end.
    pub(super) fn roll_back(&mut self, label: SavepointLabel) -> Option<Writes<'h>> {
        let index = self.valid.iter().position(|(valid, _)| *valid == label)?;
        let writes = self.valid[index].1.clone();
        self.ended.extend(self.valid.drain(index + 1..).map(|(ended, _)| ended));
        Some(writes)
    }

    /// Ends all of them.
    pub(super) fn end(&mut self) {
        self.ended.extend(self.valid.drain(..).map(|(ended, _)| ended));
    }

    /// Whether it can still be gone back to.
    pub(super) fn is_valid(&self, label: SavepointLabel) -> bool {
        self.valid.iter().any(|(valid, _)| *valid == label)
    }

    /// Whether it was ever taken.
    pub(super) fn is_known(&self, label: SavepointLabel) -> bool {
        self.is_valid(label) || self.ended.contains(&label)
    }
}

#[cfg(test)]
mod tests {
    use crate::Checker::{SnapshotIsolation, Timeline};
    use crate::check::testing::{assert_accepted, assert_violation};

    const NESTED: &str = r#"
        begin t1 c0 write
        put t1 "a" #1*8
        savepoint t1 s1
        put t1 "a" #2*8
        delete t1 "b"
        savepoint t1 s2
        put t1 "c" #3*8
    "#;
    const NEXT: usize = 7;

    fn nested(text: &str) -> String {
        format!("{NESTED}{text}")
    }

    #[test]
    fn going_back_undoes_what_came_after() {
        assert_accepted(&nested("rollback t1 s2\n scan t1 (-inf .. +inf) -> \"a\"=#2*8"));
        assert_accepted(&nested("rollback t1 s1\n scan t1 (-inf .. +inf) -> \"a\"=#1*8"));
        assert_accepted(&nested("rollback t1 s2\n rollback t1 s1\n get t1 \"a\" -> #1*8"));
        let committed = "submit t1 sync\n committed t1 id=1\n crash\n opened latest=1 ->";
        assert_accepted(&nested(&format!("rollback t1 s1\n {committed} \"a\"=#1*8")));
        let kept = nested(&format!("rollback t1 s1\n {committed} \"a\"=#2*8"));
        assert_violation(&kept, crate::Checker::CrashPrefix, "resurrected-value", NEXT + 4);
    }

    #[test]
    fn what_was_undone_is_not_read() {
        let kept = nested("rollback t1 s1\n get t1 \"c\" -> #3*8");
        assert_violation(&kept, SnapshotIsolation, "dirty-read", NEXT + 1);
        let undone_too_much = nested("rollback t1 s2\n get t1 \"a\" -> #1*8");
        assert_violation(&undone_too_much, SnapshotIsolation, "own-write-missed", NEXT + 1);
    }

    #[test]
    fn a_savepoint_outlives_going_back_to_it_and_those_after_it_do_not() {
        assert_accepted(&nested(
            "rollback t1 s1\n put t1 \"d\" #4*8\n rollback t1 s1\n get t1 \"d\" -> none",
        ));
        assert_accepted(&nested("rollback t1 s1\n rollback t1 s2 refused\n get t1 \"a\" -> #1*8"));
        let late = nested("rollback t1 s1\n rollback t1 s2");
        assert_violation(&late, SnapshotIsolation, "stale-savepoint", NEXT + 1);
        assert_violation(&nested("rollback t1 s1 refused"), SnapshotIsolation, "false-no-savepoint", NEXT);
    }

    #[test]
    fn names_are_used_once_and_known() {
        assert_violation(&nested("savepoint t1 s1"), Timeline, "malformed-history", NEXT);
        assert_violation(&nested("rollback t1 s3"), Timeline, "malformed-history", NEXT);
        assert_violation("begin t1 c0 read\n savepoint t1 s1", Timeline, "malformed-history", 1);
    }
}
