//! Boundaries: the disk as it was before each call that changes what a power loss could leave.
//!
//! A power loss between two such calls leaves what one at the later of them would leave, so that these moments are all
//! there are. Each is kept as a fork, which shares its pages with the disk that goes on.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

use proofmark_vfs::OpenMode;

use super::SimDisk;
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
}

/// The boundaries that are kept, if any are asked for. A fork keeps none.
#[derive(Debug, Default)]
pub(super) struct Boundaries {
    calls: Option<RangeInclusive<u64>>,
    kept: Vec<Boundary>,
}

impl Clone for Boundaries {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl State {
    /// From now on keeps the boundaries at the calls with these numbers.
    pub(super) fn keep_boundaries(&mut self, calls: RangeInclusive<u64>) {
        self.boundaries = Boundaries { calls: Some(calls), kept: Vec::new() };
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
            self.boundaries.kept.push(Boundary { call, disk });
        }
    }
}

impl IoOperation {
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
