//! Fewer power losses, earlier ones, and plainer survivors.
//!
//! A [`Keep`] that draws its survivors from a seed is first replaced by the same survivors by name, which changes
//! nothing, and then by ever fewer of them.

use super::search::{Search, Stopped, strike, strike_mut, strikes};
use super::simplify::halves;
use crate::disk::{Choice, Keep, Moment, Survival};
use crate::plan::{Plan, Schedule, Step};

/// Up to this call, every earlier one is tried.
const CALLS_MAX: u64 = 48;
/// Up to this call, plain survivors are tried at every earlier one and at a few later ones.
const CALLS_WITH_SURVIVORS_MAX: u64 = 16;

/// Takes strikes away: all but one of them, or one.
pub(super) fn drop_strikes(search: &mut Search<'_>) -> Result<(), Stopped> {
    let count = strikes(search.best()).count();
    search.attempt_with(|plan| retain(plan, |_| false))?;
    for only in (0..count).rev() {
        if search.attempt_with(|plan| retain(plan, |index| index == only))? {
            return Ok(());
        }
    }
    for going in (0..strikes(search.best()).count()).rev() {
        search.attempt_with(|plan| retain(plan, |index| index != going))?;
    }
    Ok(())
}

/// Moves each crash step to right before the step that it strikes in, so that what is removed before that step moves no
/// call.
pub(super) fn anchor(search: &mut Search<'_>) -> Result<(), Stopped> {
    for number in 0..strikes(search.best()).count() {
        let plan = search.best();
        let Some((place, 0)) = place(plan, number) else { continue };
        let Some(report) = search.best_run().strikes.get(number) else { continue };
        let struck = report.step.map_or(plan.steps.len(), |step| place_before(plan, step));
        if struck <= place + 1 {
            continue;
        }
        // A strike that was overdue comes as soon as its step is reached.
        let call = if report.site.is_some() { report.calls } else { 1 };
        search.attempt_with(|plan| {
            strike_mut(plan, number).call = call;
            plan.steps[place..struck].rotate_left(1);
        })?;
    }
    Ok(())
}

/// Replaces survivors by plainer ones.
pub(super) fn survivors(search: &mut Search<'_>) -> Result<(), Stopped> {
    for number in 0..strikes(search.best()).count() {
        if !plain_survivors(search, number)? {
            named_survivors(search, number)?;
        }
    }
    Ok(())
}

/// Lets the power fail earlier, and at plainer moments.
pub(super) fn calls(search: &mut Search<'_>) -> Result<(), Stopped> {
    for number in 0..strikes(search.best()).count() {
        let planned = strike(search.best(), number).call;
        let earlier = if planned <= CALLS_MAX { (1..planned).collect() } else { halves(planned) };
        for call in earlier.into_iter().filter(|call| *call > 0) {
            if search.attempt_with(|plan| strike_mut(plan, number).call = call)? {
                break;
            }
        }
        for moment in [Moment::Before, Moment::After] {
            search.attempt_with(|plan| strike_mut(plan, number).moment = moment)?;
        }
    }
    Ok(())
}

/// Tries what needs no names: everything, nothing, the page cache, a prefix. Whether the survivors are plain now.
fn plain_survivors(search: &mut Search<'_>, number: usize) -> Result<bool, Stopped> {
    let planned = strike(search.best(), number).clone();
    for keep in [Keep::None, Keep::All, Keep::PageCache] {
        if planned.keep == keep || search.attempt_with(|plan| strike_mut(plan, number).keep = keep.clone())? {
            return Ok(true);
        }
    }
    if planned.call <= CALLS_WITH_SURVIVORS_MAX {
        // A call earlier or later, plain survivors may come to what named ones come to here.
        for keep in [Keep::None, Keep::All] {
            for call in 1..=planned.call + 4 {
                for moment in [Moment::Before, Moment::After] {
                    let changed = |plan: &mut Plan| {
                        let strike = strike_mut(plan, number);
                        (strike.call, strike.moment, strike.keep) = (call, moment, keep.clone());
                    };
                    if search.attempt_with(changed)? {
                        return Ok(true);
                    }
                }
            }
        }
    }
    for permille in (1..10).map(|tenth| 100 * tenth) {
        if search.attempt_with(|plan| strike_mut(plan, number).keep = Keep::Prefix { permille })? {
            return Ok(true);
        }
    }
    Ok(matches!(planned.keep, Keep::Prefix { .. }))
}

/// Names the survivors, and then others for as long as that takes fewer words: fewer effects, or fewer exceptions.
fn named_survivors(search: &mut Search<'_>, number: usize) -> Result<(), Stopped> {
    let Some(report) = search.best_run().strikes.get(number) else { return Ok(()) };
    let (choice, effect_count) = (report.report.choice.clone(), report.report.effects_pending());
    let name = |search: &mut Search<'_>, survivals: &[Survival]| {
        let keep = Keep::Chosen(Choice::new(survivals));
        search.attempt_with(|plan| strike_mut(plan, number).keep = keep)
    };
    let mut survivals = fates(&choice, effect_count as usize);
    name(search, &survivals)?;
    if !matches!(strike(search.best(), number).keep, Keep::Chosen(_)) {
        return Ok(());
    }
    let fates = [Survival::Dropped, Survival::Kept];
    flip(&mut survivals, &fates, |survivals| name(search, survivals))?;
    for effect in 0..survivals.len() {
        if let Survival::Torn(parts) = &survivals[effect] {
            let mut parts = parts.clone();
            flip(&mut parts, &[false, true], |parts| {
                let mut changed = survivals.clone();
                // The last part stands for all that the write may have beyond those that were named.
                changed[effect] = Survival::of_parts([parts, &[false]].concat());
                name(search, &changed)
            })?;
            survivals[effect] = Survival::of_parts([&parts[..], &[false]].concat());
        }
    }
    Ok(())
}

/// What becomes of each effect. A write that is torn gets as many parts as are named.
fn fates(choice: &Choice, effect_count: usize) -> Vec<Survival> {
    let part_counts: Vec<u64> =
        (0..effect_count).map(|effect| choice.parts_named(effect as u64) + 1).collect();
    choice.survivals(&part_counts)
}

/// Sets ever smaller chunks of `items` to one of `values`, and keeps what `is_taken`.
fn flip<T: Clone + PartialEq>(
    items: &mut Vec<T>,
    values: &[T],
    mut is_taken: impl FnMut(&[T]) -> Result<bool, Stopped>,
) -> Result<(), Stopped> {
    let mut chunk = items.len();
    while chunk > 0 {
        for start in (0..items.len()).step_by(chunk) {
            let end = items.len().min(start + chunk);
            for value in values {
                let mut changed = items.clone();
                changed[start..end].fill(value.clone());
                if changed != *items && is_taken(&changed)? {
                    *items = changed;
                    break;
                }
            }
        }
        chunk /= 2;
    }
    Ok(())
}

/// Where a crash step goes that is to strike in this step: before it, or, where threads take it beside other steps, before all
/// of them, since only then do they go on beside each other.
fn place_before(plan: &Plan, step: usize) -> usize {
    let is_of_threads = matches!(plan.schedule, Schedule::Threads(_));
    if !is_of_threads || plan.steps[step].thread().is_none() {
        return step;
    }
    let ends_a_phase = |step: &Step| step.thread().is_none() && !matches!(step, Step::Switch(_));
    plan.steps[..step].iter().rposition(ends_a_phase).map_or(0, |before| before + 1)
}

/// The step in which a strike is written, and its place there.
fn place(plan: &Plan, number: usize) -> Option<(usize, usize)> {
    let mut before = 0;
    for (index, step) in plan.steps.iter().enumerate() {
        let Step::Crash(spec) = step else { continue };
        if number < before + spec.strikes.len() {
            return Some((index, number - before));
        }
        before += spec.strikes.len();
    }
    None
}

/// Leaves those strikes whose number `stays`, and no crash step without any.
fn retain(plan: &mut Plan, stays: impl Fn(usize) -> bool) {
    let mut number = 0;
    plan.steps.retain_mut(|step| {
        let Step::Crash(spec) = step else { return true };
        spec.strikes.retain(|_| {
            number += 1;
            stays(number - 1)
        });
        !spec.strikes.is_empty()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(steps: &str) -> Plan {
        format!("proofmark plan 1\n{steps}").parse().unwrap()
    }

    #[test]
    fn strikes_are_counted_through_all_crash_steps() {
        let steps =
            "crash call=1 before keep=none, call=2 before keep=all\nverify\ncrash call=3 after keep=none";
        let mut two = plan(steps);
        assert_eq!(
            [0, 1, 2, 3].map(|number| place(&two, number)),
            [Some((0, 0)), Some((0, 1)), Some((2, 0)), None]
        );
        retain(&mut two, |number| number != 0);
        assert_eq!(two, plan("crash call=2 before keep=all\nverify\ncrash call=3 after keep=none"));
        retain(&mut two, |number| number == 0);
        assert_eq!(two, plan("crash call=2 before keep=all\nverify"));
    }

    #[test]
    fn a_strike_goes_before_all_that_threads_do_beside_each_other() {
        let steps = "c0 begin read\ncompact\nswitch point=1 to=c1\nc0 abort\nverify\nswitch point=2 to=c1\nc1 begin read\nreopen";
        let threads = plan(&format!("schedule threads recorded\n{steps}"));
        assert_eq!([0, 1, 3, 4, 6, 7].map(|step| place_before(&threads, step)), [0, 1, 2, 2, 2, 7]);
        let in_order = plan(steps);
        assert_eq!([0, 1, 3, 4, 6, 7].map(|step| place_before(&in_order, step)), [0, 1, 3, 4, 6, 7]);
    }

    #[test]
    fn flipping_ends_where_no_chunk_can_be_flipped() {
        let mut items = vec![1; 9];
        let mut asked = 0;
        let needs_two = |items: &[u8]| {
            asked += 1;
            Ok(items[2] == 1 && items[7] == 1)
        };
        flip(&mut items, &[0], needs_two).unwrap();
        assert_eq!(items, [0, 0, 1, 0, 0, 0, 0, 1, 0]);
        assert!(asked < 20, "{asked} questions");
    }

    #[test]
    fn fates_name_what_the_choice_names() {
        let choice: Choice = "chosen:0..2+3[1+4]".parse().unwrap();
        let torn = Survival::Torn(vec![false, true, false, false, true, false]);
        let expected = [Survival::Kept, Survival::Kept, Survival::Dropped, torn, Survival::Dropped];
        assert_eq!(fates(&choice, 5), expected);
        assert_eq!(Choice::new(&expected), choice);
    }
}
