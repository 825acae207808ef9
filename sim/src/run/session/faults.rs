//! What faults do to a session: which are planted, what is heard of them, and what they excuse.
//!
//! A plan's faults are announced, so the history says when one fired, and the model's [`Excuses`](proofmark_model::Excuses)
//! decide what follows. The runner goes on where something is excused, and records it either way: the checkers see the
//! same events, and come to the same conclusion. Nothing is asked for that the store does not promise.

use proofmark_model::{Event, FailedCall, Failure, FaultClass};
use proofmark_vfs::OpenMode;

use super::{Interrupt, Session};
use crate::disk::{Fault, FaultKind, Fired, IoOperation, IoOutcome, errno};
use crate::store::{Promises, StoreError};

/// No record of the engine's log is shorter, in bytes.
const RECORD_BYTES_MIN: u64 = 64;
/// The unit in which media fail, in bytes.
const SECTOR_BYTES: u64 = 512;

/// How many groups of commits one firing may take from the end of the log: as many as it damages records or writes. None
/// if it may be any number, because a whole read or write goes to another place.
fn groups(kind: FaultKind) -> Option<u64> {
    match kind {
        FaultKind::FlippedBit
        | FaultKind::GarbageByte
        | FaultKind::LostWrite
        | FaultKind::SwappedWrites
        | FaultKind::StaleRead => Some(1),
        // One record may begin before the sector.
        FaultKind::ZeroedSector | FaultKind::GarbageSector => Some(SECTOR_BYTES / RECORD_BYTES_MIN + 1),
        _ => None,
    }
}

/// What failed, if it is the environment that let it.
fn failure(fired: &Fired, promises: &Promises) -> Option<Failure> {
    let IoOutcome::Failed(code) = fired.call.outcome else { return None };
    let call = match fired.call.operation {
        IoOperation::Read
        | IoOperation::Size
        | IoOperation::List
        | IoOperation::Lock(_)
        | IoOperation::Open(OpenMode::Read | OpenMode::ReadWrite) => FailedCall::Look,
        IoOperation::SyncData | IoOperation::SyncAll | IoOperation::SyncDirectory => FailedCall::Sync,
        IoOperation::Write
        | IoOperation::SetSize
        | IoOperation::CreateDirectory
        | IoOperation::Remove
        | IoOperation::Rename
        | IoOperation::Open(OpenMode::Create | OpenMode::CreateTruncate) => FailedCall::Change,
    };
    let is_no_space = matches!(code, errno::ENOSPC | errno::EDQUOT);
    let is_fatal = !promises.goes_on_after_io_errors;
    (fired.class() == FaultClass::Environment).then_some(Failure { call, is_no_space, is_fatal })
}

/// Whether a call of the store does nothing but read what is committed.
fn reads(what: &str) -> bool {
    matches!(what, "get" | "scan" | "scan after open")
}

impl Session<'_> {
    /// As [`groups`], and none where the log can't have been struck: only a write that goes astray strikes another file.
    fn groups(&self, fired: &Fired) -> Option<u64> {
        if fired.kind == FaultKind::SwappedWrites && !fired.is_aftermath {
            // That it is held back damages nothing yet.
            return Some(0);
        }
        let is_elsewhere = fired.kind == FaultKind::MisdirectedWrite;
        if is_elsewhere || self.factory.may_hold_log(&fired.call.path) { groups(fired.kind) } else { Some(0) }
    }

    /// Lets the disk have a fault from here on, for everybody to know.
    pub(in crate::run) fn plant(&mut self, fault: &Fault) {
        if self.promises.covers(fault.kind.class()) {
            self.disk.plant(fault.clone());
            self.stats.faults_planted += 1;
        } else {
            self.stats.steps_left_out += 1;
        }
    }

    /// Switches off what was planted.
    pub(in crate::run) fn heal(&mut self) {
        self.note_faults();
        self.disk.heal();
        self.record(Event::Healed);
    }

    /// Whether a fault has ever fired, other than a transparent one, be it that it was healed since.
    pub(in crate::run) fn was_struck(&self) -> bool {
        self.book().was_struck
    }

    /// Puts on record which announced faults have struck since the last time, and whether all lies are made good.
    pub(super) fn note_faults(&mut self) {
        let mut last_transparent = None;
        for fired in self.disk.take_fired() {
            self.stats.count_fault(&fired);
            if !fired.is_announced {
                self.book().recorder.sabotaged(fired.call.number);
                continue;
            }
            let class = fired.class();
            self.book().was_struck |= class != FaultClass::Transparent;
            self.book().has_lost_names |= fired.kind == FaultKind::DirectorySyncLost;
            // One event stands for a row of what every call may do.
            let is_repeated = class == FaultClass::Transparent
                && last_transparent.replace(fired.index) == Some(fired.index);
            if !is_repeated {
                let groups = if class == FaultClass::Damage { self.groups(&fired) } else { None };
                let failure = failure(&fired, &self.promises);
                let is_passing = matches!(fired.kind, FaultKind::StaleRead | FaultKind::MisdirectedRead);
                let call = fired.to_string();
                self.record(Event::Fault { class, failure, is_passing, groups, call });
            }
        }
        self.note_lies();
    }

    /// Puts on record that all lies are made good. While the store is not open that can wait: it may be a power loss that
    /// ended them, and then the next opening is still excused.
    pub(super) fn note_lies(&mut self) {
        let is_lied_to = self.book().is_lied_to();
        let may_be_good = is_lied_to && !self.disk.has_crashed();
        if may_be_good && !self.disk.has_lied() {
            self.record(Event::MadeGood);
        }
    }

    /// Puts a failure on record, which ends the run unless it is excused.
    pub(super) fn fail_as(&mut self, what: &str, error: &StoreError) -> Result<(), Interrupt> {
        let what = what.to_owned();
        let words = error.to_string();
        let excuses = self.book().excuses.clone();
        let client = self.speaks_for;
        let (event, is_excused) = match error {
            StoreError::OutOfSpace(_) => (Event::OutOfSpace { client, what }, excuses.out_of_space(client)),
            StoreError::Io(_) => (Event::GaveUp { client, what, error: words }, excuses.failure(client)),
            // Reads go on, if the store says so.
            StoreError::Poisoned(_) if self.promises.goes_on_after_io_errors && reads(&what) => {
                (Event::Failed { what, error: words }, false)
            }
            StoreError::Poisoned(_) => {
                let is_excused = excuses.poisoned() && what != "open";
                (Event::Poisoned { client, what }, is_excused)
            }
            StoreError::Corruption(_) => {
                self.stats.corruptions += 1;
                (Event::Corrupt { client, what, error: words }, excuses.corruption(client))
            }
            _ => (Event::Failed { what, error: words }, false),
        };
        self.stats.given_up += u64::from(is_excused);
        self.record(event);
        if is_excused { Ok(()) } else { Err(Interrupt::Failed) }
    }
}
