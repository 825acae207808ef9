//! Pages that are being put together: contents that don't yet have a place.
//!
//! While a merge is under way a node is a list of entries, of any total size. Packing turns it into drafts that fit
//! into a page each; writing turns a draft into a page.

use super::capacity;
use super::retain::Summary;
use crate::format::{
    BRANCH_CELL_HEADER, LeafCell, Page, PageWriter, SLOT_BYTES, Separator, Subtree, write_branch_cell,
    write_leaf_cell,
};
use crate::ids::{Generation, PageId};
use crate::pager::Pager;
use crate::sync::Arc;

/// A leaf entry: one that is there already, or a new one.
#[derive(Debug, Clone)]
pub(crate) enum Entry<'a> {
    Kept { page: Arc<Page>, index: usize },
    New(LeafCell<'a>),
}

impl Entry<'_> {
    pub(crate) fn cell(&self) -> LeafCell<'_> {
        match self {
            Entry::Kept { page, index } => page.leaf(*index),
            Entry::New(cell) => *cell,
        }
    }
}

/// A child that has its page, with the lower bound of its subtree.
#[derive(Debug, Clone)]
pub(crate) struct Child {
    pub(crate) lower: Separator,
    pub(crate) tree: Subtree,
}

/// What a draft holds.
#[derive(Debug)]
pub(crate) enum Content<'a> {
    /// A page that stays as it is.
    Kept(Subtree),
    Leaf {
        entries: Vec<Entry<'a>>,
        summary: Summary,
    },
    /// Its children are kept, or written when the branch is.
    Branch {
        level: u8,
        children: Vec<Draft<'a>>,
    },
}

/// A node with the lower bound of its subtree. The first child of a branch has the branch's own bound.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) lower: Separator,
    pub(crate) content: Content<'a>,
}

impl Draft<'_> {
    /// Whether so little is in it that it should be joined with a neighbour. What is kept is as full as it was.
    pub(crate) fn is_underfull(&self, page_size: usize) -> bool {
        let used: usize = match &self.content {
            Content::Kept(_) => return false,
            Content::Leaf { entries, .. } => entries.iter().map(entry_size).sum(),
            Content::Branch { children, .. } => {
                // The bound of the first child will not be written.
                let used: usize = children.iter().map(|child| child_size(&child.lower)).sum();
                used - children[0].lower.key.len()
            }
        };
        used < capacity(page_size) / 4
    }
}

/// Distributes leaf entries evenly over as few drafts as hold them.
pub(crate) fn pack_leaf<'a>(page_size: usize, lower: &Separator, entries: Vec<Entry<'a>>) -> Vec<Draft<'a>> {
    let mut drafts: Vec<Draft<'a>> = Vec::new();
    for entries in pack(page_size, entries, entry_size) {
        let lower = match drafts.last() {
            None => lower.clone(),
            Some(Draft { content: Content::Leaf { entries: before, .. }, .. }) => {
                let last = before.last().expect("packed groups are never empty");
                Separator::between(last.cell().version, entries[0].cell().version)
            }
            Some(_) => unreachable!("only leaves are packed here"),
        };
        let summary = Summary::of_cells(entries.iter().map(Entry::cell), &lower);
        drafts.push(Draft { lower, content: Content::Leaf { entries, summary } });
    }
    drafts
}

/// Distributes the children of a branch evenly over as few drafts as hold them.
pub(crate) fn pack_branch<'a>(page_size: usize, level: u8, children: Vec<Draft<'a>>) -> Vec<Draft<'a>> {
    let groups = pack(page_size, children, |child| child_size(&child.lower));
    let draft = |children: Vec<Draft<'a>>| Draft {
        lower: children[0].lower.clone(),
        content: Content::Branch { level, children },
    };
    groups.into_iter().map(draft).collect()
}

/// Distributes children with pages evenly over as few branches as hold them.
pub(crate) fn pack_children(page_size: usize, children: Vec<Child>) -> Vec<Vec<Child>> {
    pack(page_size, children, |child| child_size(&child.lower))
}

/// How much of a leaf is taken, entry by entry.
#[derive(Debug)]
pub(crate) struct LeafRoom {
    capacity: usize,
    used: usize,
}

impl LeafRoom {
    pub(crate) fn new(page_size: usize) -> LeafRoom {
        LeafRoom { capacity: capacity(page_size), used: 0 }
    }

    /// Whether there is room for one more.
    pub(crate) fn fits(&self, cell: &LeafCell<'_>) -> bool {
        self.used + cell.size() + SLOT_BYTES <= self.capacity
    }

    pub(crate) fn add(&mut self, cell: &LeafCell<'_>) {
        self.used += cell.size() + SLOT_BYTES;
    }
}

/// Lays out a leaf.
pub(crate) fn leaf_page<'a>(
    pager: &Pager,
    id: PageId,
    generation: Generation,
    cells: impl Iterator<Item = LeafCell<'a>>,
) -> Page {
    let mut writer = PageWriter::new(pager.page_size());
    for cell in cells {
        write_leaf_cell(writer.cell(cell.size()), &cell);
    }
    writer.finish(pager.database(), id, generation, 0)
}

/// Lays out a branch. The bound of its first child is not written: the parent knows it.
pub(crate) fn branch_page(
    pager: &Pager,
    id: PageId,
    generation: Generation,
    level: u8,
    children: &[Child],
) -> Page {
    let mut writer = PageWriter::new(pager.page_size());
    let lowest = Separator::lowest();
    for (index, child) in children.iter().enumerate() {
        let lower = if index == 0 { &lowest } else { &child.lower };
        let room = writer.cell(BRANCH_CELL_HEADER + lower.key.len());
        write_branch_cell(room, lower, child.tree);
    }
    writer.finish(pager.database(), id, generation, level)
}

fn entry_size(entry: &Entry<'_>) -> usize {
    entry.cell().size() + SLOT_BYTES
}

fn child_size(lower: &Separator) -> usize {
    BRANCH_CELL_HEADER + lower.key.len() + SLOT_BYTES
}

/// Cuts items into groups that fit into a page each, aiming at equal sizes.
fn pack<T>(page_size: usize, items: Vec<T>, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let capacity = capacity(page_size);
    let mut bytes_left: usize = items.iter().map(&size).sum();
    let mut groups_left = bytes_left.div_ceil(capacity);
    let mut target = 0;
    let mut groups: Vec<Vec<T>> = Vec::with_capacity(groups_left);
    let mut used = 0;
    for item in items {
        let item_size = size(&item);
        assert!(item_size <= capacity, "no item is larger than a page");
        if groups.is_empty() || used >= target || used + item_size > capacity {
            target = bytes_left.div_ceil(groups_left.max(1));
            groups_left = groups_left.saturating_sub(1);
            groups.push(Vec::new());
            used = 0;
        }
        used += item_size;
        bytes_left -= item_size;
        groups.last_mut().expect("a group was just begun").push(item);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(sizes: &[usize]) -> Vec<usize> {
        pack(4096, sizes.to_vec(), |size| *size).iter().map(|group| group.iter().sum()).collect()
    }

    #[test]
    fn groups_are_even_and_fit() {
        assert_eq!(packed(&[]), [] as [usize; 0]);
        assert_eq!(packed(&[100; 40]), [4000]);
        assert_eq!(packed(&[100; 41]), [2100, 2000]);
        assert_eq!(packed(&[1000; 5]), [3000, 2000]);
    }

    #[test]
    fn nothing_is_lost_whatever_the_sizes() {
        let mut size = 7usize;
        for count in 1..200 {
            let sizes: Vec<usize> = (0..count)
                .map(|_| {
                    size = (size * 75 + 74) % 65537;
                    20 + size % 1000
                })
                .collect();
            let groups = pack(4096, sizes.clone(), |size| *size);
            assert_eq!(groups.concat(), sizes);
            assert!(groups.iter().all(|group| group.iter().sum::<usize>() <= capacity(4096)));
        }
    }
}
