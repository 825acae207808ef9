//! What a session remembers across a power loss.
//!
//! All of it follows from the events before, so that whoever goes on from the same moment many times reads them once.

use proofmark_model::{Event, Excuses, FaultClass};

/// What is remembered of the events that were taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    pub(super) labels_used: u32,
    /// Whether the disk may be full.
    pub(super) is_limited: bool,
    /// Whether the store was ever opened.
    pub(super) was_opened: bool,
    /// Whether a fault has fired, other than a transparent one.
    pub(super) was_struck: bool,
    /// What the faults so far excuse.
    pub(super) excuses: Excuses,
}

impl Memory {
    /// Of these events, from the start of a history.
    pub(crate) fn of(events: &[Event]) -> Memory {
        let mut memory = Memory::default();
        memory.take(events);
        memory
    }

    /// And of those that follow.
    pub(crate) fn take(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Begin { txn, .. } => self.labels_used = txn.0,
                Event::Space { bytes } => self.is_limited = bytes.is_some(),
                Event::Opened { .. } => self.was_opened = true,
                Event::Fault { class, .. } => self.was_struck |= *class != FaultClass::Transparent,
                _ => {}
            }
            self.excuses.take(event);
        }
    }
}
