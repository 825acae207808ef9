//! How far a campaign has come: a bar on a terminal, a line every few seconds otherwise. Standard error, either way.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use proofmark_sim::store::StoreKind;

use super::clock::Stopwatch;
use super::output::grouped;

/// The time between two lines.
pub(super) const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// What is to be done: so many seeds, or whatever there is time for, whichever ends first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal {
    pub(super) store: StoreKind,
    pub(super) seeds: Option<u64>,
    pub(super) time: Option<Duration>,
}

/// The display of a campaign's progress. Can be told from any thread.
#[derive(Debug)]
pub(super) struct Progress {
    goal: Goal,
    stopwatch: Stopwatch,
    /// Hidden, if standard error is no terminal.
    bar: ProgressBar,
    lines_printed: AtomicU64,
}

impl Progress {
    /// Shows that nothing has been done yet.
    pub(super) fn start(goal: Goal, stopwatch: Stopwatch) -> Progress {
        let (length, template) = match goal {
            Goal { seeds: Some(seeds), .. } => {
                (seeds, "{bar:40} {human_pos}/{human_len} seeds, {msg}, {eta} to go")
            }
            Goal { time: Some(time), .. } => (milliseconds(time), "{bar:40} {msg}, {eta} to go"),
            Goal { .. } => (0, "{spinner} {msg}"),
        };
        let style = ProgressStyle::with_template(template).expect("the template is well-formed");
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr()).with_style(style);
        if bar.is_hidden() {
            print(&first_line(goal));
        }
        Progress { goal, stopwatch, bar, lines_printed: AtomicU64::new(0) }
    }

    /// Shows how many seeds are done, and how many of them ended with a violation.
    pub(super) fn show(&self, seeds_done: u64, violations: usize) {
        let elapsed = self.stopwatch.elapsed();
        if !self.bar.is_hidden() {
            let is_timed = self.goal.seeds.is_none();
            let position = if is_timed { milliseconds(elapsed) } else { seeds_done };
            let seeds = if is_timed { format!("{} seeds, ", grouped(seeds_done)) } else { String::new() };
            self.bar.set_message(format!("{seeds}{violations} violations"));
            self.bar.set_position(position);
            return;
        }
        let lines_due = elapsed.as_secs() / LINE_INTERVAL.as_secs();
        // Of several threads that find a line due, one prints it.
        if self.lines_printed.fetch_max(lines_due, Ordering::Relaxed) < lines_due {
            print(&line(self.goal, elapsed, seeds_done, violations));
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn print(line: &str) {
    // Progress that cannot be shown is not worth failing for.
    let _ = writeln!(io::stderr(), "{line}");
}

fn first_line(goal: Goal) -> String {
    let seeds = goal.seeds.map_or_else(|| "seeds".to_owned(), |seeds| format!("{} seeds", grouped(seeds)));
    let time =
        goal.time.map_or_else(String::new, |time| format!(" for {}", humantime::format_duration(time)));
    format!("running {seeds} of {}{time}", goal.store)
}

fn line(goal: Goal, elapsed: Duration, seeds_done: u64, violations: usize) -> String {
    let of = goal.seeds.map_or_else(String::new, |seeds| format!(" of {}", grouped(seeds)));
    format!("{} s: {}{of} seeds done, {violations} violations", elapsed.as_secs(), grouped(seeds_done))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        let goal = Goal { store: StoreKind::Redb, seeds: Some(20_000), time: None };
        assert_eq!(first_line(goal), "running 20,000 seeds of redb");
        let elapsed = Duration::from_millis(10_900);
        assert_eq!(line(goal, elapsed, 1234, 1), "10 s: 1,234 of 20,000 seeds done, 1 violations");
        let goal = Goal { seeds: None, time: Some(Duration::from_secs(60)), ..goal };
        assert_eq!(first_line(goal), "running seeds of redb for 1m");
        assert_eq!(line(goal, elapsed, 1234, 0), "10 s: 1,234 seeds done, 0 violations");
    }
}
