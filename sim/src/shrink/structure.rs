//! Fewer steps: what comes after the violation, whole clients, whole transactions, and single steps.
//!
//! Groups of steps are taken away in chunks, from all at once down to single groups (delta debugging: Zeller and
//! Hildebrandt, TSE 2002), from the plan's end backwards, because what comes last matters least.

use std::collections::{BTreeMap, BTreeSet};

use proofmark_model::ClientId;

use super::search::{Search, Stopped};
use crate::plan::{Action, Plan, Schedule, Step, Switch, Thread};

/// Of a plan with more steps than this no pairs are taken away.
const PAIRED_MAX: usize = 24;

/// Takes away everything after the step that caused the violation.
pub(super) fn cut(search: &mut Search<'_>) -> Result<(), Stopped> {
    let event = search.violation().step;
    if let Some(Some(last)) = search.best_run().event_steps.get(event).copied() {
        search.attempt_with(|plan| plan.steps.truncate(last + 1))?;
    }
    if search.best().schedule == Schedule::Sequential {
        return Ok(());
    }
    // Threads take their steps in no order that the plan knows.
    let event = search.violation().step;
    let taken: BTreeSet<usize> =
        search.best_run().event_steps.iter().take(event + 1).flatten().copied().collect();
    let is_late = |(index, step): (usize, &Step)| step.thread().is_some() && !taken.contains(&index);
    let late = search.best().steps.iter().enumerate().filter(|(index, step)| is_late((*index, step)));
    let late: BTreeSet<usize> = with_switches(search.best(), late.map(|(index, _)| vec![index]).collect())
        .into_iter()
        .flatten()
        .collect();
    let mut candidate = search.best().clone();
    let mut index = 0;
    candidate.steps.retain(|_| {
        index += 1;
        !late.contains(&(index - 1))
    });
    search.attempt(candidate).map(|_| ())
}

/// Takes clients away, each with all it does.
pub(super) fn drop_clients(search: &mut Search<'_>) -> Result<(), Stopped> {
    let mut clients: BTreeMap<ClientId, Vec<usize>> = BTreeMap::new();
    for (index, step) in search.best().steps.iter().enumerate() {
        if let Step::Client(client, _) = step {
            clients.entry(*client).or_default().push(index);
        }
    }
    let groups = with_switches(search.best(), clients.into_values().collect());
    drop_groups(search, groups)
}

/// Takes transactions away, each from its beginning to its end.
pub(super) fn drop_transactions(search: &mut Search<'_>) -> Result<(), Stopped> {
    let groups = with_switches(search.best(), transactions(search.best()));
    drop_groups(search, groups)
}

/// Takes single steps away.
pub(super) fn drop_steps(search: &mut Search<'_>) -> Result<(), Stopped> {
    let groups = steps(search.best());
    drop_groups(search, groups)
}

/// The single steps, each with the switches that belong to it.
fn steps(plan: &Plan) -> Vec<Vec<usize>> {
    let is_switch = |index: &usize| matches!(plan.steps[*index], Step::Switch(_));
    let steps = (0..plan.steps.len()).filter(|index| !is_switch(index)).map(|index| vec![index]);
    with_switches(plan, steps.collect())
}

/// Adds to each group the switches that belong to its steps.
fn with_switches(plan: &Plan, mut groups: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
    for group in &mut groups {
        let belongs = |step: usize| {
            (step + 1..plan.steps.len()).take_while(|index| matches!(plan.steps[*index], Step::Switch(_)))
        };
        let switches: Vec<usize> = group.iter().flat_map(|step| belongs(*step)).collect();
        group.extend(switches);
    }
    groups
}

/// Takes two steps away that only make sense together, wherever they stand; whether there were any. Of a plan that is
/// still long there are too many pairs.
pub(super) fn drop_pair(search: &mut Search<'_>) -> Result<bool, Stopped> {
    let steps = steps(search.best());
    let count = steps.len();
    if count > PAIRED_MAX {
        return Ok(false);
    }
    for second in (1..count).rev() {
        for first in (0..second).rev() {
            let without = |plan: &mut Plan| {
                for group in [&steps[second], &steps[first]] {
                    plan.steps.drain(group[0]..group[0] + group.len());
                }
            };
            if search.attempt_with(without)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Lets one client do what two did, and gives those that are left the smallest numbers.
pub(super) fn merge_clients(search: &mut Search<'_>) -> Result<(), Stopped> {
    let clients: BTreeSet<ClientId> = search.best().steps.iter().filter_map(client).collect();
    for from in clients.iter().rev() {
        for to in (0..from.0).map(ClientId) {
            // A number that nobody has gives the client another name, and one that somebody has makes two into one.
            let is_taken = search.attempt_with(|plan| rename_client(plan, *from, to))?;
            if is_taken {
                break;
            }
        }
    }
    Ok(())
}

/// The steps of each transaction, by where it begins.
fn transactions(plan: &Plan) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut open: BTreeMap<ClientId, usize> = BTreeMap::new();
    for (index, step) in plan.steps.iter().enumerate() {
        let Step::Client(client, action) = step else { continue };
        match (action, open.get(client).copied()) {
            (Action::Begin(_), None) => {
                open.insert(*client, groups.len());
                groups.push(vec![index]);
            }
            (Action::Commit(_) | Action::Submit | Action::Abort | Action::Panic, Some(group)) => {
                groups[group].push(index);
                open.remove(client);
            }
            (_, Some(group)) => groups[group].push(index),
            (_, None) => {}
        }
    }
    groups
}

/// Takes groups of steps away, many at a time first.
pub(super) fn drop_groups(search: &mut Search<'_>, mut groups: Vec<Vec<usize>>) -> Result<(), Stopped> {
    let mut steps: Vec<Option<Step>> = search.best().steps.iter().cloned().map(Some).collect();
    let mut chunk = groups.len();
    while chunk > 0 {
        let mut end = groups.len();
        while end > 0 {
            let start = end.saturating_sub(chunk);
            let going: BTreeSet<usize> = groups[start..end].iter().flatten().copied().collect();
            if drop_indices(search, &mut steps, &going, chunk == 1)? {
                groups.drain(start..end);
            }
            end = start;
        }
        chunk /= 2;
    }
    Ok(())
}

/// Takes these steps of the best plan away. `steps` are those of the plan, in places that do not shift.
fn drop_indices(
    search: &mut Search<'_>,
    steps: &mut [Option<Step>],
    going: &BTreeSet<usize>,
    is_anchored: bool,
) -> Result<bool, Stopped> {
    let stays =
        |(index, step): (usize, &Option<Step>)| if going.contains(&index) { None } else { step.clone() };
    let left = steps.iter().enumerate().filter_map(stays).collect();
    let candidate = Plan { steps: left, ..search.best().clone() };
    let is_taken =
        if is_anchored { search.attempt_anchored(&candidate)? } else { search.attempt(candidate)? };
    if is_taken {
        going.iter().for_each(|index| steps[*index] = None);
        // Strikes may have moved on the way.
        let places = steps.iter_mut().filter(|step| step.is_some());
        places.zip(&search.best().steps).for_each(|(place, step)| *place = Some(step.clone()));
    }
    Ok(is_taken)
}

fn client(step: &Step) -> Option<ClientId> {
    if let Step::Client(client, _) = step { Some(*client) } else { None }
}

fn rename_client(plan: &mut Plan, from: ClientId, to: ClientId) {
    for step in &mut plan.steps {
        match step {
            Step::Client(client, _) if *client == from => *client = to,
            Step::Switch(Switch { to: Thread::Client(client), .. }) if *client == from => *client = to,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_what_one_client_does_from_begin_to_end() {
        let plan: Plan = "proofmark plan 1\n\
            c0 get \"k\"\nc0 begin write\nc1 begin read\nc0 put \"k\" #1*8\ncheckpoint\nc0 commit sync\n\
            c0 wait\nc0 begin read\nc1 get \"k\"\nc0 abort\n"
            .parse()
            .unwrap();
        assert_eq!(transactions(&plan), [vec![1, 3, 5], vec![2, 8], vec![7, 9]]);
    }
}
