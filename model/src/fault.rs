//! Fault classes: what a fault of the disk may be made an excuse for.
//!
//! A store is judged under faults as it is without them, but for the promises that the fault's class suspends. A class
//! suspends what its faults make impossible and nothing else:
//!
//! | class | for example | what may follow | what may not |
//! |---|---|---|---|
//! | transparent | short reads and writes, `EINTR` | nothing | everything below |
//! | environment | `EIO`, `ENOSPC`, `EMFILE` | the call that met it reports an error; a store that is unsure of its files then refuses changes until it is opened again | anything acknowledged is lost, anything refused appears |
//! | damage | bit rot, lost and misdirected writes, stale reads | `Corruption` is reported; the end of the log, which nothing vouches for, is missing | a wrong answer, ever |
//! | lie | a sync that was acknowledged and not done | after a power loss the state is an earlier one, or `Corruption` is reported | a state that is no prefix; a loss once the lie was made good |

use std::fmt;
use std::str::FromStr;

use crate::text::{Cursor, ParseError, parse_whole};

/// A failed I/O call, as far as it matters to what may follow from it. The text form is what it was to do in lower case,
/// and then `no-space` and `fatal`, if it was one or the other: `sync`, `change no-space`, `look fatal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// What the call was to do.
    pub call: FailedCall,
    /// Whether it said that the disk is full, or the user's share of it.
    pub is_no_space: bool,
    /// Whether the store says of itself that any failed call is too much for it, and that it has to be opened again. Others
    /// go on after a call that leaves nothing in doubt.
    pub is_fatal: bool,
}

/// What a failed call was to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedCall {
    /// To look at something: nothing is in doubt because of it.
    Look,
    /// To change something: it may have happened, or a part of it.
    Change,
    /// To make something durable: nobody knows any more what is.
    Sync,
}

/// What a fault suspends. The text form is its name in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultClass {
    /// Nothing: what every program has to expect of every call.
    Transparent,
    /// A call that meets it may fail. Nothing that was acknowledged is lost.
    Environment,
    /// Bytes are not what was written. The store may report `Corruption`, and never wrong data.
    Damage,
    /// Something was acknowledged as durable and isn't, until the lie is made good.
    Lie,
}

impl FaultClass {
    /// Every class.
    pub const ALL: [FaultClass; 4] =
        [FaultClass::Transparent, FaultClass::Environment, FaultClass::Damage, FaultClass::Lie];

    /// Its name: what [`fmt::Display`] prints.
    pub fn name(self) -> &'static str {
        match self {
            FaultClass::Transparent => "transparent",
            FaultClass::Environment => "environment",
            FaultClass::Damage => "damage",
            FaultClass::Lie => "lie",
        }
    }
}

impl fmt::Display for FaultClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for FaultClass {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<FaultClass, ParseError> {
        parse_whole(text, |cursor| cursor.fault_class())
    }
}

impl Failure {
    /// Whether a store may refuse changes because of it until it is opened again.
    pub(crate) fn leaves_doubt(self) -> bool {
        self.is_fatal || self.call != FailedCall::Look
    }
}

impl FailedCall {
    /// Every one.
    pub const ALL: [FailedCall; 3] = [FailedCall::Look, FailedCall::Change, FailedCall::Sync];

    /// Its name.
    fn name(self) -> &'static str {
        match self {
            FailedCall::Look => "look",
            FailedCall::Change => "change",
            FailedCall::Sync => "sync",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.call.name())?;
        f.write_str(if self.is_no_space { " no-space" } else { "" })?;
        f.write_str(if self.is_fatal { " fatal" } else { "" })
    }
}

impl Cursor<'_> {
    /// Takes what a failed call was to do, and whether there was no space for it.
    pub(super) fn failure(&mut self) -> Result<Failure, ParseError> {
        let word = self.word()?;
        let call = FailedCall::ALL.into_iter().find(|call| call.name() == word).ok_or_else(|| {
            let names = FailedCall::ALL.map(FailedCall::name).join(", ");
            self.error(format!("no call that fails is called `{word}`; there are {names}"))
        })?;
        Ok(Failure { call, is_no_space: self.accept("no-space"), is_fatal: self.accept("fatal") })
    }

    /// Takes the name of a fault class.
    pub fn fault_class(&mut self) -> Result<FaultClass, ParseError> {
        let word = self.word()?;
        FaultClass::ALL.into_iter().find(|class| class.name() == word).ok_or_else(|| {
            let names = FaultClass::ALL.map(FaultClass::name).join(", ");
            self.error(format!("no fault class is called `{word}`; there are {names}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for class in FaultClass::ALL {
            assert_eq!(class.to_string().parse(), Ok(class));
        }
        let unknown = "harm".parse::<FaultClass>().unwrap_err();
        assert!(unknown.message.contains("`harm`") && unknown.message.contains("lie"), "{unknown}");
    }
}
