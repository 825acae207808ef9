//! The command line: what can be asked, and how it ends.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done, and nothing is wrong |
//! | 1 | a store broke a promise, or a database is damaged |
//! | 2 | the question made no sense, or the environment did not let it be answered |
//! | 3 | the simulator contradicts itself: what it found is not there when its plan is run |
//! | 130 | interrupted with Ctrl-C |
//! | 141 | whoever was reading the output has gone |
//!
//! Answers go to standard output; progress and errors go to standard error. A command that fails has changed nothing
//! on disk, or says what it has changed. Colour appears on terminals only. Nothing here decides what a seed does: it asks the library, and prints.

mod audit;
mod clock;
mod db;
mod determinism;
mod explore;
mod faults;
mod interrupt;
mod meter;
mod narrative;
mod output;
mod plan;
mod plan_file;
mod progress;
mod replay;
mod replica;
mod run;
mod shrink;
mod source;
mod subject;
mod summary;
mod torture;
mod violation;

use std::ffi::OsString;
use std::io::{self, Write};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::thread;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, value_parser};
use proofmark_sim::store::StoreKind;

use self::output::STYLE_BAD;
use self::source::{ScheduleName, SourceArguments};

/// How a command ended that could do what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Nothing is wrong.
    Sound,
    /// A store broke a promise, or a database is damaged. That has been printed.
    Unsound,
    /// What was found is not there when its plan is run, which says nothing about the store. That has been printed.
    NotReproduced,
    /// A person stopped it. What was found by then has been printed.
    Interrupted,
}

/// Tests transactional stores by losing the power at the worst moments.
///
/// A store runs on a simulated disk that forgets, at a power loss, whatever a real one may forget. Everything it
/// answers is compared with a small reference model. One number, the seed, decides all of a run, on every machine.
///
/// Without a command, `proofmark` does what `proofmark run` does.
#[derive(Debug, Parser)]
#[command(name = "proofmark", version, max_term_width = 100, after_help = EXAMPLES, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run many seeds, and report every promise that was broken.
    #[command(after_help = run::EXAMPLES)]
    Run(RunArguments),
    /// Run threads against each other, and interleave them in every way that chance comes to.
    #[command(after_help = torture::EXAMPLES)]
    Torture(torture::Arguments),
    /// Let a follower take in a leader's commit stream, over a network that fails as their disks do.
    #[command(after_help = replica::EXAMPLES)]
    Replica(replica::Arguments),
    /// Repeat one run, and tell what happened.
    #[command(after_help = replay::EXAMPLES)]
    Replay(ReplayArguments),
    /// Print the plan that a seed stands for.
    #[command(after_help = plan::EXAMPLES)]
    Plan(PlanArguments),
    /// Make a plan that fails small.
    #[command(after_help = shrink::EXAMPLES)]
    Shrink(ShrinkArguments),
    /// Lose the power everywhere in one run, in every legal way up to a bound.
    #[command(after_help = explore::EXAMPLES)]
    Explore(explore::ExploreArguments),
    /// Remove each sync of a run in turn, and see who misses it.
    #[command(after_help = audit::EXAMPLES)]
    Audit(audit::AuditArguments),
    /// Show what comes of each kind of fault.
    #[command(after_help = faults::EXAMPLES)]
    Faults(FaultsArguments),
    /// Look into a database directory of the engine, or move what is in it.
    #[command(subcommand, after_help = db::EXAMPLES)]
    Db(db::DbCommand),
}

#[derive(Debug, Args)]
struct RunArguments {
    /// The store to test.
    #[arg(long, default_value = StoreKind::default().name(), value_parser = store_parser())]
    store: StoreKind,
    /// How clients are interleaved.
    #[arg(long, value_enum, value_name = "SCHEDULE", default_value_t)]
    schedule: ScheduleName,
    #[command(flatten)]
    seeds: SeedArguments,
}

/// Which seeds a campaign runs, and how.
#[derive(Debug, Clone, Copy, Args)]
struct SeedArguments {
    /// How many seeds to run [default: 5000, or 2000 to torture; no limit with --time].
    #[arg(long, value_name = "N")]
    seeds: Option<NonZeroU64>,
    /// The first seed; the others follow it.
    #[arg(long, value_name = "K", default_value_t = 0)]
    start: u64,
    /// Run this seed and no other.
    #[arg(long, value_name = "S", conflicts_with_all = ["seeds", "start", "time"])]
    seed: Option<u64>,
    /// Start no more seeds after this long, such as 90s, 10m or 1h.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    time: Option<Duration>,
    /// How many seeds to run at once, at most 1024; results do not depend on it [default: one for each processor].
    #[arg(long, value_name = "J", value_parser = value_parser!(u16).range(1..=JOBS_MAX))]
    jobs: Option<u16>,
    /// Run every seed twice, and tell at which event the two runs part if they are not the same.
    #[arg(long)]
    check_determinism: bool,
}

#[derive(Debug, Args)]
struct ReplayArguments {
    /// A seed, which is a number, or a plan file, which is anything else.
    #[arg(value_name = "SEED|PLAN-FILE")]
    target: OsString,
    /// The store to run on [default: the plan's; the engine for a seed].
    #[arg(long, value_parser = store_parser())]
    store: Option<StoreKind>,
    #[command(flatten)]
    source: SourceArguments,
    /// Print each I/O call, and what was read in full.
    #[arg(long)]
    trace: bool,
    /// Write the plan to a new file, and then go on.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct PlanArguments {
    /// A seed, which is a number, or a plan file, which is anything else.
    #[arg(value_name = "SEED|PLAN-FILE")]
    target: OsString,
    /// The store that the plan is for [default: the plan's; the engine for a seed].
    #[arg(long, value_parser = store_parser())]
    store: Option<StoreKind>,
    #[command(flatten)]
    source: SourceArguments,
}

#[derive(Debug, Args)]
struct ShrinkArguments {
    /// A seed, which is a number, or a plan file, which is anything else.
    #[arg(value_name = "SEED|PLAN-FILE")]
    target: OsString,
    /// The store to run on [default: the plan's; the engine for a seed].
    #[arg(long, value_parser = store_parser())]
    store: Option<StoreKind>,
    #[command(flatten)]
    source: SourceArguments,
    /// Be content with the best plan after this long, such as 90s, 10m or 1h.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    time: Duration,
    /// Where the best plan is kept [default: <store>-<seed>.shrunk.plan or <name>.shrunk.plan, in this directory].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write a Rust file with a test of the plan, too.
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// Replace files that exist.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct FaultsArguments {
    /// The store to test.
    #[arg(long, default_value = StoreKind::default().name(), value_parser = store_parser())]
    store: StoreKind,
    /// How many seeds to run.
    #[arg(long, value_name = "N", default_value = "2300")]
    seeds: NonZeroU64,
    /// The first seed; the others follow it.
    #[arg(long, value_name = "K", default_value_t = 0)]
    start: u64,
    /// Run this seed and no other.
    #[arg(long, value_name = "S", conflicts_with_all = ["seeds", "start"])]
    seed: Option<u64>,
    /// Write the plan of that seed to a new file.
    #[arg(long, value_name = "FILE", requires = "seed")]
    save: Option<PathBuf>,
    /// How many seeds to run at once, at most 1024; results do not depend on it [default: one for each processor].
    #[arg(long, value_name = "J", value_parser = value_parser!(u16).range(1..=JOBS_MAX))]
    jobs: Option<u16>,
    /// Print the table as Markdown.
    #[arg(long)]
    markdown: bool,
}

const EXAMPLES: &str = "\
Examples:
  proofmark                                5000 seeds of the engine
  proofmark run --store redb --time 10m    redb, for ten minutes
  proofmark replay 1234 --trace            one run, with every I/O call
  proofmark shrink 1234                    the shortest plan that fails as this seed does
  proofmark db verify /var/lib/app/db      is this database whole?

From the source tree, `cargo run --release -- run` stands for `proofmark run`.";

/// The most seeds that run at once: each takes a thread.
const JOBS_MAX: i64 = 1024;

/// The exit code of a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Reads the arguments, does what they ask for, and says how it ended.
pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let command = arguments.command.unwrap_or_else(default_command);
    match carry_out(command) {
        Ok(Ending::Sound) => ExitCode::SUCCESS,
        Ok(Ending::Unsound) => ExitCode::from(1),
        Ok(Ending::NotReproduced) => ExitCode::from(3),
        Ok(Ending::Interrupted) => process::exit(INTERRUPTED),
        Err(error) if is_broken_pipe(&error) => ExitCode::from(141),
        Err(error) => {
            complain(&error);
            ExitCode::from(2)
        }
    }
}

fn carry_out(command: Command) -> anyhow::Result<Ending> {
    let mut out = io::BufWriter::new(anstream::AutoStream::auto(io::stdout()));
    let ending = match command {
        Command::Run(arguments) => run::run(&arguments, &mut out),
        Command::Torture(arguments) => torture::torture(&arguments, &mut out),
        Command::Replica(arguments) => replica::replicate(&arguments, &mut out),
        Command::Replay(arguments) => replay::replay(&arguments, &mut out),
        Command::Plan(arguments) => plan::plan(&arguments, &mut out),
        Command::Shrink(arguments) => shrink::shrink_plan(&arguments, &mut out),
        Command::Explore(arguments) => explore::explore(&arguments, &mut out),
        Command::Audit(arguments) => audit::audit(&arguments, &mut out),
        Command::Faults(arguments) => faults::faults(&arguments, &mut out),
        Command::Db(command) => db::carry_out(&command, &mut out),
    };
    // What was found before a failure is printed before it.
    out.flush()?;
    ending
}

fn default_command() -> Command {
    Arguments::parse_from(["proofmark", "run"]).command.expect("`run` is a command")
}

/// Says what went wrong. If standard error is gone too, the exit code is all that can be said.
fn complain(error: &anyhow::Error) {
    let _ = writeln!(anstream::stderr(), "{STYLE_BAD}error:{STYLE_BAD:#} {}", describe(error));
}

/// The error and its causes on one line, without those that another one quotes already.
fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

fn store_parser() -> impl TypedValueParser<Value = StoreKind> {
    PossibleValuesParser::new(StoreKind::ALL.map(StoreKind::name)).try_map(|name| name.parse::<StoreKind>())
}

/// How many processors there are to work on.
fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_zero() { Err("it must be longer than nothing".to_owned()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([&["proofmark"], arguments].concat())
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn nothing_means_run() {
        assert!(parse(&[]).unwrap().command.is_none());
        let Command::Run(arguments) = default_command() else { panic!("another default") };
        let SeedArguments { seeds, start, .. } = arguments.seeds;
        assert_eq!((arguments.store, seeds, start), (StoreKind::Engine, None, 0));
    }

    #[test]
    fn durations_are_humane() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h 30m"), Ok(Duration::from_secs(5400)));
        for text in ["", "90", "x", "0s", "-1s"] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_quoted_cause_is_not_repeated() {
        let cause = io::Error::other("disk on fire");
        let error =
            Err::<(), _>(cause).context("cannot read x: disk on fire").context("no plan").unwrap_err();
        assert_eq!(describe(&error), "no plan: cannot read x: disk on fire");
        assert!(!is_broken_pipe(&error));
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot write");
        assert!(is_broken_pipe(&error));
    }
}
