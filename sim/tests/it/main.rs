//! The `proofmark` command, as somebody at a shell meets it: what it prints, how it exits, and what it leaves alone.

#![expect(clippy::unwrap_used, reason = "allowed in tests, and the helpers of tests are no different")]

mod arguments;
mod command;
mod database;
mod explore;
mod replay;
mod run;
mod shrink;
mod space;
mod torture;
mod transfer;
