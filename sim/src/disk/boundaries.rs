//! Boundaries: the disk as it was before each call that changes what a power loss could leave.
//!
//! A power loss between two such calls leaves what one at the later of them would leave, so that these moments are all
//! there are. Each is kept as a fork, which shares its pages with the disk that goes on.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

use proofmark_vfs::OpenMode;

use super::SimDisk;
use super::callers::{Caller, callers};
use super::crash::Moment;
use super::state::State;
use super::trace::{IoCall, IoOperation, IoOutcome, Request};

/// One moment at which the power may be lost.
#[derive(Debug, Clone)]
pub struct Boundary {
    /// The call that was about to be made. Its outcome is not known yet, and stands as a power loss before it.
    pub call: IoCall,
    /// The disk, on which nobody has anything open.
    pub disk: SimDisk,
    /// Of a sync, if that was asked for: the functions of the store that led to it, the innermost first.
    pub callers: Vec<Caller>,
}

/// Which boundaries of a run are kept. All are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Those at the I/O calls with these numbers.
    pub(crate) calls: RangeInclusive<u64>,
    /// No more than so many of these: each holds on to what the disk held at its moment.
    pub(crate) count_max: usize,
    /// Whether those of syncs tell who makes them.
    pub(crate) with_callers: bool,
}

impl Kept {
    /// None.
    pub(crate) const NONE: Kept = Kept { calls: 1..=u64::MAX, count_max: 0, with_callers: false };
}

/// The boundaries of a run, if they are asked for. A fork has none.
#[derive(Debug, Default)]
pub(super) struct Boundaries {
    wanted: Option<Kept>,
    kept: Vec<Boundary>,
    /// The numbers of the calls at all of them, kept or not.
    calls: Vec<u64>,
}

impl Clone for Boundaries {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl State {
    /// From now on counts the boundaries, and keeps some of them.
    pub(super) fn keep_boundaries(&mut self, wanted: Kept) {
        self.boundaries = Boundaries { wanted: Some(wanted), ..Boundaries::default() };
    }

    /// Hands over the boundaries that were kept since the last time, and the numbers of the calls at all that there were.
    pub(super) fn take_boundaries(&mut self) -> (Vec<Boundary>, Vec<u64>) {
        (std::mem::take(&mut self.boundaries.kept), std::mem::take(&mut self.boundaries.calls))
    }

    /// Takes note of the boundary before a call, which has its number already.
    pub(super) fn meet_boundary(&mut self, request: &Request<'_>) {
        let Some(wanted) = &self.boundaries.wanted else { return };
        if !request.operation.changes_durability() {
            return;
        }
        self.boundaries.calls.push(self.io_calls);
        if wanted.calls.contains(&self.io_calls) && self.boundaries.kept.len() < wanted.count_max {
            let wants_callers = wanted.with_callers && request.operation.is_sync();
            let callers = if wants_callers { callers() } else { Vec::new() };
            let call = request.call(self.io_calls, IoOutcome::PowerLost(Moment::Before));
            let disk = SimDisk(Arc::new(Mutex::new(self.fork())));
            self.boundaries.kept.push(Boundary { call, disk, callers });
        }
    }
}

impl IoOperation {
    /// Whether it makes something durable.
    #[must_use]
    pub fn is_sync(self) -> bool {
        matches!(self, Self::SyncData | Self::SyncAll | Self::SyncDirectory)
    }

    /// Whether a power loss after it may leave something else than one before it.
    fn changes_durability(self) -> bool {
        match self {
            Self::Open(mode) => matches!(mode, OpenMode::Create | OpenMode::CreateTruncate),
            Self::CreateDirectory
            | Self::Remove
            | Self::Rename
            | Self::SyncDirectory
            | Self::Write
            | Self::SetSize
            | Self::SyncData
            | Self::SyncAll => true,
            Self::List | Self::Read | Self::Size | Self::Lock(_) => false,
        }
    }
}
