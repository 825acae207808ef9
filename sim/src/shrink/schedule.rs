//! The schedule: the order in which tasks took their steps; the plan's own order, if that fails too; otherwise what was
//! drawn, written down, with fewer and fewer turns that a thread loses.

use proofmark_model::Checker;

use super::search::{Search, Stopped};
use super::structure::drop_groups;
use crate::plan::{Schedule, Step};

/// Does without time, and without threads, if it can; and otherwise without chance.
pub(super) fn settle(search: &mut Search<'_>) -> Result<(), Stopped> {
    if search.best().schedule == Schedule::Sequential {
        return Ok(());
    }
    if let Some(taken) = &search.best_run().taken {
        let in_order = search.best().of_taken(taken);
        return search.attempt(in_order).map(|_| ());
    }
    let in_order = search.best().in_order();
    // Whoever comes to no end among threads may come to none alone, and nobody could stop it there.
    if search.violation().checker != Checker::Liveness && search.attempt(in_order)? {
        return Ok(());
    }
    record(search)
}

/// Takes away switches, many at a time first.
pub(super) fn drop_switches(search: &mut Search<'_>) -> Result<(), Stopped> {
    if !matches!(search.best().schedule, Schedule::Threads(_)) {
        return Ok(());
    }
    // Of those that are written down some may have come to nothing by now.
    record(search)?;
    let steps = search.best().steps.iter().enumerate();
    let switches = steps.filter(|(_, step)| matches!(step, Step::Switch(_))).map(|(index, _)| vec![index]);
    let groups = switches.collect();
    drop_groups(search, groups)
}

/// Takes away the switches that do not come, whether or not there was time for everything else.
pub(super) fn drop_unapplied(search: &mut Search<'_>) {
    if search.best_run().switches_unapplied > 0 {
        // Whoever has had enough of it gets the plan without them all the same.
        let _ = record(search);
    }
}

/// Writes down what happened in the run of the best plan.
fn record(search: &mut Search<'_>) -> Result<(), Stopped> {
    let recorded = search.best().recorded(&search.best_run().switches);
    search.attempt(recorded).map(|_| ())
}
