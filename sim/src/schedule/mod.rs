//! How the clients of a plan are interleaved.
//!
//! One interpreter takes the steps of all plans (`run`); what differs is who takes the next one, and where it may be
//! interrupted. In the plan's own order there is nothing to decide, and no step is ever interrupted but by a power loss.
//!
//! - [`tasks`]: each client is a task, and takes its steps in its own virtual time.
//! - [`threads`]: each client is a thread, and any of them may go on at every lock, atomic and I/O call.

pub(crate) mod tasks;
pub(crate) mod threads;

use std::collections::BTreeSet;

use crate::plan::{Plan, Schedule, Step, Thread};
use crate::store::StoreFactory;

/// The most clients that a plan for threads may have: each is a thread of its own.
pub const CLIENTS_MAX: usize = 64;

/// A store can't be run as a plan asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unscheduled {
    /// It is not built for that.
    #[error(
        "{store} can't be run with the schedule `{schedule}`: it is not built for threads that are simulated"
    )]
    NotBuilt {
        /// Its name.
        store: String,
        /// What the plan asks for.
        schedule: Schedule,
    },
    /// There are too many clients.
    #[error("{0} clients can't be threads: there are {CLIENTS_MAX} at most")]
    Clients(usize),
}

/// Whether a store can be run as `plan` asks for.
///
/// # Errors
/// If it can't.
pub fn check(plan: &Plan, factory: &dyn StoreFactory) -> Result<(), Unscheduled> {
    let Schedule::Threads(_) = plan.schedule else { return Ok(()) };
    if factory.for_threads().is_none() {
        let (store, schedule) = (factory.name().to_owned(), plan.schedule);
        return Err(Unscheduled::NotBuilt { store, schedule });
    }
    let clients: BTreeSet<Thread> = plan.steps.iter().filter_map(Step::thread).collect();
    let clients = clients.iter().filter(|thread| matches!(thread, Thread::Client(_))).count();
    if clients > CLIENTS_MAX { Err(Unscheduled::Clients(clients)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Engine;

    #[test]
    fn there_are_not_too_many_threads() {
        let plan = |schedule: &str, clients: usize| {
            let steps: String = (0..clients).map(|client| format!("c{client} begin read\n")).collect();
            format!("proofmark plan 1\nschedule {schedule}\n{steps}verify\n").parse::<Plan>().unwrap()
        };
        assert_eq!(check(&plan("threads recorded", 64), &Engine), Ok(()));
        assert_eq!(check(&plan("threads recorded", 65), &Engine), Err(Unscheduled::Clients(65)));
        assert_eq!(check(&plan("sequential", 65), &Engine), Ok(()));
        assert_eq!(check(&plan("tasks seed=1 think=1s", 65), &Engine), Ok(()));
    }
}
