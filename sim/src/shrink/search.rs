//! The search: the lightest plan so far, and what has been tried.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use proofmark_model::Violation;
use xxhash_rust::xxh3::xxh3_128;

use super::weight::Weight;
use super::{Attempt, Executor, NothingToShrink, Reason, Shrunk, Size};
use crate::disk::{IoCall, Occasion};
use crate::plan::{Plan, Step, Strike};
use crate::run::Run;

/// Around the call that a strike had, so many others are tried on either side.
const CALLS_AROUND: u64 = 6;

/// So many occasions before the one that a fault had are tried.
const OCCASIONS_BEFORE: u64 = 6;

/// Whoever watches has had enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stopped;

/// What became of a candidate.
enum Outcome {
    /// It is the best plan now.
    Taken,
    /// It ran, and did not fail for the same reason.
    Refused(Run),
    /// It is no lighter, or has been run before.
    NotRun,
}

/// One search for a lighter plan.
pub(super) struct Search<'a> {
    executor: Executor<'a>,
    watch: &'a mut dyn FnMut(Attempt<'_>) -> ControlFlow<()>,
    best: Shrunk,
    weight: Weight,
    /// The run of the best plan.
    best_run: Run,
    /// Hashes of the plans that were run.
    seen: BTreeSet<u128>,
}

impl<'a> Search<'a> {
    /// Runs `plan`, to know why it fails.
    pub(super) fn new(
        plan: &Plan,
        executor: Executor<'a>,
        watch: &'a mut dyn FnMut(Attempt<'_>) -> ControlFlow<()>,
    ) -> Result<Search<'a>, NothingToShrink> {
        let best_run = (executor.run)(plan);
        let reason = Reason::of(&best_run).ok_or(NothingToShrink)?;
        let best = Shrunk {
            plan: plan.clone(),
            violation: violation_of(&best_run).clone(),
            reason,
            before: Size::of(plan),
            runs: 1,
            is_complete: false,
        };
        Ok(Search { executor, watch, best, weight: Weight::of(plan), best_run, seen: BTreeSet::new() })
    }

    /// Tells whoever watches of the first run.
    pub(super) fn begin(&mut self) -> Result<(), Stopped> {
        self.tell(true)
    }

    /// The lightest plan so far.
    pub(super) fn best(&self) -> &Plan {
        &self.best.plan
    }

    /// Its run.
    pub(super) fn best_run(&self) -> &Run {
        &self.best_run
    }

    pub(super) fn weight(&self) -> &Weight {
        &self.weight
    }

    /// What is wrong in the run of the lightest plan.
    pub(super) fn violation(&self) -> &Violation {
        violation_of(&self.best_run)
    }

    pub(super) fn finish(self) -> Shrunk {
        self.best
    }

    /// Takes `candidate` if it is lighter than the best and fails for the same reason; whether it was taken.
    pub(super) fn attempt(&mut self, candidate: Plan) -> Result<bool, Stopped> {
        Ok(matches!(self.attempt_run(candidate)?, Outcome::Taken))
    }

    /// Takes the best plan as `change` leaves it, likewise.
    pub(super) fn attempt_with(&mut self, change: impl FnOnce(&mut Plan)) -> Result<bool, Stopped> {
        let mut candidate = self.best().clone();
        change(&mut candidate);
        self.attempt(candidate)
    }

    /// Takes `candidate`, from which steps are missing, likewise; and if it does not fail as it is, tries it with strikes
    /// and faults where they may have moved to.
    pub(super) fn attempt_anchored(&mut self, candidate: &Plan) -> Result<bool, Stopped> {
        let run = match self.attempt_run(candidate.clone())? {
            Outcome::Taken => return Ok(true),
            Outcome::NotRun => return Ok(false),
            Outcome::Refused(run) => run,
        };
        Ok(self.attempt_strike_around(candidate, &run)? || self.attempt_faults_earlier(candidate)?)
    }

    /// If a strike falls on another kind of call in this run than in the best plan's, tries the calls around.
    fn attempt_strike_around(&mut self, candidate: &Plan, run: &Run) -> Result<bool, Stopped> {
        let Some(moved) = self.moved_strike(candidate, run) else { return Ok(false) };
        let planned = strike(candidate, moved).call;
        for distance in 1..=CALLS_AROUND {
            for call in [planned.checked_sub(distance), planned.checked_add(distance)].into_iter().flatten() {
                let mut shifted = candidate.clone();
                strike_mut(&mut shifted, moved).call = call;
                if call > 0 && self.attempt(shifted)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Lets each fault strike a few occasions earlier: those that went with the steps.
    fn attempt_faults_earlier(&mut self, candidate: &Plan) -> Result<bool, Stopped> {
        for number in 0..occasions(&mut candidate.clone()).len() {
            for distance in 1..=OCCASIONS_BEFORE {
                let mut shifted = candidate.clone();
                let nth = occasions(&mut shifted).swap_remove(number);
                if *nth <= distance {
                    break;
                }
                *nth -= distance;
                if self.attempt(shifted)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn attempt_run(&mut self, candidate: Plan) -> Result<Outcome, Stopped> {
        let weight = Weight::of(&candidate);
        if weight >= self.weight || !(self.executor.admits)(&candidate) {
            return Ok(Outcome::NotRun);
        }
        let text = candidate.to_string();
        if !self.seen.insert(xxh3_128(text.as_bytes())) {
            return Ok(Outcome::NotRun);
        }
        let run = (self.executor.run)(&candidate);
        self.best.runs += 1;
        let fails_alike = Reason::of(&run) == Some(self.best.reason);
        // What can't be read back can't be kept.
        let is_improvement = fails_alike && text.parse().as_ref() == Ok(&candidate);
        let outcome = if is_improvement {
            self.best.violation = violation_of(&run).clone();
            (self.best.plan, self.weight, self.best_run) = (candidate, weight, run);
            Outcome::Taken
        } else {
            Outcome::Refused(run)
        };
        self.tell(is_improvement)?;
        Ok(outcome)
    }

    fn tell(&mut self, is_improvement: bool) -> Result<(), Stopped> {
        match (self.watch)(Attempt { best: &self.best, is_improvement }) {
            ControlFlow::Break(()) => Err(Stopped),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    /// The first strike that falls on another kind of call in this run than in the best plan's.
    fn moved_strike(&self, candidate: &Plan, run: &Run) -> Option<usize> {
        if strikes(candidate).count() != strikes(self.best()).count() {
            return None;
        }
        let mut pairs = self.best_run.strikes.iter().zip(&run.strikes);
        let moved = pairs.position(|(before, now)| kind(before.site.as_ref()) != kind(now.site.as_ref()))?;
        self.best_run.strikes[moved].site.is_some().then_some(moved)
    }
}

/// What is wrong in a run that fails.
fn violation_of(run: &Run) -> &Violation {
    run.verdict.as_ref().expect_err("only plans that fail are taken")
}

/// What a call does to what kind of file: its path without the numbers that tell segments apart.
fn kind(call: Option<&IoCall>) -> Option<(String, String)> {
    let without_digits = |path: &std::path::Path| {
        path.to_string_lossy().chars().filter(|character| !character.is_ascii_hexdigit()).collect()
    };
    call.map(|call| (call.operation.to_string(), without_digits(&call.path)))
}

/// The occasions at which faults strike that are counted, planted or announced, in the order of the plan.
fn occasions(plan: &mut Plan) -> Vec<&mut u64> {
    let announced = plan.steps.iter_mut().filter_map(|step| match step {
        Step::Fault(fault) => Some(fault),
        _ => None,
    });
    let counted = plan.sabotage.iter_mut().chain(announced).filter_map(|fault| match &mut fault.when {
        Occasion::Nth(nth) => Some(nth),
        Occasion::Every(_) | Occasion::Rate { .. } => None,
    });
    counted.collect()
}

/// All strikes of a plan, in the order in which they fall.
pub(super) fn strikes(plan: &Plan) -> impl Iterator<Item = &Strike> {
    let specs =
        plan.steps.iter().filter_map(|step| if let Step::Crash(spec) = step { Some(spec) } else { None });
    specs.flat_map(|spec| &spec.strikes)
}

/// The strike number `index` of a plan.
///
/// # Panics
/// If there are fewer.
pub(super) fn strike(plan: &Plan, index: usize) -> &Strike {
    strikes(plan).nth(index).expect("the caller counted the strikes")
}

/// The same, to be changed.
pub(super) fn strike_mut(plan: &mut Plan, index: usize) -> &mut Strike {
    let specs =
        plan.steps.iter_mut().filter_map(|step| if let Step::Crash(spec) = step { Some(spec) } else { None });
    specs.flat_map(|spec| &mut spec.strikes).nth(index).expect("the caller counted the strikes")
}
