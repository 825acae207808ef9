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
    Short { length: u8, bytes: [u8; SHORT_BYTES] },
    Shared(Arc<[u8]>),
    InPage { page: Arc<Page>, start: u32, end: u32 },
}

/// As many as make the whole no larger than four words.
const SHORT_BYTES: usize = 30;

impl Bytes {
    pub(crate) fn shared(bytes: Arc<[u8]>) -> Bytes {
        Bytes(Repr::Shared(bytes))
    }

    pub(crate) fn in_page(page: Arc<Page>, range: Range<usize>) -> Bytes {
        assert!(range.start <= range.end && range.end <= page.bytes().len());
        let [start, end] =
            [range.start, range.end].map(|at| u32::try_from(at).expect("a page has at most 65536 bytes"));
        Bytes(Repr::InPage { page, start, end })
    }

    /// The parts in one piece, copied; none if that is not short.
    pub(crate) fn short(parts: [&[u8]; 2]) -> Option<Bytes> {
        let [start, rest] = parts;
        let length = start.len() + rest.len();
        let mut bytes = [0; SHORT_BYTES];
        bytes.get_mut(..length)?[start.len()..].copy_from_slice(rest);
        bytes[..start.len()].copy_from_slice(start);
        Some(Bytes(Repr::Short { length: u8::try_from(length).ok()?, bytes }))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Shared(bytes) => bytes,
            Repr::Short { length, bytes } => &bytes[..usize::from(*length)],
            Repr::InPage { page, start, end } => &page.bytes()[*start as usize..*end as usize],
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
