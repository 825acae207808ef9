//! Scans of a write tier: what a snapshot sees, in either direction, lazily.
//!
//! A scan gathers some entries at a time and lets go of the tree in between, so that one that is left lying about keeps
//! nothing in memory but those. What it gathers ahead is right whenever it is handed out: what a snapshot sees never
//! changes. It begins with few, for those who look at the first entry only, and gathers more each time.

use std::ops::{Bound, ControlFlow};

use super::key::{At, TierKey};
use super::{TierEntry, TierValue, WriteTier};
use crate::ids::TxnId;
use crate::sync::Arc;

/// How many entries a scan gathers first, and at most.
const GATHERED: std::ops::RangeInclusive<usize> = 4..=64;

/// After so many versions of one key that the snapshot doesn't need, a scan looks for what it does need.
const SKIPPED: usize = 8;

/// What a snapshot sees of a tier, from one place on.
#[derive(Debug)]
pub(crate) struct TierScan<'t> {
    tier: &'t WriteTier,
    snapshot: TxnId,
    /// What comes next, the first of it last.
    ready: Vec<TierEntry>,
    gathered: usize,
    has_more: bool,
}

/// Why a walk along the tree stops.
enum Stop {
    Enough,
    /// There is nothing for the scan any more.
    End,
    /// Many versions of this key: what comes next is the one that the snapshot sees, if there is one.
    Visible(Arc<[u8]>),
    /// Many versions of this key, which is done: the walk goes on behind them.
    Behind(Arc<[u8]>),
}

impl<'t> TierScan<'t> {
    pub(crate) fn new(tier: &'t WriteTier, snapshot: TxnId) -> TierScan<'t> {
        TierScan { tier, snapshot, ready: Vec::new(), gathered: 0, has_more: true }
    }

    /// The first entry at or after `from`, if the one before it was the last one before `from`. Keys at which `is_before_end`
    /// doesn't hold any more end the scan.
    pub(crate) fn next(
        &mut self,
        from: Bound<&[u8]>,
        is_before_end: impl Fn(&[u8]) -> bool,
    ) -> Option<TierEntry> {
        self.step(|scan| scan.gather_up(from, is_before_end))
    }

    /// The last entry at or before `from`, if the one before it was the first one after `from`.
    pub(crate) fn next_down(
        &mut self,
        from: Bound<&[u8]>,
        is_before_end: impl Fn(&[u8]) -> bool,
    ) -> Option<TierEntry> {
        self.step(|scan| scan.gather_down(from, is_before_end))
    }

    fn step(&mut self, gather: impl FnOnce(&mut Self)) -> Option<TierEntry> {
        if self.ready.is_empty() && self.has_more {
            self.gathered = (self.gathered * 4).clamp(*GATHERED.start(), *GATHERED.end());
            gather(self);
            self.has_more = self.ready.len() == self.gathered;
            self.ready.reverse();
        }
        self.ready.pop()
    }

    fn gather_up(&mut self, from: Bound<&[u8]>, is_before_end: impl Fn(&[u8]) -> bool) {
        let mut stop = self.walk_up(place(from, At::newest, At::oldest), &is_before_end);
        loop {
            stop = match stop {
                Stop::Visible(key) => {
                    let visible = At { key: &key, txn: self.snapshot };
                    self.walk_up(Bound::Included(visible), &is_before_end)
                }
                Stop::Behind(key) => self.walk_up(Bound::Excluded(At::oldest(&key)), &is_before_end),
                Stop::Enough | Stop::End => return,
            };
        }
    }

    /// Gathers entries by ascending keys. Of each key the first version that is not too new is the one.
    fn walk_up(&mut self, from: Bound<At<'_>>, is_before_end: &impl Fn(&[u8]) -> bool) -> Stop {
        let tier = self.tier;
        let mut range = tier.versions.range_from(from.as_ref());
        let mut skipped = 0;
        let mut take = |TierKey { key, txn }: &TierKey, value: &TierValue| {
            let is_done = self.ready.last().is_some_and(|(last, _)| last == key);
            if !is_done && !is_before_end(key) {
                return ControlFlow::Break(Stop::End);
            }
            if is_done || *txn > self.snapshot {
                skipped += 1;
                return match skipped {
                    ..SKIPPED => ControlFlow::Continue(()),
                    _ if is_done => ControlFlow::Break(Stop::Behind(Arc::clone(key))),
                    _ => ControlFlow::Break(Stop::Visible(Arc::clone(key))),
                };
            }
            skipped = 0;
            self.ready.push((Arc::clone(key), value.clone()));
            if self.ready.len() == self.gathered {
                return ControlFlow::Break(Stop::Enough);
            }
            ControlFlow::Continue(())
        };
        loop {
            match range.next_with(&mut take) {
                Some(ControlFlow::Continue(())) => {}
                Some(ControlFlow::Break(stop)) => return stop,
                None => return Stop::End,
            }
        }
    }

    fn gather_down(&mut self, from: Bound<&[u8]>, is_before_end: impl Fn(&[u8]) -> bool) {
        let mut stop = self.walk_down(place(from, At::oldest, At::newest), &is_before_end);
        while let Stop::Visible(key) = stop {
            if let Some(value) = self.tier.get(&key, self.snapshot) {
                self.ready.push((Arc::clone(&key), value));
            }
            stop = self.walk_down(Bound::Excluded(At::newest(&key)), &is_before_end);
        }
    }

    /// Gathers entries by descending keys. Of each key the last version that is not too new is the one.
    fn walk_down(&mut self, from: Bound<At<'_>>, is_before_end: &impl Fn(&[u8]) -> bool) -> Stop {
        let tier = self.tier;
        let mut range = tier.versions.range_down_from(from.as_ref());
        let mut seen = 0;
        let mut current: Option<Arc<[u8]>> = None;
        let mut candidate: Option<TierValue> = None;
        loop {
            let step = range.next_with(|TierKey { key, txn }, value| {
                let is_same = current.as_ref() == Some(key);
                if !is_same {
                    if let (Some(key), Some(value)) = (current.take(), candidate.take()) {
                        self.ready.push((key, value));
                    }
                    if self.ready.len() == self.gathered {
                        return ControlFlow::Break(Stop::Enough);
                    }
                    if !is_before_end(key) {
                        return ControlFlow::Break(Stop::End);
                    }
                    current = Some(Arc::clone(key));
                    seen = 0;
                }
                seen += 1;
                if seen > SKIPPED {
                    return ControlFlow::Break(Stop::Visible(Arc::clone(key)));
                }
                if *txn <= self.snapshot {
                    candidate = Some(value.clone());
                }
                ControlFlow::Continue(())
            });
            match step {
                Some(ControlFlow::Continue(())) => {}
                Some(ControlFlow::Break(stop)) => return stop,
                None => {
                    if let (Some(key), Some(value)) = (current.take(), candidate.take()) {
                        self.ready.push((key, value));
                    }
                    return Stop::End;
                }
            }
        }
    }
}

/// Where a walk begins that is to show the key of a bound, at the `first` of its versions, or not, behind the `last` one.
fn place<'k>(
    from: Bound<&'k [u8]>,
    first: impl Fn(&'k [u8]) -> At<'k>,
    last: impl Fn(&'k [u8]) -> At<'k>,
) -> Bound<At<'k>> {
    match from {
        Bound::Included(key) => Bound::Included(first(key)),
        Bound::Excluded(key) => Bound::Excluded(last(key)),
        Bound::Unbounded => Bound::Unbounded,
    }
}
