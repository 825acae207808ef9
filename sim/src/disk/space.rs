//! A disk that is full: it refuses with `ENOSPC` what needs a page more than there is room for.
//!
//! **Room** is counted in pages of 4096 bytes that files show, as a file system without copy-on-write counts them: a
//! write to a page that has been written before needs none, nor does one to a page of which a power loss left the place
//! and not the bytes, since places are given before bytes are written; extending a file without writing needs none, a
//! page beyond the end of a file that was cut off is free again, and so are those of a file that has neither a name nor
//! a holder. A write of which a part finds room is a short write.

use super::inode::Inode;
use super::pages::PAGE_SIZE;
use super::state::State;

impl State {
    /// Leaves room for so many bytes more, in whole pages, or takes the limit away.
    pub(super) fn limit_space(&mut self, room: Option<u64>) {
        self.pages_max = room.map(|bytes| self.pages_used() + bytes / PAGE_SIZE as u64);
    }

    /// How many of `length` bytes at `offset` find room in a file that has these pages already.
    pub(super) fn bytes_with_room(
        &self,
        has_page: impl Fn(u64) -> bool,
        offset: u64,
        length: usize,
    ) -> usize {
        let Some(pages_max) = self.pages_max else { return length };
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
        let is_there = |inode: &&Inode| !inode.unlinked || inode.handle_count > 0;
        self.inodes.values().filter(is_there).map(|inode| inode.volatile.page_count()).sum()
    }
}
