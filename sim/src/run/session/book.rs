//! What all sessions of a run share: what has happened, and what follows from it.
//!
//! Where clients are threads, each has a session of its own, and all write into one book. It is locked for a moment at a
//! time, and never during a call of the store: nobody waits for it who holds a lock of the store's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proofmark_model::{Excuses, MarkLabel, TxnId, TxnLabel};

use super::super::StrikeReport;
use super::super::recorder::{Recorder, Recording};
use super::super::stats::RunStats;
use super::marks::KnownMark;
use super::memory::Memory;
use crate::disk::SimDisk;

/// A book that sessions share. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Book>>);

/// What is known of a run, and what its sessions have to agree on.
pub(crate) struct Book {
    pub(crate) recorder: Recorder,
    /// What came of the strikes so far.
    pub(crate) strikes: Vec<StrikeReport>,
    /// The sums of the sessions that are over.
    pub(crate) stats: RunStats,
    /// Whether the run was over before its end, because the store failed.
    pub(crate) has_ended_early: bool,
    pub(super) labels_used: u32,
    pub(super) marks: BTreeMap<MarkLabel, KnownMark>,
    /// The next commit that the reader of the commit stream wants to see.
    pub(super) cursor: TxnId,
    /// Whether the disk may be full.
    pub(super) is_limited: bool,
    /// Whether the store is open, and its opening on record.
    pub(super) is_open: bool,
    /// Whether it was ever opened.
    pub(super) was_opened: bool,
    /// Whether a sync of a directory has lost names since the store was opened last, or was tried to be.
    pub(super) has_lost_names: bool,
    /// Whether a fault has ever fired, other than a transparent one.
    pub(super) was_struck: bool,
    /// What the faults so far excuse.
    pub(super) excuses: Excuses,
    /// Who comes to no end, if somebody does, and it is not on record yet.
    pub(super) endless: Option<String>,
}

impl Shared {
    /// An empty book, in which `recorder` writes.
    pub(crate) fn new(recorder: Recorder) -> Shared {
        Shared(Arc::new(Mutex::new(Book {
            recorder,
            strikes: Vec::new(),
            stats: RunStats::default(),
            has_ended_early: false,
            labels_used: 0,
            marks: BTreeMap::new(),
            cursor: TxnId(1),
            is_limited: false,
            is_open: false,
            was_opened: false,
            has_lost_names: false,
            was_struck: false,
            excuses: Excuses::default(),
            endless: None,
        })))
    }

    /// The book, until the guard is dropped: before the next call of the store.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the book: what was recorded, what came of the strikes, and the sums.
    pub(crate) fn finish(&self, disk: &SimDisk) -> (Recording, Vec<StrikeReport>, RunStats) {
        let mut book = self.lock();
        let mut recorder = std::mem::replace(&mut book.recorder, Recorder::silent());
        let mut stats = std::mem::take(&mut book.stats);
        for fired in disk.take_fired() {
            stats.count_fault(&fired);
            if !fired.is_announced {
                recorder.sabotaged(fired.call.number);
            }
        }
        stats.io_calls = disk.io_calls();
        stats.disk = disk.stats();
        (recorder.finish(disk), std::mem::take(&mut book.strikes), stats)
    }
}

impl Book {
    /// Takes over what follows from the events before.
    pub(super) fn remember(&mut self, memory: &Memory) {
        let Memory { labels_used, is_limited, was_opened, was_struck, excuses } = memory.clone();
        (self.labels_used, self.is_limited) = (labels_used, is_limited);
        (self.was_opened, self.was_struck) = (was_opened, was_struck);
        self.excuses = excuses;
    }

    /// A name that no transaction has had.
    pub(super) fn next_label(&mut self) -> TxnLabel {
        self.labels_used += 1;
        TxnLabel(self.labels_used)
    }

    /// The store was opened.
    pub(super) fn is_open_again(&mut self) {
        self.is_open = true;
        self.was_opened = true;
    }

    /// Whether names were lost since this was asked last, and the store was never opened.
    pub(super) fn forget_lost_names(&mut self) -> bool {
        std::mem::take(&mut self.has_lost_names) && !self.was_opened
    }

    /// Whether the store is open, and has been lied to.
    pub(super) fn is_lied_to(&self) -> bool {
        self.is_open && self.excuses.is_lied_to()
    }
}
