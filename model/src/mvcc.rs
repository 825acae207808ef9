//! The reference model: every version of every key, and the log of all commits.
//!
//! It is what a store would be if memory were endless and nothing ever failed, written so that it can be checked by
//! reading it. A commit appends one version to every key it changes. The state at a TxnId is, for each key, the last
//! version that is not newer. Nothing is ever merged, compacted or cached.
//!
//! Invariants: the log is ordered by id without repeats; every key's versions are ordered by id without repeats; every
//! version except those of the base state has its commit in the log.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Digest, Key, KeyRange, Mutation, TxnId, Value, digest_pairs};

/// One commit of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its place in the order of all commits.
    pub id: TxnId,
    /// What it changed, in order: of two mutations of one key the later counts.
    pub mutations: Vec<Mutation>,
}

/// The reference model of a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mvcc {
    versions: BTreeMap<Key, Vec<(TxnId, Option<Value>)>>,
    commits: Vec<Commit>,
    base: TxnId,
}

impl Mvcc {
    /// An empty store before its first commit.
    pub fn new() -> Mvcc {
        Mvcc::default()
    }

    /// A store that holds `state` and whose latest commit is `base`. What it held before that is not known: at any
    /// earlier TxnId it reads as empty.
    pub fn starting_at(base: TxnId, state: impl IntoIterator<Item = (Key, Value)>) -> Mvcc {
        let versions = state.into_iter().map(|(key, value)| (key, vec![(base, Some(value))])).collect();
        Mvcc { versions, commits: Vec::new(), base }
    }

    /// Appends a commit.
    ///
    /// # Panics
    /// If `id` is not greater than [`Mvcc::latest`].
    pub fn apply(&mut self, id: TxnId, mutations: Vec<Mutation>) {
        assert!(id > self.latest(), "commit {id} must come after commit {}", self.latest());
        for Mutation { key, value } in &mutations {
            if !self.versions.contains_key(key) {
                self.versions.insert(key.clone(), Vec::new());
            }
            let versions = self.versions.get_mut(key).expect("it was just made sure of");
            match versions.last_mut() {
                Some((last, version)) if *last == id => version.clone_from(value),
                _ => versions.push((id, value.clone())),
            }
        }
        self.commits.push(Commit { id, mutations });
    }

    /// Forgets every commit after `to`, as a crash does.
    ///
    /// # Panics
    /// If `to` lies before the base state, which cannot be taken apart.
    pub fn truncate(&mut self, to: TxnId) {
        assert!(to >= self.base, "commit {to} lies before the base state at {}", self.base);
        while let Some(commit) = self.commits.pop_if(|commit| commit.id > to) {
            for Mutation { key, .. } in &commit.mutations {
                let Some(versions) = self.versions.get_mut(key) else { continue };
                versions.truncate(versions.partition_point(|(id, _)| *id <= to));
                if versions.is_empty() {
                    self.versions.remove(key);
                }
            }
        }
    }

    /// The latest commit, or the base state if there is none.
    pub fn latest(&self) -> TxnId {
        self.commits.last().map_or(self.base, |commit| commit.id)
    }

    /// The TxnId of the state that this model started with: nothing before it is known.
    pub fn base(&self) -> TxnId {
        self.base
    }

    /// Every commit, oldest first.
    pub fn commits(&self) -> &[Commit] {
        &self.commits
    }

    /// The commit with this very id.
    pub fn commit_at(&self, id: TxnId) -> Option<&Commit> {
        let index = self.commits.binary_search_by_key(&id, |commit| commit.id).ok()?;
        Some(&self.commits[index])
    }

    /// What the commits from `from` on changed: each key once, in key order.
    pub fn changes(&self, from: TxnId) -> impl Iterator<Item = Commit> + use<'_> {
        let first = self.commits.partition_point(|commit| commit.id < from);
        self.commits[first..].iter().map(|commit| {
            let last: BTreeMap<&Key, &Option<Value>> =
                commit.mutations.iter().map(|mutation| (&mutation.key, &mutation.value)).collect();
            let mutation =
                |(key, value): (&Key, &Option<Value>)| Mutation { key: key.clone(), value: value.clone() };
            Commit { id: commit.id, mutations: last.into_iter().map(mutation).collect() }
        })
    }

    /// The first of `keys` that a commit after `snapshot` wrote or removed. A transaction that reads as of `snapshot`
    /// and writes these may commit if there is none: the first committer wins.
    pub fn conflict<'k>(&self, keys: impl IntoIterator<Item = &'k Key>, snapshot: TxnId) -> Option<&'k Key> {
        let latest = self.latest();
        keys.into_iter().find(|key| self.last_writer(key, latest).is_some_and(|by| by > snapshot))
    }

    /// The mutations that remove a range as it is in the state at `at`.
    pub fn delete_range(&self, range: &KeyRange, at: TxnId) -> Vec<Mutation> {
        self.range(range, at).map(|(key, _)| Mutation { key: key.clone(), value: None }).collect()
    }

    /// The mutations that lead from the latest state back to the one at `to`: those keys that differ, in order.
    pub fn going_back(&self, to: TxnId) -> Vec<Mutation> {
        let latest = self.latest();
        let first = self.commits.partition_point(|commit| commit.id <= to);
        let mutations = self.commits[first..].iter().flat_map(|commit| &commit.mutations);
        let changed: BTreeSet<&Key> = mutations.map(|mutation| &mutation.key).collect();
        let differing = changed.into_iter().filter(|key| self.get(key, to) != self.get(key, latest));
        differing.map(|key| Mutation { key: key.clone(), value: self.get(key, to).cloned() }).collect()
    }

    /// The value of `key` in the state at `at`.
    pub fn get(&self, key: &[u8], at: TxnId) -> Option<&Value> {
        visible(self.versions.get(key)?, at)?.1.as_ref()
    }

    /// The commit that last wrote or removed `key` in the state at `at`: the base state's TxnId for what it held.
    pub fn last_writer(&self, key: &[u8], at: TxnId) -> Option<TxnId> {
        visible(self.versions.get(key)?, at).map(|(id, _)| *id)
    }

    /// The pairs of a range in the state at `at`, lazily, from either end.
    pub fn range<'m>(
        &'m self,
        range: &KeyRange,
        at: TxnId,
    ) -> impl DoubleEndedIterator<Item = (&'m Key, &'m Value)> + use<'m> {
        let bounds = range.as_slices();
        let keys = (!range.is_inverted()).then(|| self.versions.range::<[u8], _>(bounds));
        keys.into_iter().flatten().filter_map(move |(key, versions)| {
            let value = visible(versions, at)?.1.as_ref()?;
            Some((key, value))
        })
    }

    /// The first `limit` pairs of a range in the state at `at`, in key order or in the reverse of it.
    pub fn scan(&self, range: &KeyRange, limit: usize, reverse: bool, at: TxnId) -> Vec<(Key, Value)> {
        let pairs = self.range(range, at).map(|(key, value)| (key.clone(), value.clone()));
        if reverse { pairs.rev().take(limit).collect() } else { pairs.take(limit).collect() }
    }

    /// The whole state at `at`.
    pub fn state(&self, at: TxnId) -> BTreeMap<Key, Value> {
        self.range(&KeyRange::all(), at).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// The digest of the whole state at `at`.
    pub fn digest(&self, at: TxnId) -> Digest {
        digest_pairs(self.range(&KeyRange::all(), at))
    }
}

fn visible(versions: &[(TxnId, Option<Value>)], at: TxnId) -> Option<&(TxnId, Option<Value>)> {
    versions[..versions.partition_point(|(id, _)| *id <= at)].last()
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;

    use super::*;

    fn put(key: &str, value: &str) -> Mutation {
        Mutation { key: key.into(), value: Some(value.into()) }
    }

    fn delete(key: &str) -> Mutation {
        Mutation { key: key.into(), value: None }
    }

    fn model() -> Mvcc {
        let mut model = Mvcc::new();
        model.apply(TxnId(1), vec![put("a", "1"), put("b", "1")]);
        model.apply(TxnId(4), vec![put("b", "4"), delete("a"), put("c", "4")]);
        model.apply(TxnId(5), vec![put("a", "5"), delete("c"), delete("z")]);
        model
    }

    fn text(pairs: impl IntoIterator<Item = (Key, Value)>) -> String {
        let pairs =
            pairs.into_iter().map(|(k, v)| String::from_utf8(k).unwrap() + &String::from_utf8(v).unwrap());
        pairs.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_state_stays_readable_and_a_gap_reads_as_the_commit_before_it() {
        let model = model();
        let states: Vec<_> = (0..=6).map(|at| text(model.state(TxnId(at)))).collect();
        assert_eq!(states, ["", "a1 b1", "a1 b1", "a1 b1", "b4 c4", "a5 b4", "a5 b4"]);
        assert_eq!(model.get(b"a", TxnId(1)), Some(&b"1".to_vec()));
        assert_eq!(model.get(b"a", TxnId(4)), None);
        assert_eq!(model.last_writer(b"a", TxnId(4)), Some(TxnId(4)), "a removal is a write");
        assert_eq!(model.last_writer(b"a", TxnId(0)), None);
        assert_eq!(model.commit_at(TxnId(4)).unwrap().mutations.len(), 3);
        assert_eq!(model.commit_at(TxnId(3)), None);
    }

    #[test]
    fn changes_conflicts_and_ranges_follow_from_the_versions() {
        let mut model = model();
        model.apply(TxnId(6), vec![put("x", "1"), put("b", "2"), put("x", "3")]);
        let changes: Vec<Commit> = model.changes(TxnId(5)).collect();
        assert_eq!(changes.iter().map(|commit| commit.id.0).collect::<Vec<_>>(), [5, 6]);
        assert_eq!(changes[1].mutations, [put("b", "2"), put("x", "3")]);
        assert_eq!(model.changes(TxnId(7)).count(), 0);
        let keys = ["a", "b", "y"].map(Key::from);
        assert_eq!(model.conflict(&keys, TxnId(4)), Some(&keys[0]));
        assert_eq!(model.conflict(&keys, TxnId(5)), Some(&keys[1]));
        assert_eq!(model.conflict(&keys, TxnId(6)), None);
        assert_eq!(model.delete_range(&KeyRange::prefix(b"a"), TxnId(1)), [delete("a")]);
        assert_eq!(model.delete_range(&KeyRange::all(), TxnId(4)), [delete("b"), delete("c")]);
    }

    #[test]
    fn going_back_leads_to_every_earlier_state() {
        for to in [0, 1, 4, 5] {
            let mut model = model();
            let back = model.going_back(TxnId(to));
            model.apply(TxnId(6), back);
            assert_eq!(model.state(TxnId(6)), model.state(TxnId(to)), "to {to}");
        }
        assert_eq!(model().going_back(TxnId(5)), []);
        assert_eq!(model().going_back(TxnId(4)), [delete("a"), put("c", "4")]);
    }

    #[test]
    fn scans_honour_range_limit_and_direction() {
        let mut model = model();
        model.apply(TxnId(6), vec![put("ab", "6"), put("d", "6")]);
        let scan = |range: &KeyRange, limit, reverse| text(model.scan(range, limit, reverse, TxnId(6)));
        assert_eq!(scan(&KeyRange::all(), 9, false), "a5 ab6 b4 d6");
        assert_eq!(scan(&KeyRange::all(), 2, true), "d6 b4");
        assert_eq!(scan(&KeyRange::prefix(b"a"), 9, false), "a5 ab6");
        let inner = KeyRange { start: Bound::Excluded(b"a".to_vec()), end: Bound::Included(b"b".to_vec()) };
        assert_eq!(scan(&inner, 9, false), "ab6 b4");
        let inverted =
            KeyRange { start: Bound::Included(b"c".to_vec()), end: Bound::Excluded(b"a".to_vec()) };
        assert_eq!(scan(&inverted, 9, false), "");
        let nothing = KeyRange { start: Bound::Excluded(b"a".to_vec()), end: Bound::Excluded(b"a".to_vec()) };
        assert_eq!(scan(&nothing, 9, true), "");
        assert_eq!(scan(&KeyRange::all(), 0, false), "");
    }

    #[test]
    fn truncating_equals_never_having_applied() {
        for to in 0..=6 {
            let mut truncated = model();
            truncated.truncate(TxnId(to));
            let mut fresh = Mvcc::new();
            for commit in model().commits().iter().filter(|commit| commit.id <= TxnId(to)) {
                fresh.apply(commit.id, commit.mutations.clone());
            }
            assert_eq!(truncated, fresh, "truncated to {to}");
        }
    }

    #[test]
    fn of_two_mutations_of_one_key_the_later_counts() {
        let mut model = Mvcc::new();
        model.apply(TxnId(1), vec![put("a", "x"), delete("a"), put("b", "x"), put("b", "y")]);
        assert_eq!(text(model.state(TxnId(1))), "by");
        assert_eq!(model.last_writer(b"a", TxnId(1)), Some(TxnId(1)));
    }

    #[test]
    fn the_digest_follows_the_state_and_not_the_way_to_it() {
        let mut other = Mvcc::new();
        other.apply(TxnId(1), vec![put("b", "4"), put("a", "5")]);
        assert_eq!(other.digest(TxnId(1)), model().digest(TxnId(5)));
        assert_ne!(other.digest(TxnId(1)), model().digest(TxnId(4)));
        assert_eq!(model().digest(TxnId(5)), digest_pairs(model().state(TxnId(5))));
    }

    #[test]
    fn a_base_state_is_its_own_floor() {
        let mut model = Mvcc::starting_at(TxnId(7), [(b"a".to_vec(), b"7".to_vec())]);
        assert_eq!(model.latest(), TxnId(7));
        model.apply(TxnId(8), vec![delete("a")]);
        assert_eq!(text(model.state(TxnId(8))), "");
        model.truncate(TxnId(7));
        assert_eq!(text(model.state(TxnId(7))), "a7");
        assert_eq!(model.last_writer(b"a", TxnId(9)), Some(TxnId(7)));
        assert_eq!(text(model.state(TxnId(6))), "");
    }

    #[test]
    #[should_panic(expected = "commit 5 must come after commit 5")]
    fn ids_must_increase() {
        model().apply(TxnId(5), vec![]);
    }
}
