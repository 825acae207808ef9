//! How the clients of a plan are interleaved.
//!
//! One interpreter takes the steps of all plans (`run`); what differs is who takes the next one, and where it may be
//! interrupted. In the plan's own order there is nothing to decide, and no step is ever interrupted but by a power loss.
//!
//! - [`tasks`]: each client is a task, and takes its steps in its own virtual time.
//! - [`threads`]: each client is a thread, and any of them may go on at every lock, atomic and I/O call.

pub(crate) mod tasks;
pub(crate) mod threads;

use crate::plan::{Plan, Schedule};
use crate::store::StoreFactory;

/// A store can't be run as a plan asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{store} can't be run with the schedule `{schedule}`: it is not built for threads that are simulated"
)]
pub struct Unscheduled {
    store: String,
    schedule: Schedule,
}

/// Whether a store can be run as `plan` asks for.
///
/// # Errors
/// If it can't.
pub fn check(plan: &Plan, factory: &dyn StoreFactory) -> Result<(), Unscheduled> {
    match plan.schedule {
        Schedule::Sequential | Schedule::Tasks(_) => Ok(()),
        Schedule::Threads(_) if factory.for_threads().is_some() => Ok(()),
        schedule @ Schedule::Threads(_) => Err(Unscheduled { store: factory.name().to_owned(), schedule }),
    }
}
