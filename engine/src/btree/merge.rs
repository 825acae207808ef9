//! Merging sorted changes into the tree: what a checkpoint does.
//!
//! One pass from left to right. Only nodes with changes or garbage below them are read and written; everything else is
//! kept by reference. Garbage is what no retained snapshot can see; the pointers say where there is some, and all of it is
//! dropped.
//!
//! Splits and merges of nodes fall out of packing: a node's entries, however many, are cut into pages that are filled
//! evenly, and a node that became underfull is joined with a neighbour before it is cut.

use super::draft::{Child, Content, Draft, Entry, branch_page, leaf_page, pack_branch, pack_leaf};
use super::retain::{Sieve, Summary};
use super::{is_inline, load};
use crate::error::{Error, Result};
use crate::format::{Damage, LeafCell, LeafValue, MAX_LEVEL, Page, Separator, Subtree, VersionKey};
use crate::ids::{Generation, PageId, TxnId};
use crate::pager::{Allocator, Pager};
use crate::sync::Arc;

/// A new version of a key; no value if it deletes the key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change<'a> {
    pub(crate) version: VersionKey<'a>,
    pub(crate) value: Option<&'a [u8]>,
}

/// Where the new pages go.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) pager: &'a Pager,
    pub(crate) allocator: &'a mut Allocator,
    pub(crate) generation: Generation,
    /// Snapshots older than this are not retained.
    pub(crate) horizon: TxnId,
}

/// Merges `changes`, in the order of the tree, into the tree at `root`, drops what the horizon has left behind, and
/// returns the new root. The pages that only the old tree uses are given to the allocator.
pub(crate) fn merge(
    mut target: Target<'_>,
    root: Option<Subtree>,
    changes: &[Change<'_>],
) -> Result<Option<Subtree>> {
    assert!(changes.is_sorted_by(|a, b| a.version < b.version), "changes come in the order of the tree");
    let lowest = Separator::lowest();
    let mut level = 0;
    let mut drafts = match root {
        None if changes.is_empty() => return Ok(None),
        None => target.merge_leaf(None, lowest, None, changes)?,
        Some(root) if !target.has_work(root, changes) => return Ok(Some(root)),
        Some(root) => {
            let page = load(target.pager, root.page, None)?;
            level = page.level();
            target.merge_node(root, &page, lowest, None, changes)?
        }
    };
    while drafts.len() > 1 {
        target.write_all(&mut drafts)?;
        if level == MAX_LEVEL {
            return Err(target.corruption(&drafts, "the tree is impossibly high"));
        }
        level += 1;
        drafts = target.pack_branch(level, drafts)?;
    }
    match drafts.pop() {
        Some(draft) => Ok(Some(target.write_root(draft)?)),
        None => Ok(None),
    }
}

impl Target<'_> {
    /// Whether a subtree has to be gone through.
    fn has_work(&self, tree: Subtree, changes: &[Change<'_>]) -> bool {
        !changes.is_empty() || tree.oldest_garbage <= self.horizon
    }

    fn merge_node<'c>(
        &mut self,
        tree: Subtree,
        page: &Arc<Page>,
        lower: Separator,
        upper: Option<&Separator>,
        changes: &[Change<'c>],
    ) -> Result<Vec<Draft<'c>>> {
        if page.level() == 0 {
            self.merge_leaf(Some((tree, page)), lower, upper, changes)
        } else {
            self.merge_branch(tree, page, lower, upper, changes)
        }
    }

    fn merge_leaf<'c>(
        &mut self,
        old: Option<(Subtree, &Arc<Page>)>,
        lower: Separator,
        upper: Option<&Separator>,
        changes: &[Change<'c>],
    ) -> Result<Vec<Draft<'c>>> {
        let mut entries = merge_entries(old.map(|(_, page)| page), changes);
        let dropped = drop_garbage(&mut entries, self.horizon, &lower);
        let is_new = |entry: &Entry<'_>| matches!(entry, Entry::New(_));
        if let Some((tree, page)) = old {
            if entries.len() == page.count() && !entries.iter().any(is_new) {
                return Ok(vec![Draft { lower, content: Content::Kept(tree) }]);
            }
            self.release_page(page)?;
        }
        self.release_values(&dropped)?;
        entries.iter_mut().try_for_each(|entry| self.place_value(entry))?;
        self.pack_leaf(&lower, upper, entries)
    }

    fn merge_branch<'c>(
        &mut self,
        tree: Subtree,
        page: &Arc<Page>,
        lower: Separator,
        upper: Option<&Separator>,
        changes: &[Change<'c>],
    ) -> Result<Vec<Draft<'c>>> {
        let children = self.children_of(page, &lower, upper)?;
        let mut drafts: Vec<Draft<'c>> = Vec::with_capacity(children.len());
        let mut rest = changes;
        for (index, child) in children.iter().enumerate() {
            let child_upper = children.get(index + 1).map(|next| &next.lower).or(upper);
            let count = match child_upper {
                Some(bound) => rest.partition_point(|change| change.version < bound.as_key()),
                None => rest.len(),
            };
            let (here, after) = rest.split_at(count);
            rest = after;
            if self.has_work(child.tree, here) {
                let below = load(self.pager, child.tree.page, Some(page.level()))?;
                drafts.extend(self.merge_node(child.tree, &below, child.lower.clone(), child_upper, here)?);
            } else {
                drafts.push(Draft { lower: child.lower.clone(), content: Content::Kept(child.tree) });
            }
        }
        if drafts.iter().all(|draft| matches!(draft.content, Content::Kept(_)))
            && drafts.len() == children.len()
        {
            return Ok(vec![Draft { lower, content: Content::Kept(tree) }]);
        }
        self.release_page(page)?;
        self.join_underfull(&mut drafts, page.level())?;
        // A single child that is underfull may be joined with a neighbour once this branch is.
        if drafts.len() > 1 || drafts.iter().any(|draft| !draft.is_underfull(self.pager.page_size())) {
            self.write_all(&mut drafts)?;
        }
        self.pack_branch(page.level(), drafts)
    }

    /// Joins each underfull draft with a neighbour and packs the two anew, until none is underfull or only one is left.
    fn join_underfull(&mut self, drafts: &mut Vec<Draft<'_>>, parent_level: u8) -> Result<()> {
        let page_size = self.pager.page_size();
        let mut index = 0;
        while index < drafts.len() && drafts.len() > 1 {
            if !drafts[index].is_underfull(page_size) {
                index += 1;
                continue;
            }
            let left = index.saturating_sub(1);
            let right = drafts.remove(left + 1);
            let left_draft = drafts.remove(left);
            let lower = left_draft.lower.clone();
            let left_content = self.open(left_draft, parent_level, Some(&right.lower))?;
            let upper = drafts.get(left).map(|next| &next.lower);
            let joined = match (left_content, self.open(right, parent_level, upper)?) {
                (Content::Leaf { mut entries, .. }, Content::Leaf { entries: more, .. }) => {
                    entries.extend(more);
                    self.pack_leaf(&lower, upper, entries)?
                }
                (Content::Branch { level, mut children }, Content::Branch { children: more, .. }) => {
                    children.extend(more);
                    self.join_underfull(&mut children, level)?;
                    self.pack_branch(level, children)?
                }
                _ => unreachable!("children of one branch are of one level"),
            };
            // Two that stay two are as even as they get; one that came of two may be underfull still.
            index = if joined.len() == 1 { left } else { left + joined.len() };
            drafts.splice(left..left, joined);
        }
        Ok(())
    }

    /// The contents of a draft; a kept page is taken apart for that. `upper` is the lower bound of the draft after it.
    fn open<'c>(
        &mut self,
        draft: Draft<'c>,
        parent_level: u8,
        upper: Option<&Separator>,
    ) -> Result<Content<'c>> {
        let Content::Kept(tree) = draft.content else { return Ok(draft.content) };
        let page = load(self.pager, tree.page, Some(parent_level))?;
        self.release_page(&page)?;
        if page.level() == 0 {
            let entry = |index| Entry::Kept { page: Arc::clone(&page), index };
            let summary = Summary::of_children(std::iter::once(tree));
            return Ok(Content::Leaf { entries: (0..page.count()).map(entry).collect(), summary });
        }
        let kept = |child: Child| Draft { lower: child.lower, content: Content::Kept(child.tree) };
        let children = self.children_of(&page, &draft.lower, upper)?.into_iter().map(kept).collect();
        Ok(Content::Branch { level: page.level(), children })
    }

    /// The children of a branch. Their bounds come from pages that may be whole and still not fit together, so that they
    /// are checked against those of the branch.
    fn children_of(&self, page: &Page, lower: &Separator, upper: Option<&Separator>) -> Result<Vec<Child>> {
        let child = |index| {
            let (bound, tree) = page.branch(index);
            Child { lower: if index == 0 { lower.clone() } else { bound }, tree }
        };
        let children: Vec<Child> = (0..page.count()).map(child).collect();
        let bounds = children.iter().map(|child| &child.lower).chain(upper);
        if bounds.map(Separator::as_key).is_sorted_by(|a, b| a < b) {
            return Ok(children);
        }
        let damage = Damage("a separator lies outside the bounds of its branch");
        Err(self.pager.corruption(page.reference().page, damage))
    }

    /// Bounds within leaves that don't fit together are out of order, too.
    fn pack_branch<'c>(&self, level: u8, children: Vec<Draft<'c>>) -> Result<Vec<Draft<'c>>> {
        if !children.is_sorted_by(|a, b| a.lower.as_key() < b.lower.as_key()) {
            return Err(self.corruption(&children, "the children of a branch overlap"));
        }
        Ok(pack_branch(self.pager.page_size(), level, children))
    }

    /// Damage that shows in these drafts; it is in the pages that they came of, the first of which is named.
    fn corruption(&self, drafts: &[Draft<'_>], reason: &'static str) -> Error {
        let page = drafts.iter().find_map(Draft::origin).map_or(PageId(0), |origin| origin.page);
        self.pager.corruption(page, Damage(reason))
    }

    /// Entries come from pages that may be whole and still not fit together, so that they are checked against each other
    /// and against the bounds of their leaf.
    fn pack_leaf<'c>(
        &self,
        lower: &Separator,
        upper: Option<&Separator>,
        entries: Vec<Entry<'c>>,
    ) -> Result<Vec<Draft<'c>>> {
        let [first, last] = [entries.first(), entries.last()].map(|entry| entry.map(Entry::version));
        let is_inside = first.is_none_or(|first| lower.as_key() <= first)
            && last.zip(upper).is_none_or(|(last, upper)| last < upper.as_key());
        if !is_inside || !entries.is_sorted_by(Entry::comes_before) {
            let page = entries.iter().find_map(Entry::origin).expect("changes are in order, and inside");
            let damage = Damage("an entry lies outside the bounds of its leaf");
            return Err(self.pager.corruption(page.page, damage));
        }
        Ok(pack_leaf(self.pager.page_size(), lower, entries))
    }

    /// Writes a value that is too large for a leaf to pages of its own.
    fn place_value(&mut self, entry: &mut Entry<'_>) -> Result<()> {
        let Entry::New(LeafCell { version, value }) = entry else { return Ok(()) };
        let LeafValue::Inline(bytes) = *value else { return Ok(()) };
        let page_size = self.pager.page_size();
        if !is_inline(page_size, version.key.len(), bytes) {
            let start = self.allocator.allocate((bytes.len() as u64).div_ceil(page_size as u64));
            *value = LeafValue::Extent(self.pager.write_extent(start, bytes)?);
        }
        Ok(())
    }

    fn write_all(&mut self, drafts: &mut [Draft<'_>]) -> Result<()> {
        for draft in drafts {
            draft.content = Content::Kept(self.write(&draft.content)?);
        }
        Ok(())
    }

    fn write(&mut self, content: &Content<'_>) -> Result<Subtree> {
        let (page, summary) = match content {
            Content::Kept(tree) => return Ok(*tree),
            Content::Leaf { entries, summary } => {
                let id = self.allocator.allocate(1);
                (leaf_page(self.pager, id, self.generation, entries.iter().map(Entry::cell)), *summary)
            }
            Content::Branch { level, children } => {
                let write = |child: &Draft<'_>| {
                    Ok(Child { tree: self.write(&child.content)?, lower: child.lower.clone() })
                };
                let children = children.iter().map(write).collect::<Result<Vec<_>>>()?;
                let summary = Summary::of_children(children.iter().map(|child| child.tree));
                let id = self.allocator.allocate(1);
                (branch_page(self.pager, id, self.generation, *level, &children), summary)
            }
        };
        Ok(summary.at(self.pager.write(page)?))
    }

    /// Writes the only draft that is left, or goes on below it as long as it is a branch with a single child.
    fn write_root(&mut self, draft: Draft<'_>) -> Result<Subtree> {
        let mut content = draft.content;
        while let Content::Branch { children, .. } = &mut content
            && children.len() == 1
        {
            content = children.remove(0).content;
        }
        let mut root = self.write(&content)?;
        loop {
            let page = load(self.pager, root.page, None)?;
            if page.level() == 0 || page.count() > 1 {
                return Ok(root);
            }
            self.release_page(&page)?;
            root = page.child(0);
        }
    }

    /// Gives back the pages of large values that only these entries point to.
    fn release_values(&mut self, dropped: &[Entry<'_>]) -> Result<()> {
        for entry in dropped {
            if let (Entry::Kept { page, .. }, LeafValue::Extent(extent)) = (entry, entry.cell().value) {
                self.release(page.reference().page, extent.start, extent.pages(self.pager.page_size()))?;
            }
        }
        Ok(())
    }

    fn release_page(&mut self, page: &Page) -> Result<()> {
        let id = page.reference().page;
        self.release(id, id, 1)
    }

    fn release(&mut self, named_by: PageId, start: PageId, count: u64) -> Result<()> {
        self.allocator.release(start, count).map_err(|damage| self.pager.corruption(named_by, damage))
    }
}

/// The entries of a leaf and the changes, in one order.
fn merge_entries<'c>(page: Option<&Arc<Page>>, changes: &[Change<'c>]) -> Vec<Entry<'c>> {
    let count = page.map_or(0, |page| page.count());
    let mut entries = Vec::with_capacity(count + changes.len());
    let mut changes = changes.iter().peekable();
    let new = |change: &Change<'c>| {
        let value = change.value.map_or(LeafValue::Tombstone, LeafValue::Inline);
        Entry::New(LeafCell { version: change.version, value })
    };
    if let Some(page) = page {
        for index in 0..count {
            let version = page.version(index);
            while let Some(change) = changes.next_if(|change| change.version < version) {
                entries.push(new(change));
            }
            entries.push(Entry::Kept { page: Arc::clone(page), index });
        }
    }
    entries.extend(changes.map(new));
    entries
}

/// Takes out of the entries of a leaf with this lower bound those that no snapshot at `horizon` or later needs.
fn drop_garbage<'c>(entries: &mut Vec<Entry<'c>>, horizon: TxnId, lower: &Separator) -> Vec<Entry<'c>> {
    let mut sieve = Sieve::new(horizon, lower);
    let is_garbage = |entry: &mut Entry<'c>| {
        let LeafCell { version, value } = entry.cell();
        !sieve.keeps(version, value == LeafValue::Tombstone)
    };
    entries.extract_if(.., is_garbage).collect()
}
