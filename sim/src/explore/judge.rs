//! Verdicts on what followed a power loss.
//!
//! A verdict is a function of the history, and most images of a boundary lead to one of very few histories. So each is
//! judged once, which makes judging nearly free.

use proofmark_model::{Event, History, Violation, check};

/// Judges what followed one moment of a run.
#[derive(Debug)]
pub(super) struct Judge {
    /// What came before that moment; while a verdict is found, and only then, with what followed.
    history: History,
    /// What followed so far, and the verdicts.
    known: Vec<(Vec<Event>, Result<(), Violation>)>,
}

impl Judge {
    pub(super) fn new(past: &[Event]) -> Judge {
        Judge { history: History { events: past.to_vec() }, known: Vec::new() }
    }

    /// The verdict on the past and these events after it.
    pub(super) fn verdict(&mut self, followed: Vec<Event>) -> Result<(), Violation> {
        // What follows one image mostly follows the next one as well, so the latest is looked at first.
        if let Some(index) = self.known.iter().rposition(|(known, _)| *known == followed) {
            let latest = self.known.len() - 1;
            self.known.swap(index, latest);
            return self.known[latest].1.clone();
        }
        let past_count = self.history.events.len();
        self.history.events.extend_from_slice(&followed);
        let verdict = check(&self.history);
        self.history.events.truncate(past_count);
        self.known.push((followed, verdict.clone()));
        verdict
    }
}
