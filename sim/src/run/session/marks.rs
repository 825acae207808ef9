//! Marks: what clients ask for, and which of them they can still ask for.
//!
//! A client that did not hear of its commit does not know whether the persistent mark in it was set, and the store may give
//! the mark's number to another one. So once the store was opened again nobody asks for such a mark any more.

use proofmark_model::{ClientId, Event, MarkLabel, TxnLabel};

use super::super::panics::catch;
use super::super::stats::Activity;
use super::{Interrupt, Session};
use crate::plan::Action;
use crate::store::{Mark, StoreError};

/// A mark that was set.
#[derive(Debug)]
pub(super) struct KnownMark {
    /// What the store said it is found by, if it is persistent.
    id: Option<u64>,
    /// Who set it, unless that was acknowledged.
    unsettled: Option<TxnLabel>,
}

impl Session<'_> {
    /// Sets a mark, goes back to one, or forgets one.
    pub(super) fn about_marks(&mut self, client: ClientId, action: &Action) -> Result<(), Interrupt> {
        if !self.promises.marks || self.book().excuses.poisoned() {
            return self.leave_out();
        }
        match action {
            Action::Mark { mark, is_persistent } => self.mark(client, *mark, *is_persistent),
            Action::Restore(label) | Action::Forget(label) => match self.known_mark(*label) {
                Some(mark) => self.use_mark(client, mark, matches!(action, Action::Restore(_))),
                None => self.skip(),
            },
            _ => self.skip(),
        }
    }

    fn known_mark(&self, label: MarkLabel) -> Option<Mark> {
        self.book().marks.get(&label).map(|known| Mark { label, id: known.id })
    }

    fn mark(&mut self, client: ClientId, mark: MarkLabel, is_persistent: bool) -> Result<(), Interrupt> {
        let open = self.transactions.get_mut(&client).expect("the caller found it open");
        if !open.is_fresh || self.book.lock().marks.contains_key(&mark) {
            return self.skip();
        }
        self.stats.operations += 1;
        let txn = open.label;
        let caught = catch(|| open.transaction.mark(mark, is_persistent));
        let Some(id) = self.attempt(Activity::Other, "mark", caught)? else {
            return self.unless_failed(client, None);
        };
        if id.is_some() != is_persistent {
            return Err(self.fail("mark", "a number is for persistent marks, and for all of them".to_owned()));
        }
        self.book().marks.insert(mark, KnownMark { id, unsettled: is_persistent.then_some(txn) });
        self.record(Event::Mark { txn, mark, is_persistent });
        Ok(())
    }

    fn use_mark(&mut self, client: ClientId, mark: Mark, restores: bool) -> Result<(), Interrupt> {
        let open = self.transactions.get_mut(&client).expect("the caller found it open");
        self.stats.operations += 1;
        let (what, txn) = (if restores { "restore" } else { "forget" }, open.label);
        let caught = catch(|| match restores {
            true => open.transaction.restore(mark),
            false => open.transaction.forget(mark),
        });
        open.is_fresh &= !restores;
        let is_refused = matches!(caught, Ok(Err(StoreError::MarkNotFound)));
        let caught = if is_refused { Ok(Ok(())) } else { caught };
        if self.attempt(Activity::Other, what, caught)?.is_none() {
            return self.unless_failed(client, None);
        }
        let mark = mark.label;
        self.record(match restores {
            true => Event::Restore { txn, mark, is_refused },
            false => Event::Forget { txn, mark, is_refused },
        });
        Ok(())
    }

    /// The transaction was acknowledged, and its marks with it.
    pub(super) fn settle_marks(&mut self, txn: TxnLabel) {
        for known in self.book().marks.values_mut().filter(|known| known.unsettled == Some(txn)) {
            known.unsettled = None;
        }
    }

    /// The store was opened again.
    pub(super) fn lose_unsettled_marks(&mut self) {
        self.book().marks.retain(|_, known| known.unsettled.is_none());
    }
}
