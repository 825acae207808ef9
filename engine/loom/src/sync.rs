//! The door of this build: what `crate::sync` is to the engine.
//!
//! Reference counts are the standard library's. They guard nothing that the tree's readers and writers race for.

pub(crate) use std::sync::Arc;

pub(crate) use crate::primitives::Backoff;
pub(crate) use crate::primitives::atomic::{AtomicIsize, AtomicPtr, AtomicU32, AtomicU64, Ordering};

pub(crate) mod cell {
    pub(crate) use crate::primitives::UnsafeCell;
}

pub(crate) mod epoch {
    pub(crate) use crate::epoch::{Collector, Guard};
}

pub(crate) mod memory {
    pub(crate) use crate::memory::{allocate, release};

    /// There are no cache lines here.
    pub(crate) fn prefetch<T>(_address: *const T) {}
}

/// There are no cache lines here.
#[derive(Debug, Default)]
pub(crate) struct CachePadded<T>(T);

impl<T> CachePadded<T> {
    pub(crate) fn new(value: T) -> CachePadded<T> {
        CachePadded(value)
    }
}

impl<T> std::ops::Deref for CachePadded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
