//! Crash prefix: what a store holds after it was opened again.
//!
//! It verifies that the state at every opening equals the model at one commit k. After a crash, k is nothing less than
//! the latest commit that was acknowledged as durable, by its own `sync` or by a `durable` after it, and nothing more
//! than the last commit that was asked for; a commit in doubt may have happened. Without a crash nothing may be missing,
//! durable or not. If the store says which commit is its latest, it has to be k. From then on k is history: commits
//! after it never happened, those up to it did and were on stable storage when they were recovered, so that no later
//! crash may undo them.
//!
//! It does NOT demand that an empty `sync` commit makes earlier commits durable, it does not look at reads, and it
//! takes the state of a history's first event as given. TxnIds of commits in doubt are expected to follow without gaps.
//!
//! If a store does not say which commit is its latest and several explain its state, these have equal states, and the
//! last of them is taken.

use std::collections::BTreeSet;

use super::replay::{Provenance, Replay};
use super::timeline::Incarnation;
use super::{Checker, Violation};
use crate::text::BytesText;
use crate::{Event, Key, KeyRange, TxnId, Value};

/// Judges the opening at `step`, with which `incarnation` ended; returns the latest commit that survived.
pub(super) fn check(
    replay: &Replay<'_, '_>,
    incarnation: &Incarnation,
    step: usize,
) -> Result<TxnId, Violation> {
    let Some(Event::Opened { latest, oldest, state }) = replay.timeline.history.events.get(step) else {
        unreachable!("an incarnation ends with an opening");
    };
    let must = match incarnation.crash {
        Some(_) => replay.durable_at_end(incarnation),
        None => replay.acknowledged_at_end(),
    };
    let judge = Judge { replay, step, state, must, crashed: incarnation.crash.is_some() };
    let survived = judge.survived(*latest)?;
    check_form(step, survived, *oldest, state)?;
    Ok(survived)
}

/// Judges what an opening says, without regard to what happened before it.
pub(super) fn check_form(
    step: usize,
    latest: TxnId,
    oldest: Option<TxnId>,
    state: &[(Key, Value)],
) -> Result<(), Violation> {
    if let Some(pair) = state.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
        let message = format!("{} is listed after {}", BytesText(&pair[1].0), BytesText(&pair[0].0));
        return Err(violation("state-out-of-order", step, message));
    }
    if let Some(oldest) = oldest.filter(|oldest| *oldest > latest) {
        let message = format!("the oldest retained commit is said to be {oldest}, the latest is {latest}");
        return Err(violation("oldest-after-latest", step, message));
    }
    Ok(())
}

fn violation(kind: &'static str, step: usize, message: String) -> Violation {
    Violation { checker: Checker::CrashPrefix, kind, step, message }
}

struct Judge<'a, 't, 'h> {
    replay: &'a Replay<'t, 'h>,
    step: usize,
    state: &'a [(Key, Value)],
    /// The commit that must have survived.
    must: TxnId,
    crashed: bool,
}

/// What a walk from the last commit down found.
struct Prefixes {
    /// The commits at which the model equals the state, latest first.
    equal: Vec<TxnId>,
    /// The commit at which it differs in the fewest keys.
    nearest: TxnId,
}

impl Judge<'_, '_, '_> {
    fn survived(&self, latest: Option<TxnId>) -> Result<TxnId, Violation> {
        let prefixes = self.walk(self.must);
        let Some(&last) = prefixes.equal.first() else {
            return Err(self.explain(&prefixes));
        };
        match latest {
            Some(latest) if !prefixes.equal.contains(&latest) => {
                let message = format!(
                    "the store says its latest commit is {latest}, but its state is that of commit {last}"
                );
                Err(violation("wrong-latest", self.step, message))
            }
            Some(latest) => Ok(latest),
            None => Ok(last),
        }
    }

    /// Compares the state with the model at every commit from the last down to `lowest`: at the first in full, from
    /// there on only in the keys that a commit changed.
    fn walk(&self, lowest: TxnId) -> Prefixes {
        let model = &self.replay.model;
        let mut at = model.latest();
        let mut differing = self.differing(at);
        let mut equal = Vec::new();
        let (mut nearest, mut fewest) = (at, differing.len());
        let mut commits = model.commits().iter();
        loop {
            if differing.is_empty() {
                equal.push(at);
            }
            if differing.len() < fewest {
                (nearest, fewest) = (at, differing.len());
            }
            let Some(undone) = commits.next_back().filter(|_| at > lowest) else { break };
            at = commits.as_slice().last().map_or(model.base(), |commit| commit.id).max(lowest);
            for mutation in &undone.mutations {
                let key = mutation.key.as_slice();
                if self.held(key) == model.get(key, at).map(Vec::as_slice) {
                    differing.remove(key);
                } else {
                    differing.insert(key);
                }
            }
        }
        Prefixes { equal, nearest }
    }

    /// The keys at which the state and the model at `at` differ.
    fn differing(&self, at: TxnId) -> BTreeSet<&[u8]> {
        let model = &self.replay.model;
        let differs = |key: &[u8]| self.held(key) != model.get(key, at).map(Vec::as_slice);
        let held = self.state.iter().map(|(key, _)| key.as_slice());
        let expected = model.range(&KeyRange::all(), at).map(|(key, _)| key.as_slice());
        held.chain(expected).filter(|key| differs(key)).collect()
    }

    fn held(&self, key: &[u8]) -> Option<&[u8]> {
        let index = self.state.binary_search_by(|(held, _)| held.as_slice().cmp(key)).ok()?;
        Some(&self.state[index].1)
    }

    /// Says what is wrong with a state that no permitted commit explains.
    fn explain(&self, prefixes: &Prefixes) -> Violation {
        if let Err(violation) = check_form(self.step, TxnId(u64::MAX), None, self.state) {
            return violation;
        }
        let must = self.replay.commit_name(self.must);
        let earlier = self.walk(self.replay.model.base());
        if let Some(&older) = earlier.equal.first() {
            let difference = self.difference(self.must, None);
            let (kind, why) = match self.crashed {
                false => ("lost-commit-without-crash", "was committed and nothing crashed"),
                true if self.must <= self.replay.durable_at_start() => (
                    "lost-recovered-commit",
                    "had been recovered or acknowledged as durable before the last opening",
                ),
                true => ("lost-acknowledged-commit", "was acknowledged as durable"),
            };
            let message = format!("the state is that of commit {older}, but {must} {why}: {difference}");
            return violation(kind, self.step, message);
        }

        let nearest = prefixes.nearest;
        let foreign = |wanted: fn(&Provenance<'_>) -> bool| {
            let differing = self.differing(nearest);
            let found = differing
                .into_iter()
                .find(|key| self.held(key).is_some_and(|value| wanted(&self.replay.provenance(value))));
            found.map(<[u8]>::to_vec)
        };
        let invented = foreign(|origin| matches!(origin, Provenance::Nobody));
        let (kind, key) = match invented {
            Some(key) => ("invented-value", Some(key)),
            None => match foreign(|origin| matches!(origin, Provenance::Uncommitted { .. })) {
                Some(key) => ("resurrected-value", Some(key)),
                None => ("no-prefix-matches", None),
            },
        };
        let last = self.replay.model.latest();
        let difference = self.difference(nearest, key);
        let range =
            format!("no commit from {} to {last} explains the state; nearest is {nearest}", self.must);
        violation(kind, self.step, format!("{range}, where {difference}"))
    }

    /// How the state differs from the model at `at`: at `key`, or at the first key that differs.
    fn difference(&self, at: TxnId, key: Option<Key>) -> String {
        let differing = self.differing(at);
        let Some(key) = key.or_else(|| differing.first().map(|key| key.to_vec())) else {
            return "no key differs".to_owned();
        };
        let expected = self.replay.expected(&key, at);
        let found = self.replay.found(&key, self.held(&key));
        let more = match differing.len() {
            0 | 1 => String::new(),
            count => format!(" (and {} more keys differ)", count - 1),
        };
        format!("{} should be {expected}, but is {found}{more}", BytesText(&key))
    }
}
