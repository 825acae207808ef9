//! What a sync has acknowledged and not done: for how long it is a lie.
//!
//! A lie is about the effects that were pending when the sync lied. It is made good once none of them is pending any
//! more, by an honest sync or because the system wrote them back of its own accord. If they are lost instead, by a sync
//! that fails, it can't be made good: it lasts until the power fails, and then it is over, because whoever was lied to
//! has what there is.

use super::effect::Pending;

/// The lies about one file, or about one directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Lies {
    /// The latest effect that a sync has lied about.
    through: Option<u64>,
    are_for_good: bool,
}

impl Lies {
    /// These effects are acknowledged, and pending still.
    pub(super) fn tell<E>(&mut self, acknowledged: &[Pending<E>]) {
        let latest = acknowledged.iter().map(|pending| pending.sequence).max();
        self.through = self.through.max(latest);
    }

    /// These effects will never be durable.
    pub(super) fn lose<E>(&mut self, lost: &[Pending<E>]) {
        self.are_for_good |= self.are_open(lost);
    }

    /// Whether something is not durable that was acknowledged, with these effects pending.
    pub(super) fn are_open<E>(&self, pending: &[Pending<E>]) -> bool {
        let is_covered = |through: u64| pending.iter().any(|pending| pending.sequence <= through);
        self.are_for_good || self.through.is_some_and(is_covered)
    }
}
