//! Tree pages: a header, slots that grow upwards, cells that grow downwards.
//!
//! A [`Page`] is checked once, when its bytes come from disk, and then read without further checks.

use std::ops::Range;

use super::{
    Damage, MAX_KEY_BYTES, MAX_VALUE_BYTES, PageReference, Separator, Subtree, VersionKey, checksum, get_u16,
    get_u32, get_u64, page_seed, put,
};
use crate::ids::{DatabaseId, Generation, PageId, TxnId};

/// Bytes before the slots of every page.
pub(crate) const PAGE_HEADER: usize = 32;
/// Bytes of one slot: the offset of its cell.
pub(crate) const SLOT_BYTES: usize = 2;
/// Bytes of a leaf cell before its key.
pub(crate) const LEAF_CELL_HEADER: usize = 15;
/// Bytes of a branch cell before its key.
pub(crate) const BRANCH_CELL_HEADER: usize = 42;
/// Bytes that stand for the value in a leaf cell if the value lies in pages of its own.
pub(crate) const EXTENT_BYTES: usize = 16;
/// No tree is higher: with two children to a branch it would have more leaves than a file has bytes.
const MAX_LEVEL: u8 = 62;

const KIND_LEAF: u8 = 1;
const KIND_BRANCH: u8 = 2;
const KIND_FREE_LIST: u8 = 3;

const VALUE_INLINE: u8 = 0;
const VALUE_TOMBSTONE: u8 = 1;
const VALUE_EXTENT: u8 = 2;

/// The longest key in a database with pages of `page_size` bytes: three of them fit into any page.
pub(crate) fn max_key_bytes(page_size: usize) -> usize {
    MAX_KEY_BYTES.min(page_size / 4)
}

/// What a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageKind {
    Leaf,
    Branch,
    FreeList,
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

/// One version of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeafCell<'a> {
    pub(crate) version: VersionKey<'a>,
    pub(crate) value: LeafValue<'a>,
}

impl LeafCell<'_> {
    /// The bytes the cell takes in a page, without its slot.
    pub(crate) fn size(&self) -> usize {
        let value = match self.value {
            LeafValue::Inline(bytes) => bytes.len(),
            LeafValue::Tombstone => 0,
            LeafValue::Extent(_) => EXTENT_BYTES,
        };
        LEAF_CELL_HEADER + self.version.key.len() + value
    }
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
            KIND_LEAF if page.level() == 0 => page.check_leaf()?,
            KIND_BRANCH if (1..=MAX_LEVEL).contains(&page.level()) => page.check_branch()?,
            KIND_FREE_LIST if page.level() == 0 && page.count() == 0 && page.cells_start() == 0 => {}
            _ => return Err(Damage("the page is of no known kind, or of an impossible height")),
        }
        Ok(page)
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

    /// Bytes of the page that slots and cells take.
    pub(crate) fn used(&self) -> usize {
        self.count() * SLOT_BYTES + self.bytes.len() - self.cells_start()
    }

    /// The cell at `index` of a leaf.
    pub(crate) fn leaf(&self, index: usize) -> LeafCell<'_> {
        debug_assert_eq!(self.kind(), PageKind::Leaf);
        self.leaf_at(self.slot(index)).expect("the page was checked when it was read")
    }

    /// Where in the page the key of the leaf cell at `index` lies.
    pub(crate) fn key_range(&self, index: usize) -> Range<usize> {
        let at = self.slot(index);
        let start = at + LEAF_CELL_HEADER;
        start..start + usize::from(get_u16(&self.bytes, at))
    }

    /// Where in the page the inline value of the leaf cell at `index` lies.
    pub(crate) fn inline_range(&self, index: usize) -> Range<usize> {
        let start = self.key_range(index).end;
        start..start + get_u32(&self.bytes, self.slot(index) + 11) as usize
    }

    /// The child at `index` of a branch, with the lower bound of its subtree. The bound of the first child is the
    /// branch's own, which its parent knows; here it is the lowest of all.
    pub(crate) fn branch(&self, index: usize) -> (VersionKey<'_>, Subtree) {
        debug_assert_eq!(self.kind(), PageKind::Branch);
        self.branch_at(self.slot(index)).expect("the page was checked when it was read")
    }

    /// The first index of a leaf whose cell is at or after `target`.
    pub(crate) fn lower_bound(&self, target: VersionKey<'_>) -> usize {
        self.partition(|page, index| page.leaf(index).version < target)
    }

    /// The child of a branch whose subtree holds `target`, if any does.
    pub(crate) fn child_for(&self, target: VersionKey<'_>) -> usize {
        self.partition(|page, index| index == 0 || page.branch(index).0 <= target) - 1
    }

    fn partition(&self, before: impl Fn(&Page, usize) -> bool) -> usize {
        let mut low = 0;
        let mut high = self.count();
        while low < high {
            let middle = low.midpoint(high);
            if before(self, middle) {
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

    fn cells_start(&self) -> usize {
        get_u32(&self.bytes, 28) as usize
    }

    fn check_leaf(&self) -> Result<(), Damage> {
        self.check_slots(LEAF_CELL_HEADER)?;
        let mut total = 0;
        let mut previous: Option<VersionKey<'_>> = None;
        for index in 0..self.count() {
            let cell = self.leaf_at(self.slot(index))?;
            if previous.is_some_and(|previous| previous >= cell.version) {
                return Err(Damage("the leaf's cells are out of order"));
            }
            previous = Some(cell.version);
            total += cell.size();
        }
        self.check_total(total)
    }

    fn check_branch(&self) -> Result<(), Damage> {
        self.check_slots(BRANCH_CELL_HEADER)?;
        let mut total = 0;
        let mut previous: Option<VersionKey<'_>> = None;
        for index in 0..self.count() {
            let (separator, _) = self.branch_at(self.slot(index))?;
            if previous.is_some_and(|previous| previous >= separator) {
                return Err(Damage("the branch's separators are out of order"));
            }
            previous = Some(separator);
            total += BRANCH_CELL_HEADER + separator.key.len();
        }
        self.check_total(total)
    }

    fn check_slots(&self, smallest: usize) -> Result<(), Damage> {
        let start = self.cells_start();
        if self.count() == 0 {
            return Err(Damage("the tree page is empty"));
        }
        if start < PAGE_HEADER + self.count() * SLOT_BYTES || start > self.bytes.len() {
            return Err(Damage("the page's slots and cells overlap"));
        }
        let inside = |index| {
            let at = self.slot(index);
            at >= start && at + smallest <= self.bytes.len()
        };
        if (0..self.count()).all(inside) { Ok(()) } else { Err(Damage("a cell lies outside its page")) }
    }

    fn check_total(&self, total: usize) -> Result<(), Damage> {
        if self.cells_start() + total == self.bytes.len() {
            Ok(())
        } else {
            Err(Damage("the page's cells overlap or leave gaps"))
        }
    }

    fn leaf_at(&self, at: usize) -> Result<LeafCell<'_>, Damage> {
        let bytes = &self.bytes;
        let key_start = at + LEAF_CELL_HEADER;
        let value_start = key_start + usize::from(get_u16(bytes, at));
        let value_bytes = get_u32(bytes, at + 11);
        let key = bytes.get(key_start..value_start).ok_or(Damage("a key runs past its page"))?;
        if key.len() > max_key_bytes(bytes.len()) {
            return Err(Damage("a key is longer than any can be"));
        }
        let value = match bytes[at + 2] {
            VALUE_INLINE => {
                let value_end = value_start + value_bytes as usize;
                LeafValue::Inline(
                    bytes.get(value_start..value_end).ok_or(Damage("a value runs past its page"))?,
                )
            }
            VALUE_TOMBSTONE if value_bytes == 0 => LeafValue::Tombstone,
            VALUE_EXTENT if value_start + EXTENT_BYTES <= bytes.len() => {
                let start = PageId(get_u64(bytes, value_start));
                if value_bytes as usize <= EXTENT_BYTES
                    || value_bytes as usize > MAX_VALUE_BYTES
                    || start.0 < 2
                {
                    return Err(Damage("a large value is of an impossible size or place"));
                }
                LeafValue::Extent(Extent {
                    start,
                    bytes: value_bytes,
                    checksum: get_u64(bytes, value_start + 8),
                })
            }
            _ => return Err(Damage("a value is of no known kind")),
        };
        Ok(LeafCell { version: VersionKey { key, txn: TxnId(get_u64(bytes, at + 3)) }, value })
    }

    fn branch_at(&self, at: usize) -> Result<(VersionKey<'_>, Subtree), Damage> {
        let bytes = &self.bytes;
        let key_start = at + BRANCH_CELL_HEADER;
        let key_end = key_start + usize::from(get_u16(bytes, at));
        let key = bytes.get(key_start..key_end).ok_or(Damage("a separator runs past its page"))?;
        if key.len() > max_key_bytes(bytes.len()) {
            return Err(Damage("a separator is longer than any key can be"));
        }
        let separator = VersionKey { key, txn: TxnId(get_u64(bytes, at + 2)) };
        let page = PageReference { page: PageId(get_u64(bytes, at + 10)), checksum: get_u64(bytes, at + 18) };
        if page.page.0 < 2 {
            return Err(Damage("a child is of an impossible place"));
        }
        let newest = TxnId(get_u64(bytes, at + 26));
        let oldest_garbage = TxnId(get_u64(bytes, at + 34));
        Ok((separator, Subtree { page, newest, oldest_garbage }))
    }
}

/// Lays out a tree page cell by cell, in order.
#[derive(Debug)]
pub(crate) struct PageWriter {
    bytes: Box<[u8]>,
    count: usize,
    cells_start: usize,
}

impl PageWriter {
    /// An empty page. The caller fills in at least one cell before it finishes it.
    pub(crate) fn new(page_size: usize) -> PageWriter {
        PageWriter { bytes: vec![0; page_size].into_boxed_slice(), count: 0, cells_start: page_size }
    }

    /// Takes room for the next cell and returns it.
    ///
    /// # Panics
    /// If the page is full: the caller has added up the sizes.
    pub(crate) fn cell(&mut self, size: usize) -> &mut [u8] {
        let slot = PAGE_HEADER + self.count * SLOT_BYTES;
        assert!(slot + SLOT_BYTES + size <= self.cells_start, "the caller has added up the sizes");
        self.cells_start -= size;
        let offset = u16::try_from(self.cells_start).expect("a page has at most 65536 bytes");
        put(&mut self.bytes, slot, offset.to_le_bytes());
        self.count += 1;
        &mut self.bytes[self.cells_start..self.cells_start + size]
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
        let count = u16::try_from(self.count).expect("a slot takes two of at most 65536 bytes");
        let cells_start = u32::try_from(self.cells_start).expect("a page has at most 65536 bytes");
        put(&mut self.bytes, 26, count.to_le_bytes());
        put(&mut self.bytes, 28, cells_start.to_le_bytes());
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

/// Writes a leaf cell into room of exactly its size.
pub(crate) fn write_leaf_cell(out: &mut [u8], cell: &LeafCell<'_>) {
    assert_eq!(out.len(), cell.size());
    let key = cell.version.key;
    let (kind, value_bytes) = match cell.value {
        LeafValue::Inline(bytes) => {
            (VALUE_INLINE, u32::try_from(bytes.len()).expect("inline values are smaller than a page"))
        }
        LeafValue::Tombstone => (VALUE_TOMBSTONE, 0),
        LeafValue::Extent(extent) => (VALUE_EXTENT, extent.bytes),
    };
    put(out, 0, u16::try_from(key.len()).expect("keys are at most 4096 bytes").to_le_bytes());
    out[2] = kind;
    put(out, 3, cell.version.txn.0.to_le_bytes());
    put(out, 11, value_bytes.to_le_bytes());
    let value_start = LEAF_CELL_HEADER + key.len();
    out[LEAF_CELL_HEADER..value_start].copy_from_slice(key);
    match cell.value {
        LeafValue::Inline(bytes) => out[value_start..].copy_from_slice(bytes),
        LeafValue::Tombstone => {}
        LeafValue::Extent(extent) => {
            put(out, value_start, extent.start.0.to_le_bytes());
            put(out, value_start + 8, extent.checksum.to_le_bytes());
        }
    }
}

/// Writes a branch cell into room of exactly its size.
pub(crate) fn write_branch_cell(out: &mut [u8], separator: &Separator, child: Subtree) {
    assert_eq!(out.len(), BRANCH_CELL_HEADER + separator.key.len());
    put(out, 0, u16::try_from(separator.key.len()).expect("keys are at most 4096 bytes").to_le_bytes());
    put(out, 2, separator.txn.0.to_le_bytes());
    put(out, 10, child.page.page.0.to_le_bytes());
    put(out, 18, child.page.checksum.to_le_bytes());
    put(out, 26, child.newest.0.to_le_bytes());
    put(out, 34, child.oldest_garbage.0.to_le_bytes());
    out[BRANCH_CELL_HEADER..].copy_from_slice(&separator.key);
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
    Page { bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATABASE: DatabaseId = DatabaseId(0x0bad_cafe);

    fn cell<'a>(key: &'a str, txn: u64, value: LeafValue<'a>) -> LeafCell<'a> {
        LeafCell { version: VersionKey { key: key.as_bytes(), txn: TxnId(txn) }, value }
    }

    fn leaf(cells: &[LeafCell<'_>]) -> Page {
        let mut writer = PageWriter::new(4096);
        for cell in cells {
            write_leaf_cell(writer.cell(cell.size()), cell);
        }
        writer.finish(DATABASE, PageId(9), Generation(3), 0)
    }

    fn sample() -> Vec<LeafCell<'static>> {
        let extent = Extent { start: PageId(40), bytes: 70_000, checksum: 77 };
        vec![
            cell("", 2, LeafValue::Inline(b"")),
            cell("apple", 9, LeafValue::Tombstone),
            cell("apple", 4, LeafValue::Inline(b"red")),
            cell("pear", 1, LeafValue::Extent(extent)),
        ]
    }

    #[test]
    fn leaf_round_trips() {
        let cells = sample();
        let page = leaf(&cells);
        let read = Page::decode(page.bytes().into(), DATABASE, PageId(9)).expect("the page is whole");
        assert_eq!(read, page);
        let all: Vec<_> = (0..read.count()).map(|index| read.leaf(index)).collect();
        assert_eq!(all, cells);
        assert_eq!((read.level(), read.generation(), read.kind()), (0, Generation(3), PageKind::Leaf));
        assert_eq!(&read.bytes()[read.inline_range(2)], b"red");
    }

    #[test]
    fn lookup_finds_the_version_a_snapshot_sees() {
        let page = leaf(&sample());
        let at = |key: &str, txn| page.lower_bound(VersionKey { key: key.as_bytes(), txn: TxnId(txn) });
        assert_eq!(at("apple", 20), 1);
        assert_eq!(at("apple", 9), 1);
        assert_eq!(at("apple", 8), 2);
        assert_eq!(at("apple", 3), 3, "no version is that old, so the next key is found");
        assert_eq!(at("zebra", 3), 4);
    }

    #[test]
    fn branch_round_trips_and_routes() {
        let mut writer = PageWriter::new(4096);
        let child = |number| Subtree {
            page: PageReference { page: PageId(number), checksum: number * 3 },
            newest: TxnId(number + 1),
            oldest_garbage: TxnId(number * 7),
        };
        let separators = [
            Separator::lowest(),
            Separator { key: b"m".to_vec(), txn: TxnId(u64::MAX) },
            Separator { key: b"t".to_vec(), txn: TxnId(5) },
        ];
        for (number, separator) in separators.iter().enumerate() {
            let room = writer.cell(BRANCH_CELL_HEADER + separator.key.len());
            write_branch_cell(room, separator, child(number as u64 + 20));
        }
        let page = writer.finish(DATABASE, PageId(8), Generation(1), 2);
        let page = Page::decode(page.bytes().into(), DATABASE, PageId(8)).expect("the page is whole");
        let route = |key: &str, txn| page.child_for(VersionKey { key: key.as_bytes(), txn: TxnId(txn) });
        assert_eq!(
            (route("", 0), route("lz", 9), route("m", 1), route("t", 6), route("t", 5)),
            (0, 0, 1, 1, 2)
        );
        assert_eq!(page.branch(2), (separators[2].as_key(), child(22)));
    }

    #[test]
    fn every_changed_bit_is_damage() {
        let page = leaf(&sample());
        for bit in 0..page.bytes().len() * 8 {
            let mut bytes: Box<[u8]> = page.bytes().into();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Page::decode(bytes, DATABASE, PageId(9)).is_err(), "bit {bit}");
        }
        assert!(Page::decode(page.bytes().into(), DATABASE, PageId(10)).is_err(), "a misdirected page");
        let stranger = DatabaseId(DATABASE.0 + 1);
        assert!(
            Page::decode(page.bytes().into(), stranger, PageId(9)).is_err(),
            "a page of another database"
        );
    }

    #[test]
    fn damage_under_a_valid_checksum_is_found_and_never_panics() {
        let page = leaf(&sample());
        let mut accepted = 0;
        for at in (24..64).chain(4096 - 120..4096) {
            for value in [0u8, 1, 2, 3, 0x7f, 0xff] {
                let mut bytes: Box<[u8]> = page.bytes().into();
                if bytes[at] == value {
                    continue;
                }
                bytes[at] = value;
                let sum = checksum(&bytes[8..], page_seed(DATABASE, PageId(9)));
                put(&mut bytes, 0, sum.to_le_bytes());
                accepted += usize::from(Page::decode(bytes, DATABASE, PageId(9)).is_ok());
            }
        }
        assert!(accepted > 0, "changed value bytes under a valid checksum are a legal page");
    }
}
