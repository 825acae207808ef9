//! Bugs in what transactions see, and in who may open one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use proofmark_model::{Durability, Key, KeyRange, Mode, Mutation, TxnId, Value};
use proofmark_sim::store::{Store, StoreError, Ticket, Transaction};

use super::wrap::{Bug, Counter, Open, apply};

/// Readers get the snapshot before the latest, under the latest one's name, once something was committed since the
/// opening.
#[derive(Debug, Default)]
pub(super) struct StaleSnapshot {
    at_opening: AtomicU64,
}

impl Bug for StaleSnapshot {
    fn opened(&self, store: &mut dyn Store, _after_crash: bool) -> Result<(), StoreError> {
        self.at_opening.store(store.latest().unwrap_or_default().0, Ordering::Relaxed);
        Ok(())
    }

    fn begun(&self, store: &mut dyn Store, transaction: &mut Open) -> Result<(), StoreError> {
        let latest = store.latest().unwrap_or_default();
        if transaction.mode == Mode::Read && latest.0 > self.at_opening.load(Ordering::Relaxed) {
            replace(store, transaction, TxnId(latest.0 - 1))?;
        }
        Ok(())
    }
}

/// A read as of a commit sees the one before it.
#[derive(Debug)]
pub(super) struct AsOfOffByOne;

impl Bug for AsOfOffByOne {
    fn begun(&self, store: &mut dyn Store, transaction: &mut Open) -> Result<(), StoreError> {
        match transaction.mode {
            Mode::ReadAt(TxnId(at)) if at > 0 => replace(store, transaction, TxnId(at - 1)),
            _ => Ok(()),
        }
    }
}

/// A get in a reader sees what the open writer has written so far.
#[derive(Debug, Default)]
pub(super) struct DirtyRead(Mutex<Vec<Mutation>>);

impl Bug for DirtyRead {
    fn begun(&self, _store: &mut dyn Store, transaction: &mut Open) -> Result<(), StoreError> {
        if transaction.is_writer() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        Ok(())
    }

    fn write(&self, transaction: &mut Open, mutation: &Mutation) -> Result<(), StoreError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(mutation.clone());
        apply(&mut *transaction.inner, mutation)
    }

    fn get(&self, transaction: &mut Open, key: &[u8]) -> Result<Option<Value>, StoreError> {
        let dirty = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match dirty.iter().rev().find(|mutation| mutation.key == key) {
            Some(mutation) if !transaction.is_writer() => Ok(mutation.value.clone()),
            _ => transaction.inner.get(key),
        }
    }
}

/// A reader that is open during a checkpoint goes on with the state after it.
#[derive(Debug, Default)]
pub(super) struct MovingSnapshot {
    checkpoints: AtomicU64,
}

impl MovingSnapshot {
    fn follow(&self, transaction: &mut Open) -> Result<(), StoreError> {
        let has_moved = transaction.note < self.checkpoints.load(Ordering::Relaxed);
        if transaction.mode == Mode::Read && has_moved { transaction.begin_again() } else { Ok(()) }
    }
}

impl Bug for MovingSnapshot {
    fn begun(&self, _store: &mut dyn Store, transaction: &mut Open) -> Result<(), StoreError> {
        transaction.note = self.checkpoints.load(Ordering::Relaxed);
        Ok(())
    }

    fn checkpoint(&self, store: &mut dyn Store) -> Result<bool, StoreError> {
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
        store.checkpoint()
    }

    fn get(&self, transaction: &mut Open, key: &[u8]) -> Result<Option<Value>, StoreError> {
        self.follow(transaction)?;
        transaction.inner.get(key)
    }

    fn scan(
        &self,
        transaction: &mut Open,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Key, Value)>, StoreError> {
        self.follow(transaction)?;
        transaction.inner.scan(range, limit, reverse)
    }
}

/// A writer's gets do not see what it wrote itself.
#[derive(Debug)]
pub(super) struct ForgetfulWriter;

impl Bug for ForgetfulWriter {
    fn write(&self, _transaction: &mut Open, _mutation: &Mutation) -> Result<(), StoreError> {
        Ok(())
    }

    fn commit(&self, mut transaction: Open, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        carry_out(&mut transaction)?;
        transaction.inner.commit(durability)
    }

    fn submit(&self, mut transaction: Open) -> Result<Box<dyn Ticket>, StoreError> {
        carry_out(&mut transaction)?;
        transaction.inner.submit()
    }
}

fn carry_out(transaction: &mut Open) -> Result<(), StoreError> {
    transaction.mutations.iter().try_for_each(|mutation| apply(&mut *transaction.inner, mutation))
}

/// A scan backwards stops one pair too early.
#[derive(Debug)]
pub(super) struct ShortScan;

impl Bug for ShortScan {
    fn scan(
        &self,
        transaction: &mut Open,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Key, Value)>, StoreError> {
        let mut pairs = transaction.inner.scan(range, limit, reverse)?;
        if reverse {
            pairs.pop();
        }
        Ok(pairs)
    }
}

/// Every tenth writer is told that another one is open.
#[derive(Debug, Default)]
pub(super) struct BusyLie(Counter);

impl Bug for BusyLie {
    fn turns_away(&self) -> bool {
        self.0.is_every(10)
    }
}

/// A second writer is let in beside the first: what it reads is right, and it can't write.
#[derive(Debug)]
pub(super) struct SecondWriter;

impl Bug for SecondWriter {
    fn second_writer(&self, store: &mut dyn Store) -> Result<Box<dyn Transaction>, StoreError> {
        store.begin_read()
    }
}

/// Puts the state at `at` in the place of what a transaction reads, if the store still has it.
fn replace(store: &mut dyn Store, transaction: &mut Open, at: TxnId) -> Result<(), StoreError> {
    match store.begin_read_at(at) {
        Ok(older) => transaction.inner = older,
        Err(StoreError::SnapshotNotFound) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}
