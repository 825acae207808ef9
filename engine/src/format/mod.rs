//! The byte layout of every file, as pure functions: bytes in, `Result` out.
//!
//! Nothing here does I/O, keeps state or panics on any input. What a decoder accepts is whole: a [`Page`] that exists
//! has had its checksum, every offset, every length and the order of its cells checked, so that code which holds one
//! reads it without asking again. All integers are little-endian. `FORMAT.md` is the same in prose.

mod cell;
mod free_list;
mod key;
mod meta;
mod page;
mod page_writer;
mod record;
mod segment;
mod version_key;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ids::{DatabaseId, PageId};

pub(crate) use cell::{EXTENT_BYTES, Extent, LEAF_CELL_HEADER, LeafCell, LeafValue, max_key_bytes};
pub(crate) use free_list::{FreeListPage, FreeRun, runs_per_page};
pub(crate) use key::Key;
pub(crate) use meta::{META_BYTES, Meta, NO_GARBAGE, PageReference, Subtree};
pub(crate) use page::{BRANCH_CELL_HEADER, MAX_LEVEL, PAGE_HEADER, Page, PageKind, SLOT_BYTES};
pub(crate) use page_writer::PageWriter;
pub(crate) use record::{
    MAX_KEY_BYTES, MAX_VALUE_BYTES, Mutations, RECORD_ALIGNMENT, RECORD_HEADER, RecordHeader, RecordPlace,
    RecordWriter, starts_header,
};
pub(crate) use segment::{SEGMENT_HEADER, SEGMENT_START, SegmentHeader};
pub(crate) use version_key::{Separator, VersionKey};

/// The version of all file formats together. It changes whenever a byte of any of them does.
pub(crate) const FORMAT_VERSION: u32 = 2;

/// What is wrong with some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damage(pub(crate) &'static str);

/// Why bytes that carry a format version could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// They are not what they should be.
    Damaged(Damage),
    /// They are whole, but of another version.
    Version(u32),
}

/// XXH3-64 with a seed. The seed carries the place where the bytes belong, so that bytes which are whole but in the
/// wrong place fail their checksum.
pub(crate) fn checksum(bytes: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

/// The seed of the checksum of whatever starts at `page` of a database's data file.
pub(crate) fn page_seed(database: DatabaseId, page: PageId) -> u64 {
    database.0 ^ page.0
}

/// Reads an integer at `at`; the caller has checked that it lies inside.
pub(crate) fn get_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("the slice has two bytes"))
}

/// Reads an integer at `at`; the caller has checked that it lies inside.
pub(crate) fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("the slice has four bytes"))
}

/// Reads an integer at `at`; the caller has checked that it lies inside.
pub(crate) fn get_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("the slice has eight bytes"))
}

/// Writes the bytes of an integer at `at`.
pub(crate) fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}
