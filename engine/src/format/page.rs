//! Pages: a header, and in tree pages slots that grow upwards, cells that grow downwards, and at the very end the
//! beginning that all keys of the page share, which the cells leave out.
//!
//! A slot carries the first four bytes of what its cell has of the key, so that most steps of a binary search look at
//! slots only, which lie together, and not at a cell each, which don't.
//!
//! A [`Page`] is checked once, when its bytes come from disk, and then read without further checks.

use std::cmp::Ordering;
use std::ops::Range;

use super::{
    Damage, EXTENT_BYTES, Extent, Key, LEAF_CELL_HEADER, LeafCell, LeafValue, MAX_VALUE_BYTES, PageReference,
    Separator, Subtree, VersionKey, checksum, get_u16, get_u32, get_u64, max_key_bytes, page_seed,
};
use crate::ids::{DatabaseId, Generation, PageId, TxnId};

/// Bytes before the slots of every page.
pub(crate) const PAGE_HEADER: usize = 32;
/// Bytes of one slot: the offset of its cell, and the head of its key.
pub(crate) const SLOT_BYTES: usize = 6;
/// Bytes of a branch cell before its key.
pub(crate) const BRANCH_CELL_HEADER: usize = 42;
/// No tree is higher: with two children to a branch it would have more leaves than a file has bytes.
pub(crate) const MAX_LEVEL: u8 = 62;

/// Where cells of both kinds have the length of their part of the key.
pub(super) const CELL_KEY_BYTES: usize = 0;
/// Where cells of both kinds have their transaction.
pub(super) const CELL_TXN: usize = 2;

pub(super) const KIND_LEAF: u8 = 1;
pub(super) const KIND_BRANCH: u8 = 2;
pub(super) const KIND_FREE_LIST: u8 = 3;

pub(super) const VALUE_INLINE: u32 = 0;
pub(super) const VALUE_TOMBSTONE: u32 = 1;
pub(super) const VALUE_EXTENT: u32 = 2;
/// The kind of a value takes the bits from here up, its length those below.
pub(super) const VALUE_KIND_SHIFT: u32 = 30;

/// What a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageKind {
    Leaf,
    Branch,
    FreeList,
}

/// A whole page, checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    bytes: Box<[u8]>,
}

impl Page {
    /// Checks everything there is to check about a page on its own: that it is page `id` of `database`, its checksum,
    /// and for tree pages every slot, every length and the order of the cells.
    pub(crate) fn decode(bytes: Box<[u8]>, database: DatabaseId, id: PageId) -> Result<Page, Damage> {
        assert!(bytes.len() >= 4096, "pages have at least 4096 bytes");
        if get_u64(&bytes, 0) != checksum(&bytes[8..], page_seed(database, id)) {
            return Err(Damage("the page's checksum doesn't match"));
        }
        if get_u64(&bytes, 8) != id.0 {
            return Err(Damage("the page bears another page's number"));
        }
        let page = Page { bytes };
        match page.bytes[24] {
            KIND_LEAF if page.level() == 0 => page.check_cells(LEAF_CELL_HEADER)?,
            KIND_BRANCH if (1..=MAX_LEVEL).contains(&page.level()) => page.check_cells(BRANCH_CELL_HEADER)?,
            KIND_FREE_LIST if page.level() == 0 && page.bytes[26..PAGE_HEADER] == [0; 6] => {}
            _ => return Err(Damage("the page is of no known kind, or of an impossible height")),
        }
        Ok(page)
    }

    /// A page that was just laid out.
    pub(super) fn sealed(bytes: Box<[u8]>) -> Page {
        Page { bytes }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn reference(&self) -> PageReference {
        PageReference { page: PageId(get_u64(&self.bytes, 8)), checksum: get_u64(&self.bytes, 0) }
    }

    pub(crate) fn generation(&self) -> Generation {
        Generation(get_u64(&self.bytes, 16))
    }

    pub(crate) fn kind(&self) -> PageKind {
        match self.bytes[24] {
            KIND_LEAF => PageKind::Leaf,
            KIND_BRANCH => PageKind::Branch,
            _ => PageKind::FreeList,
        }
    }

    /// The height above the leaves.
    pub(crate) fn level(&self) -> u8 {
        self.bytes[25]
    }

    /// The number of cells.
    pub(crate) fn count(&self) -> usize {
        usize::from(get_u16(&self.bytes, 26))
    }

    /// Bytes of the page that slots, cells and the shared beginning of the keys take.
    pub(crate) fn used(&self) -> usize {
        self.count() * SLOT_BYTES + self.bytes.len() - self.cells_start()
    }

    /// The cell at `index` of a leaf.
    pub(crate) fn leaf(&self, index: usize) -> LeafCell<'_> {
        debug_assert_eq!(self.kind(), PageKind::Leaf);
        let at = self.slot(index);
        let value = self.value_at(at).expect("the page was checked when it was read");
        LeafCell { version: self.version_at(at), value }
    }

    /// The version at `index` of a leaf.
    pub(crate) fn version(&self, index: usize) -> VersionKey<'_> {
        self.version_at(self.slot(index))
    }

    fn version_at(&self, at: usize) -> VersionKey<'_> {
        VersionKey { key: Key::new(self.shared(), self.rest(at, LEAF_CELL_HEADER)), txn: self.txn(at) }
    }

    /// Where in the page the inline value of the leaf cell at `index` lies.
    pub(crate) fn inline_range(&self, index: usize) -> Range<usize> {
        let at = self.slot(index);
        let start = at + LEAF_CELL_HEADER + self.rest_bytes(at);
        start..start + self.value_word(at).1 as usize
    }

    /// Where in the page the key of the leaf cell at `index` lies, if it lies there in one.
    pub(crate) fn key_range(&self, index: usize) -> Option<Range<usize>> {
        let start = self.slot(index) + LEAF_CELL_HEADER;
        self.shared().is_empty().then(|| start..start + self.rest_bytes(self.slot(index)))
    }

    /// The child at `index` of a branch, with the lower bound of its subtree. The bound of the first child is the
    /// branch's own, which its parent knows; here it is the lowest of all.
    pub(crate) fn branch(&self, index: usize) -> (Separator, Subtree) {
        let at = self.slot(index);
        let shared = if index == 0 { &[] } else { self.shared() };
        let key = Key::new(shared, self.rest(at, BRANCH_CELL_HEADER)).to_vec();
        (Separator { key, txn: self.txn(at) }, self.child(index))
    }

    /// The child at `index` of a branch.
    pub(crate) fn child(&self, index: usize) -> Subtree {
        debug_assert_eq!(self.kind(), PageKind::Branch);
        let (bytes, at) = (&self.bytes, self.slot(index));
        Subtree {
            page: PageReference { page: PageId(get_u64(bytes, at + 10)), checksum: get_u64(bytes, at + 18) },
            newest: TxnId(get_u64(bytes, at + 26)),
            oldest_garbage: TxnId(get_u64(bytes, at + 34)),
        }
    }

    /// The first index of a leaf whose cell is at or after `target`.
    pub(crate) fn lower_bound(&self, target: VersionKey<'_>) -> usize {
        self.partition(0, LEAF_CELL_HEADER, target, Ordering::is_lt)
    }

    /// The child of a branch whose subtree holds `target`, if any does.
    pub(crate) fn child_for(&self, target: VersionKey<'_>) -> usize {
        self.partition(1, BRANCH_CELL_HEADER, target, Ordering::is_le) - 1
    }

    /// The first index, at or after `first`, of a cell that doesn't come `before` the target.
    fn partition(
        &self,
        first: usize,
        header: usize,
        target: VersionKey<'_>,
        before: impl Fn(Ordering) -> bool,
    ) -> usize {
        let mut low = first;
        let mut high = self.count();
        let shared = Key::from(self.shared());
        let common = target.key.common(shared);
        if common < shared.len() {
            return if target.key < shared { low } else { high };
        }
        let rest = target.key.skip(common);
        let head = rest.head();
        while low < high {
            let middle = low.midpoint(high);
            let order = self.head(middle).cmp(&head).then_with(|| {
                let at = self.slot(middle);
                let version = VersionKey { key: self.rest(at, header).into(), txn: self.txn(at) };
                version.cmp(&VersionKey { key: rest, txn: target.txn })
            });
            if before(order) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn slot(&self, index: usize) -> usize {
        assert!(index < self.count(), "the index lies in the page");
        usize::from(get_u16(&self.bytes, PAGE_HEADER + index * SLOT_BYTES))
    }

    fn head(&self, index: usize) -> u32 {
        get_u32(&self.bytes, PAGE_HEADER + index * SLOT_BYTES + 2).swap_bytes()
    }

    fn cells_start(&self) -> usize {
        usize::from(get_u16(&self.bytes, 28))
    }

    fn cells_end(&self) -> usize {
        self.bytes.len() - self.shared_bytes()
    }

    /// What all keys of the page begin with, apart from the first of a branch.
    fn shared(&self) -> &[u8] {
        &self.bytes[self.cells_end()..]
    }

    fn txn(&self, at: usize) -> TxnId {
        TxnId(get_u64(&self.bytes, at + CELL_TXN))
    }

    fn rest_bytes(&self, at: usize) -> usize {
        usize::from(get_u16(&self.bytes, at + CELL_KEY_BYTES))
    }

    /// What the cell at `at` has of its key.
    fn rest(&self, at: usize, header: usize) -> &[u8] {
        &self.bytes[at + header..at + header + self.rest_bytes(at)]
    }

    /// Kind and length of the value of the leaf cell at `at`.
    fn value_word(&self, at: usize) -> (u32, u32) {
        let word = get_u32(&self.bytes, at + 10);
        (word >> VALUE_KIND_SHIFT, word & ((1 << VALUE_KIND_SHIFT) - 1))
    }

    fn value_at(&self, at: usize) -> Result<LeafValue<'_>, Damage> {
        let bytes = &self.bytes[..self.cells_end()];
        let start = at + LEAF_CELL_HEADER + self.rest_bytes(at);
        let (kind, value_bytes) = self.value_word(at);
        match kind {
            VALUE_INLINE => {
                let value = bytes.get(start..start + value_bytes as usize);
                Ok(LeafValue::Inline(value.ok_or(Damage("a value runs past its page"))?))
            }
            VALUE_TOMBSTONE if value_bytes == 0 => Ok(LeafValue::Tombstone),
            VALUE_EXTENT if start + EXTENT_BYTES <= bytes.len() => {
                let extent = Extent {
                    start: PageId(get_u64(bytes, start)),
                    bytes: value_bytes,
                    checksum: get_u64(bytes, start + 8),
                };
                let is_possible = (EXTENT_BYTES + 1..=MAX_VALUE_BYTES).contains(&(value_bytes as usize));
                if !is_possible || extent.start.0 < 2 {
                    return Err(Damage("a large value is of an impossible size or place"));
                }
                Ok(LeafValue::Extent(extent))
            }
            _ => Err(Damage("a value is of no known kind")),
        }
    }

    /// Checks all of a tree page but its header.
    fn check_cells(&self, header: usize) -> Result<(), Damage> {
        self.check_bounds(header)?;
        let is_branch = header == BRANCH_CELL_HEADER;
        let mut total = 0;
        // As the engine lays out pages, each cell ends where the one before it begins. FORMAT.md allows any other order.
        let mut is_as_written = true;
        let mut end = self.cells_end();
        let mut previous: Option<(u32, VersionKey<'_>)> = None;
        for index in 0..self.count() {
            let at = self.slot(index);
            let version = VersionKey { key: self.rest(at, header).into(), txn: self.txn(at) };
            let head = self.head(index);
            if version.key.head() != head {
                return Err(Damage("a slot doesn't match its cell"));
            }
            if is_branch {
                self.check_child(index, version)?;
            }
            let bytes = self.cell_bytes(at, header)?;
            total += bytes;
            is_as_written &= at + bytes == end;
            end = at;
            // Mostly the heads of two keys tell their order.
            let is_in_order = |(previous_head, previous): (u32, VersionKey<'_>)| {
                previous_head.cmp(&head).then_with(|| previous.cmp(&version)).is_lt()
            };
            if !previous.is_none_or(is_in_order) {
                return Err(Damage("the page's cells are out of order"));
            }
            previous = (!is_branch || index > 0).then_some((head, version));
        }
        if self.cells_start() + total != self.cells_end() || !(is_as_written || self.is_disjoint(header)?) {
            return Err(Damage("the page's cells overlap or leave gaps"));
        }
        let first = usize::from(is_branch);
        let shares_more = match previous {
            Some((_, last)) => last.key.common(self.rest(self.slot(first), header).into()) > 0,
            None => !self.shared().is_empty(),
        };
        if shares_more { Err(Damage("the page's keys share another beginning")) } else { Ok(()) }
    }

    /// The bytes that the cell at `at` takes.
    fn cell_bytes(&self, at: usize, header: usize) -> Result<usize, Damage> {
        let value = if header == BRANCH_CELL_HEADER { 0 } else { self.value_at(at)?.size() };
        Ok(header + self.rest_bytes(at) + value)
    }

    /// Whether no two cells overlap.
    fn is_disjoint(&self, header: usize) -> Result<bool, Damage> {
        let cell = |index: usize| {
            let at = self.slot(index);
            Ok((at, at + self.cell_bytes(at, header)?))
        };
        let mut cells = (0..self.count()).map(cell).collect::<Result<Vec<_>, Damage>>()?;
        cells.sort_unstable();
        Ok(cells.windows(2).all(|pair| pair[0].1 <= pair[1].0))
    }

    /// Checks that everything has room: the slots, and up to its key every cell.
    fn check_bounds(&self, header: usize) -> Result<(), Damage> {
        let longest = max_key_bytes(self.bytes.len());
        let shared = self.shared_bytes();
        if self.count() == 0 {
            return Err(Damage("the tree page is empty"));
        }
        if shared > longest {
            return Err(Damage("a key is longer than any can be"));
        }
        let (start, end) = (self.cells_start(), self.cells_end());
        if start < PAGE_HEADER + self.count() * SLOT_BYTES || start > end {
            return Err(Damage("the page's slots and cells overlap"));
        }
        for index in 0..self.count() {
            let at = self.slot(index);
            if at < start || at + header > end || at + header + self.rest_bytes(at) > end {
                return Err(Damage("a cell lies outside its page"));
            }
            if shared + self.rest_bytes(at) > longest {
                return Err(Damage("a key is longer than any can be"));
            }
        }
        Ok(())
    }

    fn shared_bytes(&self) -> usize {
        usize::from(get_u16(&self.bytes, 30))
    }

    fn check_child(&self, index: usize, separator: VersionKey<'_>) -> Result<(), Damage> {
        if index == 0 && separator != Separator::lowest().as_key() {
            return Err(Damage("a branch's first separator is not the lowest"));
        }
        if self.child(index).page.page.0 < 2 {
            return Err(Damage("a child is of an impossible place"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
