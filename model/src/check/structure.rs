//! Structure: the store's own integrity check.
//!
//! It verifies that no `verify` of the store failed: a store whose own check finds damage that no fault explains is
//! damaged, or its check is. Damage that a fault did is excused only if the store reports it as corruption. It does NOT
//! take a check that passed as evidence of anything: a check may miss what nothing reads, and whether it missed what a
//! transaction then read is for other checkers.

use super::excuses::Excuses;
use super::{Checker, Violation};
use crate::{Event, History};

/// Whether a failure is one of the store's integrity check, and not an operation that failed.
pub(super) fn is_verify(what: &str) -> bool {
    what.split_whitespace().next() == Some("verify")
}

/// Finds the first integrity check that failed.
pub(super) fn check(history: &History) -> Result<(), Violation> {
    let mut excuses = Excuses::default();
    for (step, event) in history.events.iter().enumerate() {
        let error = match event {
            Event::Failed { what, error } if is_verify(what) => Some(error),
            Event::Corrupt { client, what, error } if is_verify(what) && !excuses.corruption(*client) => {
                Some(error)
            }
            _ => None,
        };
        if let Some(error) = error {
            let message = format!("the store's own check found damage: {error:?}");
            return Err(Violation { checker: Checker::Structure, kind: "verify-failed", step, message });
        }
        excuses.take(event);
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
    fn damage_is_found_where_there_is_some() {
        let corrupt = "corrupt \"verify\" \"page 3\"\n";
        assert_accepted(&["fault damage \"\"\n", corrupt].concat());
        assert_accepted(&["fault lie \"\"\n crash\n opened -> none\n", corrupt].concat());
        assert_violation(corrupt, Structure, "verify-failed", 0);
        for fault in ["environment", "transparent", "lie"] {
            let other = format!("fault {fault} \"\"\n{corrupt}");
            assert_violation(&other, Structure, "verify-failed", 1);
        }
        let healed = ["fault damage \"\"\n healed\n", corrupt].concat();
        assert_violation(&healed, Structure, "verify-failed", 2);
        assert_violation("fault damage \"\"\n failed \"verify\" \"x\"", Structure, "verify-failed", 1);
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
