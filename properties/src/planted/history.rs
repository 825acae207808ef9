//! Bugs in how much of the past can be read.

use proofmark_model::TxnId;
use proofmark_sim::plan::{Config, Retention};
use proofmark_sim::store::{Store, StoreError, Transaction};

use super::wrap::Bug;

/// Every commit but the latest is said to be gone.
#[derive(Debug)]
pub(super) struct NoPast;

impl Bug for NoPast {
    fn begin_read_at(&self, store: &mut dyn Store, at: TxnId) -> Result<Box<dyn Transaction>, StoreError> {
        if store.latest().is_some_and(|latest| at < latest) {
            return Err(StoreError::SnapshotNotFound);
        }
        store.begin_read_at(at)
    }
}

/// A checkpoint keeps the latest state only, whatever it is told to keep.
#[derive(Debug)]
pub(super) struct ShortMemory;

impl Bug for ShortMemory {
    fn config(&self, config: &Config) -> Config {
        Config { retention: Retention::Latest, ..config.clone() }
    }
}

/// The oldest commit that can be read is said to be the latest.
#[derive(Debug)]
pub(super) struct OldestIsLatest;

impl Bug for OldestIsLatest {
    fn oldest(&self, store: &dyn Store) -> Option<TxnId> {
        store.latest()
    }
}
