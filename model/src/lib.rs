//! The ground truth.

mod history;
mod ids;
mod operation;

pub use history::{Event, History, Refusal};
pub use ids::{ClientId, TxnId, TxnLabel};
pub use operation::{Durability, Key, KeyRange, Mode, Mutation, Operation, Value};
