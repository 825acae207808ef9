//! The door of this build: what `crate::sync` is to the engine, with shuttle behind it.
//!
//! **Steps.** Every operation on an atomic, a lock, a condition variable, a pointer that is swapped, or an epoch passes a
//! [`point`] and then takes effect at once: other threads can come between any two operations, and nowhere else. Atomics are
//! sequentially consistent, because shuttle knows no weak memory. Reference counts are the standard library's: whoever
//! looks at one does so between two points, and so sees every value that it can have.
//!
//! **Unwinding.** While a panic unwinds no point is passed. All threads share one of the operating system, so that others
//! would seem to panic as well, and a client's own panic, which the store has to live with, would be everybody's. Only who
//! has to wait for a lock lets others run even then.
//!
//! **Waiting.** A thread that is blocked says what it waits for, so that a deadlock can be reported in the engine's terms:
//! [`waits`].

pub mod atomic;
#[path = "../../../loom/src/cache.rs"]
mod cache;
pub mod cell;
#[path = "../../../loom/src/epoch.rs"]
pub mod epoch;
mod lock;
mod once;
mod order;
mod swap;
pub mod waits;

use shuttle::thread;
use shuttle_engine::runtime::execution::ExecutionState;
use shuttle_engine::runtime::task::TaskId;
use shuttle_engine::runtime::thread::switch;

pub use std::sync::{Arc, Weak};

pub use self::atomic::{AtomicBool, AtomicIsize, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};
pub use self::cache::CachePadded;
pub use self::lock::{Condvar, Mutex, MutexGuard};
pub use self::once::OnceLock;
pub use self::swap::{ArcSwap, ArcSwapAny, ArcSwapOption, Guard};

/// Memory for pages.
pub mod memory {
    pub use super::cache::prefetch;
    pub use crate::memory::{allocate, release};
}

/// Where another thread may go on. It says nothing about who should: the thread that comes here is as good as any other.
///
/// # Panics
/// Outside of an execution.
pub fn point() {
    if !std::thread::panicking() {
        switch();
    }
}

/// The thread that runs.
fn me() -> TaskId {
    ExecutionState::me()
}

/// Lets others run until one of them [wakes](wake) this thread.
fn block() {
    ExecutionState::with(|state| state.current_mut().block(false));
    switch();
}

/// Lets blocked threads go on.
fn wake(threads: impl IntoIterator<Item = TaskId>) {
    let mut threads = threads.into_iter().peekable();
    if threads.peek().is_none() {
        return;
    }
    // An execution that is being taken down has nobody to wake.
    let _ = ExecutionState::try_with(|state| {
        for thread in threads {
            if let Some(task) = state.try_get_mut(thread).filter(|task| !task.finished()) {
                task.unblock();
            }
        }
    });
}

/// Waiting after a failed exchange: the others go first.
#[derive(Debug, Default)]
pub struct Backoff(());

impl Backoff {
    /// A new one.
    #[must_use]
    pub fn new() -> Backoff {
        Backoff::default()
    }

    /// Lets another thread run.
    pub fn spin(&self) {
        if !std::thread::panicking() {
            thread::yield_now();
        }
    }

    /// As [`Backoff::spin`].
    pub fn snooze(&self) {
        self.spin();
    }
}
