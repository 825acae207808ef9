//! What a power loss now would decide about: the pending effects as whoever enumerates crash images sees them.
//!
//! The list is in the global order, so that the index of an effect is its number in a [`Choice`](super::Choice). It says
//! of each granule whether anybody could tell that it survived, because tears that nobody can see need not be tried.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory::ROOT;
use super::effect::{DirectoryId, EntryEffect, FileEffect, InodeId, Node, Pending};
use super::inode::Inode;
use super::pages::Contents;
use super::state::{Owner, State};

/// One pending effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingEffect {
    /// Its place among all effects that there ever were, by which it is known for as long as it is pending.
    pub sequence: u64,
    /// The file whose bytes or size it is about, by a number that no other file has.
    pub file: Option<u64>,
    /// What it is.
    pub kind: EffectKind,
    /// How many parts of it survive or vanish on their own: the granules of a write, or 1.
    pub part_count: u64,
    /// For each part, whether its survival changes a byte: of what is durable, or of what the file showed before.
    pub changed: Vec<bool>,
    /// The effects without which this one does not survive, by index. See [`Order`](super::Order).
    pub after: Vec<usize>,
}

/// What an effect does, and to which file or name. A file without a name is known by the path `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EffectKind {
    /// Bytes of a file.
    Data {
        /// Where the file is now.
        path: Arc<Path>,
        /// The first byte.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// The size of a file.
    Size {
        /// Where the file is now.
        path: Arc<Path>,
        /// In bytes.
        size: u64,
    },
    /// A new name.
    Link {
        /// The name.
        path: PathBuf,
    },
    /// A name removed.
    Unlink {
        /// The name.
        path: PathBuf,
    },
    /// A name replaced.
    Rename {
        /// The old name.
        from: PathBuf,
        /// The new name.
        to: PathBuf,
    },
}

impl fmt::Display for EffectKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data { path, offset, length } => {
                write!(formatter, "data {} at {offset}, {length} bytes", path.display())
            }
            Self::Size { path, size } => write!(formatter, "size {} to {size}", path.display()),
            Self::Link { path } => write!(formatter, "link {}", path.display()),
            Self::Unlink { path } => write!(formatter, "unlink {}", path.display()),
            Self::Rename { from, to } => write!(formatter, "rename {} to {}", from.display(), to.display()),
        }
    }
}

impl State {
    /// All pending effects, in their global order.
    pub(super) fn pending_list(&self) -> Vec<PendingEffect> {
        let (files, directories) = self.paths();
        let unnamed: Arc<Path> = Arc::from(Path::new("?"));
        let changed: BTreeMap<InodeId, Vec<Vec<bool>>> =
            self.inodes.iter().map(|(id, inode)| (*id, self.changed_parts(inode))).collect();
        let (owners, part_counts) = self.pending();
        let after = self.predecessors();
        (owners.into_iter().zip(part_counts).zip(after))
            .map(|((owner, part_count), after)| match owner {
                Owner::File(id, index) => {
                    let path = Arc::clone(files.get(&id).unwrap_or(&unnamed));
                    let kind = match &self.inodes[&id].pending[index].effect {
                        FileEffect::Data { offset, bytes } => {
                            EffectKind::Data { path, offset: *offset, length: bytes.len() }
                        }
                        FileEffect::Size { size, .. } => EffectKind::Size { path, size: *size },
                    };
                    let sequence = self.inodes[&id].pending[index].sequence;
                    let changed = changed[&id][index].clone();
                    PendingEffect { sequence, file: Some(id.0), kind, part_count, changed, after }
                }
                Owner::Directory(id, index) => {
                    let above = directories.get(&id).map_or(Path::new("?"), PathBuf::as_path);
                    let kind = match &self.tree.get(id).pending[index].effect {
                        EntryEffect::Link { name, .. } => EffectKind::Link { path: above.join(&**name) },
                        EntryEffect::Unlink { name, .. } => EffectKind::Unlink { path: above.join(&**name) },
                        EntryEffect::Rename { from, to, .. } => {
                            EffectKind::Rename { from: above.join(&**from), to: above.join(&**to) }
                        }
                    };
                    let sequence = self.tree.get(id).pending[index].sequence;
                    PendingEffect { sequence, file: None, kind, part_count, changed: vec![true], after }
                }
            })
            .collect()
    }

    /// For each pending effect of a file, which of its parts change something.
    fn changed_parts(&self, inode: &Inode) -> Vec<Vec<bool>> {
        let mut shown = inode.durable.clone();
        let mut changed = Vec::with_capacity(inode.pending.len());
        for Pending { effect, .. } in &inode.pending {
            let mut after = shown.clone();
            effect.apply(&mut after);
            changed.push(match effect {
                FileEffect::Size { size, .. } => vec![*size != shown.size() || *size != inode.durable.size()],
                FileEffect::Data { offset, bytes } => {
                    let read = |contents: &Contents| {
                        let mut buffer = vec![0; bytes.len() as usize];
                        contents.read(*offset, &mut buffer);
                        buffer
                    };
                    let [written, before, durable] = [&after, &shown, &inode.durable].map(read);
                    (parts(*offset, bytes.len(), self.options.granule.bytes()))
                        .map(|part| {
                            written[part.clone()] != before[part.clone()]
                                || written[part.clone()] != durable[part]
                        })
                        .collect()
                }
            });
            shown = after;
        }
        changed
    }

    /// The paths that lead to files and directories now.
    fn paths(&self) -> (BTreeMap<InodeId, Arc<Path>>, BTreeMap<DirectoryId, PathBuf>) {
        let mut files = BTreeMap::new();
        let mut directories = BTreeMap::from([(ROOT, PathBuf::from("/"))]);
        let mut unvisited = vec![ROOT];
        while let Some(id) = unvisited.pop() {
            let above = directories[&id].clone();
            for (name, node) in &self.tree.get(id).volatile {
                let path = above.join(&**name);
                match node {
                    Node::File(inode) => {
                        files.insert(*inode, Arc::from(path));
                    }
                    Node::Directory(inner) => {
                        directories.insert(*inner, path);
                        unvisited.push(*inner);
                    }
                }
            }
        }
        (files, directories)
    }
}

/// The granules of a write, each as a range of its bytes.
fn parts(offset: u64, length: u64, granule: u64) -> impl Iterator<Item = Range<usize>> {
    let end = offset + length;
    (offset / granule..end.div_ceil(granule)).map(move |index| {
        let start = (index * granule).max(offset) - offset;
        start as usize..(((index + 1) * granule).min(end) - offset) as usize
    })
}
