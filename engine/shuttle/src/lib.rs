//! The latch-free modules of the engine, compiled against [shuttle](https://docs.rs/shuttle).
//!
//! [`bwtree`] is the same source as in the engine. What it takes from `crate::sync` comes from this package here: shuttle's
//! atomics, a cell that finds overlapping accesses, an [`epoch`](epoch::Collector) that frees as early as the rules allow, and
//! [`memory`] that stays readable until an execution is over, with what was freed marked. [`explore`] runs a program on many
//! schedules, and [`replay`] on one of them again. Shuttle knows no weak memory: that is for the loom build.
//!
//! [`planted`] has a copy of the tree for each mistake that was planted, and [`subjects`] makes all of them look the same.

#[path = "../../src/bwtree/mod.rs"]
pub mod bwtree;
#[path = "../../loom/src/epoch.rs"]
pub mod epoch;
mod explore;
#[path = "../../loom/src/memory.rs"]
pub mod memory;
/// Copies of [`bwtree`] with a mistake each.
#[allow(warnings, clippy::all, clippy::pedantic, reason = "what a mistake leaves unused stays as it is")]
pub mod planted {
    include!(concat!(env!("OUT_DIR"), "/planted.rs"));
}
mod primitives;
#[path = "../../loom/src/subjects.rs"]
pub mod subjects;
#[path = "../../loom/src/sync.rs"]
mod sync;

pub use explore::{Failure, Strategy, explore, replay};
pub use primitives::{Backoff, UnsafeCell, atomic, thread};
