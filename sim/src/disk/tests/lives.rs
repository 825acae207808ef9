//! What holds for whole runs: determinism, forks, counters, and a naive file that agrees.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

/// A busy life, with crashes, that depends on nothing but the seed.
fn live(disk: &SimDisk, seed: u64) {
    for round in 0..20_u64 {
        let name = format!("f{}", (seed + round) % 4);
        let file = open(disk, &name);
        for index in 0..8 {
            let offset = (seed * 31 + round * 977 + index * 4096) % 20_000;
            file.write_all_at(&vec![(seed + round + index) as u8; 700 + 100 * index as usize], offset)
                .unwrap();
        }
        match round % 5 {
            0 => file.sync_data().unwrap(),
            1 => disk.vfs().sync_directory(Path::new("/")).unwrap(),
            2 => disk.vfs().rename(Path::new(&name), Path::new("f9")).unwrap(),
            3 => file.set_size(round * 500).unwrap(),
            _ => {
                disk.crash(&random(seed + round));
            }
        }
    }
}

#[test]
fn the_same_life_gives_the_same_trace_and_the_same_image() {
    let run = |seed| {
        let disk = disk(64);
        live(&disk, seed);
        (disk.trace_hash(), disk.image_hash(), disk.stats())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
    assert_ne!(run(1).1, run(2).1);
}

#[test]
fn the_hash_tells_choices_of_survivors_apart() {
    let hash = |seed| {
        let disk = disk(512);
        disk.crash(&random(seed));
        disk.trace_hash()
    };
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
}

#[test]
fn recording_changes_nothing_but_the_record() {
    let (silent, recorded) = (disk(64), disk(64));
    recorded.record_trace(true);
    live(&silent, 5);
    live(&recorded, 5);
    assert_eq!(silent.trace_hash(), recorded.trace_hash());
    assert_eq!(silent.image_hash(), recorded.image_hash());
    assert!(silent.take_trace().is_empty());
    let events = recorded.take_trace();
    let calls = events.iter().filter(|event| matches!(event, TraceEvent::Call(_))).count();
    assert_eq!(calls as u64, recorded.io_calls());
    let crashes = events.iter().filter(|event| matches!(event, TraceEvent::PowerLoss(_))).count();
    assert_eq!(crashes as u64, recorded.stats().crashes);
    assert_eq!(events[0].to_string(), "#1 open (create) f1");
    assert!(recorded.take_trace().is_empty());
}

#[test]
fn the_record_says_what_became_of_each_effect() {
    let disk = disk(8);
    disk.record_trace(true);
    let file = open(&disk, "a");
    file.write_all_at(&[1; 24], 0).unwrap();
    disk.crash(&"chosen:0+2[0..1+2]".parse().unwrap());
    let record = disk.take_trace();
    let effects = record.iter().filter(|event| matches!(event, TraceEvent::Effect { .. }));
    let told: Vec<String> = effects.map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "effect 0 kept: link /a",
            "effect 1 dropped: size /a to 24",
            "effect 2 torn, granules 0+2 of 3 kept: data /a at 0, 24 bytes",
        ]
    );
}

#[test]
fn faults_that_are_not_due_leave_the_disk_alone() {
    let (plain, planted) = (disk(64), disk(64));
    for kind in FaultKind::all() {
        planted.plant(Fault::once(kind, 1_000_000));
    }
    live(&plain, 8);
    live(&planted, 8);
    assert_eq!(plain.trace_hash(), planted.trace_hash());
    assert_eq!(plain.image_hash(), planted.image_hash());
    assert!(fired(&planted).iter().all(|fired| *fired == 0));
}

#[test]
fn a_fork_goes_its_own_way() {
    let original = disk(512);
    let file = durable(&original, "a", b"shared");
    assert!(file.try_lock(LockMode::Exclusive).unwrap());
    file.write_all_at(b"S", 0).unwrap();
    original.arm(CrashPoint { call: 1, moment: Moment::Before });
    let fork = original.fork();
    original.disarm();
    assert!(open(&fork, "a").try_lock(LockMode::Exclusive).unwrap());
    assert_eq!(content(&fork, "a").unwrap(), b"Shared");
    fork.crash(&Keep::None);
    assert_eq!(content(&fork, "a").unwrap(), b"shared");
    file.write_all_at(b"SHARED", 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(content(&fork, "a").unwrap(), b"shared");
    assert_ne!(original.image_hash(), fork.image_hash());
    fork.crash(&Keep::All);
    original.crash(&Keep::None);
    assert_eq!(content(&original, "a").unwrap(), b"SHARED");
}

#[test]
fn counters_count() {
    let disk = disk(512);
    let file = durable(&disk, "a", &[1; 2048]);
    file.read_exact_at(&mut [0; 100], 0).unwrap();
    file.write_all_at(&[2; 2048], 0).unwrap();
    file.write_all_at(&[3; 10], 2048).unwrap();
    drop(open(&disk, "b"));
    disk.crash(&Keep::Prefix { permille: 300 });
    let expected = DiskStats {
        reads: 1,
        writes: 3,
        syncs: 1,
        directory_syncs: 1,
        bytes_read: 100,
        bytes_written: 4106,
        crashes: 1,
        effects_dropped: 3,
        effects_torn: 1,
        sizes_dropped: 1,
        entries_dropped: 1,
        files_lost: 1,
        ..DiskStats::default()
    };
    assert_eq!(disk.stats(), expected);
}

#[test]
fn option_texts_survive_a_round_trip() {
    for text in ["1", "8", "64", "512", "4096"] {
        assert_eq!(text.parse::<Granule>().unwrap().to_string(), text);
    }
    for text in ["directory-sync", "file-sync"] {
        assert_eq!(text.parse::<DirectoryPersistence>().unwrap().to_string(), text);
    }
    assert_eq!("2".parse::<Granule>().unwrap_err().to_string(), "\"2\" is not a granule");
    assert!("fsync".parse::<DirectoryPersistence>().is_err());
}

/// What a file shows and what of it is durable, as plainly as it can be said.
#[derive(Default, Clone)]
struct Naive {
    volatile: Vec<u8>,
    durable: Vec<u8>,
}

#[test]
fn a_naive_file_agrees_when_all_or_nothing_survives() {
    for seed in 0..30 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut below = move |bound: u32| random.next_u32() % bound;
        let disk = disk(Granule::ALL[seed as usize % 5].bytes());
        let mut naive = Naive::default();
        let mut file = durable(&disk, "a", b"");
        for step in 0..300 {
            let byte = (step % 255) as u8 + 1;
            match below(20) {
                0..12 => {
                    let (unit, bound) = if below(2) == 0 { (1, 20_000) } else { (4096, 8) };
                    let (offset, length) = (below(bound) * unit, below(3 * 4096 / unit) * unit);
                    let (offset, end) = (offset as usize, (offset + length) as usize);
                    file.write_all_at(&vec![byte; end - offset], offset as u64).unwrap();
                    if end > offset {
                        naive.volatile.resize(naive.volatile.len().max(end), 0);
                        naive.volatile[offset..end].fill(byte);
                    }
                }
                12..15 => {
                    let size = below(40_000) as usize;
                    file.set_size(size as u64).unwrap();
                    naive.volatile.resize(size, 0);
                }
                15..18 => {
                    file.sync_data().unwrap();
                    naive.durable.clone_from(&naive.volatile);
                }
                choice => {
                    let keep = if choice == 18 { Keep::All } else { Keep::None };
                    disk.crash(&keep);
                    file = open(&disk, "a");
                    if keep == Keep::All {
                        naive.durable.clone_from(&naive.volatile);
                    }
                    naive.volatile.clone_from(&naive.durable);
                }
            }
            assert!(content(&disk, "a").unwrap() == naive.volatile, "seed {seed}, step {step}");
        }
    }
}
