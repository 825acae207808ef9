//! Replicated worlds: what happens in them, and that nothing else decides it than the seed.

use super::*;
use crate::store::Engine;

fn engine() -> Arc<dyn StoreFactory> {
    Arc::new(Engine)
}

#[test]
fn a_follower_holds_what_its_leader_held() {
    let mut sum = ReplicaStats::default();
    for seed in 0..60 {
        let ReplicaRun { verdict, stats, lines, .. } = run(seed, &engine(), apply);
        assert_eq!(verdict, Ok(()), "seed {seed}\n{}", lines.join("\n"));
        sum += &stats;
    }
    let ReplicaStats { commits, applied, fresh_starts, unanswered, late_answers, .. } = sum;
    assert!(commits > 1000 && applied > 1000, "{sum:?}");
    assert!(fresh_starts > 10 && unanswered > 100 && late_answers > 10, "{sum:?}");
    assert!(sum.leader_deaths > 50 && sum.follower_deaths > 50 && sum.cuts > 10, "{sum:?}");
    assert!(sum.virtual_us > 60 * 2_000_000, "{sum:?}");
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 0..5 {
        let one = run(seed, &engine(), apply);
        assert_eq!(run(seed, &engine(), apply), one);
        assert_ne!(run(seed + 5, &engine(), apply).trace_hash, one.trace_hash);
    }
}
