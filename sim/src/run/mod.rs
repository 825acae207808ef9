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
//! damage to its accounts shows only when it writes; no fault excuses anything of that.

mod panics;
mod place;
mod recorder;
mod resume;
mod session;
mod stats;

use std::collections::VecDeque;

use proofmark_model::{FaultClass, History, Violation, judge};

pub(crate) use self::panics::{catch, install_hook as hush_panics};
pub(crate) use self::place::Place;
use self::place::Places;
pub(crate) use self::recorder::Recorder;
use self::recorder::Recording;
pub(crate) use self::resume::{Resumed, resume};
pub(crate) use self::session::Memory;
pub(crate) use self::session::{Interrupt, Session, Shared};
pub(crate) use self::stats::Activity;
pub use self::stats::{CrashCounts, DenialCounts, RunStats};
use crate::determinism::Ladder;
use crate::disk::{Boundary, CrashPoint, CrashReport, IoCall, Keep, Kept, SimDisk};
use crate::plan::{CrashSpec, Plan, Schedule, Step, Strike, Switch, Taken, Tasks};
use crate::schedule::tasks::{self, Disks, Passage, in_a_world};
use crate::schedule::threads::{self, Decided};
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
    /// How many I/O calls that step, or that recovery, had made by then, the one that was struck included.
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
pub(crate) fn record_plan(plan: &Plan, factory: &dyn StoreFactory, kept: Kept) -> Recorded {
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

/// What a driver leaves behind.
pub(crate) struct Outcome {
    recording: Recording,
    strikes: Vec<StrikeReport>,
    places: Vec<Place>,
    stats: RunStats,
    switches: Vec<(Option<usize>, Switch)>,
    switches_unapplied: usize,
    taken: Option<Vec<Taken>>,
}

impl Outcome {
    /// What is in a book when all who wrote in it have left.
    fn of(book: &Shared, disk: &SimDisk, places: Vec<Place>) -> Outcome {
        let (recording, strikes, stats) = book.finish(disk);
        Outcome {
            recording,
            strikes,
            places,
            stats,
            switches: Vec::new(),
            switches_unapplied: 0,
            taken: None,
        }
    }

    /// The same, after a run of threads.
    pub(crate) fn of_threads(book: &Shared, disk: &SimDisk, decided: Decided) -> Outcome {
        let mut outcome = Outcome::of(book, disk, Vec::new());
        outcome.stats.switch_points = decided.points;
        outcome.stats.context_switches = decided.context_switches;
        let Decided { switches, switches_unapplied, .. } = decided;
        Outcome { switches, switches_unapplied, ..outcome }
    }

    /// The same, after a run of tasks.
    fn in_time(mut self, passage: Passage) -> Outcome {
        self.stats.virtual_us = u64::try_from(passage.elapsed.as_micros()).unwrap_or(u64::MAX);
        self.stats.task_polls = passage.polls;
        Outcome { taken: Some(passage.taken), ..self }
    }

    fn judge(self) -> Run {
        let Outcome { recording, strikes, mut stats, switches, switches_unapplied, taken, .. } = self;
        let verdict = judge(&recording.history).map(|allowed| stats.commits_lost = allowed.lost_commits);
        Run {
            verdict,
            history: recording.history,
            event_steps: recording.steps,
            trace_hash: recording.trace_hash.expect("whoever carries out a plan hashes what happens"),
            strikes,
            switches,
            switches_unapplied,
            taken,
            stats,
            trace: recording.lines,
        }
    }
}

/// The store failed; the run is over.
pub(crate) struct Over;

/// Who takes the steps of clients, and those of upkeep, where that is not the driver itself.
pub(crate) trait Crew {
    /// Takes steps of the plan, each with its index, that may be taken beside each other. `session` has the store open. If it
    /// is interrupted, `steps` is what nobody has begun.
    fn carry_out(
        &mut self,
        session: &mut Session<'_>,
        steps: &mut Vec<(usize, &Step)>,
    ) -> Result<(), Interrupt>;

    /// Ends whatever is open beside the driver's own session.
    fn dismiss(&mut self, farewell: Farewell) -> Result<(), Interrupt>;
}

/// What becomes of open transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// They are aborted.
    Abort,
    /// They are dropped, as when a process dies.
    Drop,
}

/// Takes a plan's steps and carries its strikes through.
pub(crate) struct Driver<'a> {
    session: Session<'a>,
    /// None where the driver takes all steps.
    crew: Option<Box<dyn Crew>>,
    /// The power losses to come. The first one is armed.
    strikes: VecDeque<Strike>,
    /// How many I/O calls had been made when the step, or the recovery, under way began.
    calls_before: u64,
    places: Places,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(session: Session<'a>, crew: Option<Box<dyn Crew>>) -> Driver<'a> {
        Driver { session, crew, strikes: VecDeque::new(), calls_before: 0, places: Places::default() }
    }

    pub(crate) fn session(&self) -> &Session<'a> {
        &self.session
    }

    pub(crate) fn disk(&self) -> &SimDisk {
        &self.session.disk
    }

    /// What was recorded until the run was over.
    fn finish(self, end: &Result<(), Over>) -> Outcome {
        let (book, disk) = (self.session.share(), self.session.disk.clone());
        let places = self.leave(end);
        Outcome::of(&book, &disk, places)
    }

    /// Drops whatever is open still, if the run is over.
    pub(crate) fn leave(mut self, end: &Result<(), Over>) -> Vec<Place> {
        if end.is_err() {
            // The store failed, and that is on record: what dropping it does is of no interest any more.
            self.session.disk.power_off();
            let _ = self.dismiss(Farewell::Drop);
            let _ = self.session.drop_all();
        }
        self.session.leave();
        self.places.finish()
    }

    /// Takes all steps of the plan, and comes to the end of every run.
    pub(crate) fn drive(&mut self, plan: &Plan, ending: Ending) -> Result<(), Over> {
        let rest = self.begin(plan)?;
        let created = self.create();
        self.survive(created)?;
        self.take(rest.into_iter())?;
        self.end(ending)
    }

    /// Takes the steps that come before the store is created; returns those that come after, each with its index.
    pub(crate) fn begin<'p>(&mut self, plan: &'p Plan) -> Result<Vec<(usize, &'p Step)>, Over> {
        let creation_may_fail = self.session.promises().survives_loss_during_creation;
        let steps = plan.steps.iter().enumerate();
        let mut steps = steps.filter(|(_, step)| !matches!(step, Step::Switch(_))).peekable();
        let mut put_off = Vec::new();
        self.session.book().recorder.note(|| "open".to_owned());
        while let Some((index, step)) = steps.next_if(|(_, step)| matches!(step, Step::Fault(_))) {
            let Step::Fault(fault) = step else { unreachable!("only faults were taken") };
            if !creation_may_fail && fault.kind.class() != FaultClass::Transparent {
                put_off.push((index, step));
                continue;
            }
            self.session.enter(Some(index), || step.to_string());
            let planted = self.session.plant(fault);
            self.survive(planted)?;
        }
        if creation_may_fail
            && let Some((index, step)) = steps.next_if(|(_, step)| matches!(step, Step::Crash(_)))
        {
            self.enter(Some(index), || step.to_string());
            self.strike_soon(index, step)?;
        }
        put_off.extend(steps);
        Ok(put_off)
    }

    /// Opens the store for the first time.
    pub(crate) fn create(&mut self) -> Result<(), Interrupt> {
        self.places.enter(None, self.session.disk.io_calls());
        self.session.open(Activity::Creation)
    }

    /// Takes steps, and carries out the strikes that have not come by their end.
    fn take<'p>(&mut self, steps: impl Iterator<Item = (usize, &'p Step)>) -> Result<(), Over> {
        let mut steps = steps.filter(|(_, step)| !matches!(step, Step::Switch(_))).peekable();
        while let Some((index, step)) = steps.next() {
            if self.crew.is_some() && step.thread().is_some() {
                let mut phase = vec![(index, step)];
                while let Some(next) = steps.next_if(|(_, step)| step.thread().is_some()) {
                    phase.push(next);
                }
                self.take_phase(phase)?;
                continue;
            }
            self.enter(Some(index), || step.to_string());
            self.places.enter(Some(index), self.calls_before);
            self.strike_soon(index, step)?;
            let outcome = self.take_step(step);
            self.survive(outcome)?;
        }
        self.enter(None, || "the end".to_owned());
        self.strike_overdue()
    }

    /// Has the crew take steps. What a power loss leaves of them is taken after the recovery.
    fn take_phase(&mut self, mut phase: Vec<(usize, &Step)>) -> Result<(), Over> {
        while let Some(crew) = &mut self.crew
            && !phase.is_empty()
        {
            self.calls_before = self.session.disk.io_calls();
            let outcome = crew.carry_out(&mut self.session, &mut phase);
            self.survive(outcome)?;
        }
        Ok(())
    }

    /// Takes a step of the plan; one that asks for power losses has nothing to do but to arm them.
    pub(crate) fn take_step(&mut self, step: &Step) -> Result<(), Interrupt> {
        match step {
            Step::Reopen => self.reopen(),
            Step::Abandon => self.abandon(),
            Step::Crash(_) => Ok(()),
            step => self.session.take(step),
        }
    }

    /// What follows belongs to this step of the plan.
    pub(crate) fn enter(&mut self, step: Option<usize>, describe: impl FnOnce() -> String) {
        self.calls_before = self.session.disk.io_calls();
        self.session.enter(step, describe);
    }

    /// Ends what is open beside the driver's own session.
    fn dismiss(&mut self, farewell: Farewell) -> Result<(), Interrupt> {
        match &mut self.crew {
            Some(crew) => crew.dismiss(farewell),
            None => Ok(()),
        }
    }

    fn reopen(&mut self) -> Result<(), Interrupt> {
        self.dismiss(Farewell::Abort)?;
        self.session.close()?;
        self.session.open(Activity::Other)
    }

    fn abandon(&mut self) -> Result<(), Interrupt> {
        self.dismiss(Farewell::Drop)?;
        self.session.abandon()?;
        self.session.open(Activity::Other)?;
        self.session.verify(Activity::Other)
    }

    /// Comes to the end of every run.
    pub(crate) fn end(&mut self, ending: Ending) -> Result<(), Over> {
        self.places.end(self.session.disk.io_calls());
        let end = self.close_and_look(ending);
        self.survive(end)
    }

    fn close_and_look(&mut self, ending: Ending) -> Result<(), Interrupt> {
        self.session.recover_space()?;
        self.dismiss(Farewell::Abort)?;
        self.session.close()?;
        match ending {
            Ending::PowerLoss => {
                self.session.crash(Activity::End, &Keep::None)?;
                self.recover()?;
                // Also if an earlier healing has ended them: only now does the store have to show what they left of it.
                let was_struck = self.session.was_struck();
                if was_struck {
                    self.session.heal();
                    self.reopen()?;
                    self.session.verify(Activity::Other)?;
                }
                // What threads have left in a power loss has to be good for more than to be looked at, too.
                if was_struck || (self.crew.is_some() && !self.session.book().strikes.is_empty()) {
                    self.session.live_on()?;
                    self.reopen()?;
                    self.session.verify(Activity::Other)?;
                    self.session.stats.lived_on += u64::from(was_struck);
                }
            }
            Ending::Reopening => {
                self.session.open(Activity::Other)?;
                self.session.verify(Activity::Other)?;
            }
        }
        self.session.drop_all()
    }

    /// Arms the strikes of a crash step, after the strikes that should have come before.
    fn strike_soon(&mut self, index: usize, step: &Step) -> Result<(), Over> {
        let Step::Crash(spec) = step else { return Ok(()) };
        self.strike_overdue()?;
        self.load(index, spec);
        Ok(())
    }

    /// Arms the strikes of a crash step, while no others are to come.
    pub(crate) fn load(&mut self, index: usize, spec: &CrashSpec) {
        self.strikes.extend(spec.strikes.iter().cloned());
        self.places.arm(index, self.session.disk.io_calls());
        self.arm();
    }

    /// Whether strikes are to come.
    pub(crate) fn has_strikes(&self) -> bool {
        !self.strikes.is_empty()
    }

    /// Carries out the strikes that have not come.
    fn strike_overdue(&mut self) -> Result<(), Over> {
        while !self.strikes.is_empty() {
            self.survive(Err(Interrupt::PowerLost(Activity::Idle)))?;
        }
        Ok(())
    }

    fn arm(&self) {
        if let Some(Strike { call, moment, .. }) = self.strikes.front() {
            self.session.disk.arm(CrashPoint { call: *call, moment: *moment });
        }
    }

    /// Goes on after a power loss, and after those in the recovery from it.
    fn survive(&mut self, mut outcome: Result<(), Interrupt>) -> Result<(), Over> {
        loop {
            let activity = match outcome {
                Ok(()) => return Ok(()),
                Err(Interrupt::Failed) => return Err(Over),
                Err(Interrupt::PowerLost(activity)) => activity,
            };
            outcome = self.lose_power(activity).and_then(|()| self.recover());
        }
    }

    /// Drops whatever is open, and lets survive what the strike that has come lets survive.
    pub(crate) fn lose_power(&mut self, activity: Activity) -> Result<(), Interrupt> {
        let strike = self.strikes.pop_front().expect("the power fails only where a strike says so");
        self.places.strike(!self.strikes.is_empty());
        let disk = &self.session.disk;
        let site = if disk.has_crashed() { disk.crash_site() } else { None };
        let calls = disk.io_calls() - self.calls_before;
        disk.power_off();
        self.dismiss(Farewell::Drop)?;
        let report = self.session.crash(activity, &strike.keep)?;
        let report = StrikeReport { step: self.session.step(), calls, site, report };
        self.session.book().strikes.push(report);
        Ok(())
    }

    /// Opens the store after a power loss. The next strike may fall into that.
    pub(crate) fn recover(&mut self) -> Result<(), Interrupt> {
        self.calls_before = self.session.disk.io_calls();
        self.places.recover(self.calls_before);
        self.arm();
        self.session.open(Activity::Recovery)?;
        self.session.verify(Activity::Recovery)?;
        self.session.stats.recoveries += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
