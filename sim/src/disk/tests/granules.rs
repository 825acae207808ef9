//! The rules on granules that several pending writes share.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

#[test]
fn a_later_write_never_survives_without_the_earlier_one_in_its_granule() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let disk = disk(512);
        let file = durable(&disk, "a", &[1; 512]);
        file.write_all_at(&[2; 100], 0).unwrap();
        file.write_all_at(&[3; 100], 100).unwrap();
        let report = disk.crash(&random(seed));
        let bytes = content(&disk, "a").unwrap();
        assert_eq!(report.effects_kept, u64::from(bytes[0] == 2) + u64::from(bytes[100] == 3));
        seen.insert((bytes[0], bytes[100]));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(1, 1), (2, 1), (2, 3)]);
}

#[test]
fn a_write_is_torn_where_a_later_one_carries_a_part_of_it() {
    let disk = disk(512);
    let file = durable(&disk, "a", &[1; 1536]);
    file.write_all_at(&[2; 1536], 0).unwrap();
    file.write_all_at(&[3; 10], 600).unwrap();
    let seed =
        (0..100).find(|seed| Keep::OnlyOne { seed: *seed }.decide(&[3, 1])[1] == Survival::Kept).unwrap();
    let report = disk.crash(&Keep::OnlyOne { seed });
    assert_eq!((report.effects_kept, report.effects_torn, report.effects_dropped), (1, 1, 0));
    let expected = [&[1; 512][..], &[2; 88], &[3; 10], &[2; 414], &[1; 512]].concat();
    assert_eq!(content(&disk, "a").unwrap(), expected);
}

#[test]
fn a_lost_truncation_is_not_undone_under_a_write_that_survives() {
    let disk = disk(512);
    let file = durable(&disk, "a", &[1; 1536]);
    file.set_size(100).unwrap();
    file.write_all_at(&[2; 10], 600).unwrap();
    let seed =
        (0..100).find(|seed| Keep::OnlyOne { seed: *seed }.decide(&[1, 1, 1])[2] == Survival::Kept).unwrap();
    assert_eq!(disk.crash(&Keep::OnlyOne { seed }).sizes_dropped, 2);
    let expected = [&[1; 512][..], &[0; 88], &[2; 10], &[0; 414], &[1; 512]].concat();
    assert_eq!(content(&disk, "a").unwrap(), expected);
}

/// The granules of what a file showed, filled up with zeros to `size`.
fn padded(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(size, 0);
    bytes
}

/// Whether `found` is `shown`, perhaps with zeros from somewhere on.
fn is_cut_of(found: &[u8], shown: &[u8]) -> bool {
    let common = found.iter().zip(shown).take_while(|(left, right)| left == right).count();
    found[common..].iter().all(|byte| *byte == 0)
}

#[test]
fn each_granule_is_what_the_file_showed_there_at_some_moment() {
    const SIZE: usize = 4096;
    for seed in 0..1500 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut below = move |bound: u32| (random.next_u32() % bound) as usize;
        let granule = [8, 64, 512][below(3)];
        let disk = disk(granule as u64);
        let file = durable(&disk, "a", &vec![100; below(SIZE as u32) + 1]);
        let mut shown = vec![padded(&content(&disk, "a").unwrap(), SIZE)];
        for step in 0..2 + below(12) as u8 {
            if below(4) == 0 {
                file.set_size(below(SIZE as u32) as u64).unwrap();
            } else {
                let offset = below(SIZE as u32 - 1);
                let length = (1 + below(3 * granule as u32)).min(SIZE - offset);
                file.write_all_at(&vec![step + 1; length], offset as u64).unwrap();
            }
            shown.push(padded(&content(&disk, "a").unwrap(), SIZE));
        }
        let keep = match below(4) {
            0 => Keep::OnlyOne { seed },
            1 => Keep::AllButOne { seed },
            2 => Keep::Prefix { permille: below(1001) as u16 },
            _ => super::random(seed),
        };
        disk.crash(&keep);
        let found = padded(&content(&disk, "a").unwrap(), SIZE);
        for start in (0..SIZE).step_by(granule) {
            let range = start..start + granule;
            let granule = &found[range.clone()];
            assert!(
                shown.iter().any(|moment| is_cut_of(granule, &moment[range.clone()])),
                "seed {seed}, {keep}, at {start}"
            );
        }
    }
}
