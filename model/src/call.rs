//! Calls that take time: what clients ask for while others are at work, and what becomes of a run that comes to no end.
//!
//! Where one client acts at a time, a call of the store is one moment, and its answer says it all. Where clients run at
//! the same time it has a beginning and an end, and what it did may have been done at any moment between the two. So its
//! beginning is an event of its own, [`Event::Asked`](crate::Event::Asked), and the text form of what it asks for is
//! `begin optimistic`, `end`, `flush`, `changes`, `backup` or `verify`.

use std::fmt;
use std::str::FromStr;

use crate::Mode;
use crate::text::{Cursor, ParseError, parse_whole};

/// What a client asks for. Commits are not among it: [`Event::Submit`](crate::Event::Submit) is their beginning. Nor is what
/// happens inside a transaction, which comes to the same whenever it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// To open a transaction: `begin` or `refused` answers.
    Begin(Mode),
    /// To end its transaction without a commit: `aborted` answers.
    End,
    /// To make every commit so far durable, as a checkpoint, a sync or a compaction does: `durable` answers.
    Flush,
    /// To read the commit stream: `changes` answers, after the `durable` that it implies, or `changes R refused`.
    Changes,
    /// To make a backup: `backup` answers, once for each commit as of which it was read.
    Backup,
    /// To check the store: that nothing was found is no event.
    Verify,
}

/// How a run came to no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stuck {
    /// Every thread waits for another one.
    Deadlock,
    /// Somebody goes on and on, and comes to nothing.
    Livelock,
}

impl Stuck {
    /// Every one.
    pub const ALL: [Stuck; 2] = [Stuck::Deadlock, Stuck::Livelock];

    /// Its name: what [`fmt::Display`] prints.
    pub fn name(self) -> &'static str {
        match self {
            Stuck::Deadlock => "deadlock",
            Stuck::Livelock => "livelock",
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Begin(mode) => write!(f, "begin {mode}"),
            Call::End => f.write_str("end"),
            Call::Flush => f.write_str("flush"),
            Call::Changes => f.write_str("changes"),
            Call::Backup => f.write_str("backup"),
            Call::Verify => f.write_str("verify"),
        }
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Call {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Call, ParseError> {
        parse_whole(text, |cursor| cursor.call())
    }
}

impl FromStr for Stuck {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Stuck, ParseError> {
        parse_whole(text, |cursor| cursor.stuck())
    }
}

impl Cursor<'_> {
    /// Takes what a client asks for, such as `begin read`.
    pub fn call(&mut self) -> Result<Call, ParseError> {
        Ok(match self.word()? {
            "begin" => Call::Begin(self.mode()?),
            "end" => Call::End,
            "flush" => Call::Flush,
            "changes" => Call::Changes,
            "backup" => Call::Backup,
            "verify" => Call::Verify,
            other => {
                let message =
                    format!("unknown call `{other}`: expected begin, end, flush, changes, backup or verify");
                return Err(self.error(message));
            }
        })
    }

    /// Takes how a run came to no end.
    pub fn stuck(&mut self) -> Result<Stuck, ParseError> {
        let word = self.word()?;
        let found = Stuck::ALL.into_iter().find(|stuck| stuck.name() == word);
        found
            .ok_or_else(|| self.error(format!("nothing is stuck as `{word}`: expected deadlock or livelock")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TxnId;

    #[test]
    fn every_form_round_trips() {
        let modes = [Mode::Read, Mode::ReadAt(TxnId(17)), Mode::Write, Mode::Optimistic].map(Call::Begin);
        for call in
            modes.into_iter().chain([Call::End, Call::Flush, Call::Changes, Call::Backup, Call::Verify])
        {
            assert_eq!(call.to_string().parse(), Ok(call));
        }
        for stuck in Stuck::ALL {
            assert_eq!(stuck.to_string().parse(), Ok(stuck));
        }
        assert_eq!(Call::Begin(Mode::ReadAt(TxnId(3))).to_string(), "begin read@3");
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "begin", "begin late", "commit", "end t1", "Flush"] {
            assert!(text.parse::<Call>().is_err(), "{text}");
        }
        let unknown = "starved".parse::<Stuck>().unwrap_err();
        assert!(unknown.message.contains("`starved`") && unknown.message.contains("livelock"), "{unknown}");
    }
}
