//! A run that was recorded once: its history, the boundaries in it, and how a power loss at each is written as a plan.

use std::ops::RangeInclusive;

use proofmark_model::{Event, Violation};

use crate::disk::Boundary;
use crate::plan::{CrashSpec, Plan, Step, Strike};
use crate::run::{Place, Recorded, record_plan};
use crate::store::StoreFactory;

/// The numbers of all I/O calls.
pub(super) const ALL_CALLS: RangeInclusive<u64> = 1..=u64::MAX;

/// One run of a plan.
#[derive(Debug)]
pub(super) struct Recording {
    recorded: Recorded,
    /// From which call on nothing can be written into the plan any more, because the run is at its end.
    end: u64,
}

/// A boundary in the run, and how much of the history is before it.
#[derive(Debug)]
pub(super) struct Moment<'a> {
    pub(super) boundary: &'a Boundary,
    pub(super) event_count: usize,
}

impl Recording {
    /// Runs `plan`, and keeps the boundaries at the calls with these numbers.
    pub(super) fn new(plan: &Plan, factory: &dyn StoreFactory, calls: RangeInclusive<u64>) -> Recording {
        Recording::of(record_plan(plan, factory, calls, false))
    }

    /// Runs `plan`, and keeps every boundary, and who made the syncs.
    pub(super) fn with_callers(plan: &Plan, factory: &dyn StoreFactory) -> Recording {
        Recording::of(record_plan(plan, factory, ALL_CALLS, true))
    }

    fn of(recorded: Recorded) -> Recording {
        let end = recorded.places.iter().find(|place| place.slot.is_none());
        let end = end.map_or(u64::MAX, |place| place.calls_before + 1);
        Recording { recorded, end }
    }

    /// The verdict on the run itself.
    pub(super) fn verdict(&self) -> &Result<(), Violation> {
        &self.recorded.run.verdict
    }

    /// How many I/O calls the run made.
    pub(super) fn call_count(&self) -> u64 {
        self.recorded.run.stats.io_calls
    }

    /// The I/O calls that a fault struck which nobody was told of.
    pub(super) fn sabotaged_calls(&self) -> &[u64] {
        &self.recorded.sabotaged_calls
    }

    pub(super) fn events(&self) -> &[Event] {
        &self.recorded.run.history.events
    }

    /// The boundaries that were kept, in order, up to the first one of the run's end: it stands for the moment after the
    /// last step. The creation of a store that need not survive a power loss there is left out.
    pub(super) fn moments(&self, factory: &dyn StoreFactory) -> Vec<Moment<'_>> {
        let spares_creation = !factory.promises().survives_loss_during_creation;
        let first_of_end =
            self.recorded.boundaries.iter().position(|boundary| boundary.call.number >= self.end);
        let count = first_of_end.map_or(self.recorded.boundaries.len(), |index| index + 1);
        self.recorded.boundaries[..count]
            .iter()
            .map(|boundary| Moment { boundary, event_count: self.event_count(boundary.call.number) })
            .filter(|moment| moment.event_count > 0 || !spares_creation)
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
