//! What only rises: the latest commit of some sort, and since when it was that.

use crate::TxnId;

/// A TxnId that only rises, with the steps at which it did.
#[derive(Debug, Clone)]
pub(super) struct Rising {
    start: TxnId,
    risen: Vec<(usize, TxnId)>,
}

impl Rising {
    pub(super) fn new(start: TxnId) -> Rising {
        Rising { start, risen: Vec::new() }
    }

    /// Takes in that it is `id` at the least from `step` on. Steps come in order.
    pub(super) fn rise(&mut self, step: usize, id: TxnId) {
        if id > self.now() {
            self.risen.push((step, id));
        }
    }

    /// What it is.
    pub(super) fn now(&self) -> TxnId {
        self.risen.last().map_or(self.start, |(_, id)| *id)
    }

    /// What it was right before `step`.
    pub(super) fn before(&self, step: usize) -> TxnId {
        let later = self.risen.partition_point(|(risen, _)| *risen < step);
        later.checked_sub(1).map_or(self.start, |last| self.risen[last].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_of_the_past_is_known() {
        let mut rising = Rising::new(TxnId(3));
        rising.rise(5, TxnId(4));
        rising.rise(6, TxnId(2));
        rising.rise(9, TxnId(7));
        assert_eq!(rising.now(), TxnId(7));
        let before: Vec<u64> = (4..=10).map(|step| rising.before(step).0).collect();
        assert_eq!(before, [3, 3, 4, 4, 4, 4, 7]);
    }
}
