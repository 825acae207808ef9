//! Sync sites: the syncs of a run, as a person counts them. All syncs that one place in the store makes, on one kind of
//! file, while the store does one kind of thing, are one site.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::recording::{Moment, Recording};
use crate::disk::{Caller, IoCall, IoOperation};
use crate::plan::{Action, Plan, Step};

/// One place from which a store syncs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// What the store is doing.
    pub activity: Activity,
    /// What is asked for, such as `sync data`.
    pub operation: String,
    /// The kind of file: its path, with numbers left out.
    pub file: String,
    /// The functions of the store that make the call, the innermost first, as far as they are known.
    pub callers: Vec<Caller>,
}

/// What a store does while it syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activity {
    /// It is created.
    Creation,
    /// It commits, or a commit is waited for.
    Commit,
    /// It runs a checkpoint.
    Checkpoint,
    /// It gives space back.
    Compaction,
    /// It is copied.
    Backup,
    /// Its commit stream is read.
    Stream,
    /// It is closed, or opened after a close.
    Reopening,
    /// It is opened after a power loss.
    Recovery,
    /// Anything else.
    Other,
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Activity::Creation => "creation",
            Activity::Commit => "commit",
            Activity::Checkpoint => "checkpoint",
            Activity::Compaction => "compaction",
            Activity::Backup => "backup",
            Activity::Stream => "stream",
            Activity::Reopening => "reopening",
            Activity::Recovery => "recovery",
            Activity::Other => "other",
        })
    }
}

/// The sites of a run, each with the numbers of its calls.
pub(super) fn sites(plan: &Plan, recording: &Recording, moments: &[Moment<'_>]) -> BTreeMap<Site, Vec<u64>> {
    let mut sites: BTreeMap<Site, Vec<u64>> = BTreeMap::new();
    // A file goes by the path that it was opened under. Here it goes by the one that it was given since.
    let mut renamed: BTreeMap<&Path, &Path> = BTreeMap::new();
    for boundary in moments.iter().map(|moment| moment.boundary) {
        let IoCall { number, operation, path, target, .. } = &boundary.call;
        if let Some(target) = target {
            renamed.insert(path, target);
        } else if matches!(operation, IoOperation::Open(_)) {
            renamed.remove(path.as_path());
        } else if operation.is_sync() {
            let path = renamed.get(path.as_path()).copied().unwrap_or(path);
            let site = Site {
                activity: activity(plan, recording, *number),
                operation: operation.to_string(),
                file: kind_of_file(path),
                callers: boundary.callers.clone(),
            };
            sites.entry(site).or_default().push(*number);
        }
    }
    sites
}

fn activity(plan: &Plan, recording: &Recording, call: u64) -> Activity {
    let place = recording.place(call);
    if place.is_recovery {
        return Activity::Recovery;
    }
    match place.step.map(|step| &plan.steps[step]) {
        None if place.slot.is_some() => Activity::Creation,
        None | Some(Step::Reopen) => Activity::Reopening,
        Some(Step::Checkpoint) => Activity::Checkpoint,
        Some(Step::Compact) => Activity::Compaction,
        Some(Step::Backup) => Activity::Backup,
        Some(Step::Changes { .. }) => Activity::Stream,
        Some(Step::Client(_, Action::Commit(_) | Action::Submit | Action::Wait)) => Activity::Commit,
        Some(_) => Activity::Other,
    }
}

/// A path without its numbers, so that the segments of a log are one kind.
fn kind_of_file(path: &Path) -> String {
    let kind = |name: &str| match name.split_once('-') {
        Some((kind, number)) if number.bytes().all(|byte| byte.is_ascii_hexdigit()) => format!("{kind}-*"),
        _ => name.to_owned(),
    };
    let text = path.to_string_lossy();
    text.split('/').map(kind).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_one_kind_of_file() {
        for (path, kind) in [
            ("/db/log-000000000000001f", "/db/log-*"),
            ("/db/data.new", "/db/data.new"),
            ("/", "/"),
            ("/backup-2", "/backup-*"),
        ] {
            assert_eq!(kind_of_file(Path::new(path)), kind);
        }
    }
}
