//! What goes into a page comes out again, and nothing else does.

use super::*;
use crate::format::{PageWriter, put};

const DATABASE: DatabaseId = DatabaseId(0x0bad_cafe);

fn cell<'a>(key: &'a str, txn: u64, value: LeafValue<'a>) -> LeafCell<'a> {
    LeafCell { version: VersionKey::new(key.as_bytes(), TxnId(txn)), value }
}

fn leaf(page_size: usize, shared: &str, cells: &[LeafCell<'_>]) -> Page {
    let mut writer = PageWriter::new(page_size, shared.as_bytes());
    for cell in cells {
        writer.leaf_cell(cell);
    }
    writer.finish(DATABASE, PageId(9), Generation(3), 0)
}

fn read(page: &Page) -> Page {
    Page::decode(page.bytes().into(), DATABASE, PageId(9)).expect("the page is whole")
}

fn sample() -> Vec<LeafCell<'static>> {
    let extent = Extent { start: PageId(40), bytes: 70_000, checksum: 77 };
    vec![
        cell("", 2, LeafValue::Inline(b"")),
        cell("apple", 9, LeafValue::Tombstone),
        cell("apple", 4, LeafValue::Inline(b"red")),
        cell("pear", 1, LeafValue::Extent(extent)),
    ]
}

fn sharing() -> Vec<LeafCell<'static>> {
    vec![
        cell("shared/", 8, LeafValue::Inline(b"none")),
        cell("shared/apple", 9, LeafValue::Tombstone),
        cell("shared/apple", 4, LeafValue::Inline(b"red")),
        cell("shared/appliance", 4, LeafValue::Inline(b"white")),
    ]
}

fn branch(lowers: &[(&str, u64)], shared: &str) -> Page {
    let mut writer = PageWriter::new(4096, shared.as_bytes());
    for (number, (key, txn)) in lowers.iter().enumerate() {
        let lower = Separator { key: key.as_bytes().to_vec(), txn: TxnId(*txn) };
        writer.branch_cell(&lower, child(number as u64 + 20));
    }
    writer.finish(DATABASE, PageId(9), Generation(1), 2)
}

fn child(number: u64) -> Subtree {
    Subtree {
        page: PageReference { page: PageId(number), checksum: number * 3 },
        newest: TxnId(number + 1),
        oldest_garbage: TxnId(number * 7),
    }
}

#[test]
fn leaf_round_trips() {
    for (page_size, cells, shared) in
        [(4096, sample(), ""), (4096, sharing(), "shared/"), (65536, sharing(), "shared/")]
    {
        let page = leaf(page_size, shared, &cells);
        let read = read(&page);
        assert_eq!(read, page);
        let all: Vec<_> = (0..read.count()).map(|index| read.leaf(index)).collect();
        assert_eq!(all, cells);
        assert_eq!((read.level(), read.generation(), read.kind()), (0, Generation(3), PageKind::Leaf));
        assert_eq!(&read.bytes()[read.inline_range(2)], b"red");
        assert_eq!(read.key_range(2).is_some(), shared.is_empty());
    }
}

#[test]
fn one_key_alone_is_all_shared() {
    let cells = [cell("key", 5, LeafValue::Inline(b"a")), cell("key", 3, LeafValue::Inline(b"b"))];
    for cells in [&cells[..1], &cells] {
        let read = read(&leaf(4096, "key", cells));
        let all: Vec<_> = (0..read.count()).map(|index| read.leaf(index)).collect();
        assert_eq!(all, cells);
        assert_eq!(read.lower_bound(VersionKey::new(b"key", TxnId(4))), 1.min(cells.len()));
    }
}

#[test]
fn lookup_finds_the_version_a_snapshot_sees() {
    let page = leaf(4096, "", &sample());
    let at = |page: &Page, key: &str, txn| page.lower_bound(VersionKey::new(key.as_bytes(), TxnId(txn)));
    assert_eq!(at(&page, "apple", 20), 1);
    assert_eq!(at(&page, "apple", 9), 1);
    assert_eq!(at(&page, "apple", 8), 2);
    assert_eq!(at(&page, "apple", 3), 3, "no version is that old, so the next key is found");
    assert_eq!(at(&page, "zebra", 3), 4);
}

#[test]
fn lookup_is_right_wherever_the_target_leaves_the_shared_beginning() {
    let cells = sharing();
    let page = leaf(4096, "shared/", &cells);
    for key in
        ["", "s", "share", "shared", "shared.", "shared/", "shared/appl", "shared/apple", "shared0", "t"]
    {
        for txn in [1, 4, 8, 9, 10] {
            let target = VersionKey::new(key.as_bytes(), TxnId(txn));
            let expected = cells.iter().filter(|cell| cell.version < target).count();
            assert_eq!(page.lower_bound(target), expected, "{target:?}");
        }
    }
}

#[test]
fn branch_round_trips_and_routes() {
    let most = u64::MAX;
    let route = |page: &Page, key: &str, txn| page.child_for(VersionKey::new(key.as_bytes(), TxnId(txn)));
    let page = read(&branch(&[("anything", 3), ("m", most), ("t", 5)], ""));
    let found = [("", 0), ("lz", 9), ("m", 1), ("t", 6), ("t", 5)].map(|(key, txn)| route(&page, key, txn));
    assert_eq!(found, [0, 0, 1, 1, 2]);
    let third = Separator { key: b"t".to_vec(), txn: TxnId(5) };
    assert_eq!((page.branch(0), page.branch(2)), ((Separator::lowest(), child(20)), (third, child(22))));

    let page = read(&branch(&[("", most), ("user/m", most), ("user/t", 5)], "user/"));
    let targets =
        [("a", 1), ("user", 1), ("user/", 1), ("user/m", 1), ("user/t", 6), ("user/t", 4), ("v", 1)];
    assert_eq!(targets.map(|(key, txn)| route(&page, key, txn)), [0, 0, 0, 1, 1, 2, 2]);
    let second = Separator { key: b"user/m".to_vec(), txn: TxnId(most) };
    assert_eq!((page.branch(0), page.branch(1)), ((Separator::lowest(), child(20)), (second, child(21))));

    let alone = read(&branch(&[("x", 4)], ""));
    assert_eq!((route(&alone, "z", 1), alone.branch(0).0), (0, Separator::lowest()));
}

#[test]
fn every_changed_bit_is_damage() {
    for page in [leaf(4096, "", &sample()), leaf(4096, "shared/", &sharing())] {
        for bit in 0..page.bytes().len() * 8 {
            let mut bytes: Box<[u8]> = page.bytes().into();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Page::decode(bytes, DATABASE, PageId(9)).is_err(), "bit {bit}");
        }
        let bytes = || page.bytes().into();
        assert!(Page::decode(bytes(), DATABASE, PageId(10)).is_err(), "a misdirected page");
        let stranger = DatabaseId(DATABASE.0 + 1);
        assert!(Page::decode(bytes(), stranger, PageId(9)).is_err(), "a page of another database");
    }
}

/// Decodes the page with some bytes changed and its checksum made to match.
fn with(page: &Page, at: usize, changed: &[u8]) -> Result<Page, Damage> {
    let mut bytes: Box<[u8]> = page.bytes().into();
    bytes[at..at + changed.len()].copy_from_slice(changed);
    let sum = checksum(&bytes[8..], page_seed(DATABASE, PageId(9)));
    put(&mut bytes, 0, sum.to_le_bytes());
    Page::decode(bytes, DATABASE, PageId(9))
}

#[test]
fn damage_under_a_valid_checksum_is_found_and_never_panics() {
    let most = u64::MAX;
    let pages = [
        leaf(4096, "", &sample()),
        leaf(4096, "shared/", &sharing()),
        branch(&[("", most), ("user/m", most), ("user/t", 5)], "user/"),
    ];
    for page in pages {
        let mut accepted = 0;
        for at in (24..70).chain(4096 - 250..4096) {
            for value in 0..=255 {
                if page.bytes()[at] == value {
                    continue;
                }
                let Ok(changed) = with(&page, at, &[value]) else { continue };
                accepted += 1;
                // Whatever was accepted can be read, and is in order.
                for index in 0..changed.count() {
                    if changed.level() == 0 {
                        changed.leaf(index);
                        assert_eq!(changed.lower_bound(changed.version(index)), index);
                    } else {
                        let (lower, _) = changed.branch(index);
                        assert_eq!(changed.child_for(lower.as_key()), index);
                    }
                }
            }
        }
        assert!(accepted > 0, "changed transactions and values under a valid checksum are a legal page");
    }
}

#[test]
fn a_page_has_one_form_only() {
    let page = leaf(4096, "shared/", &sharing());
    assert_eq!(with(&page, 0, &[]).as_ref(), Ok(&page));
    let shorter = leaf(4096, "shared", &sharing());
    assert!(Page::decode(shorter.bytes().into(), DATABASE, PageId(9)).is_err(), "they share more");
    assert!(with(&page, PAGE_HEADER + SLOT_BYTES + 2, b"applx"[..4].as_ref()).is_ok(), "it is the head");
    assert!(with(&page, PAGE_HEADER + SLOT_BYTES + 2, b"appm").is_err(), "the head of another key");
    assert!(with(&page, 30, &4000u16.to_le_bytes()).is_err(), "more than a key can have");
    assert!(with(&page, 26, &60_000u16.to_le_bytes()).is_err(), "more slots than fit");
}

/// The page with its slots changed, and its checksum put right.
fn with_slots(page: &Page, change: impl FnOnce(&mut [u8])) -> Result<Page, Damage> {
    let mut bytes: Box<[u8]> = page.bytes().into();
    change(&mut bytes);
    let sum = checksum(&bytes[8..], page_seed(DATABASE, PageId(9)));
    put(&mut bytes, 0, sum.to_le_bytes());
    Page::decode(bytes, DATABASE, PageId(9))
}

#[test]
fn cells_may_lie_in_any_order_but_not_in_one_another() {
    // The second value holds what could be the third cell, which is as long and would run into the first.
    let mut hidden = [7; 35];
    hidden[..15].copy_from_slice(&[1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 35, 0, 0, 0, b'c']);
    let value = LeafValue::Inline(&hidden);
    let page = leaf(4096, "", &[cell("a", 5, value), cell("b", 5, value), cell("c", 5, value)]);
    let slot = |index: usize| PAGE_HEADER + index * SLOT_BYTES;
    let second = get_u16(page.bytes(), slot(1)) + 15;
    let overlapping = with_slots(&page, |bytes| put(bytes, slot(2), second.to_le_bytes()));
    assert_eq!(overlapping, Err(Damage("the page's cells overlap or leave gaps")));

    // The second and the third cell change places.
    let moved = with_slots(&page, |bytes| {
        let [second, third] = [1, 2].map(|index| usize::from(get_u16(bytes, slot(index))));
        let (before, after) = bytes.split_at_mut(second);
        before[third..].swap_with_slice(&mut after[..50]);
        put(bytes, slot(1), (third as u16).to_le_bytes());
        put(bytes, slot(2), (second as u16).to_le_bytes());
    });
    let moved = moved.expect("FORMAT.md asks for no order of the cells");
    assert!((0..3).all(|index| moved.leaf(index) == page.leaf(index)));
}
