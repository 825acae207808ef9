//! The short way to test a store that has no transactions: it opens, it applies batches, and it tells what it holds.
//!
//! [`Batches`] makes a full store under test of that. Reads are served from a copy of what the store holds, taken when
//! the transaction begins; a write transaction becomes one batch when it commits.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use proofmark_model::{Durability, Key, KeyRange, Mutation, TxnId, Value};
use proofmark_vfs::Vfs;

use super::{Promises, Store, StoreError, StoreFactory, Transaction};
use crate::plan::Config;

/// A store that applies batches of changes, each of them atomically.
pub trait BatchStore: Sized + 'static {
    /// Opens the store below `/`, or creates it.
    ///
    /// # Errors
    /// Forgiven only if the power failed meanwhile.
    fn open(vfs: Arc<dyn Vfs>) -> io::Result<Self>;

    /// Applies a batch. When this returns, all of it is durable; if the power fails before, all of it or nothing is.
    ///
    /// # Errors
    /// Forgiven only if the power failed meanwhile.
    fn apply(&mut self, batch: &[Mutation]) -> io::Result<()>;

    /// Everything the store holds.
    ///
    /// # Errors
    /// Forgiven only if the power failed meanwhile.
    fn state(&self) -> io::Result<BTreeMap<Key, Value>>;
}

/// A [`BatchStore`] as a store under test.
pub struct Batches<S>(PhantomData<fn() -> S>);

impl<S> Batches<S> {
    /// The store under test.
    pub fn new() -> Batches<S> {
        Batches(PhantomData)
    }
}

impl<S> Default for Batches<S> {
    fn default() -> Batches<S> {
        Batches::new()
    }
}

impl<S> std::fmt::Debug for Batches<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Batches")
    }
}

impl<S: BatchStore> StoreFactory for Batches<S> {
    fn name(&self) -> &str {
        std::any::type_name::<S>()
    }

    fn promises(&self) -> Promises {
        Promises::minimal()
    }

    fn open(&self, vfs: Arc<dyn Vfs>, _config: &Config) -> Result<Box<dyn Store>, StoreError> {
        let store = S::open(vfs).map_err(StoreError::failed)?;
        Ok(Box::new(Handle(Rc::new(RefCell::new(Shared { store, has_writer: false })))))
    }
}

struct Shared<S> {
    store: S,
    has_writer: bool,
}

struct Handle<S>(Rc<RefCell<Shared<S>>>);

impl<S: BatchStore> Handle<S> {
    fn begin(&self, is_writer: bool) -> Result<Box<dyn Transaction>, StoreError> {
        let mut shared = self.0.borrow_mut();
        if is_writer && shared.has_writer {
            return Err(StoreError::Busy);
        }
        let state = shared.store.state().map_err(StoreError::failed)?;
        shared.has_writer |= is_writer;
        let shared = Rc::clone(&self.0);
        Ok(Box::new(Batch { shared, state, batch: Vec::new(), is_writer }))
    }
}

impl<S: BatchStore> Store for Handle<S> {
    fn begin_read(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        self.begin(false)
    }

    fn begin_write(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        self.begin(true)
    }
}

/// A transaction: a copy of the state, and the changes made to it.
struct Batch<S: BatchStore> {
    shared: Rc<RefCell<Shared<S>>>,
    state: BTreeMap<Key, Value>,
    batch: Vec<Mutation>,
    is_writer: bool,
}

impl<S: BatchStore> Transaction for Batch<S> {
    fn get(&mut self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        Ok(self.state.get(key).cloned())
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
        let pairs = self.state.range::<[u8], _>(range.as_slices());
        let owned = |(key, value): (&Key, &Value)| (key.clone(), value.clone());
        Ok(if reverse {
            pairs.rev().take(limit).map(owned).collect()
        } else {
            pairs.take(limit).map(owned).collect()
        })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.state.insert(key.to_vec(), value.to_vec());
        self.batch.push(Mutation { key: key.to_vec(), value: Some(value.to_vec()) });
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.state.remove(key);
        self.batch.push(Mutation { key: key.to_vec(), value: None });
        Ok(())
    }

    fn commit(self: Box<Self>, _durability: Durability) -> Result<Option<TxnId>, StoreError> {
        if !self.batch.is_empty() {
            self.shared.borrow_mut().store.apply(&self.batch).map_err(StoreError::failed)?;
        }
        Ok(None)
    }
}

impl<S: BatchStore> Drop for Batch<S> {
    fn drop(&mut self) {
        if self.is_writer {
            self.shared.borrow_mut().has_writer = false;
        }
    }
}
