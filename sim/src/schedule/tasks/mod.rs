//! The schedule of tasks: a world in virtual time, on [madsim](madsim).
//!
//! Every client is a task of the store's process, as are upkeep and a timer that asks for checkpoints; what befalls the
//! process from outside is a task beside it. Each takes a step, waits for as long as its I/O calls would have taken, thinks,
//! and takes the next one. All durations are drawn from the schedule's seed, and so is the order of what happens at the same
//! moment. Nothing ever waits for real: when all tasks sleep, the clock goes on to the next moment at which one wakes up.
//!
//! **A power loss** kills the process: its tasks are dropped wherever they are, its disk loses the power ([`Disks`]), and what
//! survives is decided as in every schedule. Some time later the process starts again, and opens the store; the next strike
//! may fall into that.
//!
//! **A step is atomic.** The order in which steps were taken is therefore a plan for the sequential schedule, and that plan's
//! run is the same run: equal events, equal I/O calls, equal hash. That is how a run of this schedule is shrunk and explored.
//! What time adds to the plan is in it: checkpoints of the timer, the commits that share a sync because they were handed in
//! within a window, and the begins that were refused beside an exclusive writer and tried again.
//!
//! **Stuck.** Nobody waits for another one here, so that a run ends if every step does. One that makes I/O calls without end is
//! ended by the session. If the tasks are given turn after turn and no step of the plan comes of it, because the timer's
//! checkpoints fill the time that a client's step takes, the run ends there. Either way the history says what each task waits
//! for. A store that goes on for ever without an I/O call is heard of by nobody.
//!
//! **What a store must not do** it can't do here: its clock is the world's, its hash maps are seeded alike in every run,
//! because each runs on a thread of its own, and a thread that it starts is an error.

mod clock;
mod disks;
mod process;
mod scripts;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::panic;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use madsim::Config;
use madsim::plugin::simulator;
use madsim::runtime::Runtime;
use proofmark_model::ClientId;

pub(crate) use self::clock::{Clock, sleep_until};
pub(crate) use self::disks::Disks;
use self::process::{Party, Process, counted};
use self::scripts::Scripts;
use crate::plan::{Plan, Step, Taken, Tasks};
use crate::random::Streams;
use crate::run::{Activity, Driver, Ending, Interrupt, Over};

/// The shortest time that anybody waits.
const MOMENT: Duration = Duration::from_micros(1);
/// So many turns in a row may pass without a step of the plan, beside those that fall into the pauses that it asks for.
const IDLE_TURNS_MAX: u64 = 200_000;
/// Of the pauses, how many times the average is passed over, to be sure.
const PAUSES_MAX: u128 = 4;

/// What time has made of a plan.
#[derive(Debug, Default)]
pub(crate) struct Passage {
    /// The steps in the order in which they were taken.
    pub(crate) taken: Vec<Taken>,
    /// How much virtual time has passed.
    pub(crate) elapsed: Duration,
    /// How often a task was given the processor.
    pub(crate) polls: u64,
}

/// Calls `work` in a world of its own, which is drawn from `seed`.
pub(crate) fn in_a_world<T: Send>(seed: u64, work: impl AsyncFnOnce(&Disks) -> T + Send) -> T {
    // A thread seeds its hash maps once, so it is one that has none yet.
    thread::scope(|scope| {
        let world = scope.spawn(|| {
            let runtime = Runtime::with_seed_and_config(seed, Config::default());
            runtime.add_simulator::<Disks>();
            runtime.block_on(async { work(&simulator::<Disks>()).await })
        });
        world.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}

/// Takes a plan's steps in the world that is running, with the disks that belong to it, if there are any.
pub(crate) async fn carry_out(
    plan: &Plan,
    tasks: &Tasks,
    driver: &mut Driver<'_>,
    ending: Ending,
    disks: Option<&Disks>,
) -> (Passage, Result<(), Over>) {
    let rest: Vec<usize> = driver.begin(plan).iter().map(|(index, _)| *index).collect();
    // The others were taken before the store was created, in their own order.
    let is_left: BTreeSet<usize> = rest.iter().copied().collect();
    let was_taken =
        |index: &usize| !is_left.contains(index) && !matches!(plan.steps[*index], Step::Switch(_));
    let taken = (0..plan.steps.len()).filter(was_taken).map(Taken::Planned).collect();
    let scripts = Scripts::new(plan, tasks, rest);
    let idle_turns_max = idle_turns_max(tasks, &scripts);
    let process = Process::new(scripts.clients());
    if let Some(disks) = disks {
        disks.mount(process.node(), driver.disk().clone());
    }
    let polls = process.polls().clone();
    let mut world = World {
        plan,
        tasks,
        driver,
        scripts,
        process,
        clock: Clock::new(Streams::new(tasks.seed).stream("task clock")),
        epoch: Duration::ZERO,
        next_checkpoint: Duration::ZERO,
        has_begun: false,
        wanted: BTreeMap::new(),
        idle_turns: 0,
        idle_turns_max,
        taken,
    };
    let end = counted(polls.clone(), world.live(ending)).await;
    if end.is_err() {
        let others = world.others();
        world.driver.session_mut().tell_endless(&others);
    }
    let elapsed = world.clock.now();
    (Passage { taken: world.taken, elapsed, polls: polls.load(Ordering::Relaxed) }, end)
}

/// The one who holds the store, and grants turns.
struct World<'p, 'd, 'a> {
    plan: &'p Plan,
    tasks: &'p Tasks,
    driver: &'d mut Driver<'a>,
    scripts: Scripts<'p>,
    process: Process,
    clock: Clock,
    /// When the store was there, and the first step could be taken.
    epoch: Duration,
    next_checkpoint: Duration,
    /// Whether a step has been taken since the store was created.
    has_begun: bool,
    /// When each party wants its next turn, if ever.
    wanted: BTreeMap<Party, Option<Duration>>,
    /// How many turns have passed since the latest step of the plan was taken.
    idle_turns: u64,
    idle_turns_max: u64,
    taken: Vec<Taken>,
}

impl World<'_, '_, '_> {
    async fn live(&mut self, ending: Ending) -> Result<(), Over> {
        let turn = self.process.start().await;
        let created = self.driver.create();
        let is_created = created.is_ok();
        self.survive(created).await?;
        self.epoch = self.clock.now();
        if is_created {
            turn.over(Some(self.epoch));
        }
        self.next_checkpoint = self.epoch + self.tasks.checkpoint_every.unwrap_or_default();
        while !self.scripts.are_over() {
            let turn = self.process.next_turn().await;
            self.count_turn()?;
            self.wanted.remove(&turn.party);
            let next = self.take_turn(turn.party).await?;
            self.wanted.insert(turn.party, next);
            turn.over(next);
        }
        self.driver.enter(None, || "the end".to_owned());
        self.strike_overdue().await?;
        self.driver.end(ending)
    }

    /// Lets somebody take a step; returns when the next one is wanted, if ever.
    async fn take_turn(&mut self, party: Party) -> Result<Option<Duration>, Over> {
        match party {
            Party::Start => unreachable!("a process starts when it is told to"),
            Party::Client(client) => self.take_client_turn(client).await,
            Party::Upkeep => {
                let Some(due) = self.scripts.upkeep().front() else { return Ok(None) };
                let (moment, index) = (self.epoch + due.at, due.index);
                if moment > self.clock.now() {
                    return Ok(Some(moment));
                }
                self.scripts.upkeep().pop_front();
                self.take(Some(index), Taken::Planned(index)).await.map(Some)
            }
            Party::Timer => {
                let Some(every) = self.tasks.checkpoint_every else { return Ok(None) };
                if self.scripts.clients_are_done() {
                    return Ok(None);
                }
                if self.next_checkpoint <= self.clock.now() {
                    // From the end of one to the next: a disk that takes longer for them would fall behind for ever.
                    let done = self.take(None, Taken::Added(Step::Checkpoint)).await?;
                    self.next_checkpoint = done + every;
                }
                Ok(Some(self.next_checkpoint))
            }
            Party::Fate => self.take_fate_turn().await,
        }
    }

    async fn take_client_turn(&mut self, client: ClientId) -> Result<Option<Duration>, Over> {
        let session = self.driver.session();
        let shares_syncs =
            || self.tasks.group_window.is_some() && session.promises().tickets && session.is_writing(client);
        let Some((index, taken)) = self.scripts.next_of_client(client, shares_syncs) else { return Ok(None) };
        let done = self.take(Some(index), taken).await?;
        if self.driver.session().was_refused_as_busy(client) {
            self.scripts.try_again(client, index);
        }
        Ok(Some(match self.tasks.group_window.filter(|_| self.scripts.has_handed_in(client)) {
            Some(window) => done + window,
            None => done + self.clock.pause(self.scripts.think(client)),
        }))
    }

    async fn take_fate_turn(&mut self) -> Result<Option<Duration>, Over> {
        let Some(due) = self.scripts.fate().front().copied() else { return Ok(None) };
        let (moment, now) = (self.epoch + due.at, self.clock.now());
        if moment > now {
            return Ok(Some(moment));
        }
        if !self.has_begun && !self.scripts.only_fate_is_left() {
            // In a plan, what comes first falls into the creation.
            return Ok(Some(now + MOMENT));
        }
        self.scripts.fate().pop_front();
        self.take(Some(due.index), Taken::Planned(due.index)).await.map(Some)
    }

    /// Takes a step, which the plan's step with this index has brought about; returns when its I/O calls are done.
    async fn take(&mut self, index: Option<usize>, taken: Taken) -> Result<Duration, Over> {
        let plan = self.plan;
        let step = match &taken {
            Taken::Planned(index) => &plan.steps[*index],
            Taken::Added(step) => step,
        };
        let (now, before) = (self.clock.now(), self.driver.disk().stats());
        let describe = || format!("{:>13}  {step}", Seconds(now).to_string());
        self.driver.enter(index, describe);
        if let (Some(index), Step::Crash(spec)) = (index, step) {
            self.strike_overdue().await?;
            self.driver.load(index, spec);
        }
        let outcome = self.driver.take_step(step);
        if index.is_some() {
            self.idle_turns = 0;
        }
        self.has_begun = true;
        self.taken.push(taken);
        self.survive(outcome).await?;
        Ok(self.clock.done(&before, &self.driver.disk().stats()))
    }

    fn count_turn(&mut self) -> Result<(), Over> {
        self.idle_turns += 1;
        if self.idle_turns <= self.idle_turns_max {
            return Ok(());
        }
        let turns = self.idle_turns_max;
        self.driver.session_mut().note_endless(format!("no step was taken in {turns} turns"));
        Err(Over)
    }

    /// What each task waits for, to be told after what happened.
    fn others(&self) -> String {
        let mut others = format!("; it is {}", Seconds(self.clock.now()));
        for (party, wanted) in &self.wanted {
            let Some(moment) = wanted else { continue };
            let moment = Seconds(*moment);
            let told = match self.scripts.wanted_by(*party) {
                Some((index, step)) => {
                    write!(others, "; {party} waits until {moment} for step {} ({step})", index + 1)
                }
                None => write!(others, "; {party} waits until {moment}"),
            };
            told.expect("a string takes everything");
        }
        others
    }

    /// Carries out the strikes that have not come.
    async fn strike_overdue(&mut self) -> Result<(), Over> {
        while self.driver.has_strikes() {
            self.survive(Err(Interrupt::PowerLost(Activity::Idle))).await?;
        }
        Ok(())
    }

    /// Goes on after a power loss, and after those in the recovery from it.
    async fn survive(&mut self, mut outcome: Result<(), Interrupt>) -> Result<(), Over> {
        loop {
            let activity = match outcome {
                Ok(()) => return Ok(()),
                Err(Interrupt::Failed) => return Err(Over),
                Err(Interrupt::PowerLost(activity)) => activity,
            };
            self.process.kill();
            self.wanted.retain(|party, _| *party == Party::Fate);
            self.scripts.forget();
            outcome = self.driver.lose_power(activity);
            if outcome.is_err() {
                continue;
            }
            sleep_until(self.clock.restart()).await;
            let turn = self.process.start().await;
            outcome = self.driver.recover();
            if outcome.is_ok() {
                turn.over(Some(self.clock.now()));
            }
        }
    }
}

/// How many turns in a row may pass without a step of the plan.
fn idle_turns_max(tasks: &Tasks, scripts: &Scripts<'_>) -> u64 {
    let Some(every) = tasks.checkpoint_every else { return IDLE_TURNS_MAX };
    let longest = scripts.longest_think().max(tasks.group_window.unwrap_or_default());
    let in_pauses = PAUSES_MAX * (longest.as_nanos() / every.as_nanos().max(1));
    IDLE_TURNS_MAX.saturating_add(u64::try_from(in_pauses).unwrap_or(u64::MAX))
}

/// A moment, for people.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6} s", self.0.as_secs_f64())
    }
}

#[cfg(test)]
mod tests;
