//! The door of this build: what `crate::sync` is to the engine.
//!
//! Reference counts are the standard library's. They guard nothing that the tree's readers and writers race for.

pub(crate) use std::sync::Arc;

pub(crate) use crate::cache::CachePadded;
pub(crate) use crate::primitives::Backoff;
pub(crate) use crate::primitives::atomic::{AtomicIsize, AtomicPtr, AtomicU32, AtomicU64, Ordering};

pub(crate) mod cell {
    pub(crate) use crate::primitives::UnsafeCell;
}

pub(crate) mod epoch {
    pub(crate) use crate::epoch::{Collector, Guard};
}

pub(crate) mod memory {
    pub(crate) use crate::cache::prefetch;
    pub(crate) use crate::memory::{allocate, release};
}
