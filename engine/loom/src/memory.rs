//! Memory that remembers.
//!
//! What is released stays readable until the execution is over, with its first bytes overwritten: there the header of a
//! page says whether it is alive, so that a page that is used too late is found out by the tree's own assertion, and not
//! by a crash. What is released twice, with another layout, or not at all, is a panic.
//!
//! An execution runs its threads one at a time on one thread of the operating system, which has a ledger of its own. It is
//! over at its [`end`], or, if nobody said where it [begins](begin), whenever nothing is in use: then there is no tree that
//! somebody could be in.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ptr::NonNull;

/// What the first bytes of released memory say.
const RELEASED: u8 = 0xdd;

/// So many bytes of released memory are overwritten: not more, so that whoever reads on finds what was there.
const OVERWRITTEN: usize = 4;

#[derive(Default)]
struct Ledger {
    live: BTreeMap<usize, Layout>,
    released: BTreeMap<usize, Layout>,
    /// Somebody said where the execution begins, and will say where it ends.
    has_begun: bool,
}

thread_local! {
    static LEDGER: RefCell<Ledger> = RefCell::default();
}

/// Memory of this layout, which isn't empty.
///
/// # Panics
/// If it is empty.
#[must_use]
pub fn allocate(layout: Layout) -> NonNull<u8> {
    assert!(layout.size() >= OVERWRITTEN, "a page has a header");
    // SAFETY: the layout isn't empty.
    let memory = unsafe { alloc(layout) };
    let memory = NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout));
    LEDGER.with_borrow_mut(|ledger| ledger.live.insert(memory.as_ptr().expose_provenance(), layout));
    memory
}

/// Gives memory back.
///
/// # Safety
/// - It came from [`allocate`] with this layout.
/// - Nobody uses it from now on. Both is checked here, as far as it can be.
///
/// # Panics
/// If it is not in use, or was allocated with another layout.
pub unsafe fn release(memory: NonNull<u8>, layout: Layout) {
    LEDGER.with_borrow_mut(|ledger| {
        let address = memory.addr().get();
        let allocated = ledger.live.remove(&address);
        // After a failure things may be in any state, and a second panic would end the process.
        if std::thread::panicking() && allocated != Some(layout) {
            return;
        }
        assert!(!ledger.released.contains_key(&address), "memory is released twice");
        assert_eq!(allocated, Some(layout), "memory is released as it was allocated");
        ledger.released.insert(address, layout);
        // SAFETY: it was live up to now, and is still allocated.
        unsafe { memory.as_ptr().write_bytes(RELEASED, OVERWRITTEN) };
        if ledger.live.is_empty() && !ledger.has_begun {
            // SAFETY: pages are used in trees only, and each of them has one.
            unsafe { ledger.give_back() };
        }
    });
}

/// Begins an execution: whatever an execution that failed left behind is forgotten, and stays allocated.
pub fn begin() {
    LEDGER.with_borrow_mut(|ledger| *ledger = Ledger { has_begun: true, ..Ledger::default() });
}

/// Ends an execution, and returns how many pieces of memory it used.
///
/// # Panics
/// If some were not released.
pub fn end() -> usize {
    let mut ledger = LEDGER.take();
    assert_eq!(ledger.live.len(), 0, "memory that was not released");
    let count = ledger.released.len();
    // SAFETY: no thread of the execution is left that could use it.
    unsafe { ledger.give_back() };
    count
}

impl Ledger {
    /// Gives back what was released.
    ///
    /// # Safety
    /// Nobody uses it from now on.
    unsafe fn give_back(&mut self) {
        for (address, layout) in std::mem::take(&mut self.released) {
            let memory = std::ptr::with_exposed_provenance_mut::<u8>(address);
            // SAFETY: it was allocated with this layout, and by the promise nobody uses it.
            unsafe { dealloc(memory, layout) };
        }
    }
}
