//! `proofmark audit`: which syncs of a store are needed, and who misses them.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use comfy_table::{Table, presets};
use proofmark_sim::explore::{
    Audit, AuditReport, Finding, Necessity, OrderingReport, Shortfall, Site, SiteReport, built_in_for_audit,
    reason_for, shortfalls,
};
use proofmark_sim::store::StoreKind;

use super::clock::Stopwatch;
use super::explore::{ExploredArguments, bound_parser, conditions, write_unreproduced};
use super::interrupt::Interrupt;
use super::meter::Meter;
use super::output::{STYLE_BAD, STYLE_NOTABLE, counted};
use super::{Ending, plan_file, violation};

pub(super) const EXAMPLES: &str = "\
First every run is explored as it is, and has to be sound. Then each sync is removed in turn: the disk acknowledges it, and
does nothing. The power is then lost at the boundaries after it. A line below a site is an ordering: its syncs are made
right after the change that follows them, instead of before it. What is missed, a run of a plan of its own shows again.

Exit code: 0 if every sync was found necessary, or has a reason on record; 1 if not, or if a reason is out of date; 2 if
there is nothing to audit; 3 if something was found that its own plan does not show; 130 after Ctrl-C.

Examples:
  proofmark audit
  proofmark audit --markdown > sim/AUDIT.md
  proofmark audit --store redb
  proofmark audit 1234 --plans missed/";

#[derive(Debug, Args)]
pub(super) struct AuditArguments {
    #[command(flatten)]
    subject: ExploredArguments,
    /// The most images of one boundary that are recovered, up to 10000000.
    #[arg(long, value_name = "N", default_value = "40", value_parser = bound_parser())]
    bound: usize,
    /// The most boundaries after a sync that are explored.
    #[arg(long, value_name = "N", default_value = "60")]
    boundaries: NonZeroUsize,
    /// Write a plan for each necessary sync into this directory, which has to exist.
    #[arg(long, value_name = "DIRECTORY")]
    plans: Option<PathBuf>,
    /// Print a page in Markdown, which is the same whenever the same is found.
    #[arg(long)]
    markdown: bool,
}

/// Audits, and prints the table.
pub(super) fn audit(arguments: &AuditArguments, out: &mut impl Write) -> anyhow::Result<Ending> {
    let (plans, name) = arguments.subject.plans(built_in_for_audit)?;
    let plan = plans.first().expect("there is something to audit");
    if let Some(directory) = &arguments.plans {
        ensure!(directory.is_dir(), "there is no directory {}", directory.display());
    }
    let audit = Audit {
        plans: &plans,
        factory: plan.store.factory(),
        bound: arguments.bound,
        boundaries_max: arguments.boundaries.get(),
        jobs: arguments.subject.jobs(),
    };
    let interrupt = Interrupt::listen()?;
    let stopwatch = Stopwatch::start();
    let meter = Meter::start("removals", stopwatch);
    let report = audit
        .run(|| interrupt.is_requested(), |done, count| meter.show(done, count, ""))
        .with_context(|| format!("cannot audit {name}"))?;
    meter.finish();

    let subject = format!("{name} on {}, {}", plan.store, conditions(&plan.disk));
    if arguments.markdown {
        markdown(&subject, &report, out)?;
    } else {
        writeln!(out, "{subject}\n{}\n{}", baseline(&report), table(&report))?;
    }
    if !arguments.markdown {
        writeln!(out, "{} in {:.1} s", sum(&report), stopwatch.elapsed().as_secs_f64())?;
    }
    let ending = if interrupt.is_requested() {
        writeln!(out, "{STYLE_NOTABLE}interrupted{STYLE_NOTABLE:#}: not every sync was removed")?;
        Ending::Interrupted
    } else {
        conclude(&report, plan.store == StoreKind::Engine && arguments.subject.is_built_in(), out)?
    };
    // Whatever becomes of the plans, what was found is printed.
    arguments.plans.as_deref().map_or(Ok(()), |directory| save_plans(&report, directory))?;
    Ok(ending)
}

/// Writes a plan for each necessary sync.
fn save_plans(report: &AuditReport, directory: &Path) -> anyhow::Result<()> {
    for (index, site) in report.sites.iter().enumerate() {
        if let Some(Necessity { finding, .. }) = &site.necessity {
            plan_file::write_new(&directory.join(format!("site-{}.plan", index + 1)), &finding.plan)?;
        }
    }
    Ok(())
}

/// Prints what is wrong with the report of an audit that came to its end; reasons are on record for the engine's own run.
fn conclude(report: &AuditReport, has_reasons: bool, out: &mut impl Write) -> io::Result<Ending> {
    if let Some(finding) = report.sites.iter().find_map(|site| site.unreproduced.as_ref()) {
        let command = violation::command_for_file("found.plan".as_ref(), finding.plan.store);
        write_unreproduced(finding, &command, out)?;
        writeln!(out, "\n# found.plan\n{}", finding.plan)?;
        return Ok(Ending::NotReproduced);
    }
    if !has_reasons {
        let is_open = report.sites.iter().any(|site| site.necessity.is_none());
        return Ok(if is_open { Ending::Unsound } else { Ending::Sound });
    }
    let shortfalls = shortfalls(&report.sites);
    for shortfall in &shortfalls {
        let (what, which) = match shortfall {
            Shortfall::Unexplained(index) => {
                ("nothing found, and no reason known", describe(&report.sites[*index].site))
            }
            Shortfall::Necessary(reason) => ("a reason for a site that is missed", reason.to_string()),
            Shortfall::Gone(reason) => ("a reason for a site that is no more", reason.to_string()),
        };
        writeln!(out, "{STYLE_BAD}{what}:{STYLE_BAD:#} {which}")?;
    }
    Ok(if shortfalls.is_empty() { Ending::Sound } else { Ending::Unsound })
}

fn describe(site: &Site) -> String {
    format!("{}: {} {}", site.activity, site.operation, site.file)
}

fn found_by(finding: &Finding) -> String {
    format!("{}: {}", finding.violation.checker, finding.violation.kind)
}

/// What came of the runs as they are.
fn baseline(report: &AuditReport) -> String {
    let boundaries = report.baseline.iter().map(|coverage| coverage.boundaries.len() as u64).sum();
    let states = report.baseline.iter().map(proofmark_sim::explore::Coverage::states).sum();
    format!(
        "with every sync in place: {}, {}, {}, no violation",
        counted(report.baseline.len() as u64, "run", "runs"),
        counted(boundaries, "boundary", "boundaries"),
        counted(states, "state", "states")
    )
}

fn sum(report: &AuditReport) -> String {
    let open = report.sites.iter().filter(|site| site.necessity.is_none());
    let (explained, unexplained): (Vec<_>, Vec<_>) =
        open.partition(|report| reason_for(&report.site).is_some());
    let sites = counted(report.sites.len() as u64, "sync site", "sync sites");
    format!("{sites}: {} missed by nobody and explained, {} unexplained", explained.len(), unexplained.len())
}

/// What to say of a site in the column of those who found it.
fn verdict(site: &SiteReport) -> String {
    match &site.necessity {
        Some(Necessity { finding, .. }) => found_by(finding),
        None if site.unreproduced.is_some() => "not reproduced".to_owned(),
        None if site.removed == 0 => "covers nothing".to_owned(),
        None => "no failure found".to_owned(),
    }
}

fn number(necessity: Option<&Necessity>) -> String {
    necessity.map_or_else(String::new, |necessity| {
        necessity.occurrence.map_or_else(|| "all removed".to_owned(), |number| format!("number {number}"))
    })
}

fn before(ordering: &OrderingReport) -> String {
    ordering.before.as_deref().map_or_else(|| "the end".to_owned(), |before| format!("before {before}"))
}

fn table(report: &AuditReport) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["site, and what it comes before", "syncs", "removed", "missed", "found by", "at"]);
    for (index, site) in report.sites.iter().enumerate() {
        let callers = site.site.callers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" < ");
        let place = format!("{}. {}\n   {callers}", index + 1, describe(&site.site));
        let counts = [site.syncs, site.removed, site.missed].map(|count| count.to_string());
        let [syncs, removed, missed] = counts;
        table.add_row([place, syncs, removed, missed, verdict(site), number(site.necessity.as_ref())]);
        for ordering in &site.orderings {
            let found_by = ordering.necessity.as_ref().map(|necessity| found_by(&necessity.finding));
            let [weakened, missed] = [ordering.weakened, ordering.missed].map(|count| count.to_string());
            let at = number(ordering.necessity.as_ref());
            let place = format!("     {}", before(ordering));
            table.add_row([place, String::new(), weakened, missed, found_by.unwrap_or_default(), at]);
        }
    }
    table
}

fn markdown(subject: &str, report: &AuditReport, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "# Every sync, and who misses it\n\n\
         This page is printed by `proofmark audit --markdown`, which fails if a site is missed by nobody and has no reason \
         here,\nor has one that it does not need. The subject is {subject}.\n\n\
         A site is a place in the store that syncs one kind of file while it does one kind of thing. *Removed*: so many of its \
         syncs\nwere acknowledged by the disk and did nothing, one at a time. *Late*: they came right after the next change \
         instead of\nbefore it. *Missed*: in so many of these runs a power loss then broke a promise, and a plan shows it \
         again. {}.\n",
        capitalised(&baseline(report))
    )?;
    writeln!(out, "| | site | called by | syncs | removed | missed | late | missed | found by |")?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|")?;
    for (index, site) in report.sites.iter().enumerate() {
        let SiteReport { site: place, syncs, removed, missed, orderings, .. } = site;
        let late: usize = orderings.iter().map(|ordering| ordering.weakened).sum();
        let late_missed: usize = orderings.iter().map(|ordering| ordering.missed).sum();
        writeln!(
            out,
            "| {} | {} | `{}` | {syncs} | {removed} | {missed} | {late} | {late_missed} | {} |",
            index + 1,
            describe(place).replace('*', "\\*"),
            place.functions(),
            verdict(site)
        )?;
    }
    writeln!(
        out,
        "\n## Orderings\n\nWhat the syncs of each site come before, and whether they may come after it.\n"
    )?;
    writeln!(out, "| | before | late | missed | found by |\n|---|---|---|---|---|")?;
    for (index, site) in report.sites.iter().enumerate() {
        for ordering in &site.orderings {
            let found_by = ordering.necessity.as_ref().map(|necessity| found_by(&necessity.finding));
            let OrderingReport { weakened, missed, .. } = ordering;
            let change = ordering.before.as_deref().unwrap_or("the end").replace('*', "\\*");
            let found_by = found_by.unwrap_or_else(|| "nobody".to_owned());
            writeln!(out, "| {} | {change} | {weakened} | {missed} | {found_by} |", index + 1)?;
        }
    }
    writeln!(out, "\n## Missed by nobody\n")?;
    for (index, site) in report.sites.iter().enumerate().filter(|(_, site)| site.necessity.is_none()) {
        let why = reason_for(&site.site).map_or("No reason is known.", |reason| reason.why);
        writeln!(out, "- {}, {}: {why}", index + 1, describe(&site.site).replace('*', "\\*"))?;
    }
    writeln!(out, "\n{}.", capitalised(&sum(report)))
}

fn capitalised(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    first.to_uppercase() + rest
}
