//! Building a tree from the bottom up, in a file of its own: what compaction and backup do.
//!
//! Versions come in order, one at a time. A leaf is written as soon as the next version doesn't fit into it, and a branch
//! as soon as the next one of its level is full, so that what is kept in memory is at most two pages for each level and
//! one value. Pages are taken one after the other: the file has no holes, and no free list.

use super::draft::{Child, branch_page, leaf_page};
use super::pack::{Item, Room, leaf_bytes_beside_key, pack};
use super::retain::{Sieve, Summary};
use super::{Cursor, capacity, is_inline};
use crate::error::Result;
use crate::format::{Extent, LeafCell, LeafValue, MAX_LEVEL, Separator, Subtree, VersionKey};
use crate::ids::{Generation, PageId, TxnId};
use crate::pager::Pager;

/// Calls `each` for every version of the tree at `root`, in order, with its value; none if it is a deletion.
pub(crate) fn for_each_version(
    pager: &Pager,
    root: Option<Subtree>,
    mut each: impl FnMut(VersionKey<'_>, Option<&[u8]>) -> Result<()>,
) -> Result<()> {
    let mut cursor = Cursor::seek(pager, root, Separator::lowest().as_key())?;
    while let Some((page, index)) = cursor.forward(pager)? {
        let LeafCell { version, value } = page.leaf(index);
        match value {
            LeafValue::Inline(bytes) => each(version, Some(bytes))?,
            LeafValue::Tombstone => each(version, None)?,
            LeafValue::Extent(extent) => each(version, Some(&pager.read_extent(extent)?))?,
        }
    }
    Ok(())
}

/// A tree that is being built.
#[derive(Debug)]
pub(crate) struct Builder<'a> {
    pager: &'a Pager,
    generation: Generation,
    sieve: Sieve,
    next_page: PageId,
    leaf: PendingLeaf,
    /// The lower bound of the leaf that is being filled.
    lower: Separator,
    /// The branches that are being filled, from level 1 up.
    levels: Vec<PendingBranch>,
}

/// The entries of one leaf, with their bytes in one place.
#[derive(Debug, Default)]
struct PendingLeaf {
    room: Room,
    bytes: Vec<u8>,
    cells: Vec<PendingCell>,
}

#[derive(Debug)]
struct PendingCell {
    /// Where its key, and then its inline value, lie in the leaf's bytes.
    start: usize,
    key_bytes: usize,
    txn: TxnId,
    value: PendingValue,
}

#[derive(Debug)]
enum PendingValue {
    Inline { bytes: usize },
    Tombstone,
    Extent(Extent),
}

/// The children of the last two branches of a level. The first of the two is full; it waits, so that what is left in the
/// end can be shared evenly between both.
#[derive(Debug, Default)]
struct PendingBranch {
    full: Vec<Child>,
    children: Vec<Child>,
    room: Room,
}

impl<'a> Builder<'a> {
    /// Starts a tree in the empty file of `pager`, after the meta pages. It will hold what snapshots at `horizon` or later
    /// need.
    pub(crate) fn new(pager: &'a Pager, horizon: TxnId, generation: Generation) -> Builder<'a> {
        Builder {
            pager,
            generation,
            sieve: Sieve::new(horizon, &Separator::lowest()),
            next_page: PageId(2),
            leaf: PendingLeaf::default(),
            lower: Separator::lowest(),
            levels: Vec::new(),
        }
    }

    /// Adds the next version, unless no retained snapshot needs it.
    ///
    /// # Panics
    /// If it doesn't come after the one that was added last.
    pub(crate) fn push(&mut self, version: VersionKey<'_>, value: Option<&[u8]>) -> Result<()> {
        if !self.sieve.keeps(version, value.is_none()) {
            return Ok(());
        }
        let page_size = self.pager.page_size();
        let value = match value {
            None => LeafValue::Tombstone,
            Some(bytes) if is_inline(page_size, version.key.len(), bytes) => LeafValue::Inline(bytes),
            Some(bytes) => {
                let start = self.take_pages((bytes.len() as u64).div_ceil(page_size as u64));
                LeafValue::Extent(self.pager.write_extent(start, bytes)?)
            }
        };
        let cell = LeafCell { version, value };
        if let Some(last) = self.leaf.cells.last() {
            let last = self.leaf.cell(last).version;
            assert!(last < version, "versions come in the order of the tree");
            if self.leaf.with(&cell) > capacity(page_size) {
                let lower = Separator::between(last, version);
                self.end_leaf(Some(lower))?;
            }
        }
        self.leaf.push(&cell);
        Ok(())
    }

    /// Writes what is left. Returns the root, and how many pages the file has now.
    pub(crate) fn finish(mut self) -> Result<(Option<Subtree>, u64)> {
        if !self.leaf.cells.is_empty() {
            self.end_leaf(None)?;
        }
        let mut level = 0;
        while level < self.levels.len() {
            let is_top = level + 1 == self.levels.len();
            let PendingBranch { mut full, children, .. } = std::mem::take(&mut self.levels[level]);
            full.extend(children);
            if is_top && full.len() == 1 {
                return Ok((Some(full[0].tree), self.next_page.0));
            }
            for children in pack(self.pager.page_size(), full) {
                self.write_branch(level, &children)?;
            }
            level += 1;
        }
        Ok((None, self.next_page.0))
    }

    /// Writes the leaf that is being filled. `upper` is the lower bound of the one after it.
    fn end_leaf(&mut self, upper: Option<Separator>) -> Result<()> {
        let summary = Summary::of_cells(self.leaf.cells(), &self.lower);
        let id = self.take_pages(1);
        let page = leaf_page(self.pager, id, self.generation, self.leaf.cells());
        let tree = summary.at(self.pager.write(page)?);
        self.leaf.clear();
        let lower = std::mem::replace(&mut self.lower, upper.unwrap_or_else(Separator::lowest));
        self.add_child(0, Child { lower, tree })
    }

    /// Adds a child to the branch of level `level + 1` that is being filled.
    fn add_child(&mut self, level: usize, child: Child) -> Result<()> {
        if level == self.levels.len() {
            self.levels.push(PendingBranch::default());
        }
        let branch = &mut self.levels[level];
        let first = branch.children.get(1).map(Item::key);
        if branch.room.with(first, child.key(), child.bytes_beside_key()) > capacity(self.pager.page_size()) {
            branch.room = Room::default();
            let before = std::mem::replace(&mut branch.full, std::mem::take(&mut branch.children));
            if !before.is_empty() {
                self.write_branch(level, &before)?;
            }
        }
        let branch = &mut self.levels[level];
        if branch.children.is_empty() {
            branch.room.add_keyless(child.bytes_beside_key());
        } else {
            branch.room.add(child.key(), child.bytes_beside_key());
        }
        branch.children.push(child);
        Ok(())
    }

    fn write_branch(&mut self, level: usize, children: &[Child]) -> Result<()> {
        let id = self.take_pages(1);
        let summary = Summary::of_children(children.iter().map(|child| child.tree));
        let page = branch_page(self.pager, id, self.generation, branch_level(level), children);
        let tree = summary.at(self.pager.write(page)?);
        self.add_child(level + 1, Child { lower: children[0].lower.clone(), tree })
    }

    fn take_pages(&mut self, count: u64) -> PageId {
        let start = self.next_page;
        self.next_page = PageId(start.0 + count);
        start
    }
}

impl PendingLeaf {
    fn push(&mut self, cell: &LeafCell<'_>) {
        let start = self.bytes.len();
        for part in cell.version.key.parts() {
            self.bytes.extend_from_slice(part);
        }
        let value = match cell.value {
            LeafValue::Inline(bytes) => {
                self.bytes.extend_from_slice(bytes);
                PendingValue::Inline { bytes: bytes.len() }
            }
            LeafValue::Tombstone => PendingValue::Tombstone,
            LeafValue::Extent(extent) => PendingValue::Extent(extent),
        };
        let key_bytes = cell.version.key.len();
        self.cells.push(PendingCell { start, key_bytes, txn: cell.version.txn, value });
        self.room.add(cell.version.key, leaf_bytes_beside_key(cell));
    }

    /// The bytes of the page with one more cell.
    fn with(&self, cell: &LeafCell<'_>) -> usize {
        let first = self.cells.first().map(|first| self.cell(first).version.key);
        self.room.with(first, cell.version.key, leaf_bytes_beside_key(cell))
    }

    fn cells(&self) -> impl DoubleEndedIterator<Item = LeafCell<'_>> + Clone {
        self.cells.iter().map(|cell| self.cell(cell))
    }

    fn cell(&self, cell: &PendingCell) -> LeafCell<'_> {
        let key_end = cell.start + cell.key_bytes;
        let value = match cell.value {
            PendingValue::Inline { bytes } => LeafValue::Inline(&self.bytes[key_end..key_end + bytes]),
            PendingValue::Tombstone => LeafValue::Tombstone,
            PendingValue::Extent(extent) => LeafValue::Extent(extent),
        };
        LeafCell { version: VersionKey::new(&self.bytes[cell.start..key_end], cell.txn), value }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.cells.clear();
        self.room = Room::default();
    }
}

/// The level of the branches that the builder keeps at this index.
fn branch_level(index: usize) -> u8 {
    assert!(
        index < usize::from(MAX_LEVEL),
        "a tree of two children to a branch and so many levels exceeds any file"
    );
    index as u8 + 1
}
