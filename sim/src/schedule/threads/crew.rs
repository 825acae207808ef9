//! The threads: one for each client, and one for upkeep, from one opening of the store to the next.

use std::collections::BTreeMap;

use super::World;
use super::board::{Order, Return, Seat};
use crate::plan::{Step, Thread};
use crate::run::{Crew, Farewell, Interrupt, Session};
use crate::store::Store;

/// All threads of a run, and who hires them.
pub(super) struct Threads {
    world: World,
    /// Those that live.
    seats: BTreeMap<Thread, Seat>,
}

impl Threads {
    pub(super) fn new(world: World) -> Threads {
        Threads { world, seats: BTreeMap::new() }
    }

    /// Starts a thread, which waits at its gate.
    fn hire(&mut self, thread: Thread, handle: Box<dyn Store + Send>) {
        let world = self.world.clone();
        let seat = world.board.seat(thread);
        self.seats.insert(thread, seat);
        // Nobody joins it: the board knows when it is gone.
        shuttle::thread::spawn(move || work(&world, thread, seat, handle));
    }
}

impl Crew for Threads {
    fn carry_out(
        &mut self,
        session: &mut Session<'_>,
        steps: &mut Vec<(usize, &Step)>,
    ) -> Result<(), Interrupt> {
        let mut scripts: BTreeMap<Thread, Vec<usize>> = BTreeMap::new();
        for (index, step) in steps.iter() {
            let thread = step.thread().expect("a phase has steps of threads");
            scripts.entry(thread).or_default().push(*index);
        }
        for thread in scripts.keys() {
            if !self.seats.contains_key(thread) {
                let handle =
                    session.handle().expect("a store that is built for threads has handles for them");
                self.hire(*thread, handle);
            }
        }
        let orders = scripts.into_iter().map(|(thread, script)| (self.seats[&thread], Order::Take(script)));
        let Return { interrupt, untaken } = self.world.board.let_go(orders.collect());
        steps.retain(|(index, _)| untaken.contains(index));
        let Some((step, interrupt)) = interrupt else {
            assert!(steps.is_empty(), "whoever leaves steps untaken was kept from them");
            return Ok(());
        };
        session.blame(step);
        Err(interrupt)
    }

    fn stand_by(&mut self) {
        self.world.board.begin_alone();
    }

    fn dismiss(&mut self, farewell: Farewell) -> Result<(), Interrupt> {
        let seats = std::mem::take(&mut self.seats);
        if seats.is_empty() {
            return Ok(());
        }
        let orders = seats.into_values().map(|seat| (seat, Order::Leave(farewell)));
        match self.world.board.let_go(orders.collect()).interrupt {
            Some((_, interrupt)) => Err(interrupt),
            None => Ok(()),
        }
    }
}

/// What a thread does in its life.
fn work(world: &World, thread: Thread, seat: Seat, handle: Box<dyn Store + Send>) {
    let World { plan, factory, disk, book, board } = world;
    let (disk, book) = (disk.clone(), book.clone());
    let mut session = Session::beside_others(*factory, &plan.config, disk, book, handle, thread);
    let farewell = loop {
        match board.wait(seat) {
            Order::Leave(farewell) => break farewell,
            Order::Take(script) => {
                let mut script = script.into_iter().peekable();
                while let Some(index) = script.next_if(|index| board.enter(seat, *index)) {
                    let step = &plan.steps[index];
                    session.enter(Some(index), || step.to_string());
                    if let Err(interrupt) = session.take(step) {
                        board.interrupt(seat, interrupt);
                        break;
                    }
                }
                board.leave_untaken(script);
            }
        }
    };
    let left = match farewell {
        Farewell::Abort => session.give_up(),
        Farewell::Drop => session.drop_all(),
        Farewell::Abandon => session.leave_behind(),
    };
    if let Err(interrupt) = left {
        board.interrupt(seat, interrupt);
    }
    session.leave();
    board.leave(seat);
}
