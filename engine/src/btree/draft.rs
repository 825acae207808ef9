//! Pages that are being put together: contents that don't yet have a place.
//!
//! While a merge is under way a node is a list of entries, of any total size. Packing turns it into drafts that fit
//! into a page each; writing turns a draft into a page.

use super::capacity;
use super::pack::{Item, pack, shared, size};
use super::retain::Summary;
use crate::format::{LeafCell, Page, PageReference, PageWriter, Separator, Subtree, VersionKey};
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
    /// The page it lies in, if it is there already.
    pub(crate) fn origin(&self) -> Option<PageReference> {
        match self {
            Entry::Kept { page, .. } => Some(page.reference()),
            Entry::New(_) => None,
        }
    }

    pub(crate) fn cell(&self) -> LeafCell<'_> {
        match self {
            Entry::Kept { page, index } => page.leaf(*index),
            Entry::New(cell) => *cell,
        }
    }

    pub(crate) fn version(&self) -> VersionKey<'_> {
        match self {
            Entry::Kept { page, index } => page.version(*index),
            Entry::New(cell) => cell.version,
        }
    }

    /// Whether its version comes before that of the other. The entries of one page are known to be in order.
    pub(crate) fn comes_before(&self, other: &Entry<'_>) -> bool {
        match (self, other) {
            (Entry::Kept { page, index }, Entry::Kept { page: other, index: other_index })
                if Arc::ptr_eq(page, other) =>
            {
                index < other_index
            }
            _ => self.version() < other.version(),
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
    /// A page that some of its contents lie in as they are.
    pub(crate) fn origin(&self) -> Option<PageReference> {
        match &self.content {
            Content::Kept(tree) => Some(tree.page),
            Content::Leaf { entries, .. } => entries.iter().find_map(Entry::origin),
            Content::Branch { children, .. } => children.iter().find_map(Draft::origin),
        }
    }

    /// Whether so little is in it that it should be joined with a neighbour. What is kept is as full as it was.
    pub(crate) fn is_underfull(&self, page_size: usize) -> bool {
        let used = match &self.content {
            Content::Kept(_) => return false,
            Content::Leaf { entries, .. } => size(entries),
            Content::Branch { children, .. } => size(children),
        };
        used < capacity(page_size) / 4
    }
}

/// Distributes leaf entries over as few drafts as hold them.
pub(crate) fn pack_leaf<'a>(page_size: usize, lower: &Separator, entries: Vec<Entry<'a>>) -> Vec<Draft<'a>> {
    let mut drafts: Vec<Draft<'a>> = Vec::new();
    for entries in pack(page_size, entries) {
        let lower = match drafts.last() {
            None => lower.clone(),
            Some(Draft { content: Content::Leaf { entries: before, .. }, .. }) => {
                let last = before.last().expect("packed groups are never empty");
                Separator::between(last.version(), entries[0].version())
            }
            Some(_) => unreachable!("only leaves are packed here"),
        };
        let summary = Summary::of_cells(entries.iter().map(Entry::cell), &lower);
        drafts.push(Draft { lower, content: Content::Leaf { entries, summary } });
    }
    drafts
}

/// Distributes the children of a branch over as few drafts as hold them.
pub(crate) fn pack_branch<'a>(page_size: usize, level: u8, children: Vec<Draft<'a>>) -> Vec<Draft<'a>> {
    let groups = pack(page_size, children);
    let draft = |children: Vec<Draft<'a>>| Draft {
        lower: children[0].lower.clone(),
        content: Content::Branch { level, children },
    };
    groups.into_iter().map(draft).collect()
}

/// Lays out a leaf.
pub(crate) fn leaf_page<'a>(
    pager: &Pager,
    id: PageId,
    generation: Generation,
    cells: impl DoubleEndedIterator<Item = LeafCell<'a>> + Clone,
) -> Page {
    let mut keys = cells.clone().map(|cell| cell.version.key);
    let first = keys.next().expect("a leaf is never empty");
    let shared = shared(first, keys.next_back().unwrap_or(first));
    let mut writer = PageWriter::new(pager.page_size(), &shared);
    for cell in cells {
        writer.leaf_cell(&cell);
    }
    writer.finish(pager.database(), id, generation, 0)
}

/// Lays out a branch.
pub(crate) fn branch_page(
    pager: &Pager,
    id: PageId,
    generation: Generation,
    level: u8,
    children: &[Child],
) -> Page {
    let keyed = &children[1..];
    let ends = keyed.first().zip(keyed.last());
    let shared = ends.map_or(Vec::new(), |(first, last)| shared(first.key(), last.key()));
    let mut writer = PageWriter::new(pager.page_size(), &shared);
    for child in children {
        writer.branch_cell(&child.lower, child.tree);
    }
    writer.finish(pager.database(), id, generation, level)
}
