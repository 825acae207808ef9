//! All that is planted on one disk: when each fault is due, and how often it struck.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use rand_chacha::ChaCha8Rng;

use super::super::effect::InodeId;
use super::super::errno::{self, fail};
use super::super::state::{State, hash_words};
use super::super::trace::{Answer, IoCall, IoOutcome, Request};
use super::{Fault, FaultKind, Fired, IoKind, Occasion};
use crate::random::{Draw, Streams};

/// So many of the latest firings are kept for whoever asks.
const FIRED_COUNT_MAX: usize = 1 << 16;

/// All that is planted.
#[derive(Debug, Clone, Default)]
pub(in crate::disk) struct FaultTable {
    planted: Vec<Planted>,
    /// Whether a fault may strike yet, or has left something behind: the one thing that is looked at while none may.
    is_armed: bool,
    /// The fault that made the file system read-only.
    read_only_by: Option<usize>,
    /// How many files have a failure to report that nobody has heard of.
    deferred_count: usize,
    /// Whether a write may be held back, or have to answer for that it was.
    may_hold: bool,
    /// Whether older versions of what is overwritten have to be kept.
    wants_history: bool,
    /// The number of the call that was interrupted last, by whichever fault.
    interrupted_call: Option<u64>,
    /// The fault that is due at the call under way.
    due: Option<Due>,
    fired: VecDeque<Fired>,
}

#[derive(Debug, Clone)]
struct Planted {
    fault: Fault,
    is_announced: bool,
    is_healed: bool,
    occasions: u64,
    fired: u64,
    random: ChaCha8Rng,
}

#[derive(Debug, Clone, Copy)]
struct Due {
    index: usize,
    kind: FaultKind,
    has_struck: bool,
    /// Whether it struck at an earlier call, was counted there, and only shows at this one.
    is_aftermath: bool,
}

impl Due {
    fn aftermath(index: usize, kind: FaultKind) -> Self {
        Self { index, kind, has_struck: true, is_aftermath: true }
    }
}

impl Planted {
    fn may_strike(&self) -> bool {
        !self.is_healed && self.fault.count.is_none_or(|count| self.fired < count)
    }

    /// Counts an occasion; whether the fault is due.
    fn is_due(&mut self) -> bool {
        self.occasions += 1;
        match self.fault.when {
            Occasion::Nth(nth) => self.occasions >= nth,
            Occasion::Every(every) => self.occasions.is_multiple_of(every),
            Occasion::Rate { permille, .. } => self.random.chance(u64::from(permille)),
        }
    }
}

impl FaultTable {
    /// Plants a fault; returns its index.
    ///
    /// # Panics
    /// If it is never due, or may never strike: occasions are counted from 1.
    pub(in crate::disk) fn plant(&mut self, fault: Fault, is_announced: bool) -> usize {
        assert!(fault.when.is_possible(), "occasions are counted from 1, and rates in thousandths");
        assert!(fault.count != Some(0), "a fault strikes once at least");
        let random = Streams::new(fault.when.seed()).stream("fault");
        self.planted.push(Planted { fault, is_announced, is_healed: false, occasions: 0, fired: 0, random });
        self.rearm();
        self.planted.len() - 1
    }

    /// Switches off every announced fault. What was lost stays lost, and has to be reported still.
    pub(in crate::disk) fn heal(&mut self) {
        self.planted.iter_mut().for_each(|planted| planted.is_healed |= planted.is_announced);
        self.read_only_by = self.read_only_by.filter(|index| !self.planted[*index].is_healed);
        self.may_hold = false;
        self.rearm();
    }

    /// A power loss ends what faults have left behind.
    pub(in crate::disk) fn restart(&mut self) {
        self.read_only_by = None;
        self.deferred_count = 0;
        self.may_hold = false;
        self.rearm();
    }

    pub(in crate::disk) fn is_armed(&self) -> bool {
        self.is_armed
    }

    pub(in crate::disk) fn wants_history(&self) -> bool {
        self.wants_history
    }

    pub(in crate::disk) fn firings(&self) -> Vec<(Fault, u64)> {
        self.planted.iter().map(|planted| (planted.fault.clone(), planted.fired)).collect()
    }

    pub(in crate::disk) fn take_fired(&mut self) -> Vec<Fired> {
        std::mem::take(&mut self.fired).into()
    }

    /// Hash of all that decides what strikes from here on, and of what has struck and was not heard of.
    pub(in crate::disk) fn hash(&self, seed: u64) -> u64 {
        let index = |index: Option<usize>| index.map_or(0, |index| index as u64 + 1);
        if self.planted.is_empty() {
            return seed;
        }
        let interrupted = self.interrupted_call.map_or(0, |call| call + 1);
        let mut hash = hash_words(&[index(self.read_only_by), self.deferred_count as u64, interrupted], seed);
        for Planted { is_healed, occasions, fired, random, .. } in &self.planted {
            let drawn = random.get_word_pos() as u64;
            hash = hash_words(&[u64::from(*is_healed), *occasions, *fired, drawn], hash);
        }
        for fired in &self.fired {
            hash = hash_words(&[fired.index as u64, fired.call.number], hash);
        }
        hash
    }

    fn rearm(&mut self) {
        let mut armed = self.planted.iter().filter(|planted| planted.may_strike());
        self.is_armed = armed.clone().next().is_some()
            || self.read_only_by.is_some()
            || self.deferred_count > 0
            || self.may_hold;
        self.wants_history = armed.any(|planted| planted.fault.kind == FaultKind::StaleRead);
    }

    /// Puts the firing on record, or takes back an occasion at which a due fault did not come to strike.
    fn settle(&mut self, due: Due, request: &Request<'_>, number: u64, outcome: IoOutcome) -> Option<Fired> {
        let planted = &mut self.planted[due.index];
        if !due.has_struck {
            planted.occasions -= 1;
            return None;
        }
        planted.fired += u64::from(!due.is_aftermath);
        let (is_announced, interrupts) = (planted.is_announced, planted.fault.interrupts());
        self.may_hold |= due.kind == FaultKind::SwappedWrites;
        self.rearm();
        if interrupts {
            self.interrupted_call = Some(number);
        }
        let call = request.call(number, outcome);
        let is_aftermath = due.is_aftermath;
        let fired = Fired { index: due.index, kind: due.kind, is_announced, is_aftermath, call };
        self.tell(fired.clone());
        Some(fired)
    }

    fn tell(&mut self, fired: Fired) {
        if self.fired.len() == FIRED_COUNT_MAX {
            self.fired.pop_front();
        }
        self.fired.push_back(fired);
    }
}

impl State {
    /// Carries out a call while faults are armed.
    pub(in crate::disk) fn act_under_faults<T: Answer>(
        &mut self,
        request: &Request<'_>,
        act: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        let refused_by = self.faults.read_only_by.filter(|_| request.operation.changes_something());
        self.faults.due = match refused_by {
            Some(index) => Some(Due::aftermath(index, FaultKind::SyncReadOnly)),
            None => self.due(request),
        };
        let result = if refused_by.is_some() {
            fail(errno::EROFS)
        } else if self.is_struck_by(FaultKind::Interrupted) {
            fail(errno::EINTR)
        } else if self.is_struck_by(FaultKind::IoError) {
            self.report()
        } else {
            act(self)
        };
        let outcome = IoOutcome::of(&result);
        if let Some(due) = self.faults.due.take()
            && let Some(fired) = self.faults.settle(due, request, self.io_calls, outcome)
        {
            self.trace.fault(&fired);
            if fired.kind == FaultKind::SwappedWrites
                && let Some(file) = self.inodes.get_mut(&InodeId(request.inode))
            {
                file.held.attribute(&fired);
            }
        }
        if self.faults.may_hold {
            self.tell_what_is_felt(Some(&request.call(self.io_calls, outcome)));
        }
        result
    }

    /// Tells of the damage that held writes did at `call`, or at a power loss.
    pub(in crate::disk) fn tell_what_is_felt(&mut self, call: Option<&IoCall>) {
        for file in self.inodes.values_mut() {
            for fired in file.held.take_felt() {
                let call = call.unwrap_or(&fired.call).clone();
                let fired = Fired { is_aftermath: true, call, ..fired };
                self.trace.fault(&fired);
                self.faults.tell(fired);
            }
        }
    }

    /// Whether the call under way is struck by a fault of this kind.
    pub(in crate::disk) fn is_struck_by(&mut self, kind: FaultKind) -> bool {
        match &mut self.faults.due {
            Some(due) if due.kind == kind => {
                due.has_struck = true;
                true
            }
            _ => false,
        }
    }

    /// The kind of the fault that is due at the call under way.
    pub(in crate::disk) fn due_kind(&self) -> Option<FaultKind> {
        self.faults.due.map(|due| due.kind)
    }

    /// The part of a range that the fault which is due may touch.
    pub(in crate::disk) fn within_scope(&self, range: Range<u64>) -> Range<u64> {
        let due = self.faults.due.expect("a scope is asked for of the fault that is due");
        match &self.faults.planted[due.index].fault.scope.range {
            Some(scope) => range.start.max(scope.start)..range.end.min(scope.end),
            None => range,
        }
    }

    /// The fault that is due has not come to strike.
    pub(in crate::disk) fn miss(&mut self) {
        if let Some(due) = &mut self.faults.due {
            due.has_struck = false;
        }
    }

    /// The error of the fault that struck the call under way.
    pub(in crate::disk) fn report<T>(&self) -> io::Result<T> {
        let due = self.faults.due.expect("an error is reported for the fault that struck");
        let error = self.faults.planted[due.index].fault.error;
        fail(error.map_or(errno::EIO, errno::Errno::code))
    }

    /// A number below `bound`, from the stream of the fault that struck the call under way.
    pub(in crate::disk) fn draw(&mut self, bound: u64) -> u64 {
        let due = self.faults.due.expect("chance is asked for the fault that struck");
        self.faults.planted[due.index].random.below(bound)
    }

    /// The file system is read-only from here on, because of the fault that struck.
    pub(in crate::disk) fn become_read_only(&mut self) {
        self.faults.read_only_by = self.faults.due.map(|due| due.index);
    }

    /// What is to be remembered of the fault that struck, for a later sync to report.
    pub(in crate::disk) fn defer(&mut self) -> Option<usize> {
        self.faults.deferred_count += 1;
        self.faults.due.map(|due| due.index)
    }

    /// Whether the call under way may report what was deferred: no fault of its own has struck it.
    pub(in crate::disk) fn may_report_deferred(&self) -> bool {
        self.faults.deferred_count > 0 && self.faults.due.is_none()
    }

    /// Reports, at the call under way, a fault that struck an earlier one.
    pub(in crate::disk) fn report_deferred<T>(&mut self, index: usize) -> io::Result<T> {
        self.faults.deferred_count -= 1;
        self.faults.due = Some(Due::aftermath(index, FaultKind::WriteBackLost));
        self.report()
    }

    /// The fault that is due at a call.
    fn due(&mut self, request: &Request<'_>) -> Option<Due> {
        let call = IoKind::of(request.operation);
        let was_interrupted = self.faults.interrupted_call.is_some_and(|call| call + 1 == self.io_calls);
        for index in 0..self.faults.planted.len() {
            let planted = &self.faults.planted[index];
            let kind = planted.fault.kind;
            let is_occasion = planted.may_strike()
                && kind.calls().contains(&call)
                && planted.fault.scope.covers(request)
                && !(planted.fault.interrupts() && was_interrupted)
                && self.is_occasion(&planted.fault, request);
            if is_occasion && self.faults.planted[index].is_due() {
                return Some(Due { index, kind, has_struck: false, is_aftermath: false });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due_at(fault: Fault) -> Vec<u64> {
        let mut table = FaultTable::default();
        table.plant(fault, true);
        let planted = &mut table.planted[0];
        let mut due_at = Vec::new();
        for occasion in 1..=2000 {
            if planted.may_strike() && planted.is_due() {
                planted.fired += 1;
                due_at.push(occasion);
            }
        }
        due_at
    }

    #[test]
    fn an_occasion_comes_once_or_repeatedly_or_by_chance() {
        let kind = FaultKind::IoError;
        assert_eq!(due_at(Fault::once(kind, 3)), [3]);
        assert_eq!(due_at(Fault { count: Some(2), ..Fault::once(kind, 3) }), [3, 4]);
        assert_eq!(due_at(Fault { count: None, ..Fault::once(kind, 1990) }).len(), 11);
        assert_eq!(due_at(Fault::every(kind, 500)), [500, 1000, 1500, 2000]);
        assert_eq!(due_at(Fault { count: Some(2), ..Fault::every(kind, 3) }), [3, 6]);
        let by_chance = due_at(Fault::at_rate(kind, 100, 7));
        assert!((150..250).contains(&by_chance.len()), "{}", by_chance.len());
        assert_eq!(by_chance, due_at(Fault::at_rate(kind, 100, 7)));
        assert_ne!(by_chance, due_at(Fault::at_rate(kind, 100, 8)));
        assert_eq!(due_at(Fault { count: Some(3), ..Fault::at_rate(kind, 100, 7) }), by_chance[..3]);
    }
}
