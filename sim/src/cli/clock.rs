//! The only clock. It times the command for the person in front of it, and no run can see it.

#![expect(
    clippy::disallowed_types,
    reason = "how long a campaign has been going on says when to stop it, and nothing about any seed"
)]

use std::time::{Duration, Instant};

/// Measures the time since it was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopwatch {
    started: Instant,
}

impl Stopwatch {
    /// Starts to measure.
    pub(super) fn start() -> Stopwatch {
        Stopwatch { started: Instant::now() }
    }

    /// The time since the start. It never goes back.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
