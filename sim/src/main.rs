//! The `proofmark` command: arguments in, the library's answers out. What it can do is in [`cli`].

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
