//! The order in which a file system makes things durable when nobody asks it to: persistence profiles.
//!
//! POSIX promises nothing of what was not synced, and real file systems promise more. A store that only works with more
//! is only safe on those, and a plan that only fails with less says so: hence profiles, from what the strictest file
//! system does to all that POSIX allows. A profile is an [`Order`] of effects, a rule for sizes ([`Sizes`]), what makes a
//! name durable ([`DirectoryPersistence`]), and a [`Granule`]; each is a knob of its own, too.
//!
//! An order is a set of *edges*: this effect survives only if that one does, whole. Whatever was chosen to survive is
//! closed under the edges by dropping what misses something, and a sync makes durable, besides what it covers, all
//! that this needs.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::choice::Survival;
use super::effect::{DirectoryId, EntryEffect, FileEffect, InodeId, Node};
use super::state::{Owner, State};
use super::{DirectoryPersistence, DiskOptions, Granule, ParseError};

/// Which pending effects survive only together with earlier ones.
///
/// The text form, for plans: `any`, `metadata`, `ordered`, `prefix`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// None: all that POSIX promises.
    #[default]
    Any,
    /// Sizes and names are written to one journal, so that each survives only with all those before it. Bytes are
    /// written whenever.
    Metadata,
    /// As [`Order::Metadata`], and a file that replaces another one by a rename has its bytes written before.
    Ordered,
    /// Everything: what survives is a prefix, whose last write may be cut off at a granule.
    Prefix,
}

/// How the growth of a file and its new bytes survive.
///
/// The text form, for plans: `independent`, `data-first`, `size-first`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sizes {
    /// Each for itself.
    #[default]
    Independent,
    /// A file never shows zeros where a write made it grow: the growth survives only with all the bytes of that write.
    DataFirst,
    /// The bytes of a write survive only with the growth that it needs.
    SizeFirst,
}

/// A file system, by what it makes of a power loss. Each is a model: it allows what the file system does in its
/// default mode, not all of its bugs.
///
/// The text form, for plans: `strict`, `ext4-ordered`, `xfs`, `btrfs`, `posix-worst`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// Everything in order, pages never torn: what programs that never sync hope for.
    Strict,
    /// ext4 with `data=ordered` and `auto_da_alloc`: a journal for sizes and names, new bytes before the size that
    /// shows them, and before the rename that publishes them.
    Ext4Ordered,
    /// XFS: a journal for sizes and names, new bytes before the size that shows them, and nothing for renames.
    Xfs,
    /// btrfs: as ext4, and bytes are never overwritten in place, so that blocks of 4096 bytes are never torn.
    Btrfs,
    /// Whatever POSIX does not forbid, torn by the word.
    PosixWorst,
}

impl Profile {
    /// Every profile, from the strictest to the one that allows most.
    pub const ALL: [Self; 5] = [Self::Strict, Self::Btrfs, Self::Ext4Ordered, Self::Xfs, Self::PosixWorst];

    /// Sets the knobs that make a profile.
    pub fn apply(self, options: &mut DiskOptions) {
        let (order, sizes, directories, granule) = self.knobs();
        options.order = order;
        options.sizes = sizes;
        options.directory_persistence = directories;
        options.granule = Granule::new(granule).expect("a profile names a granule that there is");
    }

    /// The profile that these options come from, whatever their granule.
    #[must_use]
    pub fn of(options: &DiskOptions) -> Option<Self> {
        let set = (options.order, options.sizes, options.directory_persistence);
        let is_same = |profile: &Self| {
            let (order, sizes, directories, _) = profile.knobs();
            (order, sizes, directories) == set
        };
        // Two differ by their granule only.
        let same: Vec<Self> = Self::ALL.into_iter().filter(is_same).collect();
        let exact = same.iter().find(|profile| profile.knobs().3 == options.granule.bytes());
        exact.or(same.last()).copied()
    }

    fn knobs(self) -> (Order, Sizes, DirectoryPersistence, u64) {
        let with_file = DirectoryPersistence::WithFileSync;
        match self {
            Self::Strict => (Order::Prefix, Sizes::DataFirst, with_file, 4096),
            Self::Ext4Ordered => (Order::Ordered, Sizes::DataFirst, with_file, 512),
            Self::Xfs => (Order::Metadata, Sizes::DataFirst, with_file, 512),
            Self::Btrfs => (Order::Ordered, Sizes::DataFirst, with_file, 4096),
            Self::PosixWorst => (Order::Any, Sizes::Independent, DirectoryPersistence::WithDirectorySync, 8),
        }
    }
}

/// Gives a type its text form from a list of names.
macro_rules! named {
    ($type:ident, $what:literal, [$($variant:ident = $name:literal),* $(,)?]) => {
        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(match self { $( Self::$variant => $name, )* })
            }
        }

        impl FromStr for $type {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                match text {
                    $( $name => Ok(Self::$variant), )*
                    _ => Err(ParseError::new($what, text)),
                }
            }
        }
    };
}

named!(Order, "order", [Any = "any", Metadata = "metadata", Ordered = "ordered", Prefix = "prefix"]);
named!(
    Sizes,
    "rule for sizes",
    [Independent = "independent", DataFirst = "data-first", SizeFirst = "size-first"]
);
named!(
    Profile,
    "profile",
    [
        Strict = "strict",
        Ext4Ordered = "ext4-ordered",
        Xfs = "xfs",
        Btrfs = "btrfs",
        PosixWorst = "posix-worst",
    ]
);

/// What the order needs to know of a pending effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Brief {
    file: Option<InodeId>,
    kind: BriefKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BriefKind {
    /// Bytes of a file.
    Data,
    /// The growth that the next effect, a write, made.
    GrowthByWrite,
    /// Any other size.
    Size,
    /// A name came or went.
    Entry,
    /// A name that there was leads to this file now.
    Replacement(InodeId),
}

impl State {
    /// For each pending effect, in the global order, those without which it does not survive.
    pub(super) fn predecessors(&self) -> Vec<Vec<usize>> {
        edges(&self.briefs(&self.pending().0), self.options)
    }

    /// Drops what survives without something that it needs.
    pub(super) fn close_order(&self, owners: &[Owner], survivals: &mut [Survival]) {
        if self.options.order == Order::Prefix {
            cut_tear(&edges(&self.briefs(owners), self.options), survivals);
        } else if self.is_ordered() {
            close(&edges(&self.briefs(owners), self.options), survivals);
        }
    }

    fn is_ordered(&self) -> bool {
        self.options.order != Order::Any || self.options.sizes != Sizes::Independent
    }

    /// Makes durable all that is pending of a file, so many of the first pending effects of directories, and whatever the
    /// order demands before any of it.
    pub(super) fn persist_with_needed(&mut self, file: Option<InodeId>, names: &[(DirectoryId, usize)]) {
        let mut names: BTreeMap<DirectoryId, usize> = names.iter().copied().collect();
        if self.options.order != Order::Any {
            let mut files = BTreeMap::new();
            if let Some(file) = file {
                files.insert(file, self.inodes[&file].pending.len());
            }
            self.add_needed(&mut files, &mut names);
            for (id, count) in files.into_iter().filter(|(id, _)| Some(*id) != file) {
                self.inodes.get_mut(&id).expect("it has pending effects").persist_first(count);
            }
        }
        if let Some(file) = file {
            self.inodes.get_mut(&file).expect("what is made durable is there").persist();
        }
        for (id, count) in names {
            self.persist_entries(id, count);
        }
    }

    /// Extends, for each file and directory, how many pending effects become durable, from the first, by those that the
    /// order demands before them: within one file or directory nothing is skipped.
    fn add_needed(&self, files: &mut BTreeMap<InodeId, usize>, names: &mut BTreeMap<DirectoryId, usize>) {
        let owners = self.pending().0;
        let edges = edges(&self.briefs(&owners), self.options);
        loop {
            let is_needed = |owner: &Owner| match owner {
                Owner::File(id, index) => files.get(id).is_some_and(|count| index < count),
                Owner::Directory(id, index) => names.get(id).is_some_and(|count| index < count),
            };
            let missing: Vec<Owner> = (owners.iter().zip(&edges))
                .filter(|(owner, _)| is_needed(owner))
                .flat_map(|(_, before)| before.iter().map(|index| owners[*index]))
                .filter(|owner| !is_needed(owner))
                .collect();
            if missing.is_empty() {
                return;
            }
            for owner in missing {
                let (count, index) = match owner {
                    Owner::File(id, index) => (files.entry(id).or_default(), index),
                    Owner::Directory(id, index) => (names.entry(id).or_default(), index),
                };
                *count = (*count).max(index + 1);
            }
        }
    }

    fn briefs(&self, owners: &[Owner]) -> Vec<Brief> {
        let brief = |owner: &Owner| match *owner {
            Owner::File(id, index) => {
                let pending = &self.inodes[&id].pending;
                let kind = match &pending[index].effect {
                    FileEffect::Data { .. } => BriefKind::Data,
                    // The bytes of the write may have come to stand elsewhere, or may be lost.
                    FileEffect::Size { by_write: true, .. }
                        if (pending.get(index + 1))
                            .is_some_and(|next| next.sequence == pending[index].sequence + 1) =>
                    {
                        BriefKind::GrowthByWrite
                    }
                    FileEffect::Size { .. } => BriefKind::Size,
                };
                Brief { file: Some(id), kind }
            }
            Owner::Directory(id, index) => {
                let kind = match &self.tree.get(id).pending[index].effect {
                    EntryEffect::Rename { node: Node::File(file), replaces: true, .. } => {
                        BriefKind::Replacement(*file)
                    }
                    _ => BriefKind::Entry,
                };
                Brief { file: None, kind }
            }
        };
        owners.iter().map(brief).collect()
    }
}

/// The edges of an order: for each effect, those that it needs.
fn edges(briefs: &[Brief], options: DiskOptions) -> Vec<Vec<usize>> {
    let mut edges = vec![Vec::new(); briefs.len()];
    let is_filled = |index: usize| briefs[index].kind == BriefKind::GrowthByWrite;
    for index in 0..briefs.len() {
        match options.sizes {
            Sizes::DataFirst if is_filled(index) => edges[index].push(index + 1),
            Sizes::SizeFirst if is_filled(index) => edges[index + 1].push(index),
            _ => {}
        }
    }
    match options.order {
        Order::Any => {}
        Order::Prefix => {
            let mut line: Vec<usize> = (0..briefs.len()).collect();
            if options.sizes == Sizes::DataFirst {
                (0..briefs.len())
                    .filter(|index| is_filled(*index))
                    .for_each(|index| line.swap(index, index + 1));
            }
            for pair in line.windows(2) {
                if !edges[pair[1]].contains(&pair[0]) {
                    edges[pair[1]].push(pair[0]);
                }
            }
        }
        Order::Metadata | Order::Ordered => {
            let mut last = None;
            for (index, brief) in briefs.iter().enumerate() {
                if brief.kind == BriefKind::Data {
                    continue;
                }
                edges[index].extend(last);
                last = Some(index);
                if let (Order::Ordered, BriefKind::Replacement(file)) = (options.order, brief.kind) {
                    let is_its = |brief: &Brief| brief.file == Some(file) && brief.kind == BriefKind::Data;
                    edges[index].extend((0..index).filter(|before| is_its(&briefs[*before])));
                }
            }
        }
    }
    edges
}

/// Drops what misses something, until nothing does.
fn close(edges: &[Vec<usize>], survivals: &mut [Survival]) {
    let mut needed_by = vec![Vec::new(); edges.len()];
    for (index, before) in edges.iter().enumerate() {
        before.iter().for_each(|before| needed_by[*before].push(index));
    }
    let mut missing: Vec<usize> =
        (0..edges.len()).filter(|index| survivals[*index] != Survival::Kept).collect();
    while let Some(index) = missing.pop() {
        for &dependent in &needed_by[index] {
            if survivals[dependent] != Survival::Dropped {
                survivals[dependent] = Survival::Dropped;
                missing.push(dependent);
            }
        }
    }
}

/// As [`close`], where a write is cut off, and never torn in the middle.
fn cut_tear(edges: &[Vec<usize>], survivals: &mut [Survival]) {
    for survival in survivals.iter_mut() {
        if let Survival::Torn(parts) = survival {
            let count = parts.iter().take_while(|kept| **kept).count();
            *survival = Survival::of_parts((0..parts.len()).map(|part| part < count).collect());
        }
    }
    close(edges, survivals);
}
