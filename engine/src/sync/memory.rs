//! Raw memory for pages, from the global allocator.
//!
//! Allocators are slow and wasteful at alignments above their own: they cut what they find to fit, and keep the
//! cuttings. So more is asked for at an ordinary alignment, and the byte before what is handed out says how far the two
//! are apart.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// What every allocator aligns to.
const ORDINARY: usize = 16;

/// What is asked for in place of a layout.
fn padded(layout: Layout) -> Layout {
    assert!(layout.size() > 0, "a page has a header");
    assert!(layout.align() >= ORDINARY && layout.align() <= 128, "the distance fits a byte");
    Layout::from_size_align(layout.size() + layout.align(), ORDINARY)
        .expect("a page is far smaller than memory")
}

/// Memory of this layout, which isn't empty.
pub(crate) fn allocate(layout: Layout) -> NonNull<u8> {
    let padded = padded(layout);
    // SAFETY: the layout isn't empty.
    let memory = unsafe { alloc(padded) };
    let Some(memory) = NonNull::new(memory) else { handle_alloc_error(padded) };
    // At least one byte in front is this module's own: the distance is from 16 to the alignment.
    let distance = layout.align() - memory.addr().get() % layout.align();
    // SAFETY: the distance is at most the alignment, which is how much larger the allocation is.
    unsafe {
        let aligned = memory.add(distance);
        aligned.sub(1).write(distance as u8);
        aligned
    }
}

/// Gives memory back.
///
/// # Safety
/// - It came from [`allocate`] with this layout.
/// - Nobody uses it from now on.
pub(crate) unsafe fn release(memory: NonNull<u8>, layout: Layout) {
    // SAFETY: by the promise there is a byte in front that says how far in front the allocation begins.
    unsafe {
        let distance = usize::from(memory.sub(1).read());
        dealloc(memory.sub(distance).as_ptr(), padded(layout));
    }
}

/// Asks for the cache line at an address, which need not be anybody's, so that it is on its way before it is needed.
#[inline]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that could be observed, from any address; every x86-64 has it.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
