//! What each I/O call does, once it is allowed to.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use proofmark_vfs::{LockMode, OpenMode};

use super::DirectoryPersistence;
use super::directory::Tree;
use super::effect::{DirectoryId, EntryEffect, InodeId, Name, Node};
use super::errno::{EFBIG, EISDIR, ENOENT, ENOSPC, EXDEV, fail};
use super::faults::FaultKind;
use super::inode::{HandleId, Inode, WriteFaults};
use super::state::State;
use super::trace::Answer;

/// The largest size a file can have, as on real systems.
const FILE_SIZE_MAX: u64 = i64::MAX as u64;

/// An open file, as its holder knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened {
    pub(super) inode: InodeId,
    pub(super) handle: HandleId,
}

impl Answer for Opened {
    fn number(&self) -> u64 {
        self.inode.0
    }
}

impl State {
    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<Opened> {
        let (directory, name) = self.tree.find_parent(path)?;
        let existing = self.tree.get(directory).volatile.get(name).copied();
        let inode = match (existing, mode) {
            (Some(Node::Directory(_)), _) => return fail(EISDIR),
            (Some(Node::File(inode)), OpenMode::CreateTruncate) => {
                self.truncate(inode, 0);
                inode
            }
            (Some(Node::File(inode)), _) => inode,
            (None, OpenMode::Read | OpenMode::ReadWrite) => return fail(ENOENT),
            (None, OpenMode::Create | OpenMode::CreateTruncate) => {
                self.create_file(directory, Name::from(name))
            }
        };
        let handle = HandleId(self.next_handle);
        self.next_handle += 1;
        self.inode(inode).handle_count += 1;
        Ok(Opened { inode, handle })
    }

    pub(super) fn close(&mut self, inode: InodeId, handle: HandleId) {
        let file = self.inode(inode);
        file.close(handle);
        if file.unlinked && file.handle_count == 0 {
            self.release_unlinked();
        }
    }

    pub(super) fn create_directory(&mut self, path: &Path) -> io::Result<()> {
        self.tree.create(&mut self.sequence, path)
    }

    pub(super) fn list(&mut self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let directory = self.tree.find_directory(path)?;
        Ok(self.tree.get(directory).volatile.keys().map(|name| PathBuf::from(&**name)).collect())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (directory, name, inode) = self.find_file(path)?;
        let effect = EntryEffect::Unlink { name: Name::from(name), node: Node::File(inode) };
        self.tree.get_mut(directory).change(&mut self.sequence, effect);
        self.inode(inode).unlinked = true;
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (directory, from, inode) = self.find_file(from)?;
        let (target, to) = self.tree.find_parent(to)?;
        if target != directory {
            return fail(EXDEV);
        }
        let replaces = self.tree.get(directory).volatile.contains_key(to);
        match self.tree.get(directory).volatile.get(to) {
            Some(Node::Directory(_)) => return fail(EISDIR),
            Some(Node::File(replaced)) if *replaced == inode => return Ok(()),
            Some(Node::File(replaced)) => {
                let replaced = *replaced;
                self.inode(replaced).unlinked = true;
            }
            None => {}
        }
        let (from, to) = (Name::from(from), Name::from(to));
        let effect = EntryEffect::Rename { from, to, node: Node::File(inode), replaces };
        self.tree.get_mut(directory).change(&mut self.sequence, effect);
        Ok(())
    }

    pub(super) fn sync_directory(&mut self, path: &Path) -> io::Result<()> {
        let directory = self.tree.find_directory(path)?;
        self.stats.directory_syncs += 1;
        if self.is_struck_by(FaultKind::DirectorySyncLost) {
            self.tree.get_mut(directory).lose_pending();
            return self.report();
        }
        let mut names = vec![(directory, self.tree.get(directory).pending.len())];
        if self.options.directory_persistence == DirectoryPersistence::WithFileSync {
            self.add_names_above(directory, &mut names);
        }
        if self.is_struck_by(FaultKind::IgnoreDirectorySync) {
            names.into_iter().for_each(|(directory, count)| self.lie_about_entries(directory, count));
        } else {
            self.persist_with_needed(None, &names);
        }
        Ok(())
    }

    pub(super) fn read(&mut self, inode: InodeId, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.faults.is_armed() {
            self.rot(inode, offset..offset.saturating_add(buffer.len() as u64));
        }
        let mut count = self.inode(inode).read(buffer, offset);
        if self.is_struck_by(FaultKind::ShortRead) {
            count = 1 + self.draw(count as u64 - 1) as usize;
        }
        if self.is_struck_by(FaultKind::StaleRead)
            && let Some(stale) = self.inode(inode).stale(&buffer[..count], offset)
        {
            buffer[..count].copy_from_slice(&stale);
        }
        if self.is_struck_by(FaultKind::MisdirectedRead) {
            match self.misread(inode, count as u64, offset) {
                Some(bytes) if bytes != buffer[..count] => buffer[..count].copy_from_slice(&bytes),
                _ => self.miss(),
            }
        }
        self.stats.reads += 1;
        self.stats.bytes_read += count as u64;
        Ok(count)
    }

    pub(super) fn write(&mut self, inode: InodeId, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > FILE_SIZE_MAX) {
            return fail(EFBIG);
        }
        let is_partial = self.is_struck_by(FaultKind::PartialWrite);
        let bytes = if is_partial {
            &bytes[..self.draw(bytes.len() as u64) as usize]
        } else if self.is_struck_by(FaultKind::ShortWrite) {
            &bytes[..self.shorten(bytes.len() as u64, offset) as usize]
        } else {
            bytes
        };
        let bytes = &bytes[..self.stop(bytes.len(), offset)];
        let volatile = &self.inodes[&inode].volatile;
        let bytes = match self.bytes_with_room(|page| volatile.has_page(page), offset, bytes.len()) {
            0 if !bytes.is_empty() => {
                self.stats.writes_without_room += 1;
                self.miss();
                return fail(ENOSPC);
            }
            count => &bytes[..count],
        };
        if bytes.is_empty() {
            return if is_partial { self.report() } else { Ok(0) };
        }
        let is_misdirected = self.is_struck_by(FaultKind::MisdirectedWrite);
        let faults = WriteFaults {
            dropped: is_misdirected || self.is_struck_by(FaultKind::LostWrite),
            held: self.is_struck_by(FaultKind::SwappedWrites),
            remembered: self.faults.wants_history(),
        };
        let file = self.inodes.get_mut(&inode).expect("an open file has an inode");
        file.write(&mut self.sequence, bytes, offset, faults);
        if file.pending_bytes() > self.options.dirty_bytes_max {
            self.persist_with_needed(Some(inode), &[]);
            self.stats.write_backs += 1;
        }
        self.stats.writes += 1;
        self.stats.bytes_written += bytes.len() as u64;
        if is_misdirected {
            self.misdirect(inode, bytes, offset);
        }
        if self.is_struck_by(FaultKind::WriteBackLost) {
            self.lose_write_back(inode);
        }
        if is_partial { self.report() } else { Ok(bytes.len()) }
    }

    /// How many of `length` bytes a short write takes: some, and half of the time up to a granule if there is a boundary.
    fn shorten(&mut self, length: u64, offset: u64) -> u64 {
        let cut = 1 + self.draw(length - 1);
        let at_granule = (offset + cut) / self.options.granule.bytes() * self.options.granule.bytes();
        if at_granule > offset && self.draw(2) == 0 { at_granule - offset } else { cut }
    }

    /// A write-back that nobody asked for fails.
    fn lose_write_back(&mut self, inode: InodeId) {
        self.inode(inode).lose_pending();
        if self.inode(inode).deferred.is_none() {
            self.inode(inode).deferred = self.defer();
        }
    }

    /// How many of `length` bytes at `offset` a write takes: all, unless it stops midway, with some granule.
    fn stop(&self, length: usize, offset: u64) -> usize {
        if !self.stops_midway {
            return length;
        }
        let granule = self.options.granule.bytes();
        let cut = offset + length as u64 * (self.io_calls % 8) / 8;
        (cut / granule * granule).saturating_sub(offset) as usize
    }

    pub(super) fn size(&mut self, inode: InodeId) -> io::Result<u64> {
        Ok(self.inode(inode).volatile.size())
    }

    pub(super) fn set_size(&mut self, inode: InodeId, size: u64) -> io::Result<()> {
        if size > FILE_SIZE_MAX {
            return fail(EFBIG);
        }
        self.truncate(inode, size);
        Ok(())
    }

    /// Makes a file durable. `sync_data` and `sync_all` do the same: the model knows no other metadata.
    pub(super) fn sync(&mut self, inode: InodeId) -> io::Result<()> {
        self.stats.syncs += 1;
        if self.is_struck_by(FaultKind::SyncLost) {
            self.inode(inode).lose_pending();
            return self.report();
        }
        if self.is_struck_by(FaultKind::SyncReadOnly) {
            self.inode(inode).lose_pending();
            self.become_read_only();
            return self.report();
        }
        if self.is_struck_by(FaultKind::SyncReverted) {
            self.inode(inode).revert();
            return self.report();
        }
        self.make_durable(inode);
        if self.may_report_deferred()
            && let Some(index) = self.inode(inode).deferred.take()
        {
            return self.report_deferred(index);
        }
        if self.is_struck_by(FaultKind::SyncLate) { self.report() } else { Ok(()) }
    }

    fn make_durable(&mut self, inode: InodeId) {
        if self.is_struck_by(FaultKind::IgnoreSync) {
            self.inode(inode).lie();
            self.names_that_a_sync_covers(inode)
                .into_iter()
                .for_each(|(directory, count)| self.lie_about_entries(directory, count));
            return;
        }
        if self.is_struck_by(FaultKind::TornSync) {
            let granule = self.options.granule;
            self.inode(inode).lie();
            self.inode(inode).persist_half(granule);
            self.names_that_a_sync_covers(inode)
                .into_iter()
                .for_each(|(directory, count)| self.persist_entries(directory, count));
        } else {
            let names = self.names_that_a_sync_covers(inode);
            self.persist_with_needed(Some(inode), &names);
        }
    }

    /// The directories of which a sync of a file makes names durable as well, and how many of their pending effects.
    fn names_that_a_sync_covers(&self, inode: InodeId) -> Vec<(DirectoryId, usize)> {
        let mut names = Vec::new();
        if self.options.directory_persistence == DirectoryPersistence::WithFileSync {
            let directory = self.inodes[&inode].directory;
            names.push((directory, self.tree.get(directory).count_through(Node::File(inode))));
            self.add_names_above(directory, &mut names);
        }
        names
    }

    /// Acknowledges the first `count` pending effects of a directory, and leaves them pending.
    fn lie_about_entries(&mut self, directory: DirectoryId, count: usize) {
        let directory = self.tree.get_mut(directory);
        directory.lies.tell(&directory.pending[..count]);
    }

    pub(super) fn try_lock(&mut self, inode: InodeId, handle: HandleId, mode: LockMode) -> io::Result<bool> {
        Ok(self.inode(inode).try_lock(handle, mode))
    }

    /// Makes a directory and all above it durable, outside of any I/O call.
    pub(super) fn prepare_directory(&mut self, path: &Path) -> io::Result<()> {
        self.tree.create(&mut self.sequence, path)?;
        for ancestor in path.ancestors() {
            let directory = self.tree.find_directory(ancestor)?;
            self.persist_all_entries(directory);
        }
        Ok(())
    }

    /// Removes everything, durably, outside of any I/O call.
    pub(super) fn clear(&mut self) {
        self.tree = Tree::new();
        self.inodes.clear();
        self.incarnation += 1;
    }

    fn inode(&mut self, id: InodeId) -> &mut Inode {
        self.inodes.get_mut(&id).expect("a file that is named or open has an inode")
    }

    pub(super) fn find_file<'p>(&self, path: &'p Path) -> io::Result<(DirectoryId, &'p OsStr, InodeId)> {
        let (directory, name) = self.tree.find_parent(path)?;
        match self.tree.get(directory).volatile.get(name) {
            None => fail(ENOENT),
            Some(Node::Directory(_)) => fail(EISDIR),
            Some(Node::File(inode)) => Ok((directory, name, *inode)),
        }
    }

    fn create_file(&mut self, directory: DirectoryId, name: Name) -> InodeId {
        let inode = InodeId(self.next_inode);
        self.next_inode += 1;
        self.inodes.insert(inode, Inode::new(directory));
        let effect = EntryEffect::Link { name, node: Node::File(inode) };
        self.tree.get_mut(directory).change(&mut self.sequence, effect);
        inode
    }

    fn truncate(&mut self, inode: InodeId, size: u64) {
        let file = self.inodes.get_mut(&inode).expect("a file that is named or open has an inode");
        file.set_size(&mut self.sequence, size);
    }

    fn persist_all_entries(&mut self, directory: DirectoryId) {
        let count = self.tree.get(directory).pending.len();
        self.persist_entries(directory, count);
    }

    pub(super) fn persist_entries(&mut self, directory: DirectoryId, count: usize) {
        if count > 0 {
            self.tree.get_mut(directory).persist(count);
            self.release_unlinked();
        }
    }

    /// Adds the names that lead to a directory: in which directories they stand, and how many pending effects make them.
    fn add_names_above(&self, mut directory: DirectoryId, names: &mut Vec<(DirectoryId, usize)>) {
        while let Some(parent) = self.tree.get(directory).parent {
            names.push((parent, self.tree.get(parent).count_through(Node::Directory(directory))));
            directory = parent;
        }
    }

    /// Drops the files that are neither named nor open, unless a pending effect of their directory may yet name them.
    pub(super) fn release_unlinked(&mut self) {
        let tree = &self.tree;
        self.inodes.retain(|_, inode| inode.handle_count > 0 || !tree.is_gone(inode));
    }
}
