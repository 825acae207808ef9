//! What the steps of a visit order in memory, under loom: as much as the engine's own epochs promise, and no more, because
//! more would hide what the tree forgot.
//!
//! - What a thread did before it let go happens before the functions that waited for it.
//! - What happened before a function was deferred happens before what a thread does that is pinned too late to be waited for.
//!
//! That one thread's visit ends before another one's begins orders nothing.

use std::sync::{Mutex, PoisonError};

pub(crate) use crate::primitives::thread::ThreadId;

use crate::primitives::atomic::{AtomicUsize, Ordering};
use crate::primitives::thread;

/// The most threads that use a collector. Their atomics are made with it, before any other thread can know them.
const THREADS_MAX: usize = 8;

/// The steps of one collector.
pub(crate) struct Order {
    /// Changed by each deferral, and read by whoever is pinned after it.
    deferred: AtomicUsize,
    /// For each thread: changed whenever it lets go, and read by whoever runs what waited for that.
    left: [AtomicUsize; THREADS_MAX],
    /// The threads that let go so far. Not part of what is explored.
    threads: Mutex<Vec<ThreadId>>,
}

impl Default for Order {
    fn default() -> Order {
        let left = std::array::from_fn(|_| AtomicUsize::new(0));
        Order { deferred: AtomicUsize::new(0), left, threads: Mutex::default() }
    }
}

/// The thread that runs.
pub(crate) fn me() -> ThreadId {
    thread::current().id()
}

impl Order {
    /// A thread is being pinned. `deferrals` counts what was deferred so far.
    pub(crate) fn enters(&self, deferrals: impl Fn() -> u64) {
        if deferrals() == 0 {
            self.deferred.load(Ordering::Relaxed);
        }
        // Acquire: pairs with the release of `defers`. An exchange, because it sees the latest one for certain.
        if deferrals() > 0 {
            self.deferred.fetch_add(0, Ordering::Acquire);
        }
    }

    /// A thread lets go.
    pub(crate) fn leaves(&self, thread: ThreadId) {
        let index = {
            let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
            threads.iter().position(|known| *known == thread).unwrap_or_else(|| {
                threads.push(thread);
                threads.len() - 1
            })
        };
        assert!(index < THREADS_MAX, "a collector has at most {THREADS_MAX} threads");
        // Release: what this thread did happens before what waited for it.
        self.left[index].fetch_add(1, Ordering::Release);
    }

    /// A function is being deferred.
    pub(crate) fn defers(&self) {
        // Release: what was unlinked before is not found by whoever is pinned after this.
        self.deferred.fetch_add(1, Ordering::AcqRel);
    }

    /// What was deferred is about to run.
    pub(crate) fn runs(&self) {
        let count = self.threads.lock().unwrap_or_else(PoisonError::into_inner).len();
        for left in &self.left[..count] {
            // Acquire: pairs with the release of `leaves`.
            left.fetch_add(0, Ordering::Acquire);
        }
    }
}
