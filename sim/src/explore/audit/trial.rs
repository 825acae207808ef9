//! One trial of the audit: a run without some of its syncs.

use super::{Audit, lie_for};
use crate::disk::{Choice, Fault, FaultKind, Kept, PendingEffect, Survival};
use crate::explore::follow_up::FollowUp;
use crate::explore::recording::{Recording, WINDOW_BOUNDARIES};
use crate::explore::sites::SyncCall;
use crate::explore::unit::{Known, Unit};
use crate::explore::{Exploration, Finding};
use crate::plan::Plan;
use crate::run::run_plan;

/// So many effects of a sync are lost one by one.
const SINGLE_EFFECTS_MAX: usize = 24;

/// Removes syncs from a run.
#[derive(Clone, Copy)]
pub(super) struct Removal<'a> {
    pub(super) audit: &'a Audit<'a>,
    pub(super) plan: &'a Plan,
    /// Those of the run as it is.
    pub(super) syncs: &'a [SyncCall],
    pub(super) should_stop: &'a dyn Fn() -> bool,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    /// The call that became a lie, last of all.
    pub(super) call: u64,
    /// A violation that its plan shows again.
    pub(super) finding: Option<Finding>,
    /// Whether that was found before a sync right after the next change would have come.
    pub(super) is_missed_if_late: bool,
    /// The first violation that its plan does not show again.
    pub(super) unreproduced: Option<Finding>,
}

impl Removal<'_> {
    /// Removes the sync at which this lie strikes; none if it strikes nowhere, or was stopped before its end.
    pub(super) fn one(&self, kind: FaultKind, nth: u64) -> Option<Trial> {
        self.explored(vec![Fault::once(kind, nth)], u64::MAX)
    }

    /// Removes all of these calls, one after the other, and explores what follows each before the next. None if it was stopped
    /// before its end.
    pub(super) fn all(&self, calls: &[u64]) -> Option<Trial> {
        let mut lies: Vec<Fault> = Vec::new();
        let mut last: Option<Trial> = None;
        for (index, call) in calls.iter().enumerate() {
            if (self.should_stop)() {
                return None;
            }
            lies.extend(self.lie_at(&lies, *call));
            let until = calls.get(index + 1).copied().unwrap_or(u64::MAX);
            let unreproduced = last.and_then(|trial| trial.unreproduced);
            last = self.explored(lies.clone(), until);
            if let Some(trial) = &mut last {
                trial.unreproduced = unreproduced.or(trial.unreproduced.take());
                if trial.finding.is_some() {
                    return last;
                }
            }
        }
        last
    }

    /// Runs the plan with lies, and explores from the last of them on, up to the call with the number `until`. None if there
    /// was none, or if it was stopped before something was found.
    ///
    /// A lie that has not been told yet would strike some sync of a recovery: all of them have to be behind.
    fn explored(&self, lies: Vec<Fault>, until: u64) -> Option<Trial> {
        let Audit { factory, bound, boundaries_max, .. } = *self.audit;
        let mut plan = self.plan.clone();
        plan.sabotage.extend(lies);
        let survey = Recording::survey(&plan, factory);
        let call = *survey.sabotaged_calls().last()?;
        let removed = |sync: &&SyncCall| survey.sabotaged_calls().contains(&sync.call);
        let covered: Vec<u64> =
            self.syncs.iter().filter(removed).flat_map(|sync| &sync.covers).copied().collect();
        // A late sync comes after the boundary that follows the next change.
        let follower =
            self.syncs.iter().find(|sync| sync.call == call).and_then(|sync| sync.follower.as_ref());
        let calls = survey.boundary_calls();
        let behind = |change: u64| calls.get(calls.partition_point(|number| *number <= change)).copied();
        let late = follower.and_then(|follower| behind(follower.call)).unwrap_or(u64::MAX);
        let after = calls.iter().copied().filter(|number| (call + 1..=until).contains(number));
        let after: Vec<u64> = after.take(boundaries_max).collect();
        let mut trial = Trial { call, finding: None, is_missed_if_late: false, unreproduced: None };
        let exploration = Exploration { plan: &plan, factory, depth: 1, bound, jobs: 1 };
        let follow_up = FollowUp::new(&plan);
        let mut known: Option<(usize, Known)> = None;
        'explored: for window in after.chunks(WINDOW_BOUNDARIES) {
            let recording = Recording::window(&plan, factory, window[0]..=window[window.len() - 1]);
            let unit = Unit {
                exploration: &exploration,
                recording: &recording,
                follow_up: &follow_up,
                should_stop: self.should_stop,
            };
            for moment in recording.moments() {
                if !moment.boundary.disk.has_lied() {
                    break 'explored;
                }
                let known = match &mut known {
                    Some((event_count, known)) if *event_count == moment.event_count => known,
                    known => &mut known.insert((moment.event_count, unit.known(moment.event_count))).1,
                };
                let first = without(&moment.boundary.disk.pending(), &covered);
                let (_, found) = unit.boundary(&moment, known, first);
                trial.is_missed_if_late = moment.boundary.call.number <= late;
                if trial.take(found) {
                    return Some(trial);
                }
                if known.was_stopped() {
                    return None;
                }
            }
        }
        // The run goes on with the lie to its own power losses.
        trial.is_missed_if_late = false;
        trial.take(survey.verdict().clone().err().map(|violation| {
            let replayed = run_plan(&plan, factory).verdict;
            Finding { violation, plan: plan.clone(), replayed, call }
        }));
        Some(trial)
    }

    /// The lie that strikes this call, after other lies. It counts only the syncs that those let through, and that cover
    /// something, so that it has to be looked for.
    fn lie_at(&self, lies: &[Fault], call: u64) -> Option<Fault> {
        let kind = lie_for(self.syncs.iter().find(|sync| sync.call == call)?.operation);
        let struck = |nth: u64| {
            let mut plan = self.plan.clone();
            plan.sabotage.extend(lies.iter().cloned().chain([Fault::once(kind, nth)]));
            let recording = Recording::new(&plan, self.audit.factory, Kept::NONE);
            // The calls before it are struck by the other lies.
            recording.sabotaged_calls().get(lies.len()).copied().unwrap_or(u64::MAX)
        };
        let (mut low, mut high) = (1, self.syncs.len() as u64);
        while low < high {
            let middle = low.midpoint(high);
            if struck(middle) < call {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (struck(low) == call).then(|| Fault::once(kind, low))
    }
}

impl Trial {
    /// Takes what was found; whether that ends the trial.
    fn take(&mut self, found: Option<Finding>) -> bool {
        match found {
            Some(finding) if finding.is_reproduced() => self.finding = Some(finding),
            Some(finding) => self.unreproduced = Some(self.unreproduced.take().unwrap_or(finding)),
            None => {}
        }
        self.finding.is_some()
    }
}

/// The images that lose what a sync should have covered: all of it, and each effect alone.
fn without(pending: &[PendingEffect], covered: &[u64]) -> Vec<Choice> {
    let lost: Vec<u64> =
        pending.iter().map(|effect| effect.sequence).filter(|sequence| covered.contains(sequence)).collect();
    let without = |is_lost: &dyn Fn(u64) -> bool| {
        let kept: Vec<Survival> =
            pending.iter().map(|effect| Survival::whole(!is_lost(effect.sequence))).collect();
        Choice::new(&kept)
    };
    let all = without(&|sequence| lost.contains(&sequence));
    let singles = lost.iter().take(SINGLE_EFFECTS_MAX).map(|single| without(&|sequence| sequence == *single));
    [all].into_iter().chain(singles).collect()
}
