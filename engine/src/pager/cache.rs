//! A bounded cache of pages with CLOCK replacement. A page has to be used a second time to outlive a turn of the hand, so
//! that a scan over cold pages does not drive out the hot ones.
//!
//! A page that a reader holds survives its eviction for as long as the reader holds it, because pages are shared; the
//! bound is on what the cache itself keeps alive.

use std::collections::BTreeMap;

use crate::format::{Page, PageReference};
use crate::ids::PageId;
use crate::sync::{Arc, Mutex};

/// Even the smallest cache holds a path from root to leaf.
const FEWEST_FRAMES: usize = 8;

#[derive(Debug)]
pub(crate) struct Cache {
    capacity: usize,
    state: Mutex<Clock>,
}

#[derive(Debug, Default)]
struct Clock {
    frames: Vec<Frame>,
    by_page: BTreeMap<PageId, usize>,
    hand: usize,
}

#[derive(Debug)]
struct Frame {
    page: Arc<Page>,
    referenced: bool,
}

impl Cache {
    pub(crate) fn new(capacity: usize) -> Cache {
        Cache { capacity: capacity.max(FEWEST_FRAMES), state: Mutex::default() }
    }

    pub(crate) fn get(&self, reference: PageReference) -> Option<Arc<Page>> {
        let mut clock = self.state.lock();
        let index = *clock.by_page.get(&reference.page)?;
        let frame = &mut clock.frames[index];
        // The page number may have been used again since the cached page was written.
        if frame.page.reference() != reference {
            return None;
        }
        frame.referenced = true;
        Some(Arc::clone(&frame.page))
    }

    /// Adds a page, in place of an older one with the same number or of one that was not used for a turn of the hand.
    pub(crate) fn insert(&self, page: Arc<Page>) {
        let id = page.reference().page;
        let mut clock = self.state.lock();
        let index = match clock.by_page.get(&id) {
            Some(index) => *index,
            None if clock.frames.len() < self.capacity => {
                clock.frames.push(Frame { page, referenced: false });
                let index = clock.frames.len() - 1;
                clock.by_page.insert(id, index);
                return;
            }
            None => clock.evict(),
        };
        clock.by_page.insert(id, index);
        clock.frames[index] = Frame { page, referenced: false };
    }
}

impl Clock {
    /// Frees a frame and returns its index. Ends within two turns, since the first clears every reference.
    fn evict(&mut self) -> usize {
        loop {
            let index = self.hand;
            self.hand = (self.hand + 1) % self.frames.len();
            let frame = &mut self.frames[index];
            if !frame.referenced {
                self.by_page.remove(&frame.page.reference().page);
                return index;
            }
            frame.referenced = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::PageWriter;
    use crate::ids::{DatabaseId, Generation};

    fn page(id: u64, generation: u64) -> Arc<Page> {
        Arc::new(PageWriter::free_list(4096, DatabaseId(1), PageId(id), Generation(generation), &[]))
    }

    #[test]
    fn stays_within_its_capacity_and_keeps_what_is_used() {
        let cache = Cache::new(8);
        let hot = page(2, 1);
        cache.insert(Arc::clone(&hot));
        for id in 10..100 {
            cache.insert(page(id, 1));
            assert!(cache.get(hot.reference()).is_some(), "page 2 is used at every step");
        }
        assert_eq!(cache.state.lock().frames.len(), 8);
        assert_eq!(cache.state.lock().by_page.len(), 8);
        assert!(cache.get(page(10, 1).reference()).is_none());
    }

    #[test]
    fn a_reused_page_number_is_not_mistaken() {
        let cache = Cache::new(8);
        cache.insert(page(5, 1));
        assert!(cache.get(page(5, 2).reference()).is_none());
        cache.insert(page(5, 2));
        assert_eq!(cache.get(page(5, 2).reference()), Some(page(5, 2)));
        assert!(cache.get(page(5, 1).reference()).is_none());
    }
}
