//! Atomics: each operation is a step of its own.
//!
//! Inside are the standard library's, which cost less than shuttle's own and take the same room. Only one thread of the
//! operating system ever uses them, so that they are as good as sequentially consistent, whatever order is asked for.

use std::sync::atomic as imp;

use super::point;

pub use std::sync::atomic::Ordering;

/// What all kinds have.
macro_rules! operations {
    ($value:ty) => {
        /// Reads it.
        pub fn load(&self, order: Ordering) -> $value {
            point();
            self.0.load(order)
        }

        /// Writes it.
        pub fn store(&self, value: $value, order: Ordering) {
            point();
            self.0.store(value, order);
        }

        /// Writes it, and returns what was there.
        pub fn swap(&self, value: $value, order: Ordering) -> $value {
            point();
            self.0.swap(value, order)
        }

        /// Writes `new` if `current` is there, and returns what was.
        ///
        /// # Errors
        /// Something else is there.
        pub fn compare_exchange(
            &self,
            current: $value,
            new: $value,
            success: Ordering,
            failure: Ordering,
        ) -> Result<$value, $value> {
            point();
            self.0.compare_exchange(current, new, success, failure)
        }

        /// As `compare_exchange`: it never fails without a reason here.
        ///
        /// # Errors
        /// Something else is there.
        pub fn compare_exchange_weak(
            &self,
            current: $value,
            new: $value,
            success: Ordering,
            failure: Ordering,
        ) -> Result<$value, $value> {
            self.compare_exchange(current, new, success, failure)
        }
    };
}

macro_rules! atomic {
    ($name:ident, $value:ty) => {
        #[doc = concat!("The standard library's `", stringify!($name), "`, step by step.")]
        #[derive(Debug, Default)]
        pub struct $name(imp::$name);

        impl $name {
            /// One that holds `value`.
            pub const fn new(value: $value) -> $name {
                $name(imp::$name::new(value))
            }

            operations!($value);
        }
    };
}

macro_rules! number {
    ($name:ident, $value:ty) => {
        atomic!($name, $value);

        impl $name {
            /// Adds to it, and returns what was there.
            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                point();
                self.0.fetch_add(value, order)
            }

            /// Writes what `change` makes of what is there, unless that is nothing. `change` passes no point.
            ///
            /// # Errors
            /// What is there, if nothing is written.
            pub fn fetch_update(
                &self,
                success: Ordering,
                failure: Ordering,
                change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                point();
                self.0.fetch_update(success, failure, change)
            }
        }
    };
}

atomic!(AtomicBool, bool);
number!(AtomicIsize, isize);
number!(AtomicU8, u8);
number!(AtomicU32, u32);
number!(AtomicU64, u64);
number!(AtomicUsize, usize);

/// The standard library's `AtomicPtr`, step by step.
#[derive(Debug)]
pub struct AtomicPtr<T>(imp::AtomicPtr<T>);

impl<T> AtomicPtr<T> {
    /// One that holds `value`.
    pub const fn new(value: *mut T) -> AtomicPtr<T> {
        AtomicPtr(imp::AtomicPtr::new(value))
    }

    operations!(*mut T);
}

impl<T> Default for AtomicPtr<T> {
    fn default() -> AtomicPtr<T> {
        AtomicPtr::new(std::ptr::null_mut())
    }
}
