//! Epoch-based reclamation: memory that was unlinked is freed once nobody can hold a pointer to it any more.
//!
//! A thread that is *pinned* may hold pointers to what was reachable since it was pinned. What is unlinked is handed to
//! [`Guard::defer`], and freed when every thread that was pinned at that time has let go. Each structure, with those that
//! succeed it, has a collector of its own, so that what one of them does never depends on others in the process (Fraser,
//! "Practical lock-freedom", section 5.2.3; the implementation is crossbeam's).

use std::cell::{Cell, RefCell};

use super::{Arc, AtomicBool, Ordering, Weak};

/// How many collectors a thread stays registered with. Beyond them it registers anew when it comes back.
const REGISTRATIONS: usize = 16;

thread_local! {
    /// The collectors that this thread is registered with.
    static LOCALS: RefCell<Vec<Local>> = const { RefCell::new(Vec::new()) };
    /// How many deferred functions this thread has run.
    static FUNCTIONS_RUN: Cell<u64> = const { Cell::new(0) };
}

struct Local {
    handle: crossbeam_epoch::LocalHandle,
    /// Gone when nobody has the collector any more.
    user: Weak<User>,
}

/// The epochs of one structure. Clones are the same collector.
#[derive(Debug, Clone)]
pub(crate) struct Collector {
    inner: crossbeam_epoch::Collector,
    user: Arc<User>,
}

/// What all clones of a collector share; dropped with the last one.
#[derive(Debug)]
struct User(crossbeam_epoch::Collector);

impl Collector {
    pub(crate) fn new() -> Collector {
        let inner = crossbeam_epoch::Collector::new();
        Collector { user: Arc::new(User(inner.clone())), inner }
    }

    /// Pins this thread: what is reachable from now on stays in memory until the guard is dropped.
    #[inline]
    pub(crate) fn pin(&self) -> Guard {
        let pin = |locals: &RefCell<Vec<Local>>| {
            let locals = locals.try_borrow().ok()?;
            let local = locals.iter().find(|local| *local.handle.collector() == self.inner)?;
            Some(local.handle.pin())
        };
        let guard = LOCALS.try_with(pin).ok().flatten();
        Guard(guard.unwrap_or_else(|| self.register_and_pin()))
    }

    #[cold]
    fn register_and_pin(&self) -> crossbeam_epoch::Guard {
        let handle = self.inner.register();
        let guard = handle.pin();
        // What is dropped here may run deferred functions, which may pin again: not while the list is borrowed. Where
        // the list can't be had, the thread is ending or in the middle of such a function, and the guard keeps the
        // handle.
        let _dropped = LOCALS.try_with(|locals| {
            let mut locals = locals.try_borrow_mut().ok()?;
            let (mut kept, mut dropped): (Vec<_>, Vec<_>) =
                std::mem::take(&mut *locals).into_iter().partition(|local| local.user.strong_count() > 0);
            if kept.len() == REGISTRATIONS {
                dropped.push(kept.remove(0));
            }
            kept.push(Local { handle, user: Arc::downgrade(&self.user) });
            *locals = kept;
            Some(dropped)
        });
        guard
    }

    /// Lets epochs pass as far as the other threads allow, and frees what is due.
    pub(crate) fn collect(&self) {
        collect(|| self.pin().0);
    }
}

impl Drop for User {
    /// Nobody has the collector any more. What was deferred must not wait until this thread ends: its registration
    /// goes, and what it and threads that ended put off is freed. Other threads that are registered keep little: what
    /// is in their own hands, until they register with another collector, or end.
    fn drop(&mut self) {
        // As in `register_and_pin`: dropped when the list isn't borrowed, and kept for later where it can't be had.
        let _dropped = LOCALS.try_with(|locals| {
            let mut locals = locals.try_borrow_mut().ok()?;
            let index = locals.iter().position(|local| *local.handle.collector() == self.0)?;
            Some(locals.swap_remove(index))
        });
        let handle = self.0.register();
        collect(|| handle.pin());
    }
}

/// Frees what was deferred before, as far as the other threads allow.
fn collect(pin: impl Fn() -> crossbeam_epoch::Guard) {
    // What the first pass finds out to be due, such as the registrations of threads that ended, is for the second one.
    for _ in 0..2 {
        // Functions run in the order in which they became everybody's, so this one runs after all that is due.
        let is_reached = Arc::new(AtomicBool::new(false));
        let mark = Arc::clone(&is_reached);
        pin().defer(move || mark.store(true, Ordering::Relaxed));
        let mut idle = 0;
        while !is_reached.load(Ordering::Relaxed) && idle < IDLE_MAX {
            let before = FUNCTIONS_RUN.get();
            pin().flush();
            idle = if FUNCTIONS_RUN.get() == before { idle + 1 } else { 0 };
        }
    }
}

/// A collection gives up when it ran no function so many times in a row, because another thread stays pinned. Without one,
/// a function is three times away from its run.
const IDLE_MAX: usize = 256;

/// A pinned thread.
#[derive(Debug)]
pub(crate) struct Guard(crossbeam_epoch::Guard);

impl Guard {
    /// Runs `function` once every thread that is pinned now has let go: on any thread, at any later time.
    pub(crate) fn defer(&self, function: impl FnOnce() + Send + 'static) {
        self.0.defer(move || {
            FUNCTIONS_RUN.set(FUNCTIONS_RUN.get() + 1);
            function();
        });
    }

    /// Lets go and pins again, unless this thread has other guards of the collector.
    pub(crate) fn repin(&mut self) {
        self.0.repin();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::AtomicU64;

    fn defer(collector: &Collector, count: u64) -> Arc<AtomicU64> {
        let run = Arc::new(AtomicU64::new(0));
        let guard = collector.pin();
        for _ in 0..count {
            let run = Arc::clone(&run);
            guard.defer(move || _ = run.fetch_add(1, Ordering::Relaxed));
        }
        run
    }

    #[test]
    fn a_collection_frees_all_that_is_due() {
        let collector = Collector::new();
        let run = defer(&collector, 200_000);
        collector.collect();
        assert_eq!(run.load(Ordering::Relaxed), 200_000);
    }

    #[test]
    fn what_a_thread_put_off_is_freed_when_it_has_ended() {
        let collector = Collector::new();
        let run = std::thread::scope(|scope| scope.spawn(|| defer(&collector, 10)).join().unwrap());
        collector.collect();
        assert_eq!(run.load(Ordering::Relaxed), 10);
    }

    #[test]
    fn a_collection_waits_for_nobody() {
        let collector = Collector::new();
        let _pinned = collector.pin();
        let run = defer(&collector, 10);
        std::thread::scope(|scope| scope.spawn(|| collector.collect()).join().unwrap());
        collector.collect();
        assert_eq!(run.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_collector_that_is_dropped_leaves_nothing_behind() {
        let collector = Collector::new();
        let run = defer(&collector, 10);
        drop(collector.clone());
        assert_eq!(run.load(Ordering::Relaxed), 0);
        drop(collector);
        assert_eq!(run.load(Ordering::Relaxed), 10);
    }
}
