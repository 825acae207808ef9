//! The copies of the engine as stores under test.

use std::path::Path;
use std::sync::Arc;

use proofmark_engine_shuttle::StepVfs;
use proofmark_engine_variants::{ENGINE_MISTAKES, Mistake};
use proofmark_sim::plan::Config;
use proofmark_sim::store::{Engine, Promises, Store, StoreError, StoreFactory};
use proofmark_vfs::Vfs;

include!(concat!(env!("OUT_DIR"), "/stores.rs"));

/// An engine with a mistake. It is held to what the engine promises, and runs within an execution of shuttle's only.
#[derive(Debug)]
pub struct PlantedEngine {
    mistake: &'static Mistake,
    open: Open,
}

/// How a copy is opened.
type Open = fn(Arc<dyn Vfs>, &Config) -> Result<Box<dyn Store>, StoreError>;

impl PlantedEngine {
    /// The mistake.
    pub fn mistake(&self) -> &'static Mistake {
        self.mistake
    }
}

impl StoreFactory for PlantedEngine {
    fn name(&self) -> &str {
        self.mistake.name
    }

    fn promises(&self) -> Promises {
        Engine.promises()
    }

    fn may_hold_log(&self, path: &Path) -> bool {
        Engine.may_hold_log(path)
    }

    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        (self.open)(Arc::new(StepVfs::new(vfs)), config)
    }

    fn for_threads(&self) -> Option<&'static dyn StoreFactory> {
        let this = ENGINES.iter().find(|engine| engine.mistake.name == self.mistake.name);
        this.map(|engine| engine as &dyn StoreFactory)
    }
}
