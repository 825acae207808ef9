//! Whether a run still comes to anything.
//!
//! Who waits for something that nobody brings, and goes on looking, makes no I/O call; who tries the same again and again
//! may make one each time. So there are two limits, and both are far above what any honest step takes: a plan of many
//! steps may have one that goes through all that the others wrote, one of large values may make very many calls.

use crate::plan::{Plan, Step};

/// So many switch points in a row may be passed without a sign of life.
const IDLE_POINTS_MAX: u64 = 200_000;
/// So many more for each step of the plan.
const IDLE_POINTS_PER_STEP: u64 = 20;
/// So many I/O calls may be made without anything new being begun.
const CALLS_MAX: u64 = 500_000;

/// Watches over a run. A sign of life is an I/O call, or that somebody begins something.
#[derive(Debug)]
pub(super) struct Vigil {
    idle_points_max: u64,
    /// The switch points passed since the last sign of life.
    idle_points: u64,
    /// How many I/O calls have been made in all, and how many of them when somebody began something last.
    calls: u64,
    calls_before: u64,
}

/// What is seen at a switch point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing that anybody but the threads could see.
    Nothing,
    /// I/O calls have been made since the last one.
    Calls,
    /// It has gone on for too long.
    Livelock,
}

impl Vigil {
    pub(super) fn new(plan: &Plan) -> Vigil {
        // Switches are no steps: a plan has the same limit before and after they are written down.
        let steps = plan.steps.iter().filter(|step| !matches!(step, Step::Switch(_))).count();
        let idle_points_max = IDLE_POINTS_MAX + IDLE_POINTS_PER_STEP * steps as u64;
        Vigil { idle_points_max, idle_points: 0, calls: 0, calls_before: 0 }
    }

    /// Somebody begins something.
    pub(super) fn begin(&mut self) {
        self.idle_points = 0;
        self.calls_before = self.calls;
    }

    /// A switch point is passed, when so many I/O calls have been made in all.
    pub(super) fn pass(&mut self, calls: u64) -> Seen {
        let seen = if calls > self.calls { Seen::Calls } else { Seen::Nothing };
        self.calls = calls;
        self.idle_points = if seen == Seen::Calls { 0 } else { self.idle_points + 1 };
        let is_too_long =
            self.idle_points > self.idle_points_max || calls.saturating_sub(self.calls_before) > CALLS_MAX;
        if is_too_long { Seen::Livelock } else { seen }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreKind;

    fn vigil(steps: usize) -> Vigil {
        Vigil::new(&Plan { steps: vec![Step::Verify; steps], ..Plan::new(StoreKind::Engine) })
    }

    #[test]
    fn points_are_counted_from_the_last_sign_of_life() {
        let mut vigil = vigil(2);
        let max = IDLE_POINTS_MAX + 2 * IDLE_POINTS_PER_STEP;
        assert!((0..max).all(|_| vigil.pass(0) == Seen::Nothing));
        assert_eq!(vigil.pass(1), Seen::Calls);
        assert!((0..max).all(|_| vigil.pass(1) == Seen::Nothing));
        vigil.begin();
        assert!((0..max).all(|_| vigil.pass(1) == Seen::Nothing));
        assert_eq!(vigil.pass(1), Seen::Livelock);
    }

    #[test]
    fn calls_are_counted_from_the_last_beginning() {
        let mut vigil = vigil(0);
        vigil.pass(3);
        vigil.begin();
        assert_eq!(vigil.pass(3 + CALLS_MAX), Seen::Calls);
        vigil.begin();
        assert_eq!(vigil.pass(3 + 2 * CALLS_MAX), Seen::Calls);
        assert_eq!(vigil.pass(4 + 2 * CALLS_MAX), Seen::Livelock);
    }
}
