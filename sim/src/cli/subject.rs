//! What a command is about: the plan of a seed, or a plan in a file.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::bail;
use proofmark_sim::plan::Plan;
use proofmark_sim::store::StoreKind;
use proofmark_sim::workload::Source;

use super::source::Options;
use super::{plan_file, violation};

/// A plan, and where it comes from.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) plan: Plan,
    pub(super) origin: Origin,
    /// The command that replays it.
    pub(super) command: String,
}

/// Where a plan comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// The seed that it stands for.
    Seed(u64, Source),
    /// The file. A plan in a file is one run, and is compared with no others.
    File(PathBuf),
}

impl Subject {
    /// The plan that `target` names, for `store` if one is given: a number is a seed, of `source` if that is given, anything
    /// else is a file.
    pub(super) fn find(
        target: &OsStr,
        store: Option<StoreKind>,
        source: Option<Source>,
    ) -> anyhow::Result<Subject> {
        let text = target.to_str().unwrap_or_default();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let Ok(seed) = text.parse() else {
                bail!("{text} is too large for a seed: the largest is {}", u64::MAX)
            };
            let (store, source) = (store.unwrap_or_default(), source.unwrap_or_default());
            let plan = source.plan(seed, store);
            let command = violation::command_for_seed(seed, store, source);
            return Ok(Subject { plan, origin: Origin::Seed(seed, source), command });
        }
        if source.is_some() {
            bail!(
                "{} is a plan, and says itself how its clients are interleaved",
                Path::new(target).display()
            );
        }
        let mut plan = plan_file::read(Path::new(target))?;
        plan.store = store.unwrap_or(plan.store);
        let command = violation::command_for_file(target, plan.store);
        Ok(Subject { plan, origin: Origin::File(PathBuf::from(target)), command })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Seed(seed, source) => write!(f, "seed {seed}{} of {}", Options(*source), self.plan.store),
            Origin::File(path) => path.display().fmt(f),
        }
    }
}
