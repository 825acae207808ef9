//! The engine, built so that shuttle schedules it.

#[allow(clippy::duplicate_mod, reason = "it is compiled over each build of the engine")]
#[path = "adapter.rs"]
mod adapter;

use std::path::Path;
use std::sync::Arc;

use proofmark_engine_shuttle as engine;
use proofmark_engine_shuttle::StepVfs;
use proofmark_vfs::Vfs;

use super::Engine;
use crate::plan::Config;
use crate::store::{Promises, Store, StoreError, StoreFactory};

/// The engine, for threads of shuttle's: every lock, every atomic, every look into the page cache and every call of the disk is
/// a place where another thread may go on. It is opened, used and dropped within one execution of shuttle's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineThreads;

impl StoreFactory for EngineThreads {
    fn name(&self) -> &str {
        Engine.name()
    }

    fn promises(&self) -> Promises {
        Engine.promises()
    }

    fn may_hold_log(&self, path: &Path) -> bool {
        Engine.may_hold_log(path)
    }

    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        adapter::open(Arc::new(StepVfs::new(vfs)), config)
    }

    fn for_threads(&self) -> Option<&'static dyn StoreFactory> {
        Some(&EngineThreads)
    }
}
