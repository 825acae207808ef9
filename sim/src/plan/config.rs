//! How the store under test is opened: one record for all stores, of which each takes what it knows.

pub use proofmark_model::Retention;

/// The configuration of a store. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The size of a page.
    pub page_size: u32,
    /// The most that the page cache holds.
    pub cache_bytes: usize,
    /// The size at which the log goes on in a new segment.
    pub segment_bytes: u64,
    /// How many segments that are done with the log keeps for later, at most.
    pub spare_segments: usize,
    /// How many bytes of room the log makes at a time, and the most that it gathers before it writes.
    pub log_chunk_bytes: u64,
    /// The most that a reading of the commit stream gathers at a time.
    pub stream_bytes: usize,
    /// The size of what was committed since the last checkpoint beyond which a commit runs one.
    pub write_tier_bytes: usize,
    /// How much history survives a checkpoint.
    pub retention: Retention,
    /// Whether the retention holds at every moment, and not only from one checkpoint to the next.
    pub prune: bool,
    /// Whether each commit makes its data durable before the pointer to it.
    pub two_phase_commit: bool,
    /// Whether each commit also records what the next opening would have to find out after a crash.
    pub quick_repair: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            page_size: 4096,
            cache_bytes: 1 << 20,
            segment_bytes: 1 << 16,
            spare_segments: 2,
            log_chunk_bytes: 4096,
            stream_bytes: 16 << 20,
            write_tier_bytes: 1 << 20,
            retention: Retention::Txns(16),
            prune: false,
            two_phase_commit: false,
            quick_repair: false,
        }
    }
}
