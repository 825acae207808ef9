//! `verify`: every invariant that can be checked.

use std::path::Path;

use crate::btree::{self, TreeReport};
use crate::checkpoint::CheckpointState;
use crate::commit::CommitState;
use crate::db::{Database, Shared};
use crate::error::{Error, Result};
use crate::format::{Damage, Meta};
use crate::ids::{PageId, TxnId};
use crate::log::replay;
use crate::pager::{Allocator, Pager};
use crate::sync::Arc;
use crate::write_tier::prune::Superseded;
use crate::write_tier::{TierVersion, WriteTier};

/// What [`Database::verify`] went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// Pages of the data file, each of which is used for exactly one thing.
    pub page_count: u64,
    /// Leaves of the base tree.
    pub leaf_count: u64,
    /// Branches of the base tree.
    pub branch_count: u64,
    /// Levels of the base tree; 0 if it is empty.
    pub height: u8,
    /// Versions in the base tree, deletions included.
    pub version_count: u64,
    /// Values that lie in pages of their own.
    pub extent_count: u64,
    /// Pages that the next checkpoint can use.
    pub free_page_count: u64,
    /// Pages that become free once neither the fallback meta page nor a reader needs them.
    pub waiting_page_count: u64,
    /// Transactions in the log.
    pub log_record_count: u64,
}

impl Database {
    /// Reads everything from the disk and checks it: checksums, the order and the bounds of every page, that the tree
    /// is of one height and holds no version that it needn't, that every page of the file is used exactly once and the
    /// free list on disk says so too, and that the log holds exactly what the write tier holds, and what was
    /// rightly pruned from it. The state that the other
    /// meta page describes, which must be an earlier one of the same database, is checked in the same way. Checkpoints wait meanwhile, and commits while the log is read.
    ///
    /// # Errors
    /// `Corruption` with the first thing that is wrong; `Io`; `Poisoned`, because then it is unknown what the log holds.
    pub fn verify(&self) -> Result<VerifyReport> {
        let shared = &self.shared;
        let state = shared.checkpoint.lock();
        if !shared.options.read_only {
            shared.check_writable()?;
        }
        let on_disk = state.pager.read_meta_pages()?;
        if on_disk.newest != state.meta {
            return Err(state
                .pager
                .corruption(PageId(0), Damage("the meta page on disk is not the one that counts")));
        }
        check_garbage(&state.pager, &state.meta)?;
        let Meta { root, checkpoint, generation, .. } = state.meta;
        let earlier = on_disk.fallback.map(|fallback| fallback.generation);
        let tree = btree::verify(&state.pager, root, checkpoint, generation, earlier)?;
        let mut report = VerifyReport {
            page_count: state.meta.page_count,
            leaf_count: tree.leaf_count,
            branch_count: tree.branch_count,
            height: tree.height,
            version_count: tree.version_count,
            extent_count: tree.extent_count,
            ..VerifyReport::default()
        };
        let free_list = load_free_list(&state.pager, &state.meta)?;
        account(&state, &free_list, &tree.pages, &mut report)?;
        if let Some(fallback) = on_disk.fallback {
            verify_fallback(&state, &free_list, &tree, &fallback)?;
        }
        let commits = shared.lock_log_file()?;
        if !shared.options.read_only {
            shared.check_writable()?;
        }
        report.log_record_count = compare_log(shared, &state, &commits)?;
        Ok(report)
    }
}

/// Checks that the tree of one of the meta pages holds nothing that the checkpoint should have dropped.
fn check_garbage(pager: &Pager, meta: &Meta) -> Result<()> {
    if let Some(root) = meta.root
        && root.oldest_garbage <= meta.oldest
    {
        let damage = Damage("the tree holds what no snapshot that is retained needs");
        return Err(pager.corruption(root.page.page, damage));
    }
    Ok(())
}

/// The free list of one of the meta pages, as it is on disk.
fn load_free_list(pager: &Pager, meta: &Meta) -> Result<Allocator> {
    Allocator::load_checking(pager, meta, |page| {
        if page.generation() > meta.generation {
            return Err(Damage("a page of the free list is of a later checkpoint than the list"));
        }
        Ok(())
    })
}

/// Checks that tree, free pages and free list are all pages there are, by the account in memory and by the one on disk.
fn account(
    state: &CheckpointState,
    free_list: &Allocator,
    tree: &[(PageId, u64)],
    report: &mut VerifyReport,
) -> Result<()> {
    let on_disk = free_list.census();
    let in_memory = state.allocator.census();
    report.free_page_count = in_memory.free;
    report.waiting_page_count = in_memory.waiting;
    for census in [in_memory, on_disk] {
        let mut runs = vec![(PageId(0), 2)];
        runs.extend_from_slice(tree);
        runs.extend(census.unused);
        runs.sort_unstable();
        let mut next = 0;
        for (start, count) in runs {
            if start.0 > next {
                return Err(state.pager.corruption(PageId(next), Damage("a page is used for nothing")));
            }
            if start.0 < next {
                return Err(state.pager.corruption(start, Damage("a page is used for two things")));
            }
            next = start.0.saturating_add(count);
        }
        if next != state.meta.page_count {
            return Err(state.pager.corruption(PageId(next), Damage("the last pages are used for nothing")));
        }
    }
    Ok(())
}

/// Checks that the state to which the database falls back, should its newest meta page be torn, is whole, and that no
/// page of it may be used for anything else. `free_list` and `tree` are those of the newest meta page.
fn verify_fallback(
    state: &CheckpointState,
    free_list: &Allocator,
    tree: &TreeReport,
    fallback: &Meta,
) -> Result<()> {
    let (pager, newest) = (&*state.pager, &state.meta);
    if fallback.database != newest.database {
        return Err(pager.corruption(PageId(0), Damage("the meta pages belong to two databases")));
    }
    if fallback.checkpoint > newest.checkpoint || fallback.oldest > newest.oldest {
        return Err(pager.corruption(PageId(0), Damage("the older meta page is ahead of the newer one")));
    }
    check_garbage(pager, fallback)?;
    let Meta { root, checkpoint, generation, .. } = *fallback;
    let mut needed = btree::verify_earlier(pager, root, checkpoint, generation, tree)?;
    needed.extend(load_free_list(pager, fallback)?.list_pages().iter().map(|page| (*page, 1)));
    for allocator in [&state.allocator, free_list] {
        if let Some(page) = needed.iter().find_map(|(start, count)| allocator.first_free(*start, *count)) {
            return Err(pager.corruption(page, Damage("a page that the fallback needs is free")));
        }
    }
    Ok(())
}

/// Replays the log into a tier of its own and compares that with what is in memory.
fn compare_log(shared: &Shared, state: &CheckpointState, commits: &CommitState) -> Result<u64> {
    let tier = WriteTier::default();
    let replay = replay(&*shared.vfs, &shared.directory, &state.meta, |txn, mutations| {
        tier.replay(txn, mutations);
    })?;
    let published = shared.published.load_full();
    let mut in_memory: Vec<_> = published.view.tiers().flat_map(|tier| tier.versions()).collect();
    in_memory.sort_by(|(a, a_txn, _), (b, b_txn, _)| a.cmp(b).then(b_txn.cmp(a_txn)));
    if replay.latest != commits.installed {
        return Err(log_corruption(
            &shared.directory,
            "the log ends with another transaction than the database",
        ));
    }
    // The frozen tier keeps what a later one superseded.
    let frozen_through = state.frozen.as_ref().map_or(TxnId(0), |frozen| frozen.through);
    let may_be_pruned = |version: &Superseded| {
        let pruner = commits.pruner.as_ref();
        let is_of_one_tier = version.txn > frozen_through || version.by <= frozen_through;
        is_of_one_tier
            && version.by <= published.oldest
            && pruner.is_some_and(|pruner| !pruner.is_needed(version))
    };
    if !is_all_of(tier.versions(), in_memory, may_be_pruned) {
        return Err(log_corruption(&shared.directory, "the log holds something else than the write tier"));
    }
    Ok(replay.replayed)
}

/// Whether the versions in memory are those of the log, but for some that may be pruned.
fn is_all_of(
    log: Vec<TierVersion>,
    in_memory: Vec<TierVersion>,
    may_be_pruned: impl Fn(&Superseded) -> bool,
) -> bool {
    let mut in_memory = in_memory.into_iter().peekable();
    let mut newer: Option<(Arc<[u8]>, TxnId)> = None;
    for version in log {
        let is_there = in_memory.next_if_eq(&version).is_some();
        let (key, txn, _) = version;
        let by = newer.take().filter(|(newer_key, _)| *newer_key == key).map(|(_, by)| by);
        newer = Some((Arc::clone(&key), txn));
        if !is_there && !by.is_some_and(|by| may_be_pruned(&Superseded { key, txn, by })) {
            return false;
        }
    }
    in_memory.next().is_none()
}

fn log_corruption(directory: &Path, reason: &'static str) -> Error {
    Error::corruption(directory, 0, Damage(reason))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::format::{FreeListPage, FreeRun, META_BYTES, Page, PageReference};
    use crate::ids::{DatabaseId, Generation};
    use crate::{Options, Retention};

    const PAGE: usize = 4096;

    /// A data file with two meta pages.
    struct File {
        bytes: Vec<u8>,
        newest: Meta,
        fallback: Meta,
    }

    impl File {
        fn free_list(&self) -> FreeListPage {
            let id = self.newest.free_list.expect("something is free").page;
            let at = id.0 as usize * PAGE;
            let page = Page::decode(self.bytes[at..at + PAGE].into(), self.newest.database, id);
            FreeListPage::decode(&page.expect("the page is whole")).expect("it is of the free list")
        }

        fn write_list(&mut self, list: &FreeListPage, id: PageId, generation: Generation) -> PageReference {
            let page = list.encode(PAGE, self.newest.database, id, generation);
            self.bytes[id.0 as usize * PAGE..][..PAGE].copy_from_slice(page.bytes());
            page.reference()
        }
    }

    /// What `verify` says of a database with history and a free list that was `forged`.
    fn verify_forged(forge: impl FnOnce(&mut File)) -> String {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = Options::new().page_size(4096).retention(Retention::Txns(2));
        let database = Database::open(directory.path(), &options).expect("a database is created");
        for round in 0..8u8 {
            let mut write = database.begin_write().expect("nobody else writes");
            for key in 0..200u8 {
                write.put(&[key], &[round; 100]).expect("legal");
            }
            write.commit().expect("the disk is fine");
            database.checkpoint().expect("the disk is fine");
        }
        drop(database);
        let path = directory.path().join("data");
        let bytes = fs::read(&path).expect("the file is there");
        let meta = |at: usize| Meta::decode(&bytes[at..at + META_BYTES], at as u64).expect("it is whole");
        let (mut newest, mut fallback) = (meta(0), meta(PAGE));
        if newest.generation < fallback.generation {
            std::mem::swap(&mut newest, &mut fallback);
        }
        let mut file = File { bytes, newest, fallback };
        forge(&mut file);
        for meta in [file.newest, file.fallback] {
            file.bytes[meta.offset() as usize..][..META_BYTES].copy_from_slice(&meta.encode());
        }
        fs::write(&path, &file.bytes).expect("the file is written");
        let database = Database::open(directory.path(), &options.read_only(true)).expect("it can be opened");
        match database.verify() {
            Ok(_) => String::new(),
            Err(Error::Corruption { reason, .. }) => reason.to_string(),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn meta_pages_that_dont_belong_together() {
        assert_eq!(verify_forged(|_| {}), "");
        let other = verify_forged(|file| file.fallback.database = DatabaseId(file.newest.database.0 ^ 1));
        assert_eq!(other, "the meta pages belong to two databases");
        let ahead = "the older meta page is ahead of the newer one";
        assert_eq!(verify_forged(|file| file.fallback.checkpoint = file.newest.checkpoint.next()), ahead);
        assert_eq!(verify_forged(|file| file.fallback.oldest = file.newest.oldest.next()), ahead);
    }

    #[test]
    fn history_that_nobody_needs() {
        let expected = "the tree holds what no snapshot that is retained needs";
        assert_eq!(verify_forged(|file| file.newest.oldest = file.newest.checkpoint), expected);
        assert_eq!(verify_forged(|file| file.fallback.oldest = file.newest.oldest), expected);
    }

    #[test]
    fn free_lists_that_are_not_what_they_should_be() {
        let free = verify_forged(|file| {
            let free = file.free_list().runs.into_iter().find(|run: &FreeRun| !run.just_freed);
            let id = free.expect("pages are free").start;
            let list = FreeListPage { next: None, runs: Vec::new() };
            file.fallback.free_list = Some(file.write_list(&list, id, file.fallback.generation));
        });
        assert_eq!(free, "a page that the fallback needs is free");
        let late = verify_forged(|file| {
            let id = file.newest.free_list.expect("something is free").page;
            let list = file.free_list();
            file.newest.free_list = Some(file.write_list(&list, id, file.newest.generation.next()));
        });
        assert_eq!(late, "a page of the free list is of a later checkpoint than the list");
    }
}
