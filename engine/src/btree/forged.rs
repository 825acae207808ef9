//! Trees of pages that are whole, each in itself, with pointers that carry the right checksums, and that still don't fit
//! together. No disk makes such trees; whoever can compute a checksum can. All that may come of them is Corruption.

use std::ops::Bound;

use proofmark_vfs::{OpenMode, RealVfs, Vfs};

use super::{
    BaseScan, Change, Cursor, Target, Values, changed_since, for_each_page, for_each_version, get, merge,
    verify,
};
use crate::error::{Error, Result};
use crate::format::{LeafCell, LeafValue, MAX_LEVEL, NO_GARBAGE, PageWriter, Separator, Subtree, VersionKey};
use crate::ids::{DatabaseId, Generation, PageId, TxnId};
use crate::pager::{Allocator, Pager};

struct Forge {
    _directory: tempfile::TempDir,
    pager: Pager,
    page_count: u64,
}

impl Forge {
    fn new() -> Forge {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("data");
        let file = RealVfs.open(&path, OpenMode::CreateTruncate).expect("a file is created");
        let pager = Pager::new(file, path, DatabaseId(77), 4096, 1 << 20);
        pager.reserve(200).expect("the file grows");
        Forge { _directory: directory, pager, page_count: 2 }
    }

    /// A leaf with keys of transaction 1.
    fn leaf(&mut self, keys: &[&str]) -> Subtree {
        let mut writer = PageWriter::new(4096, beginning(keys).as_bytes());
        for key in keys {
            let version = VersionKey::new(key.as_bytes(), TxnId(1));
            writer.leaf_cell(&LeafCell { version, value: LeafValue::Inline(b"value") });
        }
        self.finish(writer, 0)
    }

    /// A branch with these children, all but the first of which have a separator.
    fn branch(&mut self, level: u8, first: Subtree, others: &[(&str, Subtree)]) -> Subtree {
        let keys: Vec<&str> = others.iter().map(|(key, _)| *key).collect();
        let mut writer = PageWriter::new(4096, beginning(&keys).as_bytes());
        writer.branch_cell(&Separator::lowest(), first);
        for (key, child) in others {
            let bound = Separator { key: key.as_bytes().to_vec(), txn: TxnId(u64::MAX) };
            writer.branch_cell(&bound, *child);
        }
        self.finish(writer, level)
    }

    fn finish(&mut self, writer: PageWriter, level: u8) -> Subtree {
        let id = PageId(self.page_count);
        self.page_count += 1;
        let page = self.pager.write(writer.finish(DatabaseId(77), id, Generation(1), level));
        Subtree { page: page.expect("the disk is fine"), newest: TxnId(1), oldest_garbage: NO_GARBAGE }
    }

    /// Writes these keys, as a checkpoint does.
    fn write(&self, root: Subtree, keys: &[String]) -> Result<Option<Subtree>> {
        let change = |key| Change { version: VersionKey::new(key, TxnId(2)), value: Some(&[7; 100]) };
        let changes: Vec<_> = keys.iter().map(|key| change(key.as_bytes())).collect();
        let mut allocator = Allocator::with_pages(self.page_count);
        let target = Target {
            pager: &self.pager,
            allocator: &mut allocator,
            generation: Generation(2),
            horizon: TxnId(0),
        };
        merge(target, Some(root), &changes)
    }
}

/// What all keys begin with.
fn beginning(keys: &[&str]) -> String {
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return String::new() };
    first.chars().zip(last.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
}

#[track_caller]
fn assert_corruption<T: std::fmt::Debug>(outcome: Result<T>, expected: &str) {
    match outcome {
        Err(Error::Corruption { reason, .. }) if reason.contains(expected) => {}
        other => panic!("{other:?} is not the corruption that {expected}"),
    }
}

/// Hundreds of keys from `start` on, so that leaves are split.
fn many(start: &str) -> Vec<String> {
    (0..300).map(|number| format!("{start}/{number:04}")).collect()
}

#[test]
fn a_separator_outside_of_its_branch() {
    // All separators begin with "key/" but one, which is shorter and lies in a branch between two others.
    for bounds in [["key/5", "key/7"], ["k", "key/7"], ["key/5", "z"], ["a", "k"]] {
        let mut forge = Forge::new();
        let [a, b, c] = ["key/1", "key/6", "key/8"].map(|key| forge.leaf(&[key]));
        let middle = forge.branch(1, a, &[(bounds[0], b), (bounds[1], c)]);
        let [left, right] = ["a", "key/91"].map(|key| {
            let leaf = forge.leaf(&[key]);
            forge.branch(1, leaf, &[])
        });
        let root = forge.branch(2, left, &[("key/0", middle), ("key/9", right)]);
        for start in ["key/1", "key/6", "key/8"] {
            let outcome = forge.write(root, &many(start));
            match bounds {
                ["key/5", "key/7"] => assert!(outcome.is_ok(), "{outcome:?}"),
                _ => assert_corruption(outcome, "a separator lies outside the bounds"),
            }
        }
    }
}

#[test]
fn a_separator_outside_of_a_branch_that_is_joined() {
    for bound in ["key/8", "key/1", "b"] {
        let mut forge = Forge::new();
        let leaves: Vec<String> = (0..5).map(|number| format!("key/{}", 5 + number)).collect();
        let leaves: Vec<Subtree> = leaves.iter().map(|key| forge.leaf(&[key])).collect();
        let left = forge.leaf(&["a"]);
        let left = forge.branch(1, left, &[]);
        let right = forge.branch(1, leaves[0], &[(bound, leaves[3])]);
        let root = forge.branch(2, left, &[("key/5", right)]);
        // The branch on the left is written, and joined with the one on the right.
        let outcome = forge.write(root, &["a".to_owned()]);
        match bound {
            "key/8" => assert!(outcome.is_ok(), "{outcome:?}"),
            _ => assert_corruption(outcome, "a separator lies outside the bounds"),
        }
    }
}

#[test]
fn an_entry_outside_of_its_leaf() {
    for (low, high, is_sound) in [("m", "n", true), ("b", "n", false), ("m", "z", false)] {
        let mut forge = Forge::new();
        let [left, right] = ["a", "y"].map(|key| forge.leaf(&[key]));
        let middle = forge.leaf(&[low, high]);
        let root = forge.branch(1, left, &[("m", middle), ("y", right)]);
        let outcome = forge.write(root, &["mm", "my", "yy"].map(many).concat());
        if is_sound {
            assert!(outcome.is_ok(), "{outcome:?}");
        } else {
            assert_corruption(outcome, "an entry lies outside the bounds of its leaf");
        }
    }
}

/// A dozen pages, each of which has the one below it for all of its children. `newest` is what the pointers to the leaf say.
fn one_child_for_all(forge: &mut Forge, newest: TxnId) -> Subtree {
    let mut below = Subtree { newest, ..forge.leaf(&["m"]) };
    let bounds: Vec<String> = ('b'..='z').map(String::from).collect();
    for level in 1..=12 {
        let others: Vec<_> = bounds.iter().map(|bound| (bound.as_str(), below)).collect();
        below = forge.branch(level, below, &others);
    }
    below
}

#[test]
fn many_ways_to_one_page() {
    let mut forge = Forge::new();
    let root = one_child_for_all(&mut forge, TxnId(1));
    let pager = &forge.pager;
    let overlap = "overlap its neighbour's";
    for reverse in [false, true] {
        for snapshot in [TxnId(0), TxnId(1)] {
            let scan = BaseScan::new(pager, Some(root), snapshot, Bound::Unbounded, reverse, Values::Read);
            let mut scan = scan.expect("the first leaf can be read");
            assert_corruption(scan.next(pager), overlap);
            assert_eq!(scan.next(pager).expect("the scan is over"), None);
        }
    }
    let mut walk = changed_since(Some(root), TxnId(0));
    assert!(walk.next(pager).expect("the first leaf can be read").is_some());
    assert!(matches!(walk.next(pager), Err(Error::Corruption { .. })));
    assert_eq!(walk.next(pager).expect("the walk is over"), None);
    assert!(matches!(for_each_page(pager, Some(root), &mut |_, _| Ok(())), Err(Error::Corruption { .. })));
    assert_corruption(for_each_version(pager, Some(root), |_, _| Ok(())), overlap);
    assert!(matches!(
        verify(pager, Some(root), TxnId(1), Generation(1), None),
        Err(Error::Corruption { .. })
    ));
    let garbage = Subtree { oldest_garbage: TxnId(0), ..root };
    assert_eq!(forge.write(garbage, &[]).expect("no pointer below says so"), Some(garbage));
    assert!(matches!(forge.write(root, &many("m")), Err(Error::Corruption { .. })));
    let found = get(pager, Some(root), b"m", TxnId(1)).expect("one leaf is read");
    assert_eq!(found.flatten().as_deref(), Some(b"value".as_slice()));
}

#[test]
fn many_ways_to_nothing_new() {
    let mut forge = Forge::new();
    let root = one_child_for_all(&mut forge, TxnId(0));
    let mut walk = changed_since(Some(root), TxnId(0));
    assert_corruption(walk.next(&forge.pager), "a separator lies outside the bounds");
}

#[test]
fn pages_of_the_future_and_branches_with_a_single_child_are_found() {
    let mut forge = Forge::new();
    let [a, m, z] = ["a", "m", "z"].map(|key| forge.leaf(&[key]));
    let left = forge.branch(1, a, &[("m", m)]);
    let single = forge.branch(1, z, &[]);
    let root = forge.branch(2, left, &[("z", single)]);
    let check = |root, generation| verify(&forge.pager, Some(root), TxnId(1), Generation(generation), None);
    assert!(check(left, 1).is_ok());
    assert_corruption(check(left, 0), "a later checkpoint");
    assert_corruption(check(single, 1), "a single child");
    assert_corruption(check(root, 1), "a single child");
}

#[test]
fn a_branch_is_not_taken_for_a_leaf_after_an_error() {
    let mut forge = Forge::new();
    let [a, b] = ["a", "m"].map(|key| forge.leaf(&[key]));
    let mut lost = b;
    lost.page.checksum ^= 1;
    for (first, second) in [(a, lost), (lost, b)] {
        let root = forge.branch(1, first, &[("m", second)]);
        let (pager, root) = (&forge.pager, Some(root));
        let mut cursor = if second == lost {
            Cursor::seek(pager, root, VersionKey::new(b"b", TxnId(1))).expect("the first leaf is whole")
        } else {
            Cursor::last(pager, root).expect("the last leaf is whole")
        };
        if second == lost {
            assert_corruption(cursor.forward(pager), "not the one that was written here last");
        } else {
            assert!(cursor.backward(pager).expect("the last leaf is whole").is_some());
            assert_corruption(cursor.backward(pager), "not the one that was written here last");
        }
        assert!(cursor.forward(pager).expect("there is nothing").is_none());
        assert!(cursor.backward(pager).expect("there is nothing").is_none());
    }
}

#[test]
fn a_tree_as_high_as_can_be_grows_no_further() {
    let mut forge = Forge::new();
    // Every branch on the way to the leaf is full, so that what is split below is split all the way up.
    let others = forge.leaf(&["a"]);
    let keys = many("m");
    let mut below = forge.leaf(&keys[..60].iter().map(String::as_str).collect::<Vec<_>>());
    for level in 1..=MAX_LEVEL {
        let lower = format!("a{:02}", MAX_LEVEL - level);
        let bounds: Vec<String> = (0..70).map(|number| format!("z{level:02}/{number:04}")).collect();
        let mut children = vec![(lower.as_str(), below)];
        children.extend(bounds.iter().map(|bound| (bound.as_str(), others)));
        below = forge.branch(level, others, &children);
    }
    let outcome = forge.write(below, &["n".to_owned()]);
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_corruption(forge.write(below, &many("n")), "impossibly high");
}
