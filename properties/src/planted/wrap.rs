//! The engine with one bug, seen from outside: every call goes to the engine, unless the bug answers in its place.
//!
//! A [`Bug`] is what differs from the engine. Each of its methods stands for one call and by default hands it on, so
//! that [`Honest`], which overrides none, is the engine itself; a suite makes sure of that, because a wrapper that
//! fails on its own would prove nothing about the bug in it.
//!
//! A factory is made for one run. It outlives the power losses of that run, and so may a bug's memory: what a bug does
//! after a recovery often depends on what happened before.

use std::cell::RefCell;
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use proofmark_model::{Commit, Durability, Key, KeyRange, Mode, Mutation, SavepointLabel, TxnId, Value};
use proofmark_sim::plan::Config;
use proofmark_sim::store::{
    Compaction, Engine, Promises, Store, StoreError, StoreFactory, Ticket, Transaction,
};
use proofmark_vfs::Vfs;

/// What differs from the engine. Every default is the engine's own behaviour.
pub(super) trait Bug: Debug + Send + Sync {
    /// What the store is held to.
    fn promises(&self) -> Promises {
        Engine.promises()
    }

    /// How the engine is opened.
    fn config(&self, config: &Config) -> Config {
        config.clone()
    }

    /// How the engine makes its I/O calls.
    fn vfs(&self, vfs: Arc<dyn Vfs>) -> Arc<dyn Vfs> {
        vfs
    }

    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        Engine.open(vfs, config)
    }

    /// The engine was opened; `after_crash` unless it is new or was closed in good order before.
    fn opened(&self, _store: &mut dyn Store, _after_crash: bool) -> Result<(), StoreError> {
        Ok(())
    }

    /// A transaction was begun. It may be replaced.
    fn begun(&self, _store: &mut dyn Store, _transaction: &mut Open) -> Result<(), StoreError> {
        Ok(())
    }

    /// Whether a writer is turned away, although there is none.
    fn turns_away(&self) -> bool {
        false
    }

    /// What a writer is told beside another one.
    fn second_writer(&self, _store: &mut dyn Store) -> Result<Box<dyn Transaction>, StoreError> {
        Err(StoreError::Busy)
    }

    fn begin_read_at(&self, store: &mut dyn Store, at: TxnId) -> Result<Box<dyn Transaction>, StoreError> {
        store.begin_read_at(at)
    }

    fn oldest(&self, store: &dyn Store) -> Option<TxnId> {
        store.oldest()
    }

    fn get(&self, transaction: &mut Open, key: &[u8]) -> Result<Option<Value>, StoreError> {
        transaction.inner.get(key)
    }

    fn scan(
        &self,
        transaction: &mut Open,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Key, Value)>, StoreError> {
        transaction.inner.scan(range, limit, reverse)
    }

    /// A put or a delete, which goes on the transaction's list afterwards.
    fn write(&self, transaction: &mut Open, mutation: &Mutation) -> Result<(), StoreError> {
        apply(&mut *transaction.inner, mutation)
    }

    /// How many pairs a range loses, which go on the transaction's list afterwards.
    fn delete_range(&self, transaction: &mut Open, range: &KeyRange) -> Result<u64, StoreError> {
        transaction.inner.delete_range(range)
    }

    fn roll_back(&self, transaction: &mut Open, savepoint: SavepointLabel) -> Result<(), StoreError> {
        transaction.inner.roll_back(savepoint)
    }

    fn submit(&self, transaction: Open) -> Result<Box<dyn Ticket>, StoreError> {
        transaction.inner.submit()
    }

    fn changes(&self, store: &mut dyn Store, from: TxnId, limit: usize) -> Result<Vec<Commit>, StoreError> {
        store.changes(from, limit)
    }

    fn compact(&self, store: &mut dyn Store) -> Result<Compaction, StoreError> {
        store.compact()
    }

    fn backup(&self, store: &mut dyn Store) -> Result<Box<dyn Store>, StoreError> {
        store.backup()
    }

    fn commit(&self, transaction: Open, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        transaction.inner.commit(durability)
    }

    /// A transaction ends without effect, after these mutations.
    fn aborted(&self, _mutations: Vec<Mutation>) {}

    fn checkpoint(&self, store: &mut dyn Store) -> Result<bool, StoreError> {
        store.checkpoint()
    }

    fn verify(&self, store: &mut dyn Store, _vfs: &dyn Vfs) -> Result<bool, StoreError> {
        store.verify()
    }
}

/// No bug.
#[derive(Debug)]
pub(super) struct Honest;

impl Bug for Honest {}

/// A transaction of the engine, and what the wrapper knows of it.
pub(super) struct Open {
    pub(super) inner: Box<dyn Transaction>,
    pub(super) mode: Mode,
    /// What it says it reads.
    pub(super) claim: Option<TxnId>,
    /// What it wrote, in order.
    pub(super) mutations: Vec<Mutation>,
    /// A number that a bug may keep with it.
    pub(super) note: u64,
    /// How many of the mutations there were at each savepoint.
    savepoints: Vec<(SavepointLabel, usize)>,
    store: Shared,
}

impl Open {
    /// Ends the transaction, and opens another one in its place.
    pub(super) fn begin_again(&mut self) -> Result<(), StoreError> {
        // The engine has room for one writer: the old one goes first.
        drop(self.take());
        self.inner = with(&self.store, |store| match self.mode {
            Mode::Write => store.begin_write(),
            Mode::Optimistic => store.begin_optimistic(),
            Mode::Read | Mode::ReadAt(_) => store.begin_read(),
        })?;
        Ok(())
    }

    /// The transaction of the engine, which is to end.
    pub(super) fn take(&mut self) -> Box<dyn Transaction> {
        std::mem::replace(&mut self.inner, Box::new(Nothing))
    }

    /// Whether it can write.
    pub(super) fn is_writer(&self) -> bool {
        self.mode.writes()
    }
}

/// Carries out one mutation.
pub(super) fn apply(transaction: &mut dyn Transaction, mutation: &Mutation) -> Result<(), StoreError> {
    match &mutation.value {
        Some(value) => transaction.put(&mutation.key, value),
        None => transaction.delete(&mutation.key),
    }
}

/// Everything a transaction can see.
pub(super) fn everything(transaction: &mut dyn Transaction) -> Result<Vec<(Key, Value)>, StoreError> {
    transaction.scan(&KeyRange::all(), usize::MAX, false)
}

/// A number that a bug counts with.
#[derive(Debug, Default)]
pub(super) struct Counter(Mutex<u64>);

impl Counter {
    /// Counts one more; whether it is the `nth`, the `2 * nth`, and so on.
    pub(super) fn is_every(&self, nth: u64) -> bool {
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        count.is_multiple_of(nth)
    }
}

/// The engine with a bug.
#[derive(Debug)]
pub(super) struct Buggy {
    bug: Arc<dyn Bug>,
    /// Whether the store was open when it was last heard of.
    left_open: Arc<AtomicBool>,
}

impl Buggy {
    pub(super) fn new(bug: Arc<dyn Bug>) -> Buggy {
        Buggy { bug, left_open: Arc::default() }
    }
}

impl StoreFactory for Buggy {
    fn name(&self) -> &str {
        "engine with a bug"
    }

    fn promises(&self) -> Promises {
        self.bug.promises()
    }

    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        let vfs = self.bug.vfs(vfs);
        let mut inner = self.bug.open(Arc::clone(&vfs), &self.bug.config(config))?;
        let after_crash = self.left_open.swap(true, Ordering::Relaxed);
        self.bug.opened(&mut *inner, after_crash)?;
        Ok(Box::new(BuggyStore {
            bug: Arc::clone(&self.bug),
            left_open: Arc::clone(&self.left_open),
            vfs,
            inner: Rc::new(RefCell::new(inner)),
        }))
    }
}

type Shared = Rc<RefCell<Box<dyn Store>>>;

fn with<T>(store: &Shared, call: impl FnOnce(&mut dyn Store) -> T) -> T {
    call(&mut **store.borrow_mut())
}

struct BuggyStore {
    bug: Arc<dyn Bug>,
    left_open: Arc<AtomicBool>,
    vfs: Arc<dyn Vfs>,
    inner: Shared,
}

impl BuggyStore {
    fn begin(&self, mode: Mode) -> Result<Box<dyn Transaction>, StoreError> {
        let inner = with(&self.inner, |store| match mode {
            Mode::Read => store.begin_read(),
            Mode::ReadAt(at) => self.bug.begin_read_at(store, at),
            Mode::Write => match store.begin_write() {
                Err(StoreError::Busy) => self.bug.second_writer(store),
                begun => begun,
            },
            Mode::Optimistic => store.begin_optimistic(),
        })?;
        let claim = inner.snapshot();
        let mut open = Open {
            inner,
            mode,
            claim,
            mutations: Vec::new(),
            note: 0,
            savepoints: Vec::new(),
            store: Rc::clone(&self.inner),
        };
        with(&self.inner, |store| self.bug.begun(store, &mut open))?;
        Ok(Box::new(BuggyTransaction { bug: Arc::clone(&self.bug), open }))
    }
}

impl Store for BuggyStore {
    fn begin_read(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        self.begin(Mode::Read)
    }

    fn begin_read_at(&mut self, at: TxnId) -> Result<Box<dyn Transaction>, StoreError> {
        self.begin(Mode::ReadAt(at))
    }

    fn begin_write(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        let writer = self.begin(Mode::Write)?;
        if self.bug.turns_away() { Err(StoreError::Busy) } else { Ok(writer) }
    }

    fn begin_optimistic(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        self.begin(Mode::Optimistic)
    }

    fn changes(&mut self, from: TxnId, limit: usize) -> Result<Vec<Commit>, StoreError> {
        with(&self.inner, |store| self.bug.changes(store, from, limit))
    }

    fn compact(&mut self) -> Result<Compaction, StoreError> {
        with(&self.inner, |store| self.bug.compact(store))
    }

    fn backup(&mut self) -> Result<Box<dyn Store>, StoreError> {
        with(&self.inner, |store| self.bug.backup(store))
    }

    fn checkpoint(&mut self) -> Result<bool, StoreError> {
        with(&self.inner, |store| self.bug.checkpoint(store))
    }

    fn verify(&mut self) -> Result<bool, StoreError> {
        with(&self.inner, |store| self.bug.verify(store, &*self.vfs))
    }

    fn latest(&self) -> Option<TxnId> {
        self.inner.borrow().latest()
    }

    fn oldest(&self) -> Option<TxnId> {
        self.bug.oldest(&**self.inner.borrow())
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        let Ok(inner) = Rc::try_unwrap(self.inner) else {
            panic!("a store is closed with no transaction open");
        };
        inner.into_inner().close()?;
        self.left_open.store(false, Ordering::Relaxed);
        Ok(())
    }
}

struct BuggyTransaction {
    bug: Arc<dyn Bug>,
    open: Open,
}

impl BuggyTransaction {
    fn write(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), StoreError> {
        let mutation = Mutation { key: key.to_vec(), value: value.map(<[u8]>::to_vec) };
        self.bug.write(&mut self.open, &mutation)?;
        self.open.mutations.push(mutation);
        Ok(())
    }
}

impl Transaction for BuggyTransaction {
    fn snapshot(&self) -> Option<TxnId> {
        self.open.claim
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        self.bug.get(&mut self.open, key)
    }

    fn scan(
        &mut self,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Key, Value)>, StoreError> {
        self.bug.scan(&mut self.open, range, limit, reverse)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.write(key, Some(value))
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.write(key, None)
    }

    fn delete_range(&mut self, range: &KeyRange) -> Result<u64, StoreError> {
        let pairs = self.open.inner.scan(range, usize::MAX, false)?;
        let count = self.bug.delete_range(&mut self.open, range)?;
        self.open.mutations.extend(pairs.into_iter().map(|(key, _)| Mutation { key, value: None }));
        Ok(count)
    }

    fn savepoint(&mut self, savepoint: SavepointLabel) -> Result<(), StoreError> {
        self.open.savepoints.push((savepoint, self.open.mutations.len()));
        self.open.inner.savepoint(savepoint)
    }

    fn roll_back(&mut self, savepoint: SavepointLabel) -> Result<(), StoreError> {
        self.bug.roll_back(&mut self.open, savepoint)?;
        let taken = self.open.savepoints.iter().find(|(label, _)| *label == savepoint);
        let (_, count) = *taken.expect("the runner goes back to what it took");
        self.open.mutations.truncate(count);
        Ok(())
    }

    fn submit(self: Box<Self>) -> Result<Box<dyn Ticket>, StoreError> {
        self.bug.submit(self.open)
    }

    fn commit(self: Box<Self>, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        self.bug.commit(self.open, durability)
    }

    fn abort(self: Box<Self>) -> Result<(), StoreError> {
        self.open.inner.abort()?;
        self.bug.aborted(self.open.mutations);
        Ok(())
    }
}

/// Stands where a transaction was.
struct Nothing;

impl Transaction for Nothing {
    fn get(&mut self, _key: &[u8]) -> Result<Option<Value>, StoreError> {
        Err(StoreError::Failed("this transaction is over".to_owned()))
    }

    fn scan(
        &mut self,
        _range: &KeyRange,
        _limit: usize,
        _reverse: bool,
    ) -> Result<Vec<(Key, Value)>, StoreError> {
        Err(StoreError::Failed("this transaction is over".to_owned()))
    }
}
