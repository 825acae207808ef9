//! Running a program on many schedules, and on one of them again.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use shuttle::scheduler::{
    PctScheduler, RandomScheduler, ReplayScheduler, Schedule, Scheduler, Task, TaskId, UrwRandomScheduler,
};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
use shuttle_engine::scheduler::serialization::serialize_schedule;

use crate::memory;

/// The most steps of one execution. One that takes more never ends.
const STEPS_MAX: usize = 30_000;

/// Bytes of a thread's stack.
const STACK: usize = 256 << 10;

/// How schedules are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Any thread that can run, at every step.
    Random,
    /// The thread with the highest priority; at so many steps less one it changes (Burckhardt and others, "A randomized
    /// scheduler with probabilistic guarantees of finding bugs", ASPLOS 2010).
    Priorities(usize),
    /// Each interleaving with the same probability (Zhao and others, "Selectively uniform concurrency testing", ASPLOS 2025).
    Uniform,
}

/// An execution that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How many executions were run, with this one.
    pub executions: usize,
    /// Its schedule: what [`replay`] takes.
    pub schedule: String,
    /// What went wrong.
    pub message: String,
}

impl fmt::Display for Strategy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Strategy::Random => formatter.write_str("random"),
            Strategy::Priorities(depth) => write!(formatter, "pct {depth}"),
            Strategy::Uniform => formatter.write_str("uniform"),
        }
    }
}

/// Runs `program` on so many schedules, the same for the same seed.
///
/// # Errors
/// The first execution that fails.
pub fn explore(
    strategy: Strategy,
    seed: u64,
    executions: usize,
    program: impl Fn() + Send + Sync + 'static,
) -> Result<(), Failure> {
    match strategy {
        Strategy::Random => run(RandomScheduler::new_from_seed(seed, executions), program),
        Strategy::Priorities(depth) => run(PctScheduler::new_from_seed(seed, depth, executions), program),
        Strategy::Uniform => run(UrwRandomScheduler::new_from_seed(seed, executions), program),
    }
}

/// Runs `program` on one schedule.
///
/// # Errors
/// The failure, if it fails.
pub fn replay(schedule: &str, program: impl Fn() + Send + Sync + 'static) -> Result<(), Failure> {
    run(ReplayScheduler::new_from_encoded(schedule), program)
}

fn run(
    scheduler: impl Scheduler + Send + 'static,
    program: impl Fn() + Send + Sync + 'static,
) -> Result<(), Failure> {
    // A thread of its own: what an execution that failed leaves behind on it is gone with it.
    std::thread::scope(|scope| {
        let ran = scope.spawn(|| run_here(scheduler, program));
        ran.join().expect("failures are caught there")
    })
}

fn run_here(
    scheduler: impl Scheduler + 'static,
    program: impl Fn() + Send + Sync + 'static,
) -> Result<(), Failure> {
    let mut config = Config::new();
    config.stack_size = STACK;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config.silence_warnings = true;
    config.ungraceful_shutdown_config.immediately_return_on_panic = true;
    let (count, schedule) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Schedule::default())));
    let recorder = Recorder { scheduler, schedule: Arc::clone(&schedule) };
    let counted = Arc::clone(&count);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        Runner::new(recorder, config).run(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            memory::begin();
            program();
            memory::end();
        });
    }));
    outcome.map_err(|payload| {
        let schedule = schedule.lock().expect("nothing panics while it is written");
        Failure {
            executions: count.load(Ordering::Relaxed),
            schedule: serialize_schedule(&schedule).split_whitespace().collect(),
            message: text(payload.as_ref()),
        }
    })
}

/// Writes down what another scheduler decides.
struct Recorder<S> {
    scheduler: S,
    schedule: Arc<Mutex<Schedule>>,
}

impl<S> Recorder<S> {
    fn note(&self, change: impl FnOnce(&mut Schedule)) {
        change(&mut self.schedule.lock().expect("nothing panics while it is written"));
    }
}

impl<S: Scheduler> Scheduler for Recorder<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        let schedule = self.scheduler.new_execution()?;
        self.note(|noted| *noted = schedule.clone());
        Some(schedule)
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let next = self.scheduler.next_task(runnable, current, is_yielding)?;
        self.note(|noted| noted.push_task(next));
        Some(next)
    }

    fn next_u64(&mut self) -> u64 {
        self.note(Schedule::push_random);
        self.scheduler.next_u64()
    }
}

/// What a panic said.
fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without a text".to_owned())
}
