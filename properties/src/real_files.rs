//! A store on the real file system, where the simulator asks for a simulated one.
//!
//! [`OnRealFiles`] opens the store below a directory and ignores the disk that the runner offers, so that the same plan
//! runs through the same interpreter and is judged by the same checkers, on real files. A power loss does nothing to
//! them, so only plans without crashes mean the same in both worlds; for those the histories must be equal, event by
//! event.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proofmark_sim::plan::Config;
use proofmark_sim::store::{Promises, Store, StoreError, StoreFactory};
use proofmark_vfs::{FileId, OpenMode, RealVfs, Vfs, VfsFile};

/// The real file system below one directory, which is the `/` of every path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootedVfs {
    root: PathBuf,
}

/// A store that lives on real files.
#[derive(Debug)]
pub struct OnRealFiles<'a> {
    store: &'a dyn StoreFactory,
    files: RootedVfs,
}

impl RootedVfs {
    /// The file system below `root`.
    pub fn new(root: &Path) -> RootedVfs {
        RootedVfs { root: root.to_owned() }
    }

    fn real(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

impl Vfs for RootedVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        RealVfs.open(&self.real(path), mode)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        RealVfs.create_directory(&self.real(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        RealVfs.list(&self.real(path))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealVfs.remove(&self.real(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealVfs.rename(&self.real(from), &self.real(to))
    }

    fn file_id(&self, path: &Path) -> io::Result<FileId> {
        RealVfs.file_id(&self.real(path))
    }

    fn unique_id(&self) -> io::Result<u64> {
        RealVfs.unique_id()
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        RealVfs.sync_directory(&self.real(path))
    }
}

impl<'a> OnRealFiles<'a> {
    /// `store`, in the directory `root`.
    pub fn new(store: &'a dyn StoreFactory, root: &Path) -> OnRealFiles<'a> {
        OnRealFiles { store, files: RootedVfs::new(root) }
    }
}

impl StoreFactory for OnRealFiles<'_> {
    fn name(&self) -> &str {
        self.store.name()
    }

    fn promises(&self) -> Promises {
        self.store.promises()
    }

    fn open(&self, _simulated: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        self.store.open(Arc::new(self.files.clone()), config)
    }
}
