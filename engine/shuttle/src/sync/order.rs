//! What the steps of a visit are under shuttle: points, which order everything, because shuttle knows no weak memory.

pub(super) use shuttle_engine::runtime::task::TaskId as ThreadId;

pub(super) use super::me;
use super::point;

/// The steps of one collector.
#[derive(Default)]
pub(super) struct Order;

#[expect(clippy::unused_self, reason = "other builds have atomics here")]
impl Order {
    /// A thread is being pinned.
    pub(super) fn enters(&self, _deferrals: impl Fn() -> u64) {
        point();
    }

    /// A thread lets go.
    pub(super) fn leaves(&self, _thread: ThreadId) {
        point();
    }

    /// A function is being deferred.
    pub(super) fn defers(&self) {
        point();
    }

    /// What was deferred is about to run. That is part of the step by which the last thread let go.
    pub(super) fn runs(&self) {}
}
