//! Epoch-based reclamation: memory that was unlinked is freed once nobody can hold a pointer to it any more.
//!
//! A thread that is *pinned* may hold pointers to what was reachable since it was pinned. What is unlinked is handed to
//! [`Guard::defer`], and freed when every thread that was pinned at that time has let go. Each structure has a
//! collector of its own, so that what one of them does never depends on others in the process (Fraser, "Practical
//! lock-freedom", section 5.2.3; the implementation is crossbeam's).

use std::cell::RefCell;

use super::{Arc, Weak};

/// How many collectors a thread stays registered with. Beyond them it registers anew when it comes back.
const REGISTRATIONS: usize = 16;

thread_local! {
    /// The collectors that this thread is registered with.
    static LOCALS: RefCell<Vec<Local>> = const { RefCell::new(Vec::new()) };
}

struct Local {
    handle: crossbeam_epoch::LocalHandle,
    /// Gone when nobody has the collector any more.
    user: Weak<()>,
}

/// The epochs of one structure. Clones are the same collector.
#[derive(Debug, Clone)]
pub(crate) struct Collector {
    inner: crossbeam_epoch::Collector,
    user: Arc<()>,
}

impl Collector {
    pub(crate) fn new() -> Collector {
        Collector { inner: crossbeam_epoch::Collector::new(), user: Arc::new(()) }
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
        // A deferred function is three epochs away from its run, and each pin takes part of what is due.
        for _ in 0..COLLECTIONS {
            self.pin().flush();
        }
    }
}

/// How often a collection pins and flushes: each frees a bounded number of bags of deferred functions.
const COLLECTIONS: usize = 256;

/// A pinned thread.
#[derive(Debug)]
pub(crate) struct Guard(crossbeam_epoch::Guard);

impl Guard {
    /// Runs `function` once every thread that is pinned now has let go: on any thread, at any later time.
    pub(crate) fn defer(&self, function: impl FnOnce() + Send + 'static) {
        self.0.defer(function);
    }

    /// Hands what this thread deferred to all, so that whoever pins may run it.
    pub(crate) fn flush(&self) {
        self.0.flush();
    }

    /// Lets go and pins again, unless this thread has other guards of the collector.
    pub(crate) fn repin(&mut self) {
        self.0.repin();
    }
}
