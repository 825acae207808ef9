//! A disk whose syncs fail: what was acknowledged stays, and nothing more is accepted.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proofmark_engine::{Database, Error, Options};
use proofmark_vfs::{FileId, LockMode, OpenMode, RealVfs, Vfs, VfsFile};

/// The real file system, with a switch.
#[derive(Debug, Clone, Default)]
struct Failing(Arc<AtomicBool>);

#[derive(Debug)]
struct FailingFile(Box<dyn VfsFile>, Failing);

impl Failing {
    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }
}

impl Vfs for Failing {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(FailingFile(RealVfs.open(path, mode)?, self.clone())))
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
        RealVfs.unique_id()
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        RealVfs.sync_directory(path)
    }
}

impl VfsFile for FailingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.0.set_size(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.1.check()?;
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.1.check()?;
        self.0.sync_all()
    }

    fn file_id(&self) -> io::Result<FileId> {
        self.0.file_id()
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        self.0.try_lock(mode)
    }
}

fn put(database: &Database, key: &[u8]) -> Result<(), Error> {
    let mut write = database.begin_write()?;
    write.put(key, b"value")?;
    write.commit().map(drop)
}

/// Fails a sync during `work`, and checks that the database refuses changes and keeps what it acknowledged.
fn poisons(work: impl Fn(&Database) -> Result<(), Error>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("db");
    let disk = Failing::default();
    let open = || Database::open_on(Arc::new(disk.clone()), &path, &Options::new());
    let database = open().expect("a database is created");
    put(&database, b"before").expect("the disk is fine");
    disk.0.store(true, Ordering::Relaxed);
    let error = work(&database).expect_err("the sync fails");
    assert!(matches!(error, Error::Io { operation: "sync", .. }), "{error}");
    // A later sync that succeeds decides nothing any more.
    disk.0.store(false, Ordering::Relaxed);
    assert!(matches!(put(&database, b"after"), Err(Error::Poisoned { .. })));
    assert!(matches!(database.checkpoint(), Err(Error::Poisoned { .. })));
    assert!(matches!(database.sync(), Err(Error::Poisoned { .. })));
    assert!(matches!(database.verify(), Err(Error::Poisoned { .. })));
    let read = database.begin_read().expect("reads go on");
    assert!(read.get(b"before").expect("readable").is_some());
    drop((read, database));
    let database = open().expect("the database opens again");
    database.verify().expect("the database is whole");
    let read = database.begin_read().expect("a snapshot");
    assert!(read.get(b"before").expect("readable").is_some());
    assert!(read.get(b"after").expect("readable").is_none());
    put(&database, b"again").expect("a database that was opened again accepts changes");
}

#[test]
fn a_commit_whose_sync_fails_poisons() {
    poisons(|database| put(database, b"in doubt"));
}

#[test]
fn a_checkpoint_whose_sync_fails_poisons() {
    poisons(|database| database.checkpoint().map(drop));
}

#[test]
fn a_sync_that_fails_poisons() {
    poisons(|database| {
        let mut write = database.begin_write()?;
        write.put(b"buffered", b"value")?;
        write.commit_with(proofmark_engine::Durability::Buffered)?;
        database.sync()
    });
}
