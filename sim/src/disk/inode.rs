//! A file: what it shows, what a power loss would leave of it, and the effects in between.
//!
//! **Invariant.** Without pending effects the volatile and the durable contents are equal, unless a sync failed and lost
//! some: until the next power loss the file then shows bytes that are nowhere else. A sync keeps this by
//! applying every pending effect, in order; so does a power loss, by dropping them all.

use std::collections::VecDeque;
use std::sync::Arc;

use proofmark_vfs::LockMode;

use super::Granule;
use super::choice::Survival;
use super::crash::CrashReport;
use super::effect::{DirectoryId, FileEffect, Pending, Sequence};
use super::granules::fates;
use super::held::HeldWrites;
use super::lies::Lies;
use super::pages::{Contents, WrittenBytes};

/// For stale reads: so many overwritten ranges are remembered, per file.
const OVERWRITTEN_COUNT_MAX: usize = 64;

/// What an effect costs beyond its bytes, when the pending ones are weighed.
const EFFECT_OVERHEAD_BYTES: u64 = 64;

/// Names an open file among all that the disk ever opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HandleId(pub(super) u64);

/// One file, under whatever name or none.
#[derive(Debug, Clone)]
pub(super) struct Inode {
    /// The directory that has, or had, its name.
    pub(super) directory: DirectoryId,
    /// Whether it has no volatile name any more.
    pub(super) unlinked: bool,
    /// How many open files refer to it.
    pub(super) handle_count: u64,
    pub(super) volatile: Contents,
    pub(super) durable: Contents,
    pub(super) pending: Vec<Pending<FileEffect>>,
    pending_bytes: u64,
    /// Whether bytes are shown that will never be durable.
    has_lost: bool,
    locks: Vec<(HandleId, LockMode)>,
    overwritten: VecDeque<Overwritten>,
    pub(super) held: HeldWrites,
    lies: Lies,
    /// The same file without the damage, while there is any: see `damage`.
    pub(super) pristine: Option<Box<Inode>>,
    /// The fault by which a write-back failed that no sync has reported.
    pub(super) deferred: Option<usize>,
}

/// What a range held before the latest write to it.
#[derive(Debug, Clone)]
struct Overwritten {
    offset: u64,
    bytes: Arc<[u8]>,
}

/// How a write departs from the ordinary.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct WriteFaults {
    /// It writes the bytes that are there.
    pub(super) dropped: bool,
    /// It is held back until the next write.
    pub(super) held: bool,
    /// What it overwrites is to be remembered.
    pub(super) remembered: bool,
}

impl Inode {
    pub(super) fn new(directory: DirectoryId) -> Self {
        Self {
            directory,
            unlinked: false,
            handle_count: 0,
            volatile: Contents::default(),
            durable: Contents::default(),
            pending: Vec::new(),
            pending_bytes: 0,
            has_lost: false,
            locks: Vec::new(),
            overwritten: VecDeque::new(),
            held: HeldWrites::default(),
            lies: Lies::default(),
            pristine: None,
            deferred: None,
        }
    }

    /// Memory that the pending effects hold on to, about.
    pub(super) fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }

    /// Reads what lies within the size; returns how much that is.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let available = self.volatile.size().saturating_sub(offset);
        let count = available.min(buffer.len() as u64) as usize;
        self.volatile.read(offset, &mut buffer[..count]);
        count
    }

    /// Writes. A growth is an effect of its own and comes before the bytes, so that a prefix of the effects can show
    /// zeros where the bytes were to be.
    pub(super) fn write(&mut self, sequence: &mut Sequence, bytes: &[u8], offset: u64, faults: WriteFaults) {
        if faults.dropped || faults.held {
            self.keep_pristine();
        }
        if let Some(pristine) = &mut self.pristine {
            pristine.write(&mut sequence.clone(), bytes, offset, WriteFaults::default());
        }
        let end = offset + bytes.len() as u64;
        if end > self.volatile.size() {
            self.change(sequence, FileEffect::Size { size: end, by_write: true });
        } else if self.has_lost && end > self.size_to_be() {
            // The file shows a size that was lost.
            let effect = FileEffect::Size { size: end, by_write: true };
            self.pending_bytes += weight(&effect);
            self.pending.push(Pending { sequence: sequence.next(), effect });
        }
        if faults.remembered {
            self.remember(offset, bytes.len());
        }
        let released = self.held.release();
        let bytes = if faults.dropped { &self.shown(offset, bytes.len())[..] } else { bytes };
        let effect = FileEffect::Data { offset, bytes: WrittenBytes::new(offset, bytes) };
        let place = self.change(sequence, effect);
        if faults.held {
            self.held.hold(place);
        }
        if let Some(place) = released {
            self.release(sequence, place);
        }
    }

    /// The size that the file has once everything pending is durable.
    fn size_to_be(&self) -> u64 {
        let last = self.pending.iter().rev().find_map(|pending| match pending.effect {
            FileEffect::Size { size, .. } => Some(size),
            FileEffect::Data { .. } => None,
        });
        last.unwrap_or(self.durable.size())
    }

    pub(super) fn set_size(&mut self, sequence: &mut Sequence, size: u64) {
        if let Some(pristine) = &mut self.pristine {
            pristine.set_size(&mut sequence.clone(), size);
        }
        if size != self.volatile.size() {
            self.held.end();
            self.change(sequence, FileEffect::Size { size, by_write: false });
        }
    }

    /// Makes every pending effect durable, except for a write that is held back.
    pub(super) fn persist(&mut self) {
        if let Some(pristine) = &mut self.pristine {
            pristine.persist();
        }
        self.apply_first(self.pending.len());
    }

    /// Makes the first `count` pending effects durable, except for a write that is held back.
    pub(super) fn persist_first(&mut self, count: usize) {
        if let (Some(pristine), Some(last)) = (&mut self.pristine, self.pending[..count].last()) {
            let is_covered = |pending: &Pending<FileEffect>| pending.sequence <= last.sequence;
            let count = pristine.pending.iter().take_while(|pending| is_covered(pending)).count();
            pristine.persist_first(count);
        }
        self.apply_first(count);
    }

    fn apply_first(&mut self, count: usize) {
        let is_whole = self.held.is_empty() && !self.has_lost && self.pristine.is_none();
        if count > 0 && count == self.pending.len() && is_whole {
            // Then both contents come to be equal, and pages that were written once are shared.
            self.pending.clear();
            self.pending_bytes = 0;
            self.durable = self.volatile.clone();
            return;
        }
        let mut held = None;
        for pending in self.pending.drain(..count) {
            if self.held.persist(pending.sequence) {
                pending.effect.apply(&mut self.durable);
                self.pending_bytes -= weight(&pending.effect);
            } else {
                held = Some(pending);
            }
        }
        if let Some(held) = held {
            self.pending.insert(0, held);
        }
    }

    /// Forgets every pending write and size, as a sync does that fails: they are shown and never become durable. A later
    /// write makes the file as long as it needs to be.
    pub(super) fn lose_pending(&mut self) {
        if let Some(pristine) = &mut self.pristine {
            pristine.lose_pending();
        }
        self.forget_pending();
    }

    fn forget_pending(&mut self) {
        self.lies.lose(&self.pending);
        self.pending.clear();
        self.pending_bytes = 0;
        self.held.lose();
        self.has_lost = true;
    }

    /// Forgets every pending write and size and shows what is durable, as a sync may do that fails.
    pub(super) fn revert(&mut self) {
        if let Some(pristine) = &mut self.pristine {
            pristine.revert();
        }
        self.forget_pending();
        self.held.restart();
        self.show_durable();
    }

    /// A sync lies: what is pending stays so, and is acknowledged.
    pub(super) fn lie(&mut self) {
        self.lies.tell(&self.pending);
    }

    /// Whether a sync acknowledged something that is still not durable.
    pub(super) fn has_lied(&self) -> bool {
        self.lies.are_open(&self.pending)
    }

    /// Makes the first half of the pending granules durable. The rest stays pending.
    pub(super) fn persist_half(&mut self, granule: Granule) {
        if let Some(pristine) = &mut self.pristine {
            pristine.persist_half(granule);
        }
        let total: u64 = self.pending.iter().map(|pending| pending.effect.part_count(granule)).sum();
        let mut budget = total / 2;
        let mut rest = Vec::new();
        for Pending { sequence, effect } in self.pending.drain(..) {
            let count = effect.part_count(granule);
            let left = effect.split_off(&mut self.durable, budget.min(count), granule);
            rest.extend(left.map(|effect| Pending { sequence, effect }));
            budget = budget.saturating_sub(count);
        }
        self.pending_bytes = rest.iter().map(|pending| weight(&pending.effect)).sum();
        self.pending = rest;
        self.held.keep(|place| self.pending.iter().any(|pending| pending.sequence == place));
    }

    /// Makes of the pending effects durable what was decided, and what that carries along. They stay pending.
    pub(super) fn materialise(&mut self, decided: Vec<Survival>, granule: Granule, report: &mut CrashReport) {
        self.materialise_pristine(&decided, granule);
        for (pending, fate) in self.pending.iter().zip(fates(&self.pending, decided, granule)) {
            let dropped = fate.survival == Survival::Dropped;
            report.count(&fate.survival);
            report.sizes_dropped += u64::from(dropped && pending.effect.is_size());
            if self.held.is_owed(pending.sequence)
                && pending.effect.loses(&self.durable, &fate.survival, granule)
            {
                self.held.take(pending.sequence);
            }
            pending.effect.apply_survivors(&mut self.durable, &fate.survival, granule);
            fate.cleared.into_iter().for_each(|range| self.durable.clear(range));
        }
    }

    /// Forgets everything that lives in memory only: after a power loss has been worked out on the durable contents.
    pub(super) fn restart(&mut self) {
        if let Some(pristine) = &mut self.pristine {
            pristine.restart();
        }
        if !self.pending.is_empty() || self.has_lost {
            self.pending.clear();
            self.pending_bytes = 0;
            self.durable.cut();
            self.show_durable();
        }
        self.lies = Lies::default();
        self.deferred = None;
        self.close_all();
        self.unlinked = false;
        self.overwritten.clear();
        self.held.restart();
    }

    fn show_durable(&mut self) {
        self.has_lost = false;
        self.durable.allocate_like(&self.volatile);
        self.volatile = self.durable.clone();
    }

    /// Closes every handle and ends every lock.
    pub(super) fn close_all(&mut self) {
        self.handle_count = 0;
        self.locks.clear();
    }

    pub(super) fn close(&mut self, handle: HandleId) {
        self.handle_count -= 1;
        self.locks.retain(|(holder, _)| *holder != handle);
    }

    /// Takes, or changes, the lock of `handle`, unless that of another one is in its way.
    pub(super) fn try_lock(&mut self, handle: HandleId, mode: LockMode) -> bool {
        let blocked = self.locks.iter().any(|(holder, held)| {
            *holder != handle && (mode == LockMode::Exclusive || *held == LockMode::Exclusive)
        });
        if !blocked {
            self.locks.retain(|(holder, _)| *holder != handle);
            self.locks.push((handle, mode));
        }
        !blocked
    }

    /// Whether a read of so many bytes may be answered with older ones.
    pub(super) fn could_be_stale(&self, offset: u64, length: u64) -> bool {
        let mut fresh = vec![0; length as usize];
        let count = self.read(&mut fresh, offset);
        self.stale(&fresh[..count], offset).is_some()
    }

    /// The bytes of `fresh`, just read at `offset`, as they were before the last remembered write that touched them;
    /// `None` if no write did, or if it changed nothing.
    pub(super) fn stale(&self, fresh: &[u8], offset: u64) -> Option<Vec<u8>> {
        let end = offset + fresh.len() as u64;
        let touches = |old: &&Overwritten| old.offset < end && offset < old.offset + old.bytes.len() as u64;
        let old = self.overwritten.iter().rev().find(touches)?;
        let from = old.offset.max(offset);
        let to = end.min(old.offset + old.bytes.len() as u64);
        let mut stale = fresh.to_vec();
        stale[(from - offset) as usize..(to - offset) as usize]
            .copy_from_slice(&old.bytes[(from - old.offset) as usize..(to - old.offset) as usize]);
        (stale != fresh).then_some(stale)
    }

    /// Applies an effect to the volatile contents and leaves it pending; returns its place.
    fn change(&mut self, sequence: &mut Sequence, effect: FileEffect) -> u64 {
        effect.apply(&mut self.volatile);
        self.pending_bytes += weight(&effect);
        let sequence = sequence.next();
        self.pending.push(Pending { sequence, effect });
        sequence
    }

    /// Lets the held write at `place` take effect again, after everything that came since.
    fn release(&mut self, sequence: &mut Sequence, place: u64) {
        if let Some(index) = self.pending.iter().position(|pending| pending.sequence == place) {
            let Pending { effect, .. } = self.pending.remove(index);
            self.pending_bytes -= weight(&effect);
            let before = self.volatile.clone();
            let landed = self.change(sequence, effect);
            let has_overwritten = before.hash(0) != self.volatile.hash(0);
            self.held.land(place, landed, has_overwritten);
        }
    }

    /// Holds the bytes and the pending effects of `other`, under its own name and with its own holders.
    pub(super) fn become_like(&mut self, other: Inode) {
        self.volatile = other.volatile;
        self.durable = other.durable;
        self.pending = other.pending;
        self.pending_bytes = other.pending_bytes;
        self.has_lost = other.has_lost;
        self.held = HeldWrites::default();
    }

    fn shown(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.volatile.read(offset, &mut bytes);
        bytes
    }

    fn remember(&mut self, offset: u64, length: usize) {
        let bytes = self.shown(offset, length);
        if self.overwritten.len() == OVERWRITTEN_COUNT_MAX {
            self.overwritten.pop_front();
        }
        self.overwritten.push_back(Overwritten { offset, bytes: Arc::from(bytes) });
    }
}

fn weight(effect: &FileEffect) -> u64 {
    match effect {
        FileEffect::Data { bytes, .. } => bytes.len() + EFFECT_OVERHEAD_BYTES,
        FileEffect::Size { .. } => EFFECT_OVERHEAD_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture() -> (Inode, Sequence) {
        (Inode::new(DirectoryId(0)), Sequence::default())
    }

    fn content(inode: &Inode) -> Vec<u8> {
        let mut buffer = vec![0; inode.volatile.size() as usize];
        inode.volatile.read(0, &mut buffer);
        buffer
    }

    #[test]
    fn without_pending_effects_both_contents_are_equal() {
        let (mut inode, mut sequence) = fixture();
        for round in 0..50_u64 {
            let bytes = vec![round as u8 + 1; (round * 191 % 9000) as usize + 1];
            inode.write(&mut sequence, &bytes, round * 7919 % 40_000, WriteFaults::default());
            if round % 7 == 3 {
                inode.set_size(&mut sequence, round * 1013 % 30_000);
            }
            assert!(inode.pending_bytes() > 0);
            if round % 3 == 2 {
                inode.persist();
                assert_eq!((inode.pending.len(), inode.pending_bytes()), (0, 0));
                assert_eq!(inode.volatile.hash(0), inode.durable.hash(0));
            }
        }
    }

    #[test]
    fn half_a_sync_and_then_a_whole_one_make_everything_durable() {
        let (mut inode, mut sequence) = fixture();
        inode.write(&mut sequence, &[5; 4000], 100, WriteFaults::default());
        inode.write(&mut sequence, &[6; 4096], 4096, WriteFaults::default());
        inode.persist_half(Granule::default());
        assert_ne!(inode.volatile.hash(0), inode.durable.hash(0));
        assert_eq!(inode.durable.size(), 4100);
        assert!(!inode.pending.is_empty());
        inode.persist();
        assert_eq!(inode.volatile.hash(0), inode.durable.hash(0));
    }

    #[test]
    fn a_held_write_escapes_the_sync_and_wins_over_the_next() {
        let (mut inode, mut sequence) = fixture();
        inode.write(&mut sequence, b"........", 0, WriteFaults::default());
        inode.write(&mut sequence, b"old", 0, WriteFaults { held: true, ..WriteFaults::default() });
        assert_eq!(content(&inode), b"old.....");
        inode.persist();
        assert_eq!(inode.pending.len(), 1);
        inode.write(&mut sequence, b"newer", 1, WriteFaults::default());
        assert_eq!(content(&inode), b"oldwer..");
        inode.persist();
        assert_eq!(inode.volatile.hash(0), inode.durable.hash(0));
    }

    #[test]
    fn locks_shut_out_the_others_and_never_their_holder() {
        let (mut inode, _) = fixture();
        let [first, second] = [HandleId(1), HandleId(2)];
        inode.handle_count = 2;
        assert!(inode.try_lock(first, LockMode::Shared));
        assert!(inode.try_lock(second, LockMode::Shared));
        assert!(!inode.try_lock(first, LockMode::Exclusive));
        inode.close(second);
        assert!(inode.try_lock(first, LockMode::Exclusive));
        assert!(!inode.try_lock(second, LockMode::Shared));
        assert!(inode.try_lock(first, LockMode::Shared));
        assert!(inode.try_lock(second, LockMode::Shared));
    }

    #[test]
    fn stale_bytes_are_those_before_the_last_write_to_the_range() {
        let (mut inode, mut sequence) = fixture();
        let remembered = WriteFaults { remembered: true, ..WriteFaults::default() };
        for bytes in [b"aaaa", b"bbbb", b"cccc"] {
            inode.write(&mut sequence, bytes, 0, remembered);
        }
        inode.write(&mut sequence, b"dd", 8, remembered);
        assert_eq!(inode.stale(b"ccc", 1).unwrap(), b"bbb");
        assert_eq!(inode.stale(b"c\0", 3).unwrap(), b"b\0");
        assert_eq!(inode.stale(b"\0\0", 5), None);
    }
}
