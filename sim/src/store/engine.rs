//! Our own engine as a store under test.
//!
//! It lives in the directory `/db`. A close syncs what was buffered, because dropping the last handle writes nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proofmark_engine::{
    Bytes, Change, Database, Error, Options, ReadTransaction, Savepoint, Scan, WriteTransaction,
};
use proofmark_model::{Commit, Durability, Key, KeyRange, Mutation, SavepointLabel, TxnId, Value};
use proofmark_vfs::Vfs;

use super::{Compaction, Promises, Store, StoreError, StoreFactory, Ticket, Transaction};
use crate::plan::{Config, Retention};

const DIRECTORY: &str = "/db";

/// The engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engine;

impl StoreFactory for Engine {
    fn name(&self) -> &str {
        "engine"
    }

    fn promises(&self) -> Promises {
        Promises {
            transaction_ids: true,
            time_travel: true,
            buffered_commits: true,
            durable_close: true,
            survives_loss_during_creation: true,
            optimistic_writers: true,
            savepoints: true,
            tickets: true,
            commit_stream: true,
            compaction: true,
            backups: true,
            marks: false,
            keeps_on_drop: false,
            survives_full_disk: true,
            survives_io_errors: true,
            goes_on_after_io_errors: true,
            detects_damage: true,
            survives_lies: true,
        }
    }

    fn may_hold_log(&self, path: &Path) -> bool {
        !matches!(path.file_name().and_then(|name| name.to_str()), Some("data" | "data.new"))
    }

    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        let options = options(config);
        let database = Database::open_on(Arc::clone(&vfs), Path::new(DIRECTORY), &options)?;
        Ok(Box::new(EngineStore { database, vfs, options }))
    }
}

/// The engine's own words for a configuration.
fn options(config: &Config) -> Options {
    Options::new()
        .page_size(config.page_size)
        .cache_bytes(config.cache_bytes)
        .segment_bytes(config.segment_bytes)
        .spare_segments(config.spare_segments)
        .log_chunk_bytes(config.log_chunk_bytes)
        .stream_bytes(config.stream_bytes)
        .write_tier_bytes(config.write_tier_bytes)
        .retention(match config.retention {
            Retention::Latest => proofmark_engine::Retention::Latest,
            Retention::Txns(count) => proofmark_engine::Retention::Txns(count),
            Retention::All => proofmark_engine::Retention::All,
        })
}

impl From<Error> for StoreError {
    fn from(error: Error) -> StoreError {
        match error {
            Error::WriteBusy => StoreError::Busy,
            Error::SnapshotNotFound { .. } => StoreError::SnapshotNotFound,
            Error::Conflict { key } => StoreError::Conflict { key },
            Error::ChangesNotRetained { .. } => StoreError::ChangesNotRetained,
            Error::OutOfSpace { .. } => StoreError::OutOfSpace(error.to_string()),
            Error::Poisoned { .. } => StoreError::Poisoned(error.to_string()),
            Error::Io { .. } => StoreError::Io(error.to_string()),
            Error::Corruption { .. } => StoreError::Corruption(error.to_string()),
            error => StoreError::failed(error),
        }
    }
}

fn io_error(error: impl fmt::Display) -> StoreError {
    StoreError::Io(error.to_string())
}

struct EngineStore {
    database: Database,
    vfs: Arc<dyn Vfs>,
    options: Options,
}

impl Store for EngineStore {
    fn begin_read(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(EngineRead(self.database.begin_read()?)))
    }

    fn begin_read_at(&mut self, at: TxnId) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(EngineRead(self.database.begin_read_at(proofmark_engine::TxnId(at.0))?)))
    }

    fn begin_write(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(EngineWrite::new(self.database.begin_write()?))
    }

    fn begin_optimistic(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(EngineWrite::new(self.database.begin_optimistic()?))
    }

    fn changes(&mut self, from: TxnId, limit: usize) -> Result<Vec<Commit>, StoreError> {
        let changes = self.database.changes(proofmark_engine::TxnId(from.0))?;
        changes.take(limit).map(|change| Ok(commit(change?))).collect()
    }

    fn compact(&mut self) -> Result<Compaction, StoreError> {
        self.database.compact()?;
        Ok(Compaction::Done { is_durable: true })
    }

    fn backup(&mut self) -> Result<Box<dyn Store>, StoreError> {
        // What a backup left that was cut short is in nobody's way.
        let names = self.vfs.list(Path::new("/")).map_err(io_error)?;
        let directory = PathBuf::from(format!("/backup-{}", names.len()));
        self.database.backup(&directory)?;
        let database = Database::open_on(Arc::clone(&self.vfs), &directory, &self.options)?;
        Ok(Box::new(EngineBackup { database, vfs: Arc::clone(&self.vfs), directory }))
    }

    fn checkpoint(&mut self) -> Result<bool, StoreError> {
        self.database.checkpoint()?;
        Ok(true)
    }

    fn verify(&mut self) -> Result<bool, StoreError> {
        self.database.verify()?;
        Ok(true)
    }

    fn latest(&self) -> Option<TxnId> {
        Some(TxnId(self.database.latest().0))
    }

    fn oldest(&self) -> Option<TxnId> {
        Some(TxnId(self.database.oldest_retained().0))
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        Ok(self.database.sync()?)
    }
}

/// A backup, which is a database of its own.
struct EngineBackup {
    database: Database,
    vfs: Arc<dyn Vfs>,
    directory: PathBuf,
}

impl Store for EngineBackup {
    fn begin_read(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(EngineRead(self.database.begin_read()?)))
    }

    fn begin_read_at(&mut self, at: TxnId) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(EngineRead(self.database.begin_read_at(proofmark_engine::TxnId(at.0))?)))
    }

    fn begin_write(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        Err(StoreError::unpromised("writing to a backup"))
    }

    fn latest(&self) -> Option<TxnId> {
        Some(TxnId(self.database.latest().0))
    }

    fn oldest(&self) -> Option<TxnId> {
        Some(TxnId(self.database.oldest_retained().0))
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        let EngineBackup { database, vfs, directory } = *self;
        database.verify()?;
        drop(database);
        for name in vfs.list(&directory).map_err(io_error)? {
            vfs.remove(&directory.join(name)).map_err(io_error)?;
        }
        Ok(())
    }
}

struct EngineRead(ReadTransaction);

impl Transaction for EngineRead {
    fn snapshot(&self) -> Option<TxnId> {
        Some(TxnId(self.0.snapshot().0))
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        Ok(self.0.get(key)?.map(|value| value.to_vec()))
    }

    fn scan(
        &mut self,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Key, Value)>, StoreError> {
        let bounds = bounds(range);
        collect(if reverse { self.0.range_reverse(bounds)? } else { self.0.range(bounds)? }, limit)
    }
}

struct EngineWrite {
    transaction: WriteTransaction,
    savepoints: BTreeMap<SavepointLabel, Savepoint>,
}

impl EngineWrite {
    fn new(transaction: WriteTransaction) -> Box<EngineWrite> {
        Box::new(EngineWrite { transaction, savepoints: BTreeMap::new() })
    }
}

impl Transaction for EngineWrite {
    fn snapshot(&self) -> Option<TxnId> {
        Some(TxnId(self.transaction.snapshot().0))
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        Ok(self.transaction.get(key)?.map(|value| value.to_vec()))
    }

    fn scan(
        &mut self,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Key, Value)>, StoreError> {
        let bounds = bounds(range);
        collect(
            if reverse { self.transaction.range_reverse(bounds)? } else { self.transaction.range(bounds)? },
            limit,
        )
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        Ok(self.transaction.put(key, value)?)
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        Ok(self.transaction.delete(key)?)
    }

    fn delete_range(&mut self, range: &KeyRange) -> Result<u64, StoreError> {
        Ok(self.transaction.delete_range(bounds(range))?)
    }

    fn savepoint(&mut self, savepoint: SavepointLabel) -> Result<(), StoreError> {
        self.savepoints.insert(savepoint, self.transaction.savepoint());
        Ok(())
    }

    fn roll_back(&mut self, savepoint: SavepointLabel) -> Result<(), StoreError> {
        let savepoint = self.savepoints.get(&savepoint).expect("the runner goes back to what it took");
        match self.transaction.rollback_to(savepoint) {
            Err(Error::InvalidArgument { .. }) => Err(StoreError::SavepointNotFound),
            outcome => Ok(outcome?),
        }
    }

    fn submit(self: Box<Self>) -> Result<Box<dyn Ticket>, StoreError> {
        Ok(Box::new(EngineTicket(self.transaction.submit()?)))
    }

    fn commit(self: Box<Self>, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        let durability = match durability {
            Durability::Sync => proofmark_engine::Durability::Sync,
            Durability::Buffered => proofmark_engine::Durability::Buffered,
        };
        let id = self.transaction.commit_with(durability)?;
        Ok(Some(TxnId(id.0)))
    }
}

struct EngineTicket(proofmark_engine::Ticket);

impl Ticket for EngineTicket {
    fn id(&self) -> Option<TxnId> {
        Some(TxnId(self.0.txn().0))
    }

    fn wait(self: Box<Self>) -> Result<Option<TxnId>, StoreError> {
        Ok(Some(TxnId(self.0.wait()?.0)))
    }
}

/// A commit of the stream, in the model's words.
fn commit(change: Change) -> Commit {
    let mutation = |(key, value): (Bytes, Option<Bytes>)| Mutation {
        key: key.to_vec(),
        value: value.map(|value| value.to_vec()),
    };
    Commit { id: TxnId(change.txn.0), mutations: change.operations.into_iter().map(mutation).collect() }
}

fn bounds(range: &KeyRange) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (range.start.as_ref().map(Vec::as_slice), range.end.as_ref().map(Vec::as_slice))
}

fn collect(scan: Scan<'_>, limit: usize) -> Result<Vec<(Key, Value)>, StoreError> {
    let mut pairs = Vec::with_capacity(limit.min(64));
    for pair in scan.take(limit) {
        let (key, value) = pair?;
        pairs.push((key.to_vec(), value.to_vec()));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use proofmark_model::unique_value;

    use super::*;
    use crate::disk::{Keep, SimDisk};

    fn open(disk: &SimDisk) -> Box<dyn Store> {
        Engine.open(disk.vfs(), &Config::default()).unwrap()
    }

    fn commit(store: &mut Box<dyn Store>, key: &[u8], id: u64, durability: Durability) -> Option<TxnId> {
        let mut writer = store.begin_write().unwrap();
        writer.put(key, &unique_value(id, 20)).unwrap();
        writer.commit(durability).unwrap()
    }

    #[test]
    fn it_keeps_what_it_promises() {
        let mut store = open(&SimDisk::default());
        assert_eq!(commit(&mut store, b"a", 1, Durability::Sync), Some(TxnId(1)));
        assert_eq!(commit(&mut store, b"b", 2, Durability::Sync), Some(TxnId(2)));
        assert_eq!((store.oldest(), store.latest()), (Some(TxnId(0)), Some(TxnId(2))));
        let mut past = store.begin_read_at(TxnId(1)).unwrap();
        assert_eq!(past.snapshot(), Some(TxnId(1)));
        assert_eq!(past.scan(&KeyRange::all(), 9, true).unwrap(), [(b"a".to_vec(), unique_value(1, 20))]);
        assert_eq!(store.begin_read_at(TxnId(3)).err(), Some(StoreError::SnapshotNotFound));
        let _writer = store.begin_write().unwrap();
        assert_eq!(store.begin_write().err(), Some(StoreError::Busy));
    }

    #[test]
    fn closing_makes_buffered_commits_durable() {
        for is_closed in [true, false] {
            let disk = SimDisk::default();
            let mut store = open(&disk);
            commit(&mut store, b"a", 1, Durability::Buffered);
            if is_closed {
                store.close().unwrap();
            } else {
                disk.power_off();
                drop(store);
            }
            disk.crash(&Keep::None);
            let latest = open(&disk).latest();
            assert_eq!(latest, Some(TxnId(u64::from(is_closed))));
        }
    }
}
