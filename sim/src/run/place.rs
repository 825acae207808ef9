//! Where in a plan an I/O call is made, so that a power loss at that call can be written into the plan.
//!
//! While no strike is pending, a crash step of its own goes before the step that is under way. While one is pending, and
//! while the store recovers from one, the power loss takes a place among the strikes of that crash step, because a
//! further crash step would have the pending strike carried out first.

/// A stretch of a run: from the I/O call after the first `calls_before` to the next place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) calls_before: u64,
    /// The plan's step that is under way; none during the creation, and at the end.
    pub(crate) step: Option<usize>,
    /// Whether the store recovers from a power loss.
    pub(crate) is_recovery: bool,
    /// How a power loss here is written; none at the end, where none can be.
    pub(crate) slot: Option<Slot>,
}

/// How a power loss is written into a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The crash step whose strikes it follows, and how many of these there are; none for a step of its own.
    pub(crate) crash: Option<(usize, usize)>,
    /// How many I/O calls had been made when it would have been armed.
    pub(crate) calls_before: u64,
}

/// Keeps the places of a run.
#[derive(Debug, Default)]
pub(super) struct Places {
    places: Vec<Place>,
    step: Option<usize>,
    /// The latest crash step, and how many of its strikes have come.
    crash: Option<(usize, usize)>,
    /// Since when a strike is armed that has not come.
    armed: Option<u64>,
    is_over: bool,
}

impl Places {
    /// A step begins, or the creation.
    pub(super) fn enter(&mut self, step: Option<usize>, calls: u64) {
        self.step = step;
        let slot = match self.armed {
            Some(armed) => Slot { crash: self.crash, calls_before: armed },
            None => Slot { crash: None, calls_before: calls },
        };
        self.push(calls, false, slot);
    }

    /// The first strike of a crash step is armed.
    pub(super) fn arm(&mut self, step: usize, calls: u64) {
        self.crash = Some((step, 0));
        self.armed = Some(calls);
    }

    /// A strike has come; whether there is one to follow it.
    pub(super) fn strike(&mut self, another_follows: bool) {
        if let Some((_, count)) = &mut self.crash {
            *count += 1;
        }
        // The next one is armed when the recovery begins.
        self.armed = another_follows.then_some(0);
    }

    /// A recovery begins.
    pub(super) fn recover(&mut self, calls: u64) {
        self.armed = self.armed.map(|_| calls);
        self.push(calls, true, Slot { crash: self.crash, calls_before: calls });
    }

    /// The run comes to its end.
    pub(super) fn end(&mut self, calls: u64) {
        self.is_over = true;
        self.step = None;
        self.push(calls, false, Slot { crash: None, calls_before: calls });
    }

    pub(super) fn finish(self) -> Vec<Place> {
        self.places
    }

    fn push(&mut self, calls_before: u64, is_recovery: bool, slot: Slot) {
        let slot = (!self.is_over).then_some(slot);
        self.places.push(Place { calls_before, step: self.step, is_recovery, slot });
    }
}
