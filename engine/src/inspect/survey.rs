//! `survey`: what the pages of the data file are used for, and how well.

use crate::btree::for_each_page;
use crate::db::Database;
use crate::error::Result;
use crate::format::{LeafValue, Page};

/// What a walk over the whole base tree found. Every page of the data file is a meta page, or counted here once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Survey {
    /// Bytes of a page.
    pub page_size: u32,
    /// Pages of the data file that are accounted for, the two meta pages included.
    pub page_count: u64,
    /// Levels of the base tree; 0 if it is empty.
    pub height: u8,
    /// Pages above the leaves.
    pub branches: PageUsage,
    /// Pages with keys and values.
    pub leaves: PageUsage,
    /// Pages of values that lie outside of the leaves.
    pub large_values: PageUsage,
    /// How many such values there are.
    pub large_value_count: u64,
    /// Pages of the persisted free list.
    pub free_list_page_count: u64,
    /// Pages that the next checkpoint can use.
    pub free_page_count: u64,
    /// Pages that become free once neither the fallback meta page nor a reader needs them.
    pub waiting_page_count: u64,
    /// Keys that have a version.
    pub key_count: u64,
    /// Versions, deletions included.
    pub version_count: u64,
    /// Versions that say that their key was deleted.
    pub deletion_count: u64,
}

/// Pages of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PageUsage {
    /// How many there are.
    pub page_count: u64,
    /// Bytes in them that are in use: cells and slots in pages of the tree, values in pages of large values.
    pub used_bytes: u64,
}

impl Database {
    /// Walks over the base tree as the last checkpoint left it, and counts. What was committed since is not in it.
    /// Checkpoints wait meanwhile; readers and writers go on.
    ///
    /// # Errors
    /// `Io` if a page can't be read, `Corruption` if it isn't what was written.
    pub fn survey(&self) -> Result<Survey> {
        let state = self.shared.checkpoint.lock();
        let census = state.allocator.census();
        let unused: u64 = census.unused.iter().map(|(_, count)| count).sum();
        let survey = Survey {
            page_size: state.meta.page_size,
            page_count: census.page_count,
            free_list_page_count: unused - census.free - census.waiting,
            free_page_count: census.free,
            waiting_page_count: census.waiting,
            ..Survey::default()
        };
        let page_size = state.pager.page_size();
        let mut walk = Walk { page_size, survey, above: None };
        for_each_page(&state.pager, state.meta.root, &mut |page, _| {
            walk.page(page);
            Ok(())
        })?;
        Ok(walk.survey)
    }
}

struct Walk {
    page_size: usize,
    survey: Survey,
    /// The key that was seen last.
    above: Option<Vec<u8>>,
}

impl Walk {
    fn page(&mut self, page: &Page) {
        self.survey.height = self.survey.height.max(page.level() + 1);
        if page.level() > 0 {
            self.survey.branches.add(1, page.used() as u64);
        } else {
            self.survey.leaves.add(1, page.used() as u64);
            self.leaf(page);
        }
    }

    fn leaf(&mut self, page: &Page) {
        for index in 0..page.count() {
            let cell = page.leaf(index);
            let key = cell.version.key;
            let survey = &mut self.survey;
            // A key's versions follow each other, from leaf to leaf.
            if self.above.as_ref().is_none_or(|above| key != above[..]) {
                survey.key_count += 1;
                self.above = Some(key.to_vec());
            }
            survey.version_count += 1;
            survey.deletion_count += u64::from(cell.value == LeafValue::Tombstone);
            if let LeafValue::Extent(extent) = cell.value {
                survey.large_value_count += 1;
                survey.large_values.add(extent.pages(self.page_size), u64::from(extent.bytes));
            }
        }
    }
}

impl PageUsage {
    /// The part of these pages that is in use, from 0 to 1; 1 if there are none.
    #[must_use]
    pub fn fill(&self, page_size: u32) -> f64 {
        match self.page_count * u64::from(page_size) {
            0 => 1.0,
            bytes => self.used_bytes as f64 / bytes as f64,
        }
    }

    fn add(&mut self, page_count: u64, used_bytes: u64) {
        self.page_count += page_count;
        self.used_bytes += used_bytes;
    }
}
