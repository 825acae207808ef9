//! Going on from the middle of a run, on what a power loss there would have left.
//!
//! What follows is what would follow in a whole run of the same plan with that power loss in it: the same events, with
//! the same labels. Everything that a session remembers across a power loss follows from the events before it.

use proofmark_model::Event;

use super::recorder::Recorder;
use super::session::{Memory, Session};
use super::{Driver, Ending, Over};
use crate::disk::{Boundary, Kept, SimDisk};
use crate::plan::{Config, Step};
use crate::store::StoreFactory;

/// What followed a power loss.
#[derive(Debug)]
pub(crate) struct Resumed {
    /// From the power loss on.
    pub(crate) events: Vec<Event>,
    /// For each event, how many I/O calls the disk had seen.
    pub(crate) event_calls: Vec<u64>,
    /// How many I/O calls the disk had seen before the recovery, and after it.
    pub(crate) recovery_calls: (u64, u64),
    /// Those that were asked for.
    pub(crate) boundaries: Vec<Boundary>,
}

impl Resumed {
    /// How often the store was opened after a power loss.
    pub(crate) fn recoveries(&self) -> u64 {
        let is_crash = |event: &&Event| matches!(event, Event::Crash { .. });
        self.events.iter().filter(is_crash).count() as u64
    }
}

/// Recovers from a power loss, or from the death of the process alone, that has left `disk`, after the events that are
/// remembered; takes `steps`; and comes to the end of every run. Keeps boundaries, if any are asked for.
pub(crate) fn resume(
    factory: &dyn StoreFactory,
    config: &Config,
    disk: &SimDisk,
    memory: &Memory,
    is_power_loss: bool,
    steps: &[Step],
    kept: Option<Kept>,
) -> Resumed {
    if let Some(kept) = kept {
        disk.keep_boundaries(kept);
    }
    let session = Session::resuming(factory, config, disk.clone(), Recorder::silent(), memory, is_power_loss);
    let mut driver = Driver::new(session, None);
    let before = disk.io_calls();
    let mut after = u64::MAX;
    let end = driver.resume(steps, &mut after);
    let recording = driver.finish(&end).recording;
    Resumed {
        events: recording.history.events,
        event_calls: recording.calls,
        recovery_calls: (before, after),
        boundaries: disk.take_boundaries().0,
    }
}

impl Driver<'_> {
    fn resume(&mut self, steps: &[Step], recovered_after: &mut u64) -> Result<(), Over> {
        let recovered = self.recover();
        self.survive(recovered)?;
        *recovered_after = self.session.disk.io_calls();
        self.take(steps.iter().enumerate())?;
        self.end(Ending::PowerLoss)
    }
}
