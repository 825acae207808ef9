//! The file that redb writes, on the simulated disk, and counting what is open.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::rc::Rc;

use proofmark_vfs::{OpenMode, Vfs, VfsFile};
use redb::StorageBackend;

const DIRECTORY: &str = "/redb";
const FILE: &str = "/redb/data.redb";

#[derive(Debug)]
pub(super) struct Backend(Box<dyn VfsFile>);

impl Backend {
    /// Opens redb's file, durably created before redb writes a byte to it.
    pub(super) fn open(vfs: &dyn Vfs) -> io::Result<Backend> {
        vfs.create_directory(Path::new(DIRECTORY))?;
        vfs.sync_directory(Path::new("/"))?;
        let file = vfs.open(Path::new(FILE), OpenMode::Create)?;
        vfs.sync_directory(Path::new(DIRECTORY))?;
        Ok(Backend(file))
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_size(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
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
