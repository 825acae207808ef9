//! When the disk is full, and when calls fail.
//!
//! Each is rare, and ends: a full disk gets room again after some steps, and some steps after a call was let fail the
//! power fails, since a store may refuse to change anything until it was opened again.

use std::collections::VecDeque;

use rand_chacha::ChaCha8Rng;

use super::mix::Mix;
use crate::disk::{Fault, FaultKind, IoKind};
use crate::plan::Step;
use crate::random::Draw;

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    Step(Step),
    /// A power loss anywhere.
    Crash,
}

/// The trouble that is still to be written, in order.
#[derive(Debug)]
pub(super) struct Trouble {
    /// From which client step on.
    due: VecDeque<(u64, Due)>,
}

impl Trouble {
    /// What the mix asks for, and these faults.
    pub(super) fn new(mix: &Mix, mut rng: ChaCha8Rng, faults: Vec<(u64, Due)>) -> Trouble {
        let mut due = faults;
        for _ in 0..mix.full_disks {
            let start = rng.below(mix.client_steps);
            let room = [0, 4096, 16384, 1 << 16][rng.weighted(&[4, 3, 3, 2])];
            due.push((start, Due::Step(Step::Space(Some(room)))));
            due.push((start + rng.between(10..=120), Due::Step(Step::Space(None))));
        }
        for _ in 0..mix.failing_calls {
            let start = rng.below(mix.client_steps);
            let kind =
                [FaultKind::IoError, FaultKind::SyncLost, FaultKind::SyncLate][rng.weighted(&[3, 3, 1])];
            let nth_max = *rng.pick(&[2, 5, 12]);
            let fault = Fault::once(kind, rng.between(1..=nth_max));
            let fault = if kind == FaultKind::IoError { fault.on(IoKind::Write) } else { fault };
            due.push((start, Due::Step(Step::Fault(fault))));
            due.push((start + rng.between(5..=30), Due::Crash));
        }
        due.sort_by_key(|(step, _)| *step);
        Trouble { due: due.into() }
    }

    /// The faults that stand from before the creation of the store.
    pub(super) fn at_creation(&mut self) -> Vec<Step> {
        let is_first = |due: &(u64, Due)| matches!(due, (0, Due::Step(Step::Fault(_))));
        let first: VecDeque<_> = self.due.iter().filter(|due| is_first(due)).cloned().collect();
        self.due.retain(|due| !is_first(due));
        let step = |(_, due)| match due {
            Due::Step(step) => Some(step),
            Due::Crash => None,
        };
        first.into_iter().filter_map(step).collect()
    }

    /// What is to be written before the client step number `step`.
    pub(super) fn take(&mut self, step: u64) -> Option<Due> {
        let is_due = self.due.front().is_some_and(|(from, _)| *from <= step);
        if is_due { self.due.pop_front().map(|(_, due)| due) } else { None }
    }
}
