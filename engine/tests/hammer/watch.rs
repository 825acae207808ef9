//! What each thread is at, for whoever sees to it that none stands still.
//!
//! Nobody waits in the tree, so an operation that takes for ever goes round in circles. It can't be interrupted, but it can
//! be told which one it is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// More than there are threads.
const PLACES: usize = 256;

static PLACES_TAKEN: [Place; PLACES] = [const { Place::new() }; PLACES];

/// A cache line of its own, or threads would slow each other down by telling what they do.
#[repr(align(128))]
struct Place {
    is_taken: AtomicBool,
    steps: AtomicU64,
    step: AtomicU64,
}

impl Place {
    const fn new() -> Place {
        Place { is_taken: AtomicBool::new(false), steps: AtomicU64::new(0), step: AtomicU64::new(0) }
    }
}

/// What a thread can be at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    Insert,
    Upsert,
    UpsertAll,
    CompareAndInsert,
    Delete,
    Get,
    FirstFrom,
    FirstAndLast,
    Scan,
    ScanDescending,
    Len,
    Stats,
    Maintain,
    Collect,
    Clear,
    Drop,
}

const STEPS: [Step; 16] = [
    Step::Insert,
    Step::Upsert,
    Step::UpsertAll,
    Step::CompareAndInsert,
    Step::Delete,
    Step::Get,
    Step::FirstFrom,
    Step::FirstAndLast,
    Step::Scan,
    Step::ScanDescending,
    Step::Len,
    Step::Stats,
    Step::Maintain,
    Step::Collect,
    Step::Clear,
    Step::Drop,
];

/// The bits of a key's number that are shown; those above say what the step is.
const NUMBER: u64 = u64::MAX >> 8;

/// A thread's place on the board.
pub(crate) struct Beat {
    place: &'static Place,
    /// Steps that this thread took.
    pub(crate) steps: u64,
}

impl Beat {
    pub(crate) fn new(thread: usize) -> Beat {
        let place = &PLACES_TAKEN[thread];
        place.is_taken.store(true, Ordering::Relaxed);
        Beat { place, steps: 0 }
    }

    /// The thread is about to do this, to this key.
    #[inline]
    pub(crate) fn at(&mut self, step: Step, number: u64) {
        self.steps += 1;
        self.place.step.store((step as u64) << 56 | number & NUMBER, Ordering::Relaxed);
        self.place.steps.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.place.is_taken.store(false, Ordering::Relaxed);
    }
}

/// Looks at the board from time to time.
pub(crate) struct Watch {
    patience: u32,
    steps: [u64; PLACES],
    idle: [u32; PLACES],
}

impl Watch {
    /// A thread may be seen so many times in a row at the same step.
    pub(crate) fn new(patience: u32) -> Watch {
        Watch { patience, steps: [0; PLACES], idle: [0; PLACES] }
    }

    /// Looks once. If a thread stands still, says so, and what everybody is at.
    pub(crate) fn look(&mut self) -> Result<(), String> {
        let mut stands_still = false;
        for (thread, place) in PLACES_TAKEN.iter().enumerate() {
            let steps = place.steps.load(Ordering::Relaxed);
            let is_idle = place.is_taken.load(Ordering::Relaxed) && steps == self.steps[thread];
            self.idle[thread] = if is_idle { self.idle[thread] + 1 } else { 0 };
            self.steps[thread] = steps;
            stands_still |= self.idle[thread] > self.patience;
        }
        if !stands_still {
            return Ok(());
        }
        let mut report = String::from("a thread stands still:");
        for (thread, place) in PLACES_TAKEN.iter().enumerate() {
            if place.is_taken.load(Ordering::Relaxed) {
                let step = place.step.load(Ordering::Relaxed);
                let (what, number) = (STEPS[(step >> 56) as usize], step & NUMBER);
                let idle = self.idle[thread];
                report += &format!("\n  thread {thread}: {what:?} at key {number}, seen there {idle} times");
            }
        }
        Err(report)
    }
}
