//! Is a run the same run every time? And if not, at which event do two of them part?
//!
//! A seed is of use only if it means one run. Two runs of a plan are compared by a rolling hash over everything that
//! happens: each I/O call with its bytes and its answer, each power loss, and each event of the history. Once two runs have
//! parted, their hashes differ for good, so that the place where they part can be found by bisection. No run is ever
//! kept whole: each pair of runs keeps a few hashes, at *rungs* between which the next pair looks closer, and only the
//! last pair keeps the events themselves, those of a short window.
//!
//! **Chance does not repeat itself.** What makes two runs differ need not make the next two differ at the same event, or
//! at all. So every pair is judged for itself: it narrows the search if it parts where is looked, and an answer is given only by
//! a pair whose own window shows it. After [`PAIRS_MAX`] pairs the answer is as narrow as it has become by then.

use std::fmt;
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::plan::Plan;
use crate::run::climb_plan;
use crate::store::StoreFactory;

/// The most hashes that are kept of a run.
const RUNGS_MAX: usize = 64;
/// The most events that are kept of a run, besides those that give them context.
const WINDOW_MAX: u64 = 64;
/// So many events before the one that differs are told.
const CONTEXT: u64 = 6;
/// So many pairs may part elsewhere than where is looked, before that is where is looked.
const MISSES_MAX: u32 = 6;
/// The most pairs of runs.
pub const PAIRS_MAX: u32 = 64;

/// Two runs of one plan that came to something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// The number of the first event that differs, counted from 1; or, if no pair of runs showed it, of the first that
    /// may.
    pub number: u64,
    /// The plan's step under way, and its number, counted from 1. None for the first opening and the end.
    pub step: Option<(usize, String)>,
    /// The events before, which both runs have in common.
    pub context: Vec<String>,
    /// The event of the one run and of the other. None where a run has ended before. Both are none if no pair showed it.
    pub events: [Option<String>; 2],
}

/// Runs a plan twice, and if that is not the same, as often as it takes to find where.
///
/// # Errors
/// Where two runs part.
pub fn check_determinism(plan: &Plan, factory: &dyn StoreFactory) -> Result<(), Box<Divergence>> {
    locate(plan, |ladder| [(); 2].map(|()| climb_plan(plan, factory, ladder.clone())))
}

/// Has pairs of runs made until one shows where it parts.
fn locate(plan: &Plan, mut pair: impl FnMut(&Ladder) -> [Ladder; 2]) -> Result<(), Box<Divergence>> {
    let Some(mut suspects) = parting(&pair(&Ladder::coarse())) else { return Ok(()) };
    let mut misses = 0;
    for _ in 1..PAIRS_MAX {
        let runs = pair(&Ladder::between(&suspects));
        if let Some(divergence) = difference(&runs, plan) {
            return Err(Box::new(divergence));
        }
        let Some(parting) = parting(&runs) else { continue };
        let is_closer = suspects.start <= parting.start && parting.end <= suspects.end;
        if is_closer || misses == MISSES_MAX {
            suspects = parting;
            misses = 0;
        } else {
            misses += 1;
        }
    }
    let number = suspects.start + 1;
    Err(Box::new(Divergence { number, step: None, context: Vec::new(), events: [None, None] }))
}

/// What is kept of a run: hashes at some numbers of events, and the events of a window.
#[derive(Debug, Clone)]
pub(crate) struct Ladder {
    /// At so many events stands the first rung, and one after each `stride` from there on, up to `last`.
    first: u64,
    stride: u64,
    last: u64,
    rungs: Vec<u64>,
    /// The numbers of the events that are kept.
    window: Range<u64>,
    kept: Vec<Kept>,
    events: u64,
    hash: u64,
}

/// An event of the window.
#[derive(Debug, Clone)]
struct Kept {
    step: Option<usize>,
    text: String,
    /// The hash after it.
    hash: u64,
}

impl Ladder {
    /// Rungs over a run of any length, and no window.
    fn coarse() -> Ladder {
        Ladder {
            first: 0,
            stride: 1,
            last: u64::MAX,
            rungs: vec![0],
            window: 0..0,
            kept: Vec::new(),
            events: 0,
            hash: 0,
        }
    }

    /// Rungs from one number of events to another, and a window if those are few enough.
    fn between(suspects: &Range<u64>) -> Ladder {
        let length = suspects.end - suspects.start;
        let window = suspects.start.saturating_sub(CONTEXT) + 1..suspects.end + 1;
        Ladder {
            first: suspects.start,
            stride: length.div_ceil(RUNGS_MAX as u64 - 2).max(1),
            last: suspects.end,
            rungs: if suspects.start == 0 { vec![0] } else { Vec::new() },
            window: if length <= WINDOW_MAX { window } else { 0..0 },
            ..Ladder::coarse()
        }
    }

    /// Takes in an event, by its own hash or by one over everything up to it.
    pub(crate) fn climb(&mut self, hash: u64, step: Option<usize>, describe: impl FnOnce() -> String) {
        self.events += 1;
        self.hash = xxh3_64_with_seed(&hash.to_le_bytes(), self.hash);
        if self.window.contains(&self.events) {
            self.kept.push(Kept { step, text: describe(), hash: self.hash });
        }
        if self.events < self.first || self.events > self.last {
            return;
        }
        if (self.events - self.first).is_multiple_of(self.stride) {
            self.rungs.push(self.hash);
        }
        if self.rungs.len() > RUNGS_MAX {
            // Every other one goes, from the second on.
            let mut index = 0;
            self.rungs.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.stride *= 2;
        }
    }

    /// The hash after so many events, if there is a rung.
    fn rung(&self, events: u64) -> Option<u64> {
        let above = events.checked_sub(self.first)?;
        let index = above.is_multiple_of(self.stride).then_some(above / self.stride)?;
        self.rungs.get(usize::try_from(index).ok()?).copied()
    }
}

/// The numbers of events after which two runs still agree, and after which they no longer do; none if they agree to the
/// end.
fn parting([one, other]: &[Ladder; 2]) -> Option<Range<u64>> {
    if (one.events, one.hash) == (other.events, other.hash) {
        return None;
    }
    let mut agreed = 0;
    let stride = one.stride.max(other.stride);
    for events in (0..).map(|index| one.first + index * stride) {
        match (one.rung(events), other.rung(events)) {
            (Some(left), Some(right)) if left == right => agreed = events,
            (Some(_), Some(_)) => return Some(agreed..events),
            _ => break,
        }
    }
    // Where one run has ended, the other one's next event differs from nothing.
    let shorter = one.events.min(other.events);
    Some(agreed..if one.events == other.events { shorter } else { shorter + 1 })
}

/// The first event of the window that differs, if two runs agree before it.
fn difference(runs: &[Ladder; 2], plan: &Plan) -> Option<Divergence> {
    let [one, other] = runs;
    let mut context = Vec::new();
    for index in 0.. {
        let kept = [one.kept.get(index), other.kept.get(index)];
        if let [Some(left), Some(right)] = kept
            && left.hash == right.hash
        {
            context.push(left.text.clone());
            continue;
        }
        let number = one.window.start + index as u64;
        // Where neither has an event any more, nothing in the window differs.
        let step = kept[0].or(kept[1])?.step;
        // Where the very first one differs, what differs first may lie before it.
        let agrees_before = index > 0 || number == 1;
        return agrees_before.then(|| Divergence {
            number,
            step: step.map(|step| (step + 1, plan.steps[step].to_string())),
            context,
            events: kept.map(|kept| kept.map(|kept| kept.text.clone())),
        });
    }
    None
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Divergence { number, step, context, events } = self;
        if *events == [None, None] {
            return write!(f, "two runs part after event {number}, and too rarely to say where");
        }
        match step {
            Some((number_of_step, text)) => writeln!(f, "in step {number_of_step} of the plan: {text}")?,
            None => writeln!(f, "in no step of the plan: at the first opening, or at the end")?,
        }
        for (number, text) in (number - context.len() as u64..).zip(context) {
            writeln!(f, "  both   {number:>7}  {text}")?;
        }
        for (run, event) in ["one", "other"].into_iter().zip(events) {
            let text = event.as_deref().unwrap_or("nothing: the run is over");
            writeln!(f, "  {run:<6} {number:>7}  {text}")?;
        }
        if events[0] == events[1] {
            writeln!(f, "  which is the same call with other bytes, or other survivors of the same number")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
