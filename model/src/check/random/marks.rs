//! Marks of the random store: setting, forgetting, and going back to them.

use super::{Defect, State, Store, apply};
use crate::{Event, Key, MarkLabel, Mode, TxnLabel};

/// A state that was marked.
pub(super) struct Mark {
    label: MarkLabel,
    place: usize,
    is_persistent: bool,
    /// Who set it, and at which place that was committed.
    setter: (TxnLabel, Option<usize>),
    /// Who ended it or tries to, and at which place that was committed.
    enders: Vec<(TxnLabel, Option<usize>)>,
}

impl Mark {
    fn is_there(&self, txn: TxnLabel) -> bool {
        self.enders.iter().all(|(ender, place)| *ender != txn && place.is_none())
    }
}

/// What a transaction went back to.
pub(super) struct Restored {
    pub(super) place: usize,
    pub(super) state: State,
}

impl Store {
    /// Sets a mark, forgets one, or goes back to one.
    pub(super) fn mark(&mut self) {
        let Some(chosen) = self.open.iter().position(|open| open.mode == Mode::Write) else { return };
        let (open, latest) = (&self.open[chosen], self.latest());
        let can_mark = open.is_fresh && open.snapshot == latest && self.acknowledged == latest;
        match self.below(8) {
            _ if can_mark && self.marks.len() < 6 => self.set_mark(chosen),
            _ if self.marks.is_empty() => {}
            0 => self.forget(chosen),
            _ => self.restore(chosen),
        }
    }

    fn set_mark(&mut self, chosen: usize) {
        let is_persistent = self.below(2) == 0;
        let mark = MarkLabel(self.marks_set);
        self.marks_set += 1;
        let open = &mut self.open[chosen];
        open.has_persistent_marks |= is_persistent;
        let (txn, place) = (open.label, open.snapshot);
        self.marks.push(Mark { label: mark, place, is_persistent, setter: (txn, None), enders: Vec::new() });
        self.events.push(Event::Mark { txn, mark, is_persistent });
    }

    fn forget(&mut self, chosen: usize) {
        let at = self.below(self.marks.len());
        let (mark, open) = (&mut self.marks[at], &mut self.open[chosen]);
        let (txn, label, is_refused) = (open.label, mark.label, !mark.is_there(open.label));
        open.has_persistent_marks |= mark.is_persistent;
        self.events.push(Event::Forget { txn, mark: label, is_refused });
        if !mark.is_persistent {
            self.marks.remove(at);
        } else if !is_refused {
            mark.enders.push((txn, None));
        }
    }

    fn restore(&mut self, chosen: usize) {
        let at = self.below(self.marks.len());
        let (mark, txn) = (&self.marks[at], self.open[chosen].label);
        let (label, place) = (mark.label, mark.place);
        let is_refused = !mark.is_there(txn) && self.defect != Defect::KeepsMarks;
        self.open[chosen].is_fresh = false;
        self.events.push(Event::Restore { txn, mark: label, is_refused });
        if is_refused {
            return;
        }
        let mut state = self.states[place].0.clone();
        if self.defect == Defect::RestoresTooLittle {
            state.extend(self.states[self.latest()].0.clone());
        }
        let open = &mut self.open[chosen];
        open.restored = Some(Restored { place, state });
        open.writes.clear();
        open.savepoints.clear();
        for later in &mut self.marks[at + 1..] {
            later.enders.push((txn, None));
            open.has_persistent_marks |= later.is_persistent;
        }
    }

    /// What a transaction that went back leaves behind, and every key that it changed.
    pub(super) fn gone_back(&self, restored: &Restored) -> (State, Vec<Key>) {
        let latest = &self.states[self.latest()].0;
        let undone = self.states[restored.place + 1..].iter().flat_map(|(_, keys)| keys.clone());
        let undone = undone.filter(|key| self.states[restored.place].0.get(key) != latest.get(key));
        let state = match self.defect {
            Defect::RestoresForItselfOnly => latest.clone(),
            _ => restored.state.clone(),
        };
        (state, undone.collect())
    }

    /// What a transaction sees, with what it wrote.
    pub(super) fn seen(&self, chosen: usize) -> State {
        let open = &self.open[chosen];
        let mut state = match &open.restored {
            Some(restored) => restored.state.clone(),
            None => self.states[open.snapshot].0.clone(),
        };
        if self.defect == Defect::DirtyRead {
            apply(&mut state, &self.open[0].writes);
        }
        apply(&mut state, &open.writes);
        state
    }

    /// The transaction was committed at this place.
    pub(super) fn marks_committed(&mut self, txn: TxnLabel, place: usize) {
        for mark in &mut self.marks {
            for (other, at) in mark.enders.iter_mut().chain([&mut mark.setter]) {
                if *other == txn {
                    *at = Some(place);
                }
            }
        }
    }

    /// The transaction was aborted.
    pub(super) fn marks_aborted(&mut self, txn: TxnLabel) {
        self.marks.retain(|mark| !mark.is_persistent || mark.setter.0 != txn);
        for mark in &mut self.marks {
            mark.enders.retain(|(ender, _)| *ender != txn);
        }
    }

    /// The store was opened, and holds the commits up to this place.
    pub(super) fn marks_opened(&mut self, survived: usize) {
        let survives = |place: Option<usize>| place.is_some_and(|place| place <= survived);
        self.marks.retain(|mark| mark.is_persistent && survives(mark.setter.1));
        for mark in &mut self.marks {
            mark.enders.retain(|(_, place)| survives(*place));
        }
        if self.defect == Defect::ForgetsMarks {
            self.marks.iter_mut().for_each(|mark| mark.enders.push((TxnLabel(u32::MAX), Some(survived))));
        }
    }
}
