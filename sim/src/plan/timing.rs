//! How long things take under the schedule of tasks, in virtual time.
//!
//! ```text
//! schedule tasks seed=7 think=20ms checkpoint-every=1s group-window=2ms
//! ```
//!
//! A duration is a whole number with a unit: `ns`, `us`, `ms` or `s`.

use std::fmt;
use std::time::Duration;

use proofmark_model::ParseError;
use proofmark_model::text::Cursor;

/// The longest duration that a plan may ask for.
const DURATION_MAX: Duration = Duration::from_secs(3600);
/// Into the time that a client lets pass of its own accord fall at most so many checkpoints, or a run would consist of them.
const CHECKPOINTS_PER_WAIT_MAX: u32 = 100;
/// And they are no closer than this, because a client may wait for the disk, too: a slow one takes longer for a single call.
const CHECKPOINT_EVERY_MIN: Duration = Duration::from_millis(1);

/// A schedule of tasks: each client takes its steps in its own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tasks {
    /// What all durations of a run, and the order of what happens at the same moment, are drawn from.
    pub seed: u64,
    /// The time between two steps of a client, on average over all clients.
    pub think: Duration,
    /// How often the store is asked for a checkpoint, beside those among the plan's steps.
    pub checkpoint_every: Option<Duration>,
    /// How long a durable commit waits for others to share its sync, if the store can hand commits in.
    pub group_window: Option<Duration>,
}

impl Tasks {
    /// Reads what follows the word `tasks`.
    pub(super) fn parse(line: &mut Cursor<'_>) -> Result<Tasks, ParseError> {
        line.expect("seed=")?;
        let seed = line.number()?;
        line.expect("think=")?;
        let think = parse_duration(line)?;
        let checkpoint_every = line.accept("checkpoint-every=").then(|| parse_duration(line)).transpose()?;
        if checkpoint_every.is_some_and(|every| every < CHECKPOINT_EVERY_MIN) {
            return Err(line.error("checkpoints are at least 1ms apart"));
        }
        check_checkpoints(line, checkpoint_every, think)?;
        let group_window = line.accept("group-window=").then(|| parse_duration(line)).transpose()?;
        check_checkpoints(line, checkpoint_every, group_window.unwrap_or_default())?;
        Ok(Tasks { seed, think, checkpoint_every, group_window })
    }
}

impl fmt::Display for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed={} think={}", self.seed, DurationText(self.think))?;
        if let Some(every) = self.checkpoint_every {
            write!(f, " checkpoint-every={}", DurationText(every))?;
        }
        match self.group_window {
            Some(window) => write!(f, " group-window={}", DurationText(window)),
            None => Ok(()),
        }
    }
}

/// A duration in the largest unit of which it is a whole number.
struct DurationText(Duration);

const UNITS: [(&str, u64); 4] = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1000), ("ns", 1)];

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0.as_nanos();
        let fits = |(_, unit): &&(&str, u64)| nanoseconds.is_multiple_of(u128::from(*unit));
        let (name, unit) = UNITS.iter().find(fits).expect("every duration is so many nanoseconds");
        write!(f, "{}{name}", nanoseconds / u128::from(*unit))
    }
}

/// Whether not too many checkpoints fall into the time that a client waits.
fn check_checkpoints(line: &Cursor<'_>, every: Option<Duration>, wait: Duration) -> Result<(), ParseError> {
    let max = CHECKPOINTS_PER_WAIT_MAX;
    if every.is_some_and(|every| every * max < wait) {
        return Err(line.error(format!("at most {max} checkpoints go into the time that a client waits")));
    }
    Ok(())
}

fn parse_duration(line: &mut Cursor<'_>) -> Result<Duration, ParseError> {
    let token = line.token()?;
    let unit_at = token.find(|character: char| !character.is_ascii_digit()).unwrap_or(token.len());
    let (number, name) = token.split_at(unit_at);
    let unit = UNITS.iter().find(|(unit, _)| *unit == name).map(|(_, unit)| *unit);
    let Some(nanoseconds) = unit.zip(number.parse().ok()).and_then(|(unit, n): (_, u64)| n.checked_mul(unit))
    else {
        return Err(line.error(format!("expected a duration like 20ms, found `{token}`")));
    };
    let duration = Duration::from_nanos(nanoseconds);
    if duration.is_zero() || duration > DURATION_MAX {
        return Err(line.error("a duration is longer than nothing, and an hour at most"));
    }
    Ok(duration)
}
