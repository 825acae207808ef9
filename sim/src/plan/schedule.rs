//! How the clients of a plan are interleaved: the setting `schedule`, and the step `switch`.
//!
//! ```text
//! schedule tasks seed=7 think=20ms checkpoint-every=1s
//! schedule threads seed=7 scheduler=pct:3 forced-yields=20
//! schedule threads recorded
//! ```
//!
//! Drawn, a schedule is whatever its seed makes of it. Recorded, it is what the plan's own `switch` steps say, and any of
//! these may go: without one, the thread that runs goes on for as long as it can, and after it the first that can.
//!
//! ```text
//! c0 commit sync
//! switch point=3 to=c1
//! ```
//!
//! is read as: when the thread of `c0` comes to its third switch point in that commit, `c1` goes on. A switch belongs to
//! the step before it, so that it goes when that step goes, and stays what it is when others do.

use std::fmt;
use std::str::FromStr;

use proofmark_model::text::Cursor;
use proofmark_model::{ClientId, ParseError};

use super::timing::Tasks;

/// The greatest depth that a plan may give to [`Scheduler::Priorities`], which draws a number for each.
pub const DEPTH_MAX: u32 = 1000;

/// How the clients of a plan are interleaved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Schedule {
    /// One thread takes the steps in the plan's own order.
    #[default]
    Sequential,
    /// Each client is a task, and takes its steps in its own virtual time.
    Tasks(Tasks),
    /// Each client is a thread, and may lose its turn at every lock, atomic and I/O call.
    Threads(Threads),
}

/// Who decides which thread goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// Chance.
    Drawn(Draws),
    /// The plan's `switch` steps.
    Recorded,
}

/// How chance decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draws {
    /// What everything is drawn from.
    pub seed: u64,
    /// Who is next, where that is asked.
    pub scheduler: Scheduler,
    /// If set, it is asked only at so many of a thousand points; at all others the running thread goes on.
    pub forced_yields: Option<u16>,
}

/// Who is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduler {
    /// Any thread that can run.
    Random,
    /// The thread with the highest priority; at so many points less one, it drops to the lowest (Burckhardt and others, "A
    /// randomized scheduler with probabilistic guarantees of finding bugs", ASPLOS 2010).
    Priorities {
        /// How many orderings a bug may take to be found with good probability, [`DEPTH_MAX`] at most.
        depth: u32,
    },
    /// A thread, the likelier the more it has left to do, so that all interleavings are about as likely (Zhao and others,
    /// "Selectively uniform concurrency testing", ASPLOS 2025).
    Uniform,
    /// The next thread, round and round.
    RoundRobin,
}

/// A thread of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thread {
    /// What this client does.
    Client(ClientId),
    /// Checkpoints, checks, and readings of the commit stream.
    Upkeep,
}

/// One thread loses its turn to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch {
    /// At which switch point of the step that it follows; 1 is the first.
    pub point: u32,
    /// Who goes on. If that thread can't run, nothing comes of it.
    pub to: Thread,
}

impl Scheduler {
    /// Every scheduler.
    pub const ALL: [Scheduler; 4] =
        [Scheduler::Random, Scheduler::Priorities { depth: 3 }, Scheduler::Uniform, Scheduler::RoundRobin];
}

impl Schedule {
    /// Reads what follows the word `schedule`.
    pub(super) fn parse(line: &mut Cursor<'_>) -> Result<Schedule, ParseError> {
        if line.accept("sequential") {
            return Ok(Schedule::Sequential);
        }
        if line.accept("tasks") {
            return Tasks::parse(line).map(Schedule::Tasks);
        }
        line.expect("threads")?;
        if line.accept("recorded") {
            return Ok(Schedule::Threads(Threads::Recorded));
        }
        line.expect("seed=")?;
        let seed = line.number()?;
        line.expect("scheduler=")?;
        let token = line.token()?;
        let scheduler = token.parse().map_err(|error| line.error(error))?;
        let mut forced_yields = None;
        if line.accept("forced-yields=") {
            let per_mille: u16 = line.number()?;
            if !(1..=1000).contains(&per_mille) {
                return Err(line.error("a rate is from 1 to 1000 in a thousand"));
            }
            forced_yields = Some(per_mille);
        }
        Ok(Schedule::Threads(Threads::Drawn(Draws { seed, scheduler, forced_yields })))
    }
}

impl Switch {
    /// Reads what follows the word `switch`.
    pub(super) fn parse(line: &mut Cursor<'_>) -> Result<Switch, ParseError> {
        line.expect("point=")?;
        let point = line.number()?;
        if point == 0 {
            return Err(line.error("points are counted from 1"));
        }
        line.expect("to=")?;
        let token = line.token()?;
        let to = token.parse().map_err(|error| line.error(error))?;
        Ok(Switch { point, to })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Sequential => f.write_str("sequential"),
            Schedule::Tasks(tasks) => write!(f, "tasks {tasks}"),
            Schedule::Threads(Threads::Recorded) => f.write_str("threads recorded"),
            Schedule::Threads(Threads::Drawn(Draws { seed, scheduler, forced_yields })) => {
                write!(f, "threads seed={seed} scheduler={scheduler}")?;
                match forced_yields {
                    Some(per_mille) => write!(f, " forced-yields={per_mille}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scheduler::Random => f.write_str("random"),
            Scheduler::Priorities { depth } => write!(f, "pct:{depth}"),
            Scheduler::Uniform => f.write_str("urw"),
            Scheduler::RoundRobin => f.write_str("round-robin"),
        }
    }
}

impl FromStr for Scheduler {
    type Err = String;

    fn from_str(text: &str) -> Result<Scheduler, String> {
        match text {
            "random" => Ok(Scheduler::Random),
            "urw" => Ok(Scheduler::Uniform),
            "round-robin" => Ok(Scheduler::RoundRobin),
            _ => match text.strip_prefix("pct:").map(str::parse::<u32>) {
                Some(Ok(depth)) if (1..=DEPTH_MAX).contains(&depth) => Ok(Scheduler::Priorities { depth }),
                Some(_) => Err(format!("a depth is from 1 to {DEPTH_MAX}")),
                None => Err(format!(
                    "no scheduler is called {text:?}: there is random, pct:DEPTH, urw, round-robin"
                )),
            },
        }
    }
}

impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Thread::Client(client) => client.fmt(f),
            Thread::Upkeep => f.write_str("upkeep"),
        }
    }
}

impl FromStr for Thread {
    type Err = String;

    fn from_str(text: &str) -> Result<Thread, String> {
        if text == "upkeep" {
            return Ok(Thread::Upkeep);
        }
        let client = text.parse().map(Thread::Client);
        client.map_err(|_| format!("no thread is called {text:?}: there are clients, and upkeep"))
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "point={} to={}", self.point, self.to)
    }
}
