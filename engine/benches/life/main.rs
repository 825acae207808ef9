//! The life of a database of a million keys, from its load to its compaction, step by step beside redb.
//!
//! ```text
//! cargo bench -p proofmark-engine --bench life                      everything
//! cargo bench -p proofmark-engine --bench life -- gets scan         the load, and the steps with these words in their names
//! cargo bench -p proofmark-engine --bench life -- --only proofmark  without redb
//! PROOFMARK_KEYS=20000 cargo bench -p proofmark-engine --bench life
//! ```
//!
//! Both stores take a step before either takes the next one, on one file system, below a temporary directory
//! (`TMPDIR` says where), with 512 MiB of cache each. Keys have 24 bytes and come in no order, values have 150. What
//! counts is the ratio: the figures depend on the machine, and on what else it does.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails has nothing better to do than to say so")]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "it is the clock that is asked here")]

#[path = "../../tests/it/counting.rs"]
mod counting;
mod proofmark;
mod redb;
mod steps;
mod store;
mod workload;

use std::env;
use std::io::Write;

use comfy_table::{CellAlignment, Table, presets};

use crate::proofmark::Proofmark;
use crate::redb::Redb;
use crate::steps::{Figure, Life, Measurement, steps};
use crate::store::Store;

/// How many keys, unless `PROOFMARK_KEYS` says otherwise.
const KEYS: u64 = 1_000_000;

/// A life whose store is forgotten.
trait AnyLife {
    fn take_step(&mut self, index: usize) -> Measurement;
}

impl<S: Store> AnyLife for Life<S> {
    fn take_step(&mut self, index: usize) -> Measurement {
        steps::<S>()[index].1(self)
    }
}

fn main() {
    let keys =
        env::var("PROOFMARK_KEYS").map_or(KEYS, |text| text.parse().expect("PROOFMARK_KEYS is a number"));
    // Cargo passes `--bench`.
    let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench");
    let (mut only, mut words) = (None, Vec::new());
    while let Some(argument) = arguments.next() {
        if argument == "--only" {
            only = arguments.next();
        } else {
            words.push(argument);
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let mut lives: Vec<(&str, Box<dyn AnyLife>)> = vec![
        (Proofmark::NAME, Box::new(Life::<Proofmark>::new(keys, directory.path()))),
        (Redb::NAME, Box::new(Life::<Redb>::new(keys, directory.path()))),
    ];
    lives.retain(|(name, _)| only.as_deref().is_none_or(|only| only == *name));
    let mut rows = Vec::new();
    for (index, (name, _)) in steps::<Proofmark>().iter().enumerate() {
        let is_asked_for = words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
        if is_asked_for || index == 0 {
            let _ = writeln!(std::io::stderr(), "{name} ...");
            let found: Vec<_> = lives.iter_mut().map(|(_, life)| life.take_step(index)).collect();
            rows.push((*name, found));
        }
    }
    let names: Vec<&str> = lives.iter().map(|(name, _)| *name).collect();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{keys} keys of 24 bytes, values of 150 bytes\n{}", figures(&names, &rows)).unwrap();
    writeln!(out, "\nwhat was written\n{}", writes(&names, &rows)).unwrap();
}

type Row = (&'static str, Vec<Measurement>);

fn figures(names: &[&str], rows: &[Row]) -> Table {
    let mut table = new_table(&[&["step"], names, &["ratio"]].concat());
    for (name, found) in rows {
        let mut cells = vec![(*name).to_owned()];
        cells.extend(found.iter().map(|found| show(found.figure)));
        let ratio = match found.as_slice() {
            [ours, theirs] => format!("{:.2}", goodness(ours.figure) / goodness(theirs.figure)),
            _ => String::new(),
        };
        cells.push(ratio);
        table.add_row(cells);
    }
    align(table)
}

fn writes(names: &[&str], rows: &[Row]) -> Table {
    let figures = ["syncs per commit", "bytes written per byte committed"];
    let columns = names.iter().flat_map(|name| figures.map(|figure| format!("{name}: {figure}")));
    let mut table = new_table(&[vec!["step".to_owned()], columns.collect()].concat());
    for (name, found) in rows {
        let mut cells = vec![(*name).to_owned()];
        for writes in found.iter().filter_map(|found| found.writes) {
            cells.push(format!("{:.3}", writes.syncs as f64 / writes.commits as f64));
            cells.push(format!("{:.2}", writes.written_bytes as f64 / writes.user_bytes as f64));
        }
        if cells.len() > 1 {
            table.add_row(cells);
        }
    }
    align(table)
}

fn new_table(header: &[impl ToString]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header.iter().map(ToString::to_string));
    table
}

fn align(mut table: Table) -> Table {
    table.column_iter_mut().skip(1).for_each(|column| {
        column.set_cell_alignment(CellAlignment::Right);
    });
    table
}

/// More is better: ratios are made of this.
fn goodness(figure: Figure) -> f64 {
    match figure {
        Figure::Rate { count, elapsed } => count as f64 / elapsed.as_secs_f64(),
        Figure::Time(elapsed) => 1.0 / elapsed.as_secs_f64(),
        Figure::Bytes(bytes) => 1.0 / bytes as f64,
    }
}

fn show(figure: Figure) -> String {
    match figure {
        Figure::Rate { .. } => match goodness(figure) {
            rate if rate >= 1e6 => format!("{:.2} M/s", rate / 1e6),
            rate if rate >= 1e4 => format!("{:.0} k/s", rate / 1e3),
            rate => format!("{:.2} k/s", rate / 1e3),
        },
        Figure::Time(elapsed) => format!("{:.1} ms", elapsed.as_secs_f64() * 1e3),
        Figure::Bytes(bytes) => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}
