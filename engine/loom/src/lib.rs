//! The latch-free modules of the engine, compiled against [loom](https://docs.rs/loom).
//!
//! [`bwtree`] is the same source as in the engine. What it takes from `crate::sync` comes from this package here: loom's
//! atomics and cells, an [`epoch`](epoch::Collector) that frees as early as the rules allow, and memory that stays readable
//! until an execution is over, with what was freed marked. [`explore`] runs a program on every schedule, and with every value
//! that the memory model lets a load see, up to a number of preemptions.
//!
//! [`planted`] has a copy of the tree for each mistake that was planted. [`subjects`] and [`planted_subjects`] make all of
//! them look the same.

#[path = "../../src/bwtree/mod.rs"]
pub mod bwtree;
pub mod cache;
pub mod epoch;
mod explore;
pub mod memory;
mod order;
/// Copies of [`bwtree`] with a mistake each.
#[allow(warnings, clippy::all, clippy::pedantic, reason = "what a mistake leaves unused stays as it is")]
pub mod planted {
    include!(concat!(env!("OUT_DIR"), "/planted.rs"));
}
pub mod planted_subjects;
mod primitives;
pub mod subjects;
mod sync;

pub use explore::{Exploration, explore};
pub use primitives::{Backoff, UnsafeCell, atomic, thread};
