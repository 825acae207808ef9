//! Epochs at their strictest: a deferred function runs as soon as the rule allows it, and never by chance later.
//!
//! The rule is that of the engine's own: a function runs once every thread that was pinned when it was deferred has let go.
//! A collector that counts epochs, as the engine's does, runs it some time after that; this one runs it at that moment,
//! on the thread that was the last to let go. So whoever uses memory without being pinned, or unlinks it too late, has
//! no luck to rely on. A thread with several guards has let go when the last one is dropped.
//!
//! To be pinned, to let go and to defer are steps that others can come between. What a step is, and what it orders in memory,
//! is up to the build: see its `order`. The lists are not part of what is explored.
//!
//! A thread that lets go while it panics takes no step and runs nothing, because what it would free may be what it choked
//! on; the next one to let go does.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::order::{Order, ThreadId, me};

/// The epochs of one structure. Clones are the same collector.
#[derive(Clone)]
pub struct Collector(Arc<Inner>);

#[derive(Default)]
struct Inner {
    lists: Mutex<Lists>,
    order: Order,
}

#[derive(Default)]
struct Lists {
    /// How many functions were deferred so far.
    deferrals: u64,
    pinned: Vec<Pinned>,
    waiting: VecDeque<(u64, Deferred)>,
    /// Whether a thread has let go while it panicked.
    has_panicked: bool,
}

type Deferred = Box<dyn FnOnce() + Send>;

/// A thread that is pinned.
struct Pinned {
    thread: ThreadId,
    guards: usize,
    /// How many functions had been deferred when it was pinned: it holds up those that came later.
    since: u64,
}

/// A pinned thread.
pub struct Guard {
    inner: Arc<Inner>,
    thread: ThreadId,
    /// A guard stays on its thread.
    _not_send: PhantomData<Cell<*const ()>>,
}

impl Collector {
    /// A new one, which no thread knows.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "the engine's has none")]
    pub fn new() -> Collector {
        Collector(Arc::default())
    }

    /// Pins this thread: what is reachable from now on stays in memory until the guard is dropped.
    #[must_use]
    pub fn pin(&self) -> Guard {
        let thread = me();
        self.0.enter(thread);
        Guard { inner: Arc::clone(&self.0), thread, _not_send: PhantomData }
    }

    /// Frees what is due. Nothing is, because everything was freed when it was.
    pub fn collect(&self) {
        drop(self.pin());
    }
}

impl Inner {
    /// Nothing happens while they are held: the lock is there because the compiler can't know that threads take turns.
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn guards(&self, thread: ThreadId) -> usize {
        self.lists().pinned.iter().find(|pinned| pinned.thread == thread).map_or(0, |pinned| pinned.guards)
    }

    /// One more guard of a thread. With the first one it is noted from when on the thread is pinned; nothing comes between
    /// the last step and the note.
    fn enter(&self, thread: ThreadId) {
        if self.guards(thread) == 0 {
            self.order.enters(|| self.lists().deferrals);
        }
        let mut lists = self.lists();
        let since = lists.deferrals;
        match lists.pinned.iter_mut().find(|pinned| pinned.thread == thread) {
            Some(pinned) => pinned.guards += 1,
            None => lists.pinned.push(Pinned { thread, guards: 1, since }),
        }
    }

    /// One guard less. With the last one, what no thread holds up any more is run.
    fn leave(&self, thread: ThreadId) {
        let is_panicking = std::thread::panicking();
        if !is_panicking && self.guards(thread) == 1 {
            self.order.leaves(thread);
        }
        let mut lists = self.lists();
        let Some(index) = lists.pinned.iter().position(|pinned| pinned.thread == thread) else {
            assert!(is_panicking, "who has a guard is pinned, unless a function failed in the middle");
            return;
        };
        lists.pinned[index].guards -= 1;
        if lists.pinned[index].guards > 0 {
            return;
        }
        lists.pinned.swap_remove(index);
        if is_panicking {
            lists.has_panicked = true;
            return;
        }
        let due = lists.take_due();
        drop(lists);
        if !due.is_empty() {
            self.order.runs();
        }
        for (_, function) in due {
            function();
        }
    }
}

impl Lists {
    fn take_due(&mut self) -> Vec<(u64, Deferred)> {
        let oldest = self.pinned.iter().map(|pinned| pinned.since).min().unwrap_or(u64::MAX);
        let count = self.waiting.partition_point(|(number, _)| *number <= oldest);
        self.waiting.drain(..count).collect()
    }
}

impl Guard {
    /// Runs `function` once every thread that is pinned now has let go: on any thread, at any later time.
    pub fn defer(&self, function: impl FnOnce() + Send + 'static) {
        self.inner.order.defers();
        let mut lists = self.inner.lists();
        lists.deferrals += 1;
        let number = lists.deferrals;
        lists.waiting.push_back((number, Box::new(function)));
    }

    /// Does nothing: whatever is deferred is known to all.
    pub fn flush(&self) {}

    /// Lets go and pins again, unless this thread has other guards of the collector.
    pub fn repin(&mut self) {
        if self.inner.guards(self.thread) == 1 {
            self.inner.leave(self.thread);
            self.inner.enter(self.thread);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.inner.leave(self.thread);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let lists = self.lists.get_mut().unwrap_or_else(PoisonError::into_inner);
        let waiting = std::mem::take(&mut lists.waiting);
        if std::thread::panicking() {
            return;
        }
        assert!(lists.pinned.is_empty(), "a guard keeps its collector");
        assert!(waiting.is_empty() || lists.has_panicked, "the last one to let go runs all that is left");
        for (_, function) in waiting {
            function();
        }
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Collector").finish_non_exhaustive()
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Guard").finish_non_exhaustive()
    }
}
