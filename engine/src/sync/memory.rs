//! Raw memory for pages, from the global allocator.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Memory of this layout, which isn't empty.
pub(crate) fn allocate(layout: Layout) -> NonNull<u8> {
    assert!(layout.size() > 0, "a page has a header");
    // SAFETY: the layout isn't empty.
    let memory = unsafe { alloc(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Gives memory back.
///
/// # Safety
/// - It came from [`allocate`] with this layout.
/// - Nobody uses it from now on.
pub(crate) unsafe fn release(memory: NonNull<u8>, layout: Layout) {
    // SAFETY: the caller's promise.
    unsafe { dealloc(memory.as_ptr(), layout) };
}
