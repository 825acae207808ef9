//! `proofmark explore`: one run, and every power loss in it.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, value_parser};
use proofmark_model::Checker;
use proofmark_sim::disk::{DiskOptions, Granule, Profile};
use proofmark_sim::explore::{BoundaryReport, Coverage, Exploration, Finding, Legal, built_in};
use proofmark_sim::plan::{Plan, Schedule};
use proofmark_sim::run::run_plan;
use proofmark_sim::store::StoreKind;

use super::clock::Stopwatch;
use super::interrupt::Interrupt;
use super::meter::Meter;
use super::output::{Figures, STYLE_BAD, STYLE_GOOD, STYLE_NOTABLE, grouped};
use super::subject::Subject;
use super::{Ending, JOBS_MAX, complain, parse_duration, plan_file, processors, store_parser, violation};

pub(super) const EXAMPLES: &str = "\
Before each I/O call that changes what a power loss could leave, the legal images of the disk are enumerated:
everything and nothing, every prefix, one or two effects missing or alone, sizes apart from bytes, torn writes, random
subsets, and all there are where there are few. Each new one is recovered, read, verified, written to, and recovered
again. Without a seed or a plan, a workload is explored that was made for it.

Exit code: 0 if every promise was kept, 1 if one was broken, 2 if there is nothing to explore, 3 if a violation was found
that its own plan does not show, which is a defect of the exploration, 130 after Ctrl-C.

Examples:
  proofmark explore
  proofmark explore --profile ext4-ordered --granule 512 --bound 5000
  proofmark explore --store redb --depth 2 --time 10m
  proofmark explore 1234 --save lost-commit.plan";

#[derive(Debug, Args)]
pub(super) struct ExploreArguments {
    #[command(flatten)]
    subject: ExploredArguments,
    /// How many power losses follow one another: 2 strikes inside of recoveries as well.
    #[arg(long, value_name = "1|2", default_value_t = 1, value_parser = value_parser!(u8).range(1..=2))]
    depth: u8,
    /// The most images of one boundary that are recovered, up to 10000000.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = bound_parser())]
    bound: usize,
    /// Explore no further after this long, such as 90s, 10m or 1h.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    time: Option<Duration>,
    /// Print a line for each boundary.
    #[arg(long)]
    boundaries: bool,
    /// Write the plan of a violation to a new file, instead of printing it. Where that fails, it is printed all the same.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

/// What is explored, and by how many.
#[derive(Debug, Args)]
pub(super) struct ExploredArguments {
    /// A seed, which is a number, or a plan file, which is anything else [default: a workload made for this].
    #[arg(value_name = "SEED|PLAN-FILE")]
    target: Option<OsString>,
    /// The store to run on [default: the plan's; the engine otherwise].
    #[arg(long, value_parser = store_parser())]
    store: Option<StoreKind>,
    /// What the file system orders by itself [default: the plan's; posix-worst for the built-in workload].
    #[arg(long, value_name = "NAME", value_parser = profile_parser())]
    profile: Option<Profile>,
    /// The unit in which writes tear, in bytes [default: the profile's, or the plan's].
    #[arg(long, value_name = "BYTES", value_parser = granule_parser())]
    granule: Option<Granule>,
    /// How many threads work, at most 1024; results do not depend on it [default: one for each processor].
    #[arg(long, value_name = "J", value_parser = value_parser!(u16).range(1..=JOBS_MAX))]
    jobs: Option<u16>,
}

impl ExploredArguments {
    /// The plans, and what they are called. There is one at least.
    pub(super) fn plans(&self, default: fn(StoreKind) -> Vec<Plan>) -> anyhow::Result<(Vec<Plan>, String)> {
        let (mut plans, name) = match &self.target {
            Some(target) => {
                let mut subject = Subject::find(target, self.store, None)?;
                if let Schedule::Tasks(_) = subject.plan.schedule {
                    let run = run_plan(&subject.plan, subject.plan.store.factory());
                    if let Err(violation) = &run.verdict
                        && violation.checker == Checker::Liveness
                    {
                        bail!(
                            "{subject} comes to no end, and has no order that could be explored: {violation}"
                        );
                    }
                    // What it comes to is explored.
                    subject.plan = run.taken.iter().fold(subject.plan, |plan, taken| plan.of_taken(taken));
                }
                if subject.plan.schedule != Schedule::Sequential {
                    bail!("{subject} is not in the plan's own order, and only that is explored");
                }
                let name = subject.to_string();
                (vec![subject.plan], name)
            }
            None => {
                let mut plans = default(self.store.unwrap_or_default());
                plans.iter_mut().for_each(|plan| Profile::PosixWorst.apply(&mut plan.disk));
                (plans, "the built-in workload".to_owned())
            }
        };
        for plan in &mut plans {
            if let Some(profile) = self.profile {
                profile.apply(&mut plan.disk);
            }
            plan.disk.granule = self.granule.unwrap_or(plan.disk.granule);
        }
        Ok((plans, name))
    }

    /// Whether nobody said what to explore.
    pub(super) fn is_built_in(&self) -> bool {
        self.target.is_none()
    }

    pub(super) fn jobs(&self) -> usize {
        self.jobs.and_then(NonZeroU16::new).map_or_else(processors, |jobs| usize::from(jobs.get()))
    }
}

/// The names of all profiles.
const PROFILES: [&str; 5] = ["strict", "btrfs", "ext4-ordered", "xfs", "posix-worst"];
/// The names of all granules.
const GRANULES: [&str; 5] = ["1", "8", "64", "512", "4096"];

/// The largest bound: at thousands of recoveries a second, an hour for a single boundary.
const BOUND_MAX: i64 = 10_000_000;

/// Reads a bound on the images of one boundary.
pub(super) fn bound_parser() -> impl TypedValueParser<Value = usize> {
    value_parser!(u32).range(1..=BOUND_MAX).map(|bound| usize::try_from(bound).expect("it is far below 2^32"))
}

fn profile_parser() -> impl TypedValueParser<Value = Profile> {
    PossibleValuesParser::new(PROFILES).try_map(|name| name.parse::<Profile>())
}

fn granule_parser() -> impl TypedValueParser<Value = Granule> {
    PossibleValuesParser::new(GRANULES).try_map(|name| name.parse::<Granule>())
}

/// Explores, and prints what was covered and the first violation.
pub(super) fn explore(arguments: &ExploreArguments, out: &mut impl Write) -> anyhow::Result<Ending> {
    let (plans, name) = arguments.subject.plans(|store| vec![built_in(store)])?;
    let plan = plans.first().expect("there is something to explore");
    arguments.save.as_deref().map_or(Ok(()), plan_file::check_new)?;
    let exploration = Exploration {
        plan,
        factory: plan.store.factory(),
        depth: arguments.depth,
        bound: arguments.bound,
        jobs: arguments.subject.jobs(),
    };
    let interrupt = Interrupt::listen()?;
    let stopwatch = Stopwatch::start();
    let meter = Meter::start("boundaries", stopwatch);
    let should_stop =
        || interrupt.is_requested() || arguments.time.is_some_and(|time| stopwatch.elapsed() >= time);
    let show = |coverage: &Coverage| {
        let message = format!(", {} states", grouped(coverage.states()));
        meter.show(coverage.boundaries.len(), coverage.boundary_count, &message);
    };
    let coverage = exploration.run(should_stop, show).with_context(|| format!("cannot explore {name}"))?;
    let elapsed = stopwatch.elapsed();
    meter.finish();

    writeln!(out, "{name} on {}, {}", plan.store, conditions(&plan.disk))?;
    if arguments.boundaries {
        write_boundaries(&coverage, plan, out)?;
    }
    writeln!(out, "{}", figures(&coverage, elapsed).render())?;
    if let Some(finding) = &coverage.finding {
        report(finding, &exploration, arguments.save.as_deref(), out)?;
        return Ok(if finding.is_reproduced() { Ending::Unsound } else { Ending::NotReproduced });
    }
    writeln!(out, "{STYLE_GOOD}no violation{STYLE_GOOD:#}")?;
    if coverage.was_stopped {
        let (done, count) = (coverage.boundaries.len(), coverage.boundary_count);
        writeln!(out, "{STYLE_NOTABLE}stopped{STYLE_NOTABLE:#} with {done} of {count} boundaries begun")?;
    }
    Ok(if interrupt.is_requested() && coverage.was_stopped { Ending::Interrupted } else { Ending::Sound })
}

/// The rules of a disk, in words.
pub(super) fn conditions(disk: &DiskOptions) -> String {
    let profile =
        Profile::of(disk).map_or_else(|| "its own rules".to_owned(), |profile| format!("profile {profile}"));
    format!("{profile}, granule {}", disk.granule)
}

fn figures(coverage: &Coverage, elapsed: Duration) -> Figures {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let in_recovery = coverage.boundaries.iter().map(|boundary| boundary.states_in_recovery).sum();
    let mut figures = Figures::new();
    figures
        .text("boundaries", &format!("{} of {}", coverage.boundaries.len(), coverage.boundary_count))
        .count("  of which every legal image was recovered", coverage.exhausted() as u64)
        .count("states recovered", coverage.states())
        .count("  at the boundaries of recoveries", in_recovery)
        .text("states legal", &legal(coverage))
        .count("recoveries", coverage.recoveries())
        .count("  a second", (coverage.recoveries() as f64 / seconds) as u64)
        .text("elapsed", &format!("{seconds:.1} s"));
    figures
}

/// How many states there are to recover: those of boundaries that were exhausted, and the choices of survivors at the
/// others, or a bound on these.
fn legal(coverage: &Coverage) -> String {
    let is_exhausted = |report: &&BoundaryReport| report.legal == Legal::Every;
    let exact: u64 = coverage.boundaries.iter().filter(is_exhausted).map(|report| report.states).sum();
    let open = |report: &BoundaryReport| match report.legal {
        Legal::Every => None,
        Legal::Counted { log2 } | Legal::AtMost { log2 } => Some(log2),
    };
    // The sum of powers of two, without leaving their logarithms.
    let add = |sum: f64, log2: f64| sum.max(log2) + (1.0 + (-(sum - log2).abs()).exp2()).log2();
    let is_bound = coverage.boundaries.iter().any(|report| matches!(report.legal, Legal::AtMost { .. }));
    match coverage.boundaries.iter().filter_map(open).reduce(add) {
        None => format!("{}, all of them", grouped(exact)),
        Some(log2) if is_bound => format!("{}, and at most {} choices", grouped(exact), power(log2)),
        Some(log2) => format!("{}, and {} choices", grouped(exact), power(log2)),
    }
}

/// A number of which the logarithm is given, in digits if they can be exact.
fn power(log2: f64) -> String {
    if log2 < 50.0 { grouped(log2.exp2().round() as u64) } else { format!("2^{log2:.0}") }
}

fn write_boundaries(coverage: &Coverage, plan: &Plan, out: &mut impl Write) -> std::io::Result<()> {
    for BoundaryReport { call, step, effects, states, legal, states_in_recovery, .. } in &coverage.boundaries
    {
        let legal = match legal {
            Legal::Every => "all".to_owned(),
            Legal::Counted { log2 } => format!("{} choices", power(*log2)),
            Legal::AtMost { log2 } => format!("at most {} choices", power(*log2)),
        };
        let step = step.map_or_else(String::new, |step| {
            format!(" in step {}: {}", step + 1, short(&plan.steps[step].to_string()))
        });
        let inside = if *states_in_recovery > 0 {
            format!(" + {states_in_recovery} in recoveries")
        } else {
            String::new()
        };
        let call = call.to_string();
        // Every boundary is one before its call.
        let call = call.split(" = ").next().unwrap_or_default();
        writeln!(out, "before {call}{step}: {states}{inside} of {legal}, {effects} effects pending")?;
    }
    Ok(())
}

fn short(step: &str) -> String {
    super::output::shortened(step, 40)
}

/// Prints a finding. A plan that cannot be saved is printed, and why not is said after it: it is the finding that matters.
fn report(
    finding: &Finding,
    exploration: &Exploration<'_>,
    save: Option<&Path>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let written = save.map(|path| plan_file::write_new(path, &finding.plan).map(|()| path)).transpose();
    let saved = written.as_ref().ok().copied().flatten();
    let file = saved.map_or(OsStr::new("found.plan"), Path::as_os_str);
    let command = violation::command_for_file(file, finding.plan.store);
    if finding.is_reproduced() {
        let run = run_plan(&finding.plan, exploration.factory);
        let shown = run.verdict.as_ref().err().unwrap_or(&finding.violation);
        violation::write(shown, &finding.plan, &run, &command, out)?;
        match exploration.needs(finding) {
            Some(need) => writeln!(out, "  needs     profile {}, granule {}", need.profile, need.granule)?,
            None => writeln!(out, "  needs     the plan's own mixture of rules")?,
        }
    } else {
        write_unreproduced(finding, &command, out)?;
    }
    if saved.is_none() {
        writeln!(out, "\n# found.plan\n{}", finding.plan)?;
    }
    if let Err(error) = written {
        out.flush()?;
        complain(&error);
    }
    Ok(())
}

/// Writes what an exploration takes for a violation, and a run of its plan doesn't.
pub(super) fn write_unreproduced(
    finding: &Finding,
    command: &str,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let Finding { violation, replayed, .. } = finding;
    let came_to = replayed.as_ref().map_or_else(ToString::to_string, |()| "no violation".to_owned());
    writeln!(out, "{STYLE_BAD}not reproduced:{STYLE_BAD:#} {}: {}", violation.checker, violation.kind)?;
    writeln!(out, "  says      {}", violation.message)?;
    writeln!(out, "  but       a run of its plan comes to {came_to}")?;
    writeln!(out, "  so it is  a defect of the exploration, or a store that does not repeat itself")?;
    writeln!(out, "  compare   {STYLE_NOTABLE}{command}{STYLE_NOTABLE:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_and_every_granule_has_its_name() {
        assert_eq!(PROFILES.map(|name| name.parse::<Profile>().unwrap()), Profile::ALL);
        assert_eq!(GRANULES.map(|name| name.parse::<Granule>().unwrap()), Granule::ALL);
    }

    #[test]
    fn legal_states_add_up() {
        let boundary = |states, legal| BoundaryReport {
            call: proofmark_sim::disk::IoCall {
                number: 1,
                operation: proofmark_sim::disk::IoOperation::Write,
                path: PathBuf::from("a"),
                target: None,
                offset: 0,
                length: 0,
                outcome: proofmark_sim::disk::IoOutcome::Done(0),
            },
            step: None,
            effects: 0,
            states,
            legal,
            recoveries: 0,
            states_in_recovery: 0,
        };
        let coverage = |boundaries| Coverage { boundaries, ..Coverage::default() };
        let counted = |log2| Legal::Counted { log2 };
        let all = vec![boundary(5, Legal::Every), boundary(1000, Legal::Every)];
        assert_eq!(legal(&coverage(all)), "1,005, all of them");
        let some = vec![boundary(5, Legal::Every), boundary(9, counted(20.0)), boundary(9, counted(20.0))];
        assert_eq!(legal(&coverage(some)), "5, and 2,097,152 choices");
        let bounded = vec![boundary(9, Legal::AtMost { log2: 2000.0 }), boundary(9, counted(3.0))];
        assert_eq!(legal(&coverage(bounded)), "0, and at most 2^2000 choices");
    }
}
