//! Verdicts on what followed a power loss.
//!
//! A verdict is a function of the history, and most images of a boundary lead to one of very few histories. So each is
//! judged once, which makes judging nearly free.

use proofmark_model::{Event, History, Violation, check};

/// Judges what followed one moment of a run.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    past: &'a [Event],
    /// What followed so far, and the verdicts.
    known: Vec<(Vec<Event>, Result<(), Violation>)>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(past: &'a [Event]) -> Judge<'a> {
        Judge { past, known: Vec::new() }
    }

    /// The verdict on `past` and these events after it.
    pub(super) fn verdict(&mut self, followed: Vec<Event>) -> Result<(), Violation> {
        // What follows one image mostly follows the next one as well, so the latest is looked at first.
        if let Some(index) = self.known.iter().rposition(|(known, _)| *known == followed) {
            let latest = self.known.len() - 1;
            self.known.swap(index, latest);
            return self.known[latest].1.clone();
        }
        let events = self.past.iter().chain(&followed).cloned().collect();
        let verdict = check(&History { events });
        self.known.push((followed, verdict.clone()));
        verdict
    }
}
