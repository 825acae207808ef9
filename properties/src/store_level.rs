//! A transaction of the model, to be carried out beside one of a store.
//!
//! It keeps what the transaction wrote, as the model understands it: a removed range is the removal of what the
//! transaction sees there, and going back to a savepoint forgets what was written since. The store's answers on the way
//! are compared with the model's.

use std::collections::BTreeMap;

use proofmark_model::{Key, KeyRange, Mutation, Mvcc, Operation, SavepointLabel, TxnId, Value};
use proofmark_sim::store::{StoreError, Transaction};
use proptest::prop_assert_eq;
use proptest::test_runner::TestCaseResult;

/// What a transaction has written so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// As of which commit it reads.
    pub snapshot: TxnId,
    /// What it leaves for each key.
    pub writes: BTreeMap<Key, Option<Value>>,
    savepoints: Vec<(SavepointLabel, BTreeMap<Key, Option<Value>>)>,
    savepoints_taken: u32,
}

impl Written {
    /// Nothing yet.
    pub fn new(snapshot: TxnId) -> Written {
        Written { snapshot, writes: BTreeMap::new(), savepoints: Vec::new(), savepoints_taken: 0 }
    }

    /// What it sees within a range.
    pub fn visible(&self, model: &Mvcc, range: &KeyRange) -> Vec<(Key, Value)> {
        let mut state: BTreeMap<Key, Value> =
            model.range(range, self.snapshot).map(|(key, value)| (key.clone(), value.clone())).collect();
        for (key, value) in self.writes.iter().filter(|(key, _)| range.contains(key)) {
            match value {
                Some(value) => state.insert(key.clone(), value.clone()),
                None => state.remove(key),
            };
        }
        state.into_iter().collect()
    }

    /// Carries out an operation on the model and on the store, and compares what they answer. The number of a savepoint
    /// is counted from the latest, and goes round.
    ///
    /// # Errors
    /// If they differ.
    ///
    /// # Panics
    /// If the store fails.
    pub fn operate(
        &mut self,
        model: &Mvcc,
        store: &mut dyn Transaction,
        operation: &Operation,
    ) -> TestCaseResult {
        match operation {
            Operation::Get { key } => {
                let visible = match self.writes.get(key) {
                    Some(written) => written.clone(),
                    None => model.get(key, self.snapshot).cloned(),
                };
                prop_assert_eq!(answered(store.get(key)), visible);
            }
            Operation::Scan { range, limit, reverse } => {
                let mut visible = self.visible(model, range);
                if *reverse {
                    visible.reverse();
                }
                visible.truncate(*limit);
                prop_assert_eq!(answered(store.scan(range, *limit, *reverse)), visible);
            }
            Operation::Put { key, value } => {
                answered(store.put(key, value));
                self.writes.insert(key.clone(), Some(value.clone()));
            }
            Operation::Delete { key } => {
                answered(store.delete(key));
                self.writes.insert(key.clone(), None);
            }
            Operation::DeleteRange { range } => {
                let visible = self.visible(model, range);
                prop_assert_eq!(answered(store.delete_range(range)), visible.len() as u64);
                self.writes.extend(visible.into_iter().map(|(key, _)| (key, None)));
            }
            Operation::Savepoint { .. } => {
                let label = SavepointLabel(self.savepoints_taken);
                self.savepoints_taken += 1;
                answered(store.savepoint(label));
                self.savepoints.push((label, self.writes.clone()));
            }
            Operation::Rollback { savepoint } => self.roll_back(store, savepoint.0)?,
        }
        Ok(())
    }

    fn roll_back(&mut self, store: &mut dyn Transaction, back: u32) -> TestCaseResult {
        if self.savepoints_taken == 0 {
            return Ok(());
        }
        let label = SavepointLabel(self.savepoints_taken - 1 - back % self.savepoints_taken);
        let outcome = store.roll_back(label);
        match self.savepoints.iter().position(|(valid, _)| *valid == label) {
            Some(place) => {
                prop_assert_eq!(outcome, Ok(()));
                self.writes = self.savepoints[place].1.clone();
                self.savepoints.truncate(place + 1);
            }
            None => prop_assert_eq!(outcome, Err(StoreError::SavepointNotFound)),
        }
        Ok(())
    }

    /// What it changes.
    pub fn mutations(self) -> Vec<Mutation> {
        self.writes.into_iter().map(|(key, value)| Mutation { key, value }).collect()
    }
}

fn answered<T>(outcome: Result<T, StoreError>) -> T {
    outcome.unwrap_or_else(|error| panic!("nothing keeps the store from this: {error}"))
}
