//! Retention: what a store says it can still read of its past.
//!
//! It verifies that the oldest commit that can be read never goes back, is not newer than the latest one, and is not
//! newer than the promised retention allows: what the store promised to keep is there at every opening, and whenever it
//! declines to read a commit.
//!
//! A lying sync may have kept the oldest commit from getting on stable storage as well: then a power loss may take it
//! back, no further than to what the store had said when the lie was told, and only until that is made good.
//!
//! A store that lets go of its past with every commit, and not only with every checkpoint, has let go of some for the sake of
//! commits that a power loss then takes. These are as if they had never been: what the retention keeps without them may be
//! there again.
//!
//! It does NOT demand that a store ever lets go of anything, and does not object to a read of what the store said was
//! gone. What had gone when the history began, or while another retention was promised, stays gone.

use super::{Checker, Violation};
use crate::{Event, Retention, TxnId};

/// What is known of a store's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Retained {
    /// What the store promises to keep, if it promises to travel in time.
    promised: Option<Retention>,
    /// The oldest commit that can be read, as the store said last.
    oldest: TxnId,
    /// What may be gone whatever is promised: everything before this.
    given: TxnId,
    /// The oldest commit as of the first lie that has not been made good: so far back a power loss may take it.
    before_lie: Option<TxnId>,
}

/// Where a store said what it retains.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statement {
    pub(super) checker: Checker,
    pub(super) step: usize,
    pub(super) oldest: Option<TxnId>,
    /// The latest commit at that moment, or the latest that it may be.
    pub(super) latest: TxnId,
    /// What it had said last before this was asked for.
    pub(super) since: TxnId,
}

impl Retained {
    /// The start of a history with this first event.
    pub(super) fn new(first: Option<&Event>) -> Retained {
        let Some(Event::Opened { oldest, retention, .. }) = first else { return Retained::default() };
        let oldest = oldest.unwrap_or_default();
        Retained { promised: *retention, oldest, given: oldest, before_lie: None }
    }

    /// Takes in a lie: what the store says from here on may not be on stable storage.
    pub(super) fn lied(&mut self) {
        self.before_lie.get_or_insert(self.oldest);
    }

    /// Takes in that no lie is left.
    pub(super) fn made_good(&mut self) {
        self.before_lie = None;
    }

    /// Takes in a power loss, which may reveal a lie.
    pub(super) fn lost_power(&mut self) {
        self.oldest = self.before_lie.unwrap_or(self.oldest);
    }

    /// Takes in what the store says at a later opening, and what it promises from then on.
    pub(super) fn reopened(
        &mut self,
        promised: Option<Retention>,
        statement: Statement,
    ) -> Result<(), Violation> {
        if promised != self.promised {
            let before = self.promised.map_or(statement.latest, |before| before.oldest(statement.latest));
            self.given = self.given.max(before);
            self.promised = promised;
        }
        // What a power loss took with it no longer counts.
        let since = self.kept(statement.latest).map_or(statement.since, |kept| kept.min(statement.since));
        self.oldest = self.oldest.min(since);
        self.stated(Statement { since, ..statement })
    }

    /// Takes in what the store says.
    pub(super) fn stated(&mut self, statement: Statement) -> Result<(), Violation> {
        let Statement { checker, step, oldest: Some(oldest), latest, since } = statement else {
            return Ok(());
        };
        let violation = |kind, message| Err(Violation { checker, kind, step, message });
        if oldest > latest {
            let message =
                format!("the oldest retained commit is said to be {oldest}, the latest is {latest}");
            return violation("oldest-after-latest", message);
        }
        if oldest < since {
            let message = format!("commit {oldest} is said to be retained, but {since} was the oldest");
            return violation("oldest-went-back", message);
        }
        if let Some((promised, kept)) = self.promised.zip(self.kept(latest))
            && oldest > kept
        {
            let message = format!(
                "the oldest retained commit is said to be {oldest}, the latest is {latest}, \
                 but retention {promised} keeps commit {kept}"
            );
            return violation("history-dropped-too-early", message);
        }
        // Of two statements at the same time, the one may be written down after the other.
        self.oldest = self.oldest.max(oldest);
        Ok(())
    }

    /// The oldest commit that can be read, as the store said last.
    pub(super) fn oldest(&self) -> TxnId {
        self.oldest
    }

    /// The oldest commit that has to be readable while `latest` is the latest, if anything is promised.
    pub(super) fn kept(&self, latest: TxnId) -> Option<TxnId> {
        self.promised.map(|promised| promised.oldest(latest).max(self.given))
    }
}

#[cfg(test)]
mod tests {
    use crate::Checker::{CrashPrefix, SnapshotIsolation};
    use crate::check::testing::{assert_accepted, assert_violation};

    /// Three commits under a promise.
    fn promised(retention: &str, text: &str) -> String {
        let mut history = format!("opened latest=0 oldest=0 {retention} -> none\n");
        for number in 1..=3 {
            history += &format!(
                "begin t{number} c0 write\nput t{number} \"k\" #{number}*8\nsubmit t{number} sync\ncommitted t{number} id={number}\n"
            );
        }
        history + text
    }

    const NEXT: usize = 13;

    #[test]
    fn what_was_promised_is_kept_at_every_opening() {
        let opened = |retention: &str, oldest: u64| {
            promised(retention, &format!("crash\nopened latest=3 oldest={oldest} {retention} -> \"k\"=#3*8"))
        };
        for (retention, newest) in
            [("retention=all", 0), ("retention=txns:2", 1), ("retention=txns:9", 0), ("retention=latest", 3)]
        {
            for oldest in 0..=newest {
                assert_accepted(&opened(retention, oldest));
            }
            if newest < 3 {
                let text = opened(retention, newest + 1);
                assert_violation(&text, CrashPrefix, "history-dropped-too-early", NEXT + 1);
            }
        }
        assert_accepted(&opened("", 3));
        let message = assert_violation(
            &opened("retention=txns:2", 2),
            CrashPrefix,
            "history-dropped-too-early",
            NEXT + 1,
        );
        assert_eq!(
            message,
            "the oldest retained commit is said to be 2, the latest is 3, but retention txns:2 keeps commit 1"
        );
        assert_violation(&opened("retention=latest", 4), CrashPrefix, "oldest-after-latest", NEXT + 1);
    }

    #[test]
    fn what_was_promised_is_kept_at_every_refusal() {
        let refused = |retention: &str, oldest: u64| {
            promised(retention, &format!("refused c1 read@9 snapshot-not-found oldest={oldest}"))
        };
        assert_accepted(&refused("retention=txns:2", 1));
        assert_accepted(&refused("retention=latest", 3));
        assert_accepted(&refused("", 3));
        let kind = "history-dropped-too-early";
        assert_violation(&refused("retention=txns:2", 2), SnapshotIsolation, kind, NEXT);
        assert_violation(&refused("retention=all", 1), SnapshotIsolation, kind, NEXT);
        assert_violation(&refused("retention=latest", 4), SnapshotIsolation, "oldest-after-latest", NEXT);
    }

    #[test]
    fn the_oldest_never_goes_back() {
        let first = "refused c1 read@0 snapshot-not-found oldest=2\n";
        let after = |text: &str| promised("retention=latest", &format!("{first}{text}"));
        assert_accepted(&after(first));
        assert_accepted(&after("refused c1 read@0 snapshot-not-found oldest=3"));
        let back = "refused c1 read@0 snapshot-not-found oldest=1";
        assert_violation(&after(back), SnapshotIsolation, "oldest-went-back", NEXT + 1);
        let opened = |oldest: u64| {
            after(&format!("crash\nopened latest=3 oldest={oldest} retention=latest -> \"k\"=#3*8"))
        };
        assert_accepted(&opened(2));
        let message = assert_violation(&opened(1), CrashPrefix, "oldest-went-back", NEXT + 2);
        assert_eq!(message, "commit 1 is said to be retained, but 2 was the oldest");
    }

    #[test]
    fn what_a_power_loss_took_the_oldest_is_without() {
        let after = |retention: &str, stated: u64, latest: u64, oldest: u64| {
            let lost = "begin t4 c0 write\nput t4 \"k\" #4*8\nsubmit t4 buffered\ncommitted t4 id=4\n";
            let state = format!("retention={retention} -> \"k\"=#{latest}*8");
            promised(
                &format!("retention={retention}"),
                &format!(
                    "{lost}refused c1 read@0 snapshot-not-found oldest={stated}\ncrash\n\
                     opened latest={latest} oldest={oldest} {state}"
                ),
            )
        };
        // Of four commits the latest is gone, and with it what was let go of for its sake.
        assert_accepted(&after("latest", 4, 3, 3));
        assert_accepted(&after("txns:2", 2, 3, 1));
        // No further than that, and not at all if nothing is gone.
        let went_back = |text: &str| assert_violation(text, CrashPrefix, "oldest-went-back", NEXT + 6);
        went_back(&after("latest", 4, 3, 2));
        went_back(&after("txns:2", 2, 3, 0));
        went_back(&after("latest", 4, 4, 3));
        went_back(&after("txns:2", 2, 4, 1));
        // From there on it goes on as ever.
        let again = format!("{}\nrefused c1 read@0 snapshot-not-found oldest=2", after("latest", 4, 3, 3));
        assert_violation(&again, SnapshotIsolation, "oldest-went-back", NEXT + 7);
        let again = format!("{}\nrefused c1 read@0 snapshot-not-found oldest=3", after("latest", 4, 3, 3));
        assert_accepted(&again);
    }

    #[test]
    fn a_lie_takes_the_oldest_back_to_where_it_was_told() {
        let stated = |oldest: u64| format!("refused c1 read@0 snapshot-not-found oldest={oldest}\n");
        let opened =
            |oldest: u64| format!("opened latest=3 oldest={oldest} retention=latest -> \"k\"=#3*8\n");
        let lied = [stated(1), "fault lie \"sync\"\n".to_owned(), stated(3)].concat();
        let good = |parts: &[&str]| assert_accepted(&promised("retention=latest", &parts.concat()));
        let bad = |parts: &[&str], checker| {
            let text = parts.concat();
            let last = NEXT + text.lines().count() - 1;
            assert_violation(&promised("retention=latest", &text), checker, "oldest-went-back", last);
        };
        for oldest in 1..=3 {
            good(&[&lied, "crash\n", &opened(oldest)]);
        }
        // No further, not without a power loss, not once it is made good, and nothing but a lie does it.
        bad(&[&lied, "crash\n", &opened(0)], CrashPrefix);
        bad(&[&lied, &stated(2)], SnapshotIsolation);
        bad(&[&lied, "closed\n", &opened(2)], CrashPrefix);
        bad(&[&lied, "crash process\n", &opened(2)], CrashPrefix);
        bad(&[&lied, "made-good\n", "crash\n", &opened(2)], CrashPrefix);
        bad(&[&stated(3), "fault damage groups=1 \"rot\"\n", "crash\n", &opened(2)], CrashPrefix);
        // It lasts through openings, and what it took may go on from there.
        good(&[&lied, "crash\n", &opened(3), "crash\n", &opened(1)]);
        bad(&[&lied, "crash\n", &opened(2), "made-good\n", "crash\n", &opened(1)], CrashPrefix);
        bad(&[&lied, "crash\n", &opened(2), &stated(1)], SnapshotIsolation);
    }

    #[test]
    fn what_was_gone_before_the_promise_stays_gone() {
        let start = "opened latest=7 oldest=3 retention=all -> none\n";
        assert_accepted(&format!("{start} refused c0 read@2 snapshot-not-found oldest=3"));
        let refused = format!("{start} refused c0 read@2 snapshot-not-found oldest=4");
        assert_violation(&refused, SnapshotIsolation, "history-dropped-too-early", 1);
        let changed = |oldest: u64| {
            let opened = format!("opened latest=3 oldest={oldest} retention=all -> \"k\"=#3*8");
            promised("retention=txns:1", &opened)
        };
        assert_accepted(&changed(2));
        assert_violation(&changed(3), CrashPrefix, "history-dropped-too-early", NEXT);
    }
}
