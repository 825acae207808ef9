//! What a map has asked the allocator for and not given back.
//!
//! Counted are the bytes of the requests, which are the same with every allocator; what an allocator adds to them,
//! and what a map takes from the operating system past the allocator, is not. While nobody counts, an allocation
//! costs one more load of a flag that never changes, and a branch that is never taken.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static IS_COUNTING: AtomicBool = AtomicBool::new(false);
/// Wraps around below zero, if more is given back than was taken since the start.
static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);

struct Counting;

/// Runs `fill`, and says by how many bytes what it built has grown the heap, beside it.
pub(crate) fn bytes_of<T>(fill: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE_BYTES.load(Ordering::SeqCst);
    IS_COUNTING.store(true, Ordering::SeqCst);
    let filled = fill();
    IS_COUNTING.store(false, Ordering::SeqCst);
    (filled, LIVE_BYTES.load(Ordering::SeqCst).wrapping_sub(before))
}

#[inline]
fn count(taken: usize, given_back: usize) {
    if IS_COUNTING.load(Ordering::Relaxed) {
        LIVE_BYTES.fetch_add(taken.wrapping_sub(given_back), Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator as it came; the counters touch no memory of theirs.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is the same there.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`; `System` gave the pointer out with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size, layout.size());
        // SAFETY: the caller keeps the contract of `realloc`; `System` gave the pointer out with this layout.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}
