//! Epochs at their strictest: a deferred function runs as soon as the rule allows it, and never by chance later.
//!
//! The rule is that of the engine's own: a function runs once every thread that was pinned when it was deferred has let go.
//! A collector that counts epochs, as the engine's does, runs it some time after that; this one runs it at that moment,
//! on the thread that was the last to let go. So whoever uses memory without being pinned, or unlinks it too late, has
//! no luck to rely on. A thread with several guards has let go when the last one is dropped.
//!
//! To be pinned and to let go are steps that others can come between. A thread that lets go while it panics runs nothing,
//! because what it would free may be what it choked on; the next one to let go does.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shuttle_engine::runtime::task::TaskId;

use super::{me, point};

/// The epochs of one structure. Clones are the same collector.
#[derive(Clone)]
pub struct Collector(Arc<Inner>);

#[derive(Default)]
struct Inner(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    /// How many functions were deferred so far.
    deferrals: u64,
    pinned: BTreeMap<TaskId, Pinned>,
    waiting: VecDeque<(u64, Deferred)>,
}

type Deferred = Box<dyn FnOnce() + Send>;

#[derive(Debug, Clone, Copy)]
struct Pinned {
    guards: usize,
    /// How many functions had been deferred when it was pinned: it holds up those that came later.
    since: u64,
}

/// A pinned thread.
pub struct Guard {
    inner: Arc<Inner>,
    thread: TaskId,
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
        if !self.0.lists().pinned.contains_key(&thread) {
            point();
        }
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more guard of a thread.
    fn enter(&self, thread: TaskId) {
        let mut lists = self.lists();
        let since = lists.deferrals;
        lists.pinned.entry(thread).or_insert(Pinned { guards: 0, since }).guards += 1;
    }

    fn guards(&self, thread: TaskId) -> usize {
        self.lists().pinned.get(&thread).map_or(0, |pinned| pinned.guards)
    }

    /// One guard less. With the last one, what no thread holds up any more is run.
    fn leave(&self, thread: TaskId) {
        if self.guards(thread) == 1 {
            point();
        }
        let mut lists = self.lists();
        let Some(pinned) = lists.pinned.get_mut(&thread) else {
            assert!(
                std::thread::panicking(),
                "who has a guard is pinned, unless a function failed in the middle"
            );
            return;
        };
        pinned.guards -= 1;
        if pinned.guards > 0 {
            return;
        }
        lists.pinned.remove(&thread);
        if std::thread::panicking() {
            return;
        }
        let due = lists.take_due();
        drop(lists);
        for (_, function) in due {
            function();
        }
    }
}

impl Lists {
    fn take_due(&mut self) -> Vec<(u64, Deferred)> {
        let oldest = self.pinned.values().map(|pinned| pinned.since).min().unwrap_or(u64::MAX);
        let count = self.waiting.partition_point(|(number, _)| *number <= oldest);
        self.waiting.drain(..count).collect()
    }
}

impl Guard {
    /// Runs `function` once every thread that is pinned now has let go: on any thread, at any later time.
    pub fn defer(&self, function: impl FnOnce() + Send + 'static) {
        point();
        let mut lists = self.inner.lists();
        lists.deferrals += 1;
        let number = lists.deferrals;
        lists.waiting.push_back((number, Box::new(function)));
    }

    /// Does nothing: whatever is deferred is known to all.
    pub fn flush(&self) {}

    /// Lets go and pins again, unless this thread has other guards of the collector.
    pub fn repin(&mut self) {
        if self.inner.guards(self.thread) > 1 {
            return;
        }
        self.inner.leave(self.thread);
        point();
        self.inner.enter(self.thread);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.inner.leave(self.thread);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let lists = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        let waiting = std::mem::take(&mut lists.waiting);
        if std::thread::panicking() {
            return;
        }
        assert!(lists.pinned.is_empty(), "a guard keeps its collector");
        // Of threads that panicked: everybody else runs what is due.
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
