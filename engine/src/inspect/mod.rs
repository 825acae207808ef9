//! Looking at a database from the inside: checking every invariant, and printing everything there is.

mod dump;
mod verify;

pub use verify::VerifyReport;
