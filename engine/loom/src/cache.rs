//! What the engine does for the sake of cache lines, where there are none.

/// A value on a cache line of its own.
#[derive(Debug, Default)]
pub struct CachePadded<T>(T);

impl<T> CachePadded<T> {
    /// A value, as it is.
    pub fn new(value: T) -> CachePadded<T> {
        CachePadded(value)
    }
}

impl<T> std::ops::Deref for CachePadded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Fetches nothing.
pub fn prefetch<T>(_address: *const T) {}
