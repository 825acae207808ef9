//! Everything that a disk is, behind its lock: the way every I/O call takes, and the power loss.

use std::collections::BTreeMap;
use std::io;
use std::thread;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::boundaries::Boundaries;
use super::choice::Choice;
use super::crash::{CrashPoint, CrashReport, Keep, Moment};
use super::directory::{Directory, ROOT, Tree};
use super::effect::{DirectoryId, InodeId, Node, Sequence};
use super::errno::{EIO, fail};
use super::faults::FaultTable;
use super::inode::Inode;
use super::trace::{Answer, IoCall, IoOperation, IoOutcome, Request, Trace};
use super::{DiskOptions, DiskStats};

/// The state of a disk.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) options: DiskOptions,
    pub(super) tree: Tree,
    pub(super) inodes: BTreeMap<InodeId, Inode>,
    pub(super) sequence: Sequence,
    pub(super) next_inode: u64,
    pub(super) next_handle: u64,
    /// How many unique numbers were drawn.
    unique_ids: u64,
    pub(super) incarnation: u64,
    pub(super) power_lost: bool,
    pub(super) crash_site: Option<IoCall>,
    pub(super) io_calls: u64,
    /// The number of the call, counted like `io_calls`.
    armed: Option<(u64, Moment)>,
    /// After so many more calls, refused ones included, whoever makes another one has gone astray.
    calls_left: u64,
    /// How many were allowed last.
    calls_bound: u64,
    /// Whether somebody has.
    pub(super) has_strayed: bool,
    pub(super) faults: FaultTable,
    /// So many pages have room on the disk.
    pub(super) pages_max: Option<u64>,
    /// Whether the write under way is to stop in the middle.
    pub(super) stops_midway: bool,
    pub(super) trace: Trace,
    pub(super) boundaries: Boundaries,
    pub(super) stats: DiskStats,
}

/// Whose pending effect it is, and its index there. Ordered like the files and the directories themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    File(InodeId, usize),
    Directory(DirectoryId, usize),
}

impl State {
    pub(super) fn new(options: DiskOptions) -> Self {
        Self {
            options,
            tree: Tree::new(),
            inodes: BTreeMap::new(),
            sequence: Sequence::default(),
            next_inode: 1,
            next_handle: 1,
            unique_ids: 0,
            incarnation: 1,
            power_lost: false,
            crash_site: None,
            io_calls: 0,
            armed: None,
            calls_left: u64::MAX,
            calls_bound: u64::MAX,
            has_strayed: false,
            faults: FaultTable::default(),
            pages_max: None,
            stops_midway: false,
            trace: Trace::default(),
            boundaries: Boundaries::default(),
            stats: DiskStats::default(),
        }
    }

    /// The one way to do I/O: refuses the dead, counts, strikes, acts, traces.
    pub(super) fn call<T: Answer>(
        &mut self,
        incarnation: u64,
        request: &Request<'_>,
        act: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        self.count_down();
        if self.power_lost || incarnation != self.incarnation {
            return fail(EIO);
        }
        self.io_calls += 1;
        self.meet_boundary(request);
        let strike = self.armed.filter(|(call, _)| *call == self.io_calls).map(|(_, moment)| moment);
        if strike == Some(Moment::Before) {
            return self.strike(request, Moment::Before);
        }
        if strike == Some(Moment::During) {
            if request.operation == IoOperation::Write {
                self.stops_midway = true;
                // What it answers is never heard.
                let _ = self.act(request, act);
                self.stops_midway = false;
            }
            return self.strike(request, Moment::During);
        }
        let result = self.act(request, act);
        if strike == Some(Moment::After) {
            return self.strike(request, Moment::After);
        }
        self.trace.call(request, self.io_calls, IoOutcome::of(&result));
        result
    }

    /// One call fewer may come, whether or not it is refused: an error may be tried away for ever, and so may the one that
    /// the dead get.
    fn count_down(&mut self) {
        if let Some(left) = self.calls_left.checked_sub(1) {
            self.calls_left = left;
            return;
        }
        self.has_strayed = true;
        self.power_off();
        // To panic twice at a time would end the process.
        if !thread::panicking() {
            self.calls_left = self.calls_bound;
            panic!("this step has made so many I/O calls that it will not come to an end");
        }
    }

    fn act<T: Answer>(
        &mut self,
        request: &Request<'_>,
        act: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.faults.is_armed() { self.act_under_faults(request, act) } else { act(self) }
    }

    /// A question that is no I/O: it is neither counted nor traced, and only refused after a power loss.
    pub(super) fn ask<T>(
        &mut self,
        incarnation: u64,
        answer: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.power_lost || incarnation != self.incarnation { fail(EIO) } else { answer(self) }
    }

    /// A number that no earlier call on this disk returned.
    pub(super) fn unique_id(&mut self) -> u64 {
        self.unique_ids += 1;
        xxh3_64_with_seed(&self.unique_ids.to_le_bytes(), 0)
    }

    pub(super) fn arm(&mut self, point: CrashPoint) {
        assert!(point.call > 0, "calls are counted from 1");
        self.armed = Some((self.io_calls.saturating_add(point.call), point.moment));
    }

    pub(super) fn disarm(&mut self) {
        self.armed = None;
    }

    pub(super) fn bound_calls(&mut self, count: u64) {
        (self.calls_left, self.calls_bound) = (count, count);
    }

    /// Strikes between two calls.
    pub(super) fn power_off(&mut self) {
        if !self.power_lost {
            self.power_lost = true;
            self.crash_site = None;
            self.armed = None;
        }
    }

    fn strike<T>(&mut self, request: &Request<'_>, moment: Moment) -> io::Result<T> {
        let outcome = IoOutcome::PowerLost(moment);
        self.trace.call(request, self.io_calls, outcome);
        self.power_off();
        self.crash_site = Some(request.call(self.io_calls, outcome));
        fail(EIO)
    }

    /// Materialises a power loss: the durable state and what `keep` lets survive become all there is.
    pub(super) fn crash(&mut self, keep: &Keep) -> CrashReport {
        self.power_off();
        let is_told = self.trace.is_recording() && *keep != Keep::PageCache;
        let pending = if is_told { self.pending_list() } else { Vec::new() };
        let report = if *keep == Keep::PageCache { self.kill() } else { self.lose_power(keep) };
        self.incarnation += 1;
        self.power_lost = false;
        self.stats.count_crash(&report);
        self.trace.power_loss(keep, &report, pending);
        report
    }

    /// Only the process dies: its handles and locks go, everything else stays as it is, pending effects included.
    fn kill(&mut self) -> CrashReport {
        self.close_all();
        let still_pending = self.pending_count() as u64;
        CrashReport { effects_still_pending: Some(still_pending), ..CrashReport::default() }
    }

    fn close_all(&mut self) {
        self.inodes.values_mut().for_each(Inode::close_all);
        self.release_unlinked();
    }

    fn lose_power(&mut self, keep: &Keep) -> CrashReport {
        let (owners, part_counts) = self.pending();
        let mut survivals = keep.decide(&part_counts);
        assert_eq!(survivals.len(), owners.len(), "every pending effect is decided upon");
        self.close_order(&owners, &mut survivals);
        let mut report = CrashReport { choice: Choice::new(&survivals), ..CrashReport::default() };
        let mut decided: Vec<_> = owners.into_iter().zip(survivals).collect();
        decided.sort_unstable_by_key(|(owner, _)| *owner);
        let mut decided = decided.into_iter().map(|(_, survival)| survival);
        for inode in self.inodes.values_mut() {
            let survivals = decided.by_ref().take(inode.pending.len()).collect();
            inode.materialise(survivals, self.options.granule, &mut report);
        }
        for directory in self.tree.directories.values_mut() {
            let survivals: Vec<_> = decided.by_ref().take(directory.pending.len()).collect();
            directory.materialise(&survivals, &mut report);
        }
        report.files_lost = self.drop_unreachable();
        self.inodes.values_mut().for_each(Inode::restart);
        self.tree.directories.values_mut().for_each(Directory::restart);
        self.tell_what_is_felt(None);
        self.faults.restart();
        report
    }

    /// A disk of its own in the same state, except that nobody has anything open on it and nothing is armed. What has struck
    /// is still to be heard of there, too: whoever goes on from here judges the store by it.
    pub(super) fn fork(&self) -> Self {
        let mut fork = Self { armed: None, has_strayed: false, trace: self.trace.fork(), ..self.clone() };
        fork.bound_calls(u64::MAX);
        fork.close_all();
        fork
    }

    /// Whether something that a sync acknowledged is still not durable. A file that was removed counts for as long as a power
    /// loss may bring it back.
    pub(super) fn has_lied(&self) -> bool {
        self.inodes.values().any(|inode| inode.has_lied() && !self.tree.is_gone(inode))
            || self.tree.directories.values().any(|directory| directory.lies.are_open(&directory.pending))
    }

    /// How many effects are pending.
    pub(super) fn pending_count(&self) -> usize {
        self.inodes.values().map(|inode| inode.pending.len()).sum::<usize>()
            + self.tree.directories.values().map(|directory| directory.pending.len()).sum::<usize>()
    }

    /// Hash of all that a power loss would leave if no pending effect survived.
    pub(super) fn image_hash(&self) -> u64 {
        self.directory_hash(ROOT, 0)
    }

    /// Hash of all that a life on this disk depends on, right after a power loss: nothing is pending, and nothing is shown that
    /// is not durable.
    pub(super) fn state_hash(&self) -> u64 {
        let mut hash = self.faults.hash(self.image_hash());
        for (id, inode) in &self.inodes {
            if let Some(pristine) = &inode.pristine {
                hash = pristine.durable.hash(hash_words(&[id.0], hash));
            }
            // Zeros that have their place need no room, and hash like zeros that have none.
            if let Some(pages_max) = self.pages_max {
                hash = hash_words(&[pages_max, id.0, inode.volatile.page_count()], hash);
            }
        }
        hash
    }

    fn directory_hash(&self, id: DirectoryId, seed: u64) -> u64 {
        let entries = &self.tree.get(id).durable;
        let mut hash = xxh3_64_with_seed(&(entries.len() as u64).to_le_bytes(), seed);
        for (name, node) in entries {
            hash = xxh3_64_with_seed(name.as_encoded_bytes(), hash);
            hash = match node {
                Node::File(inode) => self.inodes[inode].durable.hash(hash),
                Node::Directory(inner) => self.directory_hash(*inner, !hash),
            };
        }
        hash
    }

    /// All pending effects in their global order, and how many parts each has.
    pub(super) fn pending(&self) -> (Vec<Owner>, Vec<u64>) {
        let mut pending = Vec::with_capacity(self.pending_count());
        for (id, inode) in &self.inodes {
            pending.extend(inode.pending.iter().enumerate().map(|(index, pending)| {
                let part_count = pending.effect.part_count(self.options.granule);
                (pending.sequence, Owner::File(*id, index), part_count)
            }));
        }
        for (id, directory) in &self.tree.directories {
            pending.extend(
                (directory.pending.iter().enumerate())
                    .map(|(index, pending)| (pending.sequence, Owner::Directory(*id, index), 1)),
            );
        }
        pending.sort_unstable();
        pending.into_iter().map(|(_, owner, part_count)| (owner, part_count)).unzip()
    }

    /// Drops what no durable name leads to; returns how many of those files had a name until now.
    fn drop_unreachable(&mut self) -> u64 {
        let mut files = Vec::with_capacity(self.inodes.len());
        let mut directories = vec![ROOT];
        let mut visited_count = 0;
        while let Some(id) = directories.get(visited_count) {
            visited_count += 1;
            for node in self.tree.get(*id).durable.values() {
                match node {
                    Node::Directory(inner) => directories.push(*inner),
                    Node::File(inode) => files.push(*inode),
                }
            }
        }
        directories.sort_unstable();
        files.sort_unstable();
        self.tree.directories.retain(|id, _| directories.binary_search(id).is_ok());
        let mut lost_count = 0;
        self.inodes.retain(|id, inode| {
            let is_reached = files.binary_search(id).is_ok();
            lost_count += u64::from(!is_reached && !inode.unlinked);
            is_reached
        });
        assert_eq!(self.tree.directories.len(), directories.len(), "each is reached by its one name");
        assert_eq!(self.inodes.len(), files.len(), "each is reached by its one name");
        lost_count
    }
}

/// A hash of numbers, each in eight bytes.
pub(super) fn hash_words(words: &[u64], seed: u64) -> u64 {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    xxh3_64_with_seed(&bytes, seed)
}
