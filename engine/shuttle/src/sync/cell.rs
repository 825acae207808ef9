//! Memory that one thread writes before it publishes it, and that others read afterwards.

use std::cell::Cell;

/// A place that is written through a shared reference. An access that begins while another one of the wrong kind goes on is a
/// panic.
#[derive(Debug, Default)]
pub struct UnsafeCell<T> {
    data: std::cell::UnsafeCell<T>,
    /// How many read it just now; -1 while somebody writes.
    users: Cell<isize>,
}

impl<T> UnsafeCell<T> {
    /// A new place.
    pub fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell { data: std::cell::UnsafeCell::new(value), users: Cell::new(0) }
    }

    /// Reads: nobody writes meanwhile.
    pub fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        assert!(self.users.get() >= 0, "a cell is read while it is written");
        self.users.set(self.users.get() + 1);
        let answer = read(self.data.get());
        self.users.set(self.users.get() - 1);
        answer
    }

    /// Writes: nobody else reads or writes meanwhile.
    pub fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        assert_eq!(self.users.get(), 0, "a cell is written while it is used");
        self.users.set(-1);
        let answer = write(self.data.get());
        self.users.set(0);
        answer
    }
}
