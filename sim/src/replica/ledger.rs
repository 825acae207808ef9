//! The truth about a replicated world, written by both sides and seen by neither: what the leader committed, and whether what
//! a side holds is what it may hold.
//!
//! Verifies: after every recovery the leader has every commit that was acknowledged as durable, or was shown to anybody; what
//! the follower holds, after every transaction and every recovery, is exactly what the leader held right after the commit
//! before the follower's place; and at the end, what the leader holds.
//!
//! Does not verify: how the leader answers its own readers. The suites of a single store do that.

use std::collections::BTreeMap;
use std::time::Duration;

use proofmark_model::{Checker, Key, KeyRange, Mutation, Mvcc, TxnId, Value, Violation};
use xxhash_rust::xxh3::Xxh3;

use super::ReplicaStats;

/// What is known.
pub(super) struct Ledger {
    /// What the leader has committed.
    commits: Mvcc,
    /// What it was about to commit when it was heard of last.
    in_doubt: Option<Vec<Mutation>>,
    /// Up to here nothing may ever be lost.
    durable: TxnId,
    /// The follower's place: the commit that it wants next.
    place: TxnId,
    /// Whether the leader has been looked at since it was written to last.
    has_settled: bool,
    pub(super) stats: ReplicaStats,
    lines: Vec<String>,
    hash: Xxh3,
    violation: Option<Violation>,
}

/// What a store holds, in key order.
pub(super) type Pairs = Vec<(Key, Value)>;

impl Ledger {
    pub(super) fn new() -> Ledger {
        Ledger {
            commits: Mvcc::new(),
            in_doubt: None,
            durable: TxnId(0),
            place: TxnId(1),
            has_settled: false,
            stats: ReplicaStats::default(),
            lines: Vec::new(),
            hash: Xxh3::new(),
            violation: None,
        }
    }

    /// Writes down what happened, for people and for the hash.
    pub(super) fn note(&mut self, now: Duration, what: &str) {
        self.hash.update(&u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).to_le_bytes());
        self.hash.update(what.as_bytes());
        self.lines.push(format!("{:>11.6} s  {what}", now.as_secs_f64()));
    }

    /// The leader is about to commit.
    pub(super) fn submit(&mut self, mutations: Vec<Mutation>) {
        self.in_doubt = Some(mutations);
    }

    /// It has committed.
    pub(super) fn committed(&mut self, id: Option<TxnId>, is_durable: bool) {
        let mutations = self.in_doubt.take().expect("what was committed was submitted before");
        let expected = self.commits.latest().next();
        if id != Some(expected) {
            let found = id.map_or_else(|| "nameless".to_owned(), |id| id.to_string());
            return self
                .fail("commit-out-of-order", format!("commit {expected} was expected, and it is {found}"));
        }
        self.commits.apply(expected, mutations);
        self.stats.commits += 1;
        if is_durable {
            self.durable = expected;
        }
    }

    /// The leader has shown its commits up to this one, or written them back.
    pub(super) fn shown(&mut self, latest: TxnId) {
        self.durable = self.durable.max(latest);
    }

    /// The leader, to which nothing more is written, holds this.
    pub(super) fn leader_holds(&mut self, pairs: &Pairs) {
        self.compare("leader-holds-something-else", self.commits.latest(), pairs);
        self.has_settled = true;
    }

    /// Whether nothing more is written, and the follower has everything.
    pub(super) fn is_even(&self) -> bool {
        self.has_settled && self.place == self.commits.latest().next()
    }

    /// Where both sides stand.
    pub(super) fn standing(&self) -> String {
        format!("the leader is at commit {}, and the follower wants {}", self.commits.latest(), self.place)
    }

    /// The leader was opened: this is what it holds.
    pub(super) fn leader_opened(&mut self, latest: TxnId, pairs: &Pairs) {
        let known = self.commits.latest();
        match self.in_doubt.take() {
            Some(mutations) if latest == known.next() => self.commits.apply(latest, mutations),
            _ if latest > known => {
                let message =
                    format!("commit {latest} is there, and only those up to {known} were submitted");
                return self.fail("leader-made-up-a-commit", message);
            }
            _ => {}
        }
        if latest < self.durable {
            let message = format!("it is back at commit {latest}, and had vouched for {}", self.durable);
            return self.fail("leader-lost-a-commit", message);
        }
        self.commits.truncate(latest);
        self.has_settled = false;
        // What was recovered was on stable storage then.
        self.durable = latest;
        self.compare("leader-holds-something-else", latest, pairs);
    }

    /// The follower was opened, or has applied something: this is its place, and what it holds.
    pub(super) fn follower_holds(&mut self, place: TxnId, pairs: &Pairs) {
        self.place = place;
        let applied = TxnId(place.0.saturating_sub(1));
        if applied > self.commits.latest() {
            let latest = self.commits.latest();
            let message = format!("it has applied commit {applied}, and the leader is at {latest}");
            return self.fail("follower-is-ahead", message);
        }
        self.compare("follower-holds-no-prefix", applied, pairs);
    }

    /// Holds what was found against a side.
    pub(super) fn fail(&mut self, kind: &'static str, message: String) {
        let step = self.lines.len();
        let violation = Violation { checker: Checker::CommitStream, kind, step, message };
        self.violation.get_or_insert(violation);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.violation.is_some()
    }

    /// The verdict, the hash of everything, and the lines.
    pub(super) fn finish(&mut self) -> (Result<(), Violation>, u64, Vec<String>) {
        let verdict = self.violation.take().map_or(Ok(()), Err);
        (verdict, self.hash.digest(), std::mem::take(&mut self.lines))
    }

    fn compare(&mut self, kind: &'static str, at: TxnId, pairs: &Pairs) {
        let expected = self.commits.range(&KeyRange::all(), at);
        if expected.eq(pairs.iter().map(|(key, value)| (key, value))) {
            return;
        }
        let expected: BTreeMap<&Key, &Value> = self.commits.range(&KeyRange::all(), at).collect();
        let found: BTreeMap<&Key, &Value> = pairs.iter().map(|(key, value)| (key, value)).collect();
        let differs = |key: &&&Key| expected.get(**key) != found.get(**key);
        let key = expected.keys().chain(found.keys()).find(differs).map(|key| key.escape_ascii().to_string());
        let counts = (expected.len(), found.len());
        let message = format!(
            "at commit {at} there are {} keys, and {} were found; the first that differs is {}",
            counts.0,
            counts.1,
            key.unwrap_or_default()
        );
        self.fail(kind, message);
    }
}
