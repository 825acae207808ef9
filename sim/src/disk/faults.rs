//! Faults that are part of the model: calls that fail because they were told to, and a disk that is full.
//!
//! Each is what real systems do, so that a store has to live with it. An armed failure waits for its n-th call from the
//! arming, fails once with `EIO`, and is gone; a power loss does not disarm it. A limited disk refuses with `ENOSPC`
//! what needs a page more than there is room for.
//!
//! **Room** is counted in pages of 4096 bytes that files show, as a file system without copy-on-write counts them: a
//! write to a page that has been written before needs none, nor does one to a page of which a power loss left the place
//! and not the bytes, since places are given before bytes are written; extending a file without writing needs none, a page beyond
//! the end of a file that was cut off is free again, and so are those of a file that has neither a name nor a holder.
//! A write of which a part finds room is a short write.

use std::fmt;
use std::str::FromStr;

use super::ParseError;
use super::pages::PAGE_SIZE;
use super::state::State;

/// A call that fails. The text form, for plans: `write`, `sync`, `late-sync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailingCall {
    /// A write, which then changes nothing.
    Write,
    /// A sync of a file, after which none of its pending bytes and sizes is pending any more: they show until the power
    /// fails, no later sync covers them, and then they are gone. (Linux marks pages clean that it could not write.)
    Sync,
    /// A sync of a file that made everything durable all the same.
    LateSync,
}

impl FailingCall {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Write, "write"), (Self::Sync, "sync"), (Self::LateSync, "late-sync")];
}

impl fmt::Display for FailingCall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, name) = Self::ALL.iter().find(|(call, _)| call == self).expect("ALL names every call");
        formatter.write_str(name)
    }
}

impl FromStr for FailingCall {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text);
        found.map(|(call, _)| *call).ok_or_else(|| ParseError::new("call that can fail", text))
    }
}

/// The failures to come, and the limit.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    /// Each with how many of its calls are still to come; the last of them fails.
    armed: Vec<(FailingCall, u64)>,
    fired: u64,
    pages_max: Option<u64>,
}

impl Faults {
    pub(super) fn arm(&mut self, call: FailingCall, nth: u64) {
        self.armed.push((call, nth));
    }

    /// Counts a call; whether it fails.
    pub(super) fn strikes(&mut self, call: FailingCall) -> bool {
        let mut strikes = false;
        self.armed.retain_mut(|(armed, left)| {
            if *armed == call {
                *left -= 1;
                strikes |= *left == 0;
            }
            *left > 0
        });
        self.fired += u64::from(strikes);
        strikes
    }

    /// How many calls have failed.
    pub(super) fn fired(&self) -> u64 {
        self.fired
    }
}

impl State {
    /// Leaves room for so many bytes more, in whole pages, or takes the limit away.
    pub(super) fn limit_space(&mut self, room: Option<u64>) {
        self.faults.pages_max = room.map(|bytes| self.pages_used() + bytes / PAGE_SIZE as u64);
    }

    /// How many of `length` bytes at `offset` find room in a file that has these pages already.
    pub(super) fn bytes_with_room(
        &self,
        has_page: impl Fn(u64) -> bool,
        offset: u64,
        length: usize,
    ) -> usize {
        let Some(pages_max) = self.faults.pages_max else { return length };
        let mut room = pages_max.saturating_sub(self.pages_used());
        let page = PAGE_SIZE as u64;
        let end = offset + length as u64;
        for index in offset / page..end.div_ceil(page) {
            if !has_page(index) {
                if room == 0 {
                    return (index * page).saturating_sub(offset) as usize;
                }
                room -= 1;
            }
        }
        length
    }

    fn pages_used(&self) -> u64 {
        let is_there = |inode: &&super::inode::Inode| !inode.unlinked || inode.handle_count > 0;
        self.inodes.values().filter(is_there).map(|inode| inode.volatile.page_count()).sum()
    }
}
