//! The disk as a store sees it: [`Vfs`] and [`VfsFile`] of one incarnation.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proofmark_vfs::{FileId, LockMode, OpenMode, Vfs, VfsFile};

use super::SimDisk;
use super::effect::InodeId;
use super::errno::{EBADF, fail};
use super::operations::Opened;
use super::trace::{IoOperation, Request};

/// The file system of one incarnation: after a power loss every call fails, for ever.
#[derive(Debug)]
pub(super) struct SimVfs {
    pub(super) disk: SimDisk,
    pub(super) incarnation: u64,
}

impl Vfs for SimVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        let request = Request::path(IoOperation::Open(mode), path);
        let opened = self.disk.lock().call(self.incarnation, &request, |state| state.open(path, mode))?;
        Ok(Box::new(SimFile {
            disk: self.disk.clone(),
            incarnation: self.incarnation,
            opened,
            path: Arc::from(path),
            writable: mode != OpenMode::Read,
        }))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let request = Request::path(IoOperation::CreateDirectory, path);
        self.disk.lock().call(self.incarnation, &request, |state| state.create_directory(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let request = Request::path(IoOperation::List, path);
        self.disk.lock().call(self.incarnation, &request, |state| state.list(path))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let request = Request::path(IoOperation::Remove, path);
        self.disk.lock().call(self.incarnation, &request, |state| state.remove(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let request = Request { target: Some(to), ..Request::path(IoOperation::Rename, from) };
        self.disk.lock().call(self.incarnation, &request, |state| state.rename(from, to))
    }

    fn file_id(&self, path: &Path) -> io::Result<FileId> {
        self.disk.lock().ask(self.incarnation, |state| Ok(file_id(state.find_file(path)?.2)))
    }

    fn unique_id(&self) -> io::Result<u64> {
        self.disk.lock().ask(self.incarnation, |state| Ok(state.unique_id()))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let request = Request::path(IoOperation::SyncDirectory, path);
        self.disk.lock().call(self.incarnation, &request, |state| state.sync_directory(path))
    }
}

/// An open file. Dropping it ends its lock, and never touches the disk.
#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    incarnation: u64,
    opened: Opened,
    path: Arc<Path>,
    writable: bool,
}

impl SimFile {
    fn request(&self, operation: IoOperation) -> Request<'_> {
        Request::file(operation, &self.path, self.opened.inode.0)
    }
}

impl VfsFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let length = buffer.len() as u64;
        let request = Request { offset, length, ..self.request(IoOperation::Read) };
        self.disk
            .lock()
            .call(self.incarnation, &request, |state| state.read(self.opened.inode, buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let length = bytes.len() as u64;
        let request = Request { offset, length, bytes, ..self.request(IoOperation::Write) };
        self.disk.lock().call(self.incarnation, &request, |state| {
            if self.writable { state.write(self.opened.inode, bytes, offset) } else { fail(EBADF) }
        })
    }

    fn size(&self) -> io::Result<u64> {
        let request = self.request(IoOperation::Size);
        self.disk.lock().call(self.incarnation, &request, |state| state.size(self.opened.inode))
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let request = Request { length: size, ..self.request(IoOperation::SetSize) };
        self.disk.lock().call(self.incarnation, &request, |state| {
            if self.writable { state.set_size(self.opened.inode, size) } else { fail(EBADF) }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let request = self.request(IoOperation::SyncData);
        self.disk.lock().call(self.incarnation, &request, |state| state.sync(self.opened.inode))
    }

    fn sync_all(&self) -> io::Result<()> {
        let request = self.request(IoOperation::SyncAll);
        self.disk.lock().call(self.incarnation, &request, |state| state.sync(self.opened.inode))
    }

    fn file_id(&self) -> io::Result<FileId> {
        self.disk.lock().ask(self.incarnation, |_| Ok(file_id(self.opened.inode)))
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        let request = self.request(IoOperation::Lock(mode));
        self.disk.lock().call(self.incarnation, &request, |state| {
            state.try_lock(self.opened.inode, self.opened.handle, mode)
        })
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.disk.lock();
        if state.incarnation == self.incarnation {
            state.close(self.opened.inode, self.opened.handle);
        }
    }
}

fn file_id(inode: InodeId) -> FileId {
    FileId { device: 0, inode: inode.0 }
}
