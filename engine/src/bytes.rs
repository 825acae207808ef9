//! Keys and values as reads return them: the bytes where they lie, not a copy.

use std::fmt;
use std::ops::{Deref, Range};

use crate::format::Page;
use crate::sync::Arc;

/// The bytes of a key or a value. Derefs to them, and keeps what holds them (a page of the cache, an entry of the write tier)
/// alive for as long as it exists.
#[derive(Clone)]
pub struct Bytes(Repr);

#[derive(Clone)]
enum Repr {
    Shared(Arc<[u8]>),
    InPage { page: Arc<Page>, range: Range<usize> },
}

impl Bytes {
    pub(crate) fn shared(bytes: Arc<[u8]>) -> Bytes {
        Bytes(Repr::Shared(bytes))
    }

    pub(crate) fn in_page(page: Arc<Page>, range: Range<usize>) -> Bytes {
        assert!(range.end <= page.bytes().len());
        Bytes(Repr::InPage { page, range })
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Shared(bytes) => bytes,
            Repr::InPage { page, range } => &page.bytes()[range.clone()],
        }
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Bytes) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}
