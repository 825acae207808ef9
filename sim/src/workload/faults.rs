//! Which faults a seed has.
//!
//! Most seeds have none, and most of the others those of one class, so that what the rest of a seed finds isn't drowned.
//! What is planted is drawn over several magnitudes, as with power losses: one plan cannot know how many calls of a kind
//! a store makes. Each fault is followed by what brings it to light and what ends it: faults of the environment by a
//! power loss, because a store may refuse changes until it was opened again; damage by an opening and often by healing;
//! lies by a power loss.

use proofmark_model::FaultClass;
use rand_chacha::ChaCha8Rng;

use super::trouble::Due;
use crate::disk::errno::Errno;
use crate::disk::{Fault, FaultKind, IoKind, Occasion};
use crate::plan::Step;
use crate::random::Draw;

/// The faults of one seed, class by class; or of one kind, for those who want to see what comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FaultMix {
    kinds: Vec<FaultKind>,
}

impl FaultMix {
    /// What a seed has: of each class nothing, or one or two faults of any of its kinds.
    pub(super) fn draw(rng: &mut ChaCha8Rng) -> FaultMix {
        let mut kinds = Vec::new();
        for (class, share) in [
            (FaultClass::Transparent, 125),
            (FaultClass::Environment, 100),
            (FaultClass::Damage, 125),
            (FaultClass::Lie, 80),
        ] {
            let of_class: Vec<FaultKind> = FaultKind::all().filter(|kind| kind.class() == class).collect();
            if rng.chance(share) {
                kinds.extend((0..rng.between(1..=2)).map(|_| *rng.pick(&of_class)));
                kinds.dedup();
            }
        }
        FaultMix { kinds }
    }

    /// Faults of this kind, and no others.
    pub(super) fn only(kind: FaultKind, rng: &mut ChaCha8Rng) -> FaultMix {
        // Two that interrupt calls may leave none that isn't.
        let count = if kind == FaultKind::Interrupted { 1 } else { rng.between(1..=2) };
        FaultMix { kinds: (0..count).map(|_| kind).collect() }
    }

    /// What that writes into a plan of so many client steps, and before which of these.
    pub(super) fn write(&self, client_steps: u64, rng: &mut ChaCha8Rng) -> Vec<(u64, Due)> {
        let mut due = Vec::new();
        for kind in &self.kinds {
            // Some stand from before the creation.
            let start = if rng.chance(120) { 0 } else { rng.below(client_steps) };
            let fault = draw(*kind, rng);
            let is_sticky = fault.count.is_none();
            due.push((start, Due::Step(Step::Fault(fault))));
            follow_up(kind.class(), is_sticky, start, rng, &mut due);
        }
        due
    }
}

fn follow_up(
    class: FaultClass,
    is_sticky: bool,
    start: u64,
    rng: &mut ChaCha8Rng,
    due: &mut Vec<(u64, Due)>,
) {
    match class {
        FaultClass::Transparent => {}
        FaultClass::Environment => {
            let end = start + rng.between(5..=30);
            if is_sticky {
                due.push((end, Due::Step(Step::Heal)));
            }
            due.push((end, Due::Crash));
        }
        FaultClass::Damage => {
            let mut next = start + rng.between(1..=20);
            let seen = [Due::Step(Step::Reopen), Due::Crash, Due::Step(Step::Verify)]
                [rng.weighted(&[4, 4, 2])]
            .clone();
            due.push((next, seen));
            if rng.chance(500) {
                next += rng.between(0..=40);
                due.push((next, Due::Step(Step::Heal)));
            }
        }
        FaultClass::Lie => due.push((start + rng.between(1..=15), Due::Crash)),
    }
}

fn draw(kind: FaultKind, rng: &mut ChaCha8Rng) -> Fault {
    let is_transparent = kind.class() == FaultClass::Transparent;
    let largest = *rng.pick(&[1, 3, 10, 40]);
    let when = match rng.weighted(if is_transparent { &[1, 3, 3] } else { &[8, 1, 1] }) {
        0 => Occasion::Nth(rng.between(1..=largest)),
        1 => Occasion::Every(rng.between(1..=largest)),
        _ => Occasion::Rate { permille: *rng.pick(&[5, 50, 300]), seed: rng.below(1_000_000) },
    };
    let count = match rng.weighted(&[8, 2, 1]) {
        _ if is_transparent => None,
        0 => Some(1),
        1 => Some(rng.between(2..=4)),
        // Without end only where a store can live with it for a while.
        _ if kind.class() == FaultClass::Environment => None,
        _ => Some(rng.between(2..=4)),
    };
    let mut fault = Fault { when, count, ..Fault::once(kind, 1) };
    if kind == FaultKind::IoError {
        let call = [
            IoKind::Write,
            IoKind::Read,
            IoKind::Open,
            IoKind::SetSize,
            IoKind::SyncDirectory,
            IoKind::Rename,
            IoKind::Remove,
            IoKind::List,
            IoKind::Size,
            IoKind::CreateDirectory,
            IoKind::Lock,
            IoKind::Sync,
        ][rng.weighted(&[5, 5, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1])];
        fault = fault.on(call);
        fault.error = error(call, rng);
    }
    if rng.chance(400) {
        let file = rng.pick(&["data", "log-*", "log-*", "data*", "spare-*", "/db/*"]);
        fault.scope.file = Some(file.parse().expect("these are patterns"));
    }
    fault
}

/// An error that such a call may report.
fn error(call: IoKind, rng: &mut ChaCha8Rng) -> Option<Errno> {
    let names: &[&str] = match call {
        IoKind::Open => &["EIO", "EMFILE", "ENFILE", "EACCES", "ENOMEM"],
        IoKind::Write | IoKind::SetSize | IoKind::Rename | IoKind::CreateDirectory => {
            &["EIO", "EIO", "ENOSPC", "EDQUOT", "EROFS"]
        }
        IoKind::Sync | IoKind::SyncDirectory => &["EIO", "EIO", "ENOSPC", "EDQUOT"],
        _ => &["EIO"],
    };
    Some(rng.pick(names).parse().expect("these are errors"))
}
