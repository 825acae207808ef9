//! How far something of known size has come: a bar on a terminal, a line every few seconds otherwise. Standard error,
//! either way.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::clock::Stopwatch;
use super::output::grouped;

/// The seconds between two lines.
const LINE_SECONDS: u64 = 5;

/// The display. Can be told from any thread.
#[derive(Debug)]
pub(super) struct Meter {
    what: &'static str,
    stopwatch: Stopwatch,
    /// Hidden, if standard error is no terminal.
    bar: ProgressBar,
    lines_printed: AtomicU64,
}

impl Meter {
    /// Shows that none of `what` has been done yet.
    pub(super) fn start(what: &'static str, stopwatch: Stopwatch) -> Meter {
        let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {msg}, {eta} to go")
            .expect("the template is well-formed");
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()).with_style(style);
        Meter { what, stopwatch, bar, lines_printed: AtomicU64::new(0) }
    }

    /// Shows how many are done, of how many, and what else there is to say.
    pub(super) fn show(&self, done: usize, count: usize, message: &str) {
        let elapsed = self.stopwatch.elapsed().as_secs();
        let what = self.what;
        if !self.bar.is_hidden() {
            self.bar.set_length(count as u64);
            self.bar.set_position(done as u64);
            self.bar.set_message(format!("{what}{message}"));
            return;
        }
        let lines_due = elapsed / LINE_SECONDS;
        // Of several threads that find a line due, one prints it. A line that cannot be printed is not worth failing for.
        if self.lines_printed.fetch_max(lines_due, Ordering::Relaxed) < lines_due {
            let (done, count) = (grouped(done as u64), grouped(count as u64));
            let _ = writeln!(io::stderr(), "{elapsed} s: {done} of {count} {what}{message}");
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
