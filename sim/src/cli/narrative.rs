//! A run as a person reads it: each step of the plan with what came of it, and the power losses where they struck.
//!
//! ```text
//!   56  c0 put "k01" #17*64
//!   57  c0 commit sync
//!         struck before #213 write /db/log-0000000000000001 @64+40
//!         after the power loss: 3 effects kept, 4 dropped (1 sizes, 0 entries), 1 torn, 0 files lost
//!         opened: latest 5, oldest 3, 12 pairs
//!   58  c0 begin read                              t10, snapshot 5
//! ```

use std::fmt;
use std::io::{self, Write};

use proofmark_model::text::ValueText;
use proofmark_model::{Event, TxnId};
use proofmark_sim::run::Run;

use super::output::{STYLE_BAD, STYLE_FAINT, STYLE_NOTABLE, shortened};

/// The width to which steps are filled up, so that what came of them stands in one column.
const STEP_WIDTH: usize = 42;
/// A longer text is cut off here, unless everything is wanted.
const TEXT_WIDTH_MAX: usize = 72;

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Steps and what came of them.
    Outcomes,
    /// I/O calls, too, and nothing is shortened.
    Everything,
}

/// Writes what happened in a run that kept its trace.
pub(super) fn write(run: &Run, detail: Detail, out: &mut impl Write) -> io::Result<()> {
    let mut narrator = Narrator { out, detail, step: None, next_number: 1 };
    let mut events = run.history.events.iter();
    for line in run.trace.iter().flatten() {
        match Line::of(line) {
            Line::Step(step) => narrator.step(step)?,
            Line::Skipped => narrator.outcome(&"skipped: it makes no sense here")?,
            Line::Event => narrator.event(events.next().expect("every event has its line"))?,
            Line::Disk(text) => narrator.disk(text)?,
        }
    }
    narrator.end_step()
}

/// A line of a run's trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Step(&'a str),
    Skipped,
    /// The next event of the history.
    Event,
    Disk(&'a str),
}

impl Line<'_> {
    fn of(line: &str) -> Line<'_> {
        let text = line.trim_start();
        match line.len() - text.len() {
            0 => Line::Step(text),
            4 if text == "skipped" => Line::Skipped,
            4 => Line::Event,
            _ => Line::Disk(text),
        }
    }
}

struct Narrator<'a, W> {
    out: &'a mut W,
    detail: Detail,
    /// The step that is under way, if its line has not been written.
    step: Option<String>,
    next_number: usize,
}

impl<W: Write> Narrator<'_, W> {
    /// Begins the line of a step.
    fn step(&mut self, text: &str) -> io::Result<()> {
        self.end_step()?;
        // The first opening and the end belong to every run, and are no steps of its plan.
        let is_planned = text != "open" && text != "the end";
        let number = if is_planned { self.next_number.to_string() } else { String::new() };
        self.next_number += usize::from(is_planned);
        let step = format!("{number:>5}  {}", self.fitted(text));
        if self.detail == Detail::Everything { writeln!(self.out, "{step}") } else { self.keep(step) }
    }

    fn keep(&mut self, step: String) -> io::Result<()> {
        self.step = Some(step);
        Ok(())
    }

    /// Writes the line of a step of which nothing came.
    fn end_step(&mut self) -> io::Result<()> {
        match self.step.take() {
            Some(step) => writeln!(self.out, "{step}"),
            None => Ok(()),
        }
    }

    /// Writes what came of the step: the first time beside it, then below.
    fn outcome(&mut self, outcome: &dyn fmt::Display) -> io::Result<()> {
        match self.step.take() {
            Some(step) => writeln!(self.out, "{step:<width$} {outcome}", width = STEP_WIDTH + 7),
            None => writeln!(self.out, "         {outcome}"),
        }
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        let outcome = match event {
            Event::Begin { txn, snapshot: None, .. } => format!("{txn}"),
            Event::Begin { txn, snapshot: Some(snapshot), .. } => format!("{txn}, snapshot {snapshot}"),
            Event::Refused { reason, .. } => format!("refused: {reason}"),
            Event::Get { value: None, .. } => "none".to_owned(),
            Event::Get { value: Some(value), .. } => self.fitted(&ValueText(value).to_string()),
            Event::Scan { .. } | Event::Opened { .. } if self.detail == Detail::Everything => {
                event.to_string()
            }
            Event::Scan { pairs, .. } => pairs_text(pairs.len()),
            Event::Opened { latest, oldest, state, .. } => {
                self.end_step()?;
                format!(
                    "opened: {}{}{}",
                    id("latest", *latest),
                    id("oldest", *oldest),
                    pairs_text(state.len())
                )
            }
            Event::Put { .. }
            | Event::Delete { .. }
            | Event::Savepoint { .. }
            | Event::Rollback { is_refused: false, .. }
            | Event::Mark { .. }
            | Event::Restore { is_refused: false, .. }
            | Event::Forget { is_refused: false, .. }
            | Event::Space { .. } => return self.end_step(),
            Event::Rollback { .. } => "refused: there is no such savepoint any more".to_owned(),
            Event::Restore { .. } | Event::Forget { .. } => {
                "refused: there is no such mark any more".to_owned()
            }
            Event::DeleteRange { count, .. } => format!("removed {count}"),
            Event::Ticket { txn, id: None } => format!("{txn} handed in"),
            Event::Ticket { txn, id: Some(id) } => format!("{txn} handed in as {id}"),
            Event::Denied { txn, reason } => format!("{txn} denied: {reason}"),
            Event::Changes { from, commits, .. } => format!("{} commits from {from} on", commits.len()),
            Event::ChangesRefused { from, reason, .. } => format!("from {from}: refused: {reason}"),
            Event::Backup { at, state, .. } => format!("backup as of {at}: {}", pairs_text(state.len())),
            Event::OutOfSpace { what, .. } => format!("{what} found no space"),
            Event::Fault { class, call, .. } => format!("a fault of the class {class} fired: {call}"),
            Event::MadeGood => "what lying syncs left out is durable by now".to_owned(),
            Event::Healed => "the disk is sound again, and the bytes that faults hid are back".to_owned(),
            Event::GaveUp { what, error, .. } => format!("{what} gave up: {error}"),
            Event::Poisoned { what, .. } => format!("{what} was declined: the store is poisoned"),
            Event::Corrupt { what, error, .. } => format!("{what} found corruption: {error}"),
            Event::Closed => "closed".to_owned(),
            // What comes next says what came of it.
            Event::Submit { .. } if self.detail == Detail::Outcomes => return Ok(()),
            Event::Submit { txn, .. } => format!("{txn} submitted"),
            Event::Committed { txn, id: None } => format!("{txn} committed"),
            Event::Committed { txn, id: Some(id) } => format!("{txn} committed as {id}"),
            Event::Aborted { txn } => format!("{txn} ended"),
            Event::Durable => "everything so far is durable".to_owned(),
            // The disk has told it, or the answer will.
            Event::Crash { .. } | Event::Opening | Event::Asked { .. } => return Ok(()),
            Event::Failed { what, error } => format!("{STYLE_BAD}{what} failed:{STYLE_BAD:#} {error}"),
            Event::Stuck { kind, what } => format!("{STYLE_BAD}{kind}:{STYLE_BAD:#} {what}"),
        };
        self.outcome(&outcome)
    }

    fn disk(&mut self, text: &str) -> io::Result<()> {
        let (call, struck) = match text.split_once(" = power lost ") {
            Some((call, moment)) => (call, Some(moment)),
            None => (text, None),
        };
        if let Some(moment) = struck {
            self.end_step()?;
            let moment = moment.strip_suffix(" it").unwrap_or(moment);
            // Whether the power fails or the process dies alone is decided when the disk is asked for what is left.
            writeln!(self.out, "         {STYLE_NOTABLE}struck{STYLE_NOTABLE:#} {moment} {call}")
        } else if let Some(effects) = text.strip_prefix("power loss: ") {
            self.end_step()?;
            writeln!(self.out, "         {STYLE_NOTABLE}after the power loss:{STYLE_NOTABLE:#} {effects}")
        } else if let Some(effects) = text.strip_prefix("the process died; ") {
            self.end_step()?;
            writeln!(self.out, "         {STYLE_NOTABLE}the process died;{STYLE_NOTABLE:#} {effects}")
        } else if self.detail == Detail::Everything {
            writeln!(self.out, "             {STYLE_FAINT}{text}{STYLE_FAINT:#}")
        } else {
            Ok(())
        }
    }

    fn fitted(&self, text: &str) -> String {
        match self.detail {
            Detail::Outcomes => shortened(text, TEXT_WIDTH_MAX),
            Detail::Everything => text.to_owned(),
        }
    }
}

fn id(name: &str, id: Option<TxnId>) -> String {
    id.map_or_else(String::new, |id| format!("{name} {id}, "))
}

fn pairs_text(count: usize) -> String {
    if count == 1 { "1 pair".to_owned() } else { format!("{count} pairs") }
}
