//! What was measured, as one table, and what has to be said beside it.

use comfy_table::{CellAlignment, Table, presets};

use crate::Arguments;
use crate::cells::{Found, Row};
use crate::maps::MapKind;
use crate::rounds::{Measured, Outcome};

pub(crate) fn render(arguments: &Arguments, rows: &[Row], measured: &Measured) -> String {
    let mut table = Table::new();
    let style = if arguments.markdown { presets::ASCII_MARKDOWN } else { presets::UTF8_FULL_CONDENSED };
    let titles = arguments.maps.iter().map(|map| map.title());
    table
        .load_style(style)
        .set_header(["keys", "workload", "distribution", "threads"].into_iter().chain(titles));
    for (row, cells) in rows.iter().zip(&measured.cells) {
        let mut texts = vec![
            row.keys.title().to_owned(),
            row.workload.title().to_owned(),
            row.distribution.title().to_owned(),
            row.threads.to_string(),
        ];
        let medians: Vec<Option<f64>> = cells.iter().map(|outcomes| median(outcomes)).collect();
        let best = best(row, &medians);
        texts.extend(cells.iter().zip(medians).map(|(outcomes, median)| {
            let text = cell(row, outcomes, median);
            if arguments.markdown && median.is_some() && median == best {
                format!("**{text}**")
            } else {
                text
            }
        }));
        table.add_row(texts);
    }
    table.column_iter_mut().skip(3).for_each(|column| {
        column.set_cell_alignment(CellAlignment::Right);
    });
    let mut lines = vec![heading(arguments), String::new(), table.to_string(), String::new()];
    lines.extend(overhead(measured));
    lines.extend(spread(measured));
    lines.extend(misses(&arguments.maps, measured));
    lines.extend(refusals(arguments));
    lines.join("\n")
}

fn heading(arguments: &Arguments) -> String {
    let Arguments { size, rounds, seconds, running_time, .. } = arguments;
    let rounds = if *rounds == 1 { "one round".to_owned() } else { format!("medians of {rounds} rounds") };
    let second = if *running_time { "second that a thread was running" } else { "second" };
    format!(
        "{size} keys, values of 8 bytes. Million operations a {second}, but bytes where the row says so; \
         {rounds} of {seconds} s."
    )
}

fn found(outcomes: &[Outcome]) -> impl Iterator<Item = Found> {
    outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Found(found) => Some(*found),
        Outcome::Timeout | Outcome::Failed => None,
    })
}

/// The upper one of two in the middle.
fn median(outcomes: &[Outcome]) -> Option<f64> {
    let mut figures: Vec<f64> = found(outcomes).map(|found| found.figure).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

fn best(row: &Row, medians: &[Option<f64>]) -> Option<f64> {
    let figures = medians.iter().copied().flatten();
    if row.workload.is_bytes() { figures.min_by(f64::total_cmp) } else { figures.max_by(f64::total_cmp) }
}

fn cell(row: &Row, outcomes: &[Outcome], median: Option<f64>) -> String {
    if outcomes.is_empty() {
        return "-".to_owned();
    }
    let mut texts: Vec<String> = median.into_iter().map(|figure| show(row, figure)).collect();
    for (bad, name) in [(Outcome::Timeout, "timeout"), (Outcome::Failed, "failed")] {
        match outcomes.iter().filter(|outcome| **outcome == bad).count() {
            0 => {}
            count if count == outcomes.len() => texts.push(name.to_owned()),
            count => texts.push(format!("({count} of {} {name})", outcomes.len())),
        }
    }
    texts.join(" ")
}

fn show(row: &Row, figure: f64) -> String {
    match figure {
        _ if row.workload.is_bytes() => format!("{figure:.1}"),
        1.0.. => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

/// What the benchmark itself costs.
fn overhead(measured: &Measured) -> Option<String> {
    let costs: Vec<String> = measured
        .overhead
        .iter()
        .map(|(row, outcome)| {
            let title = format!("{} {} {}", row.keys.title(), row.workload.title(), row.distribution.title());
            match outcome {
                Outcome::Found(found) => format!("{title} {:.1}", 1e3 * row.threads as f64 / found.figure),
                Outcome::Timeout | Outcome::Failed => format!("{title} unknown"),
            }
        })
        .collect();
    let what = "Nanoseconds of an operation that are the benchmark's own, and part of every figure above";
    (!costs.is_empty()).then(|| format!("{what}: {}.", costs.join("; ")))
}

/// How far rounds are from their medians.
fn spread(measured: &Measured) -> Option<String> {
    let mut deviations: Vec<f64> = Vec::new();
    for outcomes in measured.cells.iter().flatten().filter(|outcomes| outcomes.len() > 1) {
        let Some(median) = median(outcomes) else { continue };
        deviations.extend(found(outcomes).map(|found| 100.0 * (found.figure - median).abs() / median));
    }
    deviations.sort_by(f64::total_cmp);
    let most = deviations.last()?;
    let typical = deviations[deviations.len() * 9 / 10];
    Some(format!("Nine of ten rounds are within {typical:.0} % of their median, all within {most:.0} %."))
}

/// A read that finds nothing where a key is and was is no error of ours, and has to be told.
fn misses(maps: &[MapKind], measured: &Measured) -> Option<String> {
    let mut texts = Vec::new();
    for (index, map) in maps.iter().enumerate() {
        let all = measured.cells.iter().flat_map(|cells| found(&cells[index]));
        let (reads, misses) = all.fold((0, 0), |(r, m), found| (r + found.reads, m + found.misses));
        if misses > 0 {
            texts.push(format!("{} {misses} of {reads}", map.title()));
        }
    }
    let title = "Reads that found nothing for a key that was there before and after";
    (!texts.is_empty()).then(|| format!("{title}: {}.", texts.join("; ")))
}

fn refusals(arguments: &Arguments) -> Vec<String> {
    let pairs = arguments.maps.iter().flat_map(|map| arguments.keys.iter().map(move |keys| (map, keys)));
    pairs.filter_map(|(map, keys)| map.refusal(*keys)).map(|why| format!("- : {why}.")).collect()
}
