//! Durability: which commits have to be there when a store is opened again, and what faults take from that.
//!
//! Without faults it is the latest commit that was acknowledged as durable: by its own `sync`, by a later `sync` commit
//! of a writer, which may be empty, or by a `durable` that was asked for after it.
//!
//! **A lie moves that bound back** to where it was when the lie was told, for as long as it is not made good, through
//! crashes and openings. It moves it for a power loss only: without one nothing is missing, whatever any sync did, be
//! it that the process died. Commits
//! that were durable before the lie stay so.
//!
//! **Damage takes from the end of the log.** A store that detects damage can prove that a commit is missing only if
//! something it still reads says so. What is written with a commit vouches for all that was durable when that commit
//! was asked for, so the end of the log is a sequence of *groups*: commits that were asked for while the same commit was
//! the latest durable one. Nothing vouches for the last group, since it is what was written last: if one of its writes
//! is damaged, it can't be told from one that a power loss cut short, and goes missing from there on. For all others a
//! later group vouches, unless that is damaged as well. So `n` damaged writes take back `n` groups at the most, from
//! the end, or else the store has to report `Corruption`; an event says how many writes its fault can have damaged.
//! What had been found at an opening is out of reach: it is not at the end of any log. If there is no telling how much was
//! damaged, because a whole read or write went to another place, all groups since that opening may be gone, and nothing
//! more.
//!
//! Damage does that only to an opening, and counts until the store has been opened; a misread counts only for the
//! opening that met it, since the next one reads again. If it is healed before, because the
//! store couldn't be opened, nothing may be missing at all, unless an attempt to open it came so far that it may have
//! settled for less. If it ends later, of its own
//! accord as a wrong read does or by healing, what was missing may be back at an opening, as commits in doubt may, in the
//! place of all that was asked for since: the store has never known of it, and what it wrote over it may have been lost.
//! Once something that was asked for since has survived, or has to, nothing comes back in its place.

use std::collections::BTreeMap;

use super::excuses::{cuts_an_opening_short, is_beside_the_point};
use super::replay::Replay;
use super::rising::Rising;
use super::timeline::Incarnation;
use crate::{Durability, Event, FaultClass, Mode, TxnId};

/// What the end of an incarnation leaves of its promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The latest commit that the store acknowledged as durable.
    pub(super) acknowledged: TxnId,
    /// The latest commit that would have to be there at the next opening without faults.
    pub(super) promised: TxnId,
    /// The latest commit that has to be there at the next opening.
    pub(super) must: TxnId,
    /// Where a lie that has not been made good has moved the bound.
    pub(super) lie: Option<TxnId>,
    /// Whether damage may have taken something.
    pub(super) is_damaged: bool,
}

/// The bounds for the opening with which `incarnation` ended.
pub(super) fn bounds(replay: &Replay<'_, '_>, incarnation: &Incarnation) -> Bounds {
    let mut walk = Walk {
        replay,
        durable: replay.durable_at_start(),
        latest: Rising::new(replay.start()),
        begun_at: BTreeMap::new(),
        asked_at: BTreeMap::new(),
        vouched: BTreeMap::new(),
        lie: replay.lie_at_start(),
        is_opening: false,
        damaged: 0,
        misread: 0,
        settled: 0,
    };
    for step in incarnation.first..incarnation.end {
        walk.take(step, &replay.timeline.history.events[step]);
    }
    let promised = match incarnation.crash {
        Some(_) => walk.durable,
        None => replay.acknowledged_at_end(),
    };
    let lie = walk.lie.filter(|_| incarnation.lost_power);
    let must = lie.map_or(promised, |lie| lie.min(promised));
    Bounds {
        acknowledged: walk.durable,
        promised,
        must: walk.less_damage(must),
        lie: walk.lie,
        is_damaged: walk.groups() > 0,
    }
}

struct Walk<'a, 't, 'h> {
    replay: &'a Replay<'t, 'h>,
    /// The latest commit that was acknowledged as durable.
    durable: TxnId,
    /// The latest commit that was acknowledged at all.
    latest: Rising,
    /// What was the latest commit when an optimistic transaction was asked for, and when a durable commit was.
    begun_at: BTreeMap<usize, TxnId>,
    asked_at: BTreeMap<usize, TxnId>,
    /// For each commit of this incarnation, what was durable when it was asked for.
    vouched: BTreeMap<TxnId, TxnId>,
    /// What was durable when the first lie was told that has not been made good.
    lie: Option<TxnId>,
    /// Whether somebody is opening the store.
    is_opening: bool,
    /// How many groups damage that lasts can take from the next opening.
    damaged: u64,
    /// How many the misreads of the opening under way can.
    misread: u64,
    /// How many an attempt to open the store may already have done without.
    settled: u64,
}

impl Walk<'_, '_, '_> {
    fn take(&mut self, step: usize, event: &Event) {
        let timeline = self.replay.timeline;
        match (event, timeline.transaction_of(step)) {
            // Of what was acknowledged while it was under way, nobody knows.
            (Event::Durable, _) => self.durable = self.durable.max(self.latest.before(timeline.asked(step))),
            (Event::Begin { mode: Mode::Optimistic, .. }, Some(index)) => {
                self.begun_at.insert(index, self.latest.before(timeline.asked(step)));
            }
            (Event::Submit { durability, .. }, Some(index)) => self.submit(index, *durability),
            (Event::Committed { .. }, Some(index)) => self.committed(step, index),
            (Event::Fault { class: FaultClass::Lie, .. }, _) => {
                self.lie.get_or_insert(self.durable);
            }
            (Event::MadeGood, _) => self.lie = None,
            (Event::Fault { class: FaultClass::Damage, is_passing, groups, .. }, _) => {
                let groups = groups.unwrap_or(u64::MAX);
                match is_passing {
                    false => self.damaged = self.damaged.saturating_add(groups),
                    true if self.is_opening => self.misread = self.misread.saturating_add(groups),
                    // Whoever opens the store reads again.
                    true => {}
                }
            }
            (Event::Opening, _) => self.misread = 0,
            (Event::Healed, _) => self.damaged = 0,
            _ => {}
        }
        if self.is_opening && cuts_an_opening_short(event) {
            // It may have come far enough to make what it found all that there is.
            self.settled = self.groups();
            (self.damaged, self.misread) = (0, 0);
        }
        if !is_beside_the_point(event) {
            self.is_opening = matches!(event, Event::Opening);
        }
    }

    fn submit(&mut self, index: usize, durability: Durability) {
        if let Some(id) = self.replay.commit_of(index) {
            self.vouched.insert(id, self.durable);
        }
        if durability == Durability::Sync {
            self.asked_at.insert(index, self.begun_at.get(&index).copied().unwrap_or(self.latest.now()));
        }
    }

    fn committed(&mut self, step: usize, index: usize) {
        let id = self.replay.commit_of(index);
        if let Some(id) = id {
            self.latest.rise(step, id);
        }
        // An empty commit has no place of its own. It vouches for what was there when it was asked for, or, beside other
        // writers, when it began: its place is that of its snapshot.
        let is_writer = self.replay.timeline.transactions[index].mode.writes();
        if let Some(asked_at) = self.asked_at.get(&index).filter(|_| is_writer) {
            self.durable = self.durable.max(id.unwrap_or(*asked_at));
        }
    }

    /// How many groups damage may take.
    fn groups(&self) -> u64 {
        self.settled.saturating_add(self.damaged).saturating_add(self.misread)
    }

    fn less_damage(&self, mut must: TxnId) -> TxnId {
        if self.groups() == u64::MAX {
            return must.min(self.replay.durable_at_start());
        }
        for _ in 0..self.groups() {
            match self.vouched.get(&must) {
                Some(vouched) => must = *vouched,
                None => break,
            }
        }
        must
    }
}

#[cfg(test)]
mod tests {
    use crate::Checker::CrashPrefix;
    use crate::check::testing::{assert_accepted, assert_violation, history};

    const START: &str = "opened latest=0 -> none\n";
    const LIE: &str = "fault lie \"lying-sync\"\n";
    const ROT: &str = "fault damage groups=1 \"bit-rot\"\n";
    const MISREAD: &str = "fault damage passing groups=1 \"stale-read\"\n";
    const ASTRAY: &str = "fault damage \"misdirected-write\"\n";
    const CRASH: &str = "crash\n";
    const CORRUPT: &str = "corrupt \"open\" \"a record is damaged\"\n";

    /// A commit of one key of its own, up to the moment at which it is asked for.
    fn submit(id: u64, durability: &str) -> String {
        format!("begin t{id} c0 write\nput t{id} \"k{id}\" #{id}*8\nsubmit t{id} {durability}\n")
    }

    fn committed(id: u64) -> String {
        format!("committed t{id} id={id}\n")
    }

    fn commit(id: u64, durability: &str) -> String {
        submit(id, durability) + &committed(id)
    }

    fn commits(ids: std::ops::RangeInclusive<u64>) -> String {
        ids.map(|id| commit(id, "sync")).collect()
    }

    /// An opening at which `latest` is the last of the commits.
    fn opened(latest: u64) -> String {
        let pairs: String = (1..=latest).map(|id| format!(" \"k{id}\"=#{id}*8")).collect();
        format!("opened latest={latest} ->{}\n", if pairs.is_empty() { " none" } else { &pairs })
    }

    fn accept(parts: &[&str]) {
        assert_accepted(&[&[START], parts].concat().concat());
    }

    /// Asserts that the last event is the first that is wrong.
    fn refuse(parts: &[&str], kind: &str) {
        let text = [&[START], parts].concat().concat();
        let last = history(&text).events.len() - 1;
        assert_violation(&text, CrashPrefix, kind, last);
    }

    const LOST: &str = "lost-acknowledged-commit";

    #[test]
    fn a_lie_moves_the_bound_to_where_it_was_told() {
        let until_lie = [commits(1..=2), submit(3, "sync"), LIE.to_owned(), committed(3)].concat();
        let parts = |latest| [until_lie.clone(), commits(4..=5), CRASH.to_owned(), opened(latest)].concat();
        for latest in 2..=5 {
            accept(&[&parts(latest)]);
        }
        refuse(&[&parts(1)], LOST);
        let no_prefix = "opened latest=3 -> \"k1\"=#1*8 \"k3\"=#3*8";
        refuse(&[&until_lie, CRASH, no_prefix], "no-prefix-matches");
        refuse(&[&until_lie, &opened(2)], "lost-commit-without-crash");
        // A process that dies takes nothing with it that was written.
        refuse(&[&until_lie, "crash process\n", &opened(2)], LOST);
        accept(&[&until_lie, "crash process\n", &opened(3), CRASH, &opened(2)]);
        accept(&[&until_lie, "crash process\ncrash\n", &opened(2)]);
    }

    #[test]
    fn a_lie_that_is_made_good_moves_nothing() {
        let lied = [commits(1..=1), LIE.to_owned(), commits(2..=3)].concat();
        refuse(&[&lied, "made-good\n", CRASH, &opened(2)], LOST);
        accept(&[&lied, "made-good\n", CRASH, &opened(3)]);
        accept(&[&lied, "made-good\n", LIE, &commit(4, "sync"), CRASH, &opened(3)]);
        refuse(&[&lied, "made-good\n", LIE, &commit(4, "sync"), CRASH, &opened(2)], LOST);
    }

    #[test]
    fn a_lie_lasts_through_openings() {
        let lied = [commits(1..=1), LIE.to_owned(), commits(2..=3)].concat();
        let again = [&lied, CRASH, &opened(3), &commit(4, "sync"), CRASH].concat();
        accept(&[&again, &opened(1)]);
        refuse(&[&again, &opened(0)], "lost-recovered-commit");
        let made_good = [&lied, CRASH, &opened(2), "made-good\n", CRASH].concat();
        accept(&[&made_good, &opened(2)]);
        refuse(&[&made_good, &opened(1)], "lost-recovered-commit");
        let closed = [&lied, "closed\n", &opened(3), CRASH].concat();
        accept(&[&closed, &opened(1)]);
    }

    #[test]
    fn damage_takes_the_last_group() {
        let until = |fault: &str| [&commits(1..=3), fault, CRASH].concat();
        accept(&[&until(ROT), &opened(3)]);
        accept(&[&until(ROT), &opened(2)]);
        refuse(&[&until(ROT), &opened(1)], LOST);
        refuse(&[&until("fault environment \"\"\n"), &opened(2)], LOST);
        refuse(&[&until("fault damage groups=0 \"\"\n"), &opened(2)], LOST);
        accept(&[&until(ROT), ROT, &opened(1)]);
        refuse(&[&until(ROT), ROT, &opened(0)], LOST);
        accept(&[&until(ASTRAY), &opened(0)]);
        refuse(&[&until(ROT), "opened latest=2 -> \"k1\"=#1*8 \"k2\"=#3*8"], "no-prefix-matches");
        accept(&[&commits(1..=3), ROT, "closed\n", &opened(2)]);
        refuse(&[&commits(1..=3), ROT, "closed\n", &opened(1)], "lost-commit-without-crash");
    }

    #[test]
    fn a_group_is_what_was_asked_for_while_the_same_commit_was_durable() {
        let group =
            [commits(1..=1), commit(2, "buffered"), commit(3, "buffered"), commit(4, "sync")].concat();
        accept(&[&group, CRASH, ROT, &opened(1)]);
        refuse(&[&group, CRASH, ROT, &opened(0)], LOST);
        // What nobody promised vouches for nothing, since the crash may have taken it.
        accept(&[&group, &commit(5, "buffered"), CRASH, ROT, &opened(1)]);
        refuse(&[&group, &commit(5, "sync"), CRASH, ROT, &opened(3)], LOST);
        accept(&[&commits(1..=1), &commit(2, "buffered"), "durable\n", CRASH, ROT, &opened(1)]);
    }

    #[test]
    fn what_an_opening_found_is_out_of_reach() {
        let found = [&commits(1..=2), CRASH, &opened(2), &commit(3, "sync")].concat();
        accept(&[&found, CRASH, ROT, ROT, ROT, &opened(2)]);
        refuse(&[&found, CRASH, ROT, ROT, ROT, &opened(1)], "lost-recovered-commit");
        accept(&[&found, CRASH, ASTRAY, &opened(2)]);
        refuse(&[&found, CRASH, ASTRAY, &opened(1)], "lost-recovered-commit");
        refuse(&[&found, CRASH, ASTRAY, &opened(0)], "lost-recovered-commit");
        let before = [&commits(1..=2), ROT, CRASH, &opened(2), &commit(3, "sync")].concat();
        refuse(&[&before, CRASH, &opened(2)], LOST);
    }

    #[test]
    fn a_misread_takes_only_from_the_opening_that_met_it() {
        let until = [&commits(1..=3), MISREAD, "begin t9 c0 read\nget t9 \"k1\" -> #1*8\n"].concat();
        let met = [&commits(1..=3), "begin t9 c0 read\n", MISREAD, "get t9 \"k1\" -> #1*8\n", CRASH].concat();
        for latest in 0..=2 {
            refuse(&[&until, CRASH, "opening\n", &opened(latest)], LOST);
            refuse(&[&met, "opening\n", &opened(latest)], LOST);
        }
        accept(&[&met, "opening\n", &opened(3)]);
        accept(&[&met, "opening\n", MISREAD, &opened(2)]);
        refuse(&[&met, "opening\n", MISREAD, &opened(1)], LOST);
        // Whoever fails to open the store has changed nothing, unless it was cut short.
        refuse(&[&met, "opening\n", MISREAD, CORRUPT, "opening\n", &opened(2)], LOST);
        refuse(&[&met, "opening\n", MISREAD, CORRUPT, "opening\n", MISREAD, &opened(1)], LOST);
        accept(&[&met, "opening\n", MISREAD, CRASH, "opening\n", &opened(2)]);
        accept(&[&met, "opening\n", MISREAD, CRASH, "opening\n", MISREAD, &opened(1)]);
        refuse(&[&met, "opening\n", MISREAD, CRASH, "opening\n", MISREAD, &opened(0)], LOST);
        // Damage that lasts adds to it.
        accept(&[&met, ROT, "opening\n", MISREAD, &opened(1)]);
        refuse(&[&met, ROT, "opening\n", MISREAD, CORRUPT, "opening\n", &opened(1)], LOST);
    }

    #[test]
    fn what_is_healed_before_an_opening_takes_nothing() {
        let until = [&commits(1..=2), ASTRAY, CRASH].concat();
        accept(&[&until, CORRUPT, "healed\n", &opened(2)]);
        refuse(&[&until, CORRUPT, "healed\n", &opened(1)], LOST);
        // These attempts may have come far enough.
        for attempt in [
            "crash\n",
            "crash process\n",
            "corrupt \"scan after open\" \"\"\n",
            "fault environment failed=look \"\"\ngave-up \"open\" \"\"\n",
        ] {
            accept(&[&until, "opening\n", attempt, "healed\n", &opened(1)]);
            accept(&[&until, "opening\n", attempt, "opening\n", CORRUPT, "healed\n", &opened(1)]);
        }
        // Nobody has tried to open it, or only once the damage was healed.
        refuse(&[&until, CRASH, "healed\n", &opened(1)], LOST);
        refuse(&[&commits(1..=2), ROT, "closed\n", "crash\nhealed\n", &opened(1)], LOST);
        refuse(&[&until, "healed\nopening\ncrash\n", &opened(1)], LOST);
    }

    #[test]
    fn what_damage_took_may_be_back_if_nothing_was_written_since() {
        let taken = [&commits(1..=2), ROT, CRASH, &opened(1)].concat();
        accept(&[&taken, "healed\n", CRASH, &opened(2), CRASH, &opened(2)]);
        accept(&[&taken, "healed\n", CRASH, &opened(1)]);
        accept(&[&taken, CRASH, &opened(1), "closed\nhealed\n", &opened(2)]);
        accept(&[&taken, CRASH, &opened(2)]);
        accept(&[&taken, CRASH, &opened(1), CRASH, &opened(2)]);
        refuse(&[&taken, "healed\n", CRASH, &opened(2), CRASH, &opened(1)], "lost-recovered-commit");
        let next = "begin t9 c0 write\nput t9 \"k9\" #9*8\nsubmit t9 sync\n";
        refuse(&[&taken, next, "committed t9 id=2\n", "healed\n", CRASH, &opened(2)], "resurrected-value");
        // What has come in its place is durable, or has survived.
        let both =
            [&opened(1), " \"k9\"=#9*8\n"].concat().replace("\n ", " ").replace("latest=1", "latest=2");
        refuse(&[&taken, next, CRASH, &both, "healed\n", CRASH, &opened(2)], "resurrected-value");
        let [acknowledged, rot] = [[next, "committed t9 id=2\n"].concat(), ROT.to_owned()];
        accept(&[&taken, &acknowledged, &rot, CRASH, &opened(1), "healed\n", CRASH, &both]);
        refuse(&[&taken, &acknowledged, "closed\n", &opened(2)], "resurrected-value");
    }

    #[test]
    fn what_damage_took_may_be_back_if_what_was_written_over_it_was_lost() {
        let taken = [&commits(1..=2), ROT, CRASH, &opened(1)].concat();
        let next = "begin t9 c0 write\nput t9 \"k9\" #9*8\nsubmit t9 sync\n";
        accept(&[&taken, next, "healed\n", CRASH, &opened(2), CRASH, &opened(2)]);
        refuse(&[&taken, next, "healed\n", CRASH, &opened(2), CRASH, &opened(1)], "lost-recovered-commit");
        // It is still missing, and back only then.
        let buffered = next.replace("sync", "buffered") + "committed t9 id=2\n";
        for lost in [next, &buffered] {
            accept(&[&taken, lost, CRASH, &opened(1), "healed\n", CRASH, &opened(2)]);
        }
        // Nothing of it was lost without a crash.
        refuse(&[&taken, &buffered, "healed\nclosed\n", &opened(2)], "resurrected-value");
        // It comes in the place of what was written over it, and not beside it.
        let beside = "opened latest=3 -> \"k1\"=#1*8 \"k2\"=#2*8 \"k9\"=#9*8\n";
        refuse(&[&taken, next, "healed\n", CRASH, beside], "resurrected-value");
    }

    #[test]
    fn lies_and_damage_add_up() {
        let both =
            [commits(1..=2), LIE.to_owned(), commits(3..=4), CRASH.to_owned(), ROT.to_owned()].concat();
        accept(&[&both, &opened(1)]);
        refuse(&[&both, &opened(0)], LOST);
    }

    #[test]
    fn a_commit_that_gave_up_may_have_happened() {
        let fault = "fault environment failed=sync \"sync\"\n";
        let gave_up = [&commits(1..=1), &submit(2, "sync"), fault, "gave-up \"commit\" \"\"\n"].concat();
        for latest in 1..=2 {
            accept(&[&gave_up, CRASH, &opened(latest)]);
            accept(&[&gave_up, "closed\n", &opened(latest)]);
            // What was found stays, and what wasn't never comes back.
            accept(&[&gave_up, CRASH, &opened(latest), CRASH, &opened(latest)]);
        }
        refuse(&[&gave_up, CRASH, &opened(0)], LOST);
        refuse(&[&gave_up, CRASH, &opened(2), CRASH, &opened(1)], "lost-recovered-commit");
        refuse(&[&gave_up, CRASH, &opened(1), CRASH, &opened(2)], "resurrected-value");
        let half = "opened latest=2 -> \"k2\"=#2*8";
        refuse(&[&gave_up, CRASH, half], "no-prefix-matches");
        // A store that goes on has not carried it out, or has made it the commit before the next.
        let next = "begin t9 c0 write\nput t9 \"k9\" #9*8\nsubmit t9 sync\n";
        accept(&[&gave_up, next, "committed t9 id=2\n", CRASH, "opened latest=2 -> \"k1\"=#1*8 \"k9\"=#9*8"]);
        let with_both = "opened latest=3 -> \"k1\"=#1*8 \"k2\"=#2*8 \"k9\"=#9*8";
        accept(&[&gave_up, next, "committed t9 id=3\n", CRASH, with_both]);
        refuse(&[&gave_up, next, "committed t9 id=3\n", CRASH, &opened(2)], LOST);
    }
}
