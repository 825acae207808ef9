//! Crash prefix: what a store holds after it was opened again.
//!
//! It verifies that the state at every opening equals the model at one commit k. After a crash, k is nothing less than
//! the latest commit that was acknowledged as durable, and nothing more than the last commit that was asked for; a commit
//! in doubt may have happened. Without a crash nothing may be missing, durable or not. Faults may lower that bound, and
//! suspend nothing else; [`durable`](super::durable) says by how much. If the store says which commit is its latest, it
//! has to be k; what it says of its past has to agree with k and with its promises (see [`Retained`]). From then on k is
//! history: commits after it never happened, those up to it did and were on stable storage when they were recovered, so
//! that no later crash may undo them.
//!
//! It does NOT look at reads, and it takes the state of a history's first event as given. TxnIds of commits in doubt are expected to follow without gaps.
//!
//! If a store does not say which commit is its latest and several explain its state, these have equal states, and the
//! last of them is taken.

use std::collections::BTreeSet;

use super::durable::Bounds;
use super::replay::{Provenance, Replay};
use super::retained::{Retained, Statement};
use super::timeline::Incarnation;
use super::{Checker, Violation};
use crate::text::BytesText;
use crate::{Event, Key, KeyRange, TxnId, Value};

/// Judges the opening at `step`, with which `incarnation` ended; returns the latest commit that survived,
/// and what the store said of those before it.
pub(super) fn check(
    replay: &Replay<'_, '_>,
    incarnation: &Incarnation,
    bounds: Bounds,
    step: usize,
) -> Result<(TxnId, Retained), Violation> {
    let Some(Event::Opened { latest, oldest, retention, state }) = replay.timeline.history.events.get(step)
    else {
        unreachable!("an incarnation ends with an opening");
    };
    let judge = Judge { replay, step, state, must: bounds.must, crashed: incarnation.crash.is_some() };
    let survived = judge.survived(*latest)?;
    check_form(step, state)?;
    let mut retained = replay.retained;
    let (checker, oldest, since) = (Checker::CrashPrefix, *oldest, retained.oldest());
    retained.reopened(*retention, Statement { checker, step, oldest, latest: survived, since })?;
    Ok((survived, retained))
}

/// Judges the state that an opening lists, without regard to what happened before it.
pub(super) fn check_form(step: usize, state: &[(Key, Value)]) -> Result<(), Violation> {
    if let Some(pair) = state.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
        let message = format!("{} is listed after {}", BytesText(&pair[1].0), BytesText(&pair[0].0));
        return Err(violation("state-out-of-order", step, message));
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
            let claimed = latest.filter(|latest| (self.must..=self.replay.model.latest()).contains(latest));
            return Err(self.explain(claimed.unwrap_or(prefixes.nearest)));
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

    /// Says what is wrong with a state that no permitted commit explains, and that is likely meant to be `nearest`.
    fn explain(&self, nearest: TxnId) -> Violation {
        if let Err(violation) = check_form(self.step, self.state) {
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
        let range = format!("no commit from {} to {last} explains the state", self.must);
        violation(kind, self.step, format!("{range}; at commit {nearest}, {difference}"))
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

#[cfg(test)]
mod tests {
    use crate::Checker::CrashPrefix;
    use crate::check::testing::{assert_accepted, assert_violation};

    /// Commit 1 is durable, commit 2 is not, and commit 3 is in doubt when the power fails.
    const UNTIL_CRASH: &str = r#"
        opened latest=0 oldest=0 -> none
        begin t1 c0 write snapshot=0
        put t1 "a" #1*8
        put t1 "b" #2*8
        submit t1 sync
        committed t1 id=1
        begin t2 c0 write snapshot=1
        put t2 "a" #3*8
        delete t2 "b"
        submit t2 buffered
        committed t2 id=2
        begin t3 c0 write snapshot=2
        put t3 "b" #4*8
        submit t3 sync
        crash
    "#;
    const RECOVERY: usize = 15;

    fn after_crash(text: &str) -> String {
        format!("{UNTIL_CRASH}{text}")
    }

    fn refused(opened: &str, kind: &str) -> String {
        assert_violation(&after_crash(opened), CrashPrefix, kind, RECOVERY)
    }

    #[test]
    fn every_permitted_prefix_is_accepted() {
        assert_accepted(&after_crash(r#"opened latest=1 oldest=0 -> "a"=#1*8 "b"=#2*8"#));
        assert_accepted(&after_crash(r#"opened latest=2 oldest=2 -> "a"=#3*8"#));
        assert_accepted(&after_crash(r#"opened latest=3 oldest=1 -> "a"=#3*8 "b"=#4*8"#));
        assert_accepted(&after_crash(
            r#"crash crash opened latest=2 -> "a"=#3*8"#.replace("crash ", "crash\n").as_str(),
        ));
    }

    #[test]
    fn the_next_commit_follows_the_surviving_one() {
        let goes_on = r#"
            opened latest=1 oldest=0 -> "a"=#1*8 "b"=#2*8
            begin t4 c0 write snapshot=1
            put t4 "c" #5*8
            submit t4 sync
            committed t4 id=2
            crash
            opened latest=2 oldest=0 -> "a"=#1*8 "b"=#2*8 "c"=#5*8
            opened latest=2 oldest=0 -> "a"=#1*8 "b"=#2*8 "c"=#5*8
        "#;
        assert_accepted(&after_crash(goes_on));
    }

    #[test]
    fn a_store_that_reveals_nothing_is_judged_by_its_state() {
        let hidden = |opened: &str| {
            let text = UNTIL_CRASH.replace(" id=1", "").replace(" id=2", "");
            let text = text.replace(" snapshot=0", "").replace(" snapshot=1", "").replace(" snapshot=2", "");
            format!("{text}{opened}")
        };
        assert_accepted(&hidden(r#"opened -> "a"=#1*8 "b"=#2*8"#));
        assert_accepted(&hidden(r#"opened -> "a"=#3*8"#));
        assert_accepted(&hidden(r#"opened -> "a"=#3*8 "b"=#4*8"#));
        assert_violation(&hidden("opened -> none"), CrashPrefix, "lost-acknowledged-commit", RECOVERY);
        assert_violation(
            &hidden(r#"opened -> "a"=#3*8 "b"=#2*8"#),
            CrashPrefix,
            "no-prefix-matches",
            RECOVERY,
        );
    }

    #[test]
    fn acknowledged_commits_must_survive() {
        let message = refused("opened latest=0 oldest=0 -> none", "lost-acknowledged-commit");
        assert_eq!(
            message,
            "the state is that of commit 0, but commit 1 (t1) was acknowledged as durable: \
             \"a\" should be #1*8, the value of commit 1 (t1), but is none (and 1 more keys differ)"
        );
        let buffered = |then: &str| {
            let opened = r#"opened latest=0 -> none
                begin t1 c0 write
                put t1 "a" #1*8
                submit t1 buffered
                committed t1 id=1"#;
            format!("{opened}\n{then}\ncrash\nopened latest=0 -> none")
        };
        assert_accepted(&buffered(""));
        assert_violation(&buffered("durable"), CrashPrefix, "lost-acknowledged-commit", 7);
        let later = r#"begin t2 c0 write
            put t2 "b" #2*8
            submit t2 sync
            committed t2 id=2"#;
        assert_violation(&buffered(later), CrashPrefix, "lost-acknowledged-commit", 10);
    }

    #[test]
    fn an_empty_sync_commit_makes_what_was_before_it_durable() {
        let history = |before: &str, empty: &str| {
            format!(
                r#"opened latest=0 -> none
                   begin t1 c0 write
                   put t1 "a" #1*8
                   submit t1 buffered
                   {before}
                   {empty}
                   crash
                   opened latest=0 -> none"#
            )
        };
        let empty = |mode: &str, durability: &str, committed: &str| {
            format!("begin t2 c1 {mode}\nsubmit t2 {durability}\n{committed}")
        };
        let committed = "committed t1 id=1";
        let lost = history(committed, &empty("write", "sync", "committed t2 id=1"));
        assert_violation(&lost, CrashPrefix, "lost-acknowledged-commit", 9);
        assert_accepted(&history(committed, &empty("write", "buffered", "committed t2 id=1")));
        assert_accepted(&history(committed, &empty("write", "sync", "aborted t2")));
        assert_accepted(&history(committed, &empty("write", "sync", "")));
        assert_accepted(&history(committed, &empty("read", "sync", "committed t2 id=1")));
        let acknowledged_later = empty("write", "sync", "committed t1 id=1\ncommitted t2 id=1");
        assert_accepted(&history("", &acknowledged_later));
        let hidden = lost.replace(" id=1", "").replace(" latest=0", "");
        assert_violation(&hidden, CrashPrefix, "lost-acknowledged-commit", 9);
    }

    #[test]
    fn half_a_commit_is_no_prefix() {
        let message = refused(r#"opened latest=2 -> "a"=#3*8 "b"=#2*8"#, "no-prefix-matches");
        let expected =
            "\"b\" should be none, since commit 2 (t2) removed it, but is #2*8, the value of commit 1 (t1)";
        assert!(message.contains(expected), "{message}");
        refused(r#"opened latest=3 -> "a"=#1*8 "b"=#4*8"#, "no-prefix-matches");
        refused(r#"opened latest=3 -> "a"=#2*8 "b"=#2*8"#, "no-prefix-matches");
    }

    #[test]
    fn values_from_nowhere_are_told_from_values_of_the_dead() {
        let message = refused(r#"opened latest=1 -> "a"=#1*8 "b"=#9*8"#, "invented-value");
        assert!(message.contains("#9*8, which nobody wrote"), "{message}");
        refused(r#"opened latest=1 -> "a"=#1*8 "b"="torn""#, "invented-value");

        let again = r#"
            opened latest=1 -> "a"=#1*8 "b"=#2*8
            crash
            opened latest=2 -> "a"=#3*8
        "#;
        let message = assert_violation(&after_crash(again), CrashPrefix, "resurrected-value", RECOVERY + 2);
        assert!(
            message.contains("\"a\" should be #1*8, the value of commit 1 (t1), but is #3*8"),
            "{message}"
        );
        assert!(message.contains("which t2 wrote, whose commit was lost"), "{message}");

        let aborted = r#"
            begin t1 c0 write
            put t1 "a" #1*8
            aborted t1
            crash
            opened latest=0 -> "a"=#1*8
        "#;
        assert_violation(aborted, CrashPrefix, "resurrected-value", 4);
    }

    #[test]
    fn the_revealed_latest_is_the_prefix_found() {
        refused(r#"opened latest=2 -> "a"=#1*8 "b"=#2*8"#, "wrong-latest");
        let message = refused(r#"opened latest=1 -> "a"=#3*8"#, "wrong-latest");
        assert_eq!(message, "the store says its latest commit is 1, but its state is that of commit 2");
        refused(r#"opened latest=7 -> "a"=#3*8 "b"=#4*8"#, "wrong-latest");
        refused(r#"opened latest=1 oldest=2 -> "a"=#1*8 "b"=#2*8"#, "oldest-after-latest");
    }

    #[test]
    fn equal_states_leave_the_choice_to_the_store() {
        let text = r#"
            begin t1 c0 write
            delete t1 "a"
            submit t1 buffered
            committed t1 id=1
            begin t2 c0 write
            delete t2 "a"
            submit t2 buffered
            committed t2 id=2
            crash
        "#;
        for latest in 0..=2 {
            assert_accepted(&format!("{text} opened latest={latest} -> none"));
        }
        assert_violation(&format!("{text} opened latest=3 -> none"), CrashPrefix, "wrong-latest", 9);
    }

    #[test]
    fn what_was_recovered_stays() {
        let again = r#"
            opened latest=2 -> "a"=#3*8
            crash
            opened latest=1 -> "a"=#1*8 "b"=#2*8
        "#;
        assert_violation(&after_crash(again), CrashPrefix, "lost-recovered-commit", RECOVERY + 2);
    }

    #[test]
    fn without_a_crash_nothing_may_be_missing() {
        let closed = |opened: &str| UNTIL_CRASH.replace("crash", opened);
        assert_accepted(&closed(r#"opened latest=2 -> "a"=#3*8"#));
        assert_accepted(&closed(r#"opened latest=3 -> "a"=#3*8 "b"=#4*8"#));
        let lost = closed(r#"opened latest=1 -> "a"=#1*8 "b"=#2*8"#);
        assert_violation(&lost, CrashPrefix, "lost-commit-without-crash", RECOVERY - 1);
        let later_crash =
            closed("opened latest=2 -> \"a\"=#3*8\ncrash\nopened latest=1 -> \"a\"=#1*8 \"b\"=#2*8");
        assert_accepted(&later_crash);
    }

    #[test]
    fn a_history_may_start_with_a_state() {
        let start = r#"opened latest=7 oldest=3 -> "a"=#1*8"#;
        assert_accepted(start);
        assert_accepted(&format!("{start}\ncrash\n{start}"));
        let lost = format!("{start}\ncrash\nopened latest=7 -> none");
        let message = assert_violation(&lost, CrashPrefix, "no-prefix-matches", 2);
        assert!(
            message.contains("should be #1*8, the value at the start of the history, but is none"),
            "{message}"
        );
        assert_violation(&format!("crash\n{start}"), CrashPrefix, "invented-value", 1);
    }

    #[test]
    fn states_are_listed_in_key_order() {
        assert_violation(r#"opened -> "b"=#1*8 "a"=#2*8"#, CrashPrefix, "state-out-of-order", 0);
        assert_violation(r#"opened -> "a"=#1*8 "a"=#2*8"#, CrashPrefix, "state-out-of-order", 0);
        refused(r#"opened latest=1 -> "b"=#2*8 "a"=#1*8"#, "state-out-of-order");
    }
}
