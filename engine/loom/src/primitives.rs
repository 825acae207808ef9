//! What the rest of this package is built from: loom's atomics, cells and threads.

pub use loom::cell::UnsafeCell;
pub use loom::sync::atomic;
pub use loom::thread;

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
        thread::yield_now();
    }

    /// As [`Backoff::spin`].
    pub fn snooze(&self) {
        thread::yield_now();
    }
}
