//! A file system whose calls are steps.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proofmark_vfs::{FileId, LockMode, OpenMode, Vfs, VfsFile};

use crate::sync::point;

/// Another file system, with a [`point`] before and after each call: other threads can come between what led to a call
/// and the call, and between the call and what follows from it. The call itself happens at once.
#[derive(Debug)]
pub struct StepVfs(Arc<dyn Vfs>);

#[derive(Debug)]
struct StepFile(Box<dyn VfsFile>);

impl StepVfs {
    /// Makes steps of the calls of `inner`.
    pub fn new(inner: Arc<dyn Vfs>) -> StepVfs {
        StepVfs(inner)
    }
}

fn step<R>(call: impl FnOnce() -> R) -> R {
    point();
    let answer = call();
    point();
    answer
}

impl Vfs for StepVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        let file = step(|| self.0.open(path, mode))?;
        Ok(Box::new(StepFile(file)))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        step(|| self.0.create_directory(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        step(|| self.0.list(path))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        step(|| self.0.remove(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        step(|| self.0.rename(from, to))
    }

    fn file_id(&self, path: &Path) -> io::Result<FileId> {
        step(|| self.0.file_id(path))
    }

    fn unique_id(&self) -> io::Result<u64> {
        step(|| self.0.unique_id())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        step(|| self.0.sync_directory(path))
    }
}

impl VfsFile for StepFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        step(|| self.0.read_at(buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        step(|| self.0.write_at(bytes, offset))
    }

    fn size(&self) -> io::Result<u64> {
        step(|| self.0.size())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        step(|| self.0.set_size(size))
    }

    fn sync_data(&self) -> io::Result<()> {
        step(|| self.0.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        step(|| self.0.sync_all())
    }

    fn file_id(&self) -> io::Result<FileId> {
        step(|| self.0.file_id())
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        step(|| self.0.try_lock(mode))
    }
}
