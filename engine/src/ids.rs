//! Names of things: newtypes, so that none can stand where another is meant.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// The one after this.
            #[must_use]
            pub fn next(self) -> $name {
                $name(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// The position of a commit in the one order of all commits, without gaps. 0 is the empty database.
    TxnId
}
id! {
    /// The position of a page in the data file, in pages.
    PageId
}
id! {
    /// A log segment. Later segments have higher ids.
    SegmentId
}
id! {
    /// The number of a checkpoint: each one writes the meta page of the next generation.
    Generation
}

/// Tells one database from every other: drawn at random when it is created, and part of the seed of every checksum, so
/// that no page and no record of another database is taken for one of this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DatabaseId(pub u64);

impl fmt::Display for DatabaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
