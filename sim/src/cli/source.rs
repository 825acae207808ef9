//! Which plan a seed stands for: the options that commands about seeds share.

use std::fmt;

use anyhow::bail;
use clap::{Args, ValueEnum, value_parser};
use proofmark_sim::plan::{DEPTH_MAX, Scheduler};
use proofmark_sim::schedule::CLIENTS_MAX;
use proofmark_sim::workload::{Source, Torture};

/// The depth if none is given.
const DEPTH: u32 = 3;

/// How clients are interleaved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum ScheduleName {
    /// One step after the other, in the plan's own order.
    #[default]
    Sequential,
    /// Each client is a task, and takes its steps in its own virtual time.
    Tasks,
    /// Each client is a thread, and may lose its turn at every lock, atomic and I/O call.
    Threads,
}

/// What decides which plan a seed stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Args)]
pub(super) struct SourceArguments {
    /// How clients are interleaved in the plan that a seed stands for.
    #[arg(long, value_enum, value_name = "SCHEDULE")]
    schedule: Option<ScheduleName>,
    /// The seed is one of `proofmark torture`, with these options.
    #[arg(long, conflicts_with = "schedule")]
    torture: bool,
    #[command(flatten)]
    knobs: TortureArguments,
}

/// What threads are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Args)]
pub(super) struct TortureArguments {
    /// How many clients there are, each a thread of its own [default: drawn].
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=CLIENTS_MAX as i64))]
    threads: Option<u32>,
    /// Who decides which thread goes on [default: drawn].
    #[arg(long, value_enum, value_name = "SCHEDULER")]
    scheduler: Option<SchedulerName>,
    /// How many orderings of threads a bug may take to be likely found by `pct` [default: 3].
    #[arg(long, value_name = "D", requires = "scheduler", value_parser = value_parser!(u32).range(1..=i64::from(DEPTH_MAX)))]
    depth: Option<u32>,
    /// Let the running thread go on, but for this share of all switch points, such as 0.02 [default: drawn].
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    forced_yields: Option<u16>,
}

/// Who decides which thread goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SchedulerName {
    /// Any thread that can run.
    Random,
    /// The thread with the highest priority, which changes at a few points.
    Pct,
    /// Any thread, the likelier the more it has left to do.
    Urw,
    /// One after the other.
    RoundRobin,
}

impl SourceArguments {
    /// Where plans come from, if anything is said of it.
    pub(super) fn source(&self) -> anyhow::Result<Option<Source>> {
        if self.torture {
            return self.knobs.source().map(Some);
        }
        if self.knobs != TortureArguments::default() {
            bail!(
                "how threads are tortured can be set for seeds of `proofmark torture`: --torture is missing"
            );
        }
        Ok(self.schedule.map(ScheduleName::source))
    }
}

impl ScheduleName {
    /// Where plans come from.
    pub(super) fn source(self) -> Source {
        match self {
            ScheduleName::Sequential => Source::Sequential,
            ScheduleName::Tasks => Source::Tasks,
            ScheduleName::Threads => Source::Threads,
        }
    }
}

impl TortureArguments {
    /// Where plans come from.
    pub(super) fn source(&self) -> anyhow::Result<Source> {
        if self.depth.is_some() && self.scheduler != Some(SchedulerName::Pct) {
            bail!("a depth means something to `--scheduler pct` alone");
        }
        let scheduler = self.scheduler.map(|name| match name {
            SchedulerName::Random => Scheduler::Random,
            SchedulerName::Pct => Scheduler::Priorities { depth: self.depth.unwrap_or(DEPTH) },
            SchedulerName::Urw => Scheduler::Uniform,
            SchedulerName::RoundRobin => Scheduler::RoundRobin,
        });
        Ok(Source::Torture(Torture { clients: self.threads, scheduler, forced_yields: self.forced_yields }))
    }
}

/// The options with which a command about a seed is told of this source, each after a blank.
pub(super) struct Options(pub(super) Source);

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Source::Sequential => Ok(()),
            Source::Tasks => f.write_str(" --schedule tasks"),
            Source::Threads => f.write_str(" --schedule threads"),
            Source::Torture(knobs) => write!(f, " --torture{}", Knobs(knobs)),
        }
    }
}

/// The options of `proofmark torture`, likewise.
pub(super) struct Knobs(pub(super) Torture);

impl fmt::Display for Knobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Torture { clients, scheduler, forced_yields } = self.0;
        if let Some(clients) = clients {
            write!(f, " --threads {clients}")?;
        }
        match scheduler {
            Some(Scheduler::Priorities { depth }) => write!(f, " --scheduler pct --depth {depth}")?,
            Some(scheduler) => write!(f, " --scheduler {scheduler}")?,
            None => {}
        }
        match forced_yields {
            Some(per_mille) => write!(f, " --forced-yields {}", f64::from(per_mille) / 1000.0),
            None => Ok(()),
        }
    }
}

fn parse_rate(text: &str) -> Result<u16, String> {
    let rate: f64 = text.parse().map_err(|_| "it must be a number".to_owned())?;
    if (0.001..=1.0).contains(&rate) {
        Ok((rate * 1000.0).round() as u16)
    } else {
        Err("it must be from 0.001 to 1".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        source: SourceArguments,
    }

    #[test]
    fn the_options_of_a_source_lead_back_to_it() {
        for options in [
            " --schedule tasks",
            " --schedule threads",
            " --torture",
            " --torture --threads 7 --scheduler pct --depth 4 --forced-yields 0.02",
            " --torture --scheduler round-robin",
        ] {
            let arguments = ["proofmark"].into_iter().chain(options.split_whitespace());
            let source = Command::try_parse_from(arguments).unwrap().source.source().unwrap().unwrap();
            assert_eq!(Options(source).to_string(), options);
        }
        assert_eq!(SourceArguments::default().source().unwrap(), None);
        assert_eq!(Options(Source::default()).to_string(), "");
    }

    #[test]
    fn rates_are_shares() {
        assert_eq!(parse_rate("0.02"), Ok(20));
        assert_eq!(parse_rate("0.001"), Ok(1));
        assert_eq!(parse_rate("1"), Ok(1000));
        for text in ["", "x", "0", "1.1", "-0.5", "0.0001", "0.0005", "0.00099", "1.0001", "nan"] {
            assert!(parse_rate(text).is_err(), "{text:?}");
        }
    }
}
