//! Copies with a mistake each, compiled against shuttle: of the latch-free tree, and of the whole engine.
//!
//! `engine/variants` says what the mistakes are, and writes the copies. [`planted_subjects`] has the trees, as subjects of
//! the tree's suites. [`ENGINES`] has the engines, as stores under test. The doors are those of the shuttle build.

#[allow(warnings, clippy::all, clippy::pedantic, reason = "what a mistake leaves unused stays as it is")]
mod engines {
    include!(concat!(env!("OUT_DIR"), "/engines/planted.rs"));
}
/// Copies of the tree.
#[allow(warnings, clippy::all, clippy::pedantic, reason = "what a mistake leaves unused stays as it is")]
pub mod planted {
    include!(concat!(env!("OUT_DIR"), "/planted.rs"));
}
#[path = "../../../engine/loom/src/planted_subjects.rs"]
pub mod planted_subjects;
mod stores;

pub use stores::{ENGINES, PlantedEngine};

use proofmark_engine_shuttle::sync;
use proofmark_sim::{plan, store};
