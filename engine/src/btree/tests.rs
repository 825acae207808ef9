//! The tree against an ordered map of versions, with small pages and small caches, whatever the keys, the values, the
//! history and the horizon.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;

use proofmark_vfs::{OpenMode, RealVfs, Vfs};

use super::{
    BaseScan, Builder, Change, StoredValue, Target, TreeReport, Values, capacity, changed_since, child,
    for_each_version, get, load, merge, verify, verify_earlier,
};
use crate::format::{NO_GARBAGE, Subtree, VersionKey};
use crate::ids::{DatabaseId, Generation, PageId, TxnId};
use crate::pager::{Allocator, Pager};

type Value = Option<Vec<u8>>;
type Versions = BTreeMap<(Vec<u8>, Reverse<u64>), Value>;

/// Numbers that are the same on every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A tree in a file of its own, and every version that ever went into it.
struct Tree {
    directory: tempfile::TempDir,
    pager: Pager,
    allocator: Allocator,
    generation: Generation,
    root: Option<Subtree>,
    latest: u64,
    horizon: u64,
    model: Versions,
    /// The tree before this one, which is whole still, with its last transaction and its generation.
    earlier: (Option<Subtree>, TxnId, Generation),
}

fn pager(directory: &tempfile::TempDir, name: &str, page_size: usize) -> Pager {
    let path = directory.path().join(name);
    let file = RealVfs.open(&path, OpenMode::CreateTruncate).expect("a file is created");
    let pager = Pager::new(file, path, DatabaseId(77), page_size, 8 * page_size);
    pager.reserve(2).expect("the file grows");
    pager
}

impl Tree {
    fn new(page_size: usize) -> Tree {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let pager = pager(&directory, "data", page_size);
        Tree {
            directory,
            pager,
            allocator: Allocator::new(),
            generation: Generation(0),
            root: None,
            latest: 0,
            horizon: 0,
            model: Versions::new(),
            earlier: (None, TxnId(0), Generation(0)),
        }
    }

    /// Takes a transaction into the model.
    fn commit(&mut self, mutations: impl IntoIterator<Item = (Vec<u8>, Value)>) {
        self.latest += 1;
        for (key, value) in mutations {
            self.model.insert((key, Reverse(self.latest)), value);
        }
    }

    /// Merges the transactions after `after` into the tree, as a checkpoint does.
    fn merge_since(&mut self, after: u64, horizon: u64) {
        self.earlier = (self.root, TxnId(after), self.generation);
        self.horizon = self.horizon.max(horizon);
        self.allocator.begin(self.generation, self.generation).expect("pages are freed once");
        self.generation = self.generation.next();
        let new = self.model.iter().filter(|((_, Reverse(txn)), _)| *txn > after);
        let changes: Vec<Change<'_>> = new
            .map(|((key, Reverse(txn)), value)| Change {
                version: VersionKey::new(key, TxnId(*txn)),
                value: value.as_deref(),
            })
            .collect();
        let target = Target {
            pager: &self.pager,
            allocator: &mut self.allocator,
            generation: self.generation,
            horizon: TxnId(self.horizon),
        };
        self.root = merge(target, self.root, &changes).expect("the disk is fine");
        self.allocator.finish(&self.pager, self.generation).expect("the disk is fine");
    }

    /// What snapshots at the horizon or later need.
    fn needed(&self) -> Versions {
        let mut needed = Versions::new();
        let mut covered: Option<&[u8]> = None;
        for ((key, Reverse(txn)), value) in &self.model {
            let is_covered = covered == Some(key);
            if *txn <= self.horizon {
                covered = Some(key);
            }
            if *txn > self.horizon || (!is_covered && value.is_some()) {
                needed.insert((key.clone(), Reverse(*txn)), value.clone());
            }
        }
        needed
    }

    fn state(&self, snapshot: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut state = BTreeMap::new();
        // Older versions come later, so the walk goes backwards.
        for ((key, Reverse(txn)), value) in self.model.iter().rev() {
            match value {
                _ if *txn > snapshot => {}
                Some(value) => drop(state.insert(key.clone(), value.clone())),
                None => drop(state.remove(key)),
            }
        }
        state
    }

    /// Checks structure, accounting and contents.
    fn check(&self, numbers: &mut Numbers) -> TreeReport {
        let garbage = self.root.map_or(NO_GARBAGE, |root| root.oldest_garbage);
        assert!(garbage > TxnId(self.horizon), "no garbage is left");
        let (earlier, earlier_latest, generation) = self.earlier;
        let report = verify(&self.pager, self.root, TxnId(self.latest), self.generation, Some(generation))
            .expect("the tree is whole");
        self.account(&report);
        let mut after_that = verify_earlier(&self.pager, earlier, earlier_latest, generation, &report)
            .expect("the tree before it is whole");
        let alone = verify(&self.pager, earlier, earlier_latest, generation, None);
        let mut alone = alone.expect("the tree before it is whole").pages;
        after_that.sort_unstable();
        alone.sort_unstable();
        assert_eq!(after_that, alone, "what is not walked again is known all the same");
        let stored = versions(&self.pager, self.root);
        assert!(stored == self.needed(), "what a snapshot needs is there, and nothing else");
        self.check_snapshot(self.horizon);
        self.check_snapshot(self.latest);
        self.check_snapshot(self.horizon + numbers.below(self.latest - self.horizon + 1));
        self.check_changes(numbers.below(self.latest + 2), &stored);
        report
    }

    /// Every page is used for one thing.
    fn account(&self, report: &TreeReport) {
        let census = self.allocator.census();
        let mut runs = vec![(PageId(0), 2)];
        runs.extend(&report.pages);
        runs.extend(census.unused);
        runs.sort_unstable();
        let mut next = 0;
        for (start, count) in runs {
            assert_eq!(start.0, next);
            next += count;
        }
        assert_eq!(next, self.allocator.page_count());
    }

    fn check_snapshot(&self, snapshot: u64) {
        let state = self.state(snapshot);
        check_scan(&self.pager, self.root, snapshot, &state);
        for (key, _) in self.model.keys() {
            let found = get(&self.pager, self.root, key, TxnId(snapshot)).expect("the disk is fine");
            assert_eq!(found.flatten().as_deref(), state.get(key).map(Vec::as_slice));
        }
    }

    fn check_changes(&self, after: u64, stored: &Versions) {
        let mut changes = changed_since(self.root, TxnId(after));
        let mut expected = stored.iter().filter(|((_, Reverse(txn)), _)| *txn > after);
        while let Some(change) = changes.next(&self.pager).expect("the disk is fine") {
            let ((key, Reverse(txn)), value) = expected.next().expect("the walk finds nothing else");
            assert_eq!((&change.key[..], change.txn.0), (key.as_slice(), *txn));
            let bytes = match change.value {
                StoredValue::Inline(bytes) => Some(bytes.to_vec()),
                StoredValue::Extent(extent) => {
                    Some(self.pager.read_extent(extent).expect("the disk is fine").to_vec())
                }
                StoredValue::Deletion => None,
            };
            assert_eq!(&bytes, value);
        }
        assert!(expected.next().is_none(), "the walk finds everything");
    }

    /// Builds the tree anew in another file, and checks that it holds exactly what is needed.
    fn check_rebuilt(&self) -> TreeReport {
        let copy = pager(&self.directory, "copy", self.pager.page_size());
        let mut builder = Builder::new(&copy, TxnId(self.horizon), Generation(9));
        for_each_version(&self.pager, self.root, |version, value| builder.push(version, value))
            .expect("the disk is fine");
        let (root, page_count) = builder.finish().expect("the disk is fine");
        let report = verify(&copy, root, TxnId(self.latest), Generation(9), None).expect("the tree is whole");
        assert_eq!(versions(&copy, root), self.needed());
        let mut runs = report.pages.clone();
        runs.sort_unstable();
        let mut next = 2;
        for (start, count) in runs {
            assert_eq!(start.0, next, "no page is left out");
            next += count;
        }
        assert_eq!(next, page_count);
        check_scan(&copy, root, self.latest, &self.state(self.latest));
        report
    }

    /// Merges nothing at the same horizon, which must write nothing.
    fn check_idle(&mut self) {
        let before = (self.root, self.allocator.page_count(), self.allocator.census().unused);
        let mut allocator = self.allocator.clone();
        let target = Target {
            pager: &self.pager,
            allocator: &mut allocator,
            generation: self.generation.next(),
            horizon: TxnId(self.horizon),
        };
        let root = merge(target, self.root, &[]).expect("the disk is fine");
        assert_eq!((root, allocator.page_count(), allocator.census().unused), before);
    }
}

fn versions(pager: &Pager, root: Option<Subtree>) -> Versions {
    let mut versions = Versions::new();
    for_each_version(pager, root, |version, value| {
        versions.insert((version.key.to_vec(), Reverse(version.txn.0)), value.map(<[u8]>::to_vec));
        Ok(())
    })
    .expect("the disk is fine");
    versions
}

fn check_scan(pager: &Pager, root: Option<Subtree>, snapshot: u64, state: &BTreeMap<Vec<u8>, Vec<u8>>) {
    for reverse in [false, true] {
        let mut scan = BaseScan::new(pager, root, TxnId(snapshot), Bound::Unbounded, reverse, Values::Read)
            .expect("the disk is fine");
        let mut found = Vec::new();
        while let Some((key, value)) = scan.next(pager).expect("the disk is fine") {
            found.extend(value.map(|value| (key.to_vec(), value.to_vec())));
        }
        if reverse {
            found.reverse();
        }
        assert!(found.iter().map(|(key, value)| (key, value)).eq(state.iter()));
    }
}

/// A key out of `space`: some are as long as can be, many share long beginnings.
fn random_key(numbers: &mut Numbers, space: u64, page_size: usize) -> Vec<u8> {
    let number = numbers.below(space);
    let mut key = match number % 5 {
        0 => format!("{number}"),
        1 => format!("a/long/beginning/that/many/share/{number:08}"),
        2 => format!("{:x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        3 => format!("{number:030}"),
        _ => format!("{}/{number}", "x".repeat(number as usize % 300)),
    }
    .into_bytes();
    if number.is_multiple_of(31) {
        key.resize(crate::format::max_key_bytes(page_size), b'k');
    }
    key
}

/// A value: often small, sometimes around the limit of what lies inline, sometimes of several pages.
fn random_value(numbers: &mut Numbers, page_size: usize) -> Vec<u8> {
    let bytes = match numbers.below(20) {
        0 => page_size as u64 * 3 + numbers.below(5000),
        1 | 2 => page_size as u64 / 4 - 80 + numbers.below(60),
        3 => 14 + numbers.below(5),
        _ => numbers.below(120),
    };
    vec![numbers.below(256) as u8; bytes as usize]
}

/// Random transactions, merged now and then, with a horizon that follows at some distance.
fn run(seed: u64, page_size: usize, space: u64, history: u64, steps: u32) {
    let mut numbers = Numbers(seed);
    let mut tree = Tree::new(page_size);
    let mut merged = 0;
    for step in 0..steps {
        let mostly_deletes = step % 12 >= 9;
        for _ in 0..numbers.below(6) {
            let mut mutations = BTreeMap::new();
            for _ in 0..numbers.below(60) {
                // Some keys are written far more often than others.
                let space = if numbers.below(3) == 0 { 5 } else { space };
                let key = random_key(&mut numbers, space, page_size);
                let is_deletion = numbers.below(10) < if mostly_deletes { 9 } else { 2 };
                let value = (!is_deletion).then(|| random_value(&mut numbers, page_size));
                mutations.insert(key, value);
            }
            tree.commit(mutations);
        }
        tree.merge_since(merged, tree.latest.saturating_sub(history));
        merged = tree.latest;
        tree.check(&mut numbers);
        tree.check_idle();
        if step % 6 == 0 {
            tree.check_rebuilt();
        }
    }
    // In the end everything is deleted, and time passes.
    let keys: Vec<Vec<u8>> = tree.model.keys().map(|(key, _)| key.clone()).collect();
    tree.commit(keys.into_iter().map(|key| (key, None)));
    tree.merge_since(merged, tree.latest);
    let report = tree.check(&mut numbers);
    assert_eq!((tree.root, report.version_count), (None, 0));
    tree.check_idle();
}

#[test]
fn random_trees_without_history() {
    for seed in 0..3 {
        run(seed, 4096, 700, 0, 30);
    }
}

#[test]
fn random_trees_with_some_history() {
    for seed in 10..13 {
        run(seed, 4096, 300, 7, 30);
    }
}

#[test]
fn random_trees_with_all_history() {
    run(20, 4096, 300, u64::MAX, 18);
}

#[test]
fn random_trees_of_larger_pages() {
    run(30, 16384, 1500, 3, 12);
    run(31, 65536, 3000, 2, 8);
}

/// The part of their room that leaves, and branches below the root, use: the least of any, and all together.
fn fill(pager: &Pager, root: Subtree) -> (f64, f64) {
    let page_size = pager.page_size();
    let (mut least, mut used, mut pages) = (f64::MAX, 0.0, 0.0);
    let mut rest = vec![load(pager, root.page, None).expect("the disk is fine")];
    while let Some(page) = rest.pop() {
        let part = page.used() as f64 / capacity(page_size) as f64;
        if page.reference() != root.page {
            (least, used, pages) = (least.min(part), used + part, pages + 1.0);
        }
        if page.level() > 0 {
            rest.extend((0..page.count()).map(|index| child(pager, &page, index).expect("the disk is fine")));
        }
    }
    (least, used / pages)
}

/// A tree of keys that were put in at random, in transactions of their own.
fn grown_at_random(count: u64) -> (Tree, Vec<Vec<u8>>) {
    let mut numbers = Numbers(5);
    let mut tree = Tree::new(4096);
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for round in 0..count / 50 {
        let mut new: Vec<Vec<u8>> = (0..50)
            .map(|_| {
                format!("a/common/beginning/{:016x}", numbers.below(1 << 31) << 31 | numbers.below(1 << 31))
            })
            .map(String::into_bytes)
            .collect();
        tree.commit(new.iter().map(|key| (key.clone(), Some(vec![round as u8; 60]))));
        tree.merge_since(round, round + 1);
        keys.append(&mut new);
    }
    (tree, keys)
}

#[test]
fn pages_are_filled_well_at_random_and_fully_in_bulk() {
    let (tree, _) = grown_at_random(8000);
    let report = tree.check(&mut Numbers(1));
    assert_eq!((report.height, report.version_count), (3, 8000));
    let (least, average) = fill(&tree.pager, tree.root.expect("the tree holds something"));
    assert!(least > 0.3 && average > 0.6, "{least} {average}");

    let copy = pager(&tree.directory, "copy", 4096);
    let mut builder = Builder::new(&copy, TxnId(tree.horizon), Generation(9));
    for_each_version(&tree.pager, tree.root, |version, value| builder.push(version, value))
        .expect("the disk is fine");
    let (root, _) = builder.finish().expect("the disk is fine");
    let (_, average) = fill(&copy, root.expect("the tree holds something"));
    assert!(average > 0.97, "{average}");
}

#[test]
fn underfull_pages_are_joined_at_every_level() {
    let (mut tree, mut keys) = grown_at_random(8000);
    keys.sort();
    let full = tree.check(&mut Numbers(1));
    // Of each stretch of keys few stay, so that no leaf becomes empty, and none can stay as it is.
    let gone = keys.iter().enumerate().filter(|(index, _)| index % 20 != 0);
    tree.commit(gone.map(|(_, key)| (key.clone(), None)).collect::<Vec<_>>());
    tree.merge_since(tree.latest - 1, tree.latest);
    let few = tree.check(&mut Numbers(1));
    assert_eq!((full.height, few.height, few.version_count), (3, 2, 400));
    let (least, _) = fill(&tree.pager, tree.root.expect("the tree holds something"));
    assert!(least > 0.25, "{least}");
    // The tree grows again, and shrinks to nothing.
    tree.commit(keys.iter().map(|key| (key.clone(), Some(vec![1; 60]))).collect::<Vec<_>>());
    tree.merge_since(tree.latest - 1, tree.latest);
    assert_eq!(tree.check(&mut Numbers(1)).height, 3);
    tree.commit(keys.iter().map(|key| (key.clone(), None)).collect::<Vec<_>>());
    tree.merge_since(tree.latest - 1, tree.latest);
    assert_eq!((tree.check(&mut Numbers(1)).height, tree.root), (0, None));
}

#[test]
fn what_two_trees_share_is_walked_once() {
    let mut tree = Tree::new(4096);
    let key = |number: u64| format!("key{number:04}").into_bytes();
    tree.commit((0..2000).map(|number| (key(number), Some(vec![1; 20]))));
    tree.merge_since(0, 0);
    tree.commit([(key(1000), Some(vec![2; 20]))]);
    tree.merge_since(1, 0);
    let (earlier, latest, generation) = tree.earlier;
    let later = |shared| {
        verify(&tree.pager, tree.root, TxnId(2), tree.generation, shared).expect("the tree is whole")
    };
    let sharing = later(Some(generation));
    let walk_earlier = |latest, generation, later: &TreeReport| {
        verify_earlier(&tree.pager, earlier, latest, generation, later).map(|pages| pages.len())
    };
    let count = walk_earlier(latest, generation, &sharing).expect("the tree is whole");
    assert!(count > 10, "{count}");
    assert!(walk_earlier(TxnId(0), generation, &sharing).is_err(), "what is shared may be too new");
    let nothing = later(Some(Generation(0)));
    assert!(walk_earlier(latest, Generation(0), &nothing).is_err(), "and of a later checkpoint");

    // A page that both have is damaged between the two walks: only who walks it again can know.
    let earlier_pages =
        verify(&tree.pager, earlier, latest, generation, None).expect("the tree is whole").pages;
    let (page, _) = *earlier_pages.iter().find(|run| sharing.pages.contains(run)).expect("they share pages");
    let file = RealVfs.open(&tree.directory.path().join("data"), OpenMode::ReadWrite);
    let damaged = file.and_then(|file| file.write_all_at(&[0xEE; 100], page.0 * 4096 + 1000));
    damaged.expect("the file is written");
    assert_eq!(walk_earlier(latest, generation, &sharing).expect("it is not read again"), count);
    assert!(walk_earlier(latest, generation, &nothing).is_err());
}
