//! Looking at a database from the inside: checking every invariant, and printing everything there is.

mod dump;
mod log;
mod survey;
mod verify;

pub use log::{LogItem, LogOperation, scan_log};
pub use survey::{PageUsage, Survey};
pub use verify::VerifyReport;
