//! The tree of this build, as subjects of a test.

use proofmark_engine_variants::{Tracked, subject};

use crate::bwtree;

subject!(PLAIN, "plain", crate::bwtree, u64, std::convert::identity, u64::clone);

// SAFETY: it is two numbers that never change.
unsafe impl bwtree::Frozen for Tracked {}

// Neighbours have the same head.
// SAFETY: the order is that of the numbers, and half a number orders like the number.
unsafe impl bwtree::Key for Tracked {
    fn head(&self, _skip: usize) -> u64 {
        self.number() / 2
    }
}

subject!(TRACKED, "tracked", crate::bwtree, Tracked, Tracked::new, Tracked::number);
