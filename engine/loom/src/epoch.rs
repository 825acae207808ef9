//! Epochs at their strictest: a deferred function runs as soon as the rule allows it, and never by chance later.
//!
//! The rule is that of the engine's own: a function runs once every thread that was pinned when it was deferred has let go.
//! A collector that counts epochs, as the engine's does, runs it some time after that; this one runs it at that moment,
//! on the thread that was the last to let go. So whoever uses memory without being pinned, or unlinks it too late, has
//! no luck to rely on. A thread with several guards has let go when the last one is dropped.
//!
//! It promises the same order of memory as the engine's, and no more, because more would hide what the tree forgot:
//! - what a thread did before it let go happens before the functions that waited for it;
//! - what happened before a function was deferred happens before what a thread does that is pinned too late to be waited for.
//!
//! That one thread's visit ends before another one's begins orders nothing. Each visit costs two steps that others can
//! come between; the lists are not part of what is explored.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::primitives::atomic::{AtomicUsize, Ordering};
use crate::primitives::thread::{self, ThreadId};

/// The epochs of one structure. Clones are the same collector.
#[derive(Clone)]
pub struct Collector(Arc<Inner>);

struct Inner {
    lists: Mutex<Lists>,
    /// Changed by each deferral, and read by whoever is pinned after it.
    deferred: AtomicUsize,
    /// For each thread: changed whenever it lets go, and read by whoever runs what waited for that.
    left: [AtomicUsize; THREADS_MAX],
}

/// The most threads that use a collector. Their atomics are made with it, before any other thread can know them.
const THREADS_MAX: usize = 8;

#[derive(Default)]
struct Lists {
    /// How many functions were deferred so far.
    deferrals: u64,
    threads: Vec<Arc<Participant>>,
    waiting: VecDeque<(u64, Deferred)>,
}

type Deferred = Box<dyn FnOnce() + Send>;

struct Participant {
    thread: ThreadId,
    index: usize,
    pinned: Mutex<Pinned>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Pinned {
    guards: usize,
    /// How many functions had been deferred when it was pinned: it holds up those that came later.
    since: u64,
}

/// A pinned thread.
pub struct Guard {
    inner: Arc<Inner>,
    participant: Arc<Participant>,
    /// A guard stays on its thread.
    _not_send: PhantomData<Cell<*const ()>>,
}

const UNPOISONED: &str = "the lists are changed by code that doesn't panic";

impl Collector {
    /// A new one, which no thread knows.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "the engine's has none")]
    pub fn new() -> Collector {
        let left = std::array::from_fn(|_| AtomicUsize::new(0));
        Collector(Arc::new(Inner { lists: Mutex::default(), deferred: AtomicUsize::new(0), left }))
    }

    /// Pins this thread: what is reachable from now on stays in memory until the guard is dropped.
    #[must_use]
    pub fn pin(&self) -> Guard {
        let participant = self.0.participant();
        if participant.guards() == 0 {
            self.0.enter(&participant);
        }
        participant.pinned.lock().expect(UNPOISONED).guards += 1;
        Guard { inner: Arc::clone(&self.0), participant, _not_send: PhantomData }
    }

    /// Frees what is due. Nothing is, because everything was freed when it was.
    pub fn collect(&self) {
        drop(self.pin());
    }
}

impl Inner {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().expect(UNPOISONED)
    }

    fn participant(&self) -> Arc<Participant> {
        let thread = thread::current().id();
        let mut lists = self.lists();
        if let Some(known) = lists.threads.iter().find(|participant| participant.thread == thread) {
            return Arc::clone(known);
        }
        let index = lists.threads.len();
        assert!(index < THREADS_MAX, "a collector has at most {THREADS_MAX} threads");
        let participant = Arc::new(Participant { thread, index, pinned: Mutex::default() });
        lists.threads.push(Arc::clone(&participant));
        participant
    }

    /// Notes from when on a thread is pinned. Nothing comes between the last step here and the note.
    fn enter(&self, participant: &Participant) {
        if self.lists().deferrals == 0 {
            self.deferred.load(Ordering::Relaxed);
        }
        // Acquire: pairs with the release of `defer`. An exchange, because it sees the latest one for certain.
        if self.lists().deferrals > 0 {
            self.deferred.fetch_add(0, Ordering::Acquire);
        }
        let since = self.lists().deferrals;
        participant.pinned.lock().expect(UNPOISONED).since = since;
    }

    /// The step of letting go.
    fn leave(&self, participant: &Participant) {
        // Release: what this thread did happens before what waited for it.
        self.left[participant.index].fetch_add(1, Ordering::Release);
    }

    /// Runs what no thread holds up any more.
    fn run_due(&self) {
        let mut due = Vec::new();
        let mut lists = self.lists();
        let pinned = lists.threads.iter().filter(|participant| participant.guards() > 0);
        let oldest = pinned.map(|participant| participant.since()).min().unwrap_or(u64::MAX);
        while lists.waiting.front().is_some_and(|(number, _)| *number <= oldest) {
            due.extend(lists.waiting.pop_front().map(|(_, function)| function));
        }
        let threads = if due.is_empty() { 0 } else { lists.threads.len() };
        drop(lists);
        for left in &self.left[..threads] {
            // Acquire: pairs with the release of `leave`.
            left.fetch_add(0, Ordering::Acquire);
        }
        for function in due {
            function();
        }
    }
}

impl Participant {
    fn guards(&self) -> usize {
        self.pinned.lock().expect(UNPOISONED).guards
    }

    fn since(&self) -> u64 {
        self.pinned.lock().expect(UNPOISONED).since
    }
}

impl Guard {
    /// Runs `function` once every thread that is pinned now has let go: on any thread, at any later time.
    pub fn defer(&self, function: impl FnOnce() + Send + 'static) {
        // Release: what was unlinked before is not found by whoever is pinned after this.
        self.inner.deferred.fetch_add(1, Ordering::AcqRel);
        let mut lists = self.inner.lists();
        lists.deferrals += 1;
        let number = lists.deferrals;
        lists.waiting.push_back((number, Box::new(function)));
    }

    /// Does nothing: whatever is deferred is known to all.
    pub fn flush(&self) {}

    /// Lets go and pins again, unless this thread has other guards of the collector.
    pub fn repin(&mut self) {
        if self.participant.guards() > 1 {
            return;
        }
        self.inner.leave(&self.participant);
        self.participant.pinned.lock().expect(UNPOISONED).guards = 0;
        self.inner.run_due();
        self.inner.enter(&self.participant);
        self.participant.pinned.lock().expect(UNPOISONED).guards += 1;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // In an execution that has failed nobody is let go, and nothing is run: it would fail in other ways.
        if std::thread::panicking() {
            return;
        }
        if self.participant.guards() == 1 {
            self.inner.leave(&self.participant);
        }
        self.participant.pinned.lock().expect(UNPOISONED).guards -= 1;
        self.inner.run_due();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let lists = self.lists.get_mut().expect(UNPOISONED);
        assert!(lists.waiting.is_empty(), "no function waits when no thread is pinned");
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
