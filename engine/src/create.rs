//! Making a database, or a new data file for one.
//!
//! A data file is written under another name, synced, and renamed into place, so that a power loss leaves the old state or
//! the new one, whole. When the names are durable is the caller's to see to.

use std::io;
use std::path::{Path, PathBuf};

use proofmark_vfs::{LockMode, OpenMode, Vfs, VfsFile};

use crate::error::{Error, Result};
use crate::format::{Meta, SegmentHeader, Subtree};
use crate::ids::{DatabaseId, Generation, SegmentId, TxnId};
use crate::log::{begin_segment, clear_unused};
use crate::options::Options;
use crate::pager::Pager;

pub(crate) const DATA_FILE: &str = "data";
pub(crate) const NEW_DATA_FILE: &str = "data.new";

/// What a new database holds.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) root: Option<Subtree>,
    pub(crate) page_count: u64,
    /// The last transaction in it.
    pub(crate) checkpoint: TxnId,
    pub(crate) oldest: TxnId,
}

impl Contents {
    /// Nothing but the meta pages.
    pub(crate) fn empty() -> Contents {
        Contents { root: None, page_count: 2, checkpoint: TxnId(0), oldest: TxnId(0) }
    }
}

/// A data file under its temporary name.
#[derive(Debug)]
pub(crate) struct NewDataFile {
    file: Box<dyn VfsFile>,
    path: PathBuf,
}

/// Creates an empty database. A power loss anywhere in here leaves files that the next attempt overwrites. The names are
/// not durable yet when this returns.
pub(crate) fn create_empty(vfs: &dyn Vfs, directory: &Path, options: &Options) -> Result<()> {
    vfs.create_directory(directory).map_err(|source| Error::io("create", directory, source))?;
    let new = NewDataFile::create(vfs, directory)?;
    if exists(vfs, directory, DATA_FILE)? {
        // Another process finished creating the database before this one had the lock.
        return new.remove(vfs);
    }
    clear_unused(vfs, directory)?;
    create_database(vfs, directory, new, options, options.page_size, |_| Ok(Contents::empty()))
}

/// Makes of `new` the data file of a database with the given contents, and an empty log.
pub(crate) fn create_database(
    vfs: &dyn Vfs,
    directory: &Path,
    new: NewDataFile,
    options: &Options,
    page_size: u32,
    build: impl FnOnce(&Pager) -> Result<Contents>,
) -> Result<()> {
    let database =
        DatabaseId(vfs.unique_id().map_err(|source| Error::io("draw a number for", directory, source))?);
    let log_start = SegmentId(1);
    let path = new.path.clone();
    let pager = new.into_pager(directory, database, page_size, 0)?;
    let contents = build(&pager)?;
    let meta = Meta {
        database,
        page_size,
        generation: Generation(0),
        page_count: contents.page_count,
        root: contents.root,
        free_list: None,
        log_start,
        checkpoint: contents.checkpoint,
        oldest: contents.oldest,
    };
    pager.fit(meta.page_count)?;
    pager.make_room_for_second_meta()?;
    pager.write_meta(&meta)?;
    pager.sync()?;
    let first =
        SegmentHeader { database, segment: log_start, first: contents.checkpoint.next(), previous: 0 };
    begin_segment(vfs, directory, options.log(), first)?;
    rename_into_place(vfs, directory, &path)
}

/// Gives a data file that is durable its name.
pub(crate) fn rename_into_place(vfs: &dyn Vfs, directory: &Path, path: &Path) -> Result<()> {
    vfs.rename(path, &directory.join(DATA_FILE)).map_err(|source| Error::io("rename", path, source))
}

impl NewDataFile {
    /// Takes the temporary name for this process. What lies under it was left behind by another.
    pub(crate) fn create(vfs: &dyn Vfs, directory: &Path) -> Result<NewDataFile> {
        let path = directory.join(NEW_DATA_FILE);
        let file = vfs.open(&path, OpenMode::Create).map_err(|source| Error::io("create", &path, source))?;
        lock(&*file, directory, &path, LockMode::Exclusive)?;
        Ok(NewDataFile { file, path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file, empty, as one for pages. Errors call it by the name that it is going to have in `directory`.
    pub(crate) fn into_pager(
        self,
        directory: &Path,
        database: DatabaseId,
        page_size: u32,
        cache_bytes: usize,
    ) -> Result<Pager> {
        let NewDataFile { file, path } = self;
        file.set_size(0).map_err(|source| Error::io("empty", &path, source))?;
        Ok(Pager::new(file, directory.join(DATA_FILE), database, page_size as usize, cache_bytes))
    }

    fn remove(self, vfs: &dyn Vfs) -> Result<()> {
        match vfs.remove(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome.map_err(|source| Error::io("remove", &self.path, source)),
        }
    }
}

/// Makes durable that the database's files and directory have their names, up to the root of the path.
pub(crate) fn make_names_durable(vfs: &dyn Vfs, directory: &Path) -> Result<()> {
    for path in directory.ancestors() {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        match vfs.sync_directory(path) {
            // What may not be read, or can't be synced or written at all, is not where an earlier attempt made anything.
            Err(error) if path != directory && is_not_ours(error.kind()) => {}
            outcome => outcome.map_err(|source| Error::sync(path, source))?,
        }
    }
    Ok(())
}

fn is_not_ours(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(kind, PermissionDenied | InvalidInput | Unsupported | ReadOnlyFilesystem)
}

pub(crate) fn exists(vfs: &dyn Vfs, directory: &Path, name: &str) -> Result<bool> {
    match vfs.list(directory) {
        Ok(names) => Ok(names.iter().any(|found| found.as_os_str() == name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::io("list", directory, source)),
    }
}

pub(crate) fn lock(file: &dyn VfsFile, directory: &Path, path: &Path, mode: LockMode) -> Result<()> {
    match file.try_lock(mode) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Locked { path: directory.to_owned() }),
        Err(source) => Err(Error::io("lock", path, source)),
    }
}
