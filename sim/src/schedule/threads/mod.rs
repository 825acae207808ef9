//! The schedule `threads`: clients are threads of [shuttle](https://docs.rs/shuttle), and so is upkeep.
//!
//! The store is compiled against shuttle, so that each of its locks and atomics is a *switch point*, and so is each I/O
//! call, before it and after it. At a switch point another thread may go on; between two of them a thread has the machine
//! to itself. One operating system thread carries all of them, and nothing is left to chance that the plan doesn't name.
//!
//! **Phases.** Steps of clients and of upkeep that follow each other make a phase: each thread takes its own in the plan's
//! order, all beside each other. Any other step is taken by the driver alone, while all threads wait at their gates, with
//! their transactions open. A power loss that a crash step asks for strikes in the phase after it, at the I/O call that it
//! names, whoever makes it. Then every thread hears of it with its next answer, all of them drop what they hold, and the
//! driver recovers. Steps that were under way are over, and nobody begins one while there is no power; what has not been begun
//! by then is taken after the recovery, as a phase of its own. Threads live from one opening of the store to the next.
//!
//! - `board`: what each thread is about, and whose turn it is.
//! - `policy`: how chance decides that.
//! - `record`: how the plan does.
//! - `vigil`: whether the run still comes to anything.
//! - `crew`: the threads.
//!
//! **Abandoned.** A step `abandon` has the driver drop its handle on the store first. Then every thread drops its own, and after
//! that what it has open: so there are transactions that outlive all handles.
//!
//! **Stuck.** If no thread can go on before all have taken their steps, or if they go on for very long without coming to
//! anything, the run ends there, and its history says what each of them was doing.
//! What they hold is never dropped, because nothing can make them go on to drop it: about 200 KiB of a small plan stay with the
//! process for each such run.

mod board;
mod crew;
mod policy;
mod record;
mod vigil;

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use proofmark_engine_shuttle::memory;
use proofmark_model::Event;
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

pub(crate) use self::board::Decided;
use self::board::{Board, Turns};
use self::crew::Threads;
use crate::disk::SimDisk;
use crate::plan::{self, Plan};
use crate::run::{Driver, Ending, Outcome, Recorder, Session, Shared, catch, hush_panics};
use crate::store::StoreFactory;

/// The bytes of a thread's stack. They are mapped, and touched only as far as they are used.
const STACK_BYTES: usize = 1 << 20;

/// Everything that the threads of a run share. Clones are the same.
#[derive(Clone)]
struct World {
    plan: Arc<Plan>,
    factory: &'static dyn StoreFactory,
    disk: SimDisk,
    book: Shared,
    board: Board,
}

impl World {
    /// Puts on record what no step of the plan has caused.
    fn record(&self, event: Event) {
        self.book.lock().recorder.event(event, None, &self.disk);
    }
}

/// Carries out a plan whose clients are threads.
///
/// # Panics
/// If the store isn't [built for threads](StoreFactory::for_threads).
pub(crate) fn carry_out(
    plan: &Plan,
    schedule: plan::Threads,
    factory: &dyn StoreFactory,
    ending: Ending,
    disk: &SimDisk,
    recorder: Recorder,
) -> Outcome {
    let plan = Arc::new(plan.clone());
    let world = World {
        factory: factory.for_threads().expect("whoever asks for threads has checked that the store has them"),
        disk: disk.clone(),
        book: Shared::new(recorder),
        board: Board::new(Arc::clone(&plan), disk.clone(), schedule),
        plan,
    };
    hush_panics();
    // A thread of its own: what an execution leaves on it that ended in the middle is gone with it.
    thread::scope(|scope| {
        let ran = scope.spawn(|| execute(&world, ending)).join();
        ran.unwrap_or_else(|panic| panic::resume_unwind(panic));
    });
    let (stuck, decided) = world.board.finish();
    if let Some((kind, what)) = stuck {
        world.record(Event::Stuck { kind, what });
    }
    Outcome::of_threads(&world.book, disk, decided)
}

/// Runs the driver and its crew to their end, or until they are stuck.
fn execute(world: &World, ending: Ending) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::None;
    config.silence_warnings = true;
    let turns = Turns::new(world.board.clone());
    // Shuttle would call it for every execution: there is one.
    let once = Mutex::new(Some(world.clone()));
    let main = move || {
        let world = once.lock().unwrap_or_else(PoisonError::into_inner).take();
        drive(&world.expect("there is one execution"), ending);
    };
    memory::begin();
    let ran = panic::catch_unwind(AssertUnwindSafe(|| Runner::new(turns, config).run(main)));
    ran.map_or_else(|panic| panic::resume_unwind(panic), |_| ());
    // Whoever is stuck holds what it holds. Otherwise the store is gone, and its memory has to be, too.
    if !world.board.is_stuck()
        && let Err(error) = catch(memory::end)
    {
        world.record(Event::Failed { what: "drop".to_owned(), error });
    }
}

fn drive(world: &World, ending: Ending) {
    world.board.begin();
    let World { plan, factory, disk, book, .. } = world;
    let session = Session::new(*factory, &plan.config, disk.clone(), book.clone());
    let mut driver = Driver::new(session, Some(Box::new(Threads::new(world.clone()))));
    let end = driver.drive(plan, ending);
    driver.leave(&end);
    world.board.end();
}

#[cfg(test)]
mod tests;
