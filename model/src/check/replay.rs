//! The model, taken through a history one incarnation at a time.
//!
//! On entering an incarnation, all of its commits are placed in the one order of commits and applied to the model at
//! once, those in doubt included: a read is judged at its snapshot, so later commits do not disturb it. On leaving, the
//! model is cut back to what survived.
//!
//! The order of commits is that of the revealed TxnIds. A commit in doubt takes the first free TxnId between two that
//! are known, if it was asked for before the later one was acknowledged, and else one after all of them: it is never
//! given a place that a known commit contradicts. A store that reveals no TxnIds is taken to number its commits without
//! gaps in the order in which they were asked for, those in doubt included; so the recorder of such a store has to
//! write `aborted` for a commit that failed if the store goes on to commit others. Where clients run at the same time,
//! commits in doubt come in any order that explains what was read of them, then or later; see `in_doubt`.
//!
//! Revealed TxnIds leave no gaps either: what lies between a commit and the one before it has to be a commit in doubt,
//! asked for in time (`id-gap`).
//!
//! It also explains what was found: from which commit, or from whom else, a value comes.

mod in_doubt;

use std::collections::{BTreeMap, BTreeSet};

use super::durable::Bounds;
use super::retained::{Retained, Statement};
use super::timeline::{Incarnation, Outcome, Timeline, Transaction};
use super::{Checker, Violation, crash_prefix};
use crate::text::{BytesText, ValueText};
use crate::{Event, MarkLabel, Mutation, Mvcc, TxnId};

/// The model at one incarnation of the store.
#[derive(Debug, Clone)]
pub(super) struct Replay<'t, 'h> {
    pub(super) timeline: &'t Timeline<'h>,
    pub(super) model: Mvcc,
    /// Who made the commits of the model, in their order.
    order: Vec<Placed>,
    /// The commit of each transaction, if it counts.
    ids: Vec<Option<TxnId>>,
    /// How many of them were made before this incarnation.
    earlier: usize,
    /// How many of them were made by its end: what follows may be back from before.
    own: usize,
    /// The commit whose state each mark stands for.
    marks: BTreeMap<MarkLabel, TxnId>,
    /// Every commit up to here has to survive any crash from now on that no fault excuses.
    durable: TxnId,
    /// What has to survive all the same, if a lie was told about the rest.
    lie: Option<TxnId>,
    /// What damage took at an opening: it may be back, as long as nothing that was asked for since has survived.
    taken: Vec<Placed>,
    /// What the store has said of its past.
    pub(super) retained: Retained,
    /// The step from which on the order of commits is not known, because it contradicts itself there.
    pub(super) horizon: usize,
}

/// A transaction's place in the order of commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) id: TxnId,
    pub(super) transaction: usize,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provenance<'h> {
    /// No transaction of the history wrote it, and it was not there at the start.
    Nobody,
    /// The state at the start of the history gave it to this key.
    Start { key: &'h [u8] },
    /// A commit that counts gave it to this key.
    Commit { id: TxnId, key: &'h [u8] },
    /// A transaction wrote it that did not commit, or not this value, or whose commit was lost.
    Uncommitted { transaction: usize },
}

impl<'t, 'h> Replay<'t, 'h> {
    /// The start of a history: empty, or what its very first event says.
    pub(super) fn new(timeline: &'t Timeline<'h>) -> Result<Replay<'t, 'h>, Violation> {
        let first = timeline.history.events.first();
        let mut retained = Retained::new(first);
        let model = match first {
            Some(Event::Opened { latest, oldest, state, .. }) => {
                crash_prefix::check_form(0, state)?;
                let latest = latest.unwrap_or_default();
                let (checker, step, oldest, since) = (Checker::CrashPrefix, 0, *oldest, retained.oldest());
                retained.stated(Statement { checker, step, oldest, latest, since })?;
                Mvcc::starting_at(latest, state.iter().cloned())
            }
            _ => Mvcc::new(),
        };
        let durable = model.latest();
        let ids = vec![None; timeline.transactions.len()];
        Ok(Replay {
            timeline,
            model,
            order: Vec::new(),
            ids,
            earlier: 0,
            own: 0,
            marks: BTreeMap::new(),
            durable,
            lie: None,
            taken: Vec::new(),
            retained,
            horizon: usize::MAX,
        })
    }

    /// Applies the commits of an incarnation. Reports the first commit whose TxnId contradicts the order of the others,
    /// in which case it and the ones after it count as in doubt, or leaves a gap.
    pub(super) fn enter(&mut self, incarnation: &Incarnation) -> Option<Violation> {
        self.earlier = self.order.len();
        let mut revealed: Vec<usize> = incarnation.submitted.clone();
        revealed.retain(|index| self.timeline.transactions[*index].revealed().is_some());
        revealed.sort_by_key(|index| self.timeline.transactions[*index].revealed());
        let (consistent, violation) = self.longest_consistent(&revealed);
        revealed.truncate(consistent);
        let found = if violation.is_none() { in_doubt::order(self, incarnation, &revealed) } else { None };
        let order = found.unwrap_or_else(|| self.place(incarnation, &revealed));
        let violation = violation.into_iter().chain(self.gap(&order)).min_by_key(|violation| violation.step);
        self.horizon = violation.as_ref().map_or(usize::MAX, |violation| violation.step);

        self.note_marks(incarnation, &order);
        for placed in order {
            self.apply(placed);
        }
        self.own = self.order.len();
        if incarnation.submitted.is_empty() {
            for placed in self.taken.clone() {
                self.apply(placed);
            }
        }
        violation
    }

    fn apply(&mut self, placed: Placed) {
        self.model.apply(placed.id, self.mutations(placed.transaction));
        self.ids[placed.transaction] = Some(placed.id);
        self.order.push(placed);
    }

    /// Takes in which state each mark of an incarnation stands for: that before the transaction which set it. A store that
    /// does not say which one that is has made every commit by then that was asked for and not aborted.
    fn note_marks(&mut self, incarnation: &Incarnation, order: &[Placed]) {
        let timeline = self.timeline;
        let asked = |placed: &Placed| timeline.transactions[placed.transaction].submit.map(|(step, _)| step);
        for (mark, transaction) in &timeline.marks {
            let begin = timeline.transactions[*transaction].begin;
            if !(incarnation.first..incarnation.end).contains(&begin) {
                continue;
            }
            let shown = match timeline.history.events[begin] {
                Event::Begin { snapshot, .. } => snapshot,
                _ => None,
            };
            let before = order.iter().rev().find(|placed| asked(placed) < Some(begin));
            let latest = before.map_or(self.start(), |placed| placed.id);
            self.marks.insert(*mark, shown.unwrap_or(latest));
        }
    }

    /// What a transaction changes, once everything before it is applied: each key once, in key order.
    fn mutations(&self, transaction: usize) -> Vec<Mutation> {
        let own = self.timeline.mutations(transaction);
        let Some(mark) = self.timeline.transactions[transaction].restored else { return own };
        let undone = self.model.going_back(self.marked(mark));
        let pairs = undone.into_iter().chain(own).map(|mutation| (mutation.key, mutation.value));
        let merged: BTreeMap<_, _> = pairs.collect();
        merged.into_iter().map(|(key, value)| Mutation { key, value }).collect()
    }

    /// The commit whose state a mark stands for.
    pub(super) fn marked(&self, mark: MarkLabel) -> TxnId {
        self.marks[&mark]
    }

    /// Cuts the model back to the commits that the store still had when it was opened again, and said it retained.
    pub(super) fn leave(
        &mut self,
        incarnation: &Incarnation,
        bounds: Bounds,
        survived: TxnId,
        retained: Retained,
    ) {
        self.retained = retained;
        self.durable = match incarnation.crash {
            Some(_) => survived,
            None => bounds.acknowledged.min(survived),
        };
        self.lie = bounds.lie.map(|lie| lie.min(survived));
        self.model.truncate(survived);
        let lost = self.order.split_off(self.order.partition_point(|placed| placed.id <= survived));
        for lost in &lost {
            self.ids[lost.transaction] = None;
        }
        let was_tried = incarnation.submitted.is_empty();
        let has_survivors = self.order.len() > self.earlier;
        if bounds.is_damaged && !lost.is_empty() || was_tried && !self.taken.is_empty() {
            self.taken = lost;
        } else if has_survivors {
            self.taken.clear();
        }
    }

    /// The same with what damage took before this incarnation in the place of the commits that were asked for in it, if
    /// there is such a thing, and if none of these has to have survived: what was written over it may be lost.
    pub(super) fn taken_back(&self, bounds: Bounds) -> Option<Replay<'t, 'h>> {
        if self.taken.is_empty() || self.own == self.earlier || bounds.must > self.start() {
            return None;
        }
        let mut other = self.clone();
        other.model.truncate(self.start());
        for placed in other.order.split_off(self.earlier) {
            other.ids[placed.transaction] = None;
        }
        other.own = other.earlier;
        for placed in self.taken.clone() {
            other.apply(placed);
        }
        Some(other)
    }

    /// How many commits come after one and not after the other.
    pub(super) fn count_between(&self, after: TxnId, until: TxnId) -> u64 {
        self.order.iter().filter(|placed| after < placed.id && placed.id <= until).count() as u64
    }

    /// The commits of this incarnation, in order.
    pub(super) fn placed(&self) -> &[Placed] {
        &self.order[self.earlier..self.own]
    }

    /// The latest commit before this incarnation.
    pub(super) fn start(&self) -> TxnId {
        self.earlier.checked_sub(1).map_or(self.model.base(), |index| self.order[index].id)
    }

    /// What the store had acknowledged as durable before this incarnation, or was found when it was opened after a crash.
    pub(super) fn durable_at_start(&self) -> TxnId {
        self.durable
    }

    /// Where a lie that was not made good before this incarnation has moved that bound.
    pub(super) fn lie_at_start(&self) -> Option<TxnId> {
        self.lie
    }

    /// The latest commit that was acknowledged in this incarnation, or the latest before it.
    pub(super) fn acknowledged_at_end(&self) -> TxnId {
        let acknowledged =
            |placed: &&Placed| self.timeline.transactions[placed.transaction].committed_at().is_some();
        self.placed().iter().rev().find(acknowledged).map_or(self.start(), |placed| placed.id)
    }

    /// The TxnId of a transaction, if its commit counts.
    pub(super) fn commit_of(&self, transaction: usize) -> Option<TxnId> {
        self.ids[transaction]
    }

    /// The transaction that made a commit.
    pub(super) fn committer(&self, id: TxnId) -> Option<&'t Transaction<'h>> {
        let index = self.order.binary_search_by_key(&id, |placed| placed.id).ok()?;
        Some(&self.timeline.transactions[self.order[index].transaction])
    }

    /// How many of `revealed`, which come in the order in which their TxnIds were, have TxnIds that agree: each is
    /// unique, and greater than those that were revealed before its transaction asked for its commit.
    fn longest_consistent(&self, revealed: &[usize]) -> (usize, Option<Violation>) {
        let mut used = BTreeSet::new();
        let mut highest_until: Vec<(usize, TxnId)> = Vec::with_capacity(revealed.len());
        for (count, &index) in revealed.iter().enumerate() {
            let transaction = &self.timeline.transactions[index];
            let (Some((step, id)), Some((asked, _))) = (transaction.revealed(), transaction.submit) else {
                continue;
            };
            let before = highest_until.partition_point(|(step, _)| *step < asked);
            let floor = before.checked_sub(1).map_or(self.start(), |last| highest_until[last].1);
            if id <= floor || !used.insert(id) {
                let label = transaction.label;
                let message =
                    format!("{label} was committed as {id}, but commit {} was there before", id.max(floor));
                let kind = "commit-out-of-order";
                return (count, Some(Violation { checker: Checker::SnapshotIsolation, kind, step, message }));
            }
            let highest = highest_until.last().map_or(id, |(_, highest)| id.max(*highest));
            highest_until.push((step, highest));
        }
        (revealed.len(), None)
    }

    /// The first commit with a revealed TxnId before which there is a TxnId that no commit can have.
    fn gap(&self, order: &[Placed]) -> Option<Violation> {
        let before = std::iter::once(self.start()).chain(order.iter().map(|placed| placed.id));
        let gaps = before.zip(order).filter(|(before, placed)| placed.id != before.next());
        let violations = gaps.filter_map(|(before, placed)| {
            let transaction = &self.timeline.transactions[placed.transaction];
            let (label, id) = (transaction.label, placed.id);
            let message = format!("{label} was committed as {id}, but the commit before it is {before}");
            let (step, _) = transaction.revealed()?;
            Some(Violation { checker: Checker::SnapshotIsolation, kind: "id-gap", step, message })
        });
        violations.min_by_key(|violation| violation.step)
    }

    /// Places the commits of an incarnation, of which those of `known` have TxnIds that can be relied on.
    fn place(&self, incarnation: &Incarnation, known: &[usize]) -> Vec<Placed> {
        let transactions = &self.timeline.transactions;
        let mut by_id: Vec<Placed> = Vec::with_capacity(known.len());
        by_id.extend(known.iter().filter_map(|&transaction| {
            let (_, id) = transactions[transaction].revealed()?;
            Some(Placed { id, transaction })
        }));
        by_id.sort_by_key(|placed| placed.id);
        // What was asked for after a TxnId was revealed has a greater one.
        let revealed_at = |placed: &Placed| transactions[placed.transaction].revealed().map(|(step, _)| step);
        let mut deadlines: Vec<Option<usize>> = by_id.iter().map(revealed_at).collect();
        for index in (1..deadlines.len()).rev() {
            deadlines[index - 1] = deadlines[index - 1].min(deadlines[index]);
        }

        let known: BTreeSet<usize> = known.iter().copied().collect();
        let mut others =
            incarnation.submitted.iter().copied().filter(|index| !known.contains(index)).peekable();
        let mut order = Vec::with_capacity(incarnation.submitted.len());
        let mut next = self.start().next();
        for (placed, deadline) in by_id.into_iter().zip(deadlines) {
            let asked_before = |other: &usize| transactions[*other].submit.map(|(step, _)| step) < deadline;
            while next < placed.id
                && let Some(transaction) = others.next_if(asked_before)
            {
                order.push(Placed { id: next, transaction });
                next = next.next();
            }
            order.push(placed);
            next = placed.id.next();
        }
        for transaction in others {
            order.push(Placed { id: next, transaction });
            next = next.next();
        }
        order
    }
}

/// Explanations: these look through the whole history and are for failures only.
impl<'h> Replay<'_, 'h> {
    /// Where a value comes from.
    pub(super) fn provenance(&self, value: &[u8]) -> Provenance<'h> {
        let events = &self.timeline.history.events;
        for (step, event) in events.iter().enumerate() {
            match event {
                Event::Opened { state, .. } if step == 0 => {
                    if let Some((key, _)) = state.iter().find(|(_, held)| held == value) {
                        return Provenance::Start { key };
                    }
                }
                Event::Put { key, value: written, .. } if written == value => {
                    let transaction =
                        self.timeline.transaction_of(step).expect("a put belongs to a transaction");
                    let left = self.timeline.transactions[transaction].writes.get(key.as_slice());
                    return match self.commit_of(transaction) {
                        Some(id) if left == Some(&Some(value)) => Provenance::Commit { id, key },
                        _ => Provenance::Uncommitted { transaction },
                    };
                }
                _ => {}
            }
        }
        Provenance::Nobody
    }

    /// What was found at `key`, and where it comes from.
    pub(super) fn found(&self, key: &[u8], value: Option<&[u8]>) -> String {
        let Some(value) = value else { return "none".to_owned() };
        let origin = match self.provenance(value) {
            Provenance::Nobody => "which nobody wrote".to_owned(),
            Provenance::Start { key: home } if home == key => {
                "the value at the start of the history".to_owned()
            }
            Provenance::Start { key: home } => format!("the value of {} at the start", BytesText(home)),
            Provenance::Commit { id, key: home } => {
                let commit = self.commit_name(id);
                if home == key {
                    format!("the value of {commit}")
                } else {
                    format!("the value that {commit} gave to {}", BytesText(home))
                }
            }
            Provenance::Uncommitted { transaction } => self.fate(transaction),
        };
        format!("{}, {origin}", ValueText(value))
    }

    /// What the model holds at `key`, and since which commit.
    pub(super) fn expected(&self, key: &[u8], at: TxnId) -> String {
        match (self.model.get(key, at), self.model.last_writer(key, at)) {
            (Some(value), _) => self.found(key, Some(value)),
            (None, Some(id)) => format!("none, since {} removed it", self.commit_name(id)),
            (None, None) => "none".to_owned(),
        }
    }

    /// A commit and the transaction that made it.
    pub(super) fn commit_name(&self, id: TxnId) -> String {
        match self.committer(id) {
            Some(transaction) => format!("commit {id} ({})", transaction.label),
            None => format!("commit {id}"),
        }
    }

    /// Why a value of this transaction is not one that counts.
    fn fate(&self, transaction: usize) -> String {
        let label = self.timeline.transactions[transaction].label;
        if self.commit_of(transaction).is_some() {
            return format!("which {label} itself replaced before it committed");
        }
        match (
            self.timeline.transactions[transaction].outcome,
            self.timeline.transactions[transaction].submit,
        ) {
            (Outcome::Aborted, _) => format!("which {label} wrote before it was aborted"),
            (Outcome::Unknown, None) => format!("which {label} wrote and never committed"),
            (Outcome::Unknown | Outcome::Committed { .. }, _) => {
                format!("which {label} wrote, whose commit was lost")
            }
        }
    }
}
