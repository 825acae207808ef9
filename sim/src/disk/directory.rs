//! Directories: what they show, what a power loss would leave of them, and the way from a path to a node.
//!
//! **Invariant.** A directory without pending effects shows exactly its durable entries, unless a sync failed and lost
//! some: until the next power loss it then shows names that are nowhere else, and hides durable ones.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::choice::Survival;
use super::crash::CrashReport;
use super::effect::{DirectoryId, Entries, EntryEffect, Name, Node, Pending, Sequence};
use super::errno::{EINVAL, ENOENT, ENOTDIR, fail};
use super::inode::Inode;
use super::lies::Lies;

/// The directory that every path starts in. It exists from the beginning and can't be lost.
pub(super) const ROOT: DirectoryId = DirectoryId(0);

/// One directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    /// The directory that has its name; `None` for the root.
    pub(super) parent: Option<DirectoryId>,
    pub(super) volatile: Entries,
    pub(super) durable: Entries,
    pub(super) pending: Vec<Pending<EntryEffect>>,
    /// Whether it shows entries that will never be durable.
    pub(super) has_lost: bool,
    pub(super) lies: Lies,
}

impl Directory {
    /// Applies an effect to the volatile entries and leaves it pending.
    pub(super) fn change(&mut self, sequence: &mut Sequence, effect: EntryEffect) {
        effect.apply(&mut self.volatile);
        self.pending.push(Pending { sequence: sequence.next(), effect });
    }

    /// Makes the first `count` pending effects durable.
    pub(super) fn persist(&mut self, count: usize) {
        for pending in self.pending.drain(..count) {
            pending.effect.apply(&mut self.durable);
        }
    }

    /// Forgets every pending entry, as a sync does that fails: they are shown and never become durable.
    pub(super) fn lose_pending(&mut self) {
        self.lies.lose(&self.pending);
        self.pending.clear();
        self.has_lost = true;
    }

    /// How many effects have to be persisted, from the first, so that those on `node` are durable.
    pub(super) fn count_through(&self, node: Node) -> usize {
        self.pending.iter().rposition(|pending| pending.effect.node() == node).map_or(0, |index| index + 1)
    }

    /// Makes of the pending effects durable what was decided. They stay pending.
    pub(super) fn materialise(&mut self, decided: &[Survival], report: &mut CrashReport) {
        for (pending, survival) in self.pending.iter().zip(decided) {
            report.count(survival);
            if *survival == Survival::Dropped {
                report.entries_dropped += 1;
            } else {
                pending.effect.apply(&mut self.durable);
            }
        }
    }

    /// Forgets the volatile entries: after a power loss has been worked out on the durable ones.
    pub(super) fn restart(&mut self) {
        self.lies = Lies::default();
        if !self.pending.is_empty() || self.has_lost {
            self.has_lost = false;
            self.pending.clear();
            self.volatile = self.durable.clone();
        }
    }
}

/// All directories.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) directories: BTreeMap<DirectoryId, Directory>,
    next: u64,
}

impl Tree {
    pub(super) fn new() -> Self {
        Self { directories: BTreeMap::from([(ROOT, Directory::default())]), next: ROOT.0 + 1 }
    }

    pub(super) fn get(&self, id: DirectoryId) -> &Directory {
        self.directories.get(&id).expect("an id is only followed while its directory exists")
    }

    pub(super) fn get_mut(&mut self, id: DirectoryId) -> &mut Directory {
        self.directories.get_mut(&id).expect("an id is only followed while its directory exists")
    }

    /// Whether a file was removed for good: its directory has nothing pending, or lost, that may yet name it.
    pub(super) fn is_gone(&self, inode: &Inode) -> bool {
        let directory = self.get(inode.directory);
        inode.unlinked && directory.pending.is_empty() && !directory.has_lost
    }

    /// What the path leads to now.
    pub(super) fn find(&self, path: &Path) -> io::Result<Node> {
        let (above, last) = self.walk(path)?;
        last.map_or(Ok(above), |last| self.step(above, last))
    }

    /// The directory that the path leads to now.
    pub(super) fn find_directory(&self, path: &Path) -> io::Result<DirectoryId> {
        match self.find(path)? {
            Node::Directory(id) => Ok(id),
            Node::File(_) => fail(ENOTDIR),
        }
    }

    /// The directory that holds, or would hold, the last name of the path, and that name.
    pub(super) fn find_parent<'p>(&self, path: &'p Path) -> io::Result<(DirectoryId, &'p OsStr)> {
        match self.walk(path)? {
            (_, None) => fail(EINVAL),
            (Node::Directory(id), Some(last)) => Ok((id, last)),
            (Node::File(_), Some(_)) => fail(ENOTDIR),
        }
    }

    /// Creates the directories of the path that are missing.
    pub(super) fn create(&mut self, sequence: &mut Sequence, path: &Path) -> io::Result<()> {
        let mut current = ROOT;
        for name in names(path).collect::<io::Result<Vec<_>>>()? {
            current = match self.get(current).volatile.get(name) {
                Some(Node::Directory(id)) => *id,
                Some(Node::File(_)) => return fail(ENOTDIR),
                None => self.create_one(sequence, current, name),
            };
        }
        Ok(())
    }

    fn create_one(&mut self, sequence: &mut Sequence, parent: DirectoryId, name: &OsStr) -> DirectoryId {
        let id = DirectoryId(self.next);
        self.next += 1;
        self.directories.insert(id, Directory { parent: Some(parent), ..Directory::default() });
        let effect = EntryEffect::Link { name: Name::from(name), node: Node::Directory(id) };
        self.get_mut(parent).change(sequence, effect);
        id
    }

    /// Follows all names of the path but the last, and returns that as well.
    fn walk<'p>(&self, path: &'p Path) -> io::Result<(Node, Option<&'p OsStr>)> {
        let mut node = Ok(Node::Directory(ROOT));
        let mut last = None;
        for name in names(path) {
            // Whether the path itself is legal comes before what it leads to.
            if let Some(above) = last.replace(name?) {
                node = node.and_then(|node| self.step(node, above));
            }
        }
        Ok((node?, last))
    }

    fn step(&self, node: Node, name: &OsStr) -> io::Result<Node> {
        match node {
            Node::File(_) => fail(ENOTDIR),
            Node::Directory(id) => self.get(id).volatile.get(name).copied().map_or_else(|| fail(ENOENT), Ok),
        }
    }
}

/// The names along a path. A leading `/` makes no difference: every path starts in the root.
fn names(path: &Path) -> impl Iterator<Item = io::Result<&OsStr>> {
    let names = path.as_os_str().as_bytes().split(|byte| *byte == b'/');
    names.filter_map(|name| match name {
        b"" | b"." => None,
        b".." => Some(fail(EINVAL)),
        name => Some(Ok(OsStr::from_bytes(name))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T: std::fmt::Debug>(result: io::Result<T>) -> Option<i32> {
        result.unwrap_err().raw_os_error()
    }

    #[test]
    fn paths_lead_where_they_say() {
        let mut tree = Tree::new();
        let mut sequence = Sequence::default();
        tree.create(&mut sequence, Path::new("/a/b")).unwrap();
        tree.create(&mut sequence, Path::new("a/b")).unwrap();
        assert_eq!(tree.directories.len(), 3);
        let deep = tree.find_directory(Path::new("a/./b")).unwrap();
        assert_eq!(tree.find_parent(Path::new("a/b/c")).unwrap(), (deep, OsStr::new("c")));
        assert_eq!(tree.find_directory(Path::new("/")).unwrap(), ROOT);
        assert_eq!(code(tree.find(Path::new("a/x"))), Some(ENOENT));
        assert_eq!(code(tree.find(Path::new("a/../b"))), Some(EINVAL));
        assert_eq!(code(tree.find_parent(Path::new("/"))), Some(EINVAL));
        let file = Node::File(super::super::effect::InodeId(1));
        let effect = EntryEffect::Link { name: Name::from(OsStr::new("f")), node: file };
        tree.get_mut(ROOT).change(&mut sequence, effect);
        assert_eq!(tree.find(Path::new("f")).unwrap(), file);
        assert_eq!(code(tree.find(Path::new("f/x"))), Some(ENOTDIR));
        assert_eq!(code(tree.find_directory(Path::new("f"))), Some(ENOTDIR));
        assert_eq!(code(tree.create(&mut sequence, Path::new("f/x"))), Some(ENOTDIR));
    }

    #[test]
    fn persisting_through_a_node_covers_what_came_before_it() {
        let mut directory = Directory::default();
        let mut sequence = Sequence::default();
        for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
            let node = Node::Directory(DirectoryId(index as u64 + 1));
            directory.change(&mut sequence, EntryEffect::Link { name: Name::from(OsStr::new(name)), node });
        }
        assert_eq!(directory.count_through(Node::Directory(DirectoryId(2))), 2);
        assert_eq!(directory.count_through(Node::Directory(DirectoryId(9))), 0);
        directory.persist(2);
        assert_eq!(directory.durable.len(), 2);
        directory.persist(1);
        assert_eq!(directory.durable, directory.volatile);
    }
}
