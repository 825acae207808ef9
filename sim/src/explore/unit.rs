//! The boundaries between two events of a run: the same outcomes are legal at all of them, so that an image that was
//! recovered at one needs no recovery at the others.

use std::collections::BTreeSet;

use proofmark_model::{Event, Violation};

use super::finding::{Finding, Loss};
use super::follow_up::FollowUp;
use super::images::{Class, Images, Legal};
use super::judge::Judge;
use super::recording::{Moment, Recording};
use super::{BoundaryReport, Exploration, GroupReport};
use crate::disk::{Choice, Keep, SimDisk};
use crate::plan::Step;
use crate::run::{Resumed, resume};

/// At depth two: this part of the images is recovered in steps, and this part of the bound is that of each step.
const DEPTH_SHARE: usize = 8;

/// What is needed to explore a group of boundaries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit<'a> {
    pub(super) exploration: &'a Exploration<'a>,
    pub(super) recording: &'a Recording,
    pub(super) follow_up: &'a FollowUp,
}

/// What is known about the images of a group.
pub(super) struct Known<'a> {
    judge: Judge<'a>,
    past: &'a [Event],
    seen: BTreeSet<u64>,
    /// Of images inside of recoveries, with what had happened by then.
    seen_in_recovery: BTreeSet<(usize, u64)>,
    /// What had happened in a recovery.
    pasts: Vec<Vec<Event>>,
}

impl Unit<'_> {
    /// Explores boundaries between the same two events.
    pub(super) fn explore(self, group: &[Moment<'_>], should_stop: &impl Fn() -> bool) -> GroupReport {
        let mut report = GroupReport::default();
        let Some(first) = group.first() else { return report };
        let mut known = self.known(first.event_count);
        for moment in group {
            if should_stop() {
                report.was_stopped = true;
                break;
            }
            let (boundary, finding) = self.boundary(moment, &mut known, Vec::new());
            report.boundaries.push(boundary);
            if let Some(finding) = finding {
                report.finding = Some(finding);
                break;
            }
        }
        report
    }

    /// What is known before anything was tried, after so many events.
    pub(super) fn known(&self, event_count: usize) -> Known<'_> {
        let past = &self.recording.events()[..event_count];
        Known {
            judge: Judge::new(past),
            past,
            seen: BTreeSet::new(),
            seen_in_recovery: BTreeSet::new(),
            pasts: Vec::new(),
        }
    }

    /// Explores one boundary; these images first.
    pub(super) fn boundary(
        self,
        moment: &Moment<'_>,
        known: &mut Known<'_>,
        first: Vec<Choice>,
    ) -> (BoundaryReport, Option<Finding>) {
        let boundary = moment.boundary;
        let Exploration { bound, depth, .. } = *self.exploration;
        let effects = boundary.disk.pending();
        let granule = boundary.disk.options().granule;
        let images = Images::new(&effects, granule, boundary.call.number);
        let legal = images.legal(bound);
        let mut report = BoundaryReport {
            call: boundary.call.clone(),
            step: self.recording.place(boundary.call.number).step,
            effects: effects.len(),
            states: 0,
            legal_log2: match legal {
                Legal::Every => None,
                Legal::UpTo { log2 } => Some(log2),
            },
            recoveries: 0,
            states_in_recovery: 0,
        };
        let mut finding = self.image(moment, &Keep::PageCache, known, &mut report);
        let mut left = bound;
        let mut share = 0;
        let first = Class { share: first.len(), choices: Box::new(first.into_iter()) };
        for class in [first].into_iter().chain(images.classes(bound)) {
            share += class.share;
            for choice in class.choices {
                if finding.is_some() || left == 0 || share == 0 {
                    break;
                }
                let keep = Keep::Chosen(choice);
                let disk = boundary.disk.image(&keep);
                if !known.seen.insert(disk.image_hash()) {
                    continue;
                }
                share -= 1;
                left -= 1;
                let in_steps = depth > 1 && bound - left <= bound.div_ceil(DEPTH_SHARE);
                finding = self.recover(moment, (&keep, &disk), in_steps, known, &mut report);
            }
        }
        (report, finding)
    }

    fn image(
        self,
        moment: &Moment<'_>,
        keep: &Keep,
        known: &mut Known<'_>,
        report: &mut BoundaryReport,
    ) -> Option<Finding> {
        let disk = moment.boundary.disk.image(keep);
        self.recover(moment, (keep, &disk), self.exploration.depth > 1, known, report)
    }

    /// Recovers an image, in steps if that is asked for.
    fn recover(
        self,
        moment: &Moment<'_>,
        (keep, disk): (&Keep, &SimDisk),
        in_steps: bool,
        known: &mut Known<'_>,
        report: &mut BoundaryReport,
    ) -> Option<Finding> {
        report.states += 1;
        let first = Loss { call: moment.boundary.call.number, keep: keep.clone() };
        let mut resumed = self.resume(disk, known.past, keep, in_steps);
        report.recoveries += resumed.recoveries();
        let events = std::mem::take(&mut resumed.events);
        if in_steps {
            let found = self.steps(&first, &resumed, &events, known, report);
            if found.is_some() {
                return found;
            }
        }
        let verdict = known.judge.verdict(events);
        verdict.err().map(|violation| self.finding(&[first], keep, violation))
    }

    /// Loses the power at each boundary inside of a recovery.
    fn steps(
        self,
        first: &Loss,
        recovery: &Resumed,
        events: &[Event],
        known: &mut Known<'_>,
        report: &mut BoundaryReport,
    ) -> Option<Finding> {
        let bound = self.exploration.bound.div_ceil(DEPTH_SHARE);
        let (before, after) = recovery.recovery_calls;
        for boundary in recovery.boundaries.iter().filter(|boundary| boundary.call.number <= after) {
            let event_count = recovery.event_calls.partition_point(|calls| *calls < boundary.call.number);
            let recovered = &events[..event_count];
            let past = [known.past, recovered].concat();
            let past_index = known.pasts.iter().position(|past| past == recovered).unwrap_or_else(|| {
                known.pasts.push(recovered.to_vec());
                known.pasts.len() - 1
            });
            let effects = boundary.disk.pending();
            let images = Images::new(&effects, boundary.disk.options().granule, boundary.call.number);
            let mut left = bound;
            let mut share = 0;
            for class in images.classes(bound) {
                share += class.share;
                for choice in class.choices {
                    if left == 0 || share == 0 {
                        break;
                    }
                    let keep = Keep::Chosen(choice);
                    let disk = boundary.disk.image(&keep);
                    if !known.seen_in_recovery.insert((past_index, disk.image_hash())) {
                        continue;
                    }
                    share -= 1;
                    left -= 1;
                    report.states_in_recovery += 1;
                    let resumed = self.resume(&disk, &past, &keep, false);
                    report.recoveries += resumed.recoveries();
                    let followed = [recovered, &resumed.events].concat();
                    if let Err(violation) = known.judge.verdict(followed) {
                        let second = Loss { call: boundary.call.number - before, keep: keep.clone() };
                        return Some(self.finding(&[first.clone(), second], &keep, violation));
                    }
                }
            }
        }
        None
    }

    fn resume(self, disk: &SimDisk, past: &[Event], keep: &Keep, with_boundaries: bool) -> Resumed {
        let Exploration { plan, factory, .. } = *self.exploration;
        let calls = with_boundaries.then_some(1..=u64::MAX);
        resume(factory, &plan.config, disk, past, self.steps_after(keep), calls)
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
