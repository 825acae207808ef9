//! Bugs in what a transaction writes.

use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use proofmark_model::{Durability, Key, KeyRange, Mutation, TxnId};
use proofmark_sim::store::StoreError;

use super::wrap::{Bug, Open, apply};

/// A commit of two or more mutations carries out the first half of them.
#[derive(Debug)]
pub(super) struct HalfBatch;

impl Bug for HalfBatch {
    fn commit(&self, mut transaction: Open, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        let count = transaction.mutations.len();
        if count > 1 {
            transaction.begin_again()?;
            for mutation in &transaction.mutations[..count / 2] {
                apply(&mut *transaction.inner, mutation)?;
            }
        }
        transaction.inner.commit(durability)
    }
}

/// A put is lost if the transaction before wrote a larger key.
#[derive(Debug, Default)]
pub(super) struct OrderSensitivePut {
    /// The largest key of the last commit.
    largest: Mutex<Option<Key>>,
}

impl Bug for OrderSensitivePut {
    fn write(&self, transaction: &mut Open, mutation: &Mutation) -> Result<(), StoreError> {
        let largest = self.largest.lock().unwrap_or_else(PoisonError::into_inner);
        let is_lost = mutation.value.is_some() && largest.as_ref().is_some_and(|key| *key > mutation.key);
        if is_lost { Ok(()) } else { apply(&mut *transaction.inner, mutation) }
    }

    fn commit(&self, transaction: Open, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        let largest = transaction.mutations.iter().map(|mutation| mutation.key.clone()).max();
        *self.largest.lock().unwrap_or_else(PoisonError::into_inner) = largest;
        transaction.inner.commit(durability)
    }
}

/// A delete takes the next key with it.
#[derive(Debug)]
pub(super) struct GreedyDelete;

impl Bug for GreedyDelete {
    fn write(&self, transaction: &mut Open, mutation: &Mutation) -> Result<(), StoreError> {
        apply(&mut *transaction.inner, mutation)?;
        if mutation.value.is_some() {
            return Ok(());
        }
        let after = KeyRange { start: Bound::Excluded(mutation.key.clone()), end: Bound::Unbounded };
        match transaction.inner.scan(&after, 1, false)?.first() {
            Some((neighbour, _)) => transaction.inner.delete(neighbour),
            None => Ok(()),
        }
    }
}

/// A put is lost if the same transaction removed its key before.
#[derive(Debug)]
pub(super) struct DeleteWins;

impl Bug for DeleteWins {
    fn write(&self, transaction: &mut Open, mutation: &Mutation) -> Result<(), StoreError> {
        let removes_it = |earlier: &Mutation| earlier.key == mutation.key && earlier.value.is_none();
        if mutation.value.is_some() && transaction.mutations.iter().any(removes_it) {
            return Ok(());
        }
        apply(&mut *transaction.inner, mutation)
    }
}
