//! The copies of the tree that have a mistake each, as subjects of a test.

use proofmark_engine_variants::{Subject, Tracked, subject};

/// The copies.
macro_rules! planted {
    ($($name:ident)*) => {
        $(
            mod $name {
                use super::{Tracked, subject};

                // SAFETY: it is two numbers that never change.
                unsafe impl crate::planted::$name::Frozen for Tracked {}

                // SAFETY: the order is that of the numbers, and half a number orders like the number.
                unsafe impl crate::planted::$name::Key for Tracked {
                    fn head(&self, _skip: usize) -> u64 {
                        self.number() / 2
                    }
                }

                subject!(SUBJECT, stringify!($name), crate::planted::$name, Tracked, Tracked::new, Tracked::number);
            }
        )*

        /// Each copy, by the name of its mistake.
        pub const PLANTED: &[Subject] = &[$($name::SUBJECT),*];
    };
}

crate::planted::with_each!(planted);
