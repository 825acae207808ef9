//! The mistakes in the tree, each as small as it could really be made.

use crate::{Build, Change, Mistake};

/// Every mistake in the tree.
pub const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "deleted_key_found",
        what: "a look-up passes over deletions",
        builds: &[Build::Shuttle],
        changes: &[Change {
            file: "view.rs",
            old: "return (delta.entry().map(|(_, value)| value), position);",
            new: "if let Some((_, value)) = delta.entry() { return (Some(value), position); }",
        }],
    },
    Mistake {
        name: "chain_cut",
        what: "a delta doesn't link to those before it",
        builds: &[Build::Loom, Build::Shuttle],
        changes: &[Change {
            file: "visit.rs",
            old: ", view.word.newest())",
            new: ", 0)",
        }],
    },
    Mistake {
        name: "sibling_not_linked",
        what: "the left half of a split has the sibling and the bound of the page that it was",
        builds: &[Build::Loom, Build::Shuttle],
        changes: &[Change {
            file: "consolidate.rs",
            old: "Shape { high: Some(split.fence.clone()), right: Some(right), ..self.shape(split.view) }",
            new: "self.shape(split.view)",
        }],
    },
    Mistake {
        name: "append_lost",
        what: "a delta replaces whatever state the page is in, not the one that it was made for",
        builds: &[Build::Loom, Build::Shuttle],
        changes: &[Change {
            file: "visit.rs",
            old: "if self.replace(id, view.word, view.word.with_newest(slot)) {",
            new: "if self.replace(id, self.load(id), view.word.with_newest(slot)) {",
        }],
    },
    Mistake {
        name: "consolidation_over_delta",
        what: "a consolidated page replaces whatever state the page is in",
        builds: &[Build::Loom, Build::Shuttle],
        changes: &[Change {
            file: "consolidate.rs",
            old: "if self.replace(id, from.word, word) {",
            new: "if self.replace(id, self.load(id), word) {",
        }],
    },
    Mistake {
        name: "freed_while_pinned",
        what: "a page is freed as soon as it was replaced",
        builds: &[Build::Loom, Build::Shuttle],
        changes: &[Change {
            file: "visit.rs",
            old: "self.guard.defer(move || {",
            new: "let _ = Some(()).map(move |()| {",
        }],
    },
    Mistake {
        name: "cleared_while_pinned",
        what: "clearing frees the old pages at once",
        builds: &[Build::Loom, Build::Shuttle],
        changes: &[Change {
            file: "mod.rs",
            old: "visit.guard.defer(move || {",
            new: "let _ = Some(()).map(move |()| {",
        }],
    },
    Mistake {
        name: "id_reused_early",
        what: "the id of a page that was merged away is given up at once",
        builds: &[Build::Loom, Build::Shuttle],
        changes: &[Change {
            file: "merge.rs",
            old: "self.guard.defer(move || mapping.give_up(id));",
            new: "mapping.give_up(id);",
        }],
    },
    Mistake {
        name: "slot_claimed_twice",
        what: "claiming a slot reads and writes the counter in two steps",
        builds: &[Build::Loom, Build::Shuttle],
        changes: &[Change {
            file: "page.rs",
            old: "let claimed = claims.claimed.fetch_add(1, MemoryOrdering::Relaxed) as usize;",
            new: "let claimed = claims.claimed.load(MemoryOrdering::Relaxed) as usize;
        claims.claimed.store(claimed as u32 + 1, MemoryOrdering::Relaxed);",
        }],
    },
    Mistake {
        name: "merge_without_freeze",
        what: "a page is taken in by its sibling without being removed first",
        builds: &[Build::Loom, Build::Shuttle],
        changes: &[Change {
            file: "merge.rs",
            old: "} else if self.replace(victim, word, word.removed()) {
                return word.removed();",
            new: "} else {
                return word.removed();",
        }],
    },
    Mistake {
        name: "two_merges_at_once",
        what: "a page announces a merge while another one is pending",
        builds: &[Build::Loom, Build::Shuttle],
        changes: &[Change {
            file: "merge.rs",
            old: "if view.pending_merge().is_some() {
                // One",
            new: "if false {
                // One",
        }],
    },
    Mistake {
        name: "announcement_lost",
        what: "a consolidated page forgets that it announced a merge",
        builds: &[Build::Shuttle],
        changes: &[Change {
            file: "consolidate.rs",
            old: "builder, pending, delta)?;",
            new: "builder, None, delta)?;",
        }],
    },
    Mistake {
        name: "split_during_merge",
        what: "a page is split between the two children of a merge",
        builds: &[Build::Shuttle],
        changes: &[Change {
            file: "consolidate.rs",
            old: "if count > self.most(view) && pending.is_none() {",
            new: "if count > self.most(view) {",
        }],
    },
    Mistake {
        name: "separator_of_first_child",
        what: "a page that is its parent's first child gets a separator there, too",
        builds: &[Build::Loom, Build::Shuttle],
        changes: &[Change {
            file: "consolidate.rs",
            old: "if is_first || child.is_some() ||",
            new: "if child.is_some() ||",
        }],
    },
    Mistake {
        name: "separator_of_merged_page",
        what: "a page that was merged away gets its separator back",
        builds: &[Build::Loom, Build::Shuttle],
        changes: &[Change {
            file: "consolidate.rs",
            old: "child.is_some() || self.load(right).is_removed() {",
            new: "child.is_some() {",
        }],
    },
    Mistake {
        name: "free_list_uncounted",
        what: "the list of free ids doesn't count its changes",
        builds: &[Build::Loom, Build::Shuttle],
        changes: &[Change {
            file: "mapping.rs",
            old: "changes << 32 | u64::from(top)",
            new: "u64::from(top)",
        }],
    },
    Mistake {
        name: "len_counted_twice",
        what: "a change that has to be tried again is counted again",
        builds: &[Build::Shuttle],
        changes: &[Change {
            file: "mod.rs",
            old: "backoff.spin();",
            new: "visit.generation().count(spot.id, added);
                    backoff.spin();",
        }],
    },
    Mistake {
        name: "stale_precondition",
        what: "a change that has to be tried again isn't asked again whether it is due",
        builds: &[Build::Shuttle],
        changes: &[
            Change { file: "mod.rs", old: "let backoff = Backoff::new();\n        loop {\n            let key = delta", new: "let backoff = Backoff::new();\n        let mut is_first = true;\n        loop {\n            let key = delta" },
            Change { file: "mod.rs", old: "if !is_due(present) {", new: "if std::mem::take(&mut is_first) && !is_due(present) {" },
        ],
    },
    Mistake {
        name: "scan_skips_merged_page",
        what: "a scan that comes to a removed page goes on with the one after it",
        builds: &[Build::Shuttle],
        changes: &[Change {
            file: "range.rs",
            old: "if !right.is_removed() {",
            new: "let behind = self.visit.leaf(right).page.right().filter(|_| right.is_removed());
            let right = behind.map_or(right, |behind| self.visit.load(behind));
            if !right.is_removed() {",
        }],
    },
    Mistake {
        name: "scan_repeats_keys",
        what: "a scan that comes to a removed page shows all of the page that took it in",
        builds: &[Build::Shuttle],
        changes: &[Change {
            file: "range.rs",
            old: "self.enter(spot.word, start);
        Some(())",
            new: "if DESCENDING { self.enter(spot.word, start) } else { self.enter(spot.word, Place::<K>::Lowest) }
        Some(())",
        }],
    },
    Mistake {
        name: "relaxed_exchange",
        what: "a state is exchanged without release",
        builds: &[Build::Loom],
        changes: &[Change {
            file: "mapping.rs",
            old: "to.into_raw(), Ordering::AcqRel, Ordering::Acquire)",
            new: "to.into_raw(), Ordering::Acquire, Ordering::Acquire)",
        }],
    },
    Mistake {
        name: "relaxed_load",
        what: "a state is read without acquire",
        builds: &[Build::Loom],
        changes: &[Change {
            file: "mapping.rs",
            old: "Word::from_raw(self.slot(id).load(Ordering::Acquire))",
            new: "Word::from_raw(self.slot(id).load(Ordering::Relaxed))",
        }],
    },
    Mistake {
        name: "relaxed_clear",
        what: "a new generation is published without release",
        builds: &[Build::Loom],
        changes: &[Change {
            file: "mod.rs",
            old: "self.generation.swap(empty, Ordering::AcqRel)",
            new: "self.generation.swap(empty, Ordering::Acquire)",
        }],
    },
];
