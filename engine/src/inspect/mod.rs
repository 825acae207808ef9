//! Looking at a database from the inside: checking every invariant, and printing everything there is.

mod dump;
mod survey;
mod verify;

pub use survey::{PageUsage, Survey};
pub use verify::VerifyReport;
