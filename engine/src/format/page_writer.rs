//! Laying out pages.

use super::page::{
    BRANCH_CELL_HEADER, CELL_KEY_BYTES, CELL_TXN, KIND_BRANCH, KIND_FREE_LIST, KIND_LEAF, PAGE_HEADER,
    SLOT_BYTES, VALUE_EXTENT, VALUE_INLINE, VALUE_KIND_SHIFT, VALUE_TOMBSTONE,
};
use super::{
    Key, LEAF_CELL_HEADER, LeafCell, LeafValue, Page, Separator, Subtree, VersionKey, checksum, page_seed,
    put,
};
use crate::ids::{DatabaseId, Generation, PageId};

/// Lays out a tree page cell by cell, in order.
#[derive(Debug)]
pub(crate) struct PageWriter {
    bytes: Box<[u8]>,
    count: usize,
    cells_start: usize,
    shared: usize,
}

impl PageWriter {
    /// An empty page, whose keys will all begin with `shared`. That has to be the longest beginning they share; the
    /// first child of a branch doesn't count. The caller fills in at least one cell before it finishes the page.
    pub(crate) fn new(page_size: usize, shared: &[u8]) -> PageWriter {
        let mut bytes = vec![0; page_size].into_boxed_slice();
        let cells_start = page_size - shared.len();
        bytes[cells_start..].copy_from_slice(shared);
        PageWriter { bytes, count: 0, cells_start, shared: shared.len() }
    }

    /// Adds a cell to a leaf.
    ///
    /// # Panics
    /// If the page is full: the caller has added up the sizes.
    pub(crate) fn leaf_cell(&mut self, cell: &LeafCell<'_>) {
        let rest = cell.version.key.skip(self.shared);
        let (kind, value_bytes) = match cell.value {
            LeafValue::Inline(bytes) => {
                (VALUE_INLINE, u32::try_from(bytes.len()).expect("inline values are smaller than a page"))
            }
            LeafValue::Tombstone => (VALUE_TOMBSTONE, 0),
            LeafValue::Extent(extent) => (VALUE_EXTENT, extent.bytes),
        };
        let out = self.cell(LEAF_CELL_HEADER, cell.version, rest, cell.value.size());
        put(out, 10, (kind << VALUE_KIND_SHIFT | value_bytes).to_le_bytes());
        let value_start = LEAF_CELL_HEADER + rest.len();
        match cell.value {
            LeafValue::Inline(bytes) => out[value_start..].copy_from_slice(bytes),
            LeafValue::Tombstone => {}
            LeafValue::Extent(extent) => {
                put(out, value_start, extent.start.0.to_le_bytes());
                put(out, value_start + 8, extent.checksum.to_le_bytes());
            }
        }
    }

    /// Adds a child to a branch. The lower bound of the first one is not written: the parent knows it.
    ///
    /// # Panics
    /// If the page is full: the caller has added up the sizes.
    pub(crate) fn branch_cell(&mut self, lower: &Separator, child: Subtree) {
        let lowest = Separator::lowest();
        let (lower, shared) = if self.count == 0 { (&lowest, 0) } else { (lower, self.shared) };
        let out = self.cell(BRANCH_CELL_HEADER, lower.as_key(), lower.as_key().key.skip(shared), 0);
        put(out, 10, child.page.page.0.to_le_bytes());
        put(out, 18, child.page.checksum.to_le_bytes());
        put(out, 26, child.newest.0.to_le_bytes());
        put(out, 34, child.oldest_garbage.0.to_le_bytes());
    }

    /// Takes room for the next cell, and fills in what cells of both kinds have.
    fn cell(&mut self, header: usize, version: VersionKey<'_>, rest: Key<'_>, value: usize) -> &mut [u8] {
        let slot = PAGE_HEADER + self.count * SLOT_BYTES;
        let size = header + rest.len() + value;
        assert!(slot + SLOT_BYTES + size <= self.cells_start, "the caller has added up the sizes");
        self.cells_start -= size;
        let offset = u16::try_from(self.cells_start).expect("a page has at most 65536 bytes");
        put(&mut self.bytes, slot, offset.to_le_bytes());
        put(&mut self.bytes, slot + 2, rest.head().to_be_bytes());
        self.count += 1;
        let out = &mut self.bytes[self.cells_start..self.cells_start + size];
        let key_bytes = u16::try_from(rest.len()).expect("keys are at most 4096 bytes");
        put(out, CELL_KEY_BYTES, key_bytes.to_le_bytes());
        put(out, CELL_TXN, version.txn.0.to_le_bytes());
        let [start, end] = rest.parts();
        out[header..header + start.len()].copy_from_slice(start);
        out[header + start.len()..header + rest.len()].copy_from_slice(end);
        out
    }

    /// Adds header and checksum. Level 0 is a leaf, every other a branch.
    pub(crate) fn finish(
        mut self,
        database: DatabaseId,
        id: PageId,
        generation: Generation,
        level: u8,
    ) -> Page {
        assert!(self.count > 0, "tree pages are never empty");
        let count = u16::try_from(self.count).expect("a cell takes more than one of at most 65536 bytes");
        let cells_start = u16::try_from(self.cells_start).expect("a cell starts before the page ends");
        let shared = u16::try_from(self.shared).expect("keys are at most 4096 bytes");
        put(&mut self.bytes, 26, count.to_le_bytes());
        put(&mut self.bytes, 28, cells_start.to_le_bytes());
        put(&mut self.bytes, 30, shared.to_le_bytes());
        let kind = if level == 0 { KIND_LEAF } else { KIND_BRANCH };
        seal(self.bytes, database, id, generation, kind, level)
    }

    /// A free-list page with the given contents after the header.
    pub(crate) fn free_list(
        page_size: usize,
        database: DatabaseId,
        id: PageId,
        generation: Generation,
        contents: &[u8],
    ) -> Page {
        let mut bytes = vec![0; page_size].into_boxed_slice();
        bytes[PAGE_HEADER..PAGE_HEADER + contents.len()].copy_from_slice(contents);
        seal(bytes, database, id, generation, KIND_FREE_LIST, 0)
    }
}

fn seal(
    mut bytes: Box<[u8]>,
    database: DatabaseId,
    id: PageId,
    generation: Generation,
    kind: u8,
    level: u8,
) -> Page {
    put(&mut bytes, 8, id.0.to_le_bytes());
    put(&mut bytes, 16, generation.0.to_le_bytes());
    bytes[24] = kind;
    bytes[25] = level;
    let sum = checksum(&bytes[8..], page_seed(database, id));
    put(&mut bytes, 0, sum.to_le_bytes());
    Page::sealed(bytes)
}
