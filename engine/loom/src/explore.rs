//! Running a program on every schedule.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::memory;

/// The most steps of one execution. One that takes more never ends.
const STEPS_MAX: usize = 20_000;

/// How a program did on the schedules that were tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exploration {
    /// How many executions were run, with the one that failed.
    pub executions: usize,
    /// Whether these were all, up to the number of preemptions.
    pub is_complete: bool,
    /// What went wrong in the last one.
    pub failure: Option<String>,
}

/// Runs `program` on every schedule with at most so many preemptions, and with every value that a load may see, until one
/// of them fails. It gives up after `executions_max`.
///
/// A preemption is a switch from a thread that could go on. Every execution has to release the memory that it allocated.
pub fn explore(
    preemptions: usize,
    executions_max: usize,
    program: impl Fn() + Send + Sync + 'static,
) -> Exploration {
    // A thread of its own: what an execution that failed leaves behind on it is gone with it.
    std::thread::scope(|scope| {
        let explored = scope.spawn(|| explore_here(preemptions, executions_max, program));
        explored.join().expect("failures are caught there")
    })
}

fn explore_here(
    preemptions: usize,
    executions_max: usize,
    program: impl Fn() + Send + Sync + 'static,
) -> Exploration {
    let count = Arc::new(AtomicUsize::new(0));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = STEPS_MAX;
    builder.max_permutations = Some(executions_max);
    builder.checkpoint_interval = 1;
    let counted = Arc::clone(&count);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        builder.check(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            memory::begin();
            program();
            memory::end();
        });
    }));
    let executions = count.load(Ordering::Relaxed);
    let failure = outcome.err().map(|payload| text(payload.as_ref()));
    Exploration { executions, is_complete: failure.is_none() && executions < executions_max, failure }
}

/// What a panic said.
fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without a text".to_owned())
}
