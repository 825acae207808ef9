//! Keys and values that know whether they are alive.
//!
//! Each one has a number of its own, which moves with its bits. Dropped twice, used after it was dropped, or not dropped at
//! the end: each is a panic, and nothing worse, because there is no memory behind it.

use std::cell::RefCell;
use std::cmp::Ordering;

/// A number whose instances are tracked, on each thread of the operating system by itself.
#[derive(Debug)]
pub struct Tracked {
    number: u64,
    instance: usize,
}

thread_local! {
    /// For each instance of the execution that runs on this thread, whether it is alive.
    static ALIVE: RefCell<Vec<bool>> = const { RefCell::new(Vec::new()) };
}

impl Tracked {
    /// A new instance.
    #[must_use]
    pub fn new(number: u64) -> Tracked {
        let instance = ALIVE.with_borrow_mut(|alive| {
            alive.push(true);
            alive.len() - 1
        });
        Tracked { number, instance }
    }

    /// The number.
    ///
    /// # Panics
    /// If this instance was dropped.
    #[must_use]
    pub fn number(&self) -> u64 {
        let is_alive = ALIVE.with_borrow(|alive| alive.get(self.instance).copied());
        assert_eq!(is_alive, Some(true), "{self:?} is used after it was dropped");
        self.number
    }
}

/// Begins an execution on this thread: what an earlier one left behind is forgotten.
pub fn begin() {
    ALIVE.with_borrow_mut(Vec::clear);
}

/// Ends an execution.
///
/// # Panics
/// If something was not dropped.
pub fn end() {
    let left = ALIVE.with_borrow(|alive| alive.iter().filter(|is_alive| **is_alive).count());
    assert_eq!(left, 0, "keys and values that were not dropped");
}

impl Drop for Tracked {
    fn drop(&mut self) {
        // In an execution that has failed already, a second panic would end the process.
        if std::thread::panicking() {
            return;
        }
        let was_alive = ALIVE.with_borrow_mut(|alive| alive.get_mut(self.instance).map(std::mem::take));
        assert_eq!(was_alive, Some(true), "{self:?} is dropped twice");
    }
}

impl Clone for Tracked {
    fn clone(&self) -> Tracked {
        Tracked::new(self.number())
    }
}

impl PartialEq for Tracked {
    fn eq(&self, other: &Tracked) -> bool {
        self.number() == other.number()
    }
}

impl Eq for Tracked {}

impl PartialOrd for Tracked {
    fn partial_cmp(&self, other: &Tracked) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Tracked {
    fn cmp(&self, other: &Tracked) -> Ordering {
        self.number().cmp(&other.number())
    }
}
