//! The barrier audit: is every sync of a store needed, and do the checkers see that it is?
//!
//! A run is recorded. Then it is run again for each sync that covers something, on a disk that acknowledges that sync and
//! does nothing, of which nobody is told. From there on, as long as something that was to be durable is not, boundaries are
//! explored; the first images of each lose just that: all of it, and each effect alone. A violation that its own plan shows
//! again says that the sync is necessary, by whom it is missed, and after how long.
//!
//! **Baseline.** All of that says something only if nothing is found where no sync is removed. So every run is explored
//! first as it is, and one that is not sound is not audited.
//!
//! **Orderings.** A sync does two things: what it covers is durable when it returns, and before whatever follows. The first
//! change that follows is what it is ordered before. To weaken that ordering is to make the sync right after this change
//! instead of before it. Up to the first boundary behind the change, a run in which the sync comes late is one in which it
//! does not come; later, it is one in which it came. So what is found without the sync up to that boundary is exactly
//! what is found if it is late, and there the trial of the ordering ends.
//!
//! A site none of whose syncs is missed alone is tried again with all of them gone. If nothing fails even then, the sync
//! is waste, or no checker looks at what it protects, or the images that would show it were not among those tried.

mod reasons;
#[cfg(test)]
mod tests;
mod trial;

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

pub use self::reasons::{Reason, Shortfall, reason_for, shortfalls};
use self::trial::{Removal, Trial};
use super::recording::Recording;
use super::sites::{Site, SyncCall, syncs};
use super::{Coverage, Exploration, ExplorationError, Finding};
use crate::disk::{FaultKind, IoOperation};
use crate::plan::Plan;
use crate::store::StoreFactory;
use crate::workers::share_out;

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

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuditReport {
    /// What came of each run as it is.
    pub baseline: Vec<Coverage>,
    /// What was found about each site.
    pub sites: Vec<SiteReport>,
}

/// What was found about one site.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteReport {
    /// The site.
    pub site: Site,
    /// How many syncs it made in the runs.
    pub syncs: usize,
    /// How many of these covered something, and were removed one at a time.
    pub removed: usize,
    /// Of these, how many were missed.
    pub missed: usize,
    /// What these come before.
    pub orderings: Vec<OrderingReport>,
    /// The first that was missed; or, where none was, what came of removing all of them.
    pub necessity: Option<Necessity>,
    /// A violation that its plan does not show again: a defect of the audit, which says nothing about the site.
    pub unreproduced: Option<Finding>,
}

/// What was found about one kind of ordering: the syncs of a site, and the change that follows them.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderingReport {
    /// The change, and of which kind of file; none if the run ends without one.
    pub before: Option<String>,
    /// How many syncs were made right after it.
    pub weakened: usize,
    /// Of these, how many were missed.
    pub missed: usize,
    /// The first that was missed.
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
    syncs: Vec<SyncCall>,
}

impl Audit<'_> {
    /// Audits. `should_stop` is asked before each image, by every worker; `progress` sees how many removals are done,
    /// of how many at most. An audit that was stopped says of every site what was found by then, and of a removal that was cut short nothing.
    ///
    /// # Errors
    /// If a plan is not in its own order, if the run itself is not sound, or not with a power loss in it, or if no thread can be started.
    ///
    /// # Panics
    /// If there is no job to do the work, or if a worker panics.
    pub fn run(
        &self,
        should_stop: impl Fn() -> bool + Sync,
        progress: impl Fn(usize, usize) + Sync,
    ) -> Result<AuditReport, ExplorationError> {
        assert!(self.jobs > 0, "somebody has to do the work");
        let mut report = AuditReport::default();
        for plan in self.plans {
            report.baseline.push(self.baseline(plan, &should_stop)?);
        }
        let subject = |plan| {
            let survey = Recording::survey(plan, self.factory);
            Subject { plan, syncs: syncs(plan, &survey, self.factory) }
        };
        let subjects: Vec<Subject<'_>> = self.plans.iter().map(subject).collect();
        let removals: Vec<(usize, FaultKind, u64)> = (subjects.iter().enumerate())
            .flat_map(|(run, subject)| {
                removals(&subject.syncs).into_iter().map(move |(kind, nth)| (run, kind, nth))
            })
            .collect();
        let trials = self.parallel(removals.len(), &should_stop, &progress, |index| {
            let (run, kind, nth) = removals[index];
            Some((run, self.removal(&subjects[run], &should_stop).one(kind, nth)?))
        })?;
        let trials: Vec<(usize, Trial)> = trials.into_iter().flatten().collect();
        let mut calls: BTreeMap<&Site, Vec<(usize, &SyncCall)>> = BTreeMap::new();
        for (run, subject) in subjects.iter().enumerate() {
            for sync in &subject.syncs {
                calls.entry(&sync.site).or_default().push((run, sync));
            }
        }
        for (site, calls) in &calls {
            let mut of_site = site_report(site, calls, &trials);
            if of_site.necessity.is_none() && of_site.removed > 0 && !should_stop() {
                self.remove_whole_site(&subjects, &mut of_site, calls, &trials, &should_stop);
            }
            report.sites.push(of_site);
        }
        Ok(report)
    }

    /// Explores a run as it is.
    fn baseline(
        &self,
        plan: &Plan,
        should_stop: &(impl Fn() -> bool + Sync),
    ) -> Result<Coverage, ExplorationError> {
        let Audit { factory, bound, jobs, .. } = *self;
        let coverage = Exploration { plan, factory, depth: 1, bound, jobs }.run(should_stop, |_| {})?;
        match coverage.finding {
            Some(finding) => Err(ExplorationError::Baseline(Box::new(finding))),
            None => Ok(coverage),
        }
    }

    fn removal<'a>(&'a self, subject: &'a Subject<'a>, should_stop: &'a dyn Fn() -> bool) -> Removal<'a> {
        Removal { audit: self, plan: subject.plan, syncs: &subject.syncs, should_stop }
    }

    /// Removes all syncs of a site that were removed alone, in one run after the other, until they are missed.
    fn remove_whole_site(
        &self,
        subjects: &[Subject<'_>],
        report: &mut SiteReport,
        calls: &[(usize, &SyncCall)],
        trials: &[(usize, Trial)],
        should_stop: &dyn Fn() -> bool,
    ) {
        for (run, subject) in subjects.iter().enumerate() {
            let is_of_site = |call: u64| calls.iter().any(|(of, sync)| (*of, sync.call) == (run, call));
            let of_run = trials.iter().filter(|(of, _)| *of == run).map(|(_, trial)| trial.call);
            let removed: Vec<u64> = of_run.filter(|call| is_of_site(*call)).collect();
            let Some(trial) = self.removal(subject, should_stop).all(&removed) else { continue };
            if report.unreproduced.is_none() {
                report.unreproduced = trial.unreproduced;
            }
            if let Some(finding) = trial.finding {
                report.necessity = Some(Necessity { occurrence: None, finding });
                return;
            }
        }
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

/// The kind of lie that makes a sync cover nothing.
fn lie_for(operation: IoOperation) -> FaultKind {
    match operation {
        IoOperation::SyncDirectory => FaultKind::IgnoreDirectorySync,
        _ => FaultKind::IgnoreSync,
    }
}

/// The lies that may strike: no kind of sync covers something more often than it is made.
fn removals(syncs: &[SyncCall]) -> Vec<(FaultKind, u64)> {
    let of_kind = |kind| {
        let count = syncs.iter().filter(|sync| lie_for(sync.operation) == kind).count() as u64;
        (1..=count).map(move |nth| (kind, nth))
    };
    of_kind(FaultKind::IgnoreSync).chain(of_kind(FaultKind::IgnoreDirectorySync)).collect()
}

fn site_report(site: &Site, calls: &[(usize, &SyncCall)], trials: &[(usize, Trial)]) -> SiteReport {
    let mut report = SiteReport {
        site: site.clone(),
        syncs: calls.len(),
        removed: 0,
        missed: 0,
        orderings: Vec::new(),
        necessity: None,
        unreproduced: None,
    };
    for (index, (run, sync)) in calls.iter().enumerate() {
        let of_call = |(of, trial): &&(usize, Trial)| (*of, trial.call) == (*run, sync.call);
        let Some((_, trial)) = trials.iter().find(of_call) else { continue };
        report.removed += 1;
        if report.unreproduced.is_none() {
            report.unreproduced.clone_from(&trial.unreproduced);
        }
        let before = sync.follower.as_ref().map(|follower| follower.what.clone());
        let place = report.orderings.iter().position(|ordering| ordering.before == before);
        let place = place.unwrap_or_else(|| {
            report.orderings.push(OrderingReport { before, weakened: 0, missed: 0, necessity: None });
            report.orderings.len() - 1
        });
        let ordering = &mut report.orderings[place];
        ordering.weakened += 1;
        if let Some(finding) = &trial.finding {
            let necessity = Necessity { occurrence: Some(index + 1), finding: finding.clone() };
            report.missed += 1;
            if trial.is_missed_if_late {
                ordering.missed += 1;
                ordering.necessity.get_or_insert_with(|| necessity.clone());
            }
            report.necessity.get_or_insert(necessity);
        }
    }
    report
}
