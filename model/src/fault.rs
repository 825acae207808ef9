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

impl Cursor<'_> {
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
