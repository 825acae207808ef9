//! The mistakes in how the engine's parts work together, each as small as it could really be made. A single thread notices
//! none of them.

use crate::{Build, Change, Mistake};

/// Every mistake in the engine beside the tree's.
pub const ENGINE_MISTAKES: &[Mistake] = &[
    Mistake {
        name: "published_before_installed",
        what: "a commit that need not be durable is visible before its versions are in the write tier",
        builds: &[Build::Shuttle],
        changes: &[Change {
            file: "commit.rs",
            old: "        match &mut state.pruner {
            Some(pruner) => tier.install_noting(txn, mutations, |superseded| pruner.note(superseded)),
            None => tier.install(txn, mutations),
        }
        state.installed = txn;
        if durability == Durability::Sync {
            state.unsynced.push_back(txn);
        }
        self.note_durable(state);
        Ok(txn)",
            new: "        state.installed = txn;
        if durability == Durability::Sync {
            state.unsynced.push_back(txn);
        }
        self.note_durable(state);
        match &mut state.pruner {
            Some(pruner) => tier.install_noting(txn, mutations, |superseded| pruner.note(superseded)),
            None => tier.install(txn, mutations),
        }
        Ok(txn)",
        }],
    },
    Mistake {
        name: "snapshot_held_late",
        what: "a reader chooses its snapshot before it holds what the snapshot is read from",
        builds: &[Build::Shuttle],
        changes: &[Change {
            file: "db.rs",
            old: "let published = self.shared.published.load_full();
        let latest = published.latest;
        Ok(ReadTransaction",
            new: "let latest = self.shared.published.load().latest;
        let published = self.shared.published.load_full();
        Ok(ReadTransaction",
        }],
    },
    Mistake {
        name: "page_freed_while_read",
        what: "a checkpoint uses pages again that a reader's base tree still has",
        builds: &[Build::Shuttle],
        changes: &[Change {
            file: "checkpoint.rs",
            old: "self.versions.first().map_or(self.meta.generation, |(generation, _)| *generation)",
            new: "self.meta.generation",
        }],
    },
    Mistake {
        name: "leader_not_announced",
        what: "who leads a commit group doesn't say so, and the next one leads beside it",
        builds: &[Build::Shuttle],
        changes: &[Change {
            file: "commit.rs",
            old: "            state.is_syncing = true;
            drop(state);",
            new: "            drop(state);",
        }],
    },
    Mistake {
        name: "latecomers_acknowledged",
        what: "the leader of a commit group vouches for whoever was appended by the time its sync has ended",
        builds: &[Build::Shuttle],
        changes: &[Change {
            file: "commit.rs",
            old: "            state.log_mut()?.finish_sync(request.through);",
            new: "            let through = state.installed;
            state.log_mut()?.finish_sync(through);",
        }],
    },
    Mistake {
        name: "wake_up_lost",
        what: "the leader of a commit group looks before its sync, and not after it, whether somebody waits for it",
        builds: &[Build::Shuttle],
        changes: &[
            Change {
                file: "commit.rs",
                old: "            state.is_syncing = true;
            drop(state);",
                new: "            state.is_syncing = true;
            let is_awaited = state.waiting_count > 0;
            drop(state);",
            },
            Change {
                file: "commit.rs",
                old: "            if state.waiting_count > 0 {",
                new: "            if is_awaited {",
            },
        ],
    },
    Mistake {
        name: "conflicts_checked_early",
        what: "the commit lock is given up between the search for conflicts and the commit",
        builds: &[Build::Shuttle],
        changes: &[
            Change {
                file: "commit.rs",
                old: "        self.make_room()?;
        let mut state = self.lock_commits()?;",
                new: "        self.make_room()?;
        let state = self.lock_commits()?;
        self.check_order(&state, commit.snapshot, &commit.mutations, &commit.kind)?;
        drop(state);
        let mut state = self.lock_commits()?;",
            },
            Change {
                file: "commit.rs",
                old: "        let Commit { snapshot, mutations, kind } = commit;
        self.check_order(state, snapshot, &mutations, &kind)?;",
                new: "        let Commit { snapshot: _, mutations, kind: _kind } = commit;",
            },
        ],
    },
];
