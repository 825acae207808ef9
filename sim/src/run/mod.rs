//! From a plan to a verdict.
//!
//! The sequential schedule: one thread takes the plan's steps in the plan's own order, so that a run is exact and can
//! be repeated, shrunk and enumerated. Everything that was asked and answered becomes the history, which the model's
//! checkers judge; every event and every I/O call goes into one rolling hash, by which two runs are compared.
//!
//! **A power loss** ends the incarnation. Whatever is open is dropped, the disk decides what survived, the store is
//! opened again, everything it holds is recorded, and its own check is run. The next strike may fall into any of
//! that. Clients go on with their next `begin`.
//!
//! **The end of every run** is the same: strikes that have not come are carried out, the store is closed in good
//! order, with room on the disk, the power fails once more with nothing kept, and the store is opened a last time. If
//! faults have fired, all that goes on under them, and then they are switched off and the store is opened once more: on
//! bytes that are right again it has to be right again. It then lives on for a while (`session/aftermath.rs`), since
//! damage to its accounts shows only when it writes; no fault excuses anything of that. So does a store whose clients are
//! threads after any power loss, because it may have struck the last that they did.
//!
//! **An early end** is one at which the store failed, so that nothing can follow. The checkers must say the same of it.

mod driver;
mod outcome;
mod panics;
mod place;
mod recorder;
mod resume;
mod session;
mod stats;

use proofmark_model::{History, Violation};

pub(crate) use self::driver::{Crew, Driver, Farewell, Over};
pub(crate) use self::outcome::Outcome;
pub(crate) use self::panics::{catch, goes_on, install_hook as hush_panics};
pub(crate) use self::place::Place;
pub(crate) use self::recorder::Recorder;
pub(crate) use self::resume::{Resumed, resume};
pub(crate) use self::session::Memory;
pub(crate) use self::session::{Interrupt, Session, Shared};
pub(crate) use self::stats::Activity;
pub use self::stats::{CrashCounts, DenialCounts, RunStats};
use crate::determinism::Ladder;
use crate::disk::{Boundary, CrashReport, IoCall, Kept, SimDisk};
use crate::plan::{Plan, Schedule, Switch, Taken, Tasks};
use crate::schedule::tasks::{self, Disks, in_a_world};
use crate::schedule::threads;
use crate::store::{StoreFactory, StoreKind};
use crate::workload;

/// What came of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What happened.
    pub history: History,
    /// For each event of the history, the index of the plan's step that caused it; none for the first opening and for
    /// the end.
    pub event_steps: Vec<Option<usize>>,
    /// Hash of every event and every I/O call, in order. Equal plans on equal stores have equal hashes.
    pub trace_hash: u64,
    /// What the checkers say.
    pub verdict: Result<(), Violation>,
    /// What came of the plan's strikes, in their order. Those that the run did not get to are missing.
    pub strikes: Vec<StrikeReport>,
    /// Where threads lost their turns, each with the index of the plan's step that the thread was in; none before all steps.
    /// With these the plan is the same run again.
    pub switches: Vec<(Option<usize>, Switch)>,
    /// How many of the plan's own switches did not come, where threads go by them: their point was not reached, or whom they
    /// name could not go on there.
    pub switches_unapplied: usize,
    /// The steps that were taken, in order, if it was up to time which: in that order they are the same run without it.
    pub taken: Option<Vec<Taken>>,
    /// What happened, in numbers.
    pub stats: RunStats,
    /// What happened, in lines for a person, if they were asked for.
    pub trace: Option<Vec<String>>,
}

/// What came of one strike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrikeReport {
    /// The index of the plan's step that it fell into, or into the recovery from which it fell; none for the end.
    pub step: Option<usize>,
    /// How many I/O calls had been made by then since that step began, or that recovery, the one that was struck included.
    /// Where threads take steps beside each other, since all of these began.
    pub calls: u64,
    /// The call that was struck; none if the power was cut between two steps, because the strike was overdue.
    pub site: Option<IoCall>,
    /// What survived.
    pub report: CrashReport,
}

/// Runs the plan that `seed` stands for.
pub fn run_seed(seed: u64, store: StoreKind) -> Run {
    run_plan(&workload::generate(seed, store), store.factory())
}

/// Runs a plan on a store.
pub fn run_plan(plan: &Plan, factory: &dyn StoreFactory) -> Run {
    run(plan, factory, Ending::PowerLoss, false)
}

/// Runs a plan of tasks in the world of madsim's that is running, instead of one of its own: for madsim's check of
/// determinism.
///
/// # Panics
/// If the plan has another schedule.
pub async fn run_plan_here(plan: &Plan, factory: &dyn StoreFactory) -> Run {
    let Schedule::Tasks(schedule) = &plan.schedule else {
        panic!("{} is no schedule of tasks", plan.schedule)
    };
    let disk = prepare(plan);
    let recorder = Recorder::new(false);
    take_in_this_world(plan, schedule, factory, Ending::PowerLoss, &disk, recorder, None).await.judge()
}

/// Runs a plan on a store, and keeps a line for each step, event and I/O call.
pub fn trace_plan(plan: &Plan, factory: &dyn StoreFactory) -> Run {
    run(plan, factory, Ending::PowerLoss, true)
}

/// Runs a plan on a store, and takes everything that happens up a ladder. Nothing is judged.
pub(crate) fn climb_plan(plan: &Plan, factory: &dyn StoreFactory, ladder: Ladder) -> Ladder {
    let disk = prepare(plan);
    disk.record_trace(true);
    let outcome = carry_out(plan, factory, Ending::PowerLoss, &disk, Recorder::climbing(ladder));
    outcome.recording.ladder.expect("the recorder keeps the ladder that it was given")
}

/// Runs a plan without crashes on a store, and spares it the power loss at the end: such runs can be compared.
pub(crate) fn run_gently(plan: &Plan, factory: &dyn StoreFactory) -> Run {
    run(plan, factory, Ending::Reopening, false)
}

/// What a run ends with, before the store is opened for the last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The store is closed, and the power fails.
    PowerLoss,
    /// The store is closed.
    Reopening,
}

/// A run, and what it takes to lose the power anywhere in it.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) run: Run,
    /// For each event of the history, how many I/O calls had been made.
    pub(crate) event_calls: Vec<u64>,
    /// In order. The first one begins before the first call.
    pub(crate) places: Vec<Place>,
    /// Those that were asked for.
    pub(crate) boundaries: Vec<Boundary>,
    /// The numbers of the calls at all boundaries.
    pub(crate) boundary_calls: Vec<u64>,
    /// The I/O calls that a fault struck which nobody was told of.
    pub(crate) sabotaged_calls: Vec<u64>,
}

/// Runs a plan on a store, and keeps boundaries.
///
/// # Panics
/// If the plan is not in its own order: its run would be another one.
pub(crate) fn record_plan(plan: &Plan, factory: &dyn StoreFactory, kept: Kept) -> Recorded {
    assert_eq!(plan.schedule, Schedule::Sequential, "only the plan's own order has boundaries to keep");
    let disk = prepare(plan);
    disk.keep_boundaries(kept);
    let outcome = take_in_order(plan, factory, Ending::PowerLoss, &disk, Recorder::new(false));
    let event_calls = outcome.recording.calls.clone();
    let places = outcome.places.clone();
    let sabotaged_calls = outcome.recording.sabotaged_calls.clone();
    let (boundaries, boundary_calls) = disk.take_boundaries();
    Recorded { run: outcome.judge(), event_calls, places, boundaries, boundary_calls, sabotaged_calls }
}

fn run(plan: &Plan, factory: &dyn StoreFactory, ending: Ending, with_lines: bool) -> Run {
    let disk = prepare(plan);
    disk.record_trace(with_lines);
    carry_out(plan, factory, ending, &disk, Recorder::new(with_lines)).judge()
}

fn prepare(plan: &Plan) -> SimDisk {
    let disk = SimDisk::new(plan.disk);
    for sabotage in &plan.sabotage {
        disk.sabotage(sabotage.clone());
    }
    disk
}

fn carry_out(
    plan: &Plan,
    factory: &dyn StoreFactory,
    ending: Ending,
    disk: &SimDisk,
    recorder: Recorder,
) -> Outcome {
    match plan.schedule {
        Schedule::Sequential => take_in_order(plan, factory, ending, disk, recorder),
        Schedule::Tasks(schedule) => take_in_time(plan, &schedule, factory, ending, disk, recorder),
        Schedule::Threads(schedule) => threads::carry_out(plan, schedule, factory, ending, disk, recorder),
    }
}

/// The sequential schedule.
fn take_in_order(
    plan: &Plan,
    factory: &dyn StoreFactory,
    ending: Ending,
    disk: &SimDisk,
    recorder: Recorder,
) -> Outcome {
    let session = Session::new(factory, &plan.config, disk.clone(), Shared::new(recorder));
    let mut driver = Driver::new(session, None);
    let end = driver.drive(plan, ending);
    driver.finish(&end)
}

/// The schedule of tasks, in a world of its own.
fn take_in_time(
    plan: &Plan,
    schedule: &Tasks,
    factory: &dyn StoreFactory,
    ending: Ending,
    disk: &SimDisk,
    recorder: Recorder,
) -> Outcome {
    in_a_world(schedule.seed, async |disks| {
        take_in_this_world(plan, schedule, factory, ending, disk, recorder, Some(disks)).await
    })
}

async fn take_in_this_world(
    plan: &Plan,
    schedule: &Tasks,
    factory: &dyn StoreFactory,
    ending: Ending,
    disk: &SimDisk,
    recorder: Recorder,
    disks: Option<&Disks>,
) -> Outcome {
    let session = Session::new(factory, &plan.config, disk.clone(), Shared::new(recorder));
    let mut driver = Driver::new(session, None);
    let (passage, end) = tasks::carry_out(plan, schedule, &mut driver, ending, disks).await;
    driver.finish(&end).in_time(passage)
}

#[cfg(test)]
mod tests;
