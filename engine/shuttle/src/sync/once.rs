//! A place that is written once.

use super::point;

/// The standard library's `OnceLock`, step by step. What makes its value passes no point, so that nobody ever waits for it.
#[derive(Debug)]
pub struct OnceLock<T>(std::sync::OnceLock<T>);

impl<T> OnceLock<T> {
    /// An empty one.
    pub const fn new() -> OnceLock<T> {
        OnceLock(std::sync::OnceLock::new())
    }

    /// What was written, if it was.
    pub fn get(&self) -> Option<&T> {
        point();
        self.0.get()
    }

    /// Writes it.
    ///
    /// # Errors
    /// It was written before; the value comes back.
    pub fn set(&self, value: T) -> Result<(), T> {
        point();
        self.0.set(value)
    }

    /// What was written, or what `make` makes, which is written then.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        point();
        self.0.get_or_init(make)
    }

    /// Empties it. Nobody else has it.
    pub fn take(&mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> OnceLock<T> {
        OnceLock::new()
    }
}
