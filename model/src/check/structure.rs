//! Structure: the store's own integrity check.
//!
//! It verifies that no `verify` of the store failed: a store whose own check finds damage that no fault explains is
//! damaged, or its check is. It does NOT take a check that passed as evidence of anything, and it knows nothing of
//! faults: whoever injects damage that a store can't repair leaves that store's `verify` out of the history.

use super::{Checker, Violation};
use crate::{Event, History};

/// Whether a failure is one of the store's integrity check, and not an operation that failed.
pub(super) fn is_verify(what: &str) -> bool {
    what.split_whitespace().next() == Some("verify")
}

/// Finds the first integrity check that failed.
pub(super) fn check(history: &History) -> Result<(), Violation> {
    for (step, event) in history.events.iter().enumerate() {
        if let Event::Failed { what, error } = event
            && is_verify(what)
        {
            let message = format!("the store's own `{what}` found damage: {error:?}");
            return Err(Violation { checker: Checker::Structure, kind: "verify-failed", step, message });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::Checker::Structure;
    use crate::check::testing::{assert_accepted, assert_violation, expect, history};

    #[test]
    fn good_histories() {
        assert_accepted("opened -> none");
        assert_accepted("opened -> none\n durable\n crash\n opened -> none");
        assert_eq!(check(&history("failed \"get\" \"verify\"")), Ok(()), "it is the operation that counts");
        assert_eq!(check(&history("failed \"verifying\" \"x\"")), Ok(()));
    }

    #[test]
    fn bad_histories() {
        let message =
            assert_violation("failed \"verify\" \"page 3 is in no list\"", Structure, "verify-failed", 0);
        assert!(message.contains("page 3 is in no list"), "{message}");
        assert_violation(
            "opened -> none\n failed \"verify after open\" \"x\"",
            Structure,
            "verify-failed",
            1,
        );
        assert_violation("failed \"verify\" \"x\"\n failed \"verify\" \"y\"", Structure, "verify-failed", 0);
        let later = "opened -> none\n failed \"get\" \"verify\"\n failed \"verify\" \"x\"";
        expect(check(&history(later)), Structure, "verify-failed", 2);
        let first = "opened -> none\n failed \"verify\" \"x\"\n crash\n opened -> \"k\"=#1*8";
        assert_violation(first, Structure, "verify-failed", 1);
    }
}
