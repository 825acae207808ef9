//! The collectors of the loom and the shuttle build: strict, and no stricter than the rule.
//!
//! The protocol is the one of every page of the tree, without a tree: unlink, defer, free. Done right it holds on every
//! schedule; each way to do it wrong is found, by what the doors of these builds check.

/// The protocol in one of the builds, and the ways to do it wrong.
macro_rules! protocol {
    ($package:ident) => {
        use std::alloc::Layout;
        use std::ptr::NonNull;
        use std::sync::Arc;

        use $package::atomic::{AtomicPtr, Ordering};
        use $package::epoch::Collector;
        use $package::{UnsafeCell, memory, thread};

        const ALIVE: u64 = 0x616c_6976_6561_6c69;

        /// What is linked: memory that says that it is alive, and content that is written once.
        #[repr(C)]
        struct Page {
            life: u64,
            content: UnsafeCell<u64>,
        }

        /// How the protocol is done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum How {
            Right,
            /// The old page is freed at once.
            NotDeferred,
            /// The old page is deferred before it is unlinked, by a visit of its own.
            DeferredBeforeUnlinked,
            /// The reader isn't pinned.
            NotPinned,
            /// The new page is linked without release.
            Relaxed,
            /// The old page is never freed.
            Leaked,
        }

        fn make(content: u64) -> *mut Page {
            let memory = memory::allocate(Layout::new::<Page>()).cast::<Page>();
            // SAFETY: the memory was allocated for a page right here.
            unsafe { memory.write(Page { life: ALIVE, content: UnsafeCell::new(content) }) };
            memory.as_ptr()
        }

        struct Owned(*mut Page);

        // SAFETY: whoever has it owns the page.
        unsafe impl Send for Owned {}

        impl Owned {
            fn free(self) {
                let page = NonNull::new(self.0).expect("a page was linked");
                // SAFETY: it is the owner's, who comes from `make`.
                unsafe {
                    page.as_ref().content.with_mut(|content| *content = 0);
                    memory::release(page.cast(), Layout::new::<Page>());
                }
            }
        }

        fn read(link: &AtomicPtr<Page>, collector: &Collector, how: How) {
            let guard = (how != How::NotPinned).then(|| collector.pin());
            // SAFETY: what is linked is not freed while this thread is pinned: that is what is tested.
            let page = unsafe { &*link.load(Ordering::Acquire) };
            // One more step, so that others can come between.
            link.load(Ordering::Relaxed);
            assert_eq!(page.life, ALIVE, "a page is read after it was freed");
            // SAFETY: as above.
            let content = page.content.with(|content| unsafe { *content });
            assert!(content == 1 || content == 2, "a page is read while it is written");
            drop(guard);
        }

        fn replace(link: &AtomicPtr<Page>, collector: &Collector, how: How) {
            let new = make(2);
            let order = if how == How::Relaxed { Ordering::Acquire } else { Ordering::AcqRel };
            if how == How::DeferredBeforeUnlinked {
                let old = Owned(link.load(Ordering::Acquire));
                collector.pin().defer(move || old.free());
                link.swap(new, order);
                return;
            }
            let guard = collector.pin();
            let old = Owned(link.swap(new, order));
            match how {
                How::NotDeferred => old.free(),
                How::Leaked => {}
                _ => guard.defer(move || old.free()),
            }
        }

        /// One thread replaces a page that another one reads, twice.
        pub(super) fn program(how: How) {
            let (link, collector) = (Arc::new(AtomicPtr::new(make(1))), Collector::new());
            let reader = {
                let (link, collector) = (Arc::clone(&link), collector.clone());
                thread::spawn(move || {
                    read(&link, &collector, how);
                    read(&link, &collector, how);
                })
            };
            replace(&link, &collector, how);
            reader.join().unwrap();
            Owned(link.load(Ordering::Acquire)).free();
        }

        /// A function waits for whoever was pinned when it was deferred, and for nobody else.
        pub(super) fn moments() {
            let collector = Collector::new();
            let ran = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let count = || ran.load(std::sync::atomic::Ordering::SeqCst);
            let defer = |guard: &$package::epoch::Guard| {
                let ran = Arc::clone(&ran);
                guard.defer(move || {
                    ran.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                });
            };
            let mut guard = collector.pin();
            defer(&guard);
            collector.collect();
            assert_eq!(count(), 0, "the guard is still there");
            guard.repin();
            assert_eq!(count(), 1);
            defer(&guard);
            let second = collector.pin();
            drop(guard);
            assert_eq!(count(), 1, "a thread has let go when its last guard is gone");
            drop(second);
            assert_eq!(count(), 2);
        }
    };
}

mod in_loom {
    protocol!(proofmark_engine_loom);
}

mod in_shuttle {
    protocol!(proofmark_engine_shuttle);
}

fn loom_finds(how: in_loom::How) -> Option<String> {
    let explored = proofmark_engine_loom::explore(3, 100_000, move || in_loom::program(how));
    assert!(explored.failure.is_some() || explored.is_complete);
    explored.failure
}

#[test]
fn loom_finds_every_way_to_do_it_wrong() {
    use in_loom::How::{DeferredBeforeUnlinked, Leaked, NotDeferred, NotPinned, Relaxed, Right};
    assert_eq!(loom_finds(Right), None);
    for how in [NotDeferred, DeferredBeforeUnlinked, NotPinned, Relaxed, Leaked] {
        assert!(loom_finds(how).is_some(), "{how:?}");
    }
    let moments = proofmark_engine_loom::explore(2, 100, in_loom::moments);
    assert_eq!(moments.failure, None);
}

#[test]
fn shuttle_finds_every_way_to_do_it_wrong_but_weak_memory() {
    use in_shuttle::How::{DeferredBeforeUnlinked, Leaked, NotDeferred, NotPinned, Relaxed, Right};
    use proofmark_engine_shuttle::{Strategy, explore};
    let run = |how| explore(Strategy::Random, 1, 1_000, move || in_shuttle::program(how));
    assert_eq!(run(Right), Ok(()));
    assert_eq!(run(Relaxed), Ok(()), "shuttle knows no weak memory");
    for how in [NotDeferred, DeferredBeforeUnlinked, NotPinned, Leaked] {
        assert!(run(how).is_err(), "{how:?}");
    }
    assert_eq!(explore(Strategy::Random, 1, 1, in_shuttle::moments), Ok(()));
}
