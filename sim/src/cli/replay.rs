//! `proofmark replay`: one run again, told step by step.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;

use anyhow::bail;
use proofmark_model::Violation;
use proofmark_sim::campaign::judge_seed;
use proofmark_sim::plan::Plan;
use proofmark_sim::run::{Run, RunStats, trace_plan};
use proofmark_sim::store::StoreKind;
use proofmark_sim::workload;

use super::narrative::{self, Detail};
use super::output::{STYLE_GOOD, counted};
use super::{Ending, ReplayArguments, plan_file, violation};

pub(super) const EXAMPLES: &str = "\
A number is a seed. Anything else is a plan file, so `./1234` is a file and 1234 is not.
A seed means one run for one version of this program; a plan file keeps its meaning.

Exit code: 0 if the store kept its promises, 1 if it broke one, 2 if there is nothing to run.

Examples:
  proofmark replay 1234 --store redb
  proofmark replay 1234 --trace | less
  proofmark replay 1234 --save lost-commit.plan
  proofmark replay lost-commit.plan";

/// Repeats a run and prints what happened.
pub(super) fn replay(arguments: &ReplayArguments, out: &mut impl Write) -> anyhow::Result<Ending> {
    let Subject { plan, seed, command } = find_subject(&arguments.target, arguments.store)?;
    if let Some(path) = &arguments.save {
        plan_file::write_new(path, &plan)?;
    }
    if arguments.print_plan {
        write!(out, "{plan}")?;
        return Ok(Ending::Sound);
    }
    let run = trace_plan(&plan, plan.store.factory());
    let detail = if arguments.trace { Detail::Everything } else { Detail::Outcomes };
    writeln!(out, "{}", title(&plan))?;
    narrative::write(&run, detail, out)?;
    writeln!(out, "\n{}", summary(&run, &plan))?;
    let verdict = match seed {
        Some(seed) => judge(seed, plan.store, out)?,
        None => run.verdict.clone(),
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

/// What is to be replayed.
struct Subject {
    plan: Plan,
    /// None if it came from a file: a plan is one run, and is compared with no others.
    seed: Option<u64>,
    /// The command that replays it.
    command: String,
}

/// Judges a seed as a campaign does: with the comparisons that belong to it, and with the hash that it counts by.
fn judge(seed: u64, store: StoreKind, out: &mut impl Write) -> io::Result<Result<(), Violation>> {
    let report = judge_seed(seed, store, store.factory());
    if report.stats.comparisons > 0 {
        writeln!(out, "{} metamorphic pairs of runs compared", report.stats.comparisons)?;
    }
    writeln!(out, "seed hash {:016x}", report.trace_hash)?;
    Ok(report.verdict)
}

fn find_subject(target: &OsStr, store: Option<StoreKind>) -> anyhow::Result<Subject> {
    let text = target.to_str().unwrap_or_default();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let Ok(seed) = text.parse() else {
            bail!("{text} is too large for a seed: the largest is {}", u64::MAX)
        };
        let store = store.unwrap_or_default();
        let plan = workload::generate(seed, store);
        return Ok(Subject { plan, seed: Some(seed), command: violation::command_for_seed(seed, store) });
    }
    let mut plan = plan_file::read(Path::new(target))?;
    plan.store = store.unwrap_or(plan.store);
    let command = violation::command_for_file(target, plan.store);
    Ok(Subject { plan, seed: None, command })
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
    if !plan.sabotage.is_empty() {
        let planted = counted(plan.sabotage.len() as u64, "fault planted", "faults planted");
        lines.push(format!("{planted}, fired {}", counted(*sabotages, "time", "times")));
    }
    lines.push(format!("trace hash {:016x}", run.trace_hash));
    lines.join("\n")
}
