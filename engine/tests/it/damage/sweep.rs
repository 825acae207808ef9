//! Every kind of byte of every kind of file, one at a time; and whole pages and files in the wrong place.
//!
//! What `FORMAT.md` calls harmless, and is asserted to be: damage to one of two meta pages while the log it starts with
//! is there, to pages that nothing uses, to the room and the leftovers after a segment's last record, to its padding, to
//! spares; and, as it can't be told from a power loss, the loss of the log's end, by damage to its last record or a cut.

use std::fs;
use std::ops::Range;

use super::shapes::{Outcome, Patient, Shape, build_watched, recycled_segments, several_segments, shapes};

const PAGE: usize = 4096;
const SEGMENT_HEADER: usize = 64;
const RECORD_HEADER: usize = 56;

/// The records of a segment of which the first is `first`, without those of an earlier life of the file.
fn records(bytes: &[u8], first: u64) -> Vec<Range<usize>> {
    let mut records = vec![];
    let (mut at, mut txn) = (SEGMENT_HEADER, first);
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    while at + RECORD_HEADER <= bytes.len() && bytes[at..].starts_with(b"PRec") && number(at + 16) == txn {
        let end = at + RECORD_HEADER + number(at + 8) as usize;
        records.push(at..end);
        (at, txn) = (end.next_multiple_of(8), txn + 1);
    }
    records
}

/// Each segment with its records, and whether it is the last.
fn segments(shape: &Shape) -> Vec<(Patient, Vec<Range<usize>>, bool)> {
    let paths = shape.segments();
    let count = paths.len();
    let describe = |(index, path): (usize, &std::path::PathBuf)| {
        let patient = Patient::new(path);
        let first = u64::from_le_bytes(patient.bytes[24..32].try_into().expect("eight bytes"));
        let records = records(&patient.bytes, first);
        (patient, records, index + 1 == count)
    };
    paths.iter().enumerate().map(describe).collect()
}

#[test]
fn every_byte_class_of_the_data_file() {
    for shape in shapes() {
        let data = Patient::new(&shape.data());
        let mut reported = 0;
        for at in 0..data.bytes.len() {
            // Every byte of each header and of the first cells and slots; of the rest some of each page.
            if at % PAGE >= 128 && at % 61 != 0 {
                continue;
            }
            let bit = 1 << (at % 8);
            let what = || format!("byte {at} of the data file");
            let outcome = data.with(at, &[data.bytes[at] ^ bit], || shape.judge(&what));
            assert!(matches!(outcome, Outcome::Whole | Outcome::Reported), "{}: {outcome:?}", what());
            reported += usize::from(outcome == Outcome::Reported);
        }
        assert!(reported > 0 || data.bytes[2 * PAGE..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn every_byte_class_of_the_log() {
    for shape in shapes() {
        for (segment, records, is_last) in segments(&shape) {
            let covered = |at: usize| records.iter().position(|record| record.contains(&at));
            for at in 0..segment.bytes.len() {
                let record = covered(at);
                let is_header = at < SEGMENT_HEADER
                    || record.is_some_and(|record| at < records[record].start + RECORD_HEADER);
                if !is_header && at % 13 != 0 {
                    continue;
                }
                let what = || format!("byte {at} of {}", segment.name);
                let flipped = segment.bytes[at] ^ 1 << (at % 8);
                let outcome = segment.with(at, &[flipped], || shape.judge(&what));
                let expected = match record {
                    None if at >= SEGMENT_HEADER => Outcome::Whole,
                    Some(record) if is_last && record + 1 == records.len() => {
                        Outcome::EndsWith(shape.latest() - 1)
                    }
                    _ => Outcome::Reported,
                };
                assert_eq!(outcome, expected, "{}", what());
            }
        }
    }
}

#[test]
fn a_log_cut_anywhere() {
    for shape in shapes() {
        let segments = segments(&shape);
        for (index, (segment, records, is_last)) in segments.iter().enumerate() {
            let ends: Vec<usize> = records.iter().map(|record| record.end).collect();
            let boundaries =
                [0, 1, 63, 64, 65].into_iter().chain(ends.iter().flat_map(|end| [end - 1, *end]));
            for size in boundaries.chain((0..segment.bytes.len()).step_by(97)) {
                if size >= segment.bytes.len() {
                    continue;
                }
                let what = || format!("{} cut at {size}", segment.name);
                let outcome = segment.cut(size, || shape.judge(&what));
                let lost = ends.iter().filter(|end| **end > size).count() as u64;
                let expected = match lost {
                    _ if size < SEGMENT_HEADER && index == 0 => Outcome::Reported,
                    0 => Outcome::Whole,
                    lost if *is_last => Outcome::EndsWith(shape.latest() - lost),
                    _ => Outcome::Reported,
                };
                assert_eq!(outcome, expected, "{}", what());
            }
        }
    }
}

#[test]
fn pages_that_are_swapped_or_doubled() {
    for shape in shapes() {
        let data = Patient::new(&shape.data());
        let count = data.bytes.len() / PAGE;
        let page = |index: usize| &data.bytes[index * PAGE..(index + 1) * PAGE];
        let mut reported = 0;
        for left in 0..count.min(24) {
            for right in (0..count.min(24)).filter(|right| *right != left) {
                let what = || format!("page {left} in the place of page {right}");
                let mut judge = || {
                    let outcome = shape.judge(&what);
                    assert!(matches!(outcome, Outcome::Whole | Outcome::Reported), "{}: {outcome:?}", what());
                    reported += u32::from(outcome == Outcome::Reported);
                };
                data.with(right * PAGE, page(left), || {
                    judge();
                    if left < right {
                        data.with(left * PAGE, page(right), judge);
                    }
                });
            }
        }
        assert!(reported > 0);
    }
}

#[test]
fn segments_that_are_swapped() {
    for shape in [several_segments(), recycled_segments()] {
        let paths = shape.segments();
        assert!(paths.len() > 1);
        let aside = shape.path.join("aside");
        let swap = |left: usize, right: usize| {
            for (from, to) in [(&paths[left], &aside), (&paths[right], &paths[left]), (&aside, &paths[right])]
            {
                fs::rename(from, to).expect("the file can be renamed");
            }
        };
        for left in 0..paths.len() {
            for right in 0..left {
                swap(left, right);
                assert_eq!(shape.judge(&|| format!("{left} and {right} swapped")), Outcome::Reported);
                swap(left, right);
            }
            fs::rename(&paths[left], &aside).expect("the file can be renamed");
            let is_last = left + 1 == paths.len();
            let outcome = shape.judge(&|| format!("segment {left} missing"));
            assert!(outcome == Outcome::Reported || is_last && matches!(outcome, Outcome::EndsWith(_)));
            fs::rename(&aside, &paths[left]).expect("the file can be renamed");
        }
        assert_eq!(shape.judge(&|| "nothing".into()), Outcome::Whole);
    }
}

#[test]
fn files_of_another_database_of_the_same_history() {
    let (one, other) = (recycled_segments(), recycled_segments());
    let names = |shape: &Shape| [shape.segments(), shape.files("data"), shape.files("spare-")];
    for (kind, (own, foreign)) in names(&one).into_iter().zip(names(&other)).enumerate() {
        assert!(!own.is_empty());
        for (own, foreign) in own.iter().zip(&foreign) {
            let patient = Patient::new(own);
            let bytes = fs::read(foreign).expect("the file can be read");
            assert!(bytes.len() == patient.bytes.len() && bytes != patient.bytes);
            let what = || format!("{} of another database", patient.name);
            let expected = if kind == 2 { Outcome::Whole } else { Outcome::Reported };
            assert_eq!(patient.with(0, &bytes, || one.judge(&what)), expected, "{}", what());
        }
    }
}

#[test]
fn older_versions_of_pages_and_segments() {
    let mut older = vec![];
    let shape = build_watched(&mut |path| {
        let mut files = vec![];
        for entry in fs::read_dir(path).expect("the directory can be read") {
            let file = entry.expect("an entry").path();
            files.push((file.clone(), fs::read(file).expect("the file can be read")));
        }
        older.push(files);
    });
    let data = Patient::new(&shape.data());
    let mut reported = 0;
    for (file, bytes) in older.iter().flatten() {
        if *file == shape.data() {
            for page in 0..bytes.len().min(data.bytes.len()) / PAGE {
                let range = page * PAGE..(page + 1) * PAGE;
                let what = || format!("an older page {page}");
                let outcome = data.with(range.start, &bytes[range.clone()], || shape.judge(&what));
                assert!(matches!(outcome, Outcome::Whole | Outcome::Reported), "{}: {outcome:?}", what());
                reported += u32::from(outcome == Outcome::Reported);
            }
        } else if let Some(last) = shape.segments().last().filter(|last| *last == file) {
            let segment = Patient::new(last);
            let size = bytes.len().min(segment.bytes.len());
            let what = || "an older version of the last segment".to_owned();
            // It ends where the log ended then, which nothing contradicts.
            let outcome = segment.with(0, &bytes[..size], || shape.judge(&what));
            assert!(outcome != Outcome::Reported, "{outcome:?}");
        }
    }
    assert!(reported > 0);
}
