//! `proofmark replica`: a leader and a follower, world by world.

use std::io::Write;
use std::num::NonZeroU64;
use std::sync::Arc;

use clap::Args;
use proofmark_sim::replica::{ReplicaRun, ReplicaStats, apply, run};
use proofmark_sim::store::{Engine, StoreFactory};

use super::Ending;
use super::clock::Stopwatch;
use super::interrupt::Interrupt;
use super::output::{Figures, STYLE_BAD, STYLE_FAINT, STYLE_GOOD, STYLE_NOTABLE};
use super::run::check_seeds;

pub(super) const EXAMPLES: &str = "\
A leader is written to, and a follower takes in its commit stream over a network that loses and delays messages, and is cut
off. Both may lose their power at any I/O call. What the follower holds has to be what the leader once held; and, when
all trouble is over, what it holds now.

Exit code: 0 if that is so, 1 if it is not, 2 if it cannot run, 130 after Ctrl-C.

Examples:
  proofmark replica                 1000 worlds
  proofmark replica --seed 1234     one world, and all that happens in it";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// How many worlds to run.
    #[arg(long, value_name = "N", default_value = "1000")]
    seeds: NonZeroU64,
    /// The first seed; the others follow it.
    #[arg(long, value_name = "K", default_value_t = 0)]
    start: u64,
    /// Run this seed and no other, and tell its story.
    #[arg(long, value_name = "S", conflicts_with_all = ["seeds", "start"])]
    seed: Option<u64>,
}

/// Runs worlds, up to the first in which something is wrong, and prints the table.
pub(super) fn replicate(arguments: &Arguments, out: &mut impl Write) -> anyhow::Result<Ending> {
    let Arguments { seeds, start, seed } = *arguments;
    let (first, count) = seed.map_or((start, seeds.get()), |seed| (seed, 1));
    check_seeds(first, Some(count))?;
    let interrupt = Interrupt::listen()?;
    let stopwatch = Stopwatch::start();
    let factory: Arc<dyn StoreFactory> = Arc::new(Engine);
    let (mut sum, mut done) = (ReplicaStats::default(), 0);
    let mut ending = Ending::Sound;
    for seed in (first..=u64::MAX).take(usize::try_from(count).unwrap_or(usize::MAX)) {
        if interrupt.is_requested() {
            ending = Ending::Interrupted;
            break;
        }
        let ReplicaRun { verdict, stats, lines, trace_hash } = run(seed, &factory, apply);
        sum += &stats;
        done += 1;
        if arguments.seed.is_some() {
            lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
            writeln!(out, "{STYLE_FAINT}trace hash {trace_hash:016x}{STYLE_FAINT:#}")?;
        }
        if let Err(violation) = verdict {
            writeln!(out, "{STYLE_BAD}violation:{STYLE_BAD:#} {}: {}", violation.checker, violation.kind)?;
            writeln!(out, "  says      {}", violation.message)?;
            let command = format!("cargo run --release -- replica --seed {seed}");
            writeln!(out, "  reproduce {STYLE_NOTABLE}{command}{STYLE_NOTABLE:#}\n")?;
            ending = Ending::Unsound;
            break;
        }
    }
    writeln!(out, "{}", figures(done, &sum, stopwatch.elapsed().as_secs_f64().max(0.001)).render())?;
    match ending {
        Ending::Sound => writeln!(out, "{STYLE_GOOD}no violation{STYLE_GOOD:#}")?,
        Ending::Interrupted => writeln!(out, "{STYLE_NOTABLE}interrupted{STYLE_NOTABLE:#}")?,
        _ => {}
    }
    Ok(ending)
}

fn figures(worlds: u64, sum: &ReplicaStats, seconds: f64) -> Figures {
    let simulated = sum.virtual_us as f64 / 1e6;
    let mut figures = Figures::new();
    figures
        .count("worlds", worlds)
        .count("commits of the leader", sum.commits)
        .count("commits that the follower took in", sum.applied)
        .count("times that it took in everything", sum.fresh_starts)
        .count("questions without an answer", sum.unanswered)
        .count("answers that came too late", sum.late_answers)
        .count("messages that got through", sum.messages)
        .count("times that a side was cut off", sum.cuts)
        .count("deaths of the leader", sum.leader_deaths)
        .count("deaths of the follower", sum.follower_deaths)
        .text("virtual time", &format!("{simulated:.1} s"))
        .count("  times as fast as real time", (simulated / seconds) as u64)
        .text("elapsed", &format!("{seconds:.1} s"));
    figures
}
