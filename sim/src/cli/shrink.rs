//! `proofmark shrink`: from a plan that fails to a small one that fails for the same reason.
//!
//! The best plan so far is in its file all the time, from the one that is to be shrunk on: each better one is written
//! aside, made durable and renamed over the last, so that whatever ends the command leaves a whole plan there. A file of
//! somebody else's is never replaced, unless that was asked for, and the plan that is shrunk not even then.

use std::ffi::OsString;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use proofmark_sim::campaign::{is_compared, judge_seed_of};
use proofmark_sim::metamorphic::compare_seed;
use proofmark_sim::plan::Plan;
use proofmark_sim::run::run_plan;
use proofmark_sim::schedule::check;
use proofmark_sim::shrink::{Attempt, Executor, Shrunk, Size, commented_plan, regression_test, shrink};
use proofmark_sim::store::StoreFactory;
use proofmark_sim::workload::Source;

use super::clock::Stopwatch;
use super::interrupt::Interrupt;
use super::output::{STYLE_BAD, STYLE_NOTABLE, grouped};
use super::progress::LINE_INTERVAL;
use super::subject::{Origin, Subject};
use super::{Ending, ShrinkArguments, plan_file};

pub(super) const EXAMPLES: &str = "\
Every candidate is run, and taken only if the same checker reports the same kind of violation. The best plan so far is
always in the file, with comments that say what is wrong in it; Ctrl-C keeps it.

Exit code: 1 with a plan that fails, 2 if there is nothing to shrink, 130 after Ctrl-C.

Examples:
  proofmark shrink 1234
  proofmark shrink 1234 --store redb --time 10m --out lost-commit.plan
  proofmark shrink 1234 --torture
  proofmark shrink found.plan --test tests/lost_commit.rs";

/// Shrinks a plan, and prints what is left of it.
pub(super) fn shrink_plan(arguments: &ShrinkArguments, out: &mut impl Write) -> anyhow::Result<Ending> {
    let mut subject = Subject::find(&arguments.target, arguments.store, arguments.source.source()?)?;
    check(&subject.plan, subject.plan.store.factory())?;
    let path = arguments.out.clone().unwrap_or_else(|| default_path(&subject));
    for path in [Some(&path), arguments.test.as_ref()].into_iter().flatten() {
        if path.exists() && !arguments.force {
            bail!("{} exists already, and is left as it is; --force would replace it", path.display());
        }
    }
    let place = resolve(&path)?;
    let test_place = arguments.test.as_deref().map(resolve).transpose()?;
    if test_place.as_ref() == Some(&place) {
        bail!("{} can't be both the plan and the test", path.display());
    }
    if let Origin::File(source) = &subject.origin
        && [Some(place), test_place].contains(&Some(resolve(source)?))
    {
        bail!("{} is the plan that is to be shrunk, and is left as it is", source.display());
    }
    let interrupt = Interrupt::listen()?;
    let stopwatch = Stopwatch::start();
    let factory = subject.plan.store.factory();
    if let Some(plan) = failing_comparison(&subject, factory) {
        subject.plan = plan;
    }
    let progress = Progress::start(&subject, arguments.time, stopwatch);
    let origin = subject.to_string();
    let mut saved = Saved { path: &path, may_replace: arguments.force, outcome: Ok(()) };
    let mut watch = |attempt: Attempt<'_>| {
        progress.show(&attempt);
        if attempt.is_improvement {
            saved.save(&commented_plan(attempt.best, &origin));
        }
        let is_over =
            interrupt.is_requested() || stopwatch.elapsed() >= arguments.time || saved.outcome.is_err();
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let spared = subject.plan.spared(factory);
    let executor = Executor {
        run: &|plan| run_plan(plan, factory),
        admits: &|plan| plan.spared(factory).is_subset(&spared),
    };
    let shrunk = shrink(&subject.plan, executor, &mut watch);
    progress.finish();
    let Ok(shrunk) = shrunk else { return Err(nothing_to_shrink(&subject)) };
    saved.save(&commented_plan(&shrunk, &origin));
    let test_saved = arguments
        .test
        .as_ref()
        .map_or(Ok(()), |test| plan_file::replace(test, &regression_test(&shrunk, &origin), arguments.force));
    // What could not be saved is printed at least; and what can't be printed is saved.
    report(&shrunk, &subject, stopwatch.elapsed(), out)?;
    saved.outcome?;
    writeln!(out, "saved as {}", path.display())?;
    test_saved?;
    if let Some(test) = &arguments.test {
        writeln!(out, "saved as a test in {}", test.display())?;
    }
    Ok(if interrupt.is_requested() && !shrunk.is_complete { Ending::Interrupted } else { Ending::Unsound })
}

/// The directory that a file is to be in, and its name there: the same for all ways to say where.
fn resolve(path: &Path) -> anyhow::Result<(PathBuf, OsString)> {
    let Some(name) = path.file_name() else { bail!("{} is no name for a file", path.display()) };
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let resolved = directory.canonicalize().and_then(|resolved| resolved.read_dir().map(|_| resolved));
    match resolved {
        Ok(resolved) => Ok((resolved, name.to_owned())),
        Err(error) => Err(error).with_context(|| {
            format!("{} can't be written: there is no directory {}", path.display(), directory.display())
        }),
    }
}

/// If the plan of a seed keeps every promise: that of a run which breaks one, and which the seed is compared with.
fn failing_comparison(subject: &Subject, factory: &dyn StoreFactory) -> Option<Plan> {
    let Origin::Seed(seed, Source::Sequential) = subject.origin else { return None };
    if !is_compared(seed) || run_plan(&subject.plan, factory).verdict.is_err() {
        return None;
    }
    compare_seed(seed, subject.plan.store, factory).failing
}

/// Why there is nothing to shrink: a seed may fail although none of its plans does.
fn nothing_to_shrink(subject: &Subject) -> anyhow::Error {
    let store = subject.plan.store;
    if let Origin::Seed(seed, source) = subject.origin
        && let Err(violation) = judge_seed_of(source, seed, store, store.factory()).verdict
    {
        return anyhow::anyhow!(
            "nothing to shrink: {subject} fails only where runs are compared, each of which keeps every promise: {violation}"
        );
    }
    anyhow::anyhow!("nothing to shrink: {subject} keeps every promise")
}

fn report(shrunk: &Shrunk, subject: &Subject, elapsed: Duration, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", commented_plan(shrunk, &subject.to_string()))?;
    writeln!(out, "{STYLE_BAD}violation:{STYLE_BAD:#} {}", shrunk.reason)?;
    let (before, after) = (shrunk.before, Size::of(&shrunk.plan));
    let seconds = elapsed.as_secs_f64();
    writeln!(out, "from {before} to {after}, in {} runs and {seconds:.1} s", grouped(shrunk.runs))?;
    if !shrunk.is_complete {
        writeln!(out, "{STYLE_NOTABLE}stopped{STYLE_NOTABLE:#}: with more --time it may become smaller")?;
    }
    Ok(())
}

/// In the directory where the command runs: named after the seed, or after the file.
fn default_path(subject: &Subject) -> PathBuf {
    match &subject.origin {
        Origin::Seed(seed, _) => PathBuf::from(format!("{}-{seed}.shrunk.plan", subject.plan.store)),
        Origin::File(path) => {
            let mut name = path.file_stem().map_or_else(OsString::new, OsString::from);
            name.push(".shrunk.plan");
            PathBuf::from(name)
        }
    }
}

/// The file with the best plan so far.
struct Saved<'a> {
    path: &'a Path,
    /// Whether what is there may be replaced: because it is ours by now, or because that was asked for.
    may_replace: bool,
    outcome: anyhow::Result<()>,
}

impl Saved<'_> {
    fn save(&mut self, text: &str) {
        if self.outcome.is_ok() {
            self.outcome = plan_file::replace(self.path, text, self.may_replace)
                .with_context(|| "the best plan so far could not be saved".to_owned());
            self.may_replace = true;
        }
    }
}

/// How far it has come: a bar that fills with time on a terminal, a line every few seconds otherwise.
struct Progress {
    stopwatch: Stopwatch,
    bar: ProgressBar,
    lines_printed: std::cell::Cell<u64>,
    before: Size,
}

impl Progress {
    fn start(subject: &Subject, time: Duration, stopwatch: Stopwatch) -> Progress {
        let style = ProgressStyle::with_template("{bar:40} {msg}").expect("the template is well-formed");
        let length = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr()).with_style(style);
        let before = Size::of(&subject.plan);
        if bar.is_hidden() {
            print(&format!(
                "shrinking {subject}: {before}, for {} at most",
                humantime::format_duration(time)
            ));
        }
        Progress { stopwatch, bar, lines_printed: std::cell::Cell::new(0), before }
    }

    fn show(&self, attempt: &Attempt<'_>) {
        let elapsed = self.stopwatch.elapsed();
        if !self.bar.is_hidden() {
            self.bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
            if attempt.is_improvement || attempt.best.runs.is_multiple_of(64) {
                self.bar.set_message(self.line(attempt));
            }
            return;
        }
        let lines_due = elapsed.as_secs() / LINE_INTERVAL.as_secs();
        if self.lines_printed.replace(lines_due) < lines_due {
            print(&format!("{} s: {}", elapsed.as_secs(), self.line(attempt)));
        }
    }

    fn line(&self, attempt: &Attempt<'_>) -> String {
        let best = attempt.best;
        format!("{} runs, from {} to {}", grouped(best.runs), self.before, Size::of(&best.plan))
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn print(line: &str) {
    // Progress that cannot be shown is not worth failing for.
    let _ = writeln!(io::stderr(), "{line}");
}
