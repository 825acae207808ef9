//! The engine through its public interface, on the real file system.

mod api;
mod counters;
mod counting;
mod damage;
mod failing;
mod random;
mod survey;
