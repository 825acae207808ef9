//! Availability: operations that failed although nothing kept them from succeeding.
//!
//! It verifies that the store never failed where it had promised not to. It does NOT excuse anything: an error that an
//! injected fault explains, or that a transaction is entitled to, is no `Failed` event but an `Aborted`, a `Refused` or
//! a commit in doubt. Nor does it see an operation that never returned.

use super::structure::is_verify;
use super::{Checker, Violation};
use crate::{Event, History};

/// Finds the first operation that failed, other than an integrity check.
pub(super) fn check(history: &History) -> Result<(), Violation> {
    for (step, event) in history.events.iter().enumerate() {
        if let Event::Failed { what, error } = event
            && !is_verify(what)
        {
            let message = format!("`{what}` failed: {error:?}");
            return Err(Violation { checker: Checker::Availability, kind: kind(what), step, message });
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
