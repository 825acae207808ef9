//! redb as a store under test: the proof that [`super::Store`] is shaped by more than our own engine.
//!
//! redb writes through its `StorageBackend`, which is a file of the simulated disk here. One table holds all pairs.
//!
//! - redb names no commits, so nothing here has a `TxnId`, and it does not travel in time.
//! - `begin_write` of redb waits for the open writer. One thread runs all clients, so the adapter keeps count and
//!   says [`StoreError::Busy`] instead.
//! - A checkpoint, and a close, is an empty durable commit: redb makes every earlier commit durable with it. A
//!   checkpoint beside an open writer is not possible, and then promises nothing.
//! - redb's own integrity check wants the database for itself. Beside an open transaction it is skipped.
//! - A power loss while redb creates its file may leave one that it refuses to open: see [`Redb`].
//! - redb fixes its page size; of the configuration only the cache size and the commit's phases apply.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use proofmark_model::{Durability, Key, KeyRange, Value};
use proofmark_vfs::{OpenMode, Vfs, VfsFile};
use redb::{
    Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend,
    TableDefinition, TableError, WriteTransaction,
};

use super::{Promises, Store, StoreError, StoreFactory, Transaction};
use crate::plan::Config;

const DIRECTORY: &str = "/redb";
const FILE: &str = "/redb/data.redb";
const TABLE: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("pairs");

/// redb.
///
/// Seen with redb 4.4.0: it creates a database by setting the file's size, writing a header without its magic number,
/// syncing, and writing the header again with it. If the power fails in between, the next open finds a file that is
/// not empty and not a database, and returns `Not a redb database: magic number mismatch`. Nothing is lost, because
/// nothing was stored; but somebody has to remove the file by hand. So redb does not promise
/// [`Promises::survives_loss_during_creation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redb;

impl StoreFactory for Redb {
    fn name(&self) -> &str {
        "redb"
    }

    fn promises(&self) -> Promises {
        Promises { buffered_commits: true, survives_loss_during_creation: false, ..Promises::minimal() }
    }

    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        let file = open_file(&*vfs).map_err(StoreError::failed)?;
        let database = Database::builder()
            .set_cache_size(config.cache_bytes)
            .create_with_backend(Backend(file))
            .map_err(StoreError::failed)?;
        Ok(Box::new(RedbStore {
            database,
            two_phase_commit: config.two_phase_commit,
            transactions: Tally::default(),
            writers: Tally::default(),
        }))
    }
}

/// Opens redb's file, durably created before redb writes a byte to it.
fn open_file(vfs: &dyn Vfs) -> io::Result<Box<dyn VfsFile>> {
    vfs.create_directory(Path::new(DIRECTORY))?;
    vfs.sync_directory(Path::new("/"))?;
    let file = vfs.open(Path::new(FILE), OpenMode::Create)?;
    vfs.sync_directory(Path::new(DIRECTORY))?;
    Ok(file)
}

#[derive(Debug)]
struct Backend(Box<dyn VfsFile>);

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
struct Tally(Rc<Cell<usize>>);

#[derive(Debug)]
struct Ticket(Tally);

impl Tally {
    fn take(&self) -> Ticket {
        self.0.set(self.0.get() + 1);
        Ticket(self.clone())
    }

    fn is_zero(&self) -> bool {
        self.0.get() == 0
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let tally = &self.0.0;
        tally.set(tally.get() - 1);
    }
}

struct RedbStore {
    database: Database,
    two_phase_commit: bool,
    transactions: Tally,
    writers: Tally,
}

impl RedbStore {
    fn commit_nothing_durably(&self) -> Result<(), StoreError> {
        let mut transaction = self.database.begin_write().map_err(StoreError::failed)?;
        transaction.set_two_phase_commit(self.two_phase_commit);
        transaction.commit().map_err(StoreError::failed)
    }
}

impl Store for RedbStore {
    fn begin_read(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        let transaction = self.database.begin_read().map_err(StoreError::failed)?;
        let table = existing(transaction.open_table(TABLE))?;
        Ok(Box::new(RedbRead { table, _transaction: transaction, _ticket: self.transactions.take() }))
    }

    fn begin_write(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        if !self.writers.is_zero() {
            return Err(StoreError::Busy);
        }
        let mut transaction = self.database.begin_write().map_err(StoreError::failed)?;
        transaction.set_two_phase_commit(self.two_phase_commit);
        Ok(Box::new(RedbWrite { transaction, _tickets: [self.transactions.take(), self.writers.take()] }))
    }

    fn checkpoint(&mut self) -> Result<bool, StoreError> {
        if !self.writers.is_zero() {
            return Ok(false);
        }
        self.commit_nothing_durably()?;
        Ok(true)
    }

    fn verify(&mut self) -> Result<bool, StoreError> {
        if !self.transactions.is_zero() {
            return Ok(false);
        }
        match self.database.check_integrity() {
            Ok(true) => Ok(true),
            Ok(false) => Err(StoreError::failed("the integrity check found damage and repaired it")),
            Err(error) => Err(StoreError::failed(error)),
        }
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        self.commit_nothing_durably()
    }
}

struct RedbRead {
    /// Absent until the first commit created it.
    table: Option<ReadOnlyTable<&'static [u8], &'static [u8]>>,
    _transaction: ReadTransaction,
    _ticket: Ticket,
}

impl Transaction for RedbRead {
    fn get(&mut self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        self.table.as_ref().map_or(Ok(None), |table| get(table, key))
    }

    fn scan(
        &mut self,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Key, Value)>, StoreError> {
        self.table.as_ref().map_or(Ok(Vec::new()), |table| scan(table, range, limit, reverse))
    }
}

struct RedbWrite {
    transaction: WriteTransaction,
    _tickets: [Ticket; 2],
}

impl Transaction for RedbWrite {
    fn get(&mut self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        get(&self.transaction.open_table(TABLE).map_err(StoreError::failed)?, key)
    }

    fn scan(
        &mut self,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Key, Value)>, StoreError> {
        scan(&self.transaction.open_table(TABLE).map_err(StoreError::failed)?, range, limit, reverse)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let mut table = self.transaction.open_table(TABLE).map_err(StoreError::failed)?;
        table.insert(key, value).map_err(StoreError::failed)?;
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        let mut table = self.transaction.open_table(TABLE).map_err(StoreError::failed)?;
        table.remove(key).map_err(StoreError::failed)?;
        Ok(())
    }

    fn commit(self: Box<Self>, durability: Durability) -> Result<Option<proofmark_model::TxnId>, StoreError> {
        let mut transaction = self.transaction;
        let level = match durability {
            Durability::Sync => redb::Durability::Immediate,
            Durability::Buffered => redb::Durability::None,
        };
        transaction.set_durability(level).map_err(StoreError::failed)?;
        transaction.commit().map_err(StoreError::failed)?;
        Ok(None)
    }

    fn abort(self: Box<Self>) -> Result<(), StoreError> {
        self.transaction.abort().map_err(StoreError::failed)
    }
}

fn existing<T>(table: Result<T, TableError>) -> Result<Option<T>, StoreError> {
    match table {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(StoreError::failed(error)),
    }
}

fn get(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<Option<Value>, StoreError> {
    let found = table.get(key).map_err(StoreError::failed)?;
    Ok(found.map(|guard| guard.value().to_vec()))
}

fn scan(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    range: &KeyRange,
    limit: usize,
    reverse: bool,
) -> Result<Vec<(Key, Value)>, StoreError> {
    if range.is_inverted() {
        return Ok(Vec::new());
    }
    let bounds = (range.start.as_ref().map(Vec::as_slice), range.end.as_ref().map(Vec::as_slice));
    let mut pairs = table.range::<&[u8]>(bounds).map_err(StoreError::failed)?;
    let mut found = Vec::new();
    while found.len() < limit {
        let next = if reverse { pairs.next_back() } else { pairs.next() };
        let Some(pair) = next else { break };
        let (key, value) = pair.map_err(StoreError::failed)?;
        found.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proofmark_model::unique_value;

    use super::*;
    use crate::disk::{Keep, SimDisk};

    fn open(disk: &SimDisk) -> Box<dyn Store> {
        Redb.open(disk.vfs(), &Config::default()).unwrap()
    }

    #[test]
    fn reads_writes_and_scans() {
        let mut store = open(&SimDisk::default());
        assert_eq!(store.begin_read().unwrap().get(b"a").unwrap(), None, "there is no table yet");
        let mut before = store.begin_read().unwrap();
        let mut writer = store.begin_write().unwrap();
        for (key, id) in [(b"a", 1), (b"b", 2), (b"c", 3)] {
            writer.put(key, &unique_value(id, 20)).unwrap();
        }
        writer.delete(b"b").unwrap();
        assert_eq!(writer.get(b"c").unwrap(), Some(unique_value(3, 20)));
        writer.commit(Durability::Sync).unwrap();

        assert_eq!(before.scan(&KeyRange::all(), 9, false).unwrap(), []);
        let mut reader = store.begin_read().unwrap();
        let [a, c] = [(b"a".to_vec(), unique_value(1, 20)), (b"c".to_vec(), unique_value(3, 20))];
        assert_eq!(reader.scan(&KeyRange::all(), 9, false).unwrap(), [a.clone(), c.clone()]);
        assert_eq!(reader.scan(&KeyRange::all(), 9, true).unwrap(), [c.clone(), a]);
        assert_eq!(reader.scan(&KeyRange::prefix(b"c"), 1, false).unwrap(), [c]);
    }

    #[test]
    fn a_second_writer_is_busy_until_the_first_is_over() {
        let mut store = open(&SimDisk::default());
        let writer = store.begin_write().unwrap();
        assert_eq!(store.begin_write().err(), Some(StoreError::Busy));
        assert_eq!(store.checkpoint(), Ok(false));
        assert_eq!(store.verify(), Ok(false), "the check is left out beside a transaction");
        drop(writer);
        store.begin_write().unwrap().abort().unwrap();
        assert_eq!(store.checkpoint(), Ok(true));
        assert_eq!(store.verify(), Ok(true));
    }

    #[test]
    fn a_checkpoint_makes_buffered_commits_durable() {
        let disk = SimDisk::default();
        let mut store = open(&disk);
        for (key, durability) in
            [(b"a", Durability::Sync), (b"b", Durability::Buffered), (b"c", Durability::Buffered)]
        {
            if key == b"c" {
                assert_eq!(store.checkpoint(), Ok(true));
            }
            let mut writer = store.begin_write().unwrap();
            writer.put(key, &unique_value(u64::from(key[0]), 9)).unwrap();
            writer.commit(durability).unwrap();
        }
        disk.power_off();
        drop(store);
        disk.crash(&Keep::None);
        let mut reader = open(&disk).begin_read().unwrap();
        let present = [b"a", b"b", b"c"].map(|key| reader.get(key).unwrap().is_some());
        assert_eq!(present, [true, true, false]);
    }
}
