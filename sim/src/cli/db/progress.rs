//! How far a load or an export has come: a bar on a terminal, nothing otherwise. Standard error, either way.

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The display. It is taken away when it is dropped.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Of something that has so many bytes, if that is known.
    pub(super) fn start(verb: &'static str, bytes: Option<u64>) -> Progress {
        let template = match bytes {
            Some(_) => "{prefix} {bar:40} {bytes} of {total_bytes}, {msg}, {bytes_per_sec}, {eta} to go",
            None => "{prefix} {spinner} {bytes}, {msg}, {bytes_per_sec}",
        };
        let style = ProgressStyle::with_template(template).expect("the template is well-formed");
        let bar = ProgressBar::with_draw_target(bytes, ProgressDrawTarget::stderr()).with_style(style);
        Progress(bar.with_prefix(verb))
    }

    /// Shows how many bytes and pairs are done.
    pub(super) fn show(&self, bytes: u64, pairs: u64) {
        if !self.0.is_hidden() {
            self.0.set_message(format!("{} pairs", HumanCount(pairs)));
            self.0.set_position(bytes);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
