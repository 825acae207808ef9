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
            Operation::Get { .. } | Operation::Scan { .. } => false,
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
            let operation = match &timeline.history.events[step] {
                Event::Put { key, value, .. } => Operation::Put { key: key.clone(), value: value.clone() },
                Event::Delete { key, .. } => Operation::Delete { key: key.clone() },
                _ => continue,
            };
            mutations.push(Written { operation, by: transaction.label, step });
        }
    }
    mutations
}
