//! A run that was recorded once: its history, the boundaries in it, and how a power loss at each is written as a plan.

use std::ops::RangeInclusive;

use proofmark_model::{Event, Violation};

use crate::disk::{Boundary, Kept};
use crate::plan::{CrashSpec, Plan, Step, Strike};
use crate::run::{Place, Recorded, record_plan};
use crate::store::StoreFactory;

/// How many boundaries are held at once. Each holds on to what the disk held at its moment: the pages that differ from those
/// of its neighbours, and the list of what was pending.
pub(super) const WINDOW_BOUNDARIES: usize = 256;

/// One run of a plan.
#[derive(Debug)]
pub(super) struct Recording {
    recorded: Recorded,
    /// From which call on nothing can be written into the plan any more, because the run is at its end.
    end: u64,
    /// The call before the first boundary that counts.
    start: u64,
}

/// A boundary in the run, and how much of the history is before it.
#[derive(Debug)]
pub(super) struct Moment<'a> {
    pub(super) boundary: &'a Boundary,
    pub(super) event_count: usize,
}

impl Recording {
    /// Runs `plan`, and keeps no boundary.
    pub(super) fn survey(plan: &Plan, factory: &dyn StoreFactory) -> Recording {
        Recording::new(plan, factory, Kept::NONE)
    }

    /// Runs `plan`, and keeps the boundaries at the calls with these numbers: a window, or less.
    pub(super) fn window(plan: &Plan, factory: &dyn StoreFactory, calls: RangeInclusive<u64>) -> Recording {
        Recording::new(plan, factory, Kept { calls, count_max: WINDOW_BOUNDARIES, with_callers: false })
    }

    /// Runs `plan`, and keeps these boundaries.
    pub(super) fn new(plan: &Plan, factory: &dyn StoreFactory, kept: Kept) -> Recording {
        let recorded = record_plan(plan, factory, kept);
        let end = recorded.places.iter().find(|place| place.slot.is_none());
        let end = end.map_or(u64::MAX, |place| place.calls_before + 1);
        let spares_creation = !factory.promises().survives_loss_during_creation;
        let created = recorded.event_calls.first().copied().unwrap_or(u64::MAX);
        Recording { recorded, end, start: if spares_creation { created } else { 0 } }
    }

    /// The verdict on the run itself.
    pub(super) fn verdict(&self) -> &Result<(), Violation> {
        &self.recorded.run.verdict
    }

    /// The I/O calls that a fault struck which nobody was told of.
    pub(super) fn sabotaged_calls(&self) -> &[u64] {
        &self.recorded.sabotaged_calls
    }

    pub(super) fn events(&self) -> &[Event] {
        &self.recorded.run.history.events
    }

    /// The numbers of the calls at all boundaries of the run, kept or not, in order, up to the first one of the run's end: it
    /// stands for the moment after the last step. The creation of a store that need not survive a power loss there is left
    /// out.
    pub(super) fn boundary_calls(&self) -> &[u64] {
        let calls = &self.recorded.boundary_calls;
        let first = calls.partition_point(|call| *call <= self.start);
        let last = calls.partition_point(|call| *call < self.end);
        &calls[first..calls.len().min(last + 1).max(first)]
    }

    /// Those of them that were kept.
    pub(super) fn moments(&self) -> Vec<Moment<'_>> {
        let calls = self.boundary_calls();
        let is_one = |boundary: &&Boundary| calls.binary_search(&boundary.call.number).is_ok();
        let moment = |boundary: &'_ Boundary| self.event_count(boundary.call.number);
        (self.recorded.boundaries.iter().filter(is_one))
            .map(|boundary| Moment { boundary, event_count: moment(boundary) })
            .collect()
    }

    /// The place of the I/O call with this number.
    pub(super) fn place(&self, call: u64) -> Place {
        let after = self.recorded.places.partition_point(|place| place.calls_before < call);
        self.recorded.places[after.saturating_sub(1)]
    }

    /// How many events there were when the call with this number was made.
    fn event_count(&self, call: u64) -> usize {
        self.recorded.event_calls.partition_point(|calls| *calls < call)
    }

    /// The plan up to the call with this number, with these strikes there, of which the first one's call is set here; and
    /// with other steps instead of what follows.
    pub(super) fn cut(&self, plan: &Plan, call: u64, mut strikes: Vec<Strike>, follow_up: &[Step]) -> Plan {
        let mut steps = plan.steps.clone();
        let place = self.place(call);
        match place.slot {
            Some(slot) => {
                strikes[0].call = call - slot.calls_before;
                // Faults that come first stand from before the creation, and stay before it.
                let early = steps.iter().take_while(|step| matches!(step, Step::Fault(_))).count();
                let keep = place.step.map_or(early, |step| step + 1);
                match slot.crash {
                    Some((step, count)) => {
                        steps.truncate(keep.max(step + 1));
                        let Some(Step::Crash(spec)) = steps.get_mut(step) else {
                            unreachable!("a strike belongs to a crash step");
                        };
                        spec.strikes.truncate(count);
                        spec.strikes.extend(strikes);
                    }
                    None => {
                        steps.truncate(keep);
                        let before = place.step.unwrap_or(early);
                        steps.insert(before, Step::Crash(CrashSpec { strikes }));
                    }
                }
            }
            None => {
                // After the last step: some call of closing and opening again is struck, and each finds the same.
                strikes[0].call = call - place.calls_before;
                steps.extend([Step::Crash(CrashSpec { strikes }), Step::Reopen]);
            }
        }
        steps.extend_from_slice(follow_up);
        Plan { seed: None, steps, ..plan.clone() }
    }
}
