//! Opening a database: finding the meta page that counts, and bringing back what the log holds beyond it.
//!
//! The data file's own lock is the database's: there is no lock file to be left behind, or missing from a copy. Since
//! compaction replaces the data file, the lock counts only while the file has its name.
//!
//! Recovery trusts nothing that may live in the page cache only. Whatever it replays, and whatever a crash may have
//! kept from being finished, it makes durable with a checkpoint of its own before anything new is acknowledged; until
//! that checkpoint's meta page is durable every byte of the old state is left alone, so that a power loss during a
//! recovery is followed by the same recovery.

use std::path::Path;

use proofmark_vfs::{LockMode, OpenMode, Vfs, VfsFile};

use crate::checkpoint::CheckpointState;
use crate::compact::renew;
use crate::create::{DATA_FILE, NEW_DATA_FILE, create_empty, exists, lock, make_names_durable};
use crate::db::Published;
use crate::error::{Error, Result};
use crate::format::{Damage, SegmentHeader};
use crate::ids::Generation;
use crate::log::{Log, renew_absence, replay};
use crate::mvcc::{BaseVersion, View};
use crate::options::Options;
use crate::pager::{Allocator, MetaPages, Pager, read_meta_pages};
use crate::sync::Arc;
use crate::write_tier::WriteTier;

/// A database as it was found.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) checkpoint: CheckpointState,
    /// None until the recovery's checkpoint has started a new one, or for good if nothing is to be written.
    pub(crate) log: Option<Log>,
    pub(crate) published: Published,
    /// What was replayed lies in the frozen tier and has to be checkpointed, with a log that starts with
    /// `next_segment`, before the database is used.
    pub(crate) needs_checkpoint: bool,
    pub(crate) next_segment: SegmentHeader,
}

pub(crate) fn open(vfs: Arc<dyn Vfs>, directory: &Path, options: &Options) -> Result<Opened> {
    let data_path = directory.join(DATA_FILE);
    if !exists(&*vfs, directory, DATA_FILE)? {
        if !options.create || options.read_only {
            return Err(Error::NotFound { path: directory.to_owned() });
        }
        create_empty(&*vfs, directory, options)?;
    }
    let (open_mode, lock_mode) = if options.read_only {
        (OpenMode::Read, LockMode::Shared)
    } else {
        (OpenMode::ReadWrite, LockMode::Exclusive)
    };
    let file = vfs.open(&data_path, open_mode).map_err(|source| Error::io("open", &data_path, source))?;
    lock(&*file, directory, &data_path, lock_mode)?;
    if !is_in_place(&*vfs, &*file, &data_path)? {
        // Another handle has put a compacted file in its place, and has the lock of that one.
        return Err(Error::Locked { path: directory.to_owned() });
    }
    if !options.read_only && exists(&*vfs, directory, NEW_DATA_FILE)? {
        // Of a compaction that was cut short. Nobody else can be at it while this handle has the lock.
        let path = directory.join(NEW_DATA_FILE);
        vfs.remove(&path).map_err(|source| Error::io("remove", &path, source))?;
    }
    let meta_pages = read_meta_pages(&*file, &data_path)?;
    let meta = meta_pages.newest;
    let size = file.size().map_err(|source| Error::io("measure", &data_path, source))?;
    if size < meta.page_count * u64::from(meta.page_size) {
        let damage = Damage("the data file is shorter than its meta page says");
        return Err(Error::corruption(&data_path, size, damage));
    }
    if !options.read_only && meta.generation == Generation(0) {
        // Who created it may have died before the names of its files and directory were durable.
        make_names_durable(&*vfs, directory)?;
    }
    let pager = Pager::new(file, data_path, meta.database, meta.page_size as usize, options.cache_bytes);
    recover(vfs, directory, options, pager, meta_pages)
}

fn recover(
    vfs: Arc<dyn Vfs>,
    directory: &Path,
    options: &Options,
    mut pager: Pager,
    meta_pages: MetaPages,
) -> Result<Opened> {
    let mut meta = meta_pages.newest;
    let mut allocator = Allocator::load(&pager, &meta)?;
    let tier = WriteTier::default();
    let replay = replay(&*vfs, directory, &meta, |txn, mutations| {
        tier.replay(txn, mutations);
    })?;
    // Only now that the log was found to go with it: a meta page may have been misread.
    let is_renewed = !options.read_only && meta_pages.are_of_a_compaction();
    if is_renewed {
        (pager, meta) = renew(&*vfs, directory, options, &pager, meta)?;
        allocator = Allocator::with_pages(meta.page_count);
    }
    if let Some(fallback) = meta_pages.fallback
        && !options.read_only
        && fallback.log_start < meta.log_start
        && !replay.stale.contains(&fallback.log_start)
    {
        // Whoever falls back to the older meta page has to see that its log is gone. Its start may be known to be gone by the
        // page cache only: who gave it up may have died before that was durable, or a sync have failed.
        renew_absence(&*vfs, directory, fallback.log_start)?;
    }
    let pager = Arc::new(pager);
    let base = Arc::new(BaseVersion::new(Arc::clone(&pager), &meta));
    if !replay.stale.is_empty() && !options.read_only {
        // They are still there, so that the checkpoint that wrote the meta page may have died before it was durable. Its
        // bytes are written anew, because a sync that failed may have marked them as clean; a power loss that tears
        // them leaves the other meta page and the segments that it starts with. The checkpoint that ends this recovery
        // syncs them before it writes over the other meta page, and takes no page that this one reaches.
        pager.write_meta(&meta)?;
    }
    // The checkpoint that ends a recovery makes a renewed name durable as well, before it retires anything.
    let resumable = replay.empty.filter(|_| replay.stale.is_empty() && !is_renewed);
    let (log, needs_checkpoint) = match resumable {
        _ if options.read_only => (None, false),
        Some(header) => (Some(Log::resume(Arc::clone(&vfs), directory, options.log(), header)?), false),
        None => (None, true),
    };
    let active = Arc::new(tier.successor());
    let frozen = (replay.replayed > 0 || needs_checkpoint).then(|| Arc::new(tier));
    let versions = vec![(base.generation, Arc::downgrade(&base))];
    let oldest = options.oldest(base.oldest, replay.latest);
    let view = View { active, frozen, base };
    Ok(Opened {
        vfs,
        checkpoint: CheckpointState {
            pager,
            fallback_log_start: meta.log_start,
            meta,
            allocator,
            versions,
            frozen: None,
        },
        log,
        published: Published { oldest, latest: replay.latest, view: Arc::new(view) },
        needs_checkpoint,
        next_segment: replay.next,
    })
}

fn is_in_place(vfs: &dyn Vfs, file: &dyn VfsFile, path: &Path) -> Result<bool> {
    let identify = || Ok(vfs.file_id(path)? == file.file_id()?);
    identify().map_err(|source| Error::io("identify", path, source))
}
