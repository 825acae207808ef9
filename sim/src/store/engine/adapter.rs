//! From the engine's words to those of a store under test.
//!
//! The store lives in the directory `/db`. A close syncs what was buffered, because dropping the last handle writes nothing.
//!
//! This source is compiled once for each build of the engine: `super::engine` is the build.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proofmark_model::{Commit, Durability, Key, KeyRange, Mutation, SavepointLabel, TxnId, Value};
use proofmark_vfs::Vfs;

use super::engine::{
    self, Bytes, Change, Database, Error, Options, ReadTransaction, Savepoint, Scan, WriteTransaction,
};
use crate::plan::{Config, Retention};
use crate::store::{Compaction, Store, StoreError, Ticket, Transaction};

const DIRECTORY: &str = "/db";

/// Opens the store.
pub(crate) fn open(vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
    let options = options(config);
    let database = Database::open_on(Arc::clone(&vfs), Path::new(DIRECTORY), &options).map_err(failed)?;
    Ok(Box::new(EngineStore { database, vfs, options }))
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
            Retention::Latest => engine::Retention::Latest,
            Retention::Txns(count) => engine::Retention::Txns(count),
            Retention::All => engine::Retention::All,
        })
        .prune(config.prune)
}

/// The failure of a call, as the runner knows it.
fn failed(error: Error) -> StoreError {
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
        Ok(Box::new(EngineRead(self.database.begin_read().map_err(failed)?)))
    }

    fn begin_read_at(&mut self, at: TxnId) -> Result<Box<dyn Transaction>, StoreError> {
        let read = self.database.begin_read_at(engine::TxnId(at.0));
        Ok(Box::new(EngineRead(read.map_err(failed)?)))
    }

    fn begin_write(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(EngineWrite::new(self.database.begin_write().map_err(failed)?))
    }

    fn begin_optimistic(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(EngineWrite::new(self.database.begin_optimistic().map_err(failed)?))
    }

    fn changes(&mut self, from: TxnId, limit: usize) -> Result<Vec<Commit>, StoreError> {
        let changes = self.database.changes(engine::TxnId(from.0)).map_err(failed)?;
        changes.take(limit).map(|change| Ok(commit(change.map_err(failed)?))).collect()
    }

    fn compact(&mut self) -> Result<Compaction, StoreError> {
        self.database.compact().map_err(failed)?;
        Ok(Compaction::Done { is_durable: true })
    }

    fn backup(&mut self) -> Result<Box<dyn Store>, StoreError> {
        // What a backup left that was cut short is in nobody's way.
        let names = self.vfs.list(Path::new("/")).map_err(io_error)?;
        let directory = PathBuf::from(format!("/backup-{}", names.len()));
        self.database.backup(&directory).map_err(failed)?;
        let database = Database::open_on(Arc::clone(&self.vfs), &directory, &self.options).map_err(failed)?;
        let store = EngineStore { database, vfs: Arc::clone(&self.vfs), options: self.options.clone() };
        Ok(Box::new(EngineBackup { store, directory }))
    }

    fn checkpoint(&mut self) -> Result<bool, StoreError> {
        self.database.checkpoint().map_err(failed)?;
        Ok(true)
    }

    fn verify(&mut self) -> Result<bool, StoreError> {
        self.database.verify().map_err(failed)?;
        Ok(true)
    }

    fn latest(&self) -> Option<TxnId> {
        Some(TxnId(self.database.latest().0))
    }

    fn oldest(&self) -> Option<TxnId> {
        Some(TxnId(self.database.oldest_retained().0))
    }

    fn handle(&self) -> Option<Box<dyn Store + Send>> {
        let EngineStore { database, vfs, options } = self;
        let (database, vfs, options) = (database.clone(), Arc::clone(vfs), options.clone());
        Some(Box::new(EngineStore { database, vfs, options }))
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        self.database.sync().map_err(failed)
    }
}

/// A backup, which is a database of its own.
struct EngineBackup {
    store: EngineStore,
    directory: PathBuf,
}

impl Store for EngineBackup {
    fn begin_read(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        self.store.begin_read()
    }

    fn begin_read_at(&mut self, at: TxnId) -> Result<Box<dyn Transaction>, StoreError> {
        self.store.begin_read_at(at)
    }

    fn begin_write(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        Err(StoreError::failed("nobody writes to a backup"))
    }

    fn latest(&self) -> Option<TxnId> {
        self.store.latest()
    }

    fn oldest(&self) -> Option<TxnId> {
        self.store.oldest()
    }

    fn close(mut self: Box<Self>) -> Result<(), StoreError> {
        self.store.verify()?;
        let EngineBackup { store: EngineStore { database, vfs, .. }, directory } = *self;
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
        Ok(self.0.get(key).map_err(failed)?.map(|value| value.to_vec()))
    }

    fn scan(
        &mut self,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Key, Value)>, StoreError> {
        let bounds = bounds(range);
        collect(if reverse { self.0.range_reverse(bounds) } else { self.0.range(bounds) }, limit)
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
        Ok(self.transaction.get(key).map_err(failed)?.map(|value| value.to_vec()))
    }

    fn scan(
        &mut self,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Key, Value)>, StoreError> {
        let bounds = bounds(range);
        collect(
            if reverse { self.transaction.range_reverse(bounds) } else { self.transaction.range(bounds) },
            limit,
        )
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.transaction.put(key, value).map_err(failed)
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.transaction.delete(key).map_err(failed)
    }

    fn delete_range(&mut self, range: &KeyRange) -> Result<u64, StoreError> {
        self.transaction.delete_range(bounds(range)).map_err(failed)
    }

    fn savepoint(&mut self, savepoint: SavepointLabel) -> Result<(), StoreError> {
        self.savepoints.insert(savepoint, self.transaction.savepoint());
        Ok(())
    }

    fn roll_back(&mut self, savepoint: SavepointLabel) -> Result<(), StoreError> {
        let savepoint = self.savepoints.get(&savepoint).expect("the runner goes back to what it took");
        match self.transaction.rollback_to(savepoint) {
            Err(Error::InvalidArgument { .. }) => Err(StoreError::SavepointNotFound),
            outcome => outcome.map_err(failed),
        }
    }

    fn submit(self: Box<Self>) -> Result<Box<dyn Ticket>, StoreError> {
        Ok(Box::new(EngineTicket(self.transaction.submit().map_err(failed)?)))
    }

    fn commit(self: Box<Self>, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        let durability = match durability {
            Durability::Sync => engine::Durability::Sync,
            Durability::Buffered => engine::Durability::Buffered,
        };
        let id = self.transaction.commit_with(durability).map_err(failed)?;
        Ok(Some(TxnId(id.0)))
    }
}

struct EngineTicket(engine::Ticket);

impl Ticket for EngineTicket {
    fn id(&self) -> Option<TxnId> {
        Some(TxnId(self.0.txn().0))
    }

    fn wait(self: Box<Self>) -> Result<Option<TxnId>, StoreError> {
        Ok(Some(TxnId(self.0.wait().map_err(failed)?.0)))
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

fn collect(scan: engine::Result<Scan<'_>>, limit: usize) -> Result<Vec<(Key, Value)>, StoreError> {
    let mut pairs = Vec::with_capacity(limit.min(64));
    for pair in scan.map_err(failed)?.take(limit) {
        let (key, value) = pair.map_err(failed)?;
        pairs.push((key.to_vec(), value.to_vec()));
    }
    Ok(pairs)
}
