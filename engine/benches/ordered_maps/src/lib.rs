//! Ordered maps for many threads beside one another, on the workloads of YCSB.
//!
//! ```text
//! cargo bench -p proofmark-ordered-maps                        everything: more than an hour
//! cargo bench -p proofmark-ordered-maps -- --keys u64 --dist zipfian --threads 1,2
//! cargo bench -p proofmark-ordered-maps -- --workloads a,c,scan --maps scc,bf-tree --rounds 1
//! cargo bench -p proofmark-ordered-maps -- --markdown
//! ```
//!
//! Each cell of the table is a process of its own, in which a million keys are loaded, the map is checked and warmed
//! up, and then measured for a second. The maps of a row take turns, round by round, so that whatever else the machine
//! does meets all of them; the table shows medians. What counts is the ratio within a row. A map that has not
//! answered after `--limit` seconds is killed and shown as `timeout`.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails has nothing better to do than to say so")]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "it is the clock that is asked here")]

mod cells;
mod clock;
mod maps;
mod memory;
mod rounds;
mod table;
mod workload;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::cells::{Row, Scale};
use crate::clock::Clock;
use crate::maps::MapKind;
use crate::workload::{Distribution, KeyKind, Workload};

/// Ordered maps for many threads beside one another, on the workloads of YCSB.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// Which maps, and in what order
    #[arg(long, value_delimiter = ',')]
    maps: Vec<MapKind>,
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<Workload>,
    #[arg(long, value_delimiter = ',')]
    keys: Vec<KeyKind>,
    /// Of the keys asked for; loads ask for each once, and workload D for the latest
    #[arg(long = "dist", value_delimiter = ',')]
    distributions: Vec<Distribution>,
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4])]
    threads: Vec<usize>,
    /// How often each cell is measured; the table shows the median
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// How long a cell is measured
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// How long it is warmed up before
    #[arg(long, default_value_t = 0.3)]
    warm_up: f64,
    /// After how many seconds more a cell is given up, its load included
    #[arg(long, default_value_t = 30.0)]
    limit: f64,
    /// How many keys are loaded
    #[arg(long, default_value_t = 1_000_000)]
    size: u64,
    /// Count the time for which threads were running, for a machine that is busy; it flatters locks
    #[arg(long)]
    running_time: bool,
    /// A table in Markdown, the best figure of a row in bold
    #[arg(long)]
    markdown: bool,
    /// Measure one cell in this process, with steps of this round
    #[arg(long, hide = true)]
    child: Option<u64>,
    /// Cargo passes it
    #[arg(long, hide = true)]
    bench: bool,
}

/// Measures what the arguments of this process ask for, and prints a table.
pub fn run() -> ExitCode {
    let mut arguments = Arguments::parse();
    fill_if_empty(&mut arguments.maps);
    arguments.maps.retain(|map| arguments.child.is_some() || *map != MapKind::Nothing);
    fill_if_empty(&mut arguments.workloads);
    fill_if_empty(&mut arguments.keys);
    fill_if_empty(&mut arguments.distributions);
    assert!(arguments.size >= 1000, "fewer than a thousand keys measure nothing");
    assert!(arguments.rounds > 0 && !arguments.threads.contains(&0), "there is a round, and a thread");
    let rows = arguments.rows();
    if let Some(round) = arguments.child {
        let scale = Scale {
            keys: arguments.size,
            warm_up: Duration::from_secs_f64(arguments.warm_up),
            measured: Duration::from_secs_f64(arguments.seconds),
            clock: if arguments.running_time { Clock::Running } else { Clock::Wall },
            round,
        };
        println!("{}", cells::run(arguments.maps[0], &rows[0], &scale));
        return ExitCode::SUCCESS;
    }
    let measured = rounds::measure(&arguments, &rows);
    println!("{}", table::render(&arguments, &rows, &measured));
    if measured.has_failures() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn fill_if_empty<T: ValueEnum + Clone>(chosen: &mut Vec<T>) {
    if chosen.is_empty() {
        *chosen = T::value_variants().to_vec();
    }
}

impl Arguments {
    /// What is to be measured, in the order of the table.
    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for &keys in &self.keys {
            for &workload in &self.workloads {
                let threads = if workload.is_bytes() { &[1][..] } else { &self.threads };
                for distribution in workload.distributions(&self.distributions) {
                    rows.extend(threads.iter().map(|&threads| Row { keys, workload, distribution, threads }));
                }
            }
        }
        rows
    }

    /// How another process is told to measure one cell.
    fn cell(&self, map: MapKind, row: &Row, round: u64) -> Vec<String> {
        let mut words = vec![
            format!("--child={round}"),
            format!("--maps={}", name_of(&map)),
            format!("--workloads={}", name_of(&row.workload)),
            format!("--keys={}", name_of(&row.keys)),
            format!("--threads={}", row.threads),
            format!("--seconds={}", self.seconds),
            format!("--warm-up={}", self.warm_up),
            format!("--size={}", self.size),
        ];
        words.extend(self.running_time.then(|| "--running-time".to_owned()));
        if [Distribution::Uniform, Distribution::Zipfian].contains(&row.distribution) {
            words.push(format!("--dist={}", name_of(&row.distribution)));
        }
        words
    }
}

/// What the command line calls it.
fn name_of(value: &impl ValueEnum) -> String {
    value.to_possible_value().expect("only what the command line knows is asked for").get_name().to_owned()
}
