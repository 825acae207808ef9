//! `verify`: every invariant that can be checked.

use std::path::Path;

use crate::btree::{self, TreeReport};
use crate::checkpoint::CheckpointState;
use crate::db::{Database, Shared};
use crate::error::{Error, Result};
use crate::format::{Damage, FreeListPage, Meta};
use crate::ids::{PageId, TxnId};
use crate::log::replay;
use crate::pager::{Allocator, Pager};
use crate::sync::Arc;
use crate::write_tier::WriteTier;

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
    /// free list on disk says so too, and that the log holds exactly what the write tier holds. The state that the other
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
        let tree = verify_tree(&state.pager, &state.meta)?;
        let mut report = VerifyReport {
            page_count: state.meta.page_count,
            leaf_count: tree.leaf_count,
            branch_count: tree.branch_count,
            height: tree.height,
            version_count: tree.version_count,
            extent_count: tree.extent_count,
            ..VerifyReport::default()
        };
        account(&state, &tree.pages, &mut report)?;
        free_list_pages(&state.pager, &state.meta)?;
        if let Some(fallback) = on_disk.fallback {
            verify_fallback(&state, &fallback)?;
        }
        let commits = shared.lock_log_file()?;
        if !shared.options.read_only {
            shared.check_writable()?;
        }
        report.log_record_count = compare_log(shared, &state, commits.installed)?;
        Ok(report)
    }
}

/// Checks the tree of one of the meta pages, and that it holds nothing that the checkpoint should have dropped.
fn verify_tree(pager: &Pager, meta: &Meta) -> Result<TreeReport> {
    if let Some(root) = meta.root
        && root.oldest_garbage <= meta.oldest
    {
        let damage = Damage("the tree holds what no snapshot that is retained needs");
        return Err(pager.corruption(root.page.page, damage));
    }
    btree::verify(pager, meta.root, meta.checkpoint, meta.generation)
}

/// Checks that tree, free pages and free list are all pages there are, by the account in memory and by the one on disk.
fn account(state: &CheckpointState, tree: &[(PageId, u64)], report: &mut VerifyReport) -> Result<()> {
    let on_disk = Allocator::load(&state.pager, &state.meta)?.census();
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
/// page of it may be used for anything else.
fn verify_fallback(state: &CheckpointState, fallback: &Meta) -> Result<()> {
    let (pager, newest) = (&*state.pager, &state.meta);
    if fallback.database != newest.database {
        return Err(pager.corruption(PageId(0), Damage("the meta pages belong to two databases")));
    }
    if fallback.checkpoint > newest.checkpoint || fallback.oldest > newest.oldest {
        return Err(pager.corruption(PageId(0), Damage("the older meta page is ahead of the newer one")));
    }
    let mut needed = verify_tree(pager, fallback)?.pages;
    Allocator::load(pager, fallback)?;
    needed.extend(free_list_pages(pager, fallback)?);
    let on_disk = Allocator::load(pager, newest)?;
    for allocator in [&state.allocator, &on_disk] {
        if let Some(page) = needed.iter().find_map(|(start, count)| allocator.first_free(*start, *count)) {
            return Err(pager.corruption(page, Damage("a page that the fallback needs is free")));
        }
    }
    Ok(())
}

/// The pages of a free list that can be loaded, so that it is known to have an end.
fn free_list_pages(pager: &Pager, meta: &Meta) -> Result<Vec<(PageId, u64)>> {
    let mut pages = Vec::new();
    let mut next = meta.free_list;
    while let Some(reference) = next {
        let corruption = |damage| pager.corruption(reference.page, damage);
        let page = pager.read_from_disk(reference)?;
        if page.generation() > meta.generation {
            return Err(corruption(Damage("a page of the free list is of a later checkpoint than the list")));
        }
        next = FreeListPage::decode(&page).map_err(corruption)?.next;
        pages.push((reference.page, 1));
    }
    Ok(pages)
}

/// Replays the log into a tier of its own and compares that with what is in memory.
fn compare_log(shared: &Shared, state: &CheckpointState, installed: TxnId) -> Result<u64> {
    let tier = WriteTier::default();
    let replay = replay(&*shared.vfs, &shared.directory, &state.meta, |txn, mutations| {
        tier.replay(txn, mutations);
    })?;
    let view = Arc::clone(&shared.published.load().view);
    let mut in_memory: Vec<_> = view.tiers().flat_map(|tier| tier.versions()).collect();
    in_memory.sort_by(|(a, a_txn, _), (b, b_txn, _)| a.cmp(b).then(b_txn.cmp(a_txn)));
    if replay.latest != installed {
        return Err(log_corruption(
            &shared.directory,
            "the log ends with another transaction than the database",
        ));
    }
    if tier.versions() != in_memory {
        return Err(log_corruption(&shared.directory, "the log holds something else than the write tier"));
    }
    Ok(replay.replayed)
}

fn log_corruption(directory: &Path, reason: &'static str) -> Error {
    Error::corruption(directory, 0, Damage(reason))
}
