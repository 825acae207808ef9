//! A bounded cache of pages, whose hits take no lock.
//!
//! Frames form sets of up to sixteen; a page number has one set in which its page can lie. Each frame has a tag, part of
//! the number of its page, so that a look-up goes over one line of memory and then, as a rule, to the one frame that has
//! the page. Tags may lag behind the frames: what decides is the page itself, which bears its number and its checksum. A
//! lagging tag costs a miss, never a wrong page. A set is made when it is first needed, so that a large cache costs a
//! small database nothing.
//!
//! Misses, which have just read from a disk, take the lock of their set and replace by CLOCK: the hand goes round the set,
//! takes a use off every frame it passes, and evicts the first that has none left. A page comes in without any, so that a
//! scan over cold pages replaces its own, and has to go round several times to drive out a page that is used.
//!
//! A page that a reader holds survives its eviction for as long as the reader holds it, because pages are shared; the
//! bound is on what the cache itself keeps alive.

use std::ops::Deref;

use crate::format::{Page, PageReference};
use crate::ids::PageId;
use crate::sync::{Arc, ArcSwapOption, AtomicU8, AtomicU32, AtomicU64, Guard, Mutex, OnceLock, Ordering};

/// Even the smallest cache holds a path from root to leaf.
const FEWEST_FRAMES: usize = 8;
/// The most frames of a set: as many as have their tags in one line of memory.
const SET_FRAMES: usize = 16;
/// So many pages that follow on each other have one set, so that small databases need few sets. It is only a few, so that
/// there have to be several busy stretches of the file with the same sets before one drives out the other.
const NEIGHBOURS: u64 = 4;
/// So many turns of the hand a page outlives that is used no more.
const MOST_USES: u8 = 3;

#[derive(Debug)]
pub(crate) struct Cache {
    capacity: usize,
    sets: Box<[Set]>,
}

#[derive(Debug, Default)]
struct Set {
    frames: OnceLock<Box<Frames>>,
    /// Where the hand stands. Whoever changes the frames holds it.
    hand: Mutex<usize>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// The frames of a set, of which it may use fewer.
#[derive(Debug, Default)]
struct Frames {
    tags: [AtomicU32; SET_FRAMES],
    frames: [Frame; SET_FRAMES],
}

#[derive(Debug, Default)]
struct Frame {
    page: ArcSwapOption<Page>,
    /// How often it was used of late.
    uses: AtomicU8,
}

/// What the cache was asked for since it was made. Branches that were only passed on the way down to a leaf count when
/// they were missed, not when they were hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CacheCounts {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
}

/// A page that is looked at in passing. While it is there the page lives, without having been counted as shared.
pub(crate) struct PageGuard(Guard<Option<Arc<Page>>>);

impl PageGuard {
    /// A page that is not in the cache.
    pub(crate) fn of(page: Arc<Page>) -> PageGuard {
        PageGuard(Guard::from_inner(Some(page)))
    }

    /// The page, to be kept.
    pub(crate) fn into_page(self) -> Arc<Page> {
        Guard::into_inner(self.0).expect("a guard is made for a page")
    }
}

impl std::fmt::Debug for PageGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

impl Deref for PageGuard {
    type Target = Page;

    fn deref(&self) -> &Page {
        self.0.as_deref().expect("a guard is made for a page")
    }
}

impl Cache {
    pub(crate) fn new(capacity: usize) -> Cache {
        let capacity = capacity.max(FEWEST_FRAMES);
        let sets = (0..capacity.div_ceil(SET_FRAMES)).map(|_| Set::default()).collect();
        Cache { capacity, sets }
    }

    /// The page, to be kept.
    pub(crate) fn get(&self, reference: PageReference) -> Option<Arc<Page>> {
        let page = self.peek(reference)?.into_page();
        // Relaxed: a count on its own.
        self.sets[self.set_of(reference.page)].hits.fetch_add(1, Ordering::Relaxed);
        Some(page)
    }

    /// The page, to be looked at in passing.
    pub(crate) fn peek(&self, reference: PageReference) -> Option<PageGuard> {
        let set = &self.sets[self.set_of(reference.page)];
        let found = set.frames.get().and_then(|frames| frames.peek(reference));
        if found.is_none() {
            // Relaxed: a count on its own.
            set.misses.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// Adds a page, in place of an older one with the same number or of one that was not used for a turn of the hand.
    pub(crate) fn insert(&self, page: Arc<Page>) {
        let index = self.set_of(page.reference().page);
        let set = &self.sets[index];
        let mut hand = set.hand.lock();
        let frames = set.frames.get_or_init(Box::default);
        frames.insert(page, self.frame_count(index), &mut hand);
    }

    pub(crate) fn counts(&self) -> CacheCounts {
        let sum = |count: fn(&Set) -> &AtomicU64| {
            self.sets.iter().map(|set| count(set).load(Ordering::Relaxed)).sum()
        };
        CacheCounts { hits: sum(|set| &set.hits), misses: sum(|set| &set.misses) }
    }

    fn set_of(&self, page: PageId) -> usize {
        (page.0 / NEIGHBOURS % self.sets.len() as u64) as usize
    }

    /// How many frames a set may use: all sets together as many as the cache has.
    fn frame_count(&self, set: usize) -> usize {
        let more = self.capacity % self.sets.len();
        self.capacity / self.sets.len() + usize::from(set < more)
    }
}

impl Frames {
    fn peek(&self, reference: PageReference) -> Option<PageGuard> {
        let tag = tag_of(reference.page);
        for (frame_tag, frame) in self.tags.iter().zip(&self.frames) {
            // Relaxed: a hint. Loading the page acquires it.
            if frame_tag.load(Ordering::Relaxed) != tag {
                continue;
            }
            let guard = frame.page.load();
            // The page number may have been used again since the cached page was written.
            if guard.as_ref().is_some_and(|page| page.reference() == reference) {
                // Relaxed, and not in one step: uses that get lost among each other don't matter, and a page that is
                // used all the time is not written to.
                let uses = frame.uses.load(Ordering::Relaxed);
                if uses < MOST_USES {
                    frame.uses.store(uses + 1, Ordering::Relaxed);
                }
                return Some(PageGuard(guard));
            }
        }
        None
    }

    /// Adds a page to the first `count` frames. The caller holds the hand.
    fn insert(&self, page: Arc<Page>, count: usize, hand: &mut usize) {
        let id = page.reference().page;
        let holds = |frame: &Frame| frame.page.load().as_ref().is_none_or(|page| page.reference().page == id);
        // A set fills from its front, so that an older page of the same number comes before the first empty frame.
        let index = self.frames[..count].iter().position(holds).unwrap_or_else(|| self.evict(count, hand));
        let frame = &self.frames[index];
        frame.page.store(Some(page));
        frame.uses.store(0, Ordering::Relaxed);
        self.tags[index].store(tag_of(id), Ordering::Relaxed);
    }

    /// Finds a frame to be used anew. Other threads may use the frames meanwhile, but each turn takes a use off every
    /// one, and after a few turns the next frame is taken in any case.
    fn evict(&self, count: usize, hand: &mut usize) -> usize {
        for _ in 0..count * usize::from(MOST_USES + 1) {
            let index = *hand;
            *hand = (index + 1) % count;
            let uses = self.frames[index].uses.load(Ordering::Relaxed);
            if uses == 0 {
                return index;
            }
            self.frames[index].uses.store(uses - 1, Ordering::Relaxed);
        }
        *hand
    }
}

fn tag_of(page: PageId) -> u32 {
    page.0 as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::PageWriter;
    use crate::ids::{DatabaseId, Generation};

    fn page(id: u64, generation: u64) -> Arc<Page> {
        Arc::new(PageWriter::free_list(4096, DatabaseId(1), PageId(id), Generation(generation), &[]))
    }

    /// The pages it keeps, with the set in which each of them lies.
    fn contents(cache: &Cache) -> Vec<(usize, PageId)> {
        let mut contents = Vec::new();
        for (index, set) in cache.sets.iter().enumerate() {
            let frames = set.frames.get().map(|frames| frames.frames.iter());
            let pages = frames.into_iter().flatten().filter_map(|frame| frame.page.load_full());
            contents.extend(pages.map(|page| (index, page.reference().page)));
        }
        contents
    }

    fn kept(cache: &Cache) -> usize {
        contents(cache).len()
    }

    #[test]
    fn stays_within_its_capacity_and_keeps_what_is_used() {
        for capacity in [8, 16, 17, 100] {
            let cache = Cache::new(capacity);
            let hot: Vec<_> = (2..6).map(|id| page(id, 1)).collect();
            for page in &hot {
                cache.insert(Arc::clone(page));
            }
            for id in 10..1000 {
                cache.insert(page(id, 1));
                for page in &hot {
                    assert!(cache.get(page.reference()).is_some(), "the page is used at every step");
                }
            }
            assert_eq!(kept(&cache), capacity);
            assert!(cache.get(page(10, 1).reference()).is_none());
            assert_eq!(cache.counts(), CacheCounts { hits: 990 * 4, misses: 1 });
        }
    }

    #[test]
    fn a_scan_does_not_drive_out_what_was_used_before() {
        let cache = Cache::new(64);
        let hot: Vec<_> = (2..18).map(|id| page(id, 1)).collect();
        for page in &hot {
            cache.insert(Arc::clone(page));
            (0..5).for_each(|_| drop(cache.get(page.reference())));
        }
        for id in 1000..1100 {
            cache.insert(page(id, 1));
        }
        assert!(hot.iter().all(|page| cache.get(page.reference()).is_some()));
    }

    #[test]
    fn the_sets_have_all_frames_between_them() {
        for capacity in [8, 15, 16, 31, 32, 33, 47, 1000, 1023] {
            let cache = Cache::new(capacity);
            let counts: Vec<usize> = (0..cache.sets.len()).map(|set| cache.frame_count(set)).collect();
            assert_eq!(counts.iter().sum::<usize>(), capacity);
            assert!(counts.iter().all(|count| (8..=SET_FRAMES).contains(count)), "{counts:?}");
            assert!((0..10_000).all(|id| cache.set_of(PageId(id * 7919)) < cache.sets.len()));
        }
        assert_eq!((Cache::new(0).capacity, kept(&Cache::new(0))), (FEWEST_FRAMES, 0));
    }

    #[test]
    fn a_reused_page_number_is_not_mistaken() {
        let cache = Cache::new(8);
        cache.insert(page(5, 1));
        assert!(cache.get(page(5, 2).reference()).is_none());
        cache.insert(page(5, 2));
        assert_eq!(cache.get(page(5, 2).reference()), Some(page(5, 2)));
        assert!(cache.get(page(5, 1).reference()).is_none());
        assert_eq!(kept(&cache), 1);
    }

    #[test]
    fn threads_get_the_page_they_asked_for() {
        let cache = Cache::new(24);
        let pages: Vec<Vec<_>> =
            (0..3).map(|generation| (2..62).map(|id| page(id, generation)).collect()).collect();
        std::thread::scope(|scope| {
            for thread in 0..4usize {
                let (cache, pages) = (&cache, &pages);
                scope.spawn(move || {
                    let mut number = thread;
                    for step in 0..20_000 {
                        number = (number * 75 + 74) % 65537;
                        let wanted = &pages[number % 3][(number / 3) % 60];
                        match cache.peek(wanted.reference()) {
                            Some(found) if step % 2 == 0 => assert_eq!(*found, **wanted),
                            Some(found) => assert_eq!(found.into_page(), *wanted),
                            None => cache.insert(Arc::clone(wanted)),
                        }
                        assert!(kept(cache) <= 24);
                    }
                });
            }
        });
        assert_eq!(kept(&cache), 24);
        let counts = cache.counts();
        assert!(counts.misses > 0 && counts.misses < 80_000, "{counts:?}");
        let mut ids: Vec<PageId> = contents(&cache).into_iter().map(|(_, id)| id).collect();
        assert!(contents(&cache).into_iter().all(|(set, id)| cache.set_of(id) == set));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 24, "a page number is there once");
    }
}
