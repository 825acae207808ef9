//! Search among the heads of a page.
//!
//! Not a binary search: that reads one cache line after the other, each of which is known only when the one before has
//! arrived. Here the last head of each group of eight, which is a line, is compared with what is looked for, all of
//! them independently of each other, so that the lines of a page arrive together; their count is the group. Then the
//! same within the group. There is no branch that depends on a key. (Counting instead of branching: Schlegel, Gemulla,
//! Lehner, "k-ary search on modern processors", DaMoN 2009.)

/// Heads in a cache line.
const GROUP: usize = 8;

/// Above so many heads a page is halved first, because counting takes time in proportion to the number of groups.
const HALVE_ABOVE: usize = 256;

/// How many of the ascending `heads` are below `head`.
#[inline]
pub fn lower_bound(heads: &[u64], head: u64) -> usize {
    let mut skipped = 0;
    let mut rest = heads;
    while rest.len() > HALVE_ABOVE {
        let (low, high) = rest.split_at(rest.len() / 2);
        let is_above = low[low.len() - 1] < head;
        skipped += if is_above { low.len() } else { 0 };
        rest = if is_above { high } else { low };
    }
    let (groups, last) = rest.as_chunks::<GROUP>();
    let count = |count: usize, is_below: bool| count.wrapping_add(usize::from(is_below));
    let before = groups.iter().map(|group| group[GROUP - 1] < head).fold(0, count);
    let group = groups.get(before).map_or(last, <[u64; GROUP]>::as_slice);
    skipped + before * GROUP + group.iter().map(|&other| other < head).fold(0, count)
}

/// The same by the textbook, for comparison.
#[must_use]
pub fn lower_bound_scalar(heads: &[u64], head: u64) -> usize {
    let (mut low, mut high) = (0, heads.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if heads[middle] < head {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_in_every_length_is_found() {
        for length in (0..=300).chain([511, 512, 513, 1000, 4096]) {
            // Heads come in twos and leave gaps, so that there are places before, at, between and after them.
            let heads: Vec<u64> = (0..length).map(|index| index / 2 * 3 + 1).collect();
            for head in (0..=length / 2 * 3 + 3).chain([u64::MAX]) {
                let expected = lower_bound_scalar(&heads, head);
                assert_eq!(expected, heads.partition_point(|&other| other < head));
                assert_eq!(lower_bound(&heads, head), expected, "{head} among {length}");
            }
        }
    }
}
