//! Which calls are occasions for a fault: those at which it could show.

use super::super::effect::InodeId;
use super::super::inode::Inode;
use super::super::state::State;
use super::super::trace::Request;
use super::{Fault, FaultKind};

impl State {
    /// Whether a fault could show at a call that it strikes and that is within its scope.
    pub(super) fn is_occasion(&self, fault: &Fault, request: &Request<'_>) -> bool {
        let range = &fault.scope.range;
        match fault.kind {
            FaultKind::Interrupted
            | FaultKind::IoError
            | FaultKind::SyncLost
            | FaultKind::SyncReverted
            | FaultKind::SyncLate
            | FaultKind::SyncReadOnly
            | FaultKind::DirectorySyncLost => true,
            FaultKind::ShortRead => self.bytes_to_read(request) > 1,
            FaultKind::ShortWrite => request.length > 1,
            FaultKind::PartialWrite
            | FaultKind::WriteBackLost
            | FaultKind::LostWrite
            | FaultKind::SwappedWrites => request.length > 0,
            FaultKind::FlippedBit
            | FaultKind::GarbageByte
            | FaultKind::ZeroedSector
            | FaultKind::GarbageSector => {
                let read = request.offset..request.offset.saturating_add(request.length);
                let scope = range.clone().unwrap_or(0..u64::MAX);
                let read = read.start.max(scope.start)..read.end.min(scope.end);
                !self.file_of(request).clean_ranges(read).is_empty()
            }
            FaultKind::MisdirectedWrite => {
                self.has_wrong_place(InodeId(request.inode), request.offset, request.length)
            }
            FaultKind::MisdirectedRead => {
                let length = self.bytes_to_read(request);
                self.has_wrong_place(InodeId(request.inode), request.offset, length)
            }
            FaultKind::StaleRead => self.file_of(request).could_be_stale(request.offset, request.length),
            FaultKind::IgnoreSync | FaultKind::TornSync => {
                // A failure that is to be reported would be acknowledged away, and nothing could make that good.
                let file = self.file_of(request);
                !file.pending.is_empty() && file.deferred.is_none()
            }
            FaultKind::IgnoreDirectorySync => {
                let directory = self.tree.find_directory(request.path);
                directory.is_ok_and(|id| !self.tree.get(id).pending.is_empty())
            }
        }
    }

    fn file_of(&self, request: &Request<'_>) -> &Inode {
        self.inodes.get(&InodeId(request.inode)).expect("an open file has an inode")
    }

    /// How many bytes a read returns.
    fn bytes_to_read(&self, request: &Request<'_>) -> u64 {
        self.file_of(request).volatile.size().saturating_sub(request.offset).min(request.length)
    }
}
