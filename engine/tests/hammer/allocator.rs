//! The allocator of this process: it counts to the byte, and keeps what is freed poisoned for a while.
//!
//! Every piece of memory has a header of its size and state. Memory that is given back is filled with a pattern and goes
//! into a ring of the latest such pieces. Whoever reads it there reads the pattern, which no value, no key and no page
//! looks like; whoever writes to it is found out when it leaves the ring; whoever frees it again, at once.
//!
//! A checker of memory sees through neither header nor ring, so for its sake the ring can be left out.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Counting;

/// In front of every piece, which begins at its alignment.
#[repr(C)]
struct Header {
    size: usize,
    /// The alignment, and one of the states in the high half.
    state: usize,
}

const IN_USE: usize = 0x7573_6564 << 32;
const FREED: usize = 0x6672_6565 << 32;
const STATE: usize = usize::MAX << 32;

/// What freed memory is filled with.
const POISON: u8 = 0xdb;

/// Larger pieces are not kept.
const KEPT_BYTES_MAX: usize = 16 << 10;

static IS_KEEPING: AtomicBool = AtomicBool::new(false);
static RING: [AtomicPtr<u8>; 1024] = [const { AtomicPtr::new(std::ptr::null_mut()) }; 1024];
static RING_NEXT: AtomicUsize = AtomicUsize::new(0);
static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Bytes that were asked for and not given back.
pub(crate) fn live_bytes() -> usize {
    LIVE_BYTES.load(Ordering::SeqCst)
}

/// The most there were since this was asked last.
pub(crate) fn take_peak_bytes() -> usize {
    PEAK_BYTES.swap(live_bytes(), Ordering::SeqCst)
}

/// From now on freed memory is poisoned and kept.
pub(crate) fn keep_freed_memory() {
    IS_KEEPING.store(true, Ordering::SeqCst);
}

/// Nothing can be unwound through an allocator.
fn abort(what: &str) -> ! {
    let _ = writeln!(std::io::stderr(), "hammer: {what}\n{}", std::backtrace::Backtrace::force_capture());
    std::process::abort()
}

/// How far the header's end is from the beginning of the allocation, and all that is allocated.
fn with_header(layout: Layout) -> (usize, Layout) {
    let distance = layout.align().max(size_of::<Header>());
    let size = layout.size() + distance;
    (distance, Layout::from_size_align(size, distance).expect("no layout comes close to the limit"))
}

// SAFETY: memory comes from the system's allocator, with a header in front that keeps the alignment; what is handed out
// lies behind the header, within that memory, and isn't given back to the system before it is deallocated.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (distance, whole) = with_header(layout);
        // SAFETY: the layout has room for a header, so it isn't empty.
        let start = unsafe { System.alloc(whole) };
        if start.is_null() {
            return start;
        }
        let live = LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        if live > PEAK_BYTES.load(Ordering::Relaxed) {
            PEAK_BYTES.fetch_max(live, Ordering::Relaxed);
        }
        // SAFETY: the distance is the size of a header at least, and a multiple of its alignment.
        unsafe {
            let memory = start.add(distance);
            memory
                .cast::<Header>()
                .sub(1)
                .write(Header { size: layout.size(), state: IN_USE | layout.align() });
            memory
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `alloc` wrote a header there. If the memory was freed before, it may be in the ring, header and all.
        let header = unsafe { &mut *memory.cast::<Header>().sub(1) };
        if header.state & STATE == FREED {
            abort("memory was freed twice");
        }
        if (header.size, header.state) != (layout.size(), IN_USE | layout.align()) {
            abort("memory was freed that is no allocation, or with another layout");
        }
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        header.state = FREED | layout.align();
        let mut due = memory;
        if layout.size() <= KEPT_BYTES_MAX && IS_KEEPING.load(Ordering::Relaxed) {
            // SAFETY: it has this size, and is the allocator's again.
            unsafe { memory.write_bytes(POISON, layout.size()) };
            let place = RING_NEXT.fetch_add(1, Ordering::Relaxed) % RING.len();
            // Acquire and release: whoever takes the piece out reads what was written here.
            due = RING[place].swap(memory, Ordering::AcqRel);
            if due.is_null() {
                return;
            }
            // SAFETY: what was in the ring is this thread's alone now, and was filled with the pattern.
            unsafe { check_poison(due) };
        }
        // SAFETY: `due` is a piece that was deallocated, with its header, and whose turn came once.
        unsafe { give_back(due) };
    }
}

/// Whether freed memory is as it was left.
///
/// # Safety
/// It was taken out of the ring by this thread.
unsafe fn check_poison(memory: *mut u8) {
    // SAFETY: the caller's promise; the header says how large it is.
    let bytes = unsafe {
        let size = (*memory.cast::<Header>().sub(1)).size;
        std::slice::from_raw_parts(memory, size)
    };
    // SAFETY: every byte may be part of an integer.
    let (before, words, behind) = unsafe { bytes.align_to::<u64>() };
    let is_whole = words.iter().all(|word| *word == u64::from_ne_bytes([POISON; 8]))
        && before.iter().chain(behind).all(|byte| *byte == POISON);
    if !is_whole {
        abort("memory was written to after it was freed");
    }
}

/// Gives a piece back to the system.
///
/// # Safety
/// It came from `alloc`, was deallocated, and nobody else gives it back.
unsafe fn give_back(memory: *mut u8) {
    // SAFETY: the caller's promise; the header, and so the layout, is as `alloc` and `dealloc` left it.
    unsafe {
        let Header { size, state } = memory.cast::<Header>().sub(1).read();
        let layout = Layout::from_size_align_unchecked(size, state & !STATE);
        let (distance, whole) = with_header(layout);
        System.dealloc(memory.sub(distance), whole);
    }
}
