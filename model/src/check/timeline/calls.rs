//! Which call of a client an event answers, and when that was asked for.
//!
//! A client waits for one answer at a time, and one client at a time asks for what concerns the store as a whole. What
//! nobody asked for in an event of its own was asked for in the moment in which it was answered.

use std::collections::BTreeMap;

use crate::{Call, ClientId, Mode};

/// The calls that are waiting for their answers.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// To open a transaction: who asked, when, and for which mode.
    begins: BTreeMap<ClientId, (usize, Mode)>,
    upkeep: Option<Upkeep>,
    /// From when to when an exclusive writer may have been open of which nobody ever heard.
    pub(super) unheard: Vec<(usize, usize)>,
}

/// A call that concerns the store as a whole.
#[derive(Debug, Clone, Copy)]
struct Upkeep {
    client: ClientId,
    call: Call,
    asked: usize,
    is_answered: bool,
}

impl Calls {
    /// A client asks for something, which shows that it waits for nothing else any more.
    pub(super) fn ask(&mut self, step: usize, client: ClientId, call: Call) -> Result<(), String> {
        self.give_up(step, client);
        match call {
            Call::Begin(mode) => {
                self.begins.insert(client, (step, mode));
            }
            Call::End | Call::Verify => {}
            Call::Flush | Call::Changes | Call::Backup => {
                if let Some(other) = self.upkeep.filter(|other| !other.is_answered) {
                    return Err(format!("{} waits for the answer to its {}", other.client, other.call));
                }
                self.upkeep = Some(Upkeep { client, call, asked: step, is_answered: false });
            }
        }
        Ok(())
    }

    /// A client hears what came of its wish to open a transaction of this mode: when it asked for that.
    pub(super) fn begun(&mut self, step: usize, client: ClientId, mode: Mode) -> Result<usize, String> {
        match self.begins.remove(&client) {
            Some((_, asked)) if asked != mode => Err(format!("{client} asked to begin {asked}")),
            Some((asked, _)) => Ok(asked),
            None => Ok(step),
        }
    }

    /// Everything so far is durable: when that was asked for.
    pub(super) fn flushed(&mut self, step: usize) -> usize {
        match &mut self.upkeep {
            Some(upkeep) if upkeep.is_answered => step,
            Some(Upkeep { call: Call::Flush, is_answered, asked, .. }) => {
                *is_answered = true;
                *asked
            }
            Some(Upkeep { call: Call::Changes, asked, .. }) => *asked,
            _ => step,
        }
    }

    /// The commit stream was read, or refused: when that was asked for.
    pub(super) fn streamed(&mut self, step: usize) -> usize {
        self.upkeep.take_if(|upkeep| upkeep.call == Call::Changes).map_or(step, |upkeep| upkeep.asked)
    }

    /// A part of a backup was read: when that was asked for.
    pub(super) fn copied(&mut self, step: usize) -> usize {
        let Some(upkeep) = self.upkeep.as_mut().filter(|upkeep| upkeep.call == Call::Backup) else {
            return step;
        };
        upkeep.is_answered = true;
        upkeep.asked
    }

    /// A call failed: one of those that concern the store as a whole, if the words for it say so.
    pub(super) fn failed(&mut self, what: &str) {
        let is_meant = |call: Call| match call {
            Call::Flush => matches!(what, "checkpoint" | "compact" | "sync"),
            Call::Changes => what == "changes",
            Call::Backup => what == "backup",
            Call::Begin(_) | Call::End | Call::Verify => false,
        };
        self.upkeep.take_if(|upkeep| is_meant(upkeep.call));
    }

    /// Nobody waits for an answer any more.
    pub(super) fn end_all(&mut self, step: usize) {
        let clients: Vec<ClientId> = self.begins.keys().copied().collect();
        clients.into_iter().for_each(|client| self.give_up(step, client));
        self.upkeep = None;
    }

    fn give_up(&mut self, step: usize, client: ClientId) {
        if let Some((asked, Mode::Write)) = self.begins.remove(&client) {
            self.unheard.push((asked, step));
        }
        self.upkeep.take_if(|upkeep| upkeep.client == client);
    }
}
