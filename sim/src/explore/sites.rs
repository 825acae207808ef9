//! Sync sites: the syncs of a run, as a person counts them. All syncs that one place in the store makes, on one kind of
//! file, while the store does one kind of thing, are one site.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::recording::{Recording, WINDOW_BOUNDARIES};
use crate::disk::{Boundary, Caller, IoCall, IoOperation, Kept};
use crate::plan::{Action, Plan, Step};
use crate::store::StoreFactory;

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

impl Site {
    /// The functions that make the call, the innermost first, by their bare names: how much more of a name is known
    /// depends on how the program was built.
    pub fn functions(&self) -> String {
        let bare = |caller: &Caller| caller.function.rsplit("::").next().unwrap_or_default().to_owned();
        self.callers.iter().map(bare).collect::<Vec<String>>().join(" < ")
    }
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

/// One sync of a run.
#[derive(Debug)]
pub(super) struct SyncCall {
    /// The number of the call.
    pub(super) call: u64,
    pub(super) operation: IoOperation,
    pub(super) site: Site,
    /// What it makes durable, by sequence: what is pending before it, and no more after it.
    pub(super) covers: Vec<u64>,
    /// What it keeps from surviving alone first of all: the next change.
    pub(super) follower: Option<Follower>,
}

/// A call that changes something.
#[derive(Debug, Clone)]
pub(super) struct Follower {
    /// The number of the call.
    pub(super) call: u64,
    /// What it does, and to which kind of file.
    pub(super) what: String,
}

/// The syncs of a run, in order. Of the boundaries of the run a window is held at a time.
pub(super) fn syncs(plan: &Plan, survey: &Recording, factory: &dyn StoreFactory) -> Vec<SyncCall> {
    let calls = survey.boundary_calls();
    let mut reader = Reader { plan, names: BTreeMap::new(), syncs: Vec::new(), without_follower: 0 };
    let mut first = 0;
    while first < calls.len() {
        let end = calls.len().min(first + WINDOW_BOUNDARIES);
        let numbers = calls[first]..=calls[end - 1];
        let kept = Kept { calls: numbers, count_max: WINDOW_BOUNDARIES, with_callers: true };
        let recording = Recording::new(plan, factory, kept);
        let moments = recording.moments();
        for pair in moments.windows(2) {
            reader.take(&recording, pair[0].boundary, Some(pair[1].boundary));
        }
        if end == calls.len() {
            let last = moments.last().expect("a window has boundaries");
            reader.take(&recording, last.boundary, None);
            break;
        }
        // The last one is the first of the next window: what a call did shows at the boundary after it.
        first = end - 1;
    }
    reader.syncs
}

/// Reads one boundary after the other.
struct Reader<'a> {
    plan: &'a Plan,
    /// A file goes by the path that it was opened under. Here it goes by the one that it was given since.
    names: BTreeMap<PathBuf, PathBuf>,
    syncs: Vec<SyncCall>,
    /// From which sync on no follower was met.
    without_follower: usize,
}

impl Reader<'_> {
    fn take(&mut self, recording: &Recording, boundary: &Boundary, next: Option<&Boundary>) {
        let IoCall { number, operation, path, target, .. } = &boundary.call;
        let (number, operation) = (*number, *operation);
        if let Some(target) = target {
            self.names.insert(path.clone(), target.clone());
        } else if matches!(operation, IoOperation::Open(_)) {
            self.names.remove(path);
        }
        let file = kind_of_file(self.names.get(path).unwrap_or(path));
        let (before, after) = (pending(Some(boundary)), pending(next));
        if operation.is_sync() {
            let activity = activity(self.plan, recording, number);
            let callers = boundary.callers.clone();
            let site = Site { activity, operation: operation.to_string(), file, callers };
            let covers = before.difference(&after).copied().collect();
            self.syncs.push(SyncCall { call: number, operation, site, covers, follower: None });
        } else if after.last() > before.last() {
            let follower = Follower { call: number, what: format!("{operation} {file}") };
            let waiting = &mut self.syncs[self.without_follower..];
            waiting.iter_mut().for_each(|sync| sync.follower = Some(follower.clone()));
            self.without_follower = self.syncs.len();
        }
    }
}

/// What is pending at a boundary, by sequence.
fn pending(boundary: Option<&Boundary>) -> BTreeSet<u64> {
    let pending = boundary.map_or_else(Vec::new, |boundary| boundary.disk.pending());
    pending.iter().map(|effect| effect.sequence).collect()
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
