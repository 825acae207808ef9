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

/// The boundaries that are kept, if any are asked for. A fork keeps none.
#[derive(Debug, Default)]
pub(super) struct Boundaries {
    calls: Option<RangeInclusive<u64>>,
    names_callers: bool,
    kept: Vec<Boundary>,
}

impl Clone for Boundaries {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl State {
    /// From now on keeps the boundaries at the calls with these numbers, and who makes those that are syncs.
    pub(super) fn keep_boundaries(&mut self, calls: RangeInclusive<u64>, names_callers: bool) {
        self.boundaries = Boundaries { calls: Some(calls), names_callers, kept: Vec::new() };
    }

    /// Hands over the boundaries that were kept since the last time.
    pub(super) fn take_boundaries(&mut self) -> Vec<Boundary> {
        std::mem::take(&mut self.boundaries.kept)
    }

    /// Keeps the boundary before a call, which has its number already.
    pub(super) fn meet_boundary(&mut self, request: &Request<'_>) {
        let is_wanted = |calls: &RangeInclusive<u64>| calls.contains(&self.io_calls);
        if self.boundaries.calls.as_ref().is_some_and(is_wanted) && request.operation.changes_durability() {
            let call = request.call(self.io_calls, IoOutcome::PowerLost(Moment::Before));
            let disk = SimDisk(Arc::new(Mutex::new(self.fork())));
            let wants_callers = self.boundaries.names_callers && request.operation.is_sync();
            let callers = if wants_callers { callers() } else { Vec::new() };
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
