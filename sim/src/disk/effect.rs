//! Effects: what a call has done that no sync has yet made durable.
//!
//! Every effect carries its place in the one global sequence. Files and directories keep their own effects, in that
//! order, so that a sync touches only what it covers; a power loss merges them back into the global order.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::Arc;

use super::Granule;
use super::choice::Survival;
use super::pages::{Contents, WrittenBytes};

/// Names a file for as long as it exists, under whatever name or none. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct InodeId(pub(super) u64);

/// Names a directory. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DirectoryId(pub(super) u64);

/// A name within a directory.
pub(super) type Name = Arc<OsStr>;

/// What a name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    File(InodeId),
    Directory(DirectoryId),
}

/// The names of one directory.
pub(super) type Entries = BTreeMap<Name, Node>;

/// Hands out places in the global sequence of effects.
#[derive(Debug, Clone, Default)]
pub(super) struct Sequence(u64);

impl Sequence {
    pub(super) fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// An effect and its place in the global sequence.
#[derive(Debug, Clone)]
pub(super) struct Pending<E> {
    pub(super) sequence: u64,
    pub(super) effect: E,
}

/// An effect on the contents of a file.
#[derive(Debug, Clone)]
pub(super) enum FileEffect {
    /// Bytes were written. Divisible into granules.
    Data { offset: u64, bytes: WrittenBytes },
    /// The file was cut off or extended: by the write whose bytes have the next place in the sequence, or by itself.
    Size { size: u64, by_write: bool },
}

impl FileEffect {
    /// How many parts of it survive or vanish independently: granules of data, or 1.
    pub(super) fn part_count(&self, granule: Granule) -> u64 {
        match self {
            Self::Data { offset, bytes } => {
                let size = granule.bytes();
                (offset + bytes.len()).div_ceil(size) - offset / size
            }
            Self::Size { .. } => 1,
        }
    }

    pub(super) fn is_size(&self) -> bool {
        matches!(self, Self::Size { .. })
    }

    pub(super) fn apply(&self, contents: &mut Contents) {
        match self {
            Self::Data { offset, bytes } => bytes.apply(contents, *offset),
            Self::Size { size, .. } => contents.set_size(*size),
        }
    }

    /// Applies what survives of it.
    pub(super) fn apply_survivors(&self, contents: &mut Contents, survival: &Survival, granule: Granule) {
        match (survival, self) {
            (Survival::Dropped, _) => {}
            (Survival::Kept, _) | (Survival::Torn(_), Self::Size { .. }) => self.apply(contents),
            (Survival::Torn(kept), Self::Data { offset, bytes }) => {
                let mut start = offset / granule.bytes();
                for run in kept.chunk_by(|left, right| left == right) {
                    let end = start + run.len() as u64;
                    if run[0] {
                        let range = start * granule.bytes()..end * granule.bytes();
                        bytes.apply_range(contents, *offset, &range);
                    }
                    start = end;
                }
            }
        }
    }

    /// Whether contents that get no more than what survives of it lack something of it.
    pub(super) fn loses(&self, contents: &Contents, survival: &Survival, granule: Granule) -> bool {
        let [mut whole, mut left] = [contents.clone(), contents.clone()];
        self.apply(&mut whole);
        self.apply_survivors(&mut left, survival, granule);
        whole.hash(0) != left.hash(0)
    }

    /// Applies the first `parts` parts and returns what is left, if anything is.
    pub(super) fn split_off(self, contents: &mut Contents, parts: u64, granule: Granule) -> Option<Self> {
        if parts == 0 {
            return Some(self);
        }
        let Self::Data { offset, ref bytes } = self else {
            self.apply(contents);
            return None;
        };
        let boundary = (offset / granule.bytes() + parts) * granule.bytes();
        if boundary >= offset + bytes.len() {
            self.apply(contents);
            return None;
        }
        bytes.apply_range(contents, offset, &(offset..boundary));
        Some(Self::Data { offset: boundary, bytes: bytes.suffix(boundary - offset) })
    }
}

/// An effect on the names of a directory. Indivisible.
///
/// Each says where its node lives from then on, because a node has one name at most. That makes any subset of them,
/// applied in order, a legal directory: a rename whose source is missing still puts the node under its new name, and
/// a removal still removes the node when the rename that came before it is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EntryEffect {
    /// A file or a directory was created.
    Link { name: Name, node: Node },
    /// A file was removed.
    Unlink { name: Name, node: Node },
    /// A file was renamed, replacing what had that name, if anything had. One effect: no state in between can survive.
    Rename { from: Name, to: Name, node: Node, replaces: bool },
}

impl EntryEffect {
    pub(super) fn node(&self) -> Node {
        match self {
            Self::Link { node, .. } | Self::Unlink { node, .. } | Self::Rename { node, .. } => *node,
        }
    }

    pub(super) fn apply(&self, entries: &mut Entries) {
        match self {
            Self::Link { name, node } => {
                entries.insert(Arc::clone(name), *node);
            }
            Self::Unlink { name, node } => unlink(entries, name, *node),
            Self::Rename { from, to, node, .. } => {
                unlink(entries, from, *node);
                entries.insert(Arc::clone(to), *node);
            }
        }
    }
}

/// Removes the name of `node`: the expected one, or whichever it has because an earlier rename is lost.
fn unlink(entries: &mut Entries, expected: &Name, node: Node) {
    if entries.get(expected) == Some(&node) {
        entries.remove(expected);
    } else {
        entries.retain(|_, other| *other != node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from(OsStr::new(text))
    }

    const A: Node = Node::File(InodeId(1));
    const B: Node = Node::File(InodeId(2));

    fn entries(pairs: &[(&str, Node)]) -> Entries {
        pairs.iter().map(|(text, node)| (name(text), *node)).collect()
    }

    #[test]
    fn parts_are_counted_by_boundaries_of_the_file_and_not_of_the_write() {
        let data =
            |offset, length| FileEffect::Data { offset, bytes: WrittenBytes::new(offset, &vec![1; length]) };
        let granule = Granule::new(512).unwrap();
        assert_eq!(data(0, 512).part_count(granule), 1);
        assert_eq!(data(1, 512).part_count(granule), 2);
        assert_eq!(data(511, 2).part_count(granule), 2);
        assert_eq!(data(4096, 8192).part_count(granule), 16);
        assert_eq!(data(1000, 24).part_count(granule), 1);
        assert_eq!(FileEffect::Size { size: 9, by_write: false }.part_count(granule), 1);
    }

    #[test]
    fn exactly_the_surviving_granules_are_applied() {
        let effect = FileEffect::Data { offset: 6, bytes: WrittenBytes::new(6, &[9; 20]) };
        let mut contents = Contents::default();
        let survival = Survival::Torn(vec![true, false, false, true]);
        effect.apply_survivors(&mut contents, &survival, Granule::new(8).unwrap());
        let mut buffer = [0; 32];
        contents.read(0, &mut buffer);
        let expected: Vec<u8> =
            (0..32).map(|at| if (6..8).contains(&at) || (24..26).contains(&at) { 9 } else { 0 }).collect();
        assert_eq!(buffer[..], expected);
    }

    #[test]
    fn a_split_effect_is_the_whole_in_two_halves() {
        let effect = FileEffect::Data { offset: 6, bytes: WrittenBytes::new(6, &[9; 20]) };
        let granule = Granule::new(8).unwrap();
        let mut halves = Contents::default();
        let rest = effect.clone().split_off(&mut halves, 2, granule).unwrap();
        assert!(matches!(rest, FileEffect::Data { offset: 16, .. }));
        assert_eq!(rest.part_count(granule), 2);
        rest.apply(&mut halves);
        let mut whole = Contents::default();
        effect.apply(&mut whole);
        assert_eq!(halves.hash(0), whole.hash(0));
        let mut buffer = [0; 20];
        halves.read(6, &mut buffer);
        assert_eq!(buffer, [9; 20]);
    }

    #[test]
    fn every_subset_of_entry_effects_gives_a_node_at_most_one_name() {
        let effects = [
            EntryEffect::Link { name: name("a"), node: A },
            EntryEffect::Link { name: name("b"), node: B },
            EntryEffect::Rename { from: name("a"), to: name("b"), node: A, replaces: false },
            EntryEffect::Rename { from: name("b"), to: name("c"), node: A, replaces: false },
            EntryEffect::Unlink { name: name("c"), node: A },
        ];
        for subset in 0..1_u32 << effects.len() {
            let mut result = Entries::new();
            for (index, effect) in effects.iter().enumerate() {
                if subset >> index & 1 == 1 {
                    effect.apply(&mut result);
                }
            }
            for node in [A, B] {
                assert!(result.values().filter(|other| **other == node).count() <= 1, "{subset:b}");
            }
            assert!(subset < 1 << 4 || !result.values().any(|node| *node == A), "{subset:b}");
        }
    }

    #[test]
    fn a_rename_without_its_source_still_moves_and_replaces() {
        let mut result = entries(&[("current", B)]);
        EntryEffect::Rename { from: name("new"), to: name("current"), node: A, replaces: false }
            .apply(&mut result);
        assert_eq!(result, entries(&[("current", A)]));
        EntryEffect::Unlink { name: name("current"), node: B }.apply(&mut result);
        assert_eq!(result, entries(&[("current", A)]));
    }
}
