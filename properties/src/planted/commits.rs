//! Bugs in who may commit, in what is handed in, and in what a transaction undoes.

use std::sync::{Mutex, PoisonError};

use proofmark_model::{Durability, KeyRange, Mode, Mutation, SavepointLabel, TxnId};
use proofmark_sim::store::{Promises, Store, StoreError, Ticket};

use super::recovery::{commit_all, nameless};
use super::wrap::{Bug, Counter, Open, apply};

/// Of two transactions that wrote one key, the second commits, too.
#[derive(Debug)]
pub(super) struct MissedConflict;

impl Bug for MissedConflict {
    fn commit(&self, mut transaction: Open, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        match transaction.take().commit(durability) {
            Err(StoreError::Conflict { .. }) => {
                transaction.begin_again()?;
                for mutation in &transaction.mutations {
                    apply(&mut *transaction.inner, mutation)?;
                }
                transaction.inner.commit(durability)
            }
            outcome => outcome,
        }
    }
}

/// Every fifth optimistic commit is said to conflict.
#[derive(Debug, Default)]
pub(super) struct SpuriousConflict(Counter);

impl Bug for SpuriousConflict {
    fn commit(&self, transaction: Open, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        match transaction.mutations.first() {
            Some(first) if transaction.mode == Mode::Optimistic && self.0.is_every(5) => {
                Err(StoreError::Conflict { key: first.key.clone() })
            }
            _ => transaction.inner.commit(durability),
        }
    }
}

/// Going back to a savepoint leaves the last write as it is.
#[derive(Debug)]
pub(super) struct HalfRollback;

impl Bug for HalfRollback {
    fn roll_back(&self, transaction: &mut Open, savepoint: SavepointLabel) -> Result<(), StoreError> {
        transaction.inner.roll_back(savepoint)?;
        match transaction.mutations.last() {
            Some(last) => apply(&mut *transaction.inner, last),
            None => Ok(()),
        }
    }
}

/// A savepoint that is gone is gone back to without a word.
#[derive(Debug)]
pub(super) struct TolerantRollback;

impl Bug for TolerantRollback {
    fn roll_back(&self, transaction: &mut Open, savepoint: SavepointLabel) -> Result<(), StoreError> {
        match transaction.inner.roll_back(savepoint) {
            Err(StoreError::SavepointNotFound) => Ok(()),
            outcome => outcome,
        }
    }
}

/// A range keeps its last key.
#[derive(Debug)]
pub(super) struct ShortRange;

impl Bug for ShortRange {
    fn delete_range(&self, transaction: &mut Open, range: &KeyRange) -> Result<u64, StoreError> {
        let pairs = transaction.inner.scan(range, usize::MAX, false)?;
        if let Some((_, but_the_last)) = pairs.split_last() {
            for (key, _) in but_the_last {
                transaction.inner.delete(key)?;
            }
        }
        Ok(pairs.len() as u64)
    }
}

/// What is handed in is visible at once.
#[derive(Debug)]
pub(super) struct VisibleTooEarly;

impl Bug for VisibleTooEarly {
    fn submit(&self, transaction: Open) -> Result<Box<dyn Ticket>, StoreError> {
        let id = transaction.inner.commit(Durability::Buffered)?;
        Ok(Box::new(Done(id)))
    }
}

/// A commit that was already made.
struct Done(Option<TxnId>);

impl Ticket for Done {
    fn id(&self) -> Option<TxnId> {
        self.0
    }

    fn wait(self: Box<Self>) -> Result<Option<TxnId>, StoreError> {
        Ok(self.0)
    }
}

/// Waiting for a commit that was handed in waits for nothing.
#[derive(Debug)]
pub(super) struct IdleWait;

impl Bug for IdleWait {
    fn submit(&self, transaction: Open) -> Result<Box<dyn Ticket>, StoreError> {
        let ticket = transaction.inner.submit()?;
        Ok(Box::new(Done(ticket.id())))
    }
}

/// A commit that found no space is carried out by the next recovery.
#[derive(Debug, Default)]
pub(super) struct LateCommit(Mutex<Vec<Mutation>>);

impl Bug for LateCommit {
    fn promises(&self) -> Promises {
        nameless()
    }

    fn commit(&self, mut transaction: Open, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        let outcome = transaction.take().commit(durability);
        if let Err(StoreError::OutOfSpace(_)) = &outcome {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = transaction.mutations;
        }
        outcome
    }

    fn submit(&self, mut transaction: Open) -> Result<Box<dyn Ticket>, StoreError> {
        let outcome = transaction.take().submit();
        if let Err(StoreError::OutOfSpace(_)) = &outcome {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = transaction.mutations;
        }
        outcome
    }

    fn opened(&self, store: &mut dyn Store, _after_crash: bool) -> Result<(), StoreError> {
        let late = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        match commit_all(store, &late) {
            // There is still no space.
            Err(StoreError::OutOfSpace(_)) => Ok(()),
            outcome => outcome,
        }
    }
}

/// Every twentieth commit is said to find no space.
#[derive(Debug, Default)]
pub(super) struct NoSpaceLie(Counter);

impl Bug for NoSpaceLie {
    fn commit(&self, transaction: Open, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        if self.0.is_every(20) {
            return Err(StoreError::OutOfSpace("the disk is full".to_owned()));
        }
        transaction.inner.commit(durability)
    }
}
