//! Time as a thread sees it: what passes on the wall, or what it was running for.
//!
//! On a machine that does other work beside, a thread waits for its processor, and figures by the wall clock halve from
//! one second to the next. The time a thread was running for leaves that out. It also leaves out every wait for another
//! thread in which it sleeps, and so flatters what takes locks: it helps to compare builds, and is no result.

use std::fs;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    Wall,
    /// Of the thread that asks, as Linux counts it, and exact to a few milliseconds.
    Running,
}

/// It has been running since it was made, by the thread that made it.
pub(crate) enum Stopwatch {
    Wall(Instant),
    Running(Duration),
}

impl Clock {
    pub(crate) fn start(self) -> Stopwatch {
        match self {
            Clock::Wall => Stopwatch::Wall(Instant::now()),
            Clock::Running => Stopwatch::Running(running_time()),
        }
    }
}

impl Stopwatch {
    pub(crate) fn elapsed(&self) -> Duration {
        match self {
            Stopwatch::Wall(start) => start.elapsed(),
            Stopwatch::Running(start) => running_time() - *start,
        }
    }
}

fn running_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says what its threads do");
    let nanoseconds = text.split_whitespace().next().expect("the first word is the time");
    Duration::from_nanos(nanoseconds.parse().expect("the time is a number"))
}
