//! The command. See `src/lib.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    proofmark_ordered_maps::run()
}
