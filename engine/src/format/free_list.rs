//! The free list on disk: runs of pages, in a chain of pages of its own.

use super::{Damage, PAGE_HEADER, Page, PageKind, PageReference, PageWriter, get_u32, get_u64, put};
use crate::ids::{DatabaseId, Generation, PageId};

const CHAIN_BYTES: usize = 24;
const RUN_BYTES: usize = 16;
const FLAG_JUST_FREED: u32 = 1;

/// Contiguous free pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FreeRun {
    pub(crate) start: PageId,
    pub(crate) count: u32,
    /// Freed by the checkpoint that wrote the list: the meta page before it still reaches these pages, so they are
    /// not to be used again until the next meta page is durable.
    pub(crate) just_freed: bool,
}

/// One page of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FreeListPage {
    pub(crate) next: Option<PageReference>,
    pub(crate) runs: Vec<FreeRun>,
}

/// How many runs one page holds.
pub(crate) fn runs_per_page(page_size: usize) -> usize {
    (page_size - PAGE_HEADER - CHAIN_BYTES) / RUN_BYTES
}

impl FreeListPage {
    pub(crate) fn encode(
        &self,
        page_size: usize,
        database: DatabaseId,
        id: PageId,
        generation: Generation,
    ) -> Page {
        assert!(self.runs.len() <= runs_per_page(page_size));
        let mut contents = vec![0; CHAIN_BYTES + self.runs.len() * RUN_BYTES];
        if let Some(next) = self.next {
            put(&mut contents, 0, next.page.0.to_le_bytes());
            put(&mut contents, 8, next.checksum.to_le_bytes());
        }
        let count = u32::try_from(self.runs.len()).expect("a page holds at most 4096 runs");
        put(&mut contents, 16, count.to_le_bytes());
        for (index, run) in self.runs.iter().enumerate() {
            let at = CHAIN_BYTES + index * RUN_BYTES;
            put(&mut contents, at, run.start.0.to_le_bytes());
            put(&mut contents, at + 8, run.count.to_le_bytes());
            let flags = if run.just_freed { FLAG_JUST_FREED } else { 0 };
            put(&mut contents, at + 12, flags.to_le_bytes());
        }
        PageWriter::free_list(page_size, database, id, generation, &contents)
    }

    pub(crate) fn decode(page: &Page) -> Result<FreeListPage, Damage> {
        if page.kind() != PageKind::FreeList {
            return Err(Damage("a page of the free list is of another kind"));
        }
        let contents = &page.bytes()[PAGE_HEADER..];
        let next = match get_u64(contents, 0) {
            0 => None,
            next => Some(PageReference { page: PageId(next), checksum: get_u64(contents, 8) }),
        };
        let count = get_u32(contents, 16) as usize;
        if count > runs_per_page(page.bytes().len()) {
            return Err(Damage("a page of the free list claims more runs than fit"));
        }
        let mut runs = Vec::with_capacity(count);
        for index in 0..count {
            let at = CHAIN_BYTES + index * RUN_BYTES;
            let flags = get_u32(contents, at + 12);
            let run = FreeRun {
                start: PageId(get_u64(contents, at)),
                count: get_u32(contents, at + 8),
                just_freed: flags == FLAG_JUST_FREED,
            };
            if flags > FLAG_JUST_FREED || run.count == 0 || run.start.0 < 2 {
                return Err(Damage("a run of the free list is impossible"));
            }
            runs.push(run);
        }
        Ok(FreeListPage { next, runs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_full_and_empty() {
        let next = Some(PageReference { page: PageId(77), checksum: 5 });
        for count in [0, 1, runs_per_page(4096)] {
            let run = |index: usize| FreeRun {
                start: PageId(2 + 10 * index as u64),
                count: 1 + index as u32,
                just_freed: index.is_multiple_of(3),
            };
            let list = FreeListPage { next, runs: (0..count).map(run).collect() };
            let page = list.encode(4096, DatabaseId(3), PageId(5), Generation(1));
            let page =
                Page::decode(page.bytes().into(), DatabaseId(3), PageId(5)).expect("the page is whole");
            assert_eq!(FreeListPage::decode(&page), Ok(list));
        }
    }

    #[test]
    fn impossible_runs_are_damage() {
        for run in [
            FreeRun { start: PageId(1), count: 1, just_freed: false },
            FreeRun { start: PageId(9), count: 0, just_freed: false },
        ] {
            let list = FreeListPage { next: None, runs: vec![run] };
            let page = list.encode(4096, DatabaseId(3), PageId(5), Generation(1));
            assert!(FreeListPage::decode(&page).is_err());
        }
    }
}
