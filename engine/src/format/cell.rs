//! What the cells of a leaf hold.

use super::{MAX_KEY_BYTES, VersionKey};
use crate::ids::PageId;

/// Bytes of a leaf cell before its key.
pub(crate) const LEAF_CELL_HEADER: usize = 14;
/// Bytes that stand for the value in a leaf cell if the value lies in pages of its own.
pub(crate) const EXTENT_BYTES: usize = 16;

/// The longest key in a database with pages of `page_size` bytes: three of them fit into any page.
pub(crate) fn max_key_bytes(page_size: usize) -> usize {
    MAX_KEY_BYTES.min(page_size / 4)
}

/// Where a large value lies: contiguous pages of its own, which hold nothing but its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) start: PageId,
    pub(crate) bytes: u32,
    pub(crate) checksum: u64,
}

impl Extent {
    /// The number of pages it takes.
    pub(crate) fn pages(self, page_size: usize) -> u64 {
        u64::from(self.bytes).div_ceil(page_size as u64)
    }
}

/// What a leaf cell says of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeafValue<'a> {
    Inline(&'a [u8]),
    Tombstone,
    Extent(Extent),
}

impl LeafValue<'_> {
    /// The bytes it takes in its cell, after the key.
    pub(crate) fn size(&self) -> usize {
        match self {
            LeafValue::Inline(bytes) => bytes.len(),
            LeafValue::Tombstone => 0,
            LeafValue::Extent(_) => EXTENT_BYTES,
        }
    }
}

/// One version of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeafCell<'a> {
    pub(crate) version: VersionKey<'a>,
    pub(crate) value: LeafValue<'a>,
}
