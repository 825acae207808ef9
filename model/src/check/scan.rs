//! A scan as it should be: the model's pairs under a transaction's own writes.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::text::BytesText;
use crate::{Key, KeyRange, Mvcc, TxnId, Value};

/// The writes of one transaction so far.
pub(super) type Writes<'h> = BTreeMap<&'h [u8], Option<&'h [u8]>>;

/// What a transaction with these writes reads at `key`.
pub(super) fn value_in<'m>(model: &'m Mvcc, own: &Writes<'m>, key: &[u8], at: TxnId) -> Option<&'m [u8]> {
    match own.get(key) {
        Some(written) => *written,
        None => model.get(key, at).map(Vec::as_slice),
    }
}

/// What a scan asks for.
pub(super) struct Scan<'a> {
    pub(super) range: &'a KeyRange,
    pub(super) limit: usize,
    pub(super) reverse: bool,
}

impl Scan<'_> {
    /// What it should find: the model at `at` under the transaction's own writes.
    pub(super) fn pairs<'m>(
        &self,
        model: &'m Mvcc,
        own: &'m Writes<'_>,
        at: TxnId,
    ) -> impl Iterator<Item = (&'m [u8], &'m [u8])> + use<'m> {
        let committed = model.range(self.range, at).map(|(key, value)| (key.as_slice(), value.as_slice()));
        let bounds = self.range.as_slices();
        let own = (!self.range.is_inverted()).then(|| own.range::<[u8], _>(bounds));
        let own = own.into_iter().flatten().map(|(key, value)| (*key, *value));
        let reverse = self.reverse;
        let mut committed = directed(committed, reverse).peekable();
        let mut own = directed(own, reverse).peekable();
        let merged = std::iter::from_fn(move || {
            loop {
                let order = match (committed.peek(), own.peek()) {
                    (None, None) => return None,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some((committed, _)), Some((own, _))) if reverse => own.cmp(committed),
                    (Some((committed, _)), Some((own, _))) => committed.cmp(own),
                };
                if order == Ordering::Less {
                    return committed.next();
                }
                if order == Ordering::Equal {
                    committed.next();
                }
                if let Some((key, Some(value))) = own.next() {
                    return Some((key, value));
                }
            }
        });
        merged.take(self.limit)
    }

    /// What is wrong with a result whatever the state.
    pub(super) fn malformed(&self, found: &[(Key, Value)]) -> Option<(&'static str, String)> {
        if found.len() > self.limit {
            return Some((
                "scan-over-limit",
                format!("found {} pairs instead of {}", found.len(), self.limit),
            ));
        }
        if let Some((key, _)) = found.iter().find(|(key, _)| !self.range.contains(key)) {
            return Some(("scan-out-of-range", format!("found {} outside {}", BytesText(key), self.range)));
        }
        let misordered = found.windows(2).find(|pair| !self.comes_before(&pair[0].0, &pair[1].0))?;
        let (first, second) = (BytesText(&misordered[0].0), BytesText(&misordered[1].0));
        Some(("scan-out-of-order", format!("found {second} after {first}")))
    }

    /// The first key at which a result differs from what was expected, and what was found there.
    pub(super) fn first_difference<'m>(
        &self,
        expected: impl Iterator<Item = (&'m [u8], &'m [u8])>,
        found: &[(Key, Value)],
    ) -> (Key, Option<Value>) {
        let mut found = found.iter();
        for (key, value) in expected {
            match found.next() {
                Some((other, held)) if other == key && held == value => {}
                Some((other, held)) if other == key || self.comes_before(other, key) => {
                    return (other.clone(), Some(held.clone()));
                }
                _ => return (key.to_vec(), None),
            }
        }
        found.next().map_or_else(Default::default, |(key, value)| (key.clone(), Some(value.clone())))
    }

    fn comes_before(&self, one: &[u8], other: &[u8]) -> bool {
        if self.reverse { one > other } else { one < other }
    }
}

fn directed<'m, T: 'm>(
    items: impl DoubleEndedIterator<Item = T> + 'm,
    reverse: bool,
) -> Box<dyn Iterator<Item = T> + 'm> {
    if reverse { Box::new(items.rev()) } else { Box::new(items) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mutation;

    fn found(range: &str, limit: usize, reverse: bool) -> String {
        let mut model = Mvcc::new();
        let mutation = |key: &str| Mutation { key: key.into(), value: Some(b"old".to_vec()) };
        model.apply(TxnId(1), ["a", "b", "d", "e"].map(mutation).to_vec());
        let own: Writes<'_> = [
            (b"b".as_slice(), None),
            (b"c".as_slice(), Some(b"new".as_slice())),
            (b"d".as_slice(), Some(b"new".as_slice())),
            (b"f".as_slice(), None),
            (b"g".as_slice(), Some(b"new".as_slice())),
        ]
        .into();
        let scan = Scan { range: &range.parse().unwrap(), limit, reverse };
        let text =
            |(key, value)| format!("{}{}", String::from_utf8_lossy(key), String::from_utf8_lossy(value));
        scan.pairs(&model, &own, TxnId(1)).map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn own_writes_cover_what_is_committed() {
        assert_eq!(found("(-inf .. +inf)", 9, false), "aold cnew dnew eold gnew");
        assert_eq!(found("(-inf .. +inf)", 9, true), "gnew eold dnew cnew aold");
        assert_eq!(found(r#"["b" .. "e")"#, 9, false), "cnew dnew");
        assert_eq!(found(r#"("c" .. "g"]"#, 2, true), "gnew eold");
        assert_eq!(found(r#"["b" .. "b"]"#, 9, false), "");
        assert_eq!(found(r#"["c" .. "a")"#, 9, false), "");
        assert_eq!(found("(-inf .. +inf)", 0, false), "");
    }

    #[test]
    fn the_first_difference_is_found_in_scan_order() {
        let difference = |expected: &[&str], found: &[&str], reverse| {
            let pairs: Vec<(Key, Value)> = found.iter().map(|key| (key[..1].into(), (*key).into())).collect();
            let expected = expected.iter().map(|key| (&key.as_bytes()[..1], key.as_bytes()));
            let scan = Scan { range: &KeyRange::all(), limit: 9, reverse };
            let (key, value) = scan.first_difference(expected, &pairs);
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            format!("{}={}", text(key), value.map_or("none".to_owned(), text))
        };
        assert_eq!(difference(&["a1", "b1"], &["a1", "b2"], false), "b=b2");
        assert_eq!(difference(&["a1", "b1"], &["b1"], false), "a=none");
        assert_eq!(difference(&["b1", "c1"], &["a1", "b1"], false), "a=a1");
        assert_eq!(difference(&["b1"], &["b1", "c1"], false), "c=c1");
        assert_eq!(difference(&["b1", "a1"], &["a1"], true), "b=none");
        assert_eq!(difference(&["a1"], &["b1", "a1"], true), "b=b1");
        assert_eq!(difference(&["b1", "a1"], &["b1"], true), "a=none");
    }
}
