//! Availability: operations that failed although nothing kept them from succeeding.
//!
//! It verifies that the store never failed where it had promised not to: that it runs out of space only while there is a
//! limit, and that it gives up, or says that it is poisoned, only after an I/O call failed that was told to, in the same
//! incarnation or while it was being opened again.
//!
//! It does NOT excuse anything else: an error that a transaction is entitled to is no `Failed` event but an `Aborted`, a
//! `Denied`, a `Refused` or a commit in doubt. Nor does it see an operation that never returned.

use super::structure::is_verify;
use super::{Checker, Violation};
use crate::{Denial, Event, History, Refusal};

/// Finds the first operation that failed, other than an integrity check.
pub(super) fn check(history: &History) -> Result<(), Violation> {
    let mut is_limited = false;
    let mut has_fault = false;
    for (step, event) in history.events.iter().enumerate() {
        let violation =
            |kind, message| Err(Violation { checker: Checker::Availability, kind, step, message });
        match event {
            Event::Space { bytes } => is_limited = bytes.is_some(),
            Event::Fault { .. } => has_fault = true,
            Event::Opened { .. } => has_fault = false,
            Event::OutOfSpace { what } if !is_limited => {
                let message = format!("`{what}` found no space, but there is no limit");
                return violation("false-out-of-space", message);
            }
            Event::Denied { txn, reason: Denial::OutOfSpace } if !is_limited => {
                let message = format!("{txn} found no space, but there is no limit");
                return violation("false-out-of-space", message);
            }
            Event::Denied { reason: Denial::Poisoned, .. }
            | Event::Refused { reason: Refusal::Poisoned, .. }
                if !has_fault =>
            {
                let message = "the store says that it is poisoned, but nothing failed before".to_owned();
                return violation("false-poisoned", message);
            }
            Event::GaveUp { what, error } if !has_fault => {
                return violation(kind(what), format!("`{what}` failed, and nothing made it: {error:?}"));
            }
            Event::Failed { what, error } if !is_verify(what) => {
                return violation(kind(what), format!("`{what}` failed: {error:?}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The kind of a failure: by its operation, so that two of one operation count as the same defect.
fn kind(what: &str) -> &'static str {
    match what.split_whitespace().next() {
        Some("open") => "failed-open",
        Some("begin") => "failed-begin",
        Some("get") => "failed-get",
        Some("scan") => "failed-scan",
        Some("put") => "failed-put",
        Some("delete") => "failed-delete",
        Some("commit") => "failed-commit",
        Some("abort") => "failed-abort",
        Some("checkpoint") => "failed-checkpoint",
        Some("delete-range") => "failed-delete-range",
        Some("savepoint") => "failed-savepoint",
        Some("rollback") => "failed-rollback",
        Some("submit") => "failed-submit",
        Some("wait") => "failed-wait",
        Some("changes") => "failed-changes",
        Some("compact") => "failed-compact",
        Some("backup") => "failed-backup",
        Some("close") => "failed-close",
        _ => "failed-other",
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::Checker::Availability;
    use crate::check::testing::{assert_accepted, assert_violation, expect, history};

    #[test]
    fn good_histories() {
        assert_accepted("opened -> none\n begin t1 c0 write\n aborted t1");
        assert_accepted("begin t1 c0 write\n refused c1 write write-busy");
        assert_eq!(check(&history("failed \"verify\" \"x\"")), Ok(()), "that is for another checker");
    }

    #[test]
    fn space_runs_out_only_under_a_limit() {
        let commit = "begin t1 c0 write\n put t1 \"k\" #1*8\n submit t1 sync\n denied t1 out-of-space\n";
        assert_accepted(&format!("opened -> none\n space 100\n {commit} out-of-space \"checkpoint\""));
        assert_accepted(&format!("space 100\n {commit} crash\n opened -> none"));
        assert_violation(commit, Availability, "false-out-of-space", 3);
        let freed = format!("space 100\n space free\n {commit}");
        assert_violation(&freed, Availability, "false-out-of-space", 5);
        assert_violation("out-of-space \"checkpoint\"", Availability, "false-out-of-space", 0);
    }

    #[test]
    fn a_fault_excuses_until_the_next_opening() {
        let fault = "fault \"sync\"\n";
        let poisoned = "refused c0 write poisoned\n";
        let denied = "begin t1 c0 write\n submit t1 sync\n denied t1 poisoned\n";
        let gave_up = "gave-up \"checkpoint\" \"x\"\n";
        assert_accepted(&[fault, poisoned, denied, gave_up].concat());
        assert_accepted(&[fault, "crash\n", gave_up, "opened -> none"].concat());
        assert_violation(poisoned, Availability, "false-poisoned", 0);
        assert_violation(denied, Availability, "false-poisoned", 2);
        assert_violation(gave_up, Availability, "failed-checkpoint", 0);
        let later = [fault, "crash\n opened -> none\n", poisoned].concat();
        assert_violation(&later, Availability, "false-poisoned", 3);
        let read = [fault, "refused c0 read poisoned"].concat();
        assert_violation(&read, crate::Checker::SnapshotIsolation, "read-refused", 1);
        assert_violation(&[fault, "failed \"get\" \"x\""].concat(), Availability, "failed-get", 1);
    }

    #[test]
    fn bad_histories() {
        let message =
            assert_violation("crash\n failed \"open\" \"bad magic\"", Availability, "failed-open", 1);
        assert_eq!(message, "`open` failed: \"bad magic\"");
        assert_violation("opened -> none\n failed \"get of t1\" \"x\"", Availability, "failed-get", 1);
        assert_violation("failed \"commit\" \"x\"\n failed \"get\" \"x\"", Availability, "failed-commit", 0);
        assert_violation("opened -> none\n failed \"\" \"\"", Availability, "failed-other", 1);
        assert_violation(
            "failed \"checkpoint\" \"x\"\n failed \"verify\" \"y\"",
            Availability,
            "failed-checkpoint",
            0,
        );
        expect(
            check(&history("failed \"verify\" \"x\"\n failed \"close\" \"y\"")),
            Availability,
            "failed-close",
            1,
        );
    }
}
