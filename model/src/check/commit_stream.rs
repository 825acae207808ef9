//! Commit stream: what a store says that its commits were.
//!
//! It verifies that a stream from commit n on is exactly the commits n, n + 1, and so on, each once, up to the latest or
//! up to the limit, as of some moment between question and answer; that each has the operations that the model has, by key, and no others; and that the stream is
//! refused if, and only if, n is not newer than the oldest commit that can be read (`changes-not-retained`), or further
//! than one beyond the latest (`snapshot-not-found`). Since a commit's operations are all that it changes, replaying
//! streams that pass into an empty store gives the model's state at every commit.
//!
//! It does NOT know which commits a consumer has seen: a commit that was not durable may be streamed, lost in a crash,
//! and replaced by another one of the same TxnId. What happened before the history began is not looked at.

use super::replay::Replay;
use super::{Checker, Violation};
use crate::text::BytesText;
use crate::{Commit, Mutation, Refusal, TxnId};

/// What was asked for, and when.
pub(super) struct Stream {
    pub(super) step: usize,
    pub(super) from: TxnId,
    /// The oldest commit that can be read, as far as that is known.
    pub(super) oldest: Option<TxnId>,
    /// The newest commit that is known to have been out of reach when it was asked for.
    pub(super) gone: Option<TxnId>,
    /// The latest commit that has to be in it.
    pub(super) acknowledged: TxnId,
    /// The latest commit that may be in it.
    pub(super) latest: TxnId,
}

impl Stream {
    /// Judges a stream that was read.
    pub(super) fn read(
        &self,
        replay: &Replay<'_, '_>,
        limit: usize,
        commits: &[Commit],
    ) -> Result<(), Violation> {
        if let Some(oldest) = self.gone.filter(|gone| self.from <= *gone) {
            let message = format!(
                "the stream goes on from commit {}, but only what is newer than {oldest} is retained",
                self.from
            );
            return Err(self.violation("fell-behind-silently", message));
        }
        if self.from > self.latest.next() {
            let message =
                format!("the stream starts at commit {}, but the latest is {}", self.from, self.latest);
            return Err(self.violation("future-stream", message));
        }
        if commits.len() > limit {
            let message = format!("{} commits were read instead of {limit}", commits.len());
            return Err(self.violation("stream-over-limit", message));
        }
        let mut expected = self.from;
        for commit in commits {
            self.commit(replay, expected, commit)?;
            expected = expected.next();
        }
        if commits.len() < limit && expected <= self.acknowledged {
            let name = replay.commit_name(expected);
            return Err(self.violation("stream-too-short", format!("the stream ends before {name}")));
        }
        Ok(())
    }

    /// Judges a stream that was refused.
    pub(super) fn refused(&self, reason: Refusal) -> Result<(), Violation> {
        let is_retained = self.oldest.is_some_and(|oldest| self.from > oldest);
        let message = match reason {
            Refusal::ChangesNotRetained if is_retained => {
                let oldest = self.oldest.unwrap_or_default();
                format!("commit {} is newer than {oldest}, the oldest that is retained", self.from)
            }
            Refusal::SnapshotNotFound if self.from <= self.acknowledged.next() => {
                format!("commit {} is not beyond the one after {}", self.from, self.acknowledged)
            }
            Refusal::ChangesNotRetained | Refusal::SnapshotNotFound => return Ok(()),
            Refusal::WriteBusy | Refusal::Poisoned => "reading the stream waits for nobody".to_owned(),
        };
        Err(self.violation("false-stream-refusal", message))
    }

    fn commit(&self, replay: &Replay<'_, '_>, expected: TxnId, found: &Commit) -> Result<(), Violation> {
        if found.id != expected {
            let message = format!("the stream has commit {} where {expected} should be", found.id);
            return Err(self.violation("stream-gap", message));
        }
        if found.id > self.latest {
            let message = format!("the stream has commit {}, but the latest is {}", found.id, self.latest);
            return Err(self.violation("future-stream", message));
        }
        let Some(commit) = replay.model.commit_at(found.id) else { return Ok(()) };
        let name = replay.commit_name(found.id);
        if let Some(pair) = found.mutations.windows(2).find(|pair| pair[0].key >= pair[1].key) {
            let (first, second) = (BytesText(&pair[0].key), BytesText(&pair[1].key));
            return Err(self.violation("stream-out-of-order", format!("{name} has {second} after {first}")));
        }
        match first_difference(&commit.mutations, &found.mutations) {
            Some(key) => {
                let text = |mutations: &[Mutation]| match mutations.iter().find(|found| found.key == key) {
                    Some(Mutation { value: Some(value), .. }) => replay.found(key, Some(value)),
                    Some(Mutation { value: None, .. }) => "its removal".to_owned(),
                    None => "nothing".to_owned(),
                };
                let (expected, found) = (text(&commit.mutations), text(&found.mutations));
                let message = format!("{name} should have {expected} at {}, but has {found}", BytesText(key));
                Err(self.violation("stream-wrong-operations", message))
            }
            None => Ok(()),
        }
    }

    fn violation(&self, kind: &'static str, message: String) -> Violation {
        Violation { checker: Checker::CommitStream, kind, step: self.step, message }
    }
}

/// The first key with which two lists of mutations, each in key order, do not do the same.
fn first_difference<'a>(expected: &'a [Mutation], found: &'a [Mutation]) -> Option<&'a [u8]> {
    let index = expected.iter().zip(found).take_while(|(one, other)| one == other).count();
    let keys = [expected.get(index), found.get(index)];
    keys.into_iter().flatten().map(|mutation| mutation.key.as_slice()).min()
}

#[cfg(test)]
mod tests {
    use crate::Checker::CommitStream;
    use crate::check::testing::{assert_accepted, assert_violation};

    const COMMITS: &str = r#"
        opened latest=0 oldest=0 retention=all -> none
        begin t1 c0 write snapshot=0
        put t1 "b" #1*8
        put t1 "a" #2*8
        submit t1 sync
        committed t1 id=1
        begin t2 c0 write snapshot=1
        delete t2 "b"
        submit t2 buffered
        committed t2 id=2
        begin t3 c0 write snapshot=2
        put t3 "c" #3*8
        put t3 "c" #4*8
        submit t3 sync
        committed t3 id=3
    "#;
    const NEXT: usize = 15;
    const ALL: &str = r#"1: "a"=#2*8 "b"=#1*8, 2: "b"=none, 3: "c"=#4*8"#;

    fn with(changes: &str) -> String {
        format!("{COMMITS}changes {changes}")
    }

    fn refused(changes: &str, kind: &str) -> String {
        assert_violation(&with(changes), CommitStream, kind, NEXT)
    }

    #[test]
    fn good_streams() {
        assert_accepted(&with(&format!("1 oldest=0 -> {ALL}")));
        assert_accepted(&with(r#"2 oldest=0 -> 2: "b"=none, 3: "c"=#4*8"#));
        assert_accepted(&with(r#"1 limit=1 oldest=0 -> 1: "a"=#2*8 "b"=#1*8"#));
        assert_accepted(&with("4 oldest=0 -> none"));
        assert_accepted(&with("2 limit=0 oldest=0 -> none"));
        assert_accepted(&with("5 refused snapshot-not-found oldest=0"));
        assert_accepted(&with("0 refused changes-not-retained oldest=0"));
        let latest_only = COMMITS.replace("retention=all", "retention=latest");
        assert_accepted(&format!("{latest_only}changes 3 refused changes-not-retained oldest=3"));
    }

    #[test]
    fn every_commit_is_there_once_and_in_order() {
        refused(r#"1 oldest=0 -> 1: "a"=#2*8 "b"=#1*8, 3: "c"=#4*8"#, "stream-gap");
        refused(r#"2 oldest=0 -> 2: "b"=none, 2: "b"=none, 3: "c"=#4*8"#, "stream-gap");
        refused(r#"2 oldest=0 -> 3: "c"=#4*8"#, "stream-gap");
        let message = refused(r#"2 oldest=0 -> 2: "b"=none"#, "stream-too-short");
        assert_eq!(message, "the stream ends before commit 3 (t3)");
        refused("1 oldest=0 -> none", "stream-too-short");
        refused(r#"1 limit=2 oldest=0 -> 1: "a"=#2*8 "b"=#1*8"#, "stream-too-short");
        refused(r#"2 limit=1 oldest=0 -> 2: "b"=none, 3: "c"=#4*8"#, "stream-over-limit");
        refused("4 oldest=0 -> 4:", "future-stream");
        refused("5 oldest=0 -> none", "future-stream");
    }

    #[test]
    fn a_commit_has_its_operations_and_no_others() {
        refused(r#"3 oldest=0 -> 3: "c"=#3*8"#, "stream-wrong-operations");
        refused(r#"3 oldest=0 -> 3: "c"=none"#, "stream-wrong-operations");
        refused("2 oldest=0 -> 2:, 3: \"c\"=#4*8", "stream-wrong-operations");
        refused(r#"3 oldest=0 -> 3: "a"=#2*8 "c"=#4*8"#, "stream-wrong-operations");
        let message = refused(r#"1 limit=1 oldest=0 -> 1: "a"=#2*8"#, "stream-wrong-operations");
        assert_eq!(
            message,
            "commit 1 (t1) should have #1*8, the value of commit 1 (t1) at \"b\", but has nothing"
        );
        refused(r#"1 limit=1 oldest=0 -> 1: "b"=#1*8 "a"=#2*8"#, "stream-out-of-order");
    }

    #[test]
    fn it_is_refused_exactly_where_it_can_not_be_read() {
        refused("3 refused changes-not-retained oldest=0", "false-stream-refusal");
        refused("4 refused snapshot-not-found oldest=0", "false-stream-refusal");
        refused("9 refused write-busy", "false-stream-refusal");
        let latest_only = COMMITS.replace("retention=all", "retention=latest");
        let behind = format!("{latest_only}changes 1 oldest=1 -> {ALL}");
        assert_violation(&behind, CommitStream, "fell-behind-silently", NEXT);
    }

    #[test]
    fn what_a_crash_took_is_not_streamed() {
        let crashed = |changes: &str| {
            format!(
                "{}crash\nopened latest=1 oldest=0 retention=all -> \"a\"=#2*8 \"b\"=#1*8\nchanges {changes}",
                COMMITS.rsplit_once("begin t3").unwrap().0
            )
        };
        assert_accepted(&crashed(r#"1 oldest=0 -> 1: "a"=#2*8 "b"=#1*8"#));
        assert_accepted(&crashed("3 refused snapshot-not-found oldest=0"));
        let lost = crashed(r#"2 oldest=0 -> 2: "b"=none"#);
        assert_violation(&lost, CommitStream, "future-stream", 12);
    }
}
