//! Availability: operations that failed although nothing kept them from succeeding.
//!
//! It verifies that the store never failed where it had promised not to: that it runs out of space only while there is a
//! limit, or where the call was told that there is none; that it gives up only when a fault of the environment fired in
//! that very call, and says that it is poisoned only after one did that leaves something in doubt, and never while it is
//! being opened; and that it reports corruption only where bytes are damaged, or were lost after a sync that had lied. For
//! how long each of these lasts `excuses` says. So once the disk is healed a store can be opened, or it is a violation.
//!
//! It does NOT excuse anything else: an error that a transaction is entitled to is no `Failed` event but an `Aborted`, a
//! `Denied`, a `Refused` or a commit in doubt. Nor does it see an operation that never returned, or damage that was never
//! reported: what a store answers is for other checkers.

use super::excuses::Excuses;
use super::structure::is_verify;
use super::{Checker, Violation};
use crate::{Denial, Event, History, Refusal};

/// Finds the first operation that failed, other than an integrity check.
pub(super) fn check(history: &History) -> Result<(), Violation> {
    let mut excuses = Excuses::default();
    for (step, event) in history.events.iter().enumerate() {
        if let Some((kind, message)) = judge(event, &excuses) {
            return Err(Violation { checker: Checker::Availability, kind, step, message });
        }
        excuses.take(event);
    }
    Ok(())
}

/// What is wrong with an event.
fn judge(event: &Event, excuses: &Excuses) -> Option<(&'static str, String)> {
    Some(match event {
        Event::OutOfSpace { client, what } if !excuses.out_of_space(*client) => {
            ("false-out-of-space", format!("`{what}` found no space, but there is no limit"))
        }
        Event::Denied { txn, reason: Denial::OutOfSpace } if !excuses.out_of_space(excuses.owner(*txn)) => {
            ("false-out-of-space", format!("{txn} found no space, but there is no limit"))
        }
        Event::Denied { reason: Denial::Poisoned, .. }
        | Event::Refused { reason: Refusal::Poisoned, .. }
        | Event::Poisoned { .. }
            if !excuses.poisoned() =>
        {
            let message = "the store says that it is poisoned, but nothing failed before";
            ("false-poisoned", message.to_owned())
        }
        Event::Poisoned { what, .. } if is_open(what) => {
            let message = "a store that is being opened can't be poisoned by what was before";
            ("false-poisoned", message.to_owned())
        }
        Event::GaveUp { client, what, error } if !excuses.failure(*client) => {
            (kind(what), format!("`{what}` failed, and nothing made it: {error:?}"))
        }
        Event::Corrupt { client, what, error } if !is_verify(what) && !excuses.corruption(*client) => {
            let message = format!("`{what}` reported corruption, and nothing was damaged: {error:?}");
            ("unexplained-corruption", message)
        }
        Event::Failed { what, error } if !is_verify(what) => {
            (kind(what), format!("`{what}` failed: {error:?}"))
        }
        _ => return None,
    })
}

/// Whether it is the opening of the store that failed.
fn is_open(what: &str) -> bool {
    what.split_whitespace().next() == Some("open")
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

    const FAULT: &str = "fault environment failed=sync \"sync\"\n";
    const FULL: &str = "fault environment failed=change no-space \"write\"\n";
    const LOOK: &str = "fault environment failed=look \"read\"\n";

    #[test]
    fn a_call_that_met_its_fault_may_fail() {
        let gave_up = "gave-up \"checkpoint\" \"x\"\n";
        let commit = "begin t1 c0 write\n submit t1 sync\n";
        assert_accepted(&[FAULT, gave_up].concat());
        assert_accepted(&[FAULT, "fault lie \"\"\n made-good\n fault transparent \"\"\n", gave_up].concat());
        assert_accepted(&[commit, FAULT, gave_up].concat());
        assert_accepted(&["crash\n", FAULT, "gave-up \"open\" \"x\"\n opened -> none"].concat());
        assert_accepted(&[LOOK, gave_up].concat());
        assert_accepted(&[FULL, gave_up].concat());
        let unasked = "fault environment \"write-back-lost\"\n";
        assert_violation(&[unasked, gave_up].concat(), Availability, "failed-checkpoint", 1);
        assert_violation(gave_up, Availability, "failed-checkpoint", 0);
        assert_violation(&[FAULT, gave_up, gave_up].concat(), Availability, "failed-checkpoint", 2);
        assert_violation(&[FAULT, commit, gave_up].concat(), Availability, "failed-checkpoint", 3);
        for class in ["transparent", "damage", "damage groups=1", "lie"] {
            let other = format!("fault {class} \"sync\"\n{gave_up}");
            assert_violation(&other, Availability, "failed-checkpoint", 1);
        }
        assert_violation(&[FAULT, "failed \"get\" \"x\""].concat(), Availability, "failed-get", 1);
    }

    #[test]
    fn a_call_may_find_no_space_if_it_was_told_so() {
        let commit = "begin t1 c0 write\n submit t1 sync\n";
        assert_accepted(&[FULL, "out-of-space \"checkpoint\""].concat());
        assert_accepted(&[FULL, FAULT, "out-of-space \"checkpoint\""].concat());
        assert_accepted(&[commit, FULL, "denied t1 out-of-space"].concat());
        for other in [FAULT, LOOK] {
            let checkpoint = [other, "out-of-space \"checkpoint\""].concat();
            assert_violation(&checkpoint, Availability, "false-out-of-space", 1);
            let denied = [commit, other, "denied t1 out-of-space"].concat();
            assert_violation(&denied, Availability, "false-out-of-space", 3);
        }
        let second = [FULL, "out-of-space \"checkpoint\"\n", "out-of-space \"compact\""].concat();
        assert_violation(&second, Availability, "false-out-of-space", 2);
    }

    #[test]
    fn only_what_leaves_something_in_doubt_poisons() {
        let poisoned = "refused c0 write poisoned\n";
        for fault in [FAULT, FULL, "fault environment failed=look fatal \"read\"\n"] {
            assert_accepted(&[fault, poisoned].concat());
        }
        for fault in [LOOK, "fault environment \"write-back-lost\"\n"] {
            assert_violation(&[fault, poisoned].concat(), Availability, "false-poisoned", 1);
        }
    }

    #[test]
    fn an_opening_is_never_poisoned() {
        let opening = "crash\n opening\n";
        let poisoned = "poisoned \"open\"\n";
        assert_accepted(&[opening, FAULT, "gave-up \"open\" \"\"\n opening\n opened -> none"].concat());
        assert_violation(&[opening, FAULT, poisoned].concat(), Availability, "false-poisoned", 3);
        assert_violation(&[FAULT, opening, poisoned].concat(), Availability, "false-poisoned", 3);
        // What the one before had met, or an attempt before, is no reason, either.
        let attempts = [opening, FAULT, "gave-up \"open\" \"\"\n opening\n", "poisoned \"scan after open\""];
        assert_violation(&attempts.concat(), Availability, "false-poisoned", 5);
    }

    #[test]
    fn a_store_opens_once_the_disk_is_healed() {
        let healed = "healed\n opening\n";
        let corrupt = "corrupt \"open\" \"no root\"\n";
        let unexplained = |parts: &[&str]| {
            let text = parts.concat();
            let last = history(&text).events.len() - 1;
            assert_violation(&text, Availability, "unexplained-corruption", last);
        };
        let damage = "fault damage groups=1 \"bit-rot\"\n";
        unexplained(&[damage, "closed\n crash\n", healed, corrupt]);
        unexplained(&[damage, "crash\n opening\n", corrupt, healed, corrupt]);
        unexplained(&[damage, "crash\n opening\n opened -> none\n closed\n", healed, corrupt]);
        unexplained(&["fault lie \"\"\n made-good\n crash\n", healed, corrupt]);
        unexplained(&["fault lie \"\"\n crash process\n", healed, corrupt]);
        unexplained(&[FAULT, "crash\n", healed, corrupt]);
        // These have lost something for good.
        assert_accepted(&["fault lie \"\"\n crash\n", healed, corrupt].concat());
        assert_accepted(&[damage, "crash\n opening\n crash\n", healed, corrupt].concat());
        let refused =
            ["gave-up \"open\" \"\"", "out-of-space \"open\"", "poisoned \"open\"", "failed \"open\" \"\""];
        for other in refused {
            let text = ["fault lie \"\"\n crash\n", healed, other].concat();
            expect(check(&history(&text)), Availability, check(&history(&text)).unwrap_err().kind, 4);
        }
    }

    #[test]
    fn a_misread_excuses_the_call_that_met_it() {
        let misread = "fault damage passing groups=1 \"stale-read\"\n";
        let corrupt = "corrupt \"get\" \"page 7\"\n";
        assert_accepted(&[misread, corrupt].concat());
        assert_violation(&[misread, corrupt, corrupt].concat(), Availability, "unexplained-corruption", 2);
        // Who opened the store on it has settled for something else than what there is.
        let misled = ["crash\n opening\n", misread, "opened -> none\n"].concat();
        assert_accepted(&[&misled, corrupt, corrupt].concat());
        let reopened = [&misled, "closed\n opening\n opened -> none\n", corrupt].concat();
        assert_violation(&reopened, Availability, "unexplained-corruption", 7);
        let cut_short = ["crash\n opening\n", misread, "crash\n opening\n corrupt \"open\" \"\""].concat();
        assert_violation(&cut_short, Availability, "unexplained-corruption", 5);
        assert_accepted(&cut_short.replace(misread, &[misread, misread].concat()));
    }

    #[test]
    fn a_fault_poisons_until_the_next_opening() {
        let poisoned = "refused c0 write poisoned\n";
        let checkpoint = "poisoned \"checkpoint\"\n";
        let denied = "begin t1 c0 write\n submit t1 sync\n denied t1 poisoned\n";
        assert_accepted(&[FAULT, poisoned, denied, checkpoint].concat());
        assert_accepted(&[FAULT, "healed\n", poisoned].concat());
        assert_violation(poisoned, Availability, "false-poisoned", 0);
        assert_violation(checkpoint, Availability, "false-poisoned", 0);
        assert_violation(denied, Availability, "false-poisoned", 2);
        let later = [FAULT, "crash\n opened -> none\n", poisoned].concat();
        assert_violation(&later, Availability, "false-poisoned", 3);
        let read = [FAULT, "refused c0 read poisoned"].concat();
        assert_violation(&read, crate::Checker::SnapshotIsolation, "read-refused", 1);
        for class in ["transparent", "damage", "lie"] {
            let other = format!("fault {class} \"\"\n{checkpoint}");
            assert_violation(&other, Availability, "false-poisoned", 1);
        }
    }

    #[test]
    fn damage_excuses_corruption_until_it_is_healed() {
        let corrupt = "corrupt \"get\" \"page 7\"\n";
        let open = "corrupt \"open\" \"bad magic\"\n";
        let damage = "fault damage groups=1 \"bit-rot\"\n";
        assert_accepted(&[damage, corrupt, "crash\n", open, "healed\n opened -> none"].concat());
        assert_accepted(&[damage, "crash\n opened -> none\n", corrupt].concat());
        let message = assert_violation(corrupt, Availability, "unexplained-corruption", 0);
        assert_eq!(message, "`get` reported corruption, and nothing was damaged: \"page 7\"");
        assert_violation(&[damage, "healed\n", corrupt].concat(), Availability, "unexplained-corruption", 2);
        for class in ["transparent", "environment"] {
            let other = format!("fault {class} \"\"\n{corrupt}");
            assert_violation(&other, Availability, "unexplained-corruption", 1);
        }
        // A power loss in the middle of an opening may have left half of what that believed.
        let half_opened = ["crash\n opening\n", damage, "crash\n healed\n opening\n", open].concat();
        assert_accepted(&half_opened);
        assert_accepted(&[damage, "crash\n opening\n crash process\n healed\n opening\n", open].concat());
        let never_tried = ["closed\n", damage, "crash\n healed\n opening\n", open].concat();
        assert_violation(&never_tried, Availability, "unexplained-corruption", 5);
        let opened_since = [&half_opened, "opening\n opened -> none\n closed\n opening\n", open].concat();
        assert_violation(&opened_since, Availability, "unexplained-corruption", 11);
    }

    #[test]
    fn a_lie_excuses_corruption_once_the_power_has_failed() {
        let lie = "fault lie \"lying-sync\"\n";
        let corrupt = "corrupt \"open\" \"no log\"\n";
        assert_accepted(&[lie, "crash\n", corrupt].concat());
        assert_accepted(&[lie, "crash\n opened -> none\n made-good\n", corrupt].concat());
        let process = [lie, "crash process\n", corrupt].concat();
        assert_violation(&process, Availability, "unexplained-corruption", 2);
        // What it can be opened with once the disk is healed is what it answers for.
        let healed = [lie, "crash\n healed\n opened -> none\n closed\n", corrupt].concat();
        assert_violation(&healed, Availability, "unexplained-corruption", 5);
        assert_violation(&[lie, corrupt].concat(), Availability, "unexplained-corruption", 1);
        let made_good = [lie, "made-good\n crash\n", corrupt].concat();
        assert_violation(&made_good, Availability, "unexplained-corruption", 3);
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
