//! Compaction: the base tree, and nothing else, in a data file of its own.
//!
//! After a checkpoint the tree is written anew, in order and without gaps, to a file that is then renamed over the old
//! one. Commits go on in the log and the write tier, which both files agree on; readers that began before keep the old
//! file, which is gone when the last of them is. A failure before the rename changes nothing.
//!
//! Both meta pages of the new file describe the same state, one generation apart, so that there is something to fall back
//! to. The rename needs no sync of its own: until it is durable, a power loss may bring back the old file, which holds the
//! same and finds the same log. The log that the old file needs is retired by a later checkpoint at the earliest, which
//! begins a segment first, and syncs the directory for that.
//!
//! A compaction ends with such a checkpoint, after which the meta pages differ. Two that describe the same state thus say
//! that the name of their file may not be durable. If the sync of the directory failed, it may even never be, whatever
//! later syncs say: whoever opens such a file to write [renews](renew) the name before anything is built on it.

use std::path::Path;

use proofmark_vfs::Vfs;

use crate::btree::{Builder, for_each_version};
use crate::checkpoint::CheckpointState;
use crate::create::{NewDataFile, rename_into_place};
use crate::db::{Database, Shared};
use crate::error::{Error, Result};
use crate::format::Meta;
use crate::mvcc::BaseVersion;
use crate::options::Options;
use crate::pager::{Allocator, Pager};
use crate::sync::Arc;

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactReport {
    /// Bytes of the data file before.
    pub bytes_before: u64,
    /// Bytes of the data file after.
    pub bytes_after: u64,
}

impl Database {
    /// Runs a checkpoint, writes the data file anew without free pages and with full ones, and runs a checkpoint in that,
    /// unless the disk is full. Takes as much room on the disk as the data that is kept, until the old file is gone. Readers
    /// go on meanwhile, and writers until the write tier is full.
    ///
    /// # Errors
    /// `OutOfSpace`, `Io` or `Corruption` if the new file can't be written or the old one not be read: everything is as
    /// before. `Io` if the new file can't take the old one's place, or a sync fails after that: the database is poisoned
    /// then, and whole on disk.
    /// `Locked` if somebody else has opened the file that is being made; `Poisoned`, `ReadOnly`.
    pub fn compact(&self) -> Result<CompactReport> {
        let shared = &self.shared;
        shared.check_writable()?;
        let mut state = shared.checkpoint.lock();
        shared.checkpoint_locked(&mut state)?;
        let bytes_before = state.pager.file_bytes()?;
        let new = NewDataFile::create(&*shared.vfs, &shared.directory)?;
        let new_path = new.path().to_owned();
        let (pager, meta) =
            match write_anew(&shared.directory, &shared.options, &state.pager, state.meta, new) {
                Ok(written) => written,
                Err(error) => {
                    // What is left is overwritten by the next attempt; the room it takes is wanted now.
                    let _ = shared.vfs.remove(&new_path);
                    return Err(error);
                }
            };
        let bytes_after = pager.file_bytes()?;
        if let Err(error) = rename_into_place(&*shared.vfs, &shared.directory, &new_path) {
            shared.poison_unless_out_of_space(&error);
            let _ = shared.vfs.remove(&new_path);
            return Err(error);
        }
        shared.go_on_in(&mut state, pager, meta);
        match shared.checkpoint_compacted(&mut state) {
            // The next checkpoint will do.
            Ok(()) | Err(Error::OutOfSpace { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(CompactReport { bytes_before, bytes_after })
    }
}

impl Shared {
    /// Uses another data file from here on.
    fn go_on_in(&self, state: &mut CheckpointState, pager: Pager, meta: Meta) {
        let pager = Arc::new(pager);
        state.pager = Arc::clone(&pager);
        state.fallback_log_start = meta.log_start;
        state.meta = meta;
        state.allocator = Allocator::with_pages(meta.page_count);
        // Whoever reads the old file does not care what becomes of the pages of this one.
        state.versions.clear();
        self.publish_base(state, Arc::new(BaseVersion::new(pager, &meta)));
    }
}

/// Gives a data file as a compaction leaves it its name anew: compacts it into another one and puts that in its place, because
/// no sync makes durable what one that failed has dropped, and only a rename of another file leaves the name to one of the
/// two at every moment. The new name is durable once the directory was synced; until then a power loss may bring back the
/// old file, or the one before the compaction, each of which finds its log.
pub(crate) fn renew(
    vfs: &dyn Vfs,
    directory: &Path,
    options: &Options,
    old: &Pager,
    meta: Meta,
) -> Result<(Pager, Meta)> {
    let new = NewDataFile::create(vfs, directory)?;
    let new_path = new.path().to_owned();
    let renewed = write_anew(directory, options, old, meta, new).and_then(|written| {
        rename_into_place(vfs, directory, &new_path)?;
        Ok(written)
    });
    if renewed.is_err() {
        // The next attempt overwrites what is left; the room it takes is wanted now.
        let _ = vfs.remove(&new_path);
    }
    renewed
}

/// Writes the tree that `current` describes to a file of its own, and makes it durable there.
fn write_anew(
    directory: &Path,
    options: &Options,
    old: &Pager,
    current: Meta,
    new: NewDataFile,
) -> Result<(Pager, Meta)> {
    let pager = new.into_pager(directory, current.database, current.page_size, options.cache_bytes)?;
    let older = current.generation.next();
    let mut builder = Builder::new(&pager, current.oldest, older);
    for_each_version(old, current.root, |version, value| builder.push(version, value))?;
    let (root, page_count) = builder.finish()?;
    let fallback = Meta { generation: older, root, page_count, free_list: None, ..current };
    let meta = Meta { generation: older.next(), ..fallback };
    pager.fit(page_count)?;
    pager.write_meta(&fallback)?;
    pager.write_meta(&meta)?;
    pager.sync()?;
    Ok((pager, meta))
}
