//! `proofmark faults`: what comes of each kind of fault.

use std::io::Write;
use std::num::NonZeroUsize;
use std::thread;

use anyhow::{Context, bail};
use comfy_table::{CellAlignment, Table, presets};
use proofmark_sim::disk::FaultKind;
use proofmark_sim::matrix::{Campaign, Matrix, Row, plan};
use proofmark_sim::run::run_plan;
use proofmark_sim::store::StoreKind;

use super::clock::Stopwatch;
use super::interrupt::Interrupt;
use super::output::{STYLE_BAD, STYLE_GOOD, STYLE_NOTABLE, grouped};
use super::progress::{Goal, Progress};
use super::{Ending, FaultsArguments, plan_file, violation};

pub(super) const EXAMPLES: &str = "\
Each seed has faults of one kind, in turn, and power losses. A kind that never fired proves nothing, and counts as a
failure if it had ten turns or more, unless the command was interrupted. All columns but those of what fired, and of
commits denied, count runs.

Exit code: 0 if every promise was kept and every kind fired, 1 if not, 2 if it cannot run, 130 after Ctrl-C.

Examples:
  proofmark faults                              2300 seeds of the engine
  proofmark faults --seeds 20000 --markdown     a page, as sim/FAULTS.md is
  proofmark faults --seed 77 --save my.plan     one seed, as a plan that can be replayed";

const HEADER: [&str; 10] = [
    "fault",
    "class",
    "runs",
    "fired",
    "survived",
    "commits lost, excused",
    "error reported",
    "corruption reported",
    "commits denied",
    "violations",
];

/// Runs seeds, and prints violations and the matrix.
pub(super) fn faults(arguments: &FaultsArguments, out: &mut impl Write) -> anyhow::Result<Ending> {
    let campaign = campaign(arguments)?;
    if let (Some(seed), Some(path)) = (arguments.seed, &arguments.save) {
        plan_file::write_new(path, &plan(seed, campaign.store))?;
    }
    let interrupt = Interrupt::listen()?;
    let stopwatch = Stopwatch::start();
    let goal = Goal { store: campaign.store, seeds: Some(campaign.seed_count), time: None };
    let progress = Progress::start(goal, stopwatch);
    let matrix = campaign
        .run(|| interrupt.is_requested(), |seeds, violations| progress.show(seeds, violations))
        .with_context(|| format!("cannot start {} threads; fewer --jobs may do", campaign.jobs))?;
    let elapsed = stopwatch.elapsed();
    progress.finish();

    report_violations(campaign.store, &matrix, out)?;
    let subject =
        format!("{} seeds of {} from {} on", grouped(matrix.seeds), campaign.store, campaign.first_seed);
    if arguments.markdown {
        writeln!(out, "{}", page(&subject, &matrix))?;
    } else {
        writeln!(out, "{}\n\n{subject}, in {:.1} s", framed(&matrix), elapsed.as_secs_f64())?;
    }
    conclude(&matrix, campaign.seed_count, out)
}

fn campaign(arguments: &FaultsArguments) -> anyhow::Result<Campaign> {
    let FaultsArguments { store, seeds, start, seed, jobs, .. } = arguments;
    let (first_seed, seed_count) = match seed {
        Some(seed) => (*seed, 1),
        None => (*start, seeds.get()),
    };
    if first_seed.checked_add(seed_count).is_none() {
        bail!("there are not so many seeds from {first_seed} on: the largest is {}", u64::MAX);
    }
    let processors = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let jobs = jobs.map_or_else(processors, usize::from);
    Ok(Campaign { store: *store, first_seed, seed_count, jobs })
}

/// How many violations are printed: more of them rarely say more.
const VIOLATIONS_SHOWN_MAX: usize = 10;

fn report_violations(store: StoreKind, matrix: &Matrix, out: &mut impl Write) -> anyhow::Result<()> {
    for (seed, found) in matrix.violations.iter().take(VIOLATIONS_SHOWN_MAX) {
        let plan = plan(*seed, store);
        let run = run_plan(&plan, store.factory());
        let command = format!("cargo run --release -- faults --seed {seed} --store {store}");
        violation::write(found, &plan, &run, &command, out)?;
        writeln!(out)?;
    }
    Ok(())
}

fn conclude(matrix: &Matrix, seed_count: u64, out: &mut impl Write) -> anyhow::Result<Ending> {
    if matrix.violations.is_empty() {
        writeln!(out, "{STYLE_GOOD}no violation{STYLE_GOOD:#}")?;
    } else {
        let count = matrix.violations.len();
        writeln!(out, "{STYLE_BAD}{count} violations{STYLE_BAD:#}")?;
    }
    let is_interrupted = matrix.seeds < seed_count;
    let silent: Vec<&str> = matrix.silent().into_iter().map(FaultKind::name).collect();
    let is_silent = !silent.is_empty();
    if is_silent {
        let names = silent.join(", ");
        writeln!(out, "{STYLE_BAD}never fired:{STYLE_BAD:#} {names}")?;
    }
    if is_interrupted {
        writeln!(out, "{STYLE_NOTABLE}interrupted{STYLE_NOTABLE:#}")?;
        return Ok(Ending::Interrupted);
    }
    Ok(if matrix.violations.is_empty() && !is_silent { Ending::Sound } else { Ending::Unsound })
}

/// The cells of a table, the sum at the end.
fn lines(matrix: &Matrix) -> Vec<[String; 10]> {
    let line = |name: &str, class: &str, row: &Row| {
        let Row { runs_fired, fired, survived, lost, errors, corruption, denied, violations, .. } = row;
        let counts = [runs_fired, fired, survived, lost, errors, corruption, denied, violations]
            .map(|count| grouped(*count));
        let [runs, fired, survived, lost, errors, corruption, denied, violations] = counts;
        [
            name.to_owned(),
            class.to_owned(),
            format!("{runs} of {}", grouped(row.runs)),
            fired,
            survived,
            lost,
            errors,
            corruption,
            denied,
            violations,
        ]
    };
    let planted = matrix.rows.iter().filter(|(_, row)| row.turns > 0);
    let mut lines: Vec<_> = planted.map(|(kind, row)| line(kind.name(), kind.class().name(), row)).collect();
    lines.push(line("all", "", &matrix.total()));
    lines
}

fn framed(matrix: &Matrix) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(HEADER);
    table.add_rows(lines(matrix));
    for column in 2..HEADER.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// A page that is the same on every machine.
fn page(subject: &str, matrix: &Matrix) -> String {
    format!(
        "# What comes of each kind of fault\n\n\
         This page is printed by `proofmark faults --markdown`: {subject}.\n\n\
         Each seed is a run of its own, with power losses, and with faults of one kind that the checkers are told of. *Runs* are \
         those\nin which a fault fired, of those in which one was planted; *fired* is how often. In a run that *survived*, nothing \
         was\nreported and nothing was missing. *Commits lost, excused*: it lost the end of what it had acknowledged, to damage or to \
         a lie,\nas far as that can't be helped. *Error reported* and *corruption reported*: to whoever asked, or at an opening. \
         *Commits\ndenied*: so many were, by an error. *Violations*: a promise was broken that the fault does not suspend.\n\n\
         {}\n",
        markdown(matrix)
    )
}

fn markdown(matrix: &Matrix) -> String {
    let row = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let header = HEADER.map(str::to_owned);
    let rule = "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|".to_owned();
    let rows = lines(matrix).into_iter().map(|cells| row(&cells));
    [row(&header), rule].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use proofmark_model::{Checker, Violation};

    use super::*;

    fn matrix() -> Matrix {
        let campaign = Campaign { store: StoreKind::Engine, first_seed: 0, seed_count: 3, jobs: 1 };
        let mut matrix = campaign.run(|| false, |_, _| {}).unwrap();
        let silent = Row { turns: 40, runs: 4, ..Row::default() };
        matrix.rows.insert(FaultKind::LostWrite, silent);
        matrix
    }

    fn conclusion(matrix: &Matrix, seed_count: u64) -> (Ending, String) {
        let mut out = anstream::StripStream::new(Vec::new());
        let ending = conclude(matrix, seed_count, &mut out).unwrap();
        (ending, String::from_utf8(out.into_inner()).unwrap())
    }

    #[test]
    fn a_kind_that_never_fired_is_no_success() {
        let mut matrix = matrix();
        let (ending, text) = conclusion(&matrix, 3);
        assert!(text.contains("never fired: ") && text.contains("lost-write"), "{text}");
        assert_eq!(ending, Ending::Unsound);
        assert_eq!(conclusion(&matrix, 4).0, Ending::Interrupted);
        matrix.rows.retain(|_, row| row.fired > 0);
        assert_eq!(conclusion(&matrix, 3), (Ending::Sound, "no violation\n".to_owned()));
        let (checker, message) = (Checker::CrashPrefix, String::new());
        matrix.violations.insert(1, Violation { checker, kind: "invented-value", step: 0, message });
        assert_eq!(conclusion(&matrix, 3).0, Ending::Unsound);
    }

    #[test]
    fn both_tables_say_the_same() {
        let matrix = matrix();
        let framed: Vec<String> = framed(&matrix).lines().map(str::to_owned).collect();
        let markdown: Vec<String> = markdown(&matrix).lines().map(str::to_owned).collect();
        assert_eq!(markdown.len(), 2 + 4 + 1);
        assert_eq!(framed.len(), markdown.len() + 2, "a frame above and below, and a rule");
        assert!(markdown[0].starts_with("| fault | class | runs |"), "{}", markdown[0]);
        assert!(markdown[6].starts_with("| all |"), "{}", markdown[6]);
        let lost = "| lost-write | damage | 0 of 4 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |";
        assert_eq!(markdown[5], lost);
    }
}
