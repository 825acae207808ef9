//! The switches that a plan asks for, and which of them have come.

use std::collections::BTreeMap;

use crate::plan::{Plan, Step, Switch, Thread};

/// A switch point: the plan's step that a thread is in, none before all steps; and how many points it has passed in it.
pub(super) type Point = (Option<usize>, u32);

/// The switches of a plan.
#[derive(Debug)]
pub(super) struct Record {
    /// Who is to go on at which point; none once that has come.
    switches: BTreeMap<Point, Option<Thread>>,
    /// How many have not come. Of several at one point only the first ever does.
    unapplied: usize,
}

impl Record {
    pub(super) fn new(plan: &Plan) -> Record {
        let mut record = Record { switches: BTreeMap::new(), unapplied: 0 };
        let mut latest = None;
        for (index, step) in plan.steps.iter().enumerate() {
            match step {
                Step::Switch(Switch { point, to }) => {
                    record.switches.entry((latest, *point)).or_insert(Some(*to));
                    record.unapplied += 1;
                }
                _ => latest = Some(index),
            }
        }
        record
    }

    /// Who goes on at this point, if the plan asks for anybody there, and whom it asks for can be found.
    pub(super) fn take<T>(&mut self, at: Point, find: impl FnOnce(Thread) -> Option<T>) -> Option<T> {
        let switch = self.switches.get_mut(&at)?;
        let found = find((*switch)?)?;
        *switch = None;
        self.unapplied -= 1;
        Some(found)
    }

    /// How many switches have not come: their point was not reached, or whom they name could not go on there.
    pub(super) fn unapplied(&self) -> usize {
        self.unapplied
    }
}

#[cfg(test)]
mod tests {
    use proofmark_model::ClientId;

    use super::*;

    #[test]
    fn switches_come_once_and_where_they_stand() {
        let steps = "switch point=1 to=c1\nc0 begin read\nswitch point=2 to=c1\nswitch point=2 to=upkeep\nc1 begin read\n";
        let plan: Plan = format!("proofmark plan 1\nschedule threads recorded\n{steps}").parse().unwrap();
        let mut record = Record::new(&plan);
        assert_eq!(record.unapplied(), 3);
        assert_eq!(record.take((Some(1), 1), Some), None, "nobody is asked for");
        assert_eq!(record.take((Some(1), 2), |_| None::<Thread>), None, "whom it names can't go on");
        assert_eq!(record.unapplied(), 3);
        let c1 = Thread::Client(ClientId(1));
        assert_eq!(record.take((None, 1), Some), Some(c1));
        assert_eq!(record.take((Some(1), 2), Some), Some(c1));
        assert_eq!(record.take((Some(1), 2), Some), None, "it has come");
        assert_eq!(record.unapplied(), 1);
    }
}
