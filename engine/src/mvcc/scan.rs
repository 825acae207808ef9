//! Scans: what a snapshot sees of all tiers together, lazily, in either direction.
//!
//! Up to four sources, newest first: the transaction's own mutations, the active and the frozen write tier, the base
//! tree. Each holds one entry ready. A step takes the nearest key; where several sources have it, the newest one's
//! version counts, and all of them move on.

use std::ops::Bound;

use super::{Mutations, View};
use crate::btree::{BaseEntry, BaseScan, Values};
use crate::bytes::Bytes;
use crate::error::Result;
use crate::ids::TxnId;
use crate::pager::Pager;
use crate::sync::Arc;
use crate::write_tier::{TierEntry, TierScan, TierValue};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Ascending,
    Descending,
}

/// A lazy iterator over pairs of keys and values. Ends after its first error.
#[derive(Debug)]
pub struct Scan<'t> {
    pager: &'t Pager,
    direction: Direction,
    /// The bound at which the scan ends.
    end: Bound<Vec<u8>>,
    sources: Vec<Source<'t>>,
    has_ended: bool,
}

#[derive(Debug)]
struct Source<'t> {
    kind: SourceKind<'t>,
    next: Option<BaseEntry>,
}

#[derive(Debug)]
enum SourceKind<'t> {
    Own(&'t Mutations),
    Tier(TierScan<'t>),
    Base(BaseScan),
}

impl<'t> Scan<'t> {
    pub(crate) fn new(
        view: &'t View,
        snapshot: TxnId,
        own: Option<&'t Mutations>,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        direction: Direction,
    ) -> Result<Scan<'t>> {
        Scan::with_values(view, snapshot, own, bounds, direction, Values::Read)
    }

    /// A scan whose pairs have empty values where reading them would cost something.
    pub(crate) fn keys(
        view: &'t View,
        snapshot: TxnId,
        own: Option<&'t Mutations>,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<Scan<'t>> {
        Scan::with_values(view, snapshot, own, bounds, Direction::Ascending, Values::LeaveLarge)
    }

    fn with_values(
        view: &'t View,
        snapshot: TxnId,
        own: Option<&'t Mutations>,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        direction: Direction,
        values: Values,
    ) -> Result<Scan<'t>> {
        let (start, end) = match direction {
            Direction::Ascending => bounds,
            Direction::Descending => (bounds.1, bounds.0),
        };
        let pager: &'t Pager = &view.base.pager;
        let mut scan = Scan {
            pager,
            direction,
            end: end.map(<[u8]>::to_vec),
            sources: Vec::with_capacity(4),
            has_ended: is_empty(bounds),
        };
        if scan.has_ended {
            return Ok(scan);
        }
        let is_reverse = direction == Direction::Descending;
        let base = BaseScan::new(pager, view.base.root, snapshot, start, is_reverse, values)?;
        let tiers = view.tiers().filter(|tier| tier.has_versions());
        let kinds = own
            .map(SourceKind::Own)
            .into_iter()
            .chain(tiers.map(|tier| SourceKind::Tier(TierScan::new(tier, snapshot))))
            .chain([SourceKind::Base(base)]);
        for kind in kinds {
            let mut source = Source { kind, next: None };
            scan.advance(&mut source, start)?;
            scan.sources.push(source);
        }
        Ok(scan)
    }

    fn step(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        // They are back in place unless a step fails, and then the scan has ended.
        let mut sources = std::mem::take(&mut self.sources);
        while let Some(nearest) = self.nearest(&sources) {
            let (key, value) = sources[nearest].next.take().expect("the nearest source has an entry");
            self.advance(&mut sources[nearest], Bound::Excluded(&key))?;
            // Older versions of the same key are hidden.
            for source in &mut sources[nearest + 1..] {
                if source.next.as_ref().is_some_and(|(next, _)| *next == key) {
                    self.advance(source, Bound::Excluded(&key))?;
                }
            }
            if let Some(value) = value {
                self.sources = sources;
                return Ok(Some((key, value)));
            }
        }
        Ok(None)
    }

    /// The source whose key comes first; of several with one key, the newest.
    fn nearest(&self, sources: &[Source<'_>]) -> Option<usize> {
        let mut nearest: Option<(usize, &Bytes)> = None;
        for (index, source) in sources.iter().enumerate() {
            let Some((key, _)) = &source.next else { continue };
            let is_nearer = |other: &Bytes| match self.direction {
                Direction::Ascending => **key < **other,
                Direction::Descending => **key > **other,
            };
            if nearest.is_none_or(|(_, other)| is_nearer(other)) {
                nearest = Some((index, key));
            }
        }
        nearest.map(|(index, _)| index)
    }

    /// Makes the source's entry at or after `from` ready.
    fn advance(&self, source: &mut Source<'_>, from: Bound<&[u8]>) -> Result<()> {
        let bounds = match self.direction {
            Direction::Ascending => (from, self.end.as_ref().map(Vec::as_slice)),
            Direction::Descending => (self.end.as_ref().map(Vec::as_slice), from),
        };
        source.next = None;
        if is_empty(bounds) {
            return Ok(());
        }
        let is_before_end = |key: &[u8]| is_before_end(key, &self.end, self.direction);
        let shared = |(key, value): TierEntry| (Bytes::shared(key), value.map(Bytes::shared));
        source.next = match (&mut source.kind, self.direction) {
            (SourceKind::Own(own), Direction::Ascending) => own_entry(own.range::<[u8], _>(bounds).next()),
            (SourceKind::Own(own), Direction::Descending) => {
                own_entry(own.range::<[u8], _>(bounds).next_back())
            }
            (SourceKind::Tier(scan), Direction::Ascending) => scan.next(from, is_before_end).map(shared),
            (SourceKind::Tier(scan), Direction::Descending) => {
                scan.next_down(from, is_before_end).map(shared)
            }
            (SourceKind::Base(scan), _) => scan.next(self.pager)?.filter(|(key, _)| is_before_end(key)),
        };
        Ok(())
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<(Bytes, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let item = self.step().transpose();
        self.has_ended = !matches!(item, Some(Ok(_)));
        item
    }
}

/// The end of the range of all keys that start with `prefix`.
pub(crate) fn prefix_bounds(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

fn own_entry(entry: Option<(&Arc<[u8]>, &TierValue)>) -> Option<BaseEntry> {
    let (key, value) = entry?;
    Some((Bytes::shared(Arc::clone(key)), value.clone().map(Bytes::shared)))
}

/// Whether no key lies within the bounds, by the bounds alone.
fn is_empty(bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match bounds {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => {
            start >= end
        }
        _ => false,
    }
}

fn is_before_end(key: &[u8], end: &Bound<Vec<u8>>, direction: Direction) -> bool {
    match (end, direction) {
        (Bound::Unbounded, _) => true,
        (Bound::Included(end), Direction::Ascending) => key <= end.as_slice(),
        (Bound::Excluded(end), Direction::Ascending) => key < end.as_slice(),
        (Bound::Included(end), Direction::Descending) => key >= end.as_slice(),
        (Bound::Excluded(end), Direction::Descending) => key > end.as_slice(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_before_the_next_one() {
        assert_eq!(prefix_bounds(b"ab"), Bound::Excluded(b"ac".to_vec()));
        assert_eq!(prefix_bounds(b"a\xff\xff"), Bound::Excluded(b"b".to_vec()));
        assert_eq!(prefix_bounds(b"\xff"), Bound::Unbounded);
        assert_eq!(prefix_bounds(b""), Bound::Unbounded);
    }
}
