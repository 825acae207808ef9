//! Opening a database: finding the meta page that counts, and bringing back what the log holds beyond it.
//!
//! The data file's own lock is the database's: there is no lock file to be left behind. A database is created under
//! another name and renamed into place when all of it is durable, so that a power loss during the creation leaves no
//! database, or a whole one.
//!
//! Recovery trusts nothing that may live in the page cache only. Whatever it replays, and whatever a crash may have
//! kept from being finished, it makes durable with a checkpoint of its own before anything new is acknowledged; until
//! that checkpoint's meta page is durable every byte of the old state is left alone, so that a power loss during a
//! recovery is followed by the same recovery.

use std::io;
use std::path::{Path, PathBuf};

use proofmark_vfs::{LockMode, OpenMode, Vfs, VfsFile};

use crate::checkpoint::CheckpointState;
use crate::db::Published;
use crate::error::{Error, Result};
use crate::format::{Damage, Meta, SegmentHeader};
use crate::ids::{DatabaseId, Generation, SegmentId, TxnId};
use crate::log::{Log, begin_segment, clear_unused, replay};
use crate::mvcc::{BaseVersion, View};
use crate::options::Options;
use crate::pager::{Allocator, Pager, read_meta_pages};
use crate::sync::Arc;
use crate::write_tier::WriteTier;

const DATA_FILE: &str = "data";
const NEW_DATA_FILE: &str = "data.new";

/// A database as it was found.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) pager: Pager,
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
        create(&*vfs, directory, options)?;
    }
    let (open_mode, lock_mode) = if options.read_only {
        (OpenMode::Read, LockMode::Shared)
    } else {
        (OpenMode::ReadWrite, LockMode::Exclusive)
    };
    let file = vfs.open(&data_path, open_mode).map_err(|source| Error::io("open", &data_path, source))?;
    lock(&*file, directory, &data_path, lock_mode)?;
    let meta = read_meta_pages(&*file, &data_path)?.newest;
    let size = file.size().map_err(|source| Error::io("measure", &data_path, source))?;
    if size < meta.page_count * u64::from(meta.page_size) {
        let damage = Damage("the data file is shorter than its meta page says");
        return Err(Error::corruption(&data_path, size, damage));
    }
    if meta.generation == Generation(0) && !options.read_only {
        make_names_durable(&*vfs, directory)?;
    }
    let pager = Pager::new(file, data_path, meta.database, meta.page_size as usize, options.cache_bytes);
    recover(vfs, directory, options, pager, meta)
}

fn recover(
    vfs: Arc<dyn Vfs>,
    directory: &Path,
    options: &Options,
    pager: Pager,
    meta: Meta,
) -> Result<Opened> {
    let allocator = Allocator::load(&pager, &meta)?;
    let tier = WriteTier::default();
    let replay = replay(&*vfs, directory, &meta, |txn, mutations| {
        tier.replay(txn, mutations);
    })?;
    let base = Arc::new(BaseVersion { generation: meta.generation, root: meta.root, oldest: meta.oldest });
    if replay.has_stale_segments && !options.read_only {
        // They are still there, so that the checkpoint that wrote the meta page may have died before it was durable. Its
        // bytes are written anew, because a sync that failed may have marked them as clean; a power loss that tears
        // them leaves the other meta page and the segments that it starts with.
        pager.write_meta(&meta)?;
        pager.sync()?;
    }
    let resumable = replay.empty.filter(|_| !replay.has_stale_segments);
    let (log, needs_checkpoint) = match resumable {
        _ if options.read_only => (None, false),
        Some(header) => (Some(Log::resume(Arc::clone(&vfs), directory, options.log(), header)?), false),
        None => (None, true),
    };
    let frozen = (replay.replayed > 0 || needs_checkpoint).then(|| Arc::new(tier));
    let versions = vec![(base.generation, Arc::downgrade(&base))];
    let view = View { active: Arc::default(), frozen, base };
    Ok(Opened {
        vfs,
        pager,
        checkpoint: CheckpointState { meta, allocator, versions },
        log,
        published: Published { latest: replay.latest, view },
        needs_checkpoint,
        next_segment: replay.next,
    })
}

/// Creates an empty database. A power loss anywhere in here leaves files that the next attempt overwrites. The names are
/// not durable yet when this returns.
fn create(vfs: &dyn Vfs, directory: &Path, options: &Options) -> Result<()> {
    vfs.create_directory(directory).map_err(|source| Error::io("create", directory, source))?;
    let new_path = directory.join(NEW_DATA_FILE);
    let data_path = directory.join(DATA_FILE);
    let file =
        vfs.open(&new_path, OpenMode::Create).map_err(|source| Error::io("create", &new_path, source))?;
    lock(&*file, directory, &new_path, LockMode::Exclusive)?;
    if exists(vfs, directory, DATA_FILE)? {
        // Another process finished creating the database before this one had the lock.
        return match vfs.remove(&new_path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome.map_err(|source| Error::io("remove", &new_path, source)),
        };
    }
    clear_unused(vfs, directory)?;
    let log_start = SegmentId(1);
    let database = vfs.unique_id().map_err(|source| Error::io("draw a number for", directory, source))?;
    let meta = Meta {
        database: DatabaseId(database),
        page_size: options.page_size,
        generation: Generation(0),
        page_count: 2,
        root: None,
        free_list: None,
        log_start,
        checkpoint: TxnId(0),
        oldest: TxnId(0),
    };
    file.set_size(0).map_err(|source| Error::io("empty", &new_path, source))?;
    let pager = Pager::new(file, new_path.clone(), meta.database, options.page_size as usize, 0);
    pager.write_meta(&meta)?;
    pager.reserve(meta.page_count)?;
    pager.sync()?;
    let first = SegmentHeader { database: meta.database, segment: log_start, first: TxnId(1), previous: 0 };
    begin_segment(vfs, directory, options.log(), first)?;
    vfs.rename(&new_path, &data_path).map_err(|source| Error::io("rename", &new_path, source))
}

/// Makes durable that the database's files and directory have their names, up to the root of the path.
///
/// Done when a database is opened that has seen no checkpoint, and not only when it is created: whoever created the
/// directory or renamed the data file may have died before saying so to the disk.
fn make_names_durable(vfs: &dyn Vfs, directory: &Path) -> Result<()> {
    for path in directory.ancestors() {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        match vfs.sync_directory(path) {
            // A directory that may not be read was not made by an earlier attempt, which would have made it readable.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && path != directory => {}
            outcome => outcome.map_err(|source| Error::io("sync", path, source))?,
        }
    }
    Ok(())
}

fn exists(vfs: &dyn Vfs, directory: &Path, name: &str) -> Result<bool> {
    match vfs.list(directory) {
        Ok(names) => Ok(names.contains(&PathBuf::from(name))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::io("list", directory, source)),
    }
}

fn lock(file: &dyn VfsFile, directory: &Path, path: &Path, mode: LockMode) -> Result<()> {
    match file.try_lock(mode) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Locked { path: directory.to_owned() }),
        Err(source) => Err(Error::io("lock", path, source)),
    }
}
