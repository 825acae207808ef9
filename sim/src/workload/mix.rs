//! What one seed is made of: drawn once, before the first step is written.

use crate::disk::{DirectoryPersistence, DiskOptions, Granule};
use crate::plan::{Config, Retention};
use crate::random::{Draw, Streams};

use rand_chacha::ChaCha8Rng;

/// The character of one seed. Shares are in thousandths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mix {
    pub(super) config: Config,
    pub(super) disk: DiskOptions,
    pub(super) keys: KeyMix,
    pub(super) values: ValueMix,
    /// How many clients there are.
    pub(super) clients: u32,
    /// How many keys are written before anything else, so that the store is more than one page.
    pub(super) preload: usize,
    /// How many steps the clients take after that, all together.
    pub(super) client_steps: u64,
    /// How often the next step belongs to another client than the last.
    pub(super) switch_share: u64,
    /// Of the transactions, those that write.
    pub(super) write_share: u64,
    /// Of the readers, those that read an older state.
    pub(super) read_back_share: u64,
    /// Of the begins beside an open writer, those that try to write all the same.
    pub(super) collision_share: u64,
    /// The most operations of a write transaction.
    pub(super) batch_max: u64,
    /// The most operations of a read transaction.
    pub(super) reader_steps_max: u64,
    /// Of the ended write transactions, those that abort.
    pub(super) abort_share: u64,
    /// Of the commits, those that are buffered.
    pub(super) buffered_share: u64,
    /// Of a writer's operations, those that read.
    pub(super) read_own_share: u64,
    /// Of the reads, those that are scans.
    pub(super) scan_share: u64,
    /// Of the accesses, those that go to the few hot keys.
    pub(super) hot_share: u64,
    /// Of the puts, those that bring back a key just deleted.
    pub(super) reinsert_share: u64,
    /// How many deletes a stretch of pruning takes in a row, at most.
    pub(super) prune_run_max: u64,
    /// Which stretches follow one another: growing, churning, pruning, by weight.
    pub(super) phase_weights: [u64; 3],
    /// Before how many of the client steps a checkpoint happens.
    pub(super) checkpoint_share: u64,
    /// Before how many of the client steps the store verifies itself.
    pub(super) verify_share: u64,
    /// Before how many of the client steps the store is closed and opened again.
    pub(super) reopen_share: u64,
    /// How many crashes there are.
    pub(super) crashes: u64,
    /// Whether the first crash falls into the creation of the store.
    pub(super) crash_in_creation: bool,
    /// Of the writers, those that are optimistic.
    pub(super) optimistic_share: u64,
    /// Of a writer's mutations, those that remove a range.
    pub(super) delete_range_share: u64,
    /// Of a writer's operations, those that take a savepoint or go back to one.
    pub(super) savepoint_share: u64,
    /// Of the commits, those that are handed in and waited for later.
    pub(super) ticket_share: u64,
    /// Before how many of the client steps the commit stream is read.
    pub(super) changes_share: u64,
    /// Before how many of the client steps the store is compacted.
    pub(super) compact_share: u64,
    /// Before how many of the client steps a backup is made.
    pub(super) backup_share: u64,
    /// How often the disk is full for a while.
    pub(super) full_disks: u64,
    /// How many I/O calls fail.
    pub(super) failing_calls: u64,
}

/// What keys look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyMix {
    /// How many there are.
    pub(super) count: usize,
    /// The longest prefix that keys share.
    pub(super) prefix_max: u64,
    /// Of the keys, those that have a long tail.
    pub(super) long_share: u64,
    /// The longest tail.
    pub(super) long_max: u64,
    /// Whether keys are made of arbitrary bytes, not of letters.
    pub(super) binary: bool,
    /// Whether one of them is empty.
    pub(super) with_empty: bool,
}

/// How large values are, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ValueMix {
    /// Small, medium, large, and larger than a page, by weight.
    pub(super) class_weights: [u64; 4],
    /// The smallest and largest of each class.
    pub(super) classes: [(u64, u64); 4],
}

impl Mix {
    /// The character of a seed.
    pub(super) fn draw(streams: &Streams) -> Mix {
        let mut mix = Mix::draw_from(&mut streams.stream("mix"), &mut streams.stream("further mix"));
        mix.config.quick_repair = streams.stream("quick repair").chance(250);
        mix
    }

    /// Another one, for the same seed.
    pub(super) fn draw_other(streams: &Streams) -> Mix {
        Mix::draw_from(&mut streams.stream("other mix"), &mut streams.stream("other further mix"))
    }

    /// The second stream is for what came later, so that a seed keeps what it had before.
    fn draw_from(rng: &mut ChaCha8Rng, further: &mut ChaCha8Rng) -> Mix {
        let config = draw_config(rng, further);
        let disk = draw_disk(rng);
        let keys = draw_keys(rng);
        let values = draw_values(rng, u64::from(config.page_size));
        Mix {
            clients: *rng.pick(&[1, 2, 2, 3, 3, 4, 5, 6]),
            preload: *rng.pick(&[0, 0, 0, 40, 100, 200]),
            client_steps: rng.between(150..=400),
            switch_share: *rng.pick(&[50, 200, 500, 1000]),
            write_share: *rng.pick(&[350, 600, 800, 950]),
            read_back_share: *rng.pick(&[0, 150, 300, 600]),
            collision_share: *rng.pick(&[0, 50, 200]),
            batch_max: *rng.pick(&[1, 2, 4, 10, 20, 40]),
            reader_steps_max: *rng.pick(&[2, 5, 15]),
            abort_share: *rng.pick(&[0, 30, 100, 300]),
            buffered_share: *rng.pick(&[0, 0, 200, 500, 900]),
            read_own_share: *rng.pick(&[0, 50, 200, 400]),
            scan_share: *rng.pick(&[0, 200, 400, 800]),
            hot_share: *rng.pick(&[0, 200, 500, 800]),
            reinsert_share: *rng.pick(&[0, 100, 300]),
            prune_run_max: *rng.pick(&[1, 5, 20, 60]),
            phase_weights: *rng.pick(&[[1, 0, 0], [1, 1, 1], [2, 1, 1], [0, 1, 0], [3, 1, 2]]),
            checkpoint_share: *rng.pick(&[0, 5, 20, 20, 60]),
            verify_share: *rng.pick(&[0, 2, 5]),
            reopen_share: *rng.pick(&[0, 2, 5, 10]),
            crashes: rng.between(1..=6),
            crash_in_creation: rng.chance(120),
            optimistic_share: *further.pick(&[0, 0, 300, 700, 1000]),
            delete_range_share: *further.pick(&[0, 10, 40, 100]),
            savepoint_share: *further.pick(&[0, 0, 60, 200]),
            ticket_share: *further.pick(&[0, 0, 200, 600]),
            changes_share: *further.pick(&[0, 5, 20, 40]),
            compact_share: *further.pick(&[0, 0, 0, 2, 5]),
            backup_share: *further.pick(&[0, 0, 0, 0, 2]),
            full_disks: *further.pick(&[0, 0, 0, 0, 0, 1, 1, 2]),
            failing_calls: *further.pick(&[0, 0, 0, 0, 0, 1, 1, 2]),
            config,
            disk,
            keys,
            values,
        }
    }
}

impl ValueMix {
    /// The size of a value.
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng) -> usize {
        let (smallest, largest) = self.classes[rng.weighted(&self.class_weights)];
        usize::try_from(rng.between(smallest..=largest)).expect("a few pages fit into memory")
    }
}

fn draw_config(rng: &mut ChaCha8Rng, further: &mut ChaCha8Rng) -> Config {
    let page_sizes = [4096, 8192, 16384, 32768, 65536];
    let page_size = page_sizes[rng.weighted(&[12, 2, 2, 1, 1])];
    let cache_pages = *rng.pick(&[16, 16, 32, 64, 256, 1024]);
    let retention = match rng.weighted(&[2, 4, 2]) {
        0 => Retention::Latest,
        1 => Retention::Txns(rng.between(1..=32)),
        _ => Retention::All,
    };
    Config {
        page_size,
        cache_bytes: page_size as usize * cache_pages,
        segment_bytes: *rng.pick(&[4096, 8192, 16384, 65536, 1 << 20]),
        spare_segments: *further.pick(&[0, 1, 2, 2, 5]),
        log_chunk_bytes: *further.pick(&[64, 512, 4096, 4096, 16384, 256 << 10]),
        stream_bytes: *further.pick(&[0, 100, 1000, 10_000, 16 << 20]),
        write_tier_bytes: *rng.pick(&[4096, 16384, 65536, 1 << 20, 1 << 20, 1 << 20]),
        retention,
        prune: false,
        two_phase_commit: rng.chance(300),
        quick_repair: false,
    }
}

fn draw_disk(rng: &mut ChaCha8Rng) -> DiskOptions {
    let granule = [8, 512, 1, 64, 4096][rng.weighted(&[5, 5, 1, 1, 1])];
    let persistence = [DirectoryPersistence::WithDirectorySync, DirectoryPersistence::WithFileSync];
    DiskOptions {
        granule: Granule::new(granule).expect("these are sizes of granules"),
        directory_persistence: persistence[rng.weighted(&[2, 1])],
        dirty_bytes_max: *rng.pick(&[1 << 14, 1 << 17, 1 << 20, 1 << 26, 1 << 26, 1 << 26]),
        ..DiskOptions::default()
    }
}

fn draw_keys(rng: &mut ChaCha8Rng) -> KeyMix {
    KeyMix {
        count: *rng.pick(&[4, 8, 16, 40, 100, 100, 200, 400]),
        prefix_max: *rng.pick(&[0, 3, 20, 100, 400, 900]),
        long_share: *rng.pick(&[0, 0, 50, 300]),
        long_max: *rng.pick(&[40, 200, 500, 900]),
        binary: rng.chance(300),
        with_empty: rng.chance(150),
    }
}

fn draw_values(rng: &mut ChaCha8Rng, page_size: u64) -> ValueMix {
    let class_weights = *rng.pick(&[
        [1, 0, 0, 0],
        [100, 20, 5, 1],
        [10, 10, 2, 0],
        [50, 5, 20, 2],
        [0, 10, 1, 0],
        [1, 0, 0, 0],
    ]);
    let classes = [
        (8, 64),
        (64, page_size / 16),
        (page_size / 8, page_size / 2),
        (page_size / 2, page_size.min(16384) * 4),
    ];
    ValueMix { class_weights, classes }
}
