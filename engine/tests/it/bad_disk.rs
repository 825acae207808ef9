//! The real file system on a disk that can be full, and whose syncs and other calls can fail.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use proofmark_vfs::{FileId, LockMode, OpenMode, RealVfs, Vfs, VfsFile};

/// The file system.
#[derive(Debug, Clone, Default)]
pub(crate) struct BadDisk(Arc<State>);

/// What can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Open,
    CreateDirectory,
    Read,
    Write,
    Remove,
    Rename,
}

/// Looks at every call before it is made, and may refuse it.
type Watch = Box<dyn FnMut(Call, &Path) -> io::Result<()> + Send>;

struct State {
    watch: Mutex<Option<Watch>>,
    syncs_fail: AtomicBool,
    /// By how many bytes files can still grow.
    bytes_left: AtomicU64,
}

#[derive(Debug)]
struct BadFile(Box<dyn VfsFile>, BadDisk, PathBuf);

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl Default for State {
    fn default() -> State {
        State {
            watch: Mutex::default(),
            syncs_fail: AtomicBool::new(false),
            bytes_left: AtomicU64::new(u64::MAX),
        }
    }
}

impl BadDisk {
    pub(crate) fn fail_syncs(&self, fail: bool) {
        self.0.syncs_fail.store(fail, Ordering::Relaxed);
    }

    /// Lets files grow by so many bytes altogether. Making a file takes one.
    pub(crate) fn leave_bytes(&self, bytes: u64) {
        self.0.bytes_left.store(bytes, Ordering::Relaxed);
    }

    /// Shows every call to `watch`, which may refuse it with an error.
    pub(crate) fn watch(&self, watch: impl FnMut(Call, &Path) -> io::Result<()> + Send + 'static) {
        *self.0.watch.lock().expect("no watch panics") = Some(Box::new(watch));
    }

    /// Refuses all such calls on files whose names start with `name`, with the operating system's error `code`.
    pub(crate) fn refuse(&self, refused: Call, name: &'static str, code: i32) {
        self.watch(move |call, path| {
            let is_refused = call == refused
                && path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name));
            if is_refused { Err(io::Error::from_raw_os_error(code)) } else { Ok(()) }
        });
    }

    /// Lets every call through again.
    pub(crate) fn unwatch(&self) {
        *self.0.watch.lock().expect("no watch panics") = None;
    }

    fn show(&self, call: Call, path: &Path) -> io::Result<()> {
        match &mut *self.0.watch.lock().expect("no watch panics") {
            Some(watch) => watch(call, path),
            None => Ok(()),
        }
    }

    fn check_sync(&self) -> io::Result<()> {
        if self.0.syncs_fail.load(Ordering::Relaxed) { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }

    /// Takes up to `bytes`, and returns how many there were.
    fn take(&self, bytes: u64) -> u64 {
        let left = self.0.bytes_left.load(Ordering::Relaxed);
        let taken = left.min(bytes);
        if left != u64::MAX {
            self.0.bytes_left.store(left - taken, Ordering::Relaxed);
        }
        taken
    }
}

impl Vfs for BadDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        self.show(Call::Open, path)?;
        let creates = matches!(mode, OpenMode::Create | OpenMode::CreateTruncate) && !path.exists();
        if creates && self.take(1) == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(Box::new(BadFile(RealVfs.open(path, mode)?, self.clone(), path.to_owned())))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.show(Call::CreateDirectory, path)?;
        RealVfs.create_directory(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        RealVfs.list(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.show(Call::Remove, path)?;
        RealVfs.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.show(Call::Rename, from)?;
        RealVfs.rename(from, to)
    }

    fn file_id(&self, path: &Path) -> io::Result<FileId> {
        RealVfs.file_id(path)
    }

    fn unique_id(&self) -> io::Result<u64> {
        RealVfs.unique_id()
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.check_sync()?;
        RealVfs.sync_directory(path)
    }
}

impl VfsFile for BadFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.1.show(Call::Read, &self.2)?;
        self.0.read_at(buffer, offset)
    }

    /// Writes as much as there is room for; an error if that is nothing.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.1.show(Call::Write, &self.2)?;
        let size = self.0.size()?;
        let growth = (offset + bytes.len() as u64).saturating_sub(size);
        let missing = growth - self.1.take(growth);
        let count = bytes.len().saturating_sub(usize::try_from(missing).expect("less than a write"));
        if count == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write_at(&bytes[..count], offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let growth = size.saturating_sub(self.0.size()?);
        if self.1.take(growth) < growth {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.set_size(size)
    }

    /// The files are never lost, so that a real sync would only take time.
    fn sync_data(&self) -> io::Result<()> {
        self.1.check_sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.1.check_sync()
    }

    fn file_id(&self) -> io::Result<FileId> {
        self.0.file_id()
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        self.0.try_lock(mode)
    }
}
