//! Checking the whole tree against its invariants, as it is on disk.

use super::check;
use super::retain::Summary;
use crate::error::Result;
use crate::format::{Damage, LeafValue, Separator, Subtree, VersionKey};
use crate::ids::{Generation, PageId, TxnId};
use crate::pager::Pager;

/// What a walk over the whole tree found.
#[derive(Debug, Default)]
pub(crate) struct TreeReport {
    /// Every page the tree uses, as runs.
    pub(crate) pages: Vec<(PageId, u64)>,
    pub(crate) branch_count: u64,
    pub(crate) leaf_count: u64,
    pub(crate) version_count: u64,
    pub(crate) extent_count: u64,
    pub(crate) height: u8,
}

/// Walks the tree at `root`, which holds no transaction after `checkpoint` and no page of a later generation than
/// `generation`. Reads every page from the disk, even those that are in the cache.
pub(crate) fn verify(
    pager: &Pager,
    root: Option<Subtree>,
    checkpoint: TxnId,
    generation: Generation,
) -> Result<TreeReport> {
    let mut report = TreeReport::default();
    if let Some(root) = root {
        let page = pager.read_from_disk(root.page)?;
        report.height = page.level() + 1;
        let above = report.height;
        Walk { pager, checkpoint, generation, report: &mut report }.node(
            root,
            above,
            &Separator::lowest(),
            None,
        )?;
    }
    Ok(report)
}

struct Walk<'a> {
    pager: &'a Pager,
    checkpoint: TxnId,
    generation: Generation,
    report: &'a mut TreeReport,
}

impl Walk<'_> {
    /// Walks the subtree at `at`, whose parent is of level `parent_level`.
    fn node(
        &mut self,
        at: Subtree,
        parent_level: u8,
        lower: &Separator,
        upper: Option<&Separator>,
    ) -> Result<()> {
        let page = self.pager.read_from_disk(at.page)?;
        check(self.pager, &page, Some(parent_level))?;
        let corruption = |reason| self.pager.corruption(at.page.page, Damage(reason));
        if page.generation() > self.generation {
            return Err(corruption("a page is of a later checkpoint than the tree that it belongs to"));
        }
        self.report.pages.push((at.page.page, 1));
        let is_inside = |version: VersionKey<'_>| {
            lower.as_key() <= version && upper.is_none_or(|upper| version < upper.as_key())
        };
        if page.level() == 0 {
            self.report.leaf_count += 1;
            for index in 0..page.count() {
                let cell = page.leaf(index);
                if !is_inside(cell.version) {
                    return Err(corruption("an entry lies outside the bounds of its leaf"));
                }
                if cell.version.txn > self.checkpoint || cell.version.txn == TxnId(0) {
                    return Err(corruption("an entry is of a transaction that the tree can't hold"));
                }
                self.report.version_count += 1;
                if let LeafValue::Extent(extent) = cell.value {
                    self.pager.read_extent(extent)?;
                    self.report.extent_count += 1;
                    self.report.pages.push((extent.start, extent.pages(self.pager.page_size())));
                }
            }
            let summary = Summary::of_cells((0..page.count()).map(|index| page.leaf(index)), lower);
            if summary.at(at.page) != at {
                return Err(corruption("a leaf is newer, or holds other garbage, than its pointer says"));
            }
            return Ok(());
        }
        if page.count() == 1 {
            return Err(corruption("a branch has a single child"));
        }
        self.report.branch_count += 1;
        let summary = Summary::of_children((0..page.count()).map(|index| page.child(index)));
        if summary.at(at.page) != at {
            return Err(corruption(
                "a branch's children are newer, or hold other garbage, than its pointer says",
            ));
        }
        let bound = |index| page.branch(index).0;
        for index in 0..page.count() {
            let child_lower = if index == 0 { lower.clone() } else { bound(index) };
            if index > 0 && !is_inside(child_lower.as_key()) {
                return Err(corruption("a separator lies outside the bounds of its branch"));
            }
            let child_upper = (index + 1 < page.count()).then(|| bound(index + 1));
            self.node(page.child(index), page.level(), &child_lower, child_upper.as_ref().or(upper))?;
        }
        Ok(())
    }
}
