//! The checkers: pure functions from histories to verdicts.
//!
//! [`check`] judges one history in one walk. The timeline first makes sure that the history is one that can be judged at
//! all. Then, incarnation by incarnation, *snapshot isolation* judges every read and commit against the model, and at
//! the next opening *crash prefix* decides which commits survived; the model goes on from exactly there, so that one
//! choice has to explain everything later. On the same walk *commit stream* and *backup* judge what the store says of its
//! commits, and what it copies. *Marks* looks at which earlier states it can be taken back to, *structure* and *availability* look at the store's own failures, and *liveness* at
//! runs that come to no end.
//! [`check_commutes`] and [`check_batches`] compare two histories that should come to the same.
//!
//! [`linearizable`] stands apart: it judges what concurrent clients of one ordered map were answered.
//!
//! Every verdict follows from the history alone. What a store does not reveal is never guessed: where several answers
//! would be right, all of them are accepted until a later event rules them out.

mod availability;
mod backup;
mod batch_equivalence;
mod commit_stream;
mod commutativity;
#[cfg(test)]
mod concurrent;
mod crash_prefix;
mod durable;
mod excuses;
pub mod linearizable;
mod liveness;
mod marks;
mod pair;
#[cfg(test)]
mod random;
mod replay;
mod retained;
mod rising;
mod savepoints;
mod scan;
mod snapshot_isolation;
mod structure;
#[cfg(test)]
mod testing;
mod timeline;

use std::fmt;
use std::str::FromStr;

pub use batch_equivalence::check_batches;
pub use commutativity::check_commutes;
pub use excuses::Excuses;

use crate::History;
use replay::Replay;
use timeline::Timeline;

/// Which judgement was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checker {
    /// The history itself: a violation here is a defect of whoever wrote it down, not of the store.
    Timeline,
    /// What a store holds after it was opened again.
    CrashPrefix,
    /// What transactions read, and which of them may commit.
    SnapshotIsolation,
    /// Independent transactions in another order.
    Commutativity,
    /// The same mutations in other transactions.
    BatchEquivalence,
    /// The store's own integrity check.
    Structure,
    /// Operations that failed without reason.
    Availability,
    /// What the store says that its commits were.
    CommitStream,
    /// What a copy of the store holds.
    Backup,
    /// Which states of the past the store can be taken back to.
    Marks,
    /// Runs that come to no end.
    Liveness,
}

/// What is wrong with a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Who says so.
    pub checker: Checker,
    /// What kind of violation it is: a stable word, by which two violations are known to be the same defect.
    pub kind: &'static str,
    /// The index of the first offending event.
    pub step: usize,
    /// What was expected and what was found, for a person to read.
    pub message: String,
}

/// A name that is no checker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownChecker(pub String);

/// What a history without a violation shows besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed {
    /// Commits that had to be there when the store was opened again, but for the faults that took them. One that was back
    /// meanwhile and went missing again counts twice.
    pub lost_commits: u64,
}

/// Runs every checker that judges one history, and returns the violation that comes first in it.
///
/// A history that contradicts itself is reported as the [`Checker::Timeline`] violation `malformed-history`, before
/// anything else: nothing that it says about the store can be trusted.
pub fn check(history: &History) -> Result<(), Violation> {
    judge(history).map(drop)
}

/// As [`check`], and says what the faults of the history were an excuse for.
///
/// # Errors
/// The violation that comes first.
pub fn judge(history: &History) -> Result<Allowed, Violation> {
    let timeline = Timeline::new(history)?;
    let against_model = check_against_model(&timeline);
    let allowed = *against_model.as_ref().unwrap_or(&Allowed::default());
    let verdicts = [
        structure::check(history),
        availability::check(history),
        marks::check(history),
        liveness::check(history),
        against_model.map(drop),
    ];
    let first = verdicts.into_iter().filter_map(Result::err).min_by_key(|violation| violation.step);
    first.map_or(Ok(allowed), Err)
}

fn check_against_model(timeline: &Timeline<'_>) -> Result<Allowed, Violation> {
    let mut replay = Replay::new(timeline)?;
    let mut allowed = Allowed::default();
    for (index, incarnation) in timeline.incarnations.iter().enumerate() {
        let misordered = replay.enter(incarnation);
        replay.retained = snapshot_isolation::check(&replay, incarnation)?;
        if let Some(violation) = misordered {
            return Err(violation);
        }
        if let Some(next) = timeline.incarnations.get(index + 1) {
            let bounds = durable::bounds(&replay, incarnation);
            let judge =
                |replay: &Replay<'_, '_>| crash_prefix::check(replay, incarnation, bounds, next.first);
            let (survived, retained) = match (judge(&replay), replay.taken_back(bounds)) {
                (Err(violation), Some(other)) => {
                    let found = judge(&other).map_err(|_| violation)?;
                    replay = other;
                    found
                }
                (verdict, _) => verdict?,
            };
            allowed.lost_commits += replay.count_between(survived, bounds.promised);
            replay.leave(incarnation, bounds, survived, retained);
        }
    }
    Ok(allowed)
}

impl Checker {
    /// Every checker.
    pub const ALL: [Checker; 11] = [
        Checker::Timeline,
        Checker::CrashPrefix,
        Checker::SnapshotIsolation,
        Checker::Commutativity,
        Checker::BatchEquivalence,
        Checker::Structure,
        Checker::Availability,
        Checker::CommitStream,
        Checker::Backup,
        Checker::Marks,
        Checker::Liveness,
    ];

    /// Its name: what [`fmt::Display`] prints.
    pub fn name(self) -> &'static str {
        match self {
            Checker::Timeline => "timeline",
            Checker::CrashPrefix => "crash-prefix",
            Checker::SnapshotIsolation => "snapshot-isolation",
            Checker::Commutativity => "commutativity",
            Checker::BatchEquivalence => "batch-equivalence",
            Checker::Structure => "structure",
            Checker::Availability => "availability",
            Checker::CommitStream => "commit-stream",
            Checker::Backup => "backup",
            Checker::Marks => "marks",
            Checker::Liveness => "liveness",
        }
    }
}

impl fmt::Display for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Checker {
    type Err = UnknownChecker;

    fn from_str(text: &str) -> Result<Checker, UnknownChecker> {
        let found = Checker::ALL.into_iter().find(|checker| checker.name() == text);
        found.ok_or_else(|| UnknownChecker(text.to_owned()))
    }
}

impl fmt::Display for UnknownChecker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Checker::ALL.map(Checker::name).join(", ");
        write!(f, "no checker is called `{}`; there are {names}", self.0)
    }
}

impl std::error::Error for UnknownChecker {}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} at step {}: {}", self.checker, self.kind, self.step, self.message)
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use super::testing::{assert_accepted, assert_violation, history};
    use super::*;

    #[test]
    fn names_round_trip() {
        for checker in Checker::ALL {
            assert_eq!(checker.to_string().parse(), Ok(checker));
        }
        let unknown = "crash".parse::<Checker>().unwrap_err().to_string();
        assert!(unknown.contains("`crash`") && unknown.contains("crash-prefix"), "{unknown}");
    }

    #[test]
    fn a_violation_prints_on_one_line() {
        let violation = check(&history("failed \"get\" \"two\\x0alines\"")).unwrap_err();
        assert_eq!(
            violation.to_string(),
            r#"availability: failed-get at step 0: `get` failed: "two\nlines""#
        );
    }

    #[test]
    fn the_first_violation_is_reported_whoever_finds_it() {
        let read = "begin t1 c0 read\n get t1 \"k\" -> #1*8\n";
        let verify = "failed \"verify\" \"x\"\n";
        let lost = "begin t2 c0 write\n put t2 \"k\" #2*8\n submit t2 sync\n committed t2\n crash\n opened -> none\n";
        assert_violation(&[read, verify, lost].concat(), Checker::SnapshotIsolation, "invented-value", 1);
        assert_violation(&[verify, read, lost].concat(), Checker::Structure, "verify-failed", 0);
        assert_violation(&[lost, read].concat(), Checker::CrashPrefix, "lost-acknowledged-commit", 5);
        assert_violation(&[lost, verify].concat(), Checker::CrashPrefix, "lost-acknowledged-commit", 5);
    }

    #[test]
    fn what_faults_have_taken_is_counted() {
        let commit = |id: u64| {
            format!(
                "begin t{id} c0 write\n put t{id} \"k{id}\" #{id}*8\n submit t{id} sync\n committed t{id} id={id}\n"
            )
        };
        let commits = [commit(1), commit(2), commit(3)].concat();
        let lost = |text: &str| judge(&history(text)).unwrap().lost_commits;
        let opened = "opened latest=2 -> \"k1\"=#1*8 \"k2\"=#2*8\n";
        let whole = "opened latest=3 -> \"k1\"=#1*8 \"k2\"=#2*8 \"k3\"=#3*8\n";
        let rot = "fault damage groups=1 \"bit-rot\"\n";
        assert_eq!(lost(&[&commits, rot, "crash\n", opened].concat()), 1);
        assert_eq!(lost(&[&commits, rot, "closed\n", opened].concat()), 1);
        assert_eq!(lost(&[&commits, rot, "crash\n", whole].concat()), 0);
        let lied = ["opened latest=0 -> none\n", "fault lie \"\"\n", &commits, "crash\n"].concat();
        assert_eq!(lost(&[&lied, "opened latest=0 -> none\n"].concat()), 3);
        assert_eq!(lost(&[&lied, opened].concat()), 1);
        // Nobody promised these.
        let buffered = commits.replace("t3 sync", "t3 buffered");
        assert_eq!(lost(&[&buffered, "crash\n", opened].concat()), 0);
        assert_eq!(lost(&[&buffered, rot, "closed\n", opened].concat()), 1);
    }

    #[test]
    fn one_prefix_explains_everything_after_it() {
        let until_recovery = r#"
            begin t1 c0 write
            put t1 "a" #1*8
            submit t1 sync
            committed t1 id=1
            begin t2 c0 write
            put t2 "a" #2*8
            submit t2 buffered
            committed t2 id=2
            crash
            opened latest=1 -> "a"=#1*8
            begin t3 c0 write snapshot=1
        "#;
        let after = |read: &str| format!("{until_recovery} get t3 \"a\" -> {read}");
        assert_accepted(&after("#1*8"));
        let message = assert_violation(&after("#2*8"), Checker::SnapshotIsolation, "dirty-read", 11);
        assert!(message.contains("which t2 wrote, whose commit was lost"), "{message}");
    }
}
