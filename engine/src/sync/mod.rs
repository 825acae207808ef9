//! The only door to locks, atomics and reference counts.
//!
//! Everything concurrent in the engine is built from what this module exports, so that the same sources can be
//! compiled against another implementation of these primitives and explored schedule by schedule. The locks here
//! differ from the standard library's in one way: a lock whose holder panicked is never entered again, because what it
//! guards may be half changed.

pub(crate) mod cell;
pub(crate) mod epoch;
pub(crate) mod memory;

use std::sync as imp;

pub(crate) use arc_swap::{ArcSwap, ArcSwapOption, Guard};
pub(crate) use crossbeam_utils::{Backoff, CachePadded};
pub(crate) use imp::atomic::{AtomicBool, AtomicIsize, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};
pub(crate) use imp::{Arc, MutexGuard, OnceLock, Weak};

const PANICKED: &str = "no thread panicked while it held this lock";

/// Mutual exclusion.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(imp::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect(PANICKED)
    }

    /// The lock, unless somebody holds it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(imp::TryLockError::WouldBlock) => None,
            Err(imp::TryLockError::Poisoned(_)) => panic!("{PANICKED}"),
        }
    }
}

/// Waiting for what another thread does under a [`Mutex`].
#[derive(Debug, Default)]
pub(crate) struct Condvar(imp::Condvar);

impl Condvar {
    /// Gives up the lock, waits to be notified, and takes the lock again. May return without a notification.
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).expect(PANICKED)
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}
