//! The latch-free tree under every scheduler: loom, shuttle, and real threads.
//!
//! - [`workload`]: what clients do, from a seed.
//! - [`client`]: does it, and writes down what was asked and answered. The model's linearizability checker judges that.
//!
//! A schedule of shuttle's that fails is printed as one line that runs it again. `PROOFMARK_SCHEDULES` sets how many
//! schedules each of shuttle's schedulers tries with each kind of keys, and `PROOFMARK_PREEMPTIONS` how many preemptions
//! loom allows.

mod client;
mod epochs;
mod loom;
mod planted;
mod shuttle;
mod threads;
mod workload;

/// A number from the environment.
pub(crate) fn setting(name: &str, default: usize) -> usize {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
