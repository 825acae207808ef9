//! Backup: what a copy of the store holds that was made while the store went on.
//!
//! It verifies that a backup, opened as a store of its own, is the store at one commit: its latest is nothing less than
//! what was acknowledged before it was asked for and nothing more than what had been asked for when it was made; at every commit as of which
//! it was read it equals the model; and it retains what the store promises to retain.
//!
//! It does NOT look at what a backup is worth after a power loss, and it knows nothing of a backup that failed.

use super::crash_prefix::check_form;
use super::replay::Replay;
use super::retained::Retained;
use super::{Checker, Violation};
use crate::text::BytesText;
use crate::{Key, KeyRange, TxnId, Value};

/// What a backup says of itself.
pub(super) struct Backup<'h> {
    pub(super) step: usize,
    pub(super) at: TxnId,
    pub(super) latest: TxnId,
    pub(super) oldest: TxnId,
    pub(super) state: &'h [(Key, Value)],
}

impl Backup<'_> {
    /// Judges it, while the store's own latest commit lies between these two.
    pub(super) fn check(
        &self,
        replay: &Replay<'_, '_>,
        retained: &Retained,
        acknowledged: TxnId,
        latest: TxnId,
    ) -> Result<(), Violation> {
        if !(acknowledged..=latest).contains(&self.latest) {
            let message = format!(
                "the latest commit of the backup is {}, but that of the store is {acknowledged} or newer",
                self.latest
            );
            return Err(self.violation("wrong-latest", message));
        }
        if let Some(kept) = retained.kept(self.latest).filter(|kept| self.oldest > *kept) {
            let message = format!(
                "the oldest commit of the backup is {}, but the store keeps commit {kept}",
                self.oldest
            );
            return Err(self.violation("history-not-copied", message));
        }
        check_form(self.step, self.state)?;
        if self.at < replay.model.base() {
            return Ok(());
        }
        let expected = replay.model.range(&KeyRange::all(), self.at);
        let found = self.state.iter().map(|(key, value)| (key, value));
        if expected.eq(found) { Ok(()) } else { Err(self.difference(replay)) }
    }

    fn difference(&self, replay: &Replay<'_, '_>) -> Violation {
        let expected = replay.model.state(self.at);
        let held = |key: &Key| self.state.iter().find(|(held, _)| held == key).map(|(_, value)| value);
        let keys = expected.keys().chain(self.state.iter().map(|(key, _)| key));
        let differs = |key: &&Key| held(key) != expected.get(*key);
        let key = keys.filter(differs).min().expect("the caller found a difference");
        let message = format!(
            "as of commit {} the backup should hold {} at {}, but holds {}",
            self.at,
            replay.expected(key, self.at),
            BytesText(key),
            replay.found(key, held(key).map(Vec::as_slice))
        );
        self.violation("wrong-state", message)
    }

    fn violation(&self, kind: &'static str, message: String) -> Violation {
        Violation { checker: Checker::Backup, kind, step: self.step, message }
    }
}

#[cfg(test)]
mod tests {
    use crate::Checker::Backup;
    use crate::check::testing::{assert_accepted, assert_violation};

    fn with(backup: &str) -> String {
        format!(
            r#"opened latest=0 oldest=0 retention=txns:1 -> none
               begin t1 c0 write snapshot=0
               put t1 "a" #1*8
               submit t1 sync
               committed t1 id=1
               begin t2 c0 write snapshot=1
               put t2 "b" #2*8
               submit t2 buffered
               committed t2 id=2
               backup {backup}"#
        )
    }

    fn refused(backup: &str, kind: &str) -> String {
        assert_violation(&with(backup), Backup, kind, 9)
    }

    #[test]
    fn good_backups() {
        assert_accepted(&with(r#"at=2 latest=2 oldest=0 -> "a"=#1*8 "b"=#2*8"#));
        assert_accepted(&with(r#"at=1 latest=2 oldest=1 -> "a"=#1*8"#));
        assert_accepted(&with("at=0 latest=2 oldest=0 -> none"));
    }

    #[test]
    fn bad_backups() {
        let message = refused(r#"at=2 latest=2 oldest=0 -> "a"=#1*8"#, "wrong-state");
        assert_eq!(
            message,
            "as of commit 2 the backup should hold #2*8, the value of commit 2 (t2) at \"b\", but holds none"
        );
        refused(r#"at=1 latest=2 oldest=1 -> "a"=#1*8 "b"=#2*8"#, "wrong-state");
        refused(r#"at=1 latest=1 oldest=0 -> "a"=#1*8"#, "wrong-latest");
        refused(r#"at=3 latest=3 oldest=0 -> none"#, "wrong-latest");
        refused(r#"at=2 latest=2 oldest=2 -> "a"=#1*8 "b"=#2*8"#, "history-not-copied");
    }
}
