//! What the suites of `tests/it` share, and the bugs that prove them.
//!
//! - [`strategies`]: proptest strategies for everything from a key to a plan.
//! - [`real_files`]: a store on the real file system, where the simulator asks for a simulated one.
//! - [`store_level`]: a transaction of the model, beside one of a store.
//! - [`pairs`]: the same transactions in another order, or in other batches.
//! - [`corpus`]: where the kept plans are.
//! - [`golden`]: databases that are kept byte for byte.
//! - [`planted`]: stores and disks with one known bug each. A checker that lets its bug pass is no checker.
//!
//! Nothing here is part of what is tested: the suites are of use only as long as this stays simple.

#![forbid(unsafe_code)]

pub mod corpus;
pub mod golden;
pub mod pairs;
pub mod planted;
pub mod real_files;
pub mod store_level;
pub mod strategies;

/// The examples of the README are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
