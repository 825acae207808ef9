//! The places of commits in doubt, where clients run at the same time.
//!
//! When a crash ends an incarnation, each client may have a commit under way of which it was told nothing, and nobody
//! knows in which order these happened, if they did. But what anybody read tells something of it, be it much later: a
//! transaction at a snapshot, the opening after the crash, the commit stream, a backup. All of these are *witnesses*:
//! they say what the state was right after some commit.
//!
//! So an order is looked for that every witness agrees with. The free TxnIds are given away from the first on, each to one
//! commit after the other, in the order in which these were asked for; as soon as all are placed up to a commit, its
//! witnesses are heard, and if one objects, the next choice is tried. A commit that was not asked for when a TxnId, or a
//! later one, was known to be taken, can't have it. When all are placed, whoever was declined for a conflict has to have
//! met one. Where nobody can tell two orders apart, either will do, so the first that is found is taken. What the next
//! opening holds says early which commits can have survived, and which must have: most choices end there.
//!
//! If there is none, or none is found within the bound, the commits stand where they stand without concurrency, and it is
//! for the checkers to say what is wrong with that. Marks are left out of this, and so are snapshots that are not revealed.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::{Placed, Replay};
use crate::check::savepoints::Savepoints;
use crate::check::scan::{Scan, Writes, value_in};
use crate::check::timeline::Incarnation;
use crate::{Commit, Denial, Event, Key, KeyRange, Mode, TxnId, Value};

/// How many times a commit is placed, in all, before the search is given up. More than it takes for every order of eight
/// commits in doubt.
const PLACINGS_MAX: usize = 120_000;

/// Finds the order of an incarnation's commits, of which those of `known` have TxnIds that can be relied on, unless
/// there is nothing to be found or nothing is found.
pub(super) fn order(
    replay: &Replay<'_, '_>,
    incarnation: &Incarnation,
    known: &[usize],
) -> Option<Vec<Placed>> {
    let transactions = &replay.timeline.transactions;
    let is_known: BTreeSet<usize> = known.iter().copied().collect();
    let doubtful: Vec<usize> =
        incarnation.submitted.iter().copied().filter(|index| !is_known.contains(index)).collect();
    if !incarnation.is_concurrent || doubtful.is_empty() {
        return None;
    }
    let id = |transaction: usize| transactions[transaction].revealed().map(|(_, id)| id);
    let mut known: Vec<Placed> =
        known.iter().filter_map(|&transaction| Some(Placed { id: id(transaction)?, transaction })).collect();
    known.sort_by_key(|placed| placed.id);
    let ids = (replay.start().0 + 1..).map(TxnId).take(incarnation.submitted.len());
    let is_free = |id: &TxnId| known.binary_search_by_key(id, |placed| placed.id).is_err();
    let free: Vec<TxnId> = ids.filter(is_free).collect();
    if free.len() != doubtful.len() {
        return None;
    }
    let (witnesses, taken) = (witnesses(replay, incarnation, free[0]), taken(replay, incarnation));
    let deadline = |free: &TxnId| taken.iter().filter(|(id, _)| id >= free).map(|(_, step)| *step).min();
    let deadlines = free.iter().map(|free| deadline(free).unwrap_or(usize::MAX)).collect();
    let mut search = Search {
        scratch: replay.clone(),
        incarnation,
        known,
        doubtful,
        free,
        deadlines,
        opening: witnesses.iter().find_map(|witness| match witness.account {
            Account::State(state) if witness.is_opening => Some((witness.at, state)),
            _ => None,
        }),
        witnesses,
        placings_left: PLACINGS_MAX,
    };
    search.place_known(TxnId::ZERO, search.free[0]);
    search.place(0).then(|| search.scratch.order.split_off(search.scratch.earlier))
}

/// Who says what the state was right after a commit.
struct Witness<'h> {
    at: TxnId,
    account: Account<'h>,
    is_opening: bool,
}

enum Account<'h> {
    /// What this transaction read.
    Reads(usize),
    /// Every pair.
    State(&'h [(Key, Value)]),
    /// What the commit changed.
    Commit(&'h Commit),
}

struct Search<'a, 't, 'h> {
    /// The model up to the last commit that is placed.
    scratch: Replay<'t, 'h>,
    incarnation: &'a Incarnation,
    /// In the order of their TxnIds.
    known: Vec<Placed>,
    /// Those that are not placed, in the order in which they were asked for.
    doubtful: Vec<usize>,
    /// The TxnIds that are to be given away.
    free: Vec<TxnId>,
    /// For each of these the step up to which its commit has been asked for.
    deadlines: Vec<usize>,
    witnesses: Vec<Witness<'h>>,
    /// The latest commit that was there at the next opening, and every pair, if any commit in doubt may have been.
    opening: Option<(TxnId, &'h [(Key, Value)])>,
    placings_left: usize,
}

impl Search<'_, '_, '_> {
    /// Gives away the free TxnIds from this one on; whether that was possible.
    fn place(&mut self, index: usize) -> bool {
        let Some(&id) = self.free.get(index) else { return self.explains_conflicts() };
        let until = self.free.get(index + 1).copied().unwrap_or(TxnId(u64::MAX));
        for choice in 0..self.doubtful.len() {
            let transaction = self.doubtful[choice];
            let asked = self.scratch.timeline.transactions[transaction].submit.map(|(step, _)| step);
            if asked >= Some(self.deadlines[index]) {
                continue;
            }
            if !self.may_stand_at(index, transaction) {
                continue;
            }
            let Some(left) = self.placings_left.checked_sub(1) else { return false };
            self.placings_left = left;
            self.doubtful.remove(choice);
            self.scratch.apply(Placed { id, transaction });
            self.place_known(id, until);
            if self.explains(id, until) && self.place(index + 1) {
                return true;
            }
            self.scratch.take_back(id);
            self.doubtful.insert(choice, transaction);
        }
        false
    }

    /// Whether the next opening may hold what it holds if a commit in doubt has this place.
    fn may_stand_at(&self, index: usize, transaction: usize) -> bool {
        let Some((latest, state)) = self.opening else { return true };
        let id = self.free[index];
        if id > latest {
            return !self.is_held(transaction, state);
        }
        let others = || self.doubtful.iter().filter(|other| **other != transaction);
        let must = others().filter(|other| self.is_held(**other, state)).count();
        let left = self.free[index + 1..].iter().filter(|id| **id <= latest).count();
        let later = self.known.iter().filter(|known| id < known.id && known.id <= latest);
        let later = || later.clone().map(|known| &known.transaction).chain(others());
        let transactions = &self.scratch.timeline.transactions;
        let is_overwritten = |key: &[u8]| {
            later().any(|other| {
                let other = &transactions[*other];
                other.restored.is_some() || other.writes.contains_key(key)
            })
        };
        let mut writes = transactions[transaction].writes.iter();
        must <= left && writes.all(|(key, value)| held(state, key) == *value || is_overwritten(key))
    }

    /// Whether a state holds a value of this transaction.
    fn is_held(&self, transaction: usize, state: &[(Key, Value)]) -> bool {
        let mut writes = self.scratch.timeline.transactions[transaction].writes.iter();
        writes.any(|(key, value)| value.is_some() && held(state, key) == *value)
    }

    /// Places the commits that are known, after one TxnId and before another.
    fn place_known(&mut self, after: TxnId, until: TxnId) {
        let first = self.known.partition_point(|placed| placed.id <= after);
        let between = self.known[first..].iter().take_while(|placed| placed.id < until);
        between.for_each(|placed| self.scratch.apply(*placed));
    }

    /// Whether every witness of the states from one commit on and before another agrees.
    fn explains(&self, from: TxnId, until: TxnId) -> bool {
        let model = &self.scratch.model;
        let mut heard = self.witnesses.iter().filter(|witness| from <= witness.at && witness.at < until);
        heard.all(|witness| match witness.account {
            Account::Reads(transaction) => self.explains_reads(transaction, witness.at),
            Account::State(state) => {
                model.range(&KeyRange::all(), witness.at).eq(state.iter().map(|(key, value)| (key, value)))
            }
            Account::Commit(found) => {
                model.commit_at(witness.at).is_none_or(|commit| commit.mutations == found.mutations)
            }
        })
    }

    fn explains_reads(&self, transaction: usize, at: TxnId) -> bool {
        let (model, timeline) = (&self.scratch.model, self.scratch.timeline);
        let (mut own, mut savepoints) = (Writes::new(), Savepoints::default());
        timeline.transactions[transaction].operations.iter().all(|step| {
            match &timeline.history.events[*step] {
                Event::Get { key, value, .. } => return value.as_deref() == value_in(model, &own, key, at),
                Event::Scan { range, limit, reverse, pairs, .. } => {
                    let scan = Scan { range, limit: *limit, reverse: *reverse };
                    let found = pairs.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
                    return scan.pairs(model, &own, at).eq(found);
                }
                Event::DeleteRange { range, keys, .. } => {
                    let scan = Scan { range, limit: usize::MAX, reverse: false };
                    let is_explained =
                        scan.pairs(model, &own, at).map(|(key, _)| key).eq(keys.iter().map(Vec::as_slice));
                    own.extend(keys.iter().map(|key| (key.as_slice(), None)));
                    return is_explained;
                }
                Event::Put { key, value, .. } => {
                    own.insert(key, Some(value));
                }
                Event::Delete { key, .. } => {
                    own.insert(key, None);
                }
                Event::Savepoint { savepoint, .. } => {
                    savepoints.take(*savepoint, &own);
                }
                Event::Rollback { savepoint, is_refused: false, .. } => {
                    if let Some(writes) = savepoints.roll_back(*savepoint) {
                        own = writes;
                    }
                }
                _ => {}
            }
            true
        })
    }

    /// Whether everybody who was declined for a conflict had met one by then.
    fn explains_conflicts(&self) -> bool {
        let timeline = self.scratch.timeline;
        let mut asked = 0;
        let mut asked_up_to = |placed: &Placed| {
            asked = asked.max(timeline.transactions[placed.transaction].submit.map_or(0, |(step, _)| step));
            (asked, placed.id)
        };
        let places: Vec<(usize, TxnId)> =
            self.scratch.order[self.scratch.earlier..].iter().map(&mut asked_up_to).collect();
        (self.incarnation.first..self.incarnation.end).all(|step| {
            let (Event::Denied { reason: Denial::Conflict { key }, .. }, Some(denied)) =
                (&timeline.history.events[step], timeline.transaction_of(step))
            else {
                return true;
            };
            let begin = &timeline.history.events[timeline.transactions[denied].begin];
            let Event::Begin { snapshot: Some(snapshot), .. } = begin else { return true };
            let visible = places.partition_point(|(asked, _)| *asked < step);
            let latest = visible.checked_sub(1).map_or(self.scratch.start(), |last| places[last].1);
            self.scratch.model.last_writer(key, latest).is_some_and(|by| by > *snapshot)
        })
    }
}

impl Replay<'_, '_> {
    /// Takes a commit back, and those after it.
    fn take_back(&mut self, id: TxnId) {
        self.model.truncate(TxnId(id.0 - 1));
        for placed in self.order.split_off(self.order.partition_point(|placed| placed.id < id)) {
            self.ids[placed.transaction] = None;
        }
    }
}

fn held<'h>(state: &'h [(Key, Value)], key: &[u8]) -> Option<&'h [u8]> {
    let index = state.binary_search_by(|(held, _)| held.as_slice().cmp(key)).ok()?;
    Some(&state[index].1)
}

/// Who tells of the commits from `first` on. What an opening doesn't have any more, nobody tells of after it.
fn witnesses<'h>(replay: &Replay<'_, 'h>, incarnation: &Incarnation, first: TxnId) -> Vec<Witness<'h>> {
    let timeline = replay.timeline;
    let history = timeline.history;
    let mut witnesses = Vec::new();
    let mut last = TxnId(u64::MAX);
    let later = timeline.incarnations.iter().filter(|later| later.first >= incarnation.first);
    for step in later.flat_map(|later| later.first..later.end) {
        let mut tell = |at: TxnId, account| {
            if (first..=last).contains(&at) {
                let is_opening = matches!(history.events[step], Event::Opened { .. });
                witnesses.push(Witness { at, account, is_opening });
            }
        };
        match &history.events[step] {
            Event::Begin { mode, snapshot, .. } => {
                let Some(transaction) = timeline.transaction_of(step) else { continue };
                let at = if let Mode::ReadAt(at) = mode { Some(*at) } else { *snapshot };
                if timeline.transactions[transaction].restored.is_none() {
                    at.into_iter().for_each(|at| tell(at, Account::Reads(transaction)));
                }
            }
            Event::Backup { at, state, .. } => tell(*at, Account::State(state)),
            Event::Changes { commits, .. } => {
                commits.iter().for_each(|commit| tell(commit.id, Account::Commit(commit)));
            }
            Event::Opened { latest, state, .. } if step > incarnation.first => {
                let Some(latest) = *latest else { return witnesses };
                tell(latest, Account::State(state));
                last = last.min(latest);
                if last < first {
                    return witnesses;
                }
            }
            _ => {}
        }
    }
    witnesses
}

/// Which TxnIds were known to be taken, and at which step.
fn taken(replay: &Replay<'_, '_>, incarnation: &Incarnation) -> Vec<(TxnId, usize)> {
    let timeline = replay.timeline;
    let mut taken = Vec::new();
    for step in incarnation.first..incarnation.end {
        let id = match &timeline.history.events[step] {
            Event::Begin { snapshot, .. } => *snapshot,
            Event::Ticket { id, .. } | Event::Committed { id, .. } => *id,
            Event::Changes { commits, .. } => commits.last().map(|commit| commit.id),
            Event::Backup { latest, .. } => Some(*latest),
            _ => None,
        };
        taken.extend(id.map(|id| (id, step)));
    }
    taken
}
