//! `proofmark run --check-determinism`: every seed once more, and if one is not the same run, where it parts.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use proofmark_sim::campaign::{Campaign, Summary};
use proofmark_sim::determinism::check_determinism;

use super::output::{STYLE_BAD, counted};
use super::violation;

/// The hash after each seed of a campaign, over that seed and all before it.
#[derive(Debug, Default)]
pub(super) struct Hashes(Mutex<Vec<u64>>);

impl Hashes {
    /// Takes in what has come of a campaign after one more seed.
    pub(super) fn take(&self, summary: &Summary) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(summary.trace_hash);
    }
}

/// What came of a second round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Repeated {
    /// Whether every seed that was run again was the same.
    pub(super) is_same: bool,
    /// Whether some were not run again, because it was told to stop.
    pub(super) was_stopped: bool,
}

/// Runs the seeds of a campaign, which had these hashes, once more. `progress` is told how many are done.
///
/// # Errors
/// If no threads can be started, or nothing can be written.
pub(super) fn check(
    campaign: &Campaign<'_>,
    hashes: Hashes,
    should_stop: impl Fn() -> bool + Sync,
    progress: impl Fn(u64) + Sync,
    out: &mut impl Write,
) -> io::Result<Repeated> {
    let hashes = hashes.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    let agreeing = AtomicUsize::new(0);
    let has_parted = AtomicBool::new(false);
    let again = Campaign { seed_count: Some(hashes.len() as u64), ..*campaign };
    // Results come in the order of the seeds, one at a time.
    let compare = |summary: &Summary| {
        let index = agreeing.load(Ordering::Relaxed);
        if hashes[index] == summary.trace_hash && !has_parted.load(Ordering::Relaxed) {
            agreeing.store(index + 1, Ordering::Relaxed);
        } else {
            has_parted.store(true, Ordering::Relaxed);
        }
        progress(summary.seeds);
    };
    again.run(|| should_stop() || has_parted.load(Ordering::Relaxed), compare)?;
    let agreeing = agreeing.into_inner() as u64;
    if has_parted.into_inner() {
        tell(campaign, campaign.first_seed + agreeing, out)?;
        return Ok(Repeated { is_same: false, was_stopped: false });
    }
    let was_stopped = agreeing < hashes.len() as u64;
    let all = if was_stopped { format!(" of {}", hashes.len()) } else { String::new() };
    writeln!(out, "{}{all} run twice, and the same both times", counted(agreeing, "seed", "seeds"))?;
    Ok(Repeated { is_same: true, was_stopped })
}

/// Tells where two runs of a seed part.
fn tell(campaign: &Campaign<'_>, seed: u64, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{STYLE_BAD}not deterministic:{STYLE_BAD:#} seed {seed} is not the same run twice")?;
    let plan = campaign.source.plan(seed, campaign.store);
    match check_determinism(&plan, campaign.factory) {
        Err(divergence) => write!(out, "{divergence}")?,
        Ok(()) => writeln!(
            out,
            "its plan was the same run this time: it was another run that the seed is compared with"
        )?,
    }
    writeln!(
        out,
        "  reproduce {} --check-determinism",
        violation::command_to_run(seed, campaign.store, campaign.source)
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use proofmark_sim::plan::Config;
    use proofmark_sim::store::{Engine, Promises, Store, StoreError, StoreFactory, StoreKind};
    use proofmark_vfs::{OpenMode, Vfs};

    use super::*;

    /// The engine, but from some opening on it leaves a file behind each time.
    #[derive(Debug)]
    struct Moody {
        openings: AtomicU64,
        from: u64,
    }

    impl StoreFactory for Moody {
        fn name(&self) -> &str {
            "moody"
        }

        fn promises(&self) -> Promises {
            Engine.promises()
        }

        fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
            let opening = self.openings.fetch_add(1, Ordering::Relaxed);
            if opening >= self.from {
                let name = format!("/mood-{opening}");
                let _ = vfs.open(name.as_ref(), OpenMode::Create);
            }
            Engine.open(vfs, config)
        }
    }

    fn checked(from: u64) -> (bool, String) {
        let (repeated, out) = checked_until(from, || false);
        assert!(!repeated.was_stopped);
        (repeated.is_same, out)
    }

    fn checked_until(from: u64, should_stop: impl Fn() -> bool + Sync) -> (Repeated, String) {
        let store = Moody { openings: AtomicU64::new(0), from };
        let campaign = Campaign { factory: &store, ..Campaign::new(StoreKind::Engine, 3) };
        let hashes = Hashes::default();
        campaign.run(|| false, |summary| hashes.take(summary)).unwrap();
        let mut out = anstream::StripStream::new(Vec::new());
        let repeated = check(&campaign, hashes, should_stop, |_| {}, &mut out).unwrap();
        (repeated, String::from_utf8(out.into_inner()).unwrap())
    }

    #[test]
    fn whoever_stops_it_is_told_how_far_it_came() {
        let asked = AtomicU64::new(0);
        let (repeated, out) = checked_until(u64::MAX, || asked.fetch_add(1, Ordering::Relaxed) >= 2);
        assert_eq!(repeated, Repeated { is_same: true, was_stopped: true });
        assert_eq!(out, "2 seeds of 3 run twice, and the same both times\n");
    }

    #[test]
    fn what_is_the_same_twice_is_said_to_be() {
        assert_eq!(checked(u64::MAX), (true, "3 seeds run twice, and the same both times\n".to_owned()));
    }

    #[test]
    fn what_is_not_is_told_with_its_seed_and_event() {
        let (is_same, told) = checked(0);
        assert!(!is_same);
        for part in [
            "not deterministic: seed 0 is not the same run twice\n",
            "\n  one          1  #1 open (create) /mood-",
            "\n  reproduce cargo run --release -- run --seed 0 --store engine --check-determinism\n",
        ] {
            assert!(told.contains(part), "no {part:?} in {told}");
        }
    }
}
