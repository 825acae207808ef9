//! Every cell, round by round: within a round, the maps of a row take turns.

use std::env;
use std::io::{IsTerminal, Read, stderr};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use crate::Arguments;
use crate::cells::{Found, Row};
use crate::maps::MapKind;

/// What a process came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Outcome {
    Found(Found),
    /// It was killed.
    Timeout,
    /// It has said why on its standard error.
    Failed,
}

pub(crate) struct Measured {
    /// For each row, for each map, round by round; nothing where the map refuses the keys.
    pub(crate) cells: Vec<Vec<Vec<Outcome>>>,
    /// What the benchmark itself costs in each row with operations.
    pub(crate) overhead: Vec<(Row, Outcome)>,
}

impl Measured {
    pub(crate) fn has_failures(&self) -> bool {
        self.cells.iter().flatten().flatten().any(|outcome| *outcome == Outcome::Failed)
    }
}

pub(crate) fn measure(arguments: &Arguments, rows: &[Row]) -> Measured {
    let timed: Vec<Row> = rows.iter().copied().filter(has_steps).collect();
    let lowest = timed.iter().map(|row| row.threads).min();
    let timed: Vec<Row> = timed.into_iter().filter(|row| Some(row.threads) == lowest).collect();
    let cells_count = rows.len() as u64 * arguments.maps.len() as u64 * arguments.rounds + timed.len() as u64;
    let progress = Progress::new(cells_count);
    let mut cells = Vec::new();
    for row in rows {
        let mut of_maps = vec![Vec::new(); arguments.maps.len()];
        for round in 0..arguments.rounds {
            for (map, outcomes) in arguments.maps.iter().zip(&mut of_maps) {
                progress.next(row, *map);
                if map.refusal(row.keys).is_none() {
                    outcomes.push(run_cell(arguments, *map, row, round));
                }
            }
        }
        progress.done(row, &arguments.maps, &of_maps);
        cells.push(of_maps);
    }
    let overhead = timed
        .into_iter()
        .map(|row| {
            progress.next(&row, MapKind::Nothing);
            (row, run_cell(arguments, MapKind::Nothing, &row, 0))
        })
        .collect();
    progress.bar.finish_and_clear();
    Measured { cells, overhead }
}

fn has_steps(row: &Row) -> bool {
    !row.workload.is_bytes() && !row.workload.is_load()
}

fn run_cell(arguments: &Arguments, map: MapKind, row: &Row, round: u64) -> Outcome {
    let limit = Duration::from_secs_f64(arguments.seconds + arguments.warm_up + arguments.limit);
    let process = Command::new(env::current_exe().expect("this program has a path"))
        .args(arguments.cell(map, row, round))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program can be started once more");
    match wait(process, limit) {
        Ok(Some(found)) => Outcome::Found(found),
        Ok(None) => Outcome::Timeout,
        Err(error) => {
            eprintln!("{}, {}: {error:#}", map.title(), describe(row));
            Outcome::Failed
        }
    }
}

/// What the process prints, unless it takes longer than the limit: then it is killed.
fn wait(mut process: Child, limit: Duration) -> Result<Option<Found>> {
    let mut stdout = process.stdout.take().context("its output is ours")?;
    let (sender, receiver) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut text = String::new();
        let result = stdout.read_to_string(&mut text).map(|_| text);
        let _ = sender.send(result);
    });
    let Ok(text) = receiver.recv_timeout(limit) else {
        process.kill().context("it can be killed")?;
        process.wait().context("it has ended")?;
        return Ok(None);
    };
    reader.join().expect("reading does not panic");
    let status = process.wait().context("it has ended")?;
    ensure!(status.success(), "{status}");
    Ok(Some(text?.parse()?))
}

/// A bar with the time that is left on a terminal; a line for each row elsewhere.
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn new(cells: u64) -> Progress {
        let bar = ProgressBar::new(cells + 1);
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}, {eta} left: {msg}");
        bar.set_style(style.expect("the template is sound"));
        Progress { bar }
    }

    fn next(&self, row: &Row, map: MapKind) {
        self.bar.inc(1);
        self.bar.set_message(format!("{}, {}", describe(row), map.title()));
    }

    fn done(&self, row: &Row, maps: &[MapKind], outcomes: &[Vec<Outcome>]) {
        if !stderr().is_terminal() {
            let texts = maps.iter().zip(outcomes).map(|(map, outcomes)| {
                let outcomes: Vec<String> = outcomes.iter().map(brief).collect();
                format!(
                    "{} {}",
                    map.title(),
                    if outcomes.is_empty() { "-".to_owned() } else { outcomes.join(" ") }
                )
            });
            eprintln!("{}: {}", describe(row), texts.collect::<Vec<_>>().join("; "));
        }
    }
}

fn brief(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Found(found) => format!("{:.3}", found.figure),
        Outcome::Timeout => "timeout".to_owned(),
        Outcome::Failed => "failed".to_owned(),
    }
}

fn describe(row: &Row) -> String {
    let Row { keys, workload, distribution, threads } = row;
    let (keys, workload, distribution) = (keys.title(), workload.title(), distribution.title());
    let comma = if distribution.is_empty() { "" } else { ", " };
    format!(
        "{keys}, {workload}{comma}{distribution}, {threads} thread{}",
        if *threads == 1 { "" } else { "s" }
    )
}
