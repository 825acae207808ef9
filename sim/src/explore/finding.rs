//! What was found: a violation, and the plan that shows it.

use proofmark_model::Violation;

use super::Exploration;
use super::follow_up::FollowUp;
use super::recording::Recording;
use super::unit::{Seen, Unit};
use crate::disk::{Granule, Keep, Moment, Profile};
use crate::plan::{Plan, Step, Strike};
use crate::run::run_plan;

/// A power loss that was explored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    /// Before which call of the run; or of the recovery, counted from 1.
    pub(super) call: u64,
    pub(super) keep: Keep,
}

impl Loss {
    pub(super) fn strike(&self) -> Strike {
        Strike { call: self.call, moment: Moment::Before, keep: self.keep.clone() }
    }
}

/// A violation that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub violation: Violation,
    /// The plan that shows it: the one that was explored up to the power loss, and what a store has to do after it.
    pub plan: Plan,
    /// What a run of that plan came to. Anything but the violation is a defect of the exploration.
    pub replayed: Result<(), Violation>,
    /// Before which call of the run the power was lost.
    pub(super) call: u64,
}

/// What a violation needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The strictest profile under which it was found as well.
    pub profile: Profile,
    /// The coarsest granule with which it was found under that profile.
    pub granule: Granule,
}

impl Finding {
    pub(super) fn new(
        exploration: &Exploration<'_>,
        recording: &Recording,
        losses: &[Loss],
        follow_up: &[Step],
        violation: Violation,
    ) -> Finding {
        let call = losses[0].call;
        let strikes = losses.iter().map(Loss::strike).collect();
        let plan = recording.cut(exploration.plan, call, strikes, follow_up);
        let replayed = run_plan(&plan, exploration.factory).verdict;
        Finding { violation, plan, replayed, call }
    }

    /// Whether the plan shows the same violation.
    pub fn is_reproduced(&self) -> bool {
        is_same(&self.replayed, &self.violation)
    }
}

/// Whether a verdict is the same kind of violation.
fn is_same(verdict: &Result<(), Violation>, violation: &Violation) -> bool {
    let same = |found: &Violation| (found.checker, found.kind) == (violation.checker, violation.kind);
    verdict.as_ref().err().is_some_and(same)
}

impl Exploration<'_> {
    /// The strictest profile, and with it the coarsest granule, under which the power loss before the same call shows the
    /// same violation; none if it takes the plan's own mixture of rules.
    pub fn needs(&self, finding: &Finding) -> Option<Need> {
        let granules = Granule::ALL.into_iter().rev();
        let needs = Profile::ALL
            .into_iter()
            .flat_map(|profile| granules.clone().map(move |granule| Need { profile, granule }));
        let shows = |need: &Need| {
            let mut plan = self.plan.clone();
            need.profile.apply(&mut plan.disk);
            plan.disk.granule = need.granule;
            let recording = Recording::window(&plan, self.factory, finding.call..=finding.call);
            let moments = recording.moments();
            let exploration = Exploration { plan: &plan, jobs: 1, ..*self };
            let follow_up = FollowUp::new(&plan);
            let unit = Unit {
                exploration: &exploration,
                recording: &recording,
                follow_up: &follow_up,
                should_stop: &|| false,
            };
            let found = unit.explore(&moments, Seen::default()).finding;
            let found = found.map(|found| found.violation);
            is_same(&found.map_or(Ok(()), Err), &finding.violation)
        };
        needs.into_iter().find(shows)
    }
}
