//! What a fault does, and to which calls.

use std::fmt;

use proofmark_model::FaultClass;

use super::IoKind;

/// What goes wrong: in ascending order of what it excuses. The text form, for plans, is the name in lower case with hyphens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// A read returns some of the bytes that it could, and at least one. Only reads count that could return two.
    ShortRead,
    /// A write takes some of its bytes, up to any byte or up to a granule, and at least one. Only writes of two bytes count.
    ShortWrite,
    /// A read or a write fails with `EINTR` and has no effect. No two calls in a row are interrupted, by whichever faults:
    /// whoever makes a call again has to come to an end.
    Interrupted,
    /// A call of any kind fails and has no effect: the scope says which kinds.
    IoError,
    /// A write fails after it has written a part of its bytes, or none.
    PartialWrite,
    /// A sync of a file fails, after which none of its pending bytes and sizes is pending any more: they show until the
    /// power fails, no later sync covers them, and then they are gone. (Linux marks pages clean that it could not write.)
    SyncLost,
    /// A sync of a file fails, and everything that was pending is gone at once: the file shows what is durable.
    SyncReverted,
    /// A sync of a file fails that made everything durable all the same.
    SyncLate,
    /// After a write the system tries to write the file back, unasked, and fails: as with [`FaultKind::SyncLost`] nothing
    /// is pending any more, and nobody is told until the next sync of the file. That one makes durable what was written
    /// since, and fails.
    WriteBackLost,
    /// As [`FaultKind::SyncLost`], and the file system is mounted for reading only from then on: whatever would change
    /// something fails with `EROFS` until the power fails.
    SyncReadOnly,
    /// A sync of a directory fails, after which none of its pending entries is pending any more: they show until the
    /// power fails, no later sync covers them, and then they are gone.
    DirectorySyncLost,
    /// A bit of what is read flips on the medium. As all rot, it is seen by this read and by every one after it, until the
    /// place is written again, and it strikes only bytes that are durable and have no pending ones above them.
    FlippedBit,
    /// A byte of what is read becomes another one on the medium.
    GarbageByte,
    /// The sector of 512 bytes that holds a byte of what is read becomes zeros on the medium.
    ZeroedSector,
    /// The sector of 512 bytes that holds a byte of what is read becomes noise on the medium.
    GarbageSector,
    /// A write is acknowledged and changes no byte, neither volatile nor durable. A file that it would have extended is
    /// extended all the same, with zeros.
    LostWrite,
    /// A write is lost as with [`FaultKind::LostWrite`], and its bytes are written over another place, aligned likewise: of
    /// the same file, or of another one. There they are on the medium at once, but for pending bytes. Only writes count for
    /// which there is such a place.
    MisdirectedWrite,
    /// A write reads back at once, but it is held back: no sync covers it until the next write to the same file, and then
    /// it takes effect again, after that write. Where the two overlap, the older bytes win. A change of the file's size
    /// ends the holding back without a swap. It does damage at its end, be it that a power loss takes what a sync has
    /// passed over, or that newer bytes are overwritten, and is then told of once more.
    SwappedWrites,
    /// A read returns older bytes: those before the last write that touched its range. Only reads count whose answer
    /// differs, and only writes made since the planting.
    StaleRead,
    /// A read returns the bytes of another place, aligned likewise: of the same file, or of another one. Only reads count
    /// whose answer differs.
    MisdirectedRead,
    /// A sync of a file is acknowledged and makes nothing durable. Only syncs count that cover something, and that have no
    /// failure of a write-back to report.
    IgnoreSync,
    /// A sync of a file makes only the first half of the pending granules durable; the rest stays pending. It obeys no
    /// [`Order`](crate::disk::Order) and no rule for [`Sizes`](crate::disk::Sizes). The same syncs count as for
    /// [`FaultKind::IgnoreSync`].
    TornSync,
    /// A sync of a directory is acknowledged and makes nothing durable. Only syncs count that cover something.
    IgnoreDirectorySync,
}

struct Row {
    kind: FaultKind,
    name: &'static str,
    class: FaultClass,
    /// The kinds of calls it strikes; empty if the scope chooses among all.
    calls: &'static [IoKind],
    reports_error: bool,
}

const fn row(kind: FaultKind, name: &'static str, class: FaultClass, calls: &'static [IoKind]) -> Row {
    Row { kind, name, class, calls, reports_error: false }
}

const fn failing(kind: FaultKind, name: &'static str, calls: &'static [IoKind]) -> Row {
    Row { reports_error: true, ..row(kind, name, FaultClass::Environment, calls) }
}

/// In the order of the kinds.
const TABLE: &[Row] = {
    use FaultClass::{Damage, Lie, Transparent};
    &[
        row(FaultKind::ShortRead, "short-read", Transparent, &[IoKind::Read]),
        row(FaultKind::ShortWrite, "short-write", Transparent, &[IoKind::Write]),
        row(FaultKind::Interrupted, "interrupted", Transparent, &[IoKind::Read, IoKind::Write]),
        failing(FaultKind::IoError, "io-error", &IoKind::ALL),
        failing(FaultKind::PartialWrite, "partial-write", &[IoKind::Write]),
        failing(FaultKind::SyncLost, "sync-lost", &[IoKind::Sync]),
        failing(FaultKind::SyncReverted, "sync-reverted", &[IoKind::Sync]),
        failing(FaultKind::SyncLate, "sync-late", &[IoKind::Sync]),
        failing(FaultKind::WriteBackLost, "write-back-lost", &[IoKind::Write]),
        failing(FaultKind::SyncReadOnly, "sync-read-only", &[IoKind::Sync]),
        failing(FaultKind::DirectorySyncLost, "directory-sync-lost", &[IoKind::SyncDirectory]),
        row(FaultKind::FlippedBit, "flipped-bit", Damage, &[IoKind::Read]),
        row(FaultKind::GarbageByte, "garbage-byte", Damage, &[IoKind::Read]),
        row(FaultKind::ZeroedSector, "zeroed-sector", Damage, &[IoKind::Read]),
        row(FaultKind::GarbageSector, "garbage-sector", Damage, &[IoKind::Read]),
        row(FaultKind::LostWrite, "lost-write", Damage, &[IoKind::Write]),
        row(FaultKind::MisdirectedWrite, "misdirected-write", Damage, &[IoKind::Write]),
        row(FaultKind::SwappedWrites, "swapped-writes", Damage, &[IoKind::Write]),
        row(FaultKind::StaleRead, "stale-read", Damage, &[IoKind::Read]),
        row(FaultKind::MisdirectedRead, "misdirected-read", Damage, &[IoKind::Read]),
        row(FaultKind::IgnoreSync, "ignore-sync", Lie, &[IoKind::Sync]),
        row(FaultKind::TornSync, "torn-sync", Lie, &[IoKind::Sync]),
        row(FaultKind::IgnoreDirectorySync, "ignore-directory-sync", Lie, &[IoKind::SyncDirectory]),
    ]
};

impl FaultKind {
    /// Every kind there is.
    pub fn all() -> impl Iterator<Item = FaultKind> {
        TABLE.iter().map(|row| row.kind)
    }

    /// Its text form.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What it excuses.
    #[must_use]
    pub fn class(self) -> FaultClass {
        self.row().class
    }

    /// The kinds of calls it strikes. Where there are several, a scope may choose one.
    #[must_use]
    pub fn calls(self) -> &'static [IoKind] {
        self.row().calls
    }

    /// Whether the call that it strikes reports an error, and a fault may say which.
    #[must_use]
    pub fn reports_error(self) -> bool {
        self.row().reports_error
    }

    pub(super) fn named(name: &str) -> Option<FaultKind> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.kind)
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_kinds() {
        for (index, kind) in FaultKind::all().enumerate() {
            assert_eq!(kind as usize, index, "{kind}");
            assert_eq!(FaultKind::named(kind.name()), Some(kind));
        }
        assert_eq!(FaultKind::named("burn"), None);
    }
}
