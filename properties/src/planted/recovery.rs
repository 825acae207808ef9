//! Bugs in what survives a power loss.
//!
//! The ones that meddle with a recovered state do it with a commit of their own. The store then gives its commits no
//! names, or the names alone would give the bug away; the checkers judge it by its values.

use std::sync::{Mutex, PoisonError};

use proofmark_model::{Durability, Mutation, TxnId};
use proofmark_sim::plan::{Config, Retention};
use proofmark_sim::store::{Engine, Promises, Store, StoreError, StoreFactory};

use super::wrap::{Bug, Counter, Open, apply, everything};

/// Acknowledges every third durable commit before it is durable.
#[derive(Debug, Default)]
pub(super) struct HastyCommit(Counter);

impl Bug for HastyCommit {
    fn commit(&self, transaction: Open, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        let is_hasty = durability == Durability::Sync && self.0.is_every(3);
        transaction.inner.commit(if is_hasty { Durability::Buffered } else { durability })
    }
}

/// Takes a durable commit that changes nothing for nothing, although it promises that all before it is durable.
#[derive(Debug)]
pub(super) struct IdleSync;

impl Bug for IdleSync {
    fn commit(&self, transaction: Open, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        let is_idle = transaction.mutations.is_empty();
        transaction.inner.commit(if is_idle { Durability::Buffered } else { durability })
    }
}

/// Undoes, in a recovery, the last commit, or the first half of what it did.
#[derive(Debug)]
pub(super) struct UndoneCommit {
    pub(super) only_half: bool,
}

impl Bug for UndoneCommit {
    fn promises(&self) -> Promises {
        nameless()
    }

    fn config(&self, config: &Config) -> Config {
        with_history(config)
    }

    fn opened(&self, store: &mut dyn Store, after_crash: bool) -> Result<(), StoreError> {
        if !after_crash {
            return Ok(());
        }
        let mut undo = difference(store, 1)?;
        if self.only_half {
            undo.truncate(undo.len() / 2);
        }
        commit_all(store, &undo)
    }
}

/// Brings back, in a recovery, a value that was overwritten or removed up to five commits ago.
#[derive(Debug)]
pub(super) struct ResurrectedVersion;

impl Bug for ResurrectedVersion {
    fn promises(&self) -> Promises {
        nameless()
    }

    fn config(&self, config: &Config) -> Config {
        with_history(config)
    }

    fn opened(&self, store: &mut dyn Store, after_crash: bool) -> Result<(), StoreError> {
        if !after_crash {
            return Ok(());
        }
        let older = difference(store, 5)?;
        let version = older.into_iter().find(|mutation| mutation.value.is_some());
        commit_all(store, version.as_slice())
    }
}

/// Carries out, in a recovery, the last transaction that was aborted.
#[derive(Debug, Default)]
pub(super) struct ResurrectedAbort(Mutex<Vec<Mutation>>);

impl Bug for ResurrectedAbort {
    fn promises(&self) -> Promises {
        nameless()
    }

    fn aborted(&self, mutations: Vec<Mutation>) {
        if !mutations.is_empty() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = mutations;
        }
    }

    fn opened(&self, store: &mut dyn Store, after_crash: bool) -> Result<(), StoreError> {
        if !after_crash {
            return Ok(());
        }
        let aborted = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        commit_all(store, &aborted)
    }
}

pub(super) fn nameless() -> Promises {
    Promises {
        transaction_ids: false,
        time_travel: false,
        commit_stream: false,
        backups: false,
        ..Engine.promises()
    }
}

fn with_history(config: &Config) -> Config {
    Config { retention: Retention::All, ..config.clone() }
}

/// What leads from the latest state to the one `back` commits before it.
fn difference(store: &mut dyn Store, back: u64) -> Result<Vec<Mutation>, StoreError> {
    let latest = store.latest().unwrap_or_default();
    let mut read = |at| everything(&mut *store.begin_read_at(at)?);
    let (older, newer) = (read(TxnId(latest.0.saturating_sub(back)))?, read(latest)?);
    let restored = older.iter().filter(|pair| !newer.contains(pair));
    let restored = restored.map(|(key, value)| Mutation { key: key.clone(), value: Some(value.clone()) });
    let removed = newer.iter().filter(|(key, _)| !older.iter().any(|(other, _)| other == key));
    let removed = removed.map(|(key, _)| Mutation { key: key.clone(), value: None });
    Ok(restored.chain(removed).collect())
}

pub(super) fn commit_all(store: &mut dyn Store, mutations: &[Mutation]) -> Result<(), StoreError> {
    if mutations.is_empty() {
        return Ok(());
    }
    let mut writer = store.begin_write()?;
    for mutation in mutations {
        apply(&mut *writer, mutation)?;
    }
    writer.commit(Durability::Sync)?;
    Ok(())
}
