//! Liveness: runs that come to no end.
//!
//! It verifies that nobody waits forever: that no run ended because every thread waited for another one (`deadlock`), or
//! because somebody went on beyond every bound and came to nothing (`livelock`): threads from one switch point to the next, a
//! step from one I/O call to the next, or tasks from one turn to the next. Who drives the store knows the bound and what
//! everybody waits for, and says so.
//!
//! It does NOT look at how long anything took, and a call that failed instead of waiting is for the checker of
//! availability.

use super::{Checker, Violation};
use crate::{Event, History, Stuck};

/// Finds where a run got stuck.
pub(super) fn check(history: &History) -> Result<(), Violation> {
    for (step, event) in history.events.iter().enumerate() {
        let Event::Stuck { kind, what } = event else { continue };
        let message = match kind {
            Stuck::Deadlock => format!("everybody waits for somebody else: {what}"),
            Stuck::Livelock => format!("nobody comes to an end: {what}"),
        };
        return Err(Violation { checker: Checker::Liveness, kind: kind.name(), step, message });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::Checker::{Liveness, Structure};
    use crate::check::testing::{assert_accepted, assert_violation};

    #[test]
    fn whoever_gets_stuck_is_found() {
        let open = "opened -> none\n begin t1 c0 write\n submit t1 sync\n";
        assert_accepted(open);
        let message =
            assert_violation(&format!("{open} stuck deadlock \"c0: commit\""), Liveness, "deadlock", 3);
        assert_eq!(message, "everybody waits for somebody else: c0: commit");
        let message = assert_violation("stuck livelock \"c1: begin\"", Liveness, "livelock", 0);
        assert_eq!(message, "nobody comes to an end: c1: begin");
    }

    #[test]
    fn what_went_wrong_before_comes_first() {
        let text = "failed \"verify\" \"x\"\n stuck deadlock \"c0: commit\"";
        assert_violation(text, Structure, "verify-failed", 0);
    }
}
