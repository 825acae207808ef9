//! Real files on a disk that can be full.

use std::io;
use std::path::{Path, PathBuf};

use proofmark_vfs::{FileId, LockMode, OpenMode, RealVfs, Vfs, VfsFile};

use crate::sync::{Arc, AtomicU64, Ordering};

/// A file system on which so many writes still succeed. The one after them writes half of its bytes, and then, as all
/// others do, finds no space.
#[derive(Debug, Clone)]
pub(super) struct Disk(Arc<Figures>);

#[derive(Debug)]
struct Figures {
    writes_left: AtomicU64,
    syncs: AtomicU64,
}

#[derive(Debug)]
struct DiskFile(Box<dyn VfsFile>, Disk);

impl Disk {
    pub(super) fn new() -> Disk {
        Disk(Arc::new(Figures { writes_left: AtomicU64::new(u64::MAX), syncs: AtomicU64::new(0) }))
    }

    pub(super) fn full_after(&self, writes: u64) {
        self.0.writes_left.store(writes, Ordering::Relaxed);
    }

    pub(super) fn has_space_again(&self) {
        self.full_after(u64::MAX);
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.writes_left.load(Ordering::Relaxed) == 0
    }

    pub(super) fn sync_count(&self) -> u64 {
        self.0.syncs.load(Ordering::Relaxed)
    }
}

impl Vfs for Disk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(DiskFile(RealVfs.open(path, mode)?, self.clone())))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        RealVfs.create_directory(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        RealVfs.list(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealVfs.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealVfs.rename(from, to)
    }

    fn file_id(&self, path: &Path) -> io::Result<FileId> {
        RealVfs.file_id(path)
    }

    fn unique_id(&self) -> io::Result<u64> {
        Ok(1)
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl VfsFile for DiskFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let left = &self.1.0.writes_left;
        let take = |left: u64| left.checked_sub(1);
        match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(1) if bytes.len() > 1 => self.0.write_at(&bytes[..bytes.len() / 2], offset),
            Ok(_) => self.0.write_at(bytes, offset),
            Err(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.0.set_size(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.1.0.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn file_id(&self) -> io::Result<FileId> {
        self.0.file_id()
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        self.0.try_lock(mode)
    }
}
