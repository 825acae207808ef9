//! The engine through its public interface, on the real file system.

mod api;
mod bad_disk;
mod counters;
mod counting;
mod damage;
mod failing;
mod history;
mod pruning;
mod random;
mod scratch;
mod space;
mod survey;
mod transactions;
mod trouble;
