//! Checking the whole tree against its invariants, as it is on disk.
//!
//! Two trees of one database share what the checkpoints between them have left alone. What a walk checks below a pointer
//! follows from the pointer, which bears the checksums of all that is below it, from the bounds that it is held to, and
//! from the checkpoint of its tree. So a subtree that was walked in the later tree need not be walked again in the earlier
//! one, if both hold it to the same bounds and nothing in it is later than the earlier tree.

use std::ops::Range;

use super::check;
use super::retain::{Summary, Summing};
use crate::error::Result;
use crate::format::{Damage, LeafValue, Page, Separator, Subtree, VersionKey};
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
    /// The largest subtrees that an earlier tree may share.
    shareable: Vec<Walked>,
}

/// A subtree in which no page is of a later generation than the earlier tree, and what it was held to.
#[derive(Debug)]
struct Walked {
    at: Subtree,
    level: u8,
    lower: Separator,
    upper: Option<Separator>,
    /// Its part of the pages of the report.
    pages: Range<usize>,
}

/// Walks the tree at `root`, which holds no transaction after `checkpoint` and no page of a later generation than
/// `generation`. Reads every page from the disk, even those that are in the cache. A tree of the generation `earlier` may
/// be walked after it.
pub(crate) fn verify(
    pager: &Pager,
    root: Option<Subtree>,
    checkpoint: TxnId,
    generation: Generation,
    earlier: Option<Generation>,
) -> Result<TreeReport> {
    let mut report = TreeReport::default();
    let mut walk = Walk { pager, checkpoint, generation, earlier, later: None, report: &mut report };
    walk.root(root)?;
    Ok(report)
}

/// Walks an earlier tree than that of `later`, of the generation that was named when that was walked. Returns every page
/// it uses, as runs.
pub(crate) fn verify_earlier(
    pager: &Pager,
    root: Option<Subtree>,
    checkpoint: TxnId,
    generation: Generation,
    later: &TreeReport,
) -> Result<Vec<(PageId, u64)>> {
    let mut report = TreeReport::default();
    let later = Some(later);
    let mut walk = Walk { pager, checkpoint, generation, earlier: None, later, report: &mut report };
    walk.root(root)?;
    Ok(report.pages)
}

struct Walk<'a> {
    pager: &'a Pager,
    checkpoint: TxnId,
    generation: Generation,
    /// The generation of a tree to be walked after this one.
    earlier: Option<Generation>,
    /// What was found in a tree that was walked before this one.
    later: Option<&'a TreeReport>,
    report: &'a mut TreeReport,
}

/// What a subtree is held to.
#[derive(Debug, Clone, Copy)]
struct Bounds<'a> {
    /// None for a root.
    parent_level: Option<u8>,
    lower: &'a Separator,
    upper: Option<&'a Separator>,
}

impl Bounds<'_> {
    fn contain(self, version: VersionKey<'_>) -> bool {
        self.lower.as_key() <= version && self.upper.is_none_or(|upper| version < upper.as_key())
    }
}

impl Walk<'_> {
    fn root(&mut self, root: Option<Subtree>) -> Result<()> {
        if let Some(root) = root {
            let lower = &Separator::lowest();
            self.node(root, Bounds { parent_level: None, lower, upper: None })?;
        }
        Ok(())
    }

    /// Walks the subtree at `at`, and returns a generation that no page in it is later than.
    fn node(&mut self, at: Subtree, bounds: Bounds<'_>) -> Result<Generation> {
        let first = self.report.pages.len();
        if self.is_known(at, bounds) {
            return Ok(self.generation);
        }
        let page = self.pager.read_from_disk(at.page)?;
        let newest = self.page(at, &page, bounds)?;
        if self.earlier.is_some_and(|earlier| newest <= earlier) {
            let Bounds { lower, upper, .. } = bounds;
            let pages = first..self.report.pages.len();
            let (lower, upper) = (lower.clone(), upper.cloned());
            self.keep(Walked { at, level: page.level(), lower, upper, pages });
        }
        Ok(newest)
    }

    /// Whether the later tree has the same subtree, whose pages are noted then.
    fn is_known(&mut self, at: Subtree, bounds: Bounds<'_>) -> bool {
        let Some(later) = self.later.filter(|_| at.newest <= self.checkpoint) else { return false };
        let is_same = |walked: &&Walked| {
            walked.at == at
                && bounds.parent_level.is_none_or(|parent| parent.checked_sub(1) == Some(walked.level))
                && (&walked.lower, walked.upper.as_ref()) == (bounds.lower, bounds.upper)
        };
        // In the order of the tree, as their lower bounds are.
        let from = later.shareable.partition_point(|walked| walked.lower.as_key() < bounds.lower.as_key());
        let Some(walked) = later.shareable.get(from).filter(is_same) else { return false };
        self.report.pages.extend_from_slice(&later.pages[walked.pages.clone()]);
        true
    }

    /// Keeps what was walked for an earlier tree, in place of its parts.
    fn keep(&mut self, walked: Walked) {
        let shareable = &mut self.report.shareable;
        let is_part = |part: &&Walked| part.pages.start >= walked.pages.start;
        let count = shareable.iter().rev().take_while(is_part).count();
        shareable.truncate(shareable.len() - count);
        shareable.push(walked);
    }

    /// Checks a page and walks what is below it. Returns the newest generation of all that.
    fn page(&mut self, at: Subtree, page: &Page, bounds: Bounds<'_>) -> Result<Generation> {
        check(self.pager, page, bounds.parent_level)?;
        let corruption = |reason| self.pager.corruption(at.page.page, Damage(reason));
        if page.generation() > self.generation {
            return Err(corruption("a page is of a later checkpoint than the tree that it belongs to"));
        }
        self.report.pages.push((at.page.page, 1));
        self.report.height = self.report.height.max(page.level() + 1);
        if page.level() == 0 {
            self.leaf(at, page, bounds)?;
            return Ok(page.generation());
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
        let mut newest = page.generation();
        let mut lower = bounds.lower.clone();
        for index in 0..page.count() {
            let next = (index + 1 < page.count()).then(|| page.branch(index + 1).0);
            let upper = next.as_ref().or(bounds.upper);
            let below = Bounds { parent_level: Some(page.level()), lower: &lower, upper };
            newest = newest.max(self.node(page.child(index), below)?);
            if let Some(next) = next {
                if !bounds.contain(next.as_key()) {
                    return Err(corruption("a separator lies outside the bounds of its branch"));
                }
                lower = next;
            }
        }
        Ok(newest)
    }

    fn leaf(&mut self, at: Subtree, page: &Page, bounds: Bounds<'_>) -> Result<()> {
        let corruption = |reason| self.pager.corruption(at.page.page, Damage(reason));
        self.report.leaf_count += 1;
        // The entries are in order, or the page could not have been decoded.
        if [0, page.count() - 1].into_iter().any(|index| !bounds.contain(page.version(index))) {
            return Err(corruption("an entry lies outside the bounds of its leaf"));
        }
        let mut summing = Summing::new(bounds.lower);
        for index in 0..page.count() {
            let cell = page.leaf(index);
            if cell.version.txn > self.checkpoint || cell.version.txn == TxnId(0) {
                return Err(corruption("an entry is of a transaction that the tree can't hold"));
            }
            if let LeafValue::Extent(extent) = cell.value {
                self.pager.check_extent(extent)?;
                self.report.extent_count += 1;
                self.report.pages.push((extent.start, extent.pages(self.pager.page_size())));
            }
            summing.take(cell);
        }
        self.report.version_count += page.count() as u64;
        if summing.summary.at(at.page) != at {
            return Err(corruption("a leaf is newer, or holds other garbage, than its pointer says"));
        }
        Ok(())
    }
}
