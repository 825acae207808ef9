//! Writes that are held back, and when they do damage.
//!
//! A held write is shown, and every sync passes it over, until the next write to its file *releases* it: then it takes
//! effect once more, after that write. That it was held back damages nothing. Damage is *felt* at two moments, of which
//! neither need lie in the incarnation that wrote it:
//!
//! - A power loss, or a sync that fails, takes the write although a sync has passed it over: until then its writer has been
//!   told that it is durable. That may happen after its release, too, while no further sync has covered it.
//! - At its release it overwrites newer bytes.
//!
//! What was neither passed over nor has overwritten anything is a pending write like any other, and may be lost.

use super::faults::Fired;

/// The held writes of a file: of those that are not released there is one at most.
#[derive(Debug, Clone, Default)]
pub(super) struct HeldWrites {
    writes: Vec<HeldWrite>,
    felt: Vec<Fired>,
}

#[derive(Debug, Clone)]
struct HeldWrite {
    /// Its place in the global sequence of effects.
    place: u64,
    is_released: bool,
    /// Whether a sync has passed it over, so that it has to be durable.
    is_owed: bool,
    /// Whether no sync will ever cover it.
    is_lost: bool,
    /// The fault that held it back, once that is on record.
    fired: Option<Fired>,
}

impl HeldWrite {
    fn is_held_at(&self, place: u64) -> bool {
        self.place == place && !self.is_released
    }
}

impl HeldWrites {
    /// Whether there are none, so that nothing is passed over.
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The write that was just made is held back.
    pub(super) fn hold(&mut self, place: u64) {
        let write = HeldWrite { place, is_released: false, is_owed: false, is_lost: false, fired: None };
        self.writes.push(write);
    }

    /// The fault that held back the latest write.
    pub(super) fn attribute(&mut self, fired: &Fired) {
        if let Some(write) = self.writes.last_mut() {
            write.fired.get_or_insert_with(|| fired.clone());
        }
    }

    /// Something makes the effect at this place durable: whether it becomes so, because it is not held back.
    pub(super) fn persist(&mut self, place: u64) -> bool {
        if let Some(held) = self.writes.iter_mut().find(|write| write.is_held_at(place)) {
            held.is_owed = true;
            return false;
        }
        self.writes.retain(|write| write.place != place || write.is_lost);
        true
    }

    /// Ends the holding back, and returns which write is to take effect once more.
    pub(super) fn release(&mut self) -> Option<u64> {
        let held = self.writes.iter_mut().find(|write| !write.is_released)?;
        held.is_released = true;
        Some(held.place)
    }

    /// A released write has taken effect at another place, and may have overwritten what was written since.
    pub(super) fn land(&mut self, from: u64, to: u64, has_overwritten: bool) {
        let Some(index) = self.writes.iter().position(|write| write.place == from) else { return };
        let write = &mut self.writes[index];
        write.place = to;
        if has_overwritten {
            self.felt.extend(write.fired.clone());
        }
        self.forget_unless_owed();
    }

    /// Ends the holding back of a write that stays where it is.
    pub(super) fn end(&mut self) {
        if self.release().is_some() {
            self.forget_unless_owed();
        }
    }

    /// Forgets those that are not among these effects any more, because they are durable.
    pub(super) fn keep(&mut self, is_pending: impl Fn(u64) -> bool) {
        self.writes.retain(|write| write.is_lost || is_pending(write.place));
    }

    /// Whether the effect at this place has to be durable.
    pub(super) fn is_owed(&self, place: u64) -> bool {
        self.writes.iter().any(|write| write.place == place && write.is_owed && !write.is_lost)
    }

    /// A power loss has taken the effect at this place.
    pub(super) fn take(&mut self, place: u64) {
        self.writes.iter_mut().filter(|write| write.place == place).for_each(|write| write.is_lost = true);
    }

    /// No sync will cover what is pending.
    pub(super) fn lose(&mut self) {
        self.writes.retain(|write| write.is_owed);
        for write in &mut self.writes {
            (write.is_released, write.is_lost) = (true, true);
        }
    }

    /// What is lost is not shown any more, and nothing is held back.
    pub(super) fn restart(&mut self) {
        let lost = self.writes.drain(..).filter(|write| write.is_lost);
        self.felt.extend(lost.filter_map(|write| write.fired));
    }

    /// The faults of which damage was felt since the last time.
    pub(super) fn take_felt(&mut self) -> Vec<Fired> {
        std::mem::take(&mut self.felt)
    }

    fn forget_unless_owed(&mut self) {
        self.writes.retain(|write| write.is_owed || !write.is_released);
    }
}
