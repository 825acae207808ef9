//! Excuses: which failures the faults of a history explain, at one point of it.
//!
//! An excuse is as narrow as its fault, and ends with it.
//!
//! - **Transparent** faults excuse nothing.
//! - **A failed I/O call** excuses the call of the store that met it, once: it may say that there is no space if it was told
//!   so, and anything else if not. If the failed call was to change something or to make it durable, or the store says of itself that any
//!   failure is too much for it, it may refuse changes until it is opened again. Whoever opens it starts anew, and so an opening is never refused like that.
//! - **A misread** excuses the call that met it, once: it may say `Corruption`. Who was misled while opening the store may
//!   say so until it is opened again: what it settled for and what there is differ. Nothing may be given up for good
//!   because of one misread; whoever reads again before that may still be misled twice.
//! - **Damage** that lasts excuses `Corruption` until it is healed, by which the bytes are back. Not those that the store gave up on
//!   the strength of wrong ones while it was being opened: if that was cut short before the store had come to a state of
//!   its own, the excuse lasts until it is open.
//! - **A lie** excuses nothing while the power is on, nor when the process dies. A power loss before it is made good takes
//!   what was acknowledged and not durable, and nothing brings that back; so `Corruption` is excused from then on, until
//!   the store was opened after the disk was healed: what it can be opened with is all that it has to answer for.
//!
//! Where clients run at the same time, nobody says in whose call a fault fired. What excuses *the call that met it* then
//! excuses one call of each client that may have been under way: it is over for each as soon as that is heard of again, be it
//! that it was told of the failure, and for all of them when the disk is healed: that is done while nobody waits for an answer.
//! Where a failure doesn't say who was told of it, it may have been any of these.
//!
//! So a store that can't be opened any more after the disk was healed is excused only by a power loss under a lie, or by
//! an opening that was cut short under damage that lasts, or after several misreads, and only if it says `Corruption`.

use std::collections::BTreeSet;

use crate::{Call, ClientId, Event, FaultClass, TxnLabel};

/// What is excused after the events that were [taken](Excuses::take).
///
/// The checkers go by it, and so may a runner that wants to know whether a run has come to its violation.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an excuse of its own")]
pub struct Excuses {
    is_limited: bool,
    /// An I/O call failed during the call of the store of which the outcome comes next.
    has_just_failed: bool,
    /// One of these was told that there is no space.
    had_no_space: bool,
    /// One returned wrong bytes, and will return the right ones.
    has_just_misread: bool,
    /// How often the one who opened the store, or is about to, was given wrong bytes.
    misreads: u32,
    /// One failed that leaves something in doubt, since the store was opened.
    is_in_doubt: bool,
    /// Bytes are damaged.
    is_damaged: bool,
    /// Something was acknowledged that is not durable.
    is_lied_to: bool,
    /// Something was acknowledged and lost, or given up on the strength of damaged bytes.
    is_deprived: bool,
    /// Somebody is opening the store.
    is_opening: bool,
    /// A fault fired that has not been healed, and that is not transparent.
    is_faulty: bool,
    /// Clients have run at the same time since the store was opened.
    is_concurrent: bool,
    /// Whose the open transactions are.
    owners: Vec<(TxnLabel, ClientId)>,
    /// Who has asked for anything since the store was opened.
    clients: BTreeSet<ClientId>,
    /// Who asked last for what concerns the store as a whole.
    upkeep: Option<ClientId>,
    /// Whose calls may have been under way when the last fault fired, and still be.
    unheard: BTreeSet<ClientId>,
}

impl Excuses {
    /// Goes on after `event`.
    pub fn take(&mut self, event: &Event) {
        if self.is_opening && (self.is_damaged || self.misreads > 1) && cuts_an_opening_short(event) {
            self.is_deprived = true;
        }
        self.take_client(event);
        match event {
            Event::Space { bytes } => self.is_limited = bytes.is_some(),
            Event::Fault { failure: Some(failure), .. } => {
                self.is_faulty = true;
                self.unheard.clone_from(&self.clients);
                self.has_just_failed = true;
                self.had_no_space |= failure.is_no_space;
                self.is_in_doubt |= failure.leaves_doubt();
            }
            Event::Fault { class, is_passing, .. } => {
                self.unheard.clone_from(&self.clients);
                self.is_faulty |= *class != FaultClass::Transparent;
                self.is_lied_to |= *class == FaultClass::Lie;
                self.has_just_misread |= *is_passing;
                self.misreads += u32::from(*is_passing && self.is_opening);
                self.is_damaged |= *class == FaultClass::Damage && !is_passing;
            }
            Event::MadeGood => self.is_lied_to = false,
            Event::Healed => (self.is_damaged, self.is_faulty) = (false, false),
            Event::Crash { is_power_loss } => self.is_deprived |= *is_power_loss && self.is_lied_to,
            Event::Opening => (self.is_in_doubt, self.misreads) = (false, 0),
            Event::Opened { .. } => {
                self.is_in_doubt = false;
                self.is_deprived &= self.is_faulty;
            }
            _ => {}
        }
        if !is_beside_the_point(event) && self.unheard.is_empty() {
            (self.has_just_failed, self.had_no_space, self.has_just_misread) = (false, false, false);
        }
        if !is_beside_the_point(event) {
            self.is_opening = matches!(event, Event::Opening);
        }
    }

    /// Takes in which client is heard of.
    fn take_client(&mut self, event: &Event) {
        let owner = |owners: &[(TxnLabel, ClientId)], txn: TxnLabel| {
            owners.iter().find(|(label, _)| *label == txn).map(|(_, client)| *client)
        };
        let client = match event {
            Event::Asked { client, call } => {
                if !self.is_concurrent {
                    self.is_concurrent = true;
                    self.clients.extend(self.owners.iter().map(|(_, client)| *client));
                }
                self.clients.insert(*client);
                if matches!(call, Call::Flush | Call::Changes | Call::Backup) {
                    self.upkeep = Some(*client);
                }
                Some(*client)
            }
            Event::Begin { client, txn, .. } => {
                self.owners.push((*txn, *client));
                Some(*client)
            }
            Event::Refused { client, .. } => Some(*client),
            Event::OutOfSpace { client, .. }
            | Event::GaveUp { client, .. }
            | Event::Poisoned { client, .. }
            | Event::Corrupt { client, .. } => {
                if client.is_none() {
                    // Who fails and is no client has the store to itself: nobody else's call is under way.
                    self.unheard.clear();
                }
                *client
            }
            Event::Durable | Event::Changes { .. } | Event::ChangesRefused { .. } | Event::Backup { .. } => {
                self.upkeep
            }
            Event::Committed { txn, .. } | Event::Aborted { txn } | Event::Denied { txn, .. } => {
                let client = owner(&self.owners, *txn);
                self.owners.retain(|(label, _)| label != txn);
                client
            }
            Event::Opening | Event::Opened { .. } | Event::Closed | Event::Crash { .. } => {
                self.is_concurrent = false;
                self.owners.clear();
                self.clients.clear();
                self.unheard.clear();
                self.upkeep = None;
                None
            }
            Event::Get { txn, .. }
            | Event::Scan { txn, .. }
            | Event::Put { txn, .. }
            | Event::Delete { txn, .. }
            | Event::DeleteRange { txn, .. }
            | Event::Savepoint { txn, .. }
            | Event::Rollback { txn, .. }
            | Event::Submit { txn, .. }
            | Event::Ticket { txn, .. }
                if !self.unheard.is_empty() =>
            {
                owner(&self.owners, *txn)
            }
            Event::Healed => {
                self.unheard.clear();
                None
            }
            _ => None,
        };
        if let Some(client) = client {
            self.unheard.remove(&client);
        }
    }

    /// Whether a call may find no space: of this client, if it is known.
    pub fn out_of_space(&self, client: Option<ClientId>) -> bool {
        self.is_limited || (self.had_no_space && self.may_have_met_it(client))
    }

    /// Whether a call may fail with what the disk said: of this client, if it is known.
    pub fn failure(&self, client: Option<ClientId>) -> bool {
        self.has_just_failed && self.may_have_met_it(client)
    }

    /// Whether the store may refuse changes.
    pub fn poisoned(&self) -> bool {
        self.is_in_doubt
    }

    /// Whether the store may find bytes that it did not write, in a call of this client, if it is known.
    pub fn corruption(&self, client: Option<ClientId>) -> bool {
        let has_just_misread = self.has_just_misread && self.may_have_met_it(client);
        self.is_damaged || has_just_misread || self.misreads > 0 || self.is_deprived
    }

    /// Whose transaction this is, if it is open and clients run at the same time.
    pub fn owner(&self, txn: TxnLabel) -> Option<ClientId> {
        let owner = self.owners.iter().find(|(label, _)| *label == txn);
        owner.filter(|_| self.is_concurrent).map(|(_, client)| *client)
    }

    /// Whether the last fault may have fired in a call of this client that is not over.
    fn may_have_met_it(&self, client: Option<ClientId>) -> bool {
        self.unheard.is_empty() || client.is_none_or(|client| self.unheard.contains(&client))
    }

    /// Whether something was acknowledged that is not durable.
    pub fn is_lied_to(&self) -> bool {
        self.is_lied_to
    }
}

/// Whether an event comes between a call of the store and its outcome.
pub(super) fn is_beside_the_point(event: &Event) -> bool {
    matches!(event, Event::Fault { .. } | Event::MadeGood)
}

/// Whether an attempt to open a store that ends with this may have changed something by then. One that reports corruption
/// has changed nothing; a store that reports it after it was opened has.
pub(super) fn cuts_an_opening_short(event: &Event) -> bool {
    match event {
        Event::Crash { .. } | Event::GaveUp { .. } | Event::OutOfSpace { .. } => true,
        Event::Corrupt { what, .. } => what != "open",
        _ => false,
    }
}
