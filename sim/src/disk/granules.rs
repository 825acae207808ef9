//! Cumulative granules: what a surviving granule of a write carries with it.
//!
//! A page cache holds a file's latest bytes and writes them back by the granule, so a granule that survives holds all
//! that the file showed there when it was written: what earlier writes left of it, and the zeros of what was cut off.
//! A choice of survivors knows nothing of this. Here it is closed over it, from the latest effect to the earliest; what
//! is carried along is a set of granules that hold bytes of a surviving write and yet are not filled by it. There are
//! two of them for each write at most.

use std::collections::BTreeSet;
use std::ops::Range;

use super::Granule;
use super::choice::Survival;
use super::effect::{FileEffect, Pending};

/// What becomes of one pending effect on a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) survival: Survival,
    /// Of a size that did not survive: what it had made zeros in granules that later writes make survive.
    pub(super) cleared: Vec<Range<u64>>,
}

/// Extends what was decided about the pending effects of a file: where a granule of a write survives, so does all that
/// earlier effects did to that granule. What the write overwrites entirely stays as decided, because nobody could tell.
pub(super) fn fates(pending: &[Pending<FileEffect>], decided: Vec<Survival>, granule: Granule) -> Vec<Fate> {
    assert_eq!(pending.len(), decided.len(), "every pending effect is decided upon");
    let mut needed = BTreeSet::new();
    let mut fates: Vec<Fate> = (pending.iter().zip(decided).rev())
        .map(|(pending, survival)| match &pending.effect {
            FileEffect::Data { offset, bytes } => {
                let range = *offset..offset + bytes.len();
                Fate { survival: pull(&mut needed, &range, survival, granule), cleared: Vec::new() }
            }
            FileEffect::Size { size, .. } => {
                let cleared = clear(&mut needed, *size, granule);
                let cleared = if survival == Survival::Dropped { cleared } else { Vec::new() };
                Fate { survival, cleared }
            }
        })
        .collect();
    fates.reverse();
    fates
}

/// Lets the needed granules of a write survive. Needed before it are those that it leaves some bytes of.
fn pull(needed: &mut BTreeSet<u64>, range: &Range<u64>, survival: Survival, granule: Granule) -> Survival {
    let size = granule.bytes();
    let (first, end) = (range.start / size, range.end.div_ceil(size));
    let pulled: Vec<u64> = needed.range(first..end).copied().collect();
    let survival = match survival {
        _ if pulled.is_empty() => survival,
        Survival::Kept => Survival::Kept,
        Survival::Dropped => with_parts(vec![false; (end - first) as usize], first, &pulled),
        Survival::Torn(parts) => with_parts(parts, first, &pulled),
    };
    pulled.iter().for_each(|index| {
        needed.remove(index);
    });
    for index in [first, end - 1] {
        let filled = range.start <= index * size && (index + 1) * size <= range.end;
        if !filled && survival.keeps((index - first) as usize) {
            needed.insert(index);
        }
    }
    survival
}

fn with_parts(mut parts: Vec<bool>, first: u64, pulled: &[u64]) -> Survival {
    pulled.iter().for_each(|index| parts[(index - first) as usize] = true);
    Survival::of_parts(parts)
}

/// What a file of this size has no bytes in, of the needed granules. Those wholly beyond it need nothing earlier.
fn clear(needed: &mut BTreeSet<u64>, size: u64, granule: Granule) -> Vec<Range<u64>> {
    let end_of = |index: u64| (index + 1) * granule.bytes();
    let boundary = size / granule.bytes();
    let mut cleared = Vec::new();
    if !size.is_multiple_of(granule.bytes()) && needed.contains(&boundary) {
        cleared.push(size..end_of(boundary));
    }
    let beyond = needed.split_off(&size.div_ceil(granule.bytes()));
    cleared.extend(beyond.into_iter().map(|index| index * granule.bytes()..end_of(index)));
    cleared
}

#[cfg(test)]
mod tests {
    use super::super::pages::WrittenBytes;
    use super::Survival::{Dropped, Kept, Torn};
    use super::*;

    fn data(offset: u64, length: usize) -> FileEffect {
        FileEffect::Data { offset, bytes: WrittenBytes::new(offset, &vec![1; length]) }
    }

    fn check(effects: Vec<FileEffect>, decided: &[Survival], expected: &[Survival]) -> Vec<Vec<Range<u64>>> {
        let pending: Vec<_> =
            (1..).zip(effects).map(|(sequence, effect)| Pending { sequence, effect }).collect();
        let fates = fates(&pending, decided.to_vec(), Granule::new(8).unwrap());
        let survivals: Vec<_> = fates.iter().map(|fate| fate.survival.clone()).collect();
        assert_eq!(survivals, expected);
        fates.into_iter().map(|fate| fate.cleared).collect()
    }

    #[test]
    fn a_later_write_pulls_the_earlier_ones_and_not_the_other_way_round() {
        check(vec![data(0, 2), data(2, 2), data(4, 2)], &[Dropped, Kept, Dropped], &[Kept, Kept, Dropped]);
        check(vec![data(0, 8), data(2, 2)], &[Kept, Dropped], &[Kept, Dropped]);
    }

    #[test]
    fn only_the_granules_that_are_shared_are_pulled() {
        let pulled = Torn(vec![false, true, false]);
        check(vec![data(0, 24), data(9, 2)], &[Dropped, Kept], &[pulled, Kept]);
        let both = Torn(vec![true, true, false]);
        check(vec![data(0, 24), data(9, 2)], &[Torn(vec![true, false, false]), Kept], &[both, Kept]);
        check(vec![data(0, 20), data(4, 16)], &[Dropped, Kept], &[Torn(vec![true, false, true]), Kept]);
        check(vec![data(0, 16), data(1, 9)], &[Torn(vec![true, false]), Kept], &[Kept, Kept]);
    }

    #[test]
    fn what_is_overwritten_entirely_stays_as_decided() {
        check(vec![data(0, 4), data(0, 8)], &[Dropped, Kept], &[Dropped, Kept]);
        check(vec![data(0, 4), data(0, 8), data(1, 1)], &[Dropped, Dropped, Kept], &[Dropped, Kept, Kept]);
    }

    #[test]
    fn a_lost_size_clears_what_later_writes_make_survive_and_nothing_else() {
        let effects =
            || vec![data(0, 24), FileEffect::Size { size: 4, by_write: false }, data(2, 1), data(17, 1)];
        let decided = |size| [Dropped, size, Kept, Kept];
        let pulled = Torn(vec![true, false, false]);
        let cleared = check(effects(), &decided(Dropped), &[pulled.clone(), Dropped, Kept, Kept]);
        assert_eq!(cleared, [vec![], vec![4..8, 16..24], vec![], vec![]]);
        let cleared = check(effects(), &decided(Kept), &[pulled, Kept, Kept, Kept]);
        assert!(cleared.iter().all(Vec::is_empty));
        let cleared = check(effects(), &[Dropped, Dropped, Dropped, Dropped], &[const { Dropped }; 4]);
        assert!(cleared.iter().all(Vec::is_empty));
    }
}
