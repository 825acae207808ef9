//! The barrier audit: is every sync of a store needed, and do the checkers see that it is?
//!
//! A run is recorded. Then it is run again for each sync that covers something, on a disk that acknowledges that sync and
//! does nothing, of which nobody is told. From there on, as long as something that was to be durable is not, boundaries are
//! explored; the first images of each lose just that: all of it, and each effect alone. A violation says that the sync is
//! necessary, by whom it is missed, and after how long.
//!
//! **Removed and delayed.** Up to the next write and right after it, a sync that is made one write later is as good as
//! none. A violation so early therefore says that not even the order of the two may be given up.
//!
//! A site none of whose syncs is missed alone is tried again with all of them gone. If nothing fails even then, the sync
//! is waste, or no checker looks at what it protects, or the images that would show it were not among those tried.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::follow_up::FollowUp;
use super::recording::{ALL_CALLS, Moment, Recording};
use super::sites::{Site, sites};
use super::unit::Unit;
use super::{Exploration, ExplorationError, Finding};
use crate::disk::{Choice, Fault, FaultKind, IoOperation, PendingEffect, Survival};
use crate::plan::Plan;
use crate::run::run_plan;
use crate::store::StoreFactory;
use crate::workers::share_out;

/// So many effects of a sync are lost one by one.
const SINGLE_EFFECTS_MAX: usize = 24;

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Audit<'a> {
    /// The runs. A site is judged by what is found in any of them.
    pub plans: &'a [Plan],
    /// The store that they are run on.
    pub factory: &'a dyn StoreFactory,
    /// The most images of one boundary that are recovered.
    pub bound: usize,
    /// The most boundaries after a sync that are explored.
    pub boundaries_max: usize,
    /// The most threads that work.
    pub jobs: usize,
}

/// What was found about one site.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditReport {
    /// The site.
    pub site: Site,
    /// How many syncs it made in the run.
    pub syncs: usize,
    /// How many of these covered something, and were removed one at a time.
    pub removed: usize,
    /// Of these, how many were missed.
    pub missed: usize,
    /// Of these, how many were missed so early that making them one write later is as bad.
    pub missed_if_delayed: usize,
    /// The first that was missed; or, where none was, what came of removing all of them.
    pub necessity: Option<Necessity>,
}

/// Why a sync is necessary.
#[derive(Debug, Clone, PartialEq)]
pub struct Necessity {
    /// Which of the site's syncs was removed, counted from 1; none if all of them were.
    pub occurrence: Option<usize>,
    /// What is wrong without it, with a plan that shows it.
    pub finding: Finding,
}

/// A run without lies.
struct Subject<'a> {
    plan: &'a Plan,
    recording: &'a Recording,
    moments: Vec<Moment<'a>>,
}

/// What came of the removal of syncs.
#[derive(Debug, Clone)]
struct Trial {
    /// The call that became a lie, last of all.
    call: u64,
    finding: Option<Finding>,
    is_missed_if_delayed: bool,
}

impl Audit<'_> {
    /// Audits. `should_stop` is asked before each removal, by every worker; `progress` sees how many removals are done,
    /// of how many at most. An audit that was stopped says of every site what was found by then.
    ///
    /// # Errors
    /// If the run itself is not sound, or if no thread can be started.
    ///
    /// # Panics
    /// If there is no job to do the work, or if a worker panics.
    pub fn run(
        &self,
        should_stop: impl Fn() -> bool + Sync,
        progress: impl Fn(usize, usize) + Sync,
    ) -> Result<Vec<AuditReport>, ExplorationError> {
        assert!(self.jobs > 0, "somebody has to do the work");
        let mut runs = Vec::new();
        for plan in self.plans {
            let recording = Recording::with_callers(plan, self.factory);
            if let Err(violation) = recording.verdict() {
                return Err(ExplorationError::Unsound(Box::new(violation.clone())));
            }
            runs.push((plan, recording));
        }
        let subjects: Vec<Subject<'_>> = (runs.iter())
            .map(|(plan, recording)| Subject { plan, recording, moments: recording.moments(self.factory) })
            .collect();
        let removals: Vec<(usize, FaultKind, u64)> = (subjects.iter().enumerate())
            .flat_map(|(run, subject)| {
                removals(&subject.moments).into_iter().map(move |(kind, nth)| (run, kind, nth))
            })
            .collect();
        let trials = self.parallel(removals.len(), &should_stop, &progress, |index| {
            let (run, kind, nth) = removals[index];
            Some((run, self.remove(&subjects[run], vec![Fault::once(kind, nth)], u64::MAX)?))
        })?;
        let trials: Vec<(usize, Trial)> = trials.into_iter().flatten().collect();
        let mut calls: BTreeMap<Site, Vec<(usize, u64)>> = BTreeMap::new();
        for (run, subject) in subjects.iter().enumerate() {
            for (site, of_run) in sites(subject.plan, subject.recording, &subject.moments) {
                calls.entry(site).or_default().extend(of_run.into_iter().map(|call| (run, call)));
            }
        }
        let mut reports: Vec<AuditReport> =
            calls.iter().map(|(site, calls)| report(site.clone(), calls, &trials)).collect();
        for (report, calls) in reports.iter_mut().zip(calls.values()) {
            if report.necessity.is_some() || report.removed == 0 || should_stop() {
                continue;
            }
            let finding = (subjects.iter().enumerate()).find_map(|(run, subject)| {
                let is_tried =
                    |(of, trial): &&(usize, Trial)| *of == run && calls.contains(&(run, trial.call));
                let tried: Vec<u64> = trials.iter().filter(is_tried).map(|(_, trial)| trial.call).collect();
                self.remove_all(subject, &tried)?.finding
            });
            report.necessity = finding.map(|finding| Necessity { occurrence: None, finding });
        }
        Ok(reports)
    }

    /// Runs the plan with lies, and explores from the last of them on, up to the call with the number `until`. None if there
    /// was none.
    ///
    /// A lie that has not been told yet would strike some sync of a recovery: all of them have to be behind.
    fn remove(&self, subject: &Subject<'_>, lies: Vec<Fault>, until: u64) -> Option<Trial> {
        let mut plan = subject.plan.clone();
        plan.sabotage.extend(lies);
        let recording = Recording::new(&plan, self.factory, ALL_CALLS);
        let call = *recording.sabotaged_calls().last()?;
        let moments = recording.moments(self.factory);
        let covered: Vec<u64> =
            recording.sabotaged_calls().iter().flat_map(|call| covered(&subject.moments, *call)).collect();
        let after: Vec<&Moment<'_>> = moments
            .iter()
            .filter(|moment| (call + 1..=until).contains(&moment.boundary.call.number))
            .collect();
        let next_write = after.iter().position(|moment| moment.boundary.call.operation == IoOperation::Write);
        let follow_up = FollowUp::new(&plan);
        let exploration =
            Exploration { plan: &plan, factory: self.factory, depth: 1, bound: self.bound, jobs: 1 };
        let unit = Unit { exploration: &exploration, recording: &recording, follow_up: &follow_up };
        let mut known = None;
        for (index, moment) in after.iter().take(self.boundaries_max).enumerate() {
            if !moment.boundary.disk.has_lied() {
                break;
            }
            let known = match &mut known {
                Some((event_count, known)) if *event_count == moment.event_count => known,
                known => &mut known.insert((moment.event_count, unit.known(moment.event_count))).1,
            };
            let first = without(&moment.boundary.disk.pending(), &covered);
            if let (_, Some(finding)) = unit.boundary(moment, known, first) {
                let is_missed_if_delayed = next_write.is_none_or(|write| index <= write + 1);
                return Some(Trial { call, finding: Some(finding), is_missed_if_delayed });
            }
        }
        // The run goes on with the lie to its own power losses.
        let finding = recording.verdict().clone().err().map(|violation| {
            let replayed = run_plan(&plan, self.factory).verdict;
            Finding { violation, plan: plan.clone(), replayed, call }
        });
        Some(Trial { call, finding, is_missed_if_delayed: false })
    }

    /// Removes all of these calls, one after the other, and explores what follows each before the next.
    fn remove_all(&self, subject: &Subject<'_>, calls: &[u64]) -> Option<Trial> {
        let mut lies: Vec<Fault> = Vec::new();
        for (index, call) in calls.iter().enumerate() {
            lies.extend(self.lie_at(subject, &lies, *call));
            let until = calls.get(index + 1).copied().unwrap_or(u64::MAX);
            let trial = self.remove(subject, lies.clone(), until);
            if trial.as_ref().is_some_and(|trial| trial.finding.is_some()) {
                return trial;
            }
        }
        None
    }

    /// The lie that strikes this call, after other lies. It counts only the syncs that those let through, and that cover
    /// something, so that it has to be looked for.
    fn lie_at(&self, subject: &Subject<'_>, lies: &[Fault], call: u64) -> Option<Fault> {
        let is_call = |moment: &&Moment<'_>| moment.boundary.call.number == call;
        let operation = subject.moments.iter().find(is_call)?.boundary.call.operation;
        let kind = match operation {
            IoOperation::SyncDirectory => FaultKind::IgnoreDirectorySync,
            _ => FaultKind::IgnoreSync,
        };
        let struck = |nth: u64| {
            let mut plan = subject.plan.clone();
            plan.sabotage.extend(lies.iter().cloned().chain([Fault::once(kind, nth)]));
            let recording = Recording::new(&plan, self.factory, u64::MAX..=u64::MAX);
            // The calls before it are struck by the other lies.
            recording.sabotaged_calls().get(lies.len()).copied().unwrap_or(u64::MAX)
        };
        let (mut low, mut high) = (1, subject.moments.len() as u64);
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

    /// Does work with numbers below `count`, on several threads; the results stand in the order of the numbers.
    fn parallel<T: Send>(
        &self,
        count: usize,
        should_stop: &(impl Fn() -> bool + Sync),
        progress: &(impl Fn(usize, usize) + Sync),
        work: impl Fn(usize) -> Option<T> + Sync,
    ) -> io::Result<Vec<Option<T>>> {
        let done = AtomicUsize::new(0);
        let results: Mutex<Vec<Option<T>>> = Mutex::new((0..count).map(|_| None).collect());
        share_out(self.jobs.min(count).max(1), |index| {
            let index = usize::try_from(index).expect("it is below a count, or the first beyond");
            if should_stop() || index >= count {
                return ControlFlow::Break(());
            }
            let result = work(index);
            results.lock().unwrap_or_else(PoisonError::into_inner)[index] = result;
            // Relaxed: it is for the eye alone; results travel under the mutex.
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, count);
            ControlFlow::Continue(())
        })?;
        Ok(results.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The lies that may strike: no kind of sync covers something more often than it is made.
fn removals(moments: &[Moment<'_>]) -> Vec<(FaultKind, u64)> {
    let count = |is_directory: bool| {
        let of_kind = |operation: IoOperation| {
            operation.is_sync() && (operation == IoOperation::SyncDirectory) == is_directory
        };
        moments.iter().filter(|moment| of_kind(moment.boundary.call.operation)).count() as u64
    };
    let all = |kind, count| (1..=count).map(move |nth| (kind, nth));
    all(FaultKind::IgnoreSync, count(false)).chain(all(FaultKind::IgnoreDirectorySync, count(true))).collect()
}

fn report(site: Site, calls: &[(usize, u64)], trials: &[(usize, Trial)]) -> AuditReport {
    let mut report = AuditReport {
        site,
        syncs: calls.len(),
        removed: 0,
        missed: 0,
        missed_if_delayed: 0,
        necessity: None,
    };
    for (index, call) in calls.iter().enumerate() {
        let of_call = |(run, trial): &&(usize, Trial)| (*run, trial.call) == *call;
        let Some((_, trial)) = trials.iter().find(of_call) else { continue };
        report.removed += 1;
        if let Some(finding) = &trial.finding {
            report.missed += 1;
            report.missed_if_delayed += usize::from(trial.is_missed_if_delayed);
            let finding = finding.clone();
            report.necessity.get_or_insert(Necessity { occurrence: Some(index + 1), finding });
        }
    }
    report
}

/// What the sync with this number makes durable in a run without lies, by sequence: what is pending before it and no more
/// at the next boundary.
fn covered(moments: &[Moment<'_>], call: u64) -> Vec<u64> {
    let Some(index) = moments.iter().position(|moment| moment.boundary.call.number == call) else {
        return Vec::new();
    };
    let sequences = |moment: &Moment<'_>| -> BTreeSet<u64> {
        moment.boundary.disk.pending().iter().map(|effect| effect.sequence).collect()
    };
    let after = moments.get(index + 1).map(sequences).unwrap_or_default();
    sequences(&moments[index]).difference(&after).copied().collect()
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
