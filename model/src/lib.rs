//! The ground truth: what a store should have done, and the judgement of what it did.
//!
//! A testbed drives a store, writes down everything that was asked and answered as a [`History`], and has it judged by
//! [`check`]. Nothing here knows any store, disk or scheduler, and nothing here fails, waits or forgets. It is small
//! so that it can be believed.
//!
//! - **What is asked**: an [`Operation`] on a [`Key`] or a [`KeyRange`], inside a transaction of some [`Mode`] that
//!   commits with some [`Durability`]. Values come from [`unique_value`], so that every read names the write it saw.
//! - **What happened**: a [`History`] of [`Event`]s. It has a [text form](text) that is printed, read, edited and parsed
//!   back without loss.
//! - **What should have happened**: [`Mvcc`], every version of every key, with snapshots, AS OF and a [`Digest`] of any
//!   state.
//! - **The verdict**: [`check`] runs every checker that judges one history; [`check_commutes`] and [`check_batches`]
//!   compare two. A [`Violation`] names the [`Checker`], a stable kind, and the first event that is wrong.
//!   [`linearizable`] judges histories of another sort: those of concurrent clients of one ordered map.
//!
//! ```
//! use proofmark_model::{Checker, History, check};
//!
//! let history: History = r#"
//!     opened latest=0 oldest=0 -> none
//!     begin t1 c0 write snapshot=0
//!     put t1 "k" #1*8
//!     submit t1 sync
//!     committed t1 id=1
//!     crash
//!     opened latest=0 oldest=0 -> none
//! "#
//! .parse()?;
//! let violation = check(&history).unwrap_err();
//! assert_eq!((violation.checker, violation.kind), (Checker::CrashPrefix, "lost-acknowledged-commit"));
//! assert_eq!(violation.step, 6);
//! # Ok::<(), proofmark_model::ParseError>(())
//! ```

#![forbid(unsafe_code)]

mod call;
mod check;
mod digest;
mod fault;
mod history;
mod ids;
mod mvcc;
mod operation;
mod retention;
pub mod text;
mod value;

pub use call::{Call, Stuck};
pub use check::{
    Allowed, Checker, Excuses, UnknownChecker, Violation, check, check_batches, check_commutes, judge,
    linearizable,
};
pub use digest::{Digest, digest_pairs};
pub use fault::{FailedCall, Failure, FaultClass};
pub use history::{Denial, Event, History, Refusal};
pub use ids::{ClientId, MarkLabel, SavepointLabel, TxnId, TxnLabel};
pub use mvcc::{Commit, Mvcc};
pub use operation::{Durability, Key, KeyRange, Mode, Mutation, Operation, Value};
pub use retention::Retention;
pub use text::ParseError;
pub use value::{MAX_VALUE_LENGTH, MIN_VALUE_LENGTH, recognize, unique_value};
