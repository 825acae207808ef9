//! `proofmark run`: many seeds, and one table of what was done.

use std::io::Write;

use anyhow::{Context, bail};
use proofmark_sim::campaign::{Campaign, Summary};
use proofmark_sim::run::run_plan;
use proofmark_sim::schedule::check;
use proofmark_sim::store::StoreKind;
use proofmark_sim::workload::Source;

use super::clock::Stopwatch;
use super::determinism::Hashes;
use super::interrupt::Interrupt;
use super::output::{STYLE_BAD, STYLE_GOOD, STYLE_NOTABLE, grouped};
use super::progress::{Goal, Progress};
use super::{Ending, RunArguments, SeedArguments, determinism, processors, summary, violation};

pub(super) const EXAMPLES: &str = "\
Every violation is printed with the command that reproduces it; after the tenth the run ends.
Ctrl-C finishes the seeds under way and prints what was done; a second one ends at once.

Exit code: 0 if every promise was kept, 1 if one was broken, 2 if it cannot run, 130 after Ctrl-C.

Examples:
  proofmark run                                 5000 seeds of the engine
  proofmark run --store redb --seeds 200
  proofmark run --time 10m --start 1000000      as many as ten minutes allow
  proofmark run --schedule threads --seeds 500  clients are threads; see also `torture`
  proofmark run --check-determinism             every seed twice, compared event by event
  proofmark run --seed 1234                     one seed; `replay 1234` tells its story";

/// How many seeds are run, if nothing else is said.
const SEEDS_DEFAULT: u64 = 5000;
/// After how many violations a campaign ends: more of them rarely say more.
const VIOLATIONS_MAX: usize = 10;

/// Runs seeds, and prints violations and the table.
pub(super) fn run(arguments: &RunArguments, out: &mut impl Write) -> anyhow::Result<Ending> {
    let source = arguments.schedule.source();
    let campaign = campaign(arguments.store, source, &arguments.seeds, SEEDS_DEFAULT)?;
    carry_out(campaign, &arguments.seeds, out)
}

/// Runs a campaign, for so long at most, and every seed twice if that is asked for.
pub(super) fn carry_out(
    campaign: Campaign<'_>,
    seeds: &SeedArguments,
    out: &mut impl Write,
) -> anyhow::Result<Ending> {
    let SeedArguments { time, check_determinism, .. } = *seeds;
    let interrupt = Interrupt::listen()?;
    let stopwatch = Stopwatch::start();
    let goal = Goal { store: campaign.store, seeds: campaign.seed_count, time };
    let progress = Progress::start(goal, stopwatch);
    // What is to be run twice gets half of the time for the first round.
    let time = time.map(|time| if check_determinism { time / 2 } else { time });
    let should_stop = || interrupt.is_requested() || time.is_some_and(|time| stopwatch.elapsed() >= time);
    let hashes = check_determinism.then(Hashes::default);
    let show = |summary: &Summary| {
        progress.show(summary.seeds, summary.violations.len());
        hashes.iter().for_each(|hashes| hashes.take(summary));
    };
    let summary = campaign
        .run(should_stop, show)
        .with_context(|| format!("cannot start {} threads; fewer --jobs may do", campaign.jobs))?;
    let elapsed = stopwatch.elapsed();
    progress.finish();

    report_violations(&campaign, &summary, out)?;
    let figures = summary::figures(&campaign, &summary, elapsed);
    writeln!(out, "{}", figures.render())?;
    let mut was_stopped = interrupt.is_requested() && campaign.seed_count != Some(summary.seeds);
    let mut is_same = true;
    if let Some(hashes) = hashes {
        let goal = Goal { store: campaign.store, seeds: Some(summary.seeds), time: None };
        let progress = Progress::start(goal, Stopwatch::start());
        let show = |seeds| progress.show(seeds, 0);
        let repeated = determinism::check(&campaign, hashes, || interrupt.is_requested(), show, out)?;
        progress.finish();
        was_stopped |= repeated.was_stopped;
        is_same = repeated.is_same;
    }
    let ending = conclude(&summary, was_stopped, out)?;
    Ok(if ending == Ending::Sound && !is_same { Ending::Unsound } else { ending })
}

/// The campaign of these seeds: of so many, if nothing is said.
pub(super) fn campaign(
    store: StoreKind,
    source: Source,
    seeds: &SeedArguments,
    default: u64,
) -> anyhow::Result<Campaign<'static>> {
    let SeedArguments { seeds, start, seed, time, jobs, .. } = seeds;
    let factory = store.factory();
    check(&source.plan(0, store), factory)?;
    let seed_count = match (seed, seeds, time) {
        (Some(_), _, _) => Some(1),
        (None, Some(seeds), _) => Some(seeds.get()),
        (None, None, Some(_)) => None,
        (None, None, None) => Some(default),
    };
    let first_seed = seed.unwrap_or(*start);
    check_seeds(first_seed, seed_count)?;
    let jobs = jobs.map_or_else(processors, usize::from);
    let violations_max = VIOLATIONS_MAX;
    Ok(Campaign { store, factory, source, first_seed, seed_count, jobs, violations_max })
}

/// Whether there are so many seeds from the first one on.
pub(super) fn check_seeds(first_seed: u64, seed_count: Option<u64>) -> anyhow::Result<()> {
    if let Some(further) = seed_count.and_then(|count| count.checked_sub(1))
        && first_seed.checked_add(further).is_none()
    {
        bail!("there are not so many seeds from {first_seed} on: the largest is {}", u64::MAX);
    }
    Ok(())
}

fn report_violations(campaign: &Campaign<'_>, summary: &Summary, out: &mut impl Write) -> anyhow::Result<()> {
    for (seed, found) in &summary.violations {
        // A campaign keeps no histories. The run of a seed is cheap, and the same every time.
        let plan = campaign.source.plan(*seed, campaign.store);
        let run = run_plan(&plan, campaign.factory);
        let command = violation::command_for_seed(*seed, campaign.store, campaign.source);
        violation::write(found, &plan, &run, &command, out)?;
        writeln!(out)?;
    }
    Ok(())
}

fn conclude(summary: &Summary, was_stopped: bool, out: &mut impl Write) -> anyhow::Result<Ending> {
    let violations = summary.violations.len();
    if violations == 0 {
        writeln!(out, "{STYLE_GOOD}no violation{STYLE_GOOD:#}")?;
    } else {
        let plural = if violations == 1 { "" } else { "s" };
        let enough = if violations < VIOLATIONS_MAX { "" } else { ", which is enough" };
        writeln!(out, "{STYLE_BAD}{violations} violation{plural}{STYLE_BAD:#}{enough}")?;
    }
    if was_stopped {
        let seeds = grouped(summary.seeds);
        writeln!(out, "{STYLE_NOTABLE}interrupted{STYLE_NOTABLE:#} after {seeds} seeds")?;
        return Ok(Ending::Interrupted);
    }
    Ok(if violations == 0 { Ending::Sound } else { Ending::Unsound })
}

#[cfg(test)]
mod tests {
    use proofmark_model::{Checker, Violation};

    use super::*;

    /// A summary that claims violations of what the engine keeps.
    fn summary(violations: usize) -> Summary {
        let violation = Violation {
            checker: Checker::CrashPrefix,
            kind: "lost-acknowledged-commit",
            step: 3,
            message: "t1 is gone".to_owned(),
        };
        let violations = (40..).map(|seed| (seed, violation.clone())).take(violations).collect();
        Summary { seeds: 1234, violations, ..Summary::default() }
    }

    fn conclusion(summary: &Summary, was_stopped: bool) -> (Ending, String) {
        let mut out = anstream::StripStream::new(Vec::new());
        let ending = conclude(summary, was_stopped, &mut out).unwrap();
        (ending, String::from_utf8(out.into_inner()).unwrap())
    }

    #[test]
    fn violations_decide_the_ending_unless_it_was_interrupted() {
        let ending = |text: &str, ending| (ending, text.to_owned());
        assert_eq!(conclusion(&summary(0), false), ending("no violation\n", Ending::Sound));
        assert_eq!(conclusion(&summary(1), false), ending("1 violation\n", Ending::Unsound));
        let ten = "10 violations, which is enough\n";
        assert_eq!(conclusion(&summary(10), false), ending(ten, Ending::Unsound));
        let interrupted = "2 violations\ninterrupted after 1,234 seeds\n";
        assert_eq!(conclusion(&summary(2), true), ending(interrupted, Ending::Interrupted));
    }

    #[test]
    fn every_violation_is_reported_with_its_command() {
        let mut out = anstream::StripStream::new(Vec::new());
        report_violations(&Campaign::new(StoreKind::Engine, 2), &summary(2), &mut out).unwrap();
        let text = String::from_utf8(out.into_inner()).unwrap();
        assert_eq!(text.matches("violation: crash-prefix: lost-acknowledged-commit\n").count(), 2);
        for seed in [40, 41] {
            let command = format!("  reproduce cargo run --release -- replay {seed} --store engine\n");
            assert!(text.contains(&command), "no {command} in {text}");
        }
    }
}
