//! Transactions of redb over its tables.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;

use proofmark_model::{Durability, Key, KeyRange, MarkLabel, TxnId, Value};
use redb::{
    MultimapTable, ReadOnlyMultimapTable, ReadOnlyTable, ReadTransaction, ReadableTable,
    ReadableTableMetadata, Savepoint, SavepointError, SetDurabilityError, Table, WriteTransaction,
};

use super::backend::{Failures, Ticket};
use super::errors::{from_redb, of_commit};
use super::tables::{
    COUNT, Layout, MULTIMAP, bounds, cut, get, get_pieces, multimap, name, plain, scan, scan_pieces, table_of,
};
use crate::store::{CLIENT_PANIC, Mark, StoreError, Transaction};

type Bytes = &'static [u8];

/// The savepoints that end with the process.
pub(super) type Savepoints = Rc<RefCell<BTreeMap<MarkLabel, Savepoint>>>;

/// A read transaction. It looks for its tables when it needs them first, as late as a client may.
pub(super) struct RedbRead {
    tables: Option<Tables>,
    transaction: ReadTransaction,
    _ticket: Ticket,
}

/// Those that exist.
struct Tables {
    plain: [Option<ReadOnlyTable<Bytes, Bytes>>; MULTIMAP],
    multimap: Option<ReadOnlyMultimapTable<Bytes, Bytes>>,
}

impl RedbRead {
    pub(super) fn new(transaction: ReadTransaction, ticket: Ticket) -> RedbRead {
        RedbRead { tables: None, transaction, _ticket: ticket }
    }

    fn tables(&mut self) -> Result<&Tables, StoreError> {
        if self.tables.is_none() {
            self.tables = Some(Tables::open(&self.transaction)?);
        }
        Ok(self.tables.as_ref().expect("they were just opened"))
    }
}

impl Tables {
    fn open(transaction: &ReadTransaction) -> Result<Tables, StoreError> {
        let plains = transaction.list_tables().map_err(from_redb)?;
        let multimaps = transaction.list_multimap_tables().map_err(from_redb)?;
        let layout = Layout::read(plains, multimaps)?;
        let mut tables = Tables { plain: [const { None }; MULTIMAP], multimap: None };
        for (table, generation) in layout.generations.into_iter().enumerate() {
            let Some(generation) = generation else { continue };
            let name = name(table, generation);
            if table == MULTIMAP {
                let opened = transaction.open_multimap_table(multimap(&name));
                tables.multimap = Some(opened.map_err(from_redb)?);
            } else {
                tables.plain[table] = Some(transaction.open_table(plain(&name)).map_err(from_redb)?);
            }
        }
        Ok(tables)
    }
}

impl Transaction for RedbRead {
    fn get(&mut self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        let tables = self.tables()?;
        match table_of(key) {
            MULTIMAP => tables.multimap.as_ref().map_or(Ok(None), |table| get_pieces(table, key)),
            table => tables.plain[table].as_ref().map_or(Ok(None), |table| get(table, key)),
        }
    }

    fn scan(
        &mut self,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Key, Value)>, StoreError> {
        let tables = self.tables()?;
        if range.is_inverted() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for table in tables.plain.iter().flatten() {
            found.push(scan(table, range, limit, reverse)?);
        }
        if let Some(table) = &tables.multimap {
            found.push(scan_pieces(table, range, limit, reverse)?);
        }
        Ok(merged(found, limit, reverse))
    }

    fn abort(self: Box<Self>) -> Result<(), StoreError> {
        let RedbRead { tables, transaction, _ticket } = *self;
        drop(tables);
        transaction.close().map_err(from_redb)
    }
}

/// What a write transaction shares with the store.
#[derive(Clone, Default)]
pub(super) struct Common {
    pub(super) savepoints: Savepoints,
    /// How often tables were rearranged.
    pub(super) tended: Rc<Cell<u64>>,
    /// Whether a transaction was dropped by a panic since the database was opened.
    pub(super) has_leaked: Rc<Cell<bool>>,
    /// The I/O calls that failed.
    pub(super) failures: Failures,
}

pub(super) struct RedbWrite {
    transaction: WriteTransaction,
    /// The tables as this transaction sees them, once it has looked.
    layout: Option<Layout>,
    common: Common,
    _tickets: [Ticket; 2],
}

impl RedbWrite {
    pub(super) fn new(transaction: WriteTransaction, common: Common, tickets: [Ticket; 2]) -> RedbWrite {
        RedbWrite { transaction, layout: None, common, _tickets: tickets }
    }

    fn layout(&mut self) -> Result<&mut Layout, StoreError> {
        if self.layout.is_none() {
            let plains = self.transaction.list_tables().map_err(from_redb)?;
            let multimaps = self.transaction.list_multimap_tables().map_err(from_redb)?;
            self.layout = Some(Layout::read(plains, multimaps)?);
        }
        Ok(self.layout.as_mut().expect("it was just read"))
    }

    /// The name of a table, if it exists.
    fn name_of(&mut self, table: usize) -> Result<Option<String>, StoreError> {
        let generation = self.layout()?.generations[table];
        Ok(generation.map(|generation| name(table, generation)))
    }

    /// The name of a table that is about to be created if it does not exist.
    fn name_to_write(&mut self, table: usize) -> Result<String, StoreError> {
        let generation = *self.layout()?.generations[table].get_or_insert(0);
        Ok(name(table, generation))
    }

    fn plain(&self, name: &str) -> Result<Table<'_, Bytes, Bytes>, StoreError> {
        self.transaction.open_table(plain(name)).map_err(from_redb)
    }

    fn multimap(&self, name: &str) -> Result<MultimapTable<'_, Bytes, Bytes>, StoreError> {
        self.transaction.open_multimap_table(multimap(name)).map_err(from_redb)
    }

    /// Removes a range from a table that exists; how many pairs those were.
    fn remove(&mut self, table: usize, name: &str, range: &KeyRange) -> Result<u64, StoreError> {
        if table == MULTIMAP {
            let mut multimap = self.multimap(name)?;
            let keys: Vec<Key> = keys(scan_pieces(&multimap, range, usize::MAX, false)?);
            for key in &keys {
                multimap.remove_all(key.as_slice()).map_err(from_redb)?;
            }
            return Ok(keys.len() as u64);
        }
        let mut plain = self.plain(name)?;
        let mut count = 0;
        match table {
            0 => {
                let bounds = bounds(range);
                let removed = plain.extract_from_if::<&[u8], _>(bounds, |_, _| true);
                for pair in removed.map_err(from_redb)? {
                    pair.map_err(from_redb)?;
                    count += 1;
                }
            }
            1 => {
                let keep_none = |_: &[u8], _: &[u8]| {
                    count += 1;
                    false
                };
                plain.retain_in::<&[u8], _>(bounds(range), keep_none).map_err(from_redb)?;
            }
            _ => {
                for key in keys(scan(&plain, range, usize::MAX, false)?) {
                    plain.remove(key.as_slice()).map_err(from_redb)?;
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    /// How many pairs a table holds, if a range covers all of them.
    fn covered(&self, table: usize, name: &str, range: &KeyRange) -> Result<Option<u64>, StoreError> {
        if table == MULTIMAP {
            let multimap = self.multimap(name)?;
            let all = keys(scan_pieces(&multimap, &KeyRange::all(), usize::MAX, false)?);
            return Ok(all.iter().all(|key| range.contains(key)).then_some(all.len() as u64));
        }
        let plain = self.plain(name)?;
        let ends = [plain.first().map_err(from_redb)?, plain.last().map_err(from_redb)?];
        let is_covered = ends.iter().flatten().all(|(key, _)| range.contains(key.value()));
        let count = plain.len().map_err(from_redb)?;
        Ok(is_covered.then_some(count))
    }

    fn delete_table(&mut self, table: usize, name: &str) -> Result<(), StoreError> {
        let existed = if table == MULTIMAP {
            self.transaction.delete_multimap_table(multimap(name))
        } else {
            self.transaction.delete_table(plain(name))
        };
        self.layout()?.generations[table] = None;
        match existed.map_err(from_redb)? {
            true => Ok(()),
            false => Err(StoreError::Failed(format!("the table {name:?} was not there to be deleted"))),
        }
    }

    /// Gives a table a new name.
    fn rename(&mut self, table: usize) -> Result<(), StoreError> {
        let Some(generation) = self.layout()?.generations[table] else { return Ok(()) };
        let (from, to) = (name(table, generation), name(table, generation + 1));
        let renamed = if table == MULTIMAP {
            self.transaction.rename_multimap_table(multimap(&from), multimap(&to))
        } else {
            self.transaction.rename_table(plain(&from), plain(&to))
        };
        renamed.map_err(from_redb)?;
        self.layout()?.generations[table] = Some(generation + 1);
        Ok(())
    }
}

impl Transaction for RedbWrite {
    fn get(&mut self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        let table = table_of(key);
        match self.name_of(table)? {
            None => Ok(None),
            Some(name) if table == MULTIMAP => get_pieces(&self.multimap(&name)?, key),
            Some(name) => get(&self.plain(&name)?, key),
        }
    }

    fn scan(
        &mut self,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Key, Value)>, StoreError> {
        if range.is_inverted() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for table in 0..COUNT {
            match self.name_of(table)? {
                None => {}
                Some(name) if table == MULTIMAP => {
                    found.push(scan_pieces(&self.multimap(&name)?, range, limit, reverse)?);
                }
                Some(name) => found.push(scan(&self.plain(&name)?, range, limit, reverse)?),
            }
        }
        Ok(merged(found, limit, reverse))
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let table = table_of(key);
        let name = self.name_to_write(table)?;
        if table == MULTIMAP {
            let mut multimap = self.multimap(&name)?;
            multimap.remove_all(key).map_err(from_redb)?;
            for piece in cut(value) {
                multimap.insert(key, piece.as_slice()).map_err(from_redb)?;
            }
            return Ok(());
        }
        let mut plain = self.plain(&name)?;
        if value.len() % 2 == 1 {
            let mut place = plain.insert_reserve(key, value.len()).map_err(from_redb)?;
            place.as_mut().copy_from_slice(value);
        } else {
            plain.insert(key, value).map_err(from_redb)?;
        }
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        let table = table_of(key);
        let Some(name) = self.name_of(table)? else { return Ok(()) };
        if table == MULTIMAP {
            self.multimap(&name)?.remove_all(key).map_err(from_redb)?;
        } else {
            self.plain(&name)?.remove(key).map_err(from_redb)?;
        }
        Ok(())
    }

    fn delete_range(&mut self, range: &KeyRange) -> Result<u64, StoreError> {
        if range.is_inverted() {
            return Ok(0);
        }
        let mut count = 0;
        for table in 0..COUNT {
            let Some(name) = self.name_of(table)? else { continue };
            if let Some(held) = self.covered(table, &name, range)? {
                self.delete_table(table, &name)?;
                count += held;
            } else {
                count += self.remove(table, &name, range)?;
            }
        }
        Ok(count)
    }

    fn mark(&mut self, mark: MarkLabel, is_persistent: bool) -> Result<Option<u64>, StoreError> {
        if is_persistent {
            return self.transaction.persistent_savepoint().map(Some).map_err(from_redb);
        }
        let savepoint = self.transaction.ephemeral_savepoint().map_err(from_redb)?;
        self.common.savepoints.borrow_mut().insert(mark, savepoint);
        Ok(None)
    }

    fn restore(&mut self, mark: Mark) -> Result<(), StoreError> {
        self.layout = None;
        let restored = match mark.id {
            Some(id) => {
                let savepoint = self.transaction.get_persistent_savepoint(id);
                savepoint.and_then(|savepoint| self.transaction.restore_savepoint(&savepoint))
            }
            None => match self.common.savepoints.borrow().get(&mark.label) {
                Some(savepoint) => self.transaction.restore_savepoint(savepoint),
                None => return Err(StoreError::MarkNotFound),
            },
        };
        restored.map_err(|error| match error {
            SavepointError::InvalidSavepoint => StoreError::MarkNotFound,
            error => from_redb(error),
        })
    }

    fn forget(&mut self, mark: Mark) -> Result<(), StoreError> {
        let existed = match mark.id {
            Some(id) => self.transaction.delete_persistent_savepoint(id).map_err(from_redb)?,
            None => self.common.savepoints.borrow_mut().remove(&mark.label).is_some(),
        };
        if existed { Ok(()) } else { Err(StoreError::MarkNotFound) }
    }

    /// Counts pages, and renames one table after the other, or deletes it if it holds nothing.
    fn tend(&mut self) -> Result<(), StoreError> {
        let turn = self.common.tended.get();
        self.common.tended.set(turn + 1);
        let table = usize::try_from(turn % COUNT as u64).expect("it is smaller than a handful");
        self.transaction.stats().map_err(from_redb)?;
        let Some(name) = self.name_of(table)? else { return Ok(()) };
        let nothing =
            KeyRange { start: std::ops::Bound::Unbounded, end: std::ops::Bound::Excluded(Key::new()) };
        if self.covered(table, &name, &nothing)?.is_some() {
            return self.delete_table(table, &name);
        }
        self.rename(table)
    }

    fn panic(self: Box<Self>) -> Result<Infallible, StoreError> {
        let mut held = self;
        let name = held.name_to_write(0)?;
        let mut table = held.plain(&name)?;
        // The panic comes where it hurts: between making room for a value and filling it.
        let _place = table.insert_reserve(b"panic".as_slice(), 100).map_err(from_redb)?;
        held.common.has_leaked.set(true);
        panic!("{CLIENT_PANIC} with a value half written");
    }

    fn commit(self: Box<Self>, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        let mut transaction = self.transaction;
        if durability == Durability::Buffered {
            match transaction.set_durability(redb::Durability::None) {
                // A change of persistent savepoints is committed durably, or not at all.
                Ok(()) | Err(SetDurabilityError::PersistentSavepointModified) => {}
                Err(error) => return Err(StoreError::failed(error)),
            }
        }
        let failures = self.common.failures.clone();
        let before = failures.count();
        transaction.commit().map_err(|error| of_commit(error, failures.count() - before))?;
        Ok(None)
    }

    fn abort(self: Box<Self>) -> Result<(), StoreError> {
        self.transaction.abort().map_err(from_redb)
    }
}

fn keys(pairs: Vec<(Key, Value)>) -> Vec<Key> {
    pairs.into_iter().map(|(key, _)| key).collect()
}

/// The first pairs of several scans, each in order.
fn merged(found: Vec<Vec<(Key, Value)>>, limit: usize, reverse: bool) -> Vec<(Key, Value)> {
    let mut pairs: Vec<(Key, Value)> = found.into_iter().flatten().collect();
    if reverse {
        pairs.sort_by(|one, other| other.0.cmp(&one.0));
    } else {
        pairs.sort_by(|one, other| one.0.cmp(&other.0));
    }
    pairs.truncate(limit);
    pairs
}
