//! What each thread waits for.
//!
//! A thread notes it when it is blocked, and crosses it out when it goes on. After a deadlock the notes are left, and
//! [`take`] says what they were. An execution runs on one thread of the operating system, which has notes of its own: take
//! them there, and begin an execution with none.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;

use shuttle_engine::runtime::task::TaskId;

thread_local! {
    static WAITS: RefCell<BTreeMap<usize, Wait>> = const { RefCell::new(BTreeMap::new()) };
}

/// What a thread waits for, and where in the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// For another thread to give up a lock.
    Lock {
        /// Where it asked for the lock.
        at: &'static Location<'static>,
        /// Who had the lock then.
        holder: usize,
        /// Where that one had taken it.
        taken_at: &'static Location<'static>,
    },
    /// For a notification.
    Notification {
        /// Where it waits.
        at: &'static Location<'static>,
    },
}

/// What each blocked thread waits for, by shuttle's number of the thread. The notes are gone then.
pub fn take() -> BTreeMap<usize, Wait> {
    WAITS.take()
}

pub(super) fn note(thread: TaskId, wait: Wait) {
    WAITS.with_borrow_mut(|waits| waits.insert(thread.into(), wait));
}

pub(super) fn cross_out(thread: TaskId) {
    WAITS.with_borrow_mut(|waits| waits.remove(&thread.into()));
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wait::Lock { at, holder, taken_at } => {
                let (at, taken_at) = (Place(at), Place(taken_at));
                write!(f, "at {at} for a lock that thread {holder} took at {taken_at}")
            }
            Wait::Notification { at } => write!(f, "at {} for a notification", Place(at)),
        }
    }
}

/// A place, by its path from the sources' folder, which is the same for every copy of the sources.
struct Place(&'static Location<'static>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.file();
        let path = path.rsplit_once("/src/").map_or(path, |(_, path)| path);
        write!(f, "{path}:{}", self.0.line())
    }
}
