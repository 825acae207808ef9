//! How much of its past a store keeps.

use std::fmt;
use std::str::FromStr;

use crate::TxnId;

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

impl Retention {
    /// The newest commit that may be the oldest one left while `latest` is the latest.
    pub fn oldest(self, latest: TxnId) -> TxnId {
        match self {
            Retention::Latest => latest,
            Retention::Txns(count) => TxnId(latest.0.saturating_sub(count)),
            Retention::All => TxnId::ZERO,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_round_trips() {
        for text in ["latest", "txns:0", "txns:17", "all"] {
            assert_eq!(text.parse::<Retention>().unwrap().to_string(), text);
        }
        for text in ["", "none", "txns:", "txns:-1", "txns"] {
            assert!(text.parse::<Retention>().unwrap_err().contains("txns:N"), "{text}");
        }
    }

    #[test]
    fn what_is_kept_is_counted_back_from_the_latest() {
        let oldest = |text: &str| text.parse::<Retention>().unwrap().oldest(TxnId(9)).0;
        assert_eq!(["latest", "txns:0", "txns:2", "txns:10", "all"].map(oldest), [9, 9, 7, 0, 0]);
    }
}
