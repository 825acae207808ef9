//! What a store has to do once all faults are over: damage to its accounts shows only when it allocates, frees and reads again.
//!
//! It writes, overwrites and removes keys, in a few durable commits with a checkpoint after each, so that it needs the room
//! that it freed before. The values are ones that nobody has written.

use std::collections::BTreeSet;

use proofmark_model::{Durability, Event, Key, Operation, Value, unique_value};

use super::clients::AUDITOR;
use super::{Interrupt, Session};
use crate::plan::{Action, Begin};

/// The first number that is tried for a value.
const VALUES_FROM: u64 = 1 << 41;
/// How many commits there are.
const COMMIT_COUNT: usize = 3;
/// How many of the keys that are there are overwritten by each, and how many removed.
const KEY_COUNT: usize = 2;

impl Session<'_> {
    /// Writes what nobody has written, and has it checkpointed.
    pub(in crate::run) fn live_on(&mut self) -> Result<(), Interrupt> {
        let mut keys = self.keys().into_iter();
        let mut values = self.unwritten_values();
        for round in 0..COMMIT_COUNT {
            // One of them is longer than a page, so that pages are taken that hold nothing else.
            let long = self.config.page_size as usize + 100;
            let mut put = |key: Key, length: usize| Operation::Put { key, value: values(length) };
            let mut operations = vec![put(format!("later {round}").into_bytes(), long)];
            operations.extend(keys.by_ref().take(KEY_COUNT).map(|key| put(key, 40)));
            operations.extend(keys.by_ref().take(KEY_COUNT).map(|key| Operation::Delete { key }));
            self.act(AUDITOR, &Action::Begin(Begin::Write))?;
            for operation in operations {
                self.act(AUDITOR, &Action::Operation(operation))?;
            }
            self.act(AUDITOR, &Action::Commit(Durability::Sync))?;
            self.checkpoint()?;
        }
        Ok(())
    }

    /// The keys that the store had when it was opened last.
    fn keys(&self) -> Vec<Key> {
        let book = self.book();
        let opened = book.recorder.backwards().find_map(|event| match event {
            Event::Opened { state, .. } => Some(state),
            _ => None,
        });
        opened.into_iter().flatten().map(|(key, _)| key.clone()).collect()
    }

    /// Draws values of any length.
    fn unwritten_values(&self) -> impl FnMut(usize) -> Value + use<> {
        let book = self.book();
        let written: BTreeSet<Value> = (book.recorder.backwards())
            .filter_map(|event| match event {
                Event::Put { value, .. } => Some(value.clone()),
                _ => None,
            })
            .collect();
        let mut numbers = VALUES_FROM..;
        move |length| {
            let mut values = numbers.by_ref().map(|number| unique_value(number, length));
            values.find(|value| !written.contains(value)).expect("numbers don't end")
        }
    }
}
