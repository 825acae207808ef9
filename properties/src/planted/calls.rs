//! Bugs in how a store makes its I/O calls: each is harmless as long as every call does all that it was asked for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proofmark_vfs::{FileId, LockMode, OpenMode, Vfs, VfsFile};

use super::wrap::Bug;

/// What a careless store takes for granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Careless {
    /// A write that took some of the bytes took all of them.
    ShortWrite,
    /// A call that was interrupted was carried out.
    Interrupted,
    /// A sync that fails need only be made again.
    FailedSync,
}

impl Bug for Careless {
    fn vfs(&self, vfs: Arc<dyn Vfs>) -> Arc<dyn Vfs> {
        Arc::new(CarelessVfs { inner: vfs, what: *self })
    }
}

#[derive(Debug)]
struct CarelessVfs {
    inner: Arc<dyn Vfs>,
    what: Careless,
}

#[derive(Debug)]
struct CarelessFile {
    inner: Box<dyn VfsFile>,
    what: Careless,
}

impl Careless {
    /// How many bytes a call is taken to have moved, of so many.
    fn count(self, moved: io::Result<usize>, length: usize) -> io::Result<usize> {
        match (self, moved) {
            (Careless::Interrupted, Err(error)) if error.kind() == io::ErrorKind::Interrupted => Ok(length),
            (_, moved) => moved,
        }
    }

    fn sync(self, sync: impl Fn() -> io::Result<()>) -> io::Result<()> {
        match sync() {
            Err(_) if self == Careless::FailedSync => sync(),
            synced => synced,
        }
    }
}

impl Vfs for CarelessVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(CarelessFile { inner: self.inner.open(path, mode)?, what: self.what }))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.inner.create_directory(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.inner.list(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn file_id(&self, path: &Path) -> io::Result<FileId> {
        self.inner.file_id(path)
    }

    fn unique_id(&self) -> io::Result<u64> {
        self.inner.unique_id()
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.what.sync(|| self.inner.sync_directory(path))
    }
}

impl VfsFile for CarelessFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let length = buffer.len();
        self.what.count(self.inner.read_at(buffer, offset), length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let written = self.what.count(self.inner.write_at(bytes, offset), bytes.len())?;
        Ok(if self.what == Careless::ShortWrite { bytes.len() } else { written })
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.inner.set_size(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.what.sync(|| self.inner.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.what.sync(|| self.inner.sync_all())
    }

    fn file_id(&self) -> io::Result<FileId> {
        self.inner.file_id()
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        self.inner.try_lock(mode)
    }
}
