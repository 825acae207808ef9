//! A disk that runs full at every point of a workload: nothing is lost, nothing refused is there, and the database goes
//! on once there is space.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proofmark_engine::{Database, Durability, Error, Options};
use proofmark_vfs::{FileId, LockMode, OpenMode, RealVfs, Vfs, VfsFile};

type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// The real file system, whose files can grow by so many bytes.
#[derive(Debug, Clone)]
struct Small(Arc<AtomicU64>);

#[derive(Debug)]
struct SmallFile(Box<dyn VfsFile>, Small);

impl Small {
    /// Takes up to `bytes` of what is left.
    fn take(&self, bytes: u64) -> u64 {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left - left.min(bytes), Ordering::Relaxed);
        left.min(bytes)
    }
}

impl Vfs for Small {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(SmallFile(RealVfs.open(path, mode)?, self.clone())))
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

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl VfsFile for SmallFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let end = offset + bytes.len() as u64;
        let growth = end.saturating_sub(self.0.size()?);
        let missing = growth - self.1.take(growth);
        match (bytes.len() as u64).saturating_sub(missing) {
            0 => Err(io::ErrorKind::StorageFull.into()),
            fitting => self.0.write_at(&bytes[..fitting as usize], offset),
        }
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

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }

    fn file_id(&self) -> io::Result<FileId> {
        self.0.file_id()
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        self.0.try_lock(mode)
    }
}

/// One commit. Its key tells the round; every fifth value is larger than a segment.
fn commit(database: &Database, round: u8, state: &mut State) -> Result<(), Error> {
    let key = vec![round % 7];
    let value = vec![round; if round.is_multiple_of(5) { 9000 } else { 300 }];
    let mut write = database.begin_write()?;
    write.put(&key, &value)?;
    write.commit_with(if round.is_multiple_of(3) { Durability::Buffered } else { Durability::Sync })?;
    state.insert(key, value);
    Ok(())
}

fn read_all(database: &Database) -> State {
    let read = database.begin_read().expect("a snapshot");
    let pairs = read.range((Bound::Unbounded, Bound::Unbounded)).expect("the scan starts");
    pairs
        .map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).expect("the scan goes on"))
        .collect()
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let options = Options::new().page_size(4096).segment_bytes(4096).log_chunk_bytes(1024);
    let mut refused_commits = 0;
    let mut refused_checkpoints = 0;
    for budget in (0..100_000).step_by(1009) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("db");
        let disk = Small(Arc::new(AtomicU64::new(u64::MAX)));
        let open = || Database::open_on(Arc::new(disk.clone()), &path, &options);
        let database = open().expect("a database is created");
        disk.0.store(budget, Ordering::Relaxed);
        let mut state = State::new();
        for round in 0..20 {
            match commit(&database, round, &mut state) {
                Ok(()) => {}
                Err(Error::OutOfSpace { .. }) => refused_commits += 1,
                Err(error) => panic!("{budget}: {error}"),
            }
            assert_eq!(read_all(&database), state, "{budget}");
            if round % 4 == 1 {
                match database.checkpoint() {
                    Ok(_) => {}
                    Err(Error::OutOfSpace { .. }) => refused_checkpoints += 1,
                    Err(error) => panic!("{budget}: {error}"),
                }
            }
        }
        disk.0.store(u64::MAX, Ordering::Relaxed);
        if budget % 2 == 0 {
            commit(&database, 20, &mut state).expect("there is space again");
            database.checkpoint().expect("there is space again");
            commit(&database, 21, &mut state).expect("there is space again");
        }
        database.verify().expect("the database is whole");
        drop(database);
        let database = open().expect("the database opens again");
        assert_eq!(read_all(&database), state, "{budget}");
        database.verify().expect("the database is whole");
    }
    assert!(refused_commits > 100 && refused_checkpoints > 20, "{refused_commits} {refused_checkpoints}");
}
