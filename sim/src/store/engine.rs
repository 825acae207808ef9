//! Our own engine as a store under test.

use std::sync::Arc;

use proofmark_vfs::Vfs;

use super::{Promises, Store, StoreError, StoreFactory};
use crate::plan::Config;

/// The engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engine;

impl StoreFactory for Engine {
    fn name(&self) -> &str {
        "engine"
    }

    fn promises(&self) -> Promises {
        Promises { transaction_ids: true, time_travel: true, buffered_commits: true, ..Promises::minimal() }
    }

    fn open(&self, _vfs: Arc<dyn Vfs>, _config: &Config) -> Result<Box<dyn Store>, StoreError> {
        Err(StoreError::failed("not yet"))
    }
}
