//! When to stop.

use std::time::Duration;

/// A moment, and the length of the rounds until then.
#[expect(clippy::disallowed_types, reason = "how long the hammer falls is up to the clock; nothing else is")]
pub(crate) struct Deadline {
    moment: std::time::Instant,
    part: Duration,
}

#[expect(clippy::disallowed_types, reason = "as above")]
impl Deadline {
    /// As long from now.
    pub(crate) fn after(time: Duration, part: Duration) -> Deadline {
        Deadline { moment: std::time::Instant::now() + time, part }
    }

    /// The end of a round that begins now.
    pub(crate) fn part(&self) -> Deadline {
        Deadline::after(self.part, self.part)
    }

    pub(crate) fn is_over(&self) -> bool {
        std::time::Instant::now() >= self.moment
    }
}
