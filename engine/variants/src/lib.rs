//! What the builds of the latch-free tree have in common: how they are driven, and the mistakes that are planted in copies
//! of it, and of the whole engine.
//!
//! **Driving.** The tree is compiled several times: against the standard library, loom and shuttle, and once more for each
//! mistake. Each of these is a [`Subject`]; all make the same [`Tree`] of numbers. [`subject!`] writes what that takes.
//!
//! **Mistakes.** A [`Mistake`] is a change of the text of `engine/src/bwtree`, or, of those for the whole engine, of
//! `engine/src`. [`write_trees`] and [`write_engines`] are what build scripts call: for each mistake they copy the sources,
//! make the change there, and write a file that declares every copy as a module. The old text of a change has to occur
//! exactly once, or the build fails with the name of the mistake: so a mistake can't quietly stop being planted when the
//! sources change. The real sources are never touched, and know nothing of this.

#![forbid(unsafe_code)]

mod engine_mistakes;
mod mistakes;
mod plant;
pub mod tracked;
mod tree;

pub use engine_mistakes::ENGINE_MISTAKES;
pub use mistakes::MISTAKES;
pub use plant::{Original, write_copies, write_engines, write_trees};
pub use tracked::Tracked;
pub use tree::{PageLimits, Pair, Pairs, Shared, Subject, Tree};

/// One mistake that somebody could have made.
#[derive(Debug, Clone, Copy)]
pub struct Mistake {
    /// The module that has it: an identifier.
    pub name: &'static str,
    /// What goes wrong, in half a sentence.
    pub what: &'static str,
    /// Where it is planted.
    pub builds: &'static [Build],
    /// What is different in the sources.
    pub changes: &'static [Change],
}

/// A build of the tree that schedules are explored with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// Every schedule of a small program, with weak memory.
    Loom,
    /// Many schedules of a large one.
    Shuttle,
}

/// A piece of text that is replaced.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// The file, from the folder of the sources.
    pub file: &'static str,
    /// What is there. It occurs exactly once.
    pub old: &'static str,
    /// What the mistake puts in its place.
    pub new: &'static str,
}
