//! Merging sorted changes into the tree: what a checkpoint does.
//!
//! One pass from left to right. Only nodes with changes below them are read and written; everything else is kept by
//! reference. On the way, versions that no retained snapshot can see are dropped from every leaf that is rewritten.
//! Splits and merges of nodes fall out of packing: a node's entries, however many, are cut into pages that are filled
//! evenly, and a node that became underfull is joined with a neighbour before it is cut.

use super::draft::{Child, Content, Draft, Entry, branch_page, leaf_page, pack_branch, pack_leaf};
use super::{capacity, load};
use crate::error::Result;
use crate::format::{
    Damage, EXTENT_BYTES, LEAF_CELL_HEADER, LeafCell, LeafValue, Page, PageReference, SLOT_BYTES, Separator,
    VersionKey,
};
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

/// Merges `changes`, in the order of the tree, into the tree at `root`, and returns the new root. The pages that only
/// the old tree uses are given to the allocator.
pub(crate) fn merge(
    mut target: Target<'_>,
    root: Option<PageReference>,
    changes: &[Change<'_>],
) -> Result<Option<PageReference>> {
    assert!(changes.is_sorted_by(|a, b| a.version < b.version), "changes come in the order of the tree");
    let lowest = Separator::lowest();
    let mut level = 0;
    let mut drafts = match root {
        _ if changes.is_empty() => return Ok(root),
        None => target.merge_leaf(None, lowest, None, changes)?,
        Some(root) => {
            let page = load(target.pager, root, None)?;
            level = page.level();
            target.merge_node(&page, lowest, None, changes)?
        }
    };
    while drafts.len() > 1 {
        let children = target.write_all(drafts)?;
        level = level.checked_add(1).expect("256 levels of two children each exceed any file");
        drafts = pack_branch(target.pager.page_size(), level, children);
    }
    match drafts.pop() {
        Some(draft) => Ok(Some(target.write_root(draft)?)),
        None => Ok(None),
    }
}

impl Target<'_> {
    fn merge_node<'c>(
        &mut self,
        page: &Arc<Page>,
        lower: Separator,
        upper: Option<&Separator>,
        changes: &[Change<'c>],
    ) -> Result<Vec<Draft<'c>>> {
        if page.level() == 0 {
            self.merge_leaf(Some(page), lower, upper, changes)
        } else {
            self.merge_branch(page, lower, upper, changes)
        }
    }

    fn merge_leaf<'c>(
        &mut self,
        page: Option<&Arc<Page>>,
        lower: Separator,
        upper: Option<&Separator>,
        changes: &[Change<'c>],
    ) -> Result<Vec<Draft<'c>>> {
        let ends_between_keys = upper.is_none_or(Separator::is_between_keys);
        let (entries, dropped) = retain(merge_entries(page, changes), self.horizon, ends_between_keys);
        let is_new = |entry: &Entry<'_>| matches!(entry, Entry::New(_));
        if let Some(page) = page {
            if entries.len() == page.count() && !entries.iter().any(is_new) {
                return Ok(vec![Draft { lower, content: Content::Kept(page.reference()) }]);
            }
            self.release_page(page)?;
        }
        for entry in &dropped {
            if let (Entry::Kept { page, .. }, LeafValue::Extent(extent)) = (entry, entry.cell().value) {
                self.release(page.reference().page, extent.start, extent.pages(self.pager.page_size()))?;
            }
        }
        let entries = entries.into_iter().map(|entry| self.place_value(entry)).collect::<Result<Vec<_>>>()?;
        self.pack_leaf(&lower, entries)
    }

    fn merge_branch<'c>(
        &mut self,
        page: &Arc<Page>,
        lower: Separator,
        upper: Option<&Separator>,
        changes: &[Change<'c>],
    ) -> Result<Vec<Draft<'c>>> {
        let children = children_of(page, &lower);
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
            if here.is_empty() {
                drafts.push(Draft { lower: child.lower.clone(), content: Content::Kept(child.page) });
            } else {
                let below = load(self.pager, child.page, Some(page.level()))?;
                drafts.extend(self.merge_node(&below, child.lower.clone(), child_upper, here)?);
            }
        }
        if drafts.iter().all(|draft| matches!(draft.content, Content::Kept(_)))
            && drafts.len() == children.len()
        {
            return Ok(vec![Draft { lower, content: Content::Kept(page.reference()) }]);
        }
        self.release_page(page)?;
        self.join_underfull(&mut drafts, page.level())?;
        let children = self.write_all(drafts)?;
        Ok(pack_branch(self.pager.page_size(), page.level(), children))
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
            let joined = match (self.open(left_draft, parent_level)?, self.open(right, parent_level)?) {
                (Content::Leaf(mut entries), Content::Leaf(more)) => {
                    entries.extend(more);
                    self.pack_leaf(&lower, entries)?
                }
                (Content::Branch { level, mut children }, Content::Branch { children: more, .. }) => {
                    children.extend(more);
                    pack_branch(page_size, level, children)
                }
                _ => unreachable!("children of one branch are of one level"),
            };
            // Two that stay two are as even as they get; one that came of two may be underfull still.
            index = if joined.len() == 1 { left } else { left + joined.len() };
            drafts.splice(left..left, joined);
        }
        Ok(())
    }

    /// The contents of a draft; a kept page is taken apart for that.
    fn open<'c>(&mut self, draft: Draft<'c>, parent_level: u8) -> Result<Content<'c>> {
        let Content::Kept(reference) = draft.content else { return Ok(draft.content) };
        let page = load(self.pager, reference, Some(parent_level))?;
        self.release_page(&page)?;
        if page.level() == 0 {
            let entry = |index| Entry::Kept { page: Arc::clone(&page), index };
            return Ok(Content::Leaf((0..page.count()).map(entry).collect()));
        }
        Ok(Content::Branch { level: page.level(), children: children_of(&page, &draft.lower) })
    }

    /// Entries come from pages that may be whole and still not fit together, so that their order is checked.
    fn pack_leaf<'c>(&self, lower: &Separator, entries: Vec<Entry<'c>>) -> Result<Vec<Draft<'c>>> {
        if !entries.is_sorted_by(|a, b| a.cell().version < b.cell().version) {
            let page = entries.iter().find_map(|entry| match entry {
                Entry::Kept { page, .. } => Some(page.reference().page),
                Entry::New(_) => None,
            });
            let page = page.expect("changes are in order among themselves");
            return Err(self.pager.corruption(page, Damage("a leaf's entries overlap its neighbour's")));
        }
        Ok(pack_leaf(self.pager.page_size(), lower, entries))
    }

    /// Writes a value that is too large for a leaf to pages of its own.
    fn place_value<'c>(&mut self, entry: Entry<'c>) -> Result<Entry<'c>> {
        let Entry::New(LeafCell { version, value: LeafValue::Inline(bytes) }) = entry else {
            return Ok(entry);
        };
        let page_size = self.pager.page_size();
        let inline = LEAF_CELL_HEADER + version.key.len() + bytes.len() + SLOT_BYTES;
        if inline <= capacity(page_size) / 4 || bytes.len() <= EXTENT_BYTES {
            return Ok(entry);
        }
        let start = self.allocator.allocate((bytes.len() as u64).div_ceil(page_size as u64));
        let extent = self.pager.write_extent(start, bytes)?;
        Ok(Entry::New(LeafCell { version, value: LeafValue::Extent(extent) }))
    }

    fn write_all(&mut self, drafts: Vec<Draft<'_>>) -> Result<Vec<Child>> {
        drafts
            .into_iter()
            .map(|draft| Ok(Child { page: self.write(&draft.content)?, lower: draft.lower }))
            .collect()
    }

    fn write(&mut self, content: &Content<'_>) -> Result<PageReference> {
        let page_size = self.pager.page_size();
        let page = match content {
            Content::Kept(reference) => return Ok(*reference),
            Content::Leaf(entries) => {
                leaf_page(page_size, self.allocator.allocate(1), self.generation, entries)
            }
            Content::Branch { level, children } => {
                branch_page(page_size, self.allocator.allocate(1), self.generation, *level, children)
            }
        };
        self.pager.write(page)
    }

    /// Writes the only draft that is left, or goes on below it as long as it is a branch with a single child.
    fn write_root(&mut self, draft: Draft<'_>) -> Result<PageReference> {
        let mut root = match draft.content {
            Content::Branch { children, .. } if children.len() == 1 => children[0].page,
            content => self.write(&content)?,
        };
        loop {
            let page = load(self.pager, root, None)?;
            if page.level() == 0 || page.count() > 1 {
                return Ok(root);
            }
            self.release_page(&page)?;
            root = page.branch(0).1;
        }
    }

    fn release_page(&mut self, page: &Page) -> Result<()> {
        let id = page.reference().page;
        self.release(id, id, 1)
    }

    fn release(&mut self, named_by: PageId, start: PageId, count: u64) -> Result<()> {
        self.allocator.release(start, count).map_err(|damage| self.pager.corruption(named_by, damage))
    }
}

fn children_of(page: &Page, lower: &Separator) -> Vec<Child> {
    let child = |index| {
        let (bound, page) = page.branch(index);
        let bound =
            if index == 0 { lower.clone() } else { Separator { key: bound.key.to_vec(), txn: bound.txn } };
        Child { lower: bound, page }
    };
    (0..page.count()).map(child).collect()
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
            let version = page.leaf(index).version;
            while let Some(change) = changes.next_if(|change| change.version < version) {
                entries.push(new(change));
            }
            entries.push(Entry::Kept { page: Arc::clone(page), index });
        }
    }
    entries.extend(changes.map(new));
    entries
}

/// Splits entries into those that a snapshot at `horizon` or later can see, and the rest.
///
/// Of each key that is every version after the horizon, and the newest one up to it. If that one is a deletion it is
/// not needed either, unless older versions of the key lie in the next leaf (`ends_between_keys` says that none do),
/// where they would come to light again.
fn retain<'c>(
    entries: Vec<Entry<'c>>,
    horizon: TxnId,
    ends_between_keys: bool,
) -> (Vec<Entry<'c>>, Vec<Entry<'c>>) {
    let mut kept = Vec::with_capacity(entries.len());
    let mut dropped = Vec::new();
    let mut entries = entries.into_iter().peekable();
    while let Some(first) = entries.next() {
        let mut group = vec![first];
        while let Some(more) =
            entries.next_if(|entry| entry.cell().version.key == group[0].cell().version.key)
        {
            group.push(more);
        }
        let is_whole = entries.peek().is_some() || ends_between_keys;
        let mut is_covered = false;
        for entry in group {
            let cell = entry.cell();
            let is_visible_at_horizon = cell.version.txn <= horizon && !is_covered;
            let is_gone = is_visible_at_horizon && cell.value == LeafValue::Tombstone && is_whole;
            let is_needed = cell.version.txn > horizon || (is_visible_at_horizon && !is_gone);
            is_covered |= is_visible_at_horizon;
            if is_needed {
                kept.push(entry);
            } else {
                dropped.push(entry);
            }
        }
    }
    (kept, dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries<'a>(cells: &[(&'a str, u64, Option<&'a str>)]) -> Vec<Entry<'a>> {
        let entry = |(key, txn, value): &(&'a str, u64, Option<&'a str>)| {
            let version = VersionKey { key: key.as_bytes(), txn: TxnId(*txn) };
            let value = value.map_or(LeafValue::Tombstone, |value| LeafValue::Inline(value.as_bytes()));
            Entry::New(LeafCell { version, value })
        };
        cells.iter().map(entry).collect()
    }

    fn retained(
        horizon: u64,
        ends_between_keys: bool,
        cells: &[(&str, u64, Option<&str>)],
    ) -> Vec<(String, u64)> {
        let (kept, dropped) = retain(entries(cells), TxnId(horizon), ends_between_keys);
        assert_eq!(kept.len() + dropped.len(), cells.len());
        let name = |entry: &Entry<'_>| {
            let version = entry.cell().version;
            (String::from_utf8_lossy(version.key).into_owned(), version.txn.0)
        };
        kept.iter().map(name).collect()
    }

    fn expect(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
        pairs.iter().map(|(key, txn)| ((*key).to_owned(), *txn)).collect()
    }

    #[test]
    fn keeps_what_the_horizon_and_later_snapshots_see() {
        let cells = [("a", 9, Some("x")), ("a", 5, Some("x")), ("a", 2, Some("x")), ("b", 1, Some("x"))];
        assert_eq!(retained(0, true, &cells), expect(&[("a", 9), ("a", 5), ("a", 2), ("b", 1)]));
        assert_eq!(retained(6, true, &cells), expect(&[("a", 9), ("a", 5), ("b", 1)]));
        assert_eq!(retained(9, true, &cells), expect(&[("a", 9), ("b", 1)]));
    }

    #[test]
    fn deletions_go_when_nothing_is_left_to_hide() {
        let cells = [("a", 4, None), ("a", 2, Some("x")), ("b", 5, None)];
        assert_eq!(retained(3, true, &cells), expect(&[("a", 4), ("a", 2), ("b", 5)]));
        assert_eq!(retained(4, true, &cells), expect(&[("b", 5)]));
        assert_eq!(retained(5, true, &cells), expect(&[]));
        assert_eq!(retained(5, false, &cells), expect(&[("b", 5)]), "the next leaf may hold an older b");
    }
}
