//! A counted pointer that is read and replaced in one step, as `arc-swap` has it.
//!
//! The crate's readers leave a mark, and whoever replaces the pointer turns the marks that it finds into counts, so that
//! from the exchange on every reader of the old pointer is counted. Here a reader counts itself in the step in which it
//! reads: for everybody else that is the same.

use std::ops::Deref;
use std::sync::Mutex as PlainMutex;
use std::sync::{MutexGuard as PlainGuard, PoisonError};

use super::{Arc, point};

/// A pointer, or none, that threads share.
#[derive(Debug, Default)]
pub struct ArcSwapAny<T>(PlainMutex<T>);

/// A pointer that threads share.
pub type ArcSwap<T> = ArcSwapAny<Arc<T>>;

/// A pointer that threads share, and that may be missing.
pub type ArcSwapOption<T> = ArcSwapAny<Option<Arc<T>>>;

/// What was read, for as long as it is looked at.
#[derive(Debug)]
pub struct Guard<T>(T);

impl<T> ArcSwap<T> {
    /// A pointer to `value`.
    pub fn from_pointee(value: T) -> ArcSwap<T> {
        ArcSwapAny(PlainMutex::new(Arc::new(value)))
    }
}

impl<T: Clone> ArcSwapAny<T> {
    /// What it points to now, to be looked at.
    pub fn load(&self) -> Guard<T> {
        Guard(self.load_full())
    }

    /// What it points to now, to be kept.
    pub fn load_full(&self) -> T {
        point();
        self.lock().clone()
    }

    /// Has it point to something else.
    pub fn store(&self, new: T) {
        drop(self.swap(new));
    }

    /// Has it point to something else, and returns what it pointed to.
    pub fn swap(&self, new: T) -> T {
        point();
        std::mem::replace(&mut *self.lock(), new)
    }

    /// Nothing happens while it is held: it is there because the compiler can't know that threads take turns.
    fn lock(&self) -> PlainGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Guard<T> {
    /// As if `value` had been read.
    pub fn from_inner(value: T) -> Guard<T> {
        Guard(value)
    }

    /// What was read, to be kept.
    pub fn into_inner(guard: Guard<T>) -> T {
        guard.0
    }
}

impl<T> Deref for Guard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
