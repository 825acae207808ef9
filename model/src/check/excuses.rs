//! Excuses: which failures the faults of a history explain, at one point of it.
//!
//! An excuse is as narrow as its fault. A call that failed has to have met its fault itself; what a failed call leaves
//! behind excuses refusals until the store is opened again; bytes that were damaged excuse `Corruption` until they are
//! healed; and what a lying sync left out is missing for good once the power failed. Transparent faults excuse nothing.

use crate::{Event, FaultClass};

/// What is excused after the events that were [taken](Excuses::take).
#[derive(Debug, Default)]
pub(super) struct Excuses {
    is_limited: bool,
    /// A fault of the environment fired during the call of which the outcome comes next.
    has_just_fired: bool,
    /// One fired since the store was opened, or while it was.
    has_fired: bool,
    /// Bytes are damaged.
    is_damaged: bool,
    /// Something was acknowledged that is not durable.
    is_lied_to: bool,
    /// Something was acknowledged, and lost.
    is_deprived: bool,
}

impl Excuses {
    /// Goes on after `event`.
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Space { bytes } => self.is_limited = bytes.is_some(),
            Event::Fault { class: FaultClass::Transparent, .. } => {}
            Event::Fault { class: FaultClass::Environment, .. } => {
                (self.has_just_fired, self.has_fired) = (true, true);
            }
            Event::Fault { class: FaultClass::Damage, .. } => self.is_damaged = true,
            Event::Fault { class: FaultClass::Lie, .. } => self.is_lied_to = true,
            Event::MadeGood => self.is_lied_to = false,
            Event::Healed => self.is_damaged = false,
            Event::Crash => self.is_deprived |= self.is_lied_to,
            Event::Opened { .. } => self.has_fired = false,
            _ => {}
        }
        if !matches!(event, Event::Fault { .. } | Event::MadeGood) {
            self.has_just_fired = false;
        }
    }

    /// Whether a call may find no space.
    pub(super) fn out_of_space(&self) -> bool {
        self.is_limited || self.has_just_fired
    }

    /// Whether a call may fail with what the disk said.
    pub(super) fn failure(&self) -> bool {
        self.has_just_fired
    }

    /// Whether the store may refuse changes.
    pub(super) fn poisoned(&self) -> bool {
        self.has_fired
    }

    /// Whether the store may find bytes that it did not write.
    pub(super) fn corruption(&self) -> bool {
        self.is_damaged || self.is_deprived
    }
}
