//! `proofmark replay`: one run again, told step by step.

use std::io::{self, Write};

use proofmark_model::{Event, Violation};
use proofmark_sim::campaign::judge_seed_of;
use proofmark_sim::plan::{Plan, Schedule, Threads};
use proofmark_sim::run::{Run, RunStats, trace_plan};
use proofmark_sim::schedule::check;
use proofmark_sim::store::StoreKind;
use proofmark_sim::workload::Source;

use super::narrative::{self, Detail};
use super::output::{STYLE_GOOD, counted};
use super::subject::{Origin, Subject};
use super::{Ending, ReplayArguments, plan_file, violation};

pub(super) const EXAMPLES: &str = "\
A number is a seed. Anything else is a plan file, so `./1234` is a file and 1234 is not.
A seed means one run for one version of this program; a plan file keeps its meaning. Only the switches of threads that
a plan has recorded belong to one version of the store, too: the summary says so if some of them do not come any more.

Exit code: 0 if the store kept its promises, 1 if it broke one, 2 if there is nothing to run.

Examples:
  proofmark replay 1234 --store redb
  proofmark replay 1234 --trace | less
  proofmark replay 1234 --save lost-commit.plan
  proofmark replay 1234 --torture                a seed of `proofmark torture`
  proofmark replay lost-commit.plan";

/// Repeats a run and prints what happened.
pub(super) fn replay(arguments: &ReplayArguments, out: &mut impl Write) -> anyhow::Result<Ending> {
    let Subject { plan, origin, command } =
        Subject::find(&arguments.target, arguments.store, arguments.source.source()?)?;
    check(&plan, plan.store.factory())?;
    // What a schedule has made of such a plan is known when it was run.
    let is_drawn = matches!(plan.schedule, Schedule::Tasks(_) | Schedule::Threads(Threads::Drawn(_)));
    if let Some(path) = &arguments.save {
        if is_drawn { plan_file::check_new(path)? } else { plan_file::write_new(path, &plan)? }
    }
    let run = trace_plan(&plan, plan.store.factory());
    if let (Some(path), true) = (&arguments.save, is_drawn) {
        plan_file::write_new(path, &as_it_ran(&plan, &run))?;
    }
    let detail = if arguments.trace { Detail::Everything } else { Detail::Outcomes };
    writeln!(out, "{}", title(&plan))?;
    narrative::write(&run, detail, out)?;
    writeln!(out, "\n{}", summary(&run, &plan))?;
    let verdict = match origin {
        Origin::Seed(seed, source) => judge(source, seed, plan.store, out)?,
        Origin::File(_) => run.verdict.clone(),
    };
    match verdict {
        Ok(()) => {
            writeln!(out, "{STYLE_GOOD}no violation{STYLE_GOOD:#}")?;
            Ok(Ending::Sound)
        }
        Err(found) => {
            violation::write(&found, &plan, &run, &command, out)?;
            Ok(Ending::Unsound)
        }
    }
}

/// The plan of a run without anything in it that is drawn, unless it came to no end in virtual time.
fn as_it_ran(plan: &Plan, run: &Run) -> Plan {
    let is_stuck = matches!(run.history.events.last(), Some(Event::Stuck { .. }));
    match &run.taken {
        // In order there is no time that could pass in vain.
        Some(_) if is_stuck => plan.clone(),
        Some(taken) => plan.of_taken(taken),
        None => plan.recorded(&run.switches),
    }
}

/// Judges a seed as a campaign does: with the comparisons that belong to it, and with the hash that it counts by.
fn judge(
    source: Source,
    seed: u64,
    store: StoreKind,
    out: &mut impl Write,
) -> io::Result<Result<(), Violation>> {
    let report = judge_seed_of(source, seed, store, store.factory());
    if report.stats.comparisons > 0 {
        writeln!(out, "{} metamorphic pairs of runs compared", report.stats.comparisons)?;
    }
    writeln!(out, "seed hash {:016x}", report.trace_hash)?;
    Ok(report.verdict)
}

fn title(plan: &Plan) -> String {
    let origin = plan.seed.map_or_else(String::new, |seed| format!("seed {seed}, "));
    format!("{origin}store {}, {} steps\n", plan.store, plan.steps.len())
}

fn summary(run: &Run, plan: &Plan) -> String {
    let RunStats { operations, commits, steps_skipped, crashes, recoveries, io_calls, sabotages, .. } =
        &run.stats;
    let mut lines = vec![
        format!(
            "{}, {}, {}, {}",
            counted(*operations, "operation", "operations"),
            counted(*commits, "commit", "commits"),
            counted(*steps_skipped, "step skipped", "steps skipped"),
            counted(*io_calls, "I/O call", "I/O calls"),
        ),
        format!(
            "{}, {}, {} at the end, {}",
            counted(crashes.power_losses(), "power loss", "power losses"),
            counted(crashes.process_deaths, "process death", "process deaths"),
            counted(crashes.end, "power loss", "power losses"),
            counted(*recoveries, "recovery", "recoveries"),
        ),
    ];
    if run.stats.switch_points > 0 {
        lines.push(format!(
            "{}, {}",
            counted(run.stats.switch_points, "switch point", "switch points"),
            counted(run.stats.context_switches, "context switch", "context switches"),
        ));
    }
    if run.switches_unapplied > 0 {
        // Whoever keeps the plan has to know that it is no longer the run that it was kept for.
        let missing = counted(
            run.switches_unapplied as u64,
            "switch of the plan did not come",
            "switches of the plan did not come",
        );
        lines.push(format!("{missing}: this is another run than the one that was recorded"));
    }
    if !plan.sabotage.is_empty() {
        let planted = counted(plan.sabotage.len() as u64, "fault planted", "faults planted");
        lines.push(format!("{planted}, fired {}", counted(*sabotages, "time", "times")));
    }
    lines.push(format!("trace hash {:016x}", run.trace_hash));
    lines.join("\n")
}
