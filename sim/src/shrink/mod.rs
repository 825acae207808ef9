//! From a plan that fails to a small one that fails for the same reason.
//!
//! A plan that a seed stands for has hundreds of steps, and a person can't see in it what went wrong. Shrinking changes
//! it piece by piece and runs each candidate: no candidate is ever believed, and what is kept has been seen to fail.
//!
//! **The same reason** is the same checker with the same kind, and before the store was ever opened or after: what goes
//! wrong in a creation is seldom what went wrong later. A candidate that fails in another way is another defect, and is
//! passed over, as is one that nobody would run ([`Executor::admits`]).
//!
//! **Lighter** is one total order over plans ([`Weight`]): fewer power losses, then fewer steps, then fewer
//! faults, a disk that forgets less, fewer and plainer survivors, plainer operations, and so on down to names. A
//! candidate is taken only if it is lighter, so that shrinking ends, and ends in a plan that no pass can make lighter.
//! Passes are free to propose whatever they like.
//!
//! - `schedule`: the plan's own order, if that fails too, and fewer turns that threads lose.
//! - `structure`: what comes after the violation, clients, transactions, single steps, power losses, faults.
//! - `simplify`: plainer operations instead of others.
//! - `strikes`: where the power fails, and what survives it.
//! - `setting`: the configuration, and how the disk behaves.
//! - `data`: smaller keys and values, and names that a person can read.
//!
//! **Tasks.** The order in which tasks took their steps is a plan that is the same run: shrinking goes on from that.
//!
//! **Threads.** A schedule that was drawn is recorded first: every turn that a thread lost becomes a step of the plan, which
//! belongs to the step that the thread was in, and goes with it. What goes beyond that leaves a schedule, too. On the way a
//! switch may come to nothing; in what is left in the end all of them come.
//!
//! **Steps go, calls move.** A strike counts I/O calls from its crash step. Before anything is removed, each crash step
//! is therefore moved to right before the step that it strikes in; and when a strike comes to fall on another kind of
//! call after something was removed, the calls around it are tried as well.
//!
//! Nothing here knows a clock. Whoever watches is told of every run, and says when it is enough; without that, the same
//! plan shrinks to the same plan in the same number of runs.

mod data;
mod report;
mod schedule;
mod search;
mod setting;
mod simplify;
mod strikes;
mod structure;
mod weight;

use std::fmt;
use std::ops::ControlFlow;

use proofmark_model::{Checker, Event, Violation};

use self::search::{Search, Stopped};
use crate::plan::{Plan, Step};
use crate::run::Run;

pub use self::report::{commented_plan, regression_test};

/// Why a run failed, as far as two failures are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// Who says so.
    pub checker: Checker,
    /// What kind of violation it is.
    pub kind: &'static str,
    /// Whether the store had not been opened once by then.
    pub is_in_creation: bool,
}

/// Who runs candidates. Equal plans have to come to equal runs.
#[derive(Clone, Copy)]
pub struct Executor<'a> {
    /// Runs a plan.
    pub run: &'a dyn Fn(&Plan) -> Run,
    /// Whether a plan may be run: what is known to fail, and is kept out of every campaign, must not be found again in the
    /// place of what was to be shrunk.
    pub admits: &'a dyn Fn(&Plan) -> bool,
}

/// How large a plan is, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Steps that ask something of the store: everything but power losses and faults.
    pub operations: usize,
    /// Power losses, and deaths of the process alone.
    pub strikes: usize,
    /// Faults that are planted or announced, and limits to the space.
    pub faults: usize,
    /// Turns that a thread loses, if the schedule is recorded.
    pub switches: usize,
}

/// One run of a candidate, and where shrinking stands after it.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The lightest plan so far, and how many runs have been made.
    pub best: &'a Shrunk,
    /// Whether the plan is this run's.
    pub is_improvement: bool,
}

/// What came of shrinking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrunk {
    /// The lightest plan that was found.
    pub plan: Plan,
    /// What is wrong in its run.
    pub violation: Violation,
    /// Why it fails, and why the plan before did.
    pub reason: Reason,
    /// How large the plan was before.
    pub before: Size,
    /// How many runs it took.
    pub runs: u64,
    /// Whether no pass can make it lighter, and it was not stopped before that.
    pub is_complete: bool,
}

/// The plan does not fail, so that there is nothing to shrink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nothing to shrink: the plan does not fail")]
pub struct NothingToShrink;

/// Shrinks `plan`. `watch` is told of every run, from that of the plan itself on, and ends the search when it breaks.
///
/// # Errors
/// If the plan does not fail.
pub fn shrink(
    plan: &Plan,
    executor: Executor<'_>,
    watch: &mut dyn FnMut(Attempt<'_>) -> ControlFlow<()>,
) -> Result<Shrunk, NothingToShrink> {
    let mut search = Search::new(plan, executor, watch)?;
    let is_complete = search.begin().and_then(|()| to_the_end(&mut search)).is_ok();
    schedule::drop_unapplied(&mut search);
    Ok(Shrunk { is_complete, ..search.finish() })
}

/// Goes through all passes for as long as any of them makes the plan lighter.
fn to_the_end(search: &mut Search<'_>) -> Result<(), Stopped> {
    loop {
        let before = search.weight().clone();
        schedule::settle(search)?;
        structure::cut(search)?;
        strikes::drop_strikes(search)?;
        strikes::anchor(search)?;
        structure::drop_clients(search)?;
        structure::drop_transactions(search)?;
        structure::drop_steps(search)?;
        schedule::drop_switches(search)?;
        strikes::anchor(search)?;
        setting::drop_faults(search)?;
        setting::relax(search)?;
        simplify::operations(search)?;
        structure::merge_clients(search)?;
        strikes::survivors(search)?;
        strikes::calls(search)?;
        data::shorten(search)?;
        if *search.weight() == before && !structure::drop_pair(search)? {
            return data::rename(search);
        }
    }
}

impl Size {
    /// The size of `plan`.
    pub fn of(plan: &Plan) -> Size {
        let mut size = Size { faults: plan.sabotage.len(), ..Size::default() };
        for step in &plan.steps {
            match step {
                Step::Crash(spec) => size.strikes += spec.strikes.len(),
                Step::Fault(_) | Step::Heal | Step::Space(_) => size.faults += 1,
                Step::Switch(_) => size.switches += 1,
                _ => size.operations += 1,
            }
        }
        size
    }
}

impl Reason {
    /// Why `run` fails, if it does.
    pub fn of(run: &Run) -> Option<Reason> {
        let Violation { checker, kind, step, .. } = run.verdict.as_ref().err()?;
        let was_opened =
            run.history.events.iter().take(*step).any(|event| matches!(event, Event::Opened { .. }));
        Some(Reason { checker: *checker, kind, is_in_creation: !was_opened })
    }
}

impl<'a> Executor<'a> {
    /// Runs every plan.
    pub fn new(run: &'a dyn Fn(&Plan) -> Run) -> Executor<'a> {
        Executor { run, admits: &|_| true }
    }
}

impl fmt::Debug for Executor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").finish_non_exhaustive()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.operations, "operation", "operations"),
            (self.strikes, "power loss", "power losses"),
            (self.faults, "fault", "faults"),
            (self.switches, "switch", "switches"),
        ];
        // Operations are what a plan is about, even if there are none.
        let said = counts.iter().enumerate().filter(|(index, (count, ..))| *index == 0 || *count > 0);
        let said: Vec<String> = said
            .map(|(_, (count, one, many))| format!("{count} {}", if *count == 1 { one } else { many }))
            .collect();
        match said.split_last() {
            Some((last, [])) => f.write_str(last),
            Some((last, first)) => write!(f, "{} and {last}", first.join(", ")),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.checker, self.kind)
    }
}

#[cfg(test)]
mod tests;
