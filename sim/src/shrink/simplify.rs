//! Plainer operations: for each step, what asks for less and might fail all the same.

use std::collections::BTreeSet;
use std::ops::Bound;

use proofmark_model::{Durability, Key, KeyRange, Operation};

use super::search::{Search, Stopped};
use super::setting::plainer_faults;
use super::weight::bounds;
use crate::plan::{Action, Begin, Cursor, Plan, Step};

/// Replaces operations by plainer ones.
pub(super) fn operations(search: &mut Search<'_>) -> Result<(), Stopped> {
    let keys = keys(search.best());
    for index in 0..search.best().steps.len() {
        // What is taken keeps the number of steps.
        for plainer in plainer(&search.best().steps[index], &keys) {
            if search.attempt_with(|plan| plan.steps[index] = plainer)? {
                break;
            }
        }
    }
    Ok(())
}

/// Every key of the plan's operations.
pub(super) fn keys(plan: &Plan) -> BTreeSet<Key> {
    let mut keys = BTreeSet::new();
    for step in &plan.steps {
        let Step::Client(_, Action::Operation(operation)) = step else { continue };
        match operation {
            Operation::Get { key } | Operation::Put { key, .. } | Operation::Delete { key } => {
                keys.insert(key.clone());
            }
            Operation::Scan { range, .. } | Operation::DeleteRange { range } => {
                keys.extend(bounds(range).map(<[u8]>::to_vec));
            }
            Operation::Savepoint { .. } | Operation::Rollback { .. } => {}
        }
    }
    keys
}

/// What may stand in a step's place, the plainest first.
fn plainer(step: &Step, keys: &BTreeSet<Key>) -> Vec<Step> {
    match step {
        Step::Client(client, action) => {
            plainer_actions(action, keys).into_iter().map(|action| Step::Client(*client, action)).collect()
        }
        Step::Compact | Step::Reopen => vec![Step::Checkpoint],
        Step::Abandon => vec![Step::Checkpoint, Step::Reopen],
        Step::Changes { cursor, limit } => {
            [(Cursor::Saved, usize::MAX), (Cursor::Saved, *limit), (*cursor, usize::MAX)]
                .map(|(cursor, limit)| Step::Changes { cursor, limit })
                .to_vec()
        }
        Step::Space(Some(bytes)) => {
            halves(*bytes).into_iter().map(|bytes| Step::Space(Some(bytes))).collect()
        }
        Step::Fault(fault) => plainer_faults(fault).into_iter().map(Step::Fault).collect(),
        Step::Checkpoint
        | Step::Backup
        | Step::Space(None)
        | Step::Heal
        | Step::Verify
        | Step::Crash(_)
        | Step::Switch(_) => Vec::new(),
    }
}

fn plainer_actions(action: &Action, keys: &BTreeSet<Key>) -> Vec<Action> {
    match action {
        Action::Begin(Begin::ReadBack(back)) => {
            let mut begins = vec![Action::Begin(Begin::Read)];
            let nearer = halves(back.unsigned_abs()).into_iter().filter_map(|near| i64::try_from(near).ok());
            begins.extend(nearer.map(|near| Action::Begin(Begin::ReadBack(near * back.signum()))));
            begins
        }
        Action::Begin(Begin::Optimistic) => vec![Action::Begin(Begin::Write)],
        Action::Commit(Durability::Buffered) | Action::Submit => vec![Action::Commit(Durability::Sync)],
        Action::Mark { mark, is_persistent: true } => {
            vec![Action::Mark { mark: *mark, is_persistent: false }]
        }
        Action::Panic => vec![Action::Abort],
        Action::Operation(operation) => {
            plainer_operations(operation, keys).into_iter().map(Action::Operation).collect()
        }
        Action::Begin(Begin::Read | Begin::Write)
        | Action::Commit(Durability::Sync)
        | Action::Wait
        | Action::Abort
        | Action::Mark { is_persistent: false, .. }
        | Action::Restore(_)
        | Action::Forget(_)
        | Action::Tend => Vec::new(),
    }
}

fn plainer_operations(operation: &Operation, keys: &BTreeSet<Key>) -> Vec<Operation> {
    let one_key =
        |range: &KeyRange| keys.iter().filter(|key| range.contains(key)).cloned().collect::<Vec<_>>();
    match operation {
        Operation::Scan { range, limit, reverse } => {
            let scan = |range, limit, reverse| Operation::Scan { range, limit, reverse };
            let mut plainer: Vec<Operation> =
                one_key(range).into_iter().map(|key| Operation::Get { key }).collect();
            plainer.extend(wider(range).into_iter().map(|wide| scan(wide, usize::MAX, false)));
            plainer.extend(wider(range).into_iter().map(|wide| scan(wide, *limit, *reverse)));
            plainer.push(scan(range.clone(), usize::MAX, *reverse));
            plainer.push(scan(range.clone(), *limit, false));
            plainer
        }
        Operation::DeleteRange { range } => {
            let mut plainer: Vec<Operation> =
                one_key(range).into_iter().map(|key| Operation::Delete { key }).collect();
            plainer.extend(wider(range).into_iter().map(|range| Operation::DeleteRange { range }));
            plainer
        }
        Operation::Get { .. }
        | Operation::Put { .. }
        | Operation::Delete { .. }
        | Operation::Savepoint { .. }
        | Operation::Rollback { .. } => Vec::new(),
    }
}

/// The range without one of its ends, or without both.
fn wider(range: &KeyRange) -> Vec<KeyRange> {
    let with = |start: Bound<Key>, end: Bound<Key>| KeyRange { start, end };
    vec![
        KeyRange::all(),
        with(range.start.clone(), Bound::Unbounded),
        with(Bound::Unbounded, range.end.clone()),
    ]
}

/// 0, 1, and the number halved, over and over; ascending.
pub(super) fn halves(number: u64) -> Vec<u64> {
    let mut halves: Vec<u64> = std::iter::successors(Some(number / 2), |half| Some(half / 2))
        .take_while(|half| *half > 1)
        .chain([1, 0])
        .filter(|half| *half < number)
        .collect();
    halves.reverse();
    halves
}

#[cfg(test)]
mod tests {
    use super::super::weight::Weight;
    use super::*;

    #[test]
    fn halves_go_down_to_nothing() {
        assert_eq!(halves(9), [0, 1, 2, 4]);
        assert_eq!(halves(1), [0]);
        assert!(halves(0).is_empty());
    }

    #[test]
    fn what_is_plainer_is_lighter() {
        let plan: Plan = "proofmark plan 1\nc0 begin optimistic\nc0 begin read back=5\nc0 put \"b\" #1*8\n\
            c0 scan (\"a\" .. \"c\"] limit=3 reverse\nc0 delete-range [\"a\" .. \"c\")\nc0 commit buffered\n\
            c0 submit\nchanges back=2 limit=9\nspace 8192\nfault sync-lost nth=3\ncompact\n"
            .parse()
            .unwrap();
        let keys = keys(&plan);
        assert_eq!(keys.len(), 3);
        for (index, step) in plan.steps.iter().enumerate() {
            let plainer = plainer(step, &keys);
            assert_eq!(plainer.is_empty(), index == 2, "{step}");
            let weigh = |step: &Step| Weight::of(&Plan { steps: vec![step.clone()], ..plan.clone() });
            let lightest = plainer.iter().map(weigh).min();
            assert!(lightest.is_none_or(|lightest| lightest < weigh(step)), "nothing is plainer than {step}");
        }
    }
}
