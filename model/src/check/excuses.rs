//! Excuses: which failures the faults of a history explain, at one point of it.
//!
//! An excuse is as narrow as its fault. A call that failed has to have met its fault itself; what a failed call leaves
//! behind excuses refusals until the store is opened again; bytes that were damaged excuse `Corruption` until they are
//! healed; and what a lying sync left out is missing for good once the power failed. Healing brings bytes back, but not
//! those that a store gave up while it was being opened on wrong ones, and was stopped before it had come to a state of
//! its own: that stays an excuse as well. Transparent faults excuse nothing.

use crate::{Event, FaultClass};

/// What is excused after the events that were [taken](Excuses::take).
///
/// The checkers go by it, and so may a runner that wants to know whether a run has come to its violation.
#[derive(Debug, Clone)]
pub struct Excuses {
    is_limited: bool,
    /// A fault of the environment fired during the call of which the outcome comes next.
    has_just_fired: bool,
    /// One fired since the store was opened, or while it was.
    has_fired: bool,
    /// Bytes are damaged.
    is_damaged: bool,
    /// Something was acknowledged that is not durable.
    is_lied_to: bool,
    /// Something was acknowledged and lost, or given up on the strength of damaged bytes.
    is_deprived: bool,
    is_open: bool,
    /// A fault fired that has not been healed, and that is not transparent.
    is_faulty: bool,
}

impl Default for Excuses {
    /// The start of a history: nothing is excused.
    fn default() -> Excuses {
        Excuses {
            is_limited: false,
            has_just_fired: false,
            has_fired: false,
            is_damaged: false,
            is_lied_to: false,
            is_deprived: false,
            is_open: true,
            is_faulty: false,
        }
    }
}

impl Excuses {
    /// Goes on after `event`.
    pub fn take(&mut self, event: &Event) {
        if !self.is_open && self.is_damaged && cuts_an_opening_short(event) {
            self.is_deprived = true;
        }
        self.is_faulty |= matches!(event, Event::Fault { class, .. } if *class != FaultClass::Transparent);
        match event {
            Event::Space { bytes } => self.is_limited = bytes.is_some(),
            Event::Fault { class: FaultClass::Transparent, .. } => {}
            Event::Fault { class: FaultClass::Environment, .. } => {
                (self.has_just_fired, self.has_fired) = (true, true);
            }
            Event::Fault { class: FaultClass::Damage, .. } => self.is_damaged = true,
            Event::Fault { class: FaultClass::Lie, .. } => self.is_lied_to = true,
            Event::MadeGood => self.is_lied_to = false,
            Event::Healed => (self.is_damaged, self.is_faulty) = (false, false),
            Event::Closed => self.is_open = false,
            Event::Crash => {
                self.is_open = false;
                self.is_deprived |= self.is_lied_to;
            }
            Event::Opened { .. } => (self.is_open, self.has_fired) = (true, false),
            _ => {}
        }
        if !matches!(event, Event::Fault { .. } | Event::MadeGood) {
            self.has_just_fired = false;
        }
    }

    /// Whether a call may find no space.
    pub fn out_of_space(&self) -> bool {
        self.is_limited || self.has_just_fired
    }

    /// Whether a call may fail with what the disk said.
    pub fn failure(&self) -> bool {
        self.has_just_fired
    }

    /// Whether the store may refuse changes.
    pub fn poisoned(&self) -> bool {
        self.has_fired
    }

    /// Whether the store may find bytes that it did not write.
    pub fn corruption(&self) -> bool {
        self.is_damaged || self.is_deprived
    }
    /// Whether something was acknowledged that is not durable.
    pub fn is_lied_to(&self) -> bool {
        self.is_lied_to
    }

    /// Whether a fault has fired since the disk was last healed, other than a transparent one.
    pub fn is_faulty(&self) -> bool {
        self.is_faulty
    }
}

/// Whether an attempt to open a store that ends with this may have changed something by then. One that reports corruption
/// has changed nothing; a store that reports it after it was opened has.
pub(super) fn cuts_an_opening_short(event: &Event) -> bool {
    match event {
        Event::Crash | Event::GaveUp { .. } | Event::OutOfSpace { .. } => true,
        Event::Corrupt { what, .. } => what != "open",
        _ => false,
    }
}
