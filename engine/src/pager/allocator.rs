//! Which pages are free, and which will be.
//!
//! A checkpoint that makes generation *g* frees pages that generation *g - 1* still reaches. They become free in two
//! steps: not before generation *g + 1* is being built (until *g* is durable the database may fall back to *g - 1*, and
//! while *g + 1* is being written *g* has to stay whole), and not while any reader holds a base version older than *g*.
//!
//! On disk there are no readers, so the persisted list tells apart only what is free and what was freed just now.

use std::collections::{BTreeMap, VecDeque};

use crate::error::Result;
use crate::format::{Damage, FreeListPage, FreeRun, Meta, Page, PageReference, runs_per_page};
use crate::ids::{Generation, PageId};
use crate::pager::Pager;

/// Page accounting. Owned by the checkpoint; one that fails puts back the copy that it made before.
#[derive(Debug, Clone)]
pub(crate) struct Allocator {
    page_count: u64,
    free: Runs,
    /// Freed by the checkpoint under way.
    freed: Runs,
    /// Freed by earlier checkpoints, oldest first, not yet free.
    waiting: VecDeque<Batch>,
    /// The pages of the free list as it was persisted last.
    list_pages: Vec<PageId>,
}

/// What the pages of the file are used for, apart from the tree.
#[derive(Debug)]
pub(crate) struct Census {
    pub(crate) page_count: u64,
    /// Each once: free, waiting to become free, or part of the free list.
    pub(crate) unused: Vec<(PageId, u64)>,
    pub(crate) free: u64,
    pub(crate) waiting: u64,
}

#[derive(Debug, Clone)]
struct Batch {
    generation: Generation,
    runs: Runs,
}

impl Allocator {
    /// The allocator of an empty database: nothing but the two meta pages.
    pub(crate) fn new() -> Allocator {
        Allocator::with_pages(2)
    }

    /// The allocator of a file of which every page is in use.
    pub(crate) fn with_pages(page_count: u64) -> Allocator {
        Allocator {
            page_count,
            free: Runs::default(),
            freed: Runs::default(),
            waiting: VecDeque::new(),
            list_pages: Vec::new(),
        }
    }

    /// Reads the free list that `meta` points to.
    pub(crate) fn load(pager: &Pager, meta: &Meta) -> Result<Allocator> {
        Allocator::load_checking(pager, meta, |_| Ok(()))
    }

    /// The same, with one more check of each page of the list.
    pub(crate) fn load_checking(
        pager: &Pager,
        meta: &Meta,
        check: impl Fn(&Page) -> Result<(), Damage>,
    ) -> Result<Allocator> {
        let mut allocator = Allocator { page_count: meta.page_count, ..Allocator::new() };
        let mut just_freed = Runs::default();
        let mut next = meta.free_list;
        while let Some(reference) = next {
            let corruption = |reason| pager.corruption(reference.page, Damage(reason));
            if allocator.list_pages.len() as u64 >= meta.page_count {
                return Err(corruption("the free list runs in a circle"));
            }
            if !(2..meta.page_count).contains(&reference.page.0) {
                return Err(corruption("the free list lies beyond the end of the file"));
            }
            let page = pager.read_from_disk(reference)?;
            let list = check(&page).and_then(|()| FreeListPage::decode(&page));
            let list = list.map_err(|damage| pager.corruption(reference.page, damage))?;
            for run in list.runs {
                let end = run.start.0.checked_add(u64::from(run.count));
                if end.is_none_or(|end| end > meta.page_count) {
                    return Err(corruption("the free list reaches beyond the end of the file"));
                }
                let target = if run.just_freed { &mut just_freed } else { &mut allocator.free };
                if !target.insert(run.start, u64::from(run.count)) {
                    return Err(corruption("the free list names a page twice"));
                }
            }
            allocator.list_pages.push(reference.page);
            next = list.next;
        }
        if !just_freed.is_empty() {
            allocator.waiting.push_back(Batch { generation: meta.generation, runs: just_freed });
        }
        Ok(allocator)
    }

    /// Starts building the generation after `current`: frees what neither the fallback nor a reader needs any more.
    /// `oldest_held` is the oldest generation that a reader may still hold, or `current`.
    pub(crate) fn begin(&mut self, current: Generation, oldest_held: Generation) -> Result<(), Damage> {
        assert!(self.freed.is_empty(), "the checkpoint before this one was finished");
        while let Some(batch) = self.waiting.front() {
            if batch.generation >= current || batch.generation > oldest_held {
                break;
            }
            let batch = self.waiting.pop_front().expect("the queue has a front");
            for (start, count) in batch.runs.iter() {
                if !self.free.insert(start, count) {
                    return Err(Damage("a page that is freed was free already"));
                }
            }
        }
        Ok(())
    }

    /// Takes `count` contiguous pages, from the free ones if there is such a run, else at the end of the file.
    pub(crate) fn allocate(&mut self, count: u64) -> PageId {
        assert!(count > 0);
        if let Some(start) = self.free.take(count) {
            return start;
        }
        let start = PageId(self.page_count);
        self.page_count += count;
        start
    }

    /// Gives back pages that the current generation reaches. They are named by pages on disk, so that a page outside
    /// the file, or one that is given back twice, is damage.
    pub(crate) fn release(&mut self, start: PageId, count: u64) -> Result<(), Damage> {
        let end = start.0.checked_add(count);
        if start.0 < 2 || end.is_none_or(|end| end > self.page_count) {
            return Err(Damage("a page in use lies beyond the end of the file"));
        }
        if self.freed.insert(start, count) { Ok(()) } else { Err(Damage("a page is used twice")) }
    }

    /// Ends the building of `generation`: writes the free list to pages of its own and returns where it starts.
    pub(crate) fn finish(&mut self, pager: &Pager, generation: Generation) -> Result<Option<PageReference>> {
        for page in std::mem::take(&mut self.list_pages) {
            self.release(page, 1).map_err(|damage| pager.corruption(page, damage))?;
        }
        let freed = std::mem::take(&mut self.freed);
        if !freed.is_empty() {
            self.waiting.push_back(Batch { generation, runs: freed });
        }
        let waiting_runs: usize = self.waiting.iter().map(|batch| batch.runs.split_count()).sum();
        let per_page = runs_per_page(pager.page_size());
        // Taking pages off the free runs never makes them more, so this many pages will do.
        let list_page_count = (self.free.split_count() + waiting_runs).div_ceil(per_page);
        self.list_pages = (0..list_page_count).map(|_| self.allocate(1)).collect();
        let runs = self.persisted_runs(generation);
        let mut chunks: Vec<&[FreeRun]> = runs.chunks(per_page).collect();
        chunks.resize(list_page_count, &[]);
        let mut next = None;
        for (id, chunk) in self.list_pages.iter().zip(chunks).rev() {
            let list = FreeListPage { next, runs: chunk.to_vec() };
            let page = list.encode(pager.page_size(), pager.database(), *id, generation);
            next = Some(pager.write(page)?);
        }
        Ok(next)
    }

    /// The first page of a run that may be used for something new.
    pub(crate) fn first_free(&self, start: PageId, count: u64) -> Option<PageId> {
        self.free.first_in(start, count)
    }

    pub(crate) fn page_count(&self) -> u64 {
        self.page_count
    }

    /// The pages of the free list as it was persisted last.
    pub(crate) fn list_pages(&self) -> &[PageId] {
        &self.list_pages
    }

    pub(crate) fn census(&self) -> Census {
        let waiting_runs = || self.waiting.iter().flat_map(|batch| batch.runs.iter());
        let list_runs = self.list_pages.iter().map(|page| (*page, 1));
        Census {
            page_count: self.page_count,
            unused: self.free.iter().chain(waiting_runs()).chain(list_runs).collect(),
            free: self.free.iter().map(|(_, count)| count).sum(),
            waiting: waiting_runs().map(|(_, count)| count).sum(),
        }
    }

    fn persisted_runs(&self, generation: Generation) -> Vec<FreeRun> {
        let mut runs = Vec::new();
        let mut add = |source: &Runs, just_freed| {
            for (start, count) in source.iter() {
                split(start, count, |start, count| runs.push(FreeRun { start, count, just_freed }));
            }
        };
        add(&self.free, false);
        for batch in &self.waiting {
            add(&batch.runs, batch.generation == generation);
        }
        runs
    }
}

/// Runs on disk have a 32-bit count; a longer one is written as several.
fn split(start: PageId, count: u64, mut each: impl FnMut(PageId, u32)) {
    let mut at = start.0;
    let mut left = count;
    while left > 0 {
        let taken = u32::try_from(left).unwrap_or(u32::MAX);
        each(PageId(at), taken);
        at += u64::from(taken);
        left -= u64::from(taken);
    }
}

/// A set of pages as disjoint runs that don't touch.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Runs {
    by_start: BTreeMap<PageId, u64>,
}

impl Runs {
    fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = (PageId, u64)> {
        self.by_start.iter().map(|(start, count)| (*start, *count))
    }

    /// The number of runs it takes on disk.
    fn split_count(&self) -> usize {
        let mut total = 0;
        for (start, count) in self.iter() {
            split(start, count, |_, _| total += 1);
        }
        total
    }

    /// The first page of a run that is in the set.
    fn first_in(&self, start: PageId, count: u64) -> Option<PageId> {
        let before = self.by_start.range(..=start).next_back();
        if before.is_some_and(|(before, before_count)| before.0 + before_count > start.0) {
            return Some(start);
        }
        let (after, _) = self.by_start.range(start..).next()?;
        (after.0 < start.0.saturating_add(count)).then_some(*after)
    }

    /// Adds a run; `false` if one of its pages is there already.
    fn insert(&mut self, start: PageId, count: u64) -> bool {
        if self.first_in(start, count).is_some() {
            return false;
        }
        let mut start = start.0;
        let mut end = start + count;
        if let Some(after_count) = self.by_start.remove(&PageId(end)) {
            end += after_count;
        }
        if let Some((before, before_count)) = self.by_start.range(..PageId(start)).next_back()
            && before.0 + before_count == start
        {
            start = before.0;
        }
        self.by_start.insert(PageId(start), end - start);
        true
    }

    /// Takes `count` pages off the first run that has as many.
    fn take(&mut self, count: u64) -> Option<PageId> {
        let (start, available) = self.iter().find(|(_, available)| *available >= count)?;
        self.by_start.remove(&start);
        if available > count {
            self.by_start.insert(PageId(start.0 + count), available - count);
        }
        Some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(pairs: &[(u64, u64)]) -> Runs {
        Runs { by_start: pairs.iter().map(|(start, count)| (PageId(*start), *count)).collect() }
    }

    #[test]
    fn neighbours_become_one_run() {
        let mut set = Runs::default();
        for (start, count) in [(10, 2), (14, 1), (20, 5), (12, 2), (9, 1)] {
            assert!(set.insert(PageId(start), count));
        }
        assert_eq!(set, runs(&[(9, 6), (20, 5)]));
    }

    #[test]
    fn no_page_is_free_twice() {
        for (start, count) in [(10, 1), (8, 3), (13, 9), (14, 1), (1, 90)] {
            assert!(!runs(&[(10, 5)]).insert(PageId(start), count), "{start}+{count}");
        }
    }

    #[test]
    fn first_fit() {
        let mut set = runs(&[(3, 1), (10, 5)]);
        assert_eq!(set.take(3), Some(PageId(10)));
        assert_eq!(set.take(1), Some(PageId(3)));
        assert_eq!(set.take(3), None);
        assert_eq!(set, runs(&[(13, 2)]));
    }

    #[test]
    fn long_runs_are_split_for_the_disk() {
        let mut parts = vec![];
        split(PageId(5), u64::from(u32::MAX) + 10, |start, count| parts.push((start.0, count)));
        assert_eq!(parts, [(5, u32::MAX), (5 + u64::from(u32::MAX), 10)]);
    }

    #[test]
    fn freed_pages_wait_for_the_fallback_and_for_readers() {
        let mut allocator = Allocator::new();
        let page = allocator.allocate(1);
        assert_eq!(allocator.release(page, 1), Ok(()));
        assert!(allocator.release(page, 1).is_err());
        let freed = std::mem::take(&mut allocator.freed);
        allocator.waiting.push_back(Batch { generation: Generation(3), runs: freed });
        assert_eq!(allocator.begin(Generation(3), Generation(3)), Ok(()));
        assert_ne!(allocator.allocate(1), page, "generation 2 is still the fallback");
        assert_eq!(allocator.begin(Generation(4), Generation(2)), Ok(()));
        assert_ne!(allocator.allocate(1), page, "a reader holds generation 2");
        assert_eq!(allocator.begin(Generation(5), Generation(5)), Ok(()));
        assert_eq!(allocator.allocate(1), page);
    }
}
