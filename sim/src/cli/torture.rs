//! `proofmark torture`: threads, and every way to interleave them that chance comes to.

use std::io::Write;
use std::num::NonZeroU64;
use std::time::Duration;

use clap::{Args, value_parser};
use proofmark_sim::store::StoreKind;

use super::source::TortureArguments;
use super::{Ending, JOBS_MAX, parse_duration, run, store_parser};

pub(super) const EXAMPLES: &str = "\
Each client is a thread, and so is upkeep. The store is built so that every lock, atomic and I/O call is a place where
another thread may go on, or the power may fail. What decides is drawn from the seed, or set with the options.

A violation is printed with the command that replays it. `replay --save` writes down where threads lost their turns, and
`shrink` takes away those turns that do not matter.

Exit code: 0 if every promise was kept, 1 if one was broken, 2 if it cannot run, 130 after Ctrl-C.

Examples:
  proofmark torture                                        2000 seeds of the engine
  proofmark torture --threads 4 --scheduler pct --depth 5
  proofmark torture --forced-yields 0.02 --time 10m
  proofmark replay 1234 --torture --save found.plan
  proofmark shrink found.plan";

/// How many seeds are run, if nothing else is said.
const SEEDS_DEFAULT: u64 = 2000;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The store to test.
    #[arg(long, default_value = StoreKind::default().name(), value_parser = store_parser())]
    store: StoreKind,
    #[command(flatten)]
    knobs: TortureArguments,
    /// How many seeds to run [default: 2000, or no limit with --time].
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

/// Runs seeds, and prints violations and the table.
pub(super) fn torture(arguments: &Arguments, out: &mut impl Write) -> anyhow::Result<Ending> {
    let Arguments { store, knobs, seeds, start, seed, time, jobs, check_determinism } = *arguments;
    let seeds = run::Seeds { seeds, start, seed, time, jobs, default: SEEDS_DEFAULT };
    let campaign = run::campaign(store, knobs.source()?, &seeds)?;
    run::carry_out(campaign, time, check_determinism, out)
}
