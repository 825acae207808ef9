//! The simulator: a store runs in it, fails in every way that a disk allows, and is judged by what it then holds.
//!
//! ```text
//! seed ──workload──► Plan ──run──► History ──model::check──► verdict
//!                     ▲             │
//!               text, by hand    trace hash
//! ```
//!
//! - [`random`]: one seed, split into named streams.
//! - [`plan`]: everything that happens in a run, written down beforehand, with a text form.
//! - [`workload`]: from a seed to a plan.
//! - [`store`]: the system under test, and what it promises; adapters for the engine and for redb.
//! - [`disk`]: the file system that forgets what was not synced.
//! - [`run`]: from a plan to a history and a verdict.
//! - [`schedule`]: who goes on where clients run at the same time.
//! - [`replica`]: a leader and a follower, which takes in the leader's commit stream.
//! - [`metamorphic`]: runs that should come to the same, compared.
//! - [`campaign`]: many seeds, on several threads.
//! - [`explore`]: one run, and every power loss in it.
//!
//! Nothing here reads a clock, a thread's identity or an unseeded random number: a seed is a run, on every machine.

#![forbid(unsafe_code)]

#[cfg(not(madsim))]
compile_error!(
    "the simulator is compiled with `--cfg madsim`, which .cargo/config.toml sets; RUSTFLAGS in the environment take the place \
     of those flags: add `--cfg madsim` to them"
);

pub mod campaign;
pub mod determinism;
pub mod disk;
pub mod explore;
pub mod matrix;
pub mod metamorphic;
pub mod plan;
pub mod random;
pub mod replica;
pub mod run;
pub mod schedule;
pub mod shrink;
pub mod store;
mod workers;
pub mod workload;
