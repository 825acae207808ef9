//! Faults: one table of everything that may go wrong while the power stays on.
//!
//! A planted [`Fault`] says what goes wrong ([`FaultKind`]), where ([`Scope`]), when ([`Occasion`]) and how often. Each
//! call of a kind that the fault strikes, within its scope, is an occasion; on some of them it is due. At most one fault
//! strikes a call: the earliest planted of those that are due, and those after it don't see the call at all. A fault that
//! was due at a call that then did not get so far, because it failed by itself, waits for the next occasion.
//!
//! Faults stay planted across power losses, with their counters, until [`heal`](super::SimDisk::heal). Chance comes from
//! a stream of each planted fault's own, so that one fault never shifts another. While nothing is planted, a call pays
//! one comparison.
//!
//! What a fault does stands where the call is carried out (`operations`, `inode`); here is only when it does.

mod kind;
mod occasion;
mod scope;
mod table;
mod text;

use std::fmt;

use proofmark_model::FaultClass;

pub use self::kind::FaultKind;
pub use self::scope::{Glob, IoKind, Scope};
pub(super) use self::table::FaultTable;
use super::errno::Errno;
use super::trace::IoCall;

/// One fault, ready to be planted.
///
/// The text form, for plans, is one line: the kind, then what differs from the default, then the occasion:
/// `io-error on=write error=ENOSPC file=log-* range=0..4096 nth=3 count=2`, `lost-write rate=20:8571`,
/// `sync-lost nth=1 sticky`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// What the call reports, if it reports an error at all; `EIO` if nothing is said. `EINTR` says that the call has had no
    /// effect, and is for [`FaultKind::IoError`] only.
    pub error: Option<Errno>,
    /// Where it may strike.
    pub scope: Scope,
    /// At which occasions it is due.
    pub when: Occasion,
    /// How often it strikes at most; `None` is a sticky fault, which never tires.
    pub count: Option<u64>,
}

impl Fault {
    /// A fault that strikes once, at the `nth` occasion from the planting; 1 is the next one.
    #[must_use]
    pub fn once(kind: FaultKind, nth: u64) -> Self {
        Self::new(kind, Occasion::Nth(nth))
    }

    /// A fault that strikes at each `nth` occasion.
    #[must_use]
    pub fn every(kind: FaultKind, nth: u64) -> Self {
        Self::new(kind, Occasion::Every(nth))
    }

    /// A fault that strikes by chance.
    #[must_use]
    pub fn at_rate(kind: FaultKind, permille: u16, seed: u64) -> Self {
        Self::new(kind, Occasion::Rate { permille, seed })
    }

    /// The same fault for calls of this kind only.
    #[must_use]
    pub fn on(mut self, call: IoKind) -> Self {
        self.scope.call = Some(call);
        self
    }

    /// Whether the caller will make the call again at once, and must not be struck again then, or it never ends.
    fn interrupts(&self) -> bool {
        self.kind == FaultKind::Interrupted || self.error == Some(Errno::EINTR)
    }

    fn new(kind: FaultKind, when: Occasion) -> Self {
        Self { kind, error: None, scope: Scope::default(), when, count: when.default_count() }
    }
}

/// At which occasions a fault is due, counted from its planting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// At this one, and at all after it as long as the fault may still strike; 1 is the first.
    Nth(u64),
    /// At each multiple of this number.
    Every(u64),
    /// By chance.
    Rate {
        /// The chance at each occasion, in thousandths.
        permille: u16,
        /// The seed of the fault's own stream.
        seed: u64,
    },
}

impl Occasion {
    /// How often a fault strikes at most if nothing is said: once at the n-th occasion, and without end at the others.
    fn default_count(self) -> Option<u64> {
        matches!(self, Self::Nth(_)).then_some(1)
    }

    fn is_possible(self) -> bool {
        match self {
            Self::Nth(number) | Self::Every(number) => number > 0,
            Self::Rate { permille, .. } => (1..=1000).contains(&permille),
        }
    }

    /// Seeds the fault's stream, out of which come chances and places.
    fn seed(self) -> u64 {
        match self {
            Self::Nth(number) | Self::Every(number) => number,
            Self::Rate { seed, .. } => seed,
        }
    }
}

/// A fault has struck a call, or what it did at an earlier one is felt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fired {
    /// Which of the planted faults, counted from 0.
    pub index: usize,
    /// What went wrong.
    pub kind: FaultKind,
    /// Whether the fault was planted to be seen by those who judge the store, and not as sabotage.
    pub is_announced: bool,
    /// Whether it struck earlier, was counted there, and is felt once more: a failure that is reported late, a refusal to
    /// change anything, or the damage that a held write does.
    pub is_aftermath: bool,
    /// The call that it struck, or at which it is felt. A power loss is no call: then it is the one that it had struck.
    pub call: IoCall,
}

impl Fired {
    /// What it excuses.
    #[must_use]
    pub fn class(&self) -> FaultClass {
        self.kind.class()
    }
}

impl fmt::Display for Fired {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.is_aftermath { ", felt" } else { "" };
        write!(formatter, "{}{verb} at {}", self.kind, self.call)
    }
}
