//! A broken promise, as it is reported: who says so, where, what, and the one command that shows it again.

use std::ffi::OsStr;
use std::io::{self, Write};

use proofmark_model::Violation;
use proofmark_sim::plan::Plan;
use proofmark_sim::run::Run;
use proofmark_sim::store::StoreKind;
use proofmark_sim::workload::Source;

use super::output::{STYLE_BAD, STYLE_NOTABLE, shortened};
use super::source::{Knobs, Options};

/// An event may hold all pairs of a store; no more of it is shown than this.
const EVENT_WIDTH_MAX: usize = 160;

/// Writes a violation. `run` is the run of `plan`; if the violation is not the run's own, it was found when runs of
/// the same seed were compared.
pub(super) fn write(
    violation: &Violation,
    plan: &Plan,
    run: &Run,
    reproduce: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    let Violation { checker, kind, step, message } = violation;
    writeln!(out, "{STYLE_BAD}violation:{STYLE_BAD:#} {checker}: {kind}")?;
    if run.verdict.as_ref() == Err(violation) {
        let place = match run.event_steps.get(*step) {
            Some(Some(index)) => format!("{} of the plan: {}", index + 1, plan.steps[*index]),
            _ => "none of the plan: the first opening, or the end of the run".to_owned(),
        };
        writeln!(out, "  step      {place}")?;
        if let Some(event) = run.history.events.get(*step) {
            let event = shortened(&event.to_string(), EVENT_WIDTH_MAX);
            writeln!(out, "  event     {step} of the history: {event}")?;
        }
    } else {
        writeln!(out, "  event     {step} of a run that the seed was compared with")?;
    }
    writeln!(out, "  says      {message}")?;
    writeln!(out, "  reproduce {STYLE_NOTABLE}{reproduce}{STYLE_NOTABLE:#}")
}

/// The command that repeats the run of a seed.
pub(super) fn command_for_seed(seed: u64, store: StoreKind, source: Source) -> String {
    format!("cargo run --release -- replay {seed} --store {store}{}", Options(source))
}

/// The command that judges a seed again, as a campaign of one.
pub(super) fn command_to_run(seed: u64, store: StoreKind, source: Source) -> String {
    let command = "cargo run --release --";
    match source {
        Source::Torture(knobs) => format!("{command} torture --seed {seed} --store {store}{}", Knobs(knobs)),
        source => format!("{command} run --seed {seed} --store {store}{}", Options(source)),
    }
}

/// The command that repeats the run of a plan file.
pub(super) fn command_for_file(path: &OsStr, store: StoreKind) -> String {
    let path = path.to_string_lossy().replace('\'', r"'\''");
    // A leading hyphen would make it an option.
    let prefix = if path.starts_with('-') { "./" } else { "" };
    format!("cargo run --release -- replay '{prefix}{path}' --store {store}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_quoted_and_are_no_options() {
        for (name, shown) in [("a.plan", "'a.plan'"), ("it's", r"'it'\''s'"), ("--trace", "'./--trace'")] {
            let expected = format!("cargo run --release -- replay {shown} --store engine");
            assert_eq!(command_for_file(OsStr::new(name), StoreKind::Engine), expected);
        }
    }
}
