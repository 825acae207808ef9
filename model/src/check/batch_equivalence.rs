//! Batch equivalence: the same mutations come to the same state, however they are grouped into transactions.
//!
//! Given two histories whose committed transactions, in the order in which they asked for their commits, write the same
//! sequence of mutations, it verifies that both end in the same state. It verifies the precondition, too: if the
//! sequences differ, the verdict is `not-comparable`.
//!
//! It does NOT compare reads, which may differ inside a batch, and does not judge whether either history is right, which
//! is what [`check`](super::check) is for. Transactions that were aborted are left out.

use super::pair::Pair;
use super::timeline::{Timeline, Transaction};
use super::{Checker, Violation};
use crate::{Event, History, Operation, TxnLabel};

/// Compares two crash-free histories of the same mutations. The step of a violation is one of `batches`, unless the
/// message speaks of the first history.
///
/// Both end with an [`Event::Opened`] that shows the final state.
pub fn check_batches(singles: &History, batches: &History) -> Result<(), Violation> {
    let pair = Pair::new(Checker::BatchEquivalence, singles, batches)?;
    let (first, second) = (mutations(&pair.first), mutations(&pair.second));
    for (index, (one, other)) in first.iter().zip(&second).enumerate() {
        if one.operation != other.operation {
            let (one, other_text) = (&one.operation, &other.operation);
            let message =
                format!("mutation {index} is `{one}` in the first history and `{other_text}` in the second");
            return Err(pair.not_comparable(other.step, message));
        }
    }
    if first.len() != second.len() {
        let message = format!("the first history has {} mutations, the second {}", first.len(), second.len());
        return Err(pair.not_comparable(second.last().map_or(0, |last| last.step), message));
    }
    pair.compare_ends(|difference| {
        let writes_it = |mutation: &Written| match &mutation.operation {
            Operation::Put { key, .. } | Operation::Delete { key } => key == difference.key,
            _ => false,
        };
        match first.iter().rposition(writes_it) {
            Some(index) => format!(
                "mutation {index}, `{}`, was the last to write it, by {} and by {}",
                first[index].operation, first[index].by, second[index].by
            ),
            None => "no mutation writes it".to_owned(),
        }
    })
}

/// A mutation of a committed transaction.
struct Written {
    operation: Operation,
    by: TxnLabel,
    step: usize,
}

fn mutations(timeline: &Timeline<'_>) -> Vec<Written> {
    let committed = |transaction: &&Transaction<'_>| transaction.committed_at().is_some();
    let mut transactions: Vec<_> = timeline.transactions.iter().filter(committed).collect();
    transactions.sort_by_key(|transaction| transaction.submit.map(|(step, _)| step));
    let mut mutations = Vec::new();
    for transaction in transactions {
        for &step in &transaction.operations {
            let mut push = |operation| mutations.push(Written { operation, by: transaction.label, step });
            match &timeline.history.events[step] {
                Event::Put { key, value, .. } => {
                    push(Operation::Put { key: key.clone(), value: value.clone() });
                }
                Event::Delete { key, .. } => push(Operation::Delete { key: key.clone() }),
                Event::DeleteRange { keys, .. } => {
                    keys.iter().for_each(|key| push(Operation::Delete { key: key.clone() }));
                }
                _ => {}
            }
        }
    }
    mutations
}

#[cfg(test)]
mod tests {
    use super::check_batches;
    use crate::Checker::BatchEquivalence;
    use crate::check::testing::{expect, history};

    const SINGLES: &str = r#"
        begin t1 c0 write
        put t1 "a" #1*8
        submit t1 sync
        committed t1
        begin t2 c0 write
        put t2 "b" #2*8
        submit t2 sync
        committed t2
        begin t3 c0 write
        delete t3 "a"
        submit t3 sync
        committed t3
        opened -> "b"=#2*8
    "#;
    const BATCH: &str = r#"
        begin t1 c0 write
        put t1 "a" #1*8
        put t1 "b" #2*8
        delete t1 "a"
        submit t1 sync
        committed t1
        opened -> "b"=#2*8
    "#;

    fn compare(singles: &str, batches: &str) -> Result<(), super::Violation> {
        check_batches(&history(singles), &history(batches))
    }

    fn refused(singles: &str, batches: &str, kind: &str, step: usize) -> String {
        expect(compare(singles, batches), BatchEquivalence, kind, step)
    }

    #[test]
    fn grouping_does_not_matter() {
        assert_eq!(compare(SINGLES, BATCH), Ok(()));
        assert_eq!(compare(SINGLES, SINGLES), Ok(()));
        assert_eq!(compare(BATCH, SINGLES), Ok(()));
        assert_eq!(compare("opened -> none", "opened -> none"), Ok(()));
    }

    #[test]
    fn aborted_transactions_and_reads_are_left_out() {
        let aborted = "begin t9 c1 write\nput t9 \"z\" #9*8\naborted t9\nbegin t8 c1 read\nget t8 \"b\" -> none\naborted t8\n";
        assert_eq!(compare(SINGLES, &format!("{aborted}{BATCH}")), Ok(()));
    }

    #[test]
    fn mutations_count_in_the_order_of_commits() {
        let interleaved = r#"
            begin t2 c1 write
            put t2 "b" #2*8
            begin t1 c0 write
            put t1 "a" #1*8
            submit t1 sync
            committed t1
            delete t2 "a"
            submit t2 sync
            committed t2
            opened -> "b"=#2*8
        "#;
        assert_eq!(compare(SINGLES, interleaved), Ok(()));
    }

    #[test]
    fn different_ends_are_found() {
        let kept = BATCH.replace("opened ->", "opened -> \"a\"=#1*8");
        let message = refused(SINGLES, &kept, "different-state", 6);
        let expected = "\"a\" ends as none in the first history and as #1*8 in the second; \
                        mutation 2, `delete \"a\"`, was the last to write it, by t3 and by t1";
        assert!(message.starts_with(expected), "{message}");
        refused(SINGLES, &BATCH.replace("opened -> \"b\"=#2*8", "opened -> none"), "different-state", 6);
        let foreign = BATCH.replace("opened -> \"b\"=#2*8", "opened -> \"b\"=#2*8 \"c\"=#7*8");
        let message = refused(SINGLES, &foreign, "different-state", 6);
        assert!(message.contains("no mutation writes it"), "{message}");
        refused(
            &SINGLES.replace("opened -> \"b\"=#2*8", "opened -> \"b\"=#1*8"),
            BATCH,
            "different-state",
            6,
        );
    }

    #[test]
    fn the_mutations_are_the_same() {
        refused(SINGLES, &BATCH.replace("put t1 \"b\"", "put t1 \"c\""), "not-comparable", 2);
        refused(SINGLES, &BATCH.replace("delete t1 \"a\"\n", ""), "not-comparable", 2);
        refused(SINGLES, &BATCH.replace("committed", "aborted"), "not-comparable", 0);
        refused(SINGLES, &BATCH.replace("opened", "crash\nopened"), "not-comparable", 6);
        refused(SINGLES, &format!("opened -> \"z\"=#9*8\n{BATCH}"), "not-comparable", 0);
    }
}
