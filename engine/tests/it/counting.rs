//! The real file system, with every change and every sync written down.
//!
//! Reads are not, so that they cost nothing. What is noted is what was asked for, whether or not it succeeded.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use proofmark_vfs::{FileId, LockMode, OpenMode, RealVfs, Vfs, VfsFile};

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// Pages.
    Data,
    /// Records.
    Log,
    /// Names.
    Directory,
}

/// What was done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Write,
    Sync,
    SetSize,
    Create,
    Rename,
    Remove,
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) kind: FileKind,
    pub(crate) operation: Operation,
    /// Bytes that were to be written; 0 for everything else.
    pub(crate) bytes: u64,
}

/// The calls so far, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Vec<Call>>>);

/// The file system.
#[derive(Debug, Clone, Default)]
pub(crate) struct CountingVfs {
    calls: Calls,
}

impl CountingVfs {
    /// What it notes.
    pub(crate) fn calls(&self) -> Calls {
        self.calls.clone()
    }
}

impl Calls {
    /// The calls since this was last asked.
    pub(crate) fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics while noting a call"))
    }

    fn note(&self, kind: FileKind, operation: Operation, bytes: usize) {
        let call = Call { kind, operation, bytes: bytes as u64 };
        self.0.lock().expect("nobody panics while noting a call").push(call);
    }
}

impl FileKind {
    fn of(path: &Path) -> FileKind {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_log = name.starts_with("log-") || name.starts_with("spare-");
        if is_log { FileKind::Log } else { FileKind::Data }
    }
}

impl Vfs for CountingVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        let kind = FileKind::of(path);
        if matches!(mode, OpenMode::Create | OpenMode::CreateTruncate) {
            self.calls.note(kind, Operation::Create, 0);
        }
        let file = RealVfs.open(path, mode)?;
        Ok(Box::new(CountingFile { kind, file, calls: self.calls() }))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.calls.note(FileKind::Directory, Operation::Create, 0);
        RealVfs.create_directory(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        RealVfs.list(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.calls.note(FileKind::of(path), Operation::Remove, 0);
        RealVfs.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.calls.note(FileKind::of(to), Operation::Rename, 0);
        RealVfs.rename(from, to)
    }

    fn file_id(&self, path: &Path) -> io::Result<FileId> {
        RealVfs.file_id(path)
    }

    fn unique_id(&self) -> io::Result<u64> {
        RealVfs.unique_id()
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.calls.note(FileKind::Directory, Operation::Sync, 0);
        RealVfs.sync_directory(path)
    }
}

#[derive(Debug)]
struct CountingFile {
    kind: FileKind,
    file: Box<dyn VfsFile>,
    calls: Calls,
}

impl VfsFile for CountingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.calls.note(self.kind, Operation::Write, bytes.len());
        self.file.write_at(bytes, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.calls.note(self.kind, Operation::SetSize, 0);
        self.file.set_size(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.calls.note(self.kind, Operation::Sync, 0);
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.calls.note(self.kind, Operation::Sync, 0);
        self.file.sync_all()
    }

    fn file_id(&self) -> io::Result<FileId> {
        self.file.file_id()
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        self.file.try_lock(mode)
    }
}
