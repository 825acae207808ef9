//! `proofmark audit`: which syncs of a store are needed, and who misses them.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use comfy_table::{Table, presets};
use proofmark_sim::explore::{Audit, AuditReport, Necessity, built_in_for_audit};

use super::clock::Stopwatch;
use super::explore::{ExploredArguments, conditions};
use super::interrupt::Interrupt;
use super::meter::Meter;
use super::output::{STYLE_NOTABLE, counted};
use super::{Ending, plan_file};

pub(super) const EXAMPLES: &str = "\
Each sync of the run is removed in turn: the disk acknowledges it, and does nothing. The power is then lost at the
boundaries after it. \"Delayed\" counts the syncs that are missed even if they are made one write later.

Exit code: 0 if every sync was found necessary, 1 if one was not, 2 if there is nothing to audit, 130 after Ctrl-C.

Examples:
  proofmark audit
  proofmark audit --store redb
  proofmark audit 1234 --plans missed/";

#[derive(Debug, Args)]
pub(super) struct AuditArguments {
    #[command(flatten)]
    subject: ExploredArguments,
    /// The most images of one boundary that are recovered.
    #[arg(long, value_name = "N", default_value = "40")]
    bound: NonZeroUsize,
    /// The most boundaries after a sync that are explored.
    #[arg(long, value_name = "N", default_value = "60")]
    boundaries: NonZeroUsize,
    /// Write a plan for each necessary sync into this directory, which has to exist.
    #[arg(long, value_name = "DIRECTORY")]
    plans: Option<PathBuf>,
}

/// Audits, and prints the table.
pub(super) fn audit(arguments: &AuditArguments, out: &mut impl Write) -> anyhow::Result<Ending> {
    let (plans, name) = arguments.subject.plans(built_in_for_audit)?;
    let plan = plans.first().expect("there is something to audit");
    let audit = Audit {
        plans: &plans,
        factory: plan.store.factory(),
        bound: arguments.bound.get(),
        boundaries_max: arguments.boundaries.get(),
        jobs: arguments.subject.jobs(),
    };
    let interrupt = Interrupt::listen()?;
    let stopwatch = Stopwatch::start();
    let meter = Meter::start("removals", stopwatch);
    let reports = audit
        .run(|| interrupt.is_requested(), |done, count| meter.show(done, count, ""))
        .with_context(|| format!("cannot audit {name}"))?;
    meter.finish();

    writeln!(out, "{name} on {}, {}", plan.store, conditions(&plan.disk))?;
    writeln!(out, "{}", table(&reports))?;
    if let Some(directory) = &arguments.plans {
        for (index, report) in reports.iter().enumerate() {
            if let Some(Necessity { finding, .. }) = &report.necessity {
                plan_file::write_new(&directory.join(format!("site-{}.plan", index + 1)), &finding.plan)?;
            }
        }
    }
    let idle = |report: &&AuditReport| report.necessity.is_none();
    let open = reports.iter().filter(idle).count();
    let sites = counted(reports.len() as u64, "sync site", "sync sites");
    let seconds = stopwatch.elapsed().as_secs_f64();
    writeln!(out, "{sites}, {open} without a failure, in {seconds:.1} s")?;
    if interrupt.is_requested() {
        writeln!(out, "{STYLE_NOTABLE}interrupted{STYLE_NOTABLE:#}: not every sync was removed")?;
        return Ok(Ending::Interrupted);
    }
    Ok(if open == 0 { Ending::Sound } else { Ending::Unsound })
}

fn table(reports: &[AuditReport]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["site", "syncs", "removed", "missed", "delayed", "found by", "at"]);
    for (index, report) in reports.iter().enumerate() {
        let AuditReport { site, syncs, removed, missed, missed_if_delayed, necessity } = report;
        let callers = site.callers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" < ");
        let place =
            format!("{}. {}: {} {}\n   {callers}", index + 1, site.activity, site.operation, site.file);
        let (found_by, at) = match necessity {
            Some(Necessity { occurrence, finding }) => {
                let at =
                    occurrence.map_or_else(|| "all removed".to_owned(), |number| format!("number {number}"));
                (format!("{}: {}", finding.violation.checker, finding.violation.kind), at)
            }
            None if *removed == 0 => ("covers nothing".to_owned(), String::new()),
            None => ("no failure found".to_owned(), String::new()),
        };
        let counts = [syncs, removed, missed, missed_if_delayed].map(ToString::to_string);
        table.add_row([place].into_iter().chain(counts).chain([found_by, at]));
    }
    table
}
