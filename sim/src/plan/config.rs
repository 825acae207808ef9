//! How the store under test is opened: one record for all stores, of which each takes what it knows.

use std::fmt;
use std::str::FromStr;

/// The configuration of a store. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The size of a page.
    pub page_size: u32,
    /// The most that the page cache holds.
    pub cache_bytes: usize,
    /// The size at which the log goes on in a new segment.
    pub segment_bytes: u64,
    /// The size of what was committed since the last checkpoint beyond which a commit runs one.
    pub write_tier_bytes: usize,
    /// How much history survives a checkpoint.
    pub retention: Retention,
    /// Whether each commit makes its data durable before the pointer to it.
    pub two_phase_commit: bool,
}

/// How much history a checkpoint keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// The latest state only.
    Latest,
    /// The states of this many commits before the latest, too.
    Txns(u64),
    /// Every state.
    All,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            page_size: 4096,
            cache_bytes: 1 << 20,
            segment_bytes: 1 << 16,
            write_tier_bytes: 1 << 20,
            retention: Retention::Txns(16),
            two_phase_commit: false,
        }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Retention::Latest => f.write_str("latest"),
            Retention::Txns(count) => write!(f, "txns:{count}"),
            Retention::All => f.write_str("all"),
        }
    }
}

impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Retention, String> {
        match (text, text.strip_prefix("txns:").map(str::parse)) {
            ("latest", _) => Ok(Retention::Latest),
            ("all", _) => Ok(Retention::All),
            (_, Some(Ok(count))) => Ok(Retention::Txns(count)),
            _ => Err("retention is latest, all, or txns:N".to_owned()),
        }
    }
}
