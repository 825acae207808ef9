//! The file that redb writes, on the simulated disk, and counting what is open and what failed.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proofmark_vfs::{OpenMode, Vfs, VfsFile};
use redb::StorageBackend;

const DIRECTORY: &str = "/redb";
const FILE: &str = "/redb/data.redb";

#[derive(Debug)]
pub(super) struct Backend {
    file: Box<dyn VfsFile>,
    failures: Failures,
}

/// Counts the calls of redb's file that failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Failures(Arc<AtomicU64>);

impl Failures {
    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        // Relaxed: one thread counts and asks.
        self.0.load(Ordering::Relaxed)
    }

    fn note<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        self.0.fetch_add(u64::from(outcome.is_err()), Ordering::Relaxed);
        outcome
    }
}

impl Backend {
    /// Opens redb's file, durably created before redb writes a byte to it.
    pub(super) fn open(vfs: &dyn Vfs, failures: Failures) -> io::Result<Backend> {
        vfs.create_directory(Path::new(DIRECTORY))?;
        vfs.sync_directory(Path::new("/"))?;
        let file = vfs.open(Path::new(FILE), OpenMode::Create)?;
        vfs.sync_directory(Path::new(DIRECTORY))?;
        Ok(Backend { file, failures })
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.failures.note(self.file.size())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.failures.note(self.file.read_exact_at(out, offset))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.failures.note(self.file.set_size(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.failures.note(self.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.failures.note(self.file.write_all_at(data, offset))
    }
}

/// Counts what is open: as many as there are tickets.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Rc<Cell<usize>>);

#[derive(Debug)]
pub(super) struct Ticket(Tally);

impl Tally {
    pub(super) fn take(&self) -> Ticket {
        self.0.set(self.0.get() + 1);
        Ticket(self.clone())
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.get() == 0
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let tally = &self.0.0;
        tally.set(tally.get() - 1);
    }
}
