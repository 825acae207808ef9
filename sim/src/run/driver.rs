//! Takes a plan's steps, and carries its power losses through.

use std::collections::VecDeque;

use proofmark_model::FaultClass;

use super::place::{Place, Places};
use super::session::{Interrupt, Session};
use super::stats::Activity;
use super::{Ending, Outcome, StrikeReport};
use crate::disk::{CrashPoint, Keep, SimDisk};
use crate::plan::{CrashSpec, Plan, Step, Strike};

/// The store failed; the run is over.
pub(crate) struct Over;

/// Who takes the steps of clients, and those of upkeep, where that is not the driver itself.
pub(crate) trait Crew {
    /// Takes steps of the plan, each with its index, that may be taken beside each other. `session` has the store open. If it
    /// is interrupted, `steps` is what nobody has begun.
    fn carry_out(
        &mut self,
        session: &mut Session<'_>,
        steps: &mut Vec<(usize, &Step)>,
    ) -> Result<(), Interrupt>;

    /// Ends whatever is open beside the driver's own session.
    fn dismiss(&mut self, farewell: Farewell) -> Result<(), Interrupt>;

    /// The driver begins something that it does alone.
    fn stand_by(&mut self);
}

/// What becomes of open transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// They are aborted.
    Abort,
    /// They are dropped, as when a process dies.
    Drop,
    /// They are dropped after their store, as when a process just goes on.
    Abandon,
}

/// Takes a plan's steps and carries its strikes through.
pub(crate) struct Driver<'a> {
    pub(super) session: Session<'a>,
    /// None where the driver takes all steps.
    crew: Option<Box<dyn Crew>>,
    /// The power losses to come. The first one is armed.
    strikes: VecDeque<Strike>,
    /// How many I/O calls had been made when the step, or the recovery, under way began.
    calls_before: u64,
    places: Places,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(session: Session<'a>, crew: Option<Box<dyn Crew>>) -> Driver<'a> {
        Driver { session, crew, strikes: VecDeque::new(), calls_before: 0, places: Places::default() }
    }

    pub(crate) fn session(&self) -> &Session<'a> {
        &self.session
    }

    pub(crate) fn session_mut(&mut self) -> &mut Session<'a> {
        &mut self.session
    }

    pub(crate) fn disk(&self) -> &SimDisk {
        &self.session.disk
    }

    /// What was recorded until the run was over.
    pub(super) fn finish(self, end: &Result<(), Over>) -> Outcome {
        let (book, disk) = (self.session.share(), self.session.disk.clone());
        let places = self.leave(end);
        Outcome::of(&book, &disk, places)
    }

    /// Drops whatever is open still, if the run is over.
    pub(crate) fn leave(mut self, end: &Result<(), Over>) -> Vec<Place> {
        if end.is_err() {
            self.session.book().has_ended_early = true;
            self.session.tell_endless("");
            // The store failed, and that is on record: what dropping it does is of no interest any more.
            self.session.disk.power_off();
            let _ = self.dismiss(Farewell::Drop);
            let _ = self.session.drop_all();
        }
        self.session.leave();
        self.places.finish()
    }

    /// Takes all steps of the plan, and comes to the end of every run.
    pub(crate) fn drive(&mut self, plan: &Plan, ending: Ending) -> Result<(), Over> {
        let rest = self.begin(plan);
        let created = self.create();
        self.survive(created)?;
        self.take(rest.into_iter())?;
        self.end(ending)
    }

    /// Takes the steps that come before the store is created; returns those that come after, each with its index.
    pub(crate) fn begin<'p>(&mut self, plan: &'p Plan) -> Vec<(usize, &'p Step)> {
        let creation_may_fail = self.session.promises().survives_loss_during_creation;
        let steps = plan.steps.iter().enumerate();
        let mut steps = steps.filter(|(_, step)| !matches!(step, Step::Switch(_))).peekable();
        let mut put_off = Vec::new();
        self.session.book().recorder.note(|| "open".to_owned());
        while let Some((index, step)) = steps.next_if(|(_, step)| matches!(step, Step::Fault(_))) {
            let Step::Fault(fault) = step else { unreachable!("only faults were taken") };
            if !creation_may_fail && fault.kind.class() != FaultClass::Transparent {
                put_off.push((index, step));
                continue;
            }
            self.session.enter(Some(index), || step.to_string());
            self.session.plant(fault);
        }
        if creation_may_fail
            && let Some((index, step)) = steps.next_if(|(_, step)| matches!(step, Step::Crash(_)))
        {
            let Step::Crash(spec) = step else { unreachable!("only a crash was taken") };
            self.enter(Some(index), || step.to_string());
            self.load(index, spec);
        }
        put_off.extend(steps);
        put_off
    }

    /// Opens the store for the first time.
    pub(crate) fn create(&mut self) -> Result<(), Interrupt> {
        self.places.enter(None, self.session.disk.io_calls());
        self.session.open(Activity::Creation)
    }

    /// Takes steps, and carries out the strikes that have not come by their end.
    pub(super) fn take<'p>(&mut self, steps: impl Iterator<Item = (usize, &'p Step)>) -> Result<(), Over> {
        let mut steps = steps.filter(|(_, step)| !matches!(step, Step::Switch(_))).peekable();
        while let Some((index, step)) = steps.next() {
            if self.crew.is_some() && step.thread().is_some() {
                let mut phase = vec![(index, step)];
                while let Some(next) = steps.next_if(|(_, step)| step.thread().is_some()) {
                    phase.push(next);
                }
                self.take_phase(phase)?;
                continue;
            }
            self.enter(Some(index), || step.to_string());
            self.places.enter(Some(index), self.calls_before);
            self.strike_soon(index, step)?;
            let outcome = self.take_step(step);
            self.survive(outcome)?;
        }
        self.enter(None, || "the end".to_owned());
        self.strike_overdue()
    }

    /// Has the crew take steps. What a power loss leaves of them is taken after the recovery.
    fn take_phase(&mut self, mut phase: Vec<(usize, &Step)>) -> Result<(), Over> {
        while let Some(crew) = &mut self.crew
            && !phase.is_empty()
        {
            self.calls_before = self.session.disk.io_calls();
            let outcome = crew.carry_out(&mut self.session, &mut phase);
            self.survive(outcome)?;
        }
        Ok(())
    }

    /// Takes a step of the plan; one that asks for power losses has nothing to do but to arm them.
    pub(crate) fn take_step(&mut self, step: &Step) -> Result<(), Interrupt> {
        match step {
            Step::Reopen => self.reopen(),
            Step::Abandon => self.abandon(),
            Step::Crash(_) => Ok(()),
            step => self.session.take(step),
        }
    }

    /// What follows belongs to this step of the plan.
    pub(crate) fn enter(&mut self, step: Option<usize>, describe: impl FnOnce() -> String) {
        self.begin_alone();
        self.session.enter(step, describe);
    }

    /// Begins something, of which the calls are counted.
    fn begin_alone(&mut self) {
        self.calls_before = self.session.disk.io_calls();
        if let Some(crew) = &mut self.crew {
            crew.stand_by();
        }
    }

    /// Ends what is open beside the driver's own session.
    fn dismiss(&mut self, farewell: Farewell) -> Result<(), Interrupt> {
        match &mut self.crew {
            Some(crew) => crew.dismiss(farewell),
            None => Ok(()),
        }
    }

    fn reopen(&mut self) -> Result<(), Interrupt> {
        self.dismiss(Farewell::Abort)?;
        self.session.close()?;
        self.session.open(Activity::Other)
    }

    fn abandon(&mut self) -> Result<(), Interrupt> {
        self.session.drop_store()?;
        self.dismiss(Farewell::Abandon)?;
        self.session.leave_behind()?;
        self.session.is_abandoned()?;
        self.session.open(Activity::Other)?;
        self.session.verify(Activity::Other)
    }

    /// Comes to the end of every run.
    pub(crate) fn end(&mut self, ending: Ending) -> Result<(), Over> {
        self.places.end(self.session.disk.io_calls());
        let end = self.close_and_look(ending);
        self.survive(end)
    }

    fn close_and_look(&mut self, ending: Ending) -> Result<(), Interrupt> {
        self.session.recover_space()?;
        self.dismiss(Farewell::Abort)?;
        self.session.close()?;
        match ending {
            Ending::PowerLoss => {
                self.session.crash(Activity::End, &Keep::None)?;
                self.recover()?;
                // Also if an earlier healing has ended them: only now does the store have to show what they left of it.
                let was_struck = self.session.was_struck();
                if was_struck {
                    self.session.heal();
                    self.reopen()?;
                    self.session.verify(Activity::Other)?;
                }
                // What threads have left in a power loss has to be good for more than to be looked at, too.
                if was_struck || (self.crew.is_some() && !self.session.book().strikes.is_empty()) {
                    self.session.live_on()?;
                    self.reopen()?;
                    self.session.verify(Activity::Other)?;
                    self.session.stats.lived_on += u64::from(was_struck);
                }
            }
            Ending::Reopening => {
                self.session.open(Activity::Other)?;
                self.session.verify(Activity::Other)?;
            }
        }
        self.session.drop_all()
    }

    /// Arms the strikes of a crash step, after the strikes that should have come before.
    fn strike_soon(&mut self, index: usize, step: &Step) -> Result<(), Over> {
        let Step::Crash(spec) = step else { return Ok(()) };
        self.strike_overdue()?;
        self.load(index, spec);
        Ok(())
    }

    /// Arms the strikes of a crash step, while no others are to come.
    pub(crate) fn load(&mut self, index: usize, spec: &CrashSpec) {
        self.strikes.extend(spec.strikes.iter().cloned());
        self.places.arm(index, self.session.disk.io_calls());
        self.arm();
    }

    /// Whether strikes are to come.
    pub(crate) fn has_strikes(&self) -> bool {
        !self.strikes.is_empty()
    }

    /// Carries out the strikes that have not come.
    fn strike_overdue(&mut self) -> Result<(), Over> {
        while !self.strikes.is_empty() {
            self.survive(Err(Interrupt::PowerLost(Activity::Idle)))?;
        }
        Ok(())
    }

    fn arm(&self) {
        if let Some(Strike { call, moment, .. }) = self.strikes.front() {
            self.session.disk.arm(CrashPoint { call: *call, moment: *moment });
        }
    }

    /// Goes on after a power loss, and after those in the recovery from it.
    pub(super) fn survive(&mut self, mut outcome: Result<(), Interrupt>) -> Result<(), Over> {
        loop {
            let activity = match outcome {
                Ok(()) => return Ok(()),
                Err(Interrupt::Failed) => return Err(Over),
                Err(Interrupt::PowerLost(activity)) => activity,
            };
            outcome = self.lose_power(activity).and_then(|()| self.recover());
        }
    }

    /// Drops whatever is open, and lets survive what the strike that has come lets survive.
    pub(crate) fn lose_power(&mut self, activity: Activity) -> Result<(), Interrupt> {
        let strike = self.strikes.pop_front().expect("the power fails only where a strike says so");
        self.places.strike(!self.strikes.is_empty());
        let disk = &self.session.disk;
        let site = if disk.has_crashed() { disk.crash_site() } else { None };
        let calls = disk.io_calls() - self.calls_before;
        disk.power_off();
        self.dismiss(Farewell::Drop)?;
        let report = self.session.crash(activity, &strike.keep)?;
        let report = StrikeReport { step: self.session.step(), calls, site, report };
        self.session.book().strikes.push(report);
        Ok(())
    }

    /// Opens the store after a power loss. The next strike may fall into that.
    pub(crate) fn recover(&mut self) -> Result<(), Interrupt> {
        self.begin_alone();
        self.places.recover(self.calls_before);
        self.arm();
        self.session.open(Activity::Recovery)?;
        self.session.verify(Activity::Recovery)?;
        self.session.stats.recoveries += 1;
        Ok(())
    }
}
