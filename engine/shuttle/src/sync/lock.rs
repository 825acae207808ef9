//! Locks, and waiting for what another thread does under one.
//!
//! A lock that is given up is there for whoever comes first, and all who wait for it run for it. As in the engine, a lock
//! whose holder panicked is never entered again.

use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync as imp;
use std::sync::{PoisonError, TryLockError};

use shuttle_engine::runtime::task::TaskId;

use super::waits::{self, Wait};
use super::{block, me, point, wake};

const PANICKED: &str = "no thread panicked while it held this lock";

/// Mutual exclusion.
#[derive(Debug, Default)]
pub struct Mutex<T> {
    state: imp::Mutex<State>,
    data: imp::Mutex<T>,
}

/// A lock that is held.
#[derive(Debug)]
pub struct MutexGuard<'m, T> {
    mutex: &'m Mutex<T>,
    data: Option<imp::MutexGuard<'m, T>>,
}

#[derive(Debug, Default)]
struct State {
    /// Who has it, and where they took it.
    holder: Option<(TaskId, &'static Location<'static>)>,
    waiting: Vec<TaskId>,
}

impl<T> Mutex<T> {
    /// A lock that nobody has.
    pub fn new(value: T) -> Mutex<T> {
        Mutex { state: imp::Mutex::default(), data: imp::Mutex::new(value) }
    }

    /// The lock, once nobody else has it.
    ///
    /// # Panics
    /// If somebody who had it panicked.
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        point();
        let (me, at) = (me(), Location::caller());
        while let Some((holder, taken_at)) = self.take_or_queue(me, at) {
            waits::note(me, Wait::Lock { at, holder: holder.into(), taken_at });
            block();
            waits::cross_out(me);
        }
        self.guard()
    }

    /// The lock, unless somebody has it.
    ///
    /// # Panics
    /// If somebody who had it panicked.
    #[track_caller]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        point();
        let mut state = self.state();
        if state.holder.is_some() {
            return None;
        }
        state.holder = Some((me(), Location::caller()));
        drop(state);
        Some(self.guard())
    }

    /// Who has it. If that is nobody, `me` has it from now on, else it is among those who wait.
    fn take_or_queue(
        &self,
        me: TaskId,
        at: &'static Location<'static>,
    ) -> Option<(TaskId, &'static Location<'static>)> {
        let mut state = self.state();
        let holder = state.holder;
        match holder {
            Some(_) => state.waiting.push(me),
            None => state.holder = Some((me, at)),
        }
        holder
    }

    /// What the thread gets that has just become the holder.
    fn guard(&self) -> MutexGuard<'_, T> {
        match self.data.try_lock() {
            Ok(data) => MutexGuard { mutex: self, data: Some(data) },
            Err(TryLockError::WouldBlock) => unreachable!("only the holder has the data"),
            Err(TryLockError::Poisoned(_)) => {
                self.give_up();
                panic!("{PANICKED}");
            }
        }
    }

    fn give_up(&self) {
        let mut state = self.state();
        state.holder = None;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        wake(waiting);
    }

    /// Nothing happens while it is held: it is there because the compiler can't know that threads take turns.
    fn state(&self) -> imp::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'m, T> MutexGuard<'m, T> {
    /// Gives up the lock without a point before.
    fn give_up(&mut self) -> &'m Mutex<T> {
        self.data = None;
        self.mutex.give_up();
        self.mutex
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        if self.data.is_some() {
            point();
            self.give_up();
        }
    }
}

const HELD: &str = "a guard has the data until it is dropped";

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.data.as_ref().expect(HELD)
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.data.as_mut().expect(HELD)
    }
}

/// Waiting for what another thread does under a [`Mutex`]. Nobody is woken without a notification.
#[derive(Debug, Default)]
pub struct Condvar {
    waiting: imp::Mutex<Vec<TaskId>>,
}

impl Condvar {
    /// Gives up the lock and waits, in one step, and takes the lock again once it was notified.
    #[track_caller]
    pub fn wait<'m, T>(&self, mut guard: MutexGuard<'m, T>) -> MutexGuard<'m, T> {
        point();
        let me = me();
        self.waiting().push(me);
        let mutex = guard.give_up();
        drop(guard);
        waits::note(me, Wait::Notification { at: Location::caller() });
        while self.waiting().contains(&me) {
            block();
        }
        waits::cross_out(me);
        mutex.lock()
    }

    /// Wakes all who wait now.
    pub fn notify_all(&self) {
        point();
        let waiting = std::mem::take(&mut *self.waiting());
        wake(waiting);
    }

    /// As [`Mutex::state`].
    fn waiting(&self) -> imp::MutexGuard<'_, Vec<TaskId>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
