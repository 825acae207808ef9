//! `proofmark torture`: threads, and every way to interleave them that chance comes to.

use std::io::Write;

use clap::Args;
use proofmark_sim::store::StoreKind;

use super::source::TortureArguments;
use super::{Ending, SeedArguments, run, store_parser};

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
    #[command(flatten)]
    seeds: SeedArguments,
}

/// Runs seeds, and prints violations and the table.
pub(super) fn torture(arguments: &Arguments, out: &mut impl Write) -> anyhow::Result<Ending> {
    let campaign =
        run::campaign(arguments.store, arguments.knobs.source()?, &arguments.seeds, SEEDS_DEFAULT)?;
    run::carry_out(campaign, &arguments.seeds, out)
}
