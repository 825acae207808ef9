//! Crash exploration: one run, and every power loss in it.
//!
//! A run is recorded once. Before each I/O call that changes what a power loss could leave, the disk is forked, which
//! shares all pages. For each of these *boundaries* the legal images are enumerated (`images`), up to a bound; those
//! that are new among the images with the same legal outcomes are recovered: the store is opened, read and verified,
//! writes, commits, runs a checkpoint, is closed, loses its power once more, and is opened, read and verified again
//! (`follow_up`). What happened until the boundary and what followed it are one history, judged by the model's checkers
//! (`judge`). The death of the process alone is one more image. At depth two the power is lost at each boundary inside of
//! recoveries as well.
//!
//! A violation becomes a plan: the recorded one, cut at the boundary, with the survivors named (`finding`).
//!
//! **Invariants.** What is tried depends on the plan, the bound and the depth alone, and not on the number of jobs.
//! Whatever follows a power loss here is what follows it in a whole run of the finding's plan; a violation that such a run
//! does not show is a defect of the exploration, and said to be one.
//!
//! **Memory.** The run is made again for each window of [`WINDOW_BOUNDARIES`] boundaries, and only the forks at these are
//! held, beside one history for each thread. A fork costs the pages that the run changes until the next one (4 KiB for each,
//! and 512 bytes for each 256 KiB of file that they lie in) and its list of pending effects.

mod audit;
mod finding;
mod follow_up;
mod images;
mod judge;
mod legal;
mod recording;
mod sites;
#[cfg(test)]
mod tests;
mod unit;
mod workload;

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use proofmark_model::Violation;

pub use self::audit::{
    Audit, AuditReport, Necessity, OrderingReport, Reason, Shortfall, SiteReport, reason_for, shortfalls,
};
pub use self::finding::{Finding, Need};
use self::follow_up::FollowUp;
pub use self::legal::Legal;
use self::recording::{Moment, Recording, WINDOW_BOUNDARIES};
pub use self::sites::{Activity, Site};
use self::unit::{Seen, Unit};
pub use self::workload::{built_in, built_in_for_audit};
use crate::disk::IoCall;
use crate::plan::{Plan, Schedule};
use crate::store::StoreFactory;
use crate::workers::share_out;

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Exploration<'a> {
    /// The run.
    pub plan: &'a Plan,
    /// The store that it is run on.
    pub factory: &'a dyn StoreFactory,
    /// How many power losses follow one another: 1 or 2.
    pub depth: u8,
    /// The most images of one boundary that are recovered. At depth two the first of them, an eighth, are recovered once
    /// for each boundary in their recovery as well, where again an eighth of this is the bound.
    pub bound: usize,
    /// The most threads that work.
    pub jobs: usize,
}

/// What came of one boundary.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundaryReport {
    /// The call before which the power was lost.
    pub call: IoCall,
    /// The index of the plan's step that was under way.
    pub step: Option<usize>,
    /// How many effects were pending.
    pub effects: usize,
    /// How many distinct images were recovered, the death of the process included.
    pub states: u64,
    /// How many choices of survivors were legal.
    pub legal: Legal,
    /// Recoveries: openings after a power loss or the death of the process, with everything read and verified.
    pub recoveries: u64,
    /// States inside of recoveries, of those.
    pub states_in_recovery: u64,
}

/// What came of an exploration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Coverage {
    /// The boundaries that were explored, in order; the last of them in part, if it was stopped there.
    pub boundaries: Vec<BoundaryReport>,
    /// How many boundaries there are.
    pub boundary_count: usize,
    /// The first violation, in the order of the boundaries and of the images of each; of those that were found by then, if
    /// it was stopped. Whether it is one of the store, its [plan](Finding::is_reproduced) has to show.
    pub finding: Option<Finding>,
    /// Whether it was stopped before its end, other than by a violation.
    pub was_stopped: bool,
}

impl Coverage {
    /// Distinct images that were recovered.
    pub fn states(&self) -> u64 {
        self.boundaries.iter().map(|boundary| boundary.states + boundary.states_in_recovery).sum()
    }

    /// Recoveries of them, and after them.
    pub fn recoveries(&self) -> u64 {
        self.boundaries.iter().map(|boundary| boundary.recoveries).sum()
    }

    /// How many boundaries have no legal image that was not recovered.
    pub fn exhausted(&self) -> usize {
        self.boundaries.iter().filter(|boundary| boundary.legal == Legal::Every).count()
    }
}

/// Why nothing can be explored.
#[derive(Debug, thiserror::Error)]
pub enum ExplorationError {
    /// The run of such a plan is not known from the plan alone. What came of it may be: [`Plan::of_taken`] puts tasks in order.
    #[error("only the plan's own order is explored, and this plan's schedule is `{0}`")]
    NotInOrder(Schedule),
    /// The run fails without any further power loss.
    #[error("the run itself violates {}: {}", .0.checker, .0.kind)]
    Unsound(Box<Violation>),
    /// A power loss in a run without a removed sync is enough: that a removal fails shows nothing then.
    #[error("a power loss in the run as it is violates {}: {}; explore it first", .0.violation.checker, .0.violation.kind)]
    Baseline(Box<Finding>),
    /// The operating system has no room for so many threads.
    #[error(transparent)]
    Threads(#[from] io::Error),
}

impl Exploration<'_> {
    /// Explores. `should_stop` is asked before each image, by every worker; `progress` sees how many of the boundaries are done, and
    /// how many recoveries were made, in order.
    ///
    /// # Errors
    /// If the plan is not in its own order, if the run itself is not sound, or if no thread can be started.
    ///
    /// # Panics
    /// If there is no job to do the work, or if a worker panics.
    pub fn run(
        &self,
        should_stop: impl Fn() -> bool + Sync,
        progress: impl Fn(&Coverage) + Sync,
    ) -> Result<Coverage, ExplorationError> {
        self.run_in_windows(WINDOW_BOUNDARIES, &should_stop, &progress)
    }

    fn run_in_windows(
        &self,
        window_boundaries: usize,
        should_stop: &(impl Fn() -> bool + Sync),
        progress: &(impl Fn(&Coverage) + Sync),
    ) -> Result<Coverage, ExplorationError> {
        assert!(self.jobs > 0, "somebody has to do the work");
        if self.plan.schedule != Schedule::Sequential {
            return Err(ExplorationError::NotInOrder(self.plan.schedule));
        }
        let survey = Recording::survey(self.plan, self.factory);
        if let Err(violation) = survey.verdict() {
            return Err(ExplorationError::Unsound(Box::new(violation.clone())));
        }
        let follow_up = FollowUp::new(self.plan);
        let calls = survey.boundary_calls().to_vec();
        drop(survey);
        let mut coverage = Coverage { boundary_count: calls.len(), ..Coverage::default() };
        let mut carried = None;
        for window in calls.chunks(window_boundaries) {
            let numbers = window[0]..=window[window.len() - 1];
            let recording = Recording::window(self.plan, self.factory, numbers);
            (coverage, carried) =
                self.window(&recording, &follow_up, coverage, carried, (should_stop, progress))?;
            if coverage.was_stopped || coverage.finding.is_some() {
                break;
            }
        }
        Ok(coverage)
    }

    /// Explores the boundaries that were kept. The first of them may belong to the group that ended the window before, and
    /// of which some images were seen: what is handed over is after how many events that was, and which.
    fn window(
        &self,
        recording: &Recording,
        follow_up: &FollowUp,
        coverage: Coverage,
        carried: Option<(usize, Seen)>,
        (should_stop, progress): (&(impl Fn() -> bool + Sync), &(impl Fn(&Coverage) + Sync)),
    ) -> io::Result<(Coverage, Option<(usize, Seen)>)> {
        let moments = recording.moments();
        let groups: Vec<&[Moment<'_>]> =
            moments.chunk_by(|left, right| left.event_count == right.event_count).collect();
        let merger =
            Mutex::new(Merger { coverage, seen: Seen::default(), next: 0, waiting: BTreeMap::new() });
        let first = moments.first().map(|moment| moment.event_count);
        let carried = carried.filter(|(event_count, _)| Some(*event_count) == first);
        let carried = Mutex::new(carried.map(|(_, seen)| seen));
        share_out(self.jobs.min(groups.len()).max(1), |index| {
            let index = usize::try_from(index).expect("there are not so many boundaries");
            let Some(group) = groups.get(index) else { return ControlFlow::Break(()) };
            let carried = || carried.lock().unwrap_or_else(PoisonError::into_inner).take();
            let seen = if index == 0 { carried().unwrap_or_default() } else { Seen::default() };
            let report = Unit { exploration: self, recording, follow_up, should_stop }.explore(group, seen);
            let mut merger = merger.lock().unwrap_or_else(PoisonError::into_inner);
            merger.take(index, report, progress)
        })?;
        let (coverage, seen) = merger.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
        Ok((coverage, moments.last().map(|moment| (moment.event_count, seen))))
    }
}

/// What came of boundaries that follow one another without an event between them.
#[derive(Debug, Default)]
struct GroupReport {
    boundaries: Vec<BoundaryReport>,
    finding: Option<Finding>,
    was_stopped: bool,
    seen: Seen,
}

/// Puts results into order.
#[derive(Debug)]
struct Merger {
    coverage: Coverage,
    /// What was seen of the latest group.
    seen: Seen,
    next: usize,
    waiting: BTreeMap<usize, GroupReport>,
}

impl Merger {
    /// Takes the report of a group; breaks when it is all over.
    fn take(&mut self, index: usize, report: GroupReport, progress: impl Fn(&Coverage)) -> ControlFlow<()> {
        self.waiting.insert(index, report);
        let coverage = &mut self.coverage;
        while coverage.finding.is_none()
            && !coverage.was_stopped
            && let Some(report) = self.waiting.remove(&self.next)
        {
            self.next += 1;
            coverage.boundaries.extend(report.boundaries);
            coverage.finding = report.finding;
            coverage.was_stopped = report.was_stopped;
            self.seen = report.seen;
            progress(coverage);
        }
        let is_over = coverage.finding.is_some() || coverage.was_stopped;
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// What came of all groups, when no more reports come, and what was seen of the latest. Where a group was stopped, those
    /// behind it are not counted, but what was found in them is not lost.
    fn finish(self) -> (Coverage, Seen) {
        let Merger { mut coverage, seen, waiting, .. } = self;
        coverage.finding =
            coverage.finding.or_else(|| waiting.into_values().find_map(|report| report.finding));
        (coverage, seen)
    }
}
