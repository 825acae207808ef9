//! What a seed draws for a replicated world: how both stores are opened, what is written, and what befalls whom, and when.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use crate::disk::{CrashPoint, DirectoryPersistence, DiskOptions, Granule, Keep, Moment};
use crate::plan::{Config, Retention};
use crate::random::{Draw, Streams};

/// Which of the two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The one that is written to.
    Leader,
    /// The one that follows.
    Follower,
}

/// Everything that is drawn before the world begins.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) seed: u64,
    /// By side.
    pub(super) setups: [Setup; 2],
    pub(super) writer: Writer,
    pub(super) reader: Reader,
    /// In order.
    pub(super) troubles: Vec<(Duration, Trouble)>,
    /// When they are over, and nothing is written any more.
    pub(super) calm_from: Duration,
}

/// A store and its disk.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) config: Config,
    pub(super) disk: DiskOptions,
    /// How often it is asked for a checkpoint.
    pub(super) checkpoint_every: Duration,
}

/// What the leader is written by. Shares are in thousandths.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    pub(super) key_count: u64,
    pub(super) batch_max: u64,
    pub(super) pause: Duration,
    pub(super) buffered_share: u64,
    pub(super) delete_share: u64,
}

/// How the follower reads the commit stream.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    /// The most commits that it asks for.
    pub(super) limit: usize,
    /// The most that it applies at once.
    pub(super) batch: usize,
    /// How long it waits for an answer.
    pub(super) patience: Duration,
    /// How long it waits when there is nothing new.
    pub(super) pause: Duration,
    pub(super) buffered_share: u64,
}

/// What befalls a world.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// The power of one side fails at an I/O call to come; this survives.
    Strike(Side, CrashPoint, Keep),
    /// A side is killed, and its power fails.
    Kill(Side, Keep),
    /// Nothing gets through to this side any more.
    Cut(Side),
    /// Everything gets through again.
    Join,
    /// So many of a thousand messages are lost, and the others take so long.
    Weather { lost_share: u64, latency: Range<Duration> },
}

impl Side {
    /// Both.
    pub(super) const BOTH: [Side; 2] = [Side::Leader, Side::Follower];
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Leader => "the leader",
            Side::Follower => "the follower",
        })
    }
}

impl World {
    /// The world of a seed.
    pub(super) fn draw(seed: u64) -> World {
        let streams = Streams::new(seed);
        let rng = &mut streams.stream("replica mix");
        let calm_from = Duration::from_millis(*rng.pick(&[2_000, 10_000, 60_000]));
        let setups = [draw_setup(rng, calm_from), draw_setup(rng, calm_from)];
        let writer = Writer {
            key_count: *rng.pick(&[3, 10, 40]),
            batch_max: *rng.pick(&[1, 3, 8]),
            pause: calm_from / u32::try_from(rng.between(40..=250)).expect("a few hundred at most"),
            buffered_share: *rng.pick(&[0, 200, 700]),
            delete_share: *rng.pick(&[50, 300]),
        };
        let reader = Reader {
            limit: *rng.pick(&[1, 4, 50]),
            batch: *rng.pick(&[1, 1, 5]),
            patience: Duration::from_millis(*rng.pick(&[20, 200])),
            pause: Duration::from_millis(*rng.pick(&[1, 20, 300])),
            buffered_share: *rng.pick(&[0, 300, 900]),
        };
        let troubles = draw_troubles(&mut streams.stream("replica troubles"), calm_from);
        World { seed, setups, writer, reader, troubles, calm_from }
    }
}

fn draw_setup(rng: &mut ChaCha8Rng, calm_from: Duration) -> Setup {
    let retention = match rng.weighted(&[2, 4, 1]) {
        0 => Retention::Latest,
        1 => Retention::Txns(rng.between(1..=40)),
        _ => Retention::All,
    };
    let config = Config {
        page_size: 4096,
        cache_bytes: 4096 * *rng.pick(&[16, 64]),
        segment_bytes: *rng.pick(&[4096, 16384]),
        log_chunk_bytes: *rng.pick(&[64, 512, 4096]),
        write_tier_bytes: *rng.pick(&[4096, 1 << 20]),
        stream_bytes: *rng.pick(&[100, 1000, 16 << 20]),
        retention,
        ..Config::default()
    };
    let persistence = [DirectoryPersistence::WithDirectorySync, DirectoryPersistence::WithFileSync];
    let disk = DiskOptions {
        granule: Granule::new(*rng.pick(&[8, 512])).expect("these are sizes of granules"),
        directory_persistence: *rng.pick(&persistence),
        ..DiskOptions::default()
    };
    let checkpoints = u32::try_from(rng.between(1..=30)).expect("a few dozen at most");
    Setup { config, disk, checkpoint_every: calm_from / checkpoints }
}

fn draw_troubles(rng: &mut ChaCha8Rng, calm_from: Duration) -> Vec<(Duration, Trouble)> {
    let length = u64::try_from(calm_from.as_micros()).expect("a minute at most");
    let count = rng.between(2..=14);
    let mut troubles: Vec<_> =
        (0..count).map(|_| (Duration::from_micros(rng.below(length)), draw_trouble(rng))).collect();
    troubles.sort_by_key(|(moment, _)| *moment);
    troubles
}

fn draw_trouble(rng: &mut ChaCha8Rng) -> Trouble {
    let side = *rng.pick(&Side::BOTH);
    match rng.weighted(&[5, 2, 2, 2, 3]) {
        0 => {
            let moment = *rng.pick(&[Moment::Before, Moment::During, Moment::After]);
            let last = *rng.pick(&[4, 16, 64]);
            let call = rng.between(1..=last);
            Trouble::Strike(side, CrashPoint { call, moment }, draw_keep(rng))
        }
        1 => Trouble::Kill(side, draw_keep(rng)),
        2 => Trouble::Cut(side),
        3 => Trouble::Join,
        _ => {
            let slowest = *rng.pick(&[2, 50, 1000]);
            let latency = Duration::from_millis(1)..Duration::from_millis(slowest);
            Trouble::Weather { lost_share: *rng.pick(&[0, 50, 300, 800]), latency }
        }
    }
}

fn draw_keep(rng: &mut ChaCha8Rng) -> Keep {
    let seed = rng.below(1_000_000);
    match rng.weighted(&[3, 1, 2, 4, 2]) {
        0 => Keep::None,
        1 => Keep::All,
        2 => Keep::Prefix { permille: u16::try_from(seed % 1001).expect("at most a thousand") },
        3 => Keep::Random { permille: *rng.pick(&[125, 500, 875]), seed },
        _ => Keep::PageCache,
    }
}
