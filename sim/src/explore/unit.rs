//! The boundaries between two events of a run: the same outcomes are legal at all of them, so that an image that was
//! recovered at one needs no recovery at the others.

use std::collections::BTreeSet;

use proofmark_model::{Event, Violation};

use super::finding::{Finding, Loss};
use super::follow_up::FollowUp;
use super::images::{Class, Images};
use super::judge::Judge;
use super::recording::{Moment, Recording, WINDOW_BOUNDARIES};
use super::{BoundaryReport, Exploration, GroupReport};
use crate::disk::{Boundary, Choice, Keep, Kept, SimDisk};
use crate::plan::Step;
use crate::run::{Memory, Resumed, resume};

/// At depth two: this part of the images is recovered in steps, and this part of the bound is that of each step.
const DEPTH_SHARE: usize = 8;

/// What is needed to explore a group of boundaries.
#[derive(Clone, Copy)]
pub(super) struct Unit<'a> {
    pub(super) exploration: &'a Exploration<'a>,
    pub(super) recording: &'a Recording,
    pub(super) follow_up: &'a FollowUp,
    /// Asked before each image: one boundary may have more of them than anybody has time for.
    pub(super) should_stop: &'a dyn Fn() -> bool,
}

/// What is known about the images of a group.
pub(super) struct Known {
    judge: Judge,
    memory: Memory,
    seen: Seen,
    was_stopped: bool,
}

impl Known {
    /// Whether images were left untried because of [`Unit::should_stop`].
    pub(super) fn was_stopped(&self) -> bool {
        self.was_stopped
    }
}

/// Which images of a group were recovered. It outlives the window, because a group may go on in the next one.
#[derive(Debug, Default)]
pub(super) struct Seen {
    images: BTreeSet<u64>,
    /// Of images inside of recoveries, with what had happened by then.
    in_recovery: BTreeSet<(usize, u64)>,
    /// What had happened in a recovery.
    pasts: Vec<Vec<Event>>,
}

/// An image that is recovered.
#[derive(Debug, Clone, Copy)]
struct Image<'a> {
    moment: &'a Moment<'a>,
    keep: &'a Keep,
}

impl Image<'_> {
    fn disk(&self) -> SimDisk {
        self.moment.boundary.disk.image(self.keep)
    }

    fn loss(&self) -> Loss {
        Loss { call: self.moment.boundary.call.number, keep: self.keep.clone() }
    }
}

impl Unit<'_> {
    /// Explores boundaries between the same two events, of which these images were recovered before.
    pub(super) fn explore(self, group: &[Moment<'_>], seen: Seen) -> GroupReport {
        let mut report = GroupReport::default();
        let Some(first) = group.first() else { return report };
        let mut known = Known { seen, ..self.known(first.event_count) };
        for moment in group {
            if self.is_over(&mut known) {
                break;
            }
            let (boundary, finding) = self.boundary(moment, &mut known, Vec::new());
            report.boundaries.push(boundary);
            report.finding = finding;
            if report.finding.is_some() {
                break;
            }
        }
        report.was_stopped = known.was_stopped && report.finding.is_none();
        report.seen = known.seen;
        report
    }

    /// What is known before anything was tried, after so many events.
    pub(super) fn known(&self, event_count: usize) -> Known {
        let past = &self.recording.events()[..event_count];
        Known { judge: Judge::new(past), memory: Memory::of(past), seen: Seen::default(), was_stopped: false }
    }

    /// Whether no more images are to be tried. Once over, it stays over.
    fn is_over(&self, known: &mut Known) -> bool {
        known.was_stopped = known.was_stopped || (self.should_stop)();
        known.was_stopped
    }

    /// Explores one boundary; these images first.
    pub(super) fn boundary(
        self,
        moment: &Moment<'_>,
        known: &mut Known,
        first: Vec<Choice>,
    ) -> (BoundaryReport, Option<Finding>) {
        let boundary = moment.boundary;
        let Exploration { bound, depth, .. } = *self.exploration;
        let effects = boundary.disk.pending();
        let images = Images::new(&effects, &boundary.disk.options(), boundary.call.number);
        let mut report = BoundaryReport {
            call: boundary.call.clone(),
            step: self.recording.place(boundary.call.number).step,
            effects: effects.len(),
            states: 0,
            legal: images.legal(bound),
            recoveries: 0,
            states_in_recovery: 0,
        };
        let death = Image { moment, keep: &Keep::PageCache };
        let mut finding = self.recover(death, &death.disk(), depth > 1, known, &mut report);
        let mut left = bound;
        let mut share = 0;
        let first = Class { share: first.len(), choices: Box::new(first.into_iter()) };
        for class in [first].into_iter().chain(images.classes(bound)) {
            share += class.share;
            for choice in class.choices {
                if finding.is_some() || left == 0 || share == 0 || self.is_over(known) {
                    break;
                }
                let keep = Keep::Chosen(choice);
                let image = Image { moment, keep: &keep };
                let disk = image.disk();
                if !known.seen.images.insert(disk.state_hash()) {
                    continue;
                }
                share -= 1;
                left -= 1;
                let in_steps = depth > 1 && bound - left <= bound.div_ceil(DEPTH_SHARE);
                finding = self.recover(image, &disk, in_steps, known, &mut report);
            }
        }
        if known.was_stopped {
            report.legal = images.legal(0);
        }
        (report, finding)
    }

    /// Recovers an image, in steps if that is asked for.
    fn recover(
        self,
        image: Image<'_>,
        disk: &SimDisk,
        in_steps: bool,
        known: &mut Known,
        report: &mut BoundaryReport,
    ) -> Option<Finding> {
        report.states += 1;
        let kept = in_steps.then(|| window_after(0));
        let mut resumed = self.resume(disk, &known.memory, image.keep, kept);
        report.recoveries += resumed.recoveries();
        let events = std::mem::take(&mut resumed.events);
        if in_steps {
            let found = self.steps(image, resumed, &events, known, report);
            if found.is_some() {
                return found;
            }
        }
        let verdict = known.judge.verdict(events);
        verdict.err().map(|violation| self.finding(&[image.loss()], image.keep, violation))
    }

    /// Loses the power at each boundary inside of a recovery, window by window.
    fn steps(
        self,
        image: Image<'_>,
        mut recovery: Resumed,
        events: &[Event],
        known: &mut Known,
        report: &mut BoundaryReport,
    ) -> Option<Finding> {
        loop {
            let after = recovery.recovery_calls.1;
            let in_recovery = |boundary: &&Boundary| boundary.call.number <= after;
            for boundary in recovery.boundaries.iter().filter(in_recovery) {
                if self.is_over(known) {
                    return None;
                }
                let found = self.step(image, &recovery, boundary, events, known, report);
                if found.is_some() {
                    return found;
                }
            }
            let last = recovery.boundaries.last().filter(in_recovery)?;
            if recovery.boundaries.len() < WINDOW_BOUNDARIES {
                return None;
            }
            let kept = Some(window_after(last.call.number));
            recovery = self.resume(&image.disk(), &known.memory, image.keep, kept);
        }
    }

    /// Loses the power at one boundary inside of a recovery, and lets the process die there.
    fn step(
        self,
        image: Image<'_>,
        recovery: &Resumed,
        boundary: &Boundary,
        events: &[Event],
        known: &mut Known,
        report: &mut BoundaryReport,
    ) -> Option<Finding> {
        let bound = self.exploration.bound.div_ceil(DEPTH_SHARE);
        let recovered =
            &events[..recovery.event_calls.partition_point(|calls| *calls < boundary.call.number)];
        let past_index = known.seen.past_index(recovered);
        let mut memory = known.memory.clone();
        memory.take(recovered);
        let effects = boundary.disk.pending();
        let images = Images::new(&effects, &boundary.disk.options(), boundary.call.number);
        let mut again = |keep: &Keep, disk: &SimDisk, judge: &mut Judge| {
            report.states_in_recovery += 1;
            let resumed = self.resume(disk, &memory, keep, None);
            report.recoveries += resumed.recoveries();
            let violation = judge.verdict([recovered, &resumed.events].concat()).err()?;
            let call = boundary.call.number - recovery.recovery_calls.0;
            let losses = [image.loss(), Loss { call, keep: keep.clone() }];
            Some(self.finding(&losses, keep, violation))
        };
        let death = boundary.disk.image(&Keep::PageCache);
        if let Some(found) = again(&Keep::PageCache, &death, &mut known.judge) {
            return Some(found);
        }
        let mut left = bound;
        let mut share = 0;
        for class in images.classes(bound) {
            share += class.share;
            for choice in class.choices {
                if left == 0 || share == 0 || self.is_over(known) {
                    break;
                }
                let keep = Keep::Chosen(choice);
                let disk = boundary.disk.image(&keep);
                if !known.seen.in_recovery.insert((past_index, disk.state_hash())) {
                    continue;
                }
                share -= 1;
                left -= 1;
                if let Some(found) = again(&keep, &disk, &mut known.judge) {
                    return Some(found);
                }
            }
        }
        None
    }

    fn resume(self, disk: &SimDisk, memory: &Memory, keep: &Keep, kept: Option<Kept>) -> Resumed {
        let Exploration { plan, factory, .. } = *self.exploration;
        let is_power_loss = *keep != Keep::PageCache;
        resume(factory, &plan.config, disk, memory, is_power_loss, self.steps_after(keep), kept)
    }

    fn steps_after(&self, keep: &Keep) -> &[Step] {
        match keep {
            Keep::PageCache => &self.follow_up.after_process_death,
            _ => &self.follow_up.after_power_loss,
        }
    }

    fn finding(self, losses: &[Loss], keep: &Keep, violation: Violation) -> Finding {
        Finding::new(self.exploration, self.recording, losses, self.steps_after(keep), violation)
    }
}

impl Seen {
    /// The number of what had happened in a recovery.
    fn past_index(&mut self, recovered: &[Event]) -> usize {
        self.pasts.iter().position(|past| past == recovered).unwrap_or_else(|| {
            self.pasts.push(recovered.to_vec());
            self.pasts.len() - 1
        })
    }
}

/// The boundaries of a window that begins after the call with this number.
fn window_after(call: u64) -> Kept {
    Kept { calls: call + 1..=u64::MAX, count_max: WINDOW_BOUNDARIES, with_callers: false }
}
