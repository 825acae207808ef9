//! The engine through its public interface, on the real file system.

mod api;
mod damage;
mod failing;
mod random;
