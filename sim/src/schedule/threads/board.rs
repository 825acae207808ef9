//! What each thread is about, and whose turn it is.
//!
//! Threads look at the board when they begin a step, and wait at their gates when they have none. The scheduler looks at it
//! at every switch point. The driver comes first: while it is about something itself, it goes on. Then come those that
//! leave, then the policy's choice among those that have something to do.

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proofmark_engine_shuttle::sync::waits;
use proofmark_model::Stuck;
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use shuttle_engine::runtime::thread::switch;

use super::policy::{Candidate, Policy, next_after, points};
use super::record::{Point, Record};
use super::vigil::{Seen, Vigil};
use crate::disk::SimDisk;
use crate::plan::{Plan, Step, Switch, Thread, Threads};
use crate::run::{Farewell, Interrupt, goes_on};

/// The driver's seat, and the seat of the one who goes on when nobody else can.
const DRIVER: usize = 0;
const WATCH: usize = 1;

/// Where a thread sits. Shuttle gives its threads the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat(usize);

/// What a thread is to do next.
#[derive(Debug)]
pub(super) enum Order {
    /// Take these steps of the plan.
    Take(Vec<usize>),
    /// End.
    Leave(Farewell),
}

/// What came of orders.
#[derive(Debug)]
pub(super) struct Return {
    /// What kept threads from their steps, and the step of the one that it struck.
    pub(super) interrupt: Option<(Option<usize>, Interrupt)>,
    /// The steps that nobody has begun.
    pub(super) untaken: BTreeSet<usize>,
}

/// What was decided in a run.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    /// Where threads lost their turns: how to come to the same run again.
    pub(crate) switches: Vec<(Option<usize>, Switch)>,
    /// How many switches the plan asked for that did not come.
    pub(crate) switches_unapplied: usize,
    /// How many switch points were passed.
    pub(crate) points: u64,
    /// At how many of them another thread went on.
    pub(crate) context_switches: u64,
}

/// The board. Clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Board(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    plan: Arc<Plan>,
    disk: SimDisk,
    threads: Vec<Sitting>,
    decider: Decider,
    decided: Decided,
    /// Who made the I/O call at which the power failed, while orders were carried out.
    struck: Option<usize>,
    /// What kept threads from their steps, and the step of the one that it struck.
    interrupt: Option<(Option<usize>, Interrupt)>,
    /// The steps that nobody has begun, because something kept their threads from them.
    untaken: BTreeSet<usize>,
    /// The step before a phase that begins: who is the first to go on is decided there. None when no phase begins.
    gate: Option<Option<usize>>,
    /// The latest one. What a power loss leaves of a phase begins anew, and not at a gate.
    gate_before: Option<Option<usize>>,
    vigil: Vigil,
    stuck: Option<(Stuck, String)>,
    is_over: bool,
    /// Room for those that can go on.
    candidates: Vec<Candidate>,
}

#[derive(Debug)]
enum Decider {
    Chance(Policy),
    Record(Record),
}

/// Who sits in a seat.
#[derive(Debug)]
struct Sitting {
    /// None in the seats of the driver and of the watch.
    thread: Option<Thread>,
    state: State,
    order: Option<Order>,
    /// The plan's step under way, or the latest.
    step: Option<usize>,
    /// How many switch points it has passed in it.
    points: u32,
    points_left: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Busy,
    /// At its gate.
    Waiting,
    Gone,
}

impl Board {
    pub(super) fn new(plan: Arc<Plan>, disk: SimDisk, threads: Threads) -> Board {
        let decider = match threads {
            Threads::Drawn(draws) => Decider::Chance(Policy::new(draws, &plan)),
            Threads::Recorded => Decider::Record(Record::new(&plan)),
        };
        let vigil = Vigil::new(&plan);
        Board(Arc::new(Mutex::new(Table {
            plan,
            disk,
            threads: Vec::new(),
            decider,
            decided: Decided::default(),
            struck: None,
            interrupt: None,
            untaken: BTreeSet::new(),
            gate: None,
            gate_before: None,
            vigil,
            stuck: None,
            is_over: false,
            candidates: Vec::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The driver begins. From here on somebody can always go on, and be it to say that nobody else can.
    pub(super) fn begin(&self) {
        let mut table = self.lock();
        table.sit(None, State::Busy);
        table.sit(None, State::Waiting);
        drop(table);
        let board = self.clone();
        shuttle::thread::spawn(move || {
            while !board.lock().is_over {
                switch();
            }
        });
    }

    /// The driver ends.
    pub(super) fn end(&self) {
        let mut table = self.lock();
        table.is_over = true;
        table.threads[WATCH].state = State::Gone;
        table.threads[DRIVER].state = State::Gone;
    }

    /// Whether nobody could go on, or came anywhere.
    pub(super) fn is_stuck(&self) -> bool {
        self.lock().stuck.is_some()
    }

    /// What was decided, and how the threads got stuck, if they did.
    pub(super) fn finish(&self) -> (Option<(Stuck, String)>, Decided) {
        let mut table = self.lock();
        let mut decided = mem::take(&mut table.decided);
        if let Decider::Record(record) = &table.decider {
            decided.switches_unapplied = record.unapplied();
        }
        (table.stuck.take(), decided)
    }

    /// Gives a seat to a thread that is about to be started.
    pub(super) fn seat(&self, thread: Thread) -> Seat {
        let mut table = self.lock();
        table.sit(Some(thread), State::Waiting);
        Seat(table.threads.len() - 1)
    }

    /// The driver begins something that it does alone.
    pub(super) fn begin_alone(&self) {
        self.lock().vigil.begin();
    }

    /// Hands out orders, and waits until all have carried out theirs, or were kept from it.
    pub(super) fn let_go(&self, orders: Vec<(Seat, Order)>) -> Return {
        let mut table = self.lock();
        table.vigil.begin();
        (table.struck, table.interrupt) = (None, None);
        let scripts = orders.iter().filter_map(|(_, order)| match order {
            Order::Take(script) => script.first().copied(),
            Order::Leave(_) => None,
        });
        table.gate = scripts.min().and_then(|first| table.gate_before(first));
        for (Seat(seat), order) in orders {
            if let Order::Take(script) = &order {
                table.threads[seat].points_left =
                    script.iter().map(|index| points(&table.plan.steps[*index])).sum();
            }
            table.threads[seat].order = Some(order);
            table.threads[seat].state = State::Busy;
        }
        table.threads[DRIVER].state = State::Waiting;
        drop(table);
        switch();
        let mut table = self.lock();
        table.threads[DRIVER].state = State::Busy;
        Return { interrupt: table.interrupt.take(), untaken: mem::take(&mut table.untaken) }
    }

    /// Waits at the gate.
    pub(super) fn wait(&self, Seat(seat): Seat) -> Order {
        loop {
            let mut table = self.lock();
            if let Some(order) = table.threads[seat].order.take() {
                return order;
            }
            table.threads[seat].state = State::Waiting;
            drop(table);
            switch();
        }
    }

    /// A thread begins a step, unless something has come between.
    pub(super) fn enter(&self, Seat(seat): Seat, step: usize) -> bool {
        let mut table = self.lock();
        let table = &mut *table;
        if table.interrupt.is_some() || table.disk.has_crashed() {
            return false;
        }
        table.vigil.begin();
        let sitting = &mut table.threads[seat];
        if let Some(before) = sitting.step.replace(step)
            && before != step
        {
            sitting.points_left = sitting.points_left.saturating_sub(points(&table.plan.steps[before]));
        }
        sitting.points = 0;
        true
    }

    /// A thread begins none of these steps.
    pub(super) fn leave_untaken(&self, steps: impl Iterator<Item = usize>) {
        self.lock().untaken.extend(steps);
    }

    /// Something keeps a thread from its steps.
    pub(super) fn interrupt(&self, Seat(seat): Seat, interrupt: Interrupt) {
        let mut table = self.lock();
        let step = table.threads[seat].step;
        // Who failed ends the run, whatever came before. All hear of a power loss, but one was struck.
        let comes_first = match table.interrupt {
            None => true,
            Some((_, Interrupt::Failed)) => false,
            Some((_, Interrupt::PowerLost(_))) => {
                interrupt == Interrupt::Failed || table.struck == Some(seat)
            }
        };
        if comes_first {
            table.interrupt = Some((step, interrupt));
        }
    }

    /// A thread ends.
    pub(super) fn leave(&self, Seat(seat): Seat) {
        self.lock().threads[seat].state = State::Gone;
    }
}

impl Table {
    fn sit(&mut self, thread: Option<Thread>, state: State) {
        self.threads.push(Sitting { thread, state, order: None, step: None, points: 0, points_left: 0 });
    }

    /// Who goes on; none if the run is stuck.
    fn next(&mut self, runnable: &[&Task], current: Option<usize>, yields: bool) -> Option<usize> {
        let seats = || runnable.iter().map(|task| usize::from(task.id()));
        let current_can_run = current.is_some_and(|current| seats().any(|seat| seat == current));
        if self.threads.is_empty() || (current_can_run && std::thread::panicking()) {
            // Who unwinds is let alone: locks that others give back meanwhile would take it for a panic of theirs.
            return current.or(seats().next());
        }
        if let Some(gone) =
            seats().find(|seat| self.threads.get(*seat).is_none_or(|sitting| sitting.state == State::Gone))
        {
            return Some(gone);
        }
        self.decided.points += 1;
        if let Some(current) = current {
            self.threads[current].points += 1;
        }
        match self.vigil.pass(self.disk.io_calls()) {
            Seen::Nothing => {}
            Seen::Calls => self.note_strike(current),
            Seen::Livelock => return self.get_stuck(Stuck::Livelock),
        }
        let driver_can_run = seats().any(|seat| seat == DRIVER);
        if self.threads[DRIVER].state == State::Busy {
            return if driver_can_run { Some(DRIVER) } else { self.get_stuck(Stuck::Deadlock) };
        }
        self.candidates.clear();
        for seat in seats() {
            let sitting = &self.threads[seat];
            if sitting.state == State::Busy {
                self.candidates.push(Candidate { seat, points_left: sitting.points_left });
            }
        }
        if self.candidates.is_empty() {
            let all_wait = self.threads.iter().all(|sitting| sitting.state != State::Busy);
            return if all_wait && driver_can_run { Some(DRIVER) } else { self.get_stuck(Stuck::Deadlock) };
        }
        let chosen = self.choose(current, yields);
        self.decided.context_switches += u64::from(Some(chosen) != current);
        Some(chosen)
    }

    /// This thread has made I/O calls since the last switch point.
    fn note_strike(&mut self, current: Option<usize>) {
        let is_at_work = self.threads[DRIVER].state == State::Waiting;
        if is_at_work && self.struck.is_none() && self.disk.has_crashed() {
            self.struck = current;
        }
    }

    /// The step before a phase that begins with this step, unless it is only the rest of one.
    fn gate_before(&mut self, first: usize) -> Option<Option<usize>> {
        let before = step_before(&self.plan, first);
        let is_rest = self.gate_before == Some(before)
            || before.is_some_and(|before| self.plan.steps[before].thread().is_some());
        if is_rest {
            return None;
        }
        self.gate_before = Some(before);
        self.gate_before
    }

    /// Which candidate goes on.
    fn choose(&mut self, current: Option<usize>, yields: bool) -> usize {
        let candidates = &self.candidates;
        let running = current.filter(|current| candidates.iter().any(|candidate| candidate.seat == *current));
        let usual = match running {
            Some(running) if !yields => running,
            Some(running) => next_after(candidates, Some(running)),
            None => candidates[0].seat,
        };
        let at: Option<Point> = match (current, self.gate.take()) {
            (Some(DRIVER), gate) => gate.map(|step| (step, 1)),
            // Who never began a step has nothing to be known by.
            (Some(current), _) => {
                let sitting = &self.threads[current];
                sitting.step.map(|step| (Some(step), sitting.points))
            }
            (None, _) => None,
        };
        let Some(at) = at else { return usual };
        let chosen = match &mut self.decider {
            Decider::Chance(_) if candidates.len() == 1 => usual,
            Decider::Chance(policy) => policy.choose(candidates, running, yields),
            Decider::Record(record) => {
                let seat = |to| {
                    let sits = |candidate: &&Candidate| self.threads[candidate.seat].thread == Some(to);
                    candidates.iter().find(sits).map(|candidate| candidate.seat)
                };
                record.take(at, seat).unwrap_or(usual)
            }
        };
        if chosen != usual
            && let Some(to) = self.threads[chosen].thread
        {
            self.decided.switches.push((at.0, Switch { point: at.1, to }));
        }
        chosen
    }

    /// Nobody can go on, or nobody comes anywhere.
    fn get_stuck(&mut self, kind: Stuck) -> Option<usize> {
        let waits = waits::take();
        let mut what: Vec<String> = Vec::new();
        for (seat, sitting) in self.threads.iter().enumerate() {
            if sitting.state != State::Busy {
                continue;
            }
            let who = match (sitting.thread, sitting.step) {
                (Some(thread), Some(index)) => {
                    // Counted so, it is the same number when switches are written down.
                    let is_its_own = |step: &&Step| step.thread() == Some(thread);
                    let number = self.plan.steps[..=index].iter().filter(is_its_own).count();
                    format!("{thread} in step {number} of its own ({})", self.plan.steps[index])
                }
                (Some(thread), None) => format!("{thread} before its first step"),
                (None, _) => "the driver, alone".to_owned(),
            };
            what.push(match waits.get(&seat) {
                Some(wait) => format!("thread {seat}, {who}, waits {wait}"),
                None => format!("thread {seat}, {who}, goes on"),
            });
        }
        self.stuck = Some((kind, what.join("; ")));
        None
    }
}

/// The step before this one that is no switch.
fn step_before(plan: &Plan, step: usize) -> Option<usize> {
    plan.steps[..step].iter().rposition(|step| !matches!(step, Step::Switch(_)))
}

/// Asks the board whose turn it is.
#[derive(Debug)]
pub(super) struct Turns {
    board: Board,
    has_begun: bool,
}

impl Turns {
    pub(super) fn new(board: Board) -> Turns {
        Turns { board, has_begun: false }
    }
}

impl Scheduler for Turns {
    fn new_execution(&mut self) -> Option<Schedule> {
        (!mem::replace(&mut self.has_begun, true)).then(|| Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let next = self.board.lock().next(runnable, current.map(usize::from), is_yielding)?;
        goes_on(next);
        Some(TaskId::from(next))
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("no store draws random numbers")
    }
}
