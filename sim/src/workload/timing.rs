//! How fast things go in a plan of tasks: hasty clients and slow ones, and what happens at intervals.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use crate::plan::Tasks;
use crate::random::Draw;

/// A schedule of tasks that is drawn from `seed`.
pub(super) fn draw(seed: u64, rng: &mut ChaCha8Rng) -> Tasks {
    let think = Duration::from_millis(*rng.pick(&[5, 50, 50, 500]));
    let checkpoint_every = *rng.pick(&[None, Some(think * 4), Some(think * 15), Some(think * 60)]);
    let group_window = *rng.pick(&[None, Some(think / 20), Some(think / 2)]);
    Tasks { seed, think, checkpoint_every, group_window }
}
