//! `proofmark plan`: what a seed stands for, written down.

use std::io::Write;

use super::subject::Subject;
use super::{Ending, PlanArguments};

pub(super) const EXAMPLES: &str = "\
A plan file is printed as this program writes it: without comments. A setting that is not printed has its default.

Exit code: 0, or 2 if there is no such plan.

Examples:
  proofmark plan 1234
  proofmark plan 1234 --store redb > my.plan";

/// Prints a plan.
pub(super) fn plan(arguments: &PlanArguments, out: &mut impl Write) -> anyhow::Result<Ending> {
    let subject = Subject::find(&arguments.target, arguments.store, arguments.source.source()?)?;
    write!(out, "{}", subject.plan)?;
    Ok(Ending::Sound)
}
