//! Damage: bytes that are not what was written, over bytes that are.
//!
//! The first damage to a file gives it a shadow, its *pristine* self: what the file would be if it had never been
//! damaged. Every later change is made to both, and neither costs more than the pages in which they differ. The file
//! itself is what reads, power losses, forks and image hashes see, so that damage lies on the medium like anything else:
//! it outlives power losses, a cut takes it away, and so does a write over it. Healing puts the shadow in its place.
//!
//! **Rot strikes the medium**, and so only *clean* bytes: those that are durable and that no pending effect is about to
//! replace. Dirty ones live in memory and would be written over it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Granule;
use super::choice::Survival;
use super::crash::CrashReport;
use super::effect::{FileEffect, InodeId};
use super::faults::FaultKind;
use super::inode::Inode;
use super::state::State;

/// Bytes in a sector, the unit in which media fail.
const SECTOR: u64 = 512;

impl Inode {
    /// Starts to keep the pristine file beside this one.
    pub(super) fn keep_pristine(&mut self) {
        if self.pristine.is_none() {
            self.pristine = Some(Box::new(self.clone()));
        }
    }

    /// Is as if nothing had ever damaged it.
    pub(super) fn heal(&mut self) {
        if let Some(pristine) = self.pristine.take() {
            self.become_like(*pristine);
        }
    }

    /// The parts of a range that are durable and that no pending effect replaces.
    pub(super) fn clean_ranges(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut end = range.end.min(self.volatile.size()).min(self.durable.size());
        let mut dirty = Vec::new();
        for pending in &self.pending {
            match &pending.effect {
                FileEffect::Size { size, .. } => end = end.min(*size),
                FileEffect::Data { offset, bytes } => dirty.push(*offset..offset + bytes.len()),
            }
        }
        dirty.sort_unstable_by_key(|range| range.start);
        let mut clean = Vec::new();
        let mut start = range.start;
        for Range { start: dirty_start, end: dirty_end } in dirty {
            if start < dirty_start.min(end) {
                clean.push(start..dirty_start.min(end));
            }
            start = start.max(dirty_end);
        }
        if start < end {
            clean.push(start..end);
        }
        clean
    }

    /// Changes clean bytes where they lie; whether that made a difference. `change` is given their offset.
    fn corrupt(&mut self, clean: &Range<u64>, mut change: impl FnMut(&mut [u8])) -> bool {
        self.keep_pristine();
        let mut is_different = false;
        let mut bytes = vec![0; (clean.end - clean.start) as usize];
        for contents in [&mut self.volatile, &mut self.durable] {
            contents.read(clean.start, &mut bytes);
            let before = bytes.clone();
            change(&mut bytes);
            if bytes != before {
                contents.write(clean.start, &bytes);
                is_different = true;
            }
        }
        is_different
    }

    /// Makes of the pristine file's pending effects durable what was decided about this one's.
    pub(super) fn materialise_pristine(&mut self, decided: &[Survival], granule: Granule) {
        let Some(pristine) = &mut self.pristine else { return };
        let by_sequence: BTreeMap<u64, &Survival> =
            self.pending.iter().map(|pending| pending.sequence).zip(decided).collect();
        // An effect that only the pristine file has is one that came to stand elsewhere in the damaged one.
        let otherwise = decided.last() == Some(&Survival::Kept);
        let survival = |sequence: u64, part_count: u64| match by_sequence.get(&sequence) {
            Some(Survival::Torn(parts)) if parts.len() as u64 != part_count => Survival::whole(otherwise),
            Some(survival) => (*survival).clone(),
            None => Survival::whole(otherwise),
        };
        let decided = (pristine.pending.iter())
            .map(|pending| survival(pending.sequence, pending.effect.part_count(granule)))
            .collect();
        pristine.materialise(decided, granule, &mut CrashReport::default());
    }
}

impl State {
    /// Switches off the faults that were announced, and puts what was written in the place of what was damaged.
    pub(super) fn heal(&mut self) {
        self.faults.heal();
        self.inodes.values_mut().for_each(Inode::heal);
        self.trace.heal();
    }

    /// Lets the medium rot under a read, if a fault says so.
    pub(super) fn rot(&mut self, inode: InodeId, read: Range<u64>) {
        let is_rot = |kind: &FaultKind| {
            matches!(
                kind,
                FaultKind::FlippedBit
                    | FaultKind::GarbageByte
                    | FaultKind::ZeroedSector
                    | FaultKind::GarbageSector
            )
        };
        let Some(kind) = self.due_kind().filter(is_rot) else { return };
        let clean = self.inodes[&inode].clean_ranges(self.within_scope(read));
        let at = self.draw(clean.iter().map(|range| range.end - range.start).sum());
        let at = nth_of(&clean, at);
        let struck = match kind {
            FaultKind::FlippedBit | FaultKind::GarbageByte => at..at + 1,
            _ => self.within_scope(at / SECTOR * SECTOR..(at / SECTOR + 1) * SECTOR),
        };
        let mut is_different = false;
        for range in self.inodes[&inode].clean_ranges(struck) {
            let bytes = self.rotten(kind, &range);
            let file = self.inodes.get_mut(&inode).expect("an open file has an inode");
            is_different |= file.corrupt(&range, |old| match kind {
                FaultKind::ZeroedSector | FaultKind::GarbageSector => old.copy_from_slice(&bytes),
                _ => old.iter_mut().zip(&bytes).for_each(|(old, mask)| *old ^= mask),
            });
        }
        if is_different {
            self.is_struck_by(kind);
        }
    }

    /// What rot puts in the place of so many bytes, or changes in them.
    fn rotten(&mut self, kind: FaultKind, range: &Range<u64>) -> Vec<u8> {
        match kind {
            FaultKind::FlippedBit => vec![1 << self.draw(8)],
            FaultKind::GarbageByte => vec![1 + self.draw(255) as u8],
            FaultKind::GarbageSector => range.clone().map(|_| self.draw(256) as u8).collect(),
            _ => vec![0; (range.end - range.start) as usize],
        }
    }

    /// Writes over another place than the one that was meant.
    pub(super) fn misdirect(&mut self, inode: InodeId, bytes: &[u8], offset: u64) {
        let Some((target, wrong)) = self.wrong_place(inode, offset, bytes.len() as u64) else { return };
        let file = self.inodes.get_mut(&target).expect("a place is in a file that there is");
        for range in file.clean_ranges(wrong..wrong + bytes.len() as u64) {
            let part = &bytes[(range.start - wrong) as usize..(range.end - wrong) as usize];
            file.corrupt(&range, |old| old.copy_from_slice(part));
        }
    }

    /// The bytes of another place than the one that was meant.
    pub(super) fn misread(&mut self, inode: InodeId, length: u64, offset: u64) -> Option<Vec<u8>> {
        let (target, wrong) = self.wrong_place(inode, offset, length)?;
        let mut bytes = vec![0; length as usize];
        self.inodes[&target].read(&mut bytes, wrong);
        Some(bytes)
    }

    /// Whether there is another place for so many bytes than the one that is meant.
    pub(super) fn has_wrong_place(&self, inode: InodeId, offset: u64, length: u64) -> bool {
        length > 0 && !self.wrong_files(inode, offset, length).is_empty()
    }

    /// A place for as many bytes, aligned like the one that is meant: half of the time in the same file, if it has one.
    fn wrong_place(&mut self, inode: InodeId, offset: u64, length: u64) -> Option<(InodeId, u64)> {
        let mut files = self.wrong_files(inode, offset, length);
        let is_own = |files: &[(InodeId, u64)]| files.first().is_some_and(|(id, _)| *id == inode);
        if is_own(&files) && files.len() > 1 {
            if self.draw(2) == 0 {
                files.truncate(1);
            } else {
                files.remove(0);
            }
        }
        if files.is_empty() {
            return None;
        }
        let (target, count) = files[self.draw(files.len() as u64) as usize];
        let unit = alignment(offset, length);
        let place = self.draw(count) * unit;
        let before = places_before(offset, length, self.inodes[&inode].volatile.size(), unit) * unit;
        Some((
            target,
            if target == inode && place >= before { offset + length + (place - before) } else { place },
        ))
    }

    /// The files that have room for a misdirected call, the one that is meant before the others, and how many places each
    /// has.
    fn wrong_files(&self, inode: InodeId, offset: u64, length: u64) -> Vec<(InodeId, u64)> {
        let unit = alignment(offset, length);
        let size = self.inodes[&inode].volatile.size();
        let after = places(size.saturating_sub(offset + length), length, unit);
        let own = (inode, places_before(offset, length, size, unit) + after);
        let is_other = |(id, file): &(&InodeId, &Inode)| **id != inode && !file.unlinked;
        let others = (self.inodes.iter().filter(is_other))
            .map(|(id, file)| (*id, places(file.volatile.size(), length, unit)));
        [own].into_iter().chain(others).filter(|(_, count)| *count > 0).collect()
    }
}

/// The largest power of two, up to a page, that divides both.
fn alignment(offset: u64, length: u64) -> u64 {
    1 << (offset | length).trailing_zeros().min(12)
}

/// How many places for `length` bytes there are among `size`.
fn places(size: u64, length: u64, unit: u64) -> u64 {
    if size < length { 0 } else { (size - length) / unit + 1 }
}

fn places_before(offset: u64, length: u64, size: u64, unit: u64) -> u64 {
    places(offset.min(size), length, unit)
}

/// The offset of the byte with this index among all those of the ranges.
fn nth_of(ranges: &[Range<u64>], mut index: u64) -> u64 {
    for range in ranges {
        let length = range.end - range.start;
        if index < length {
            return range.start + index;
        }
        index -= length;
    }
    unreachable!("the index is below the sum of the lengths")
}
