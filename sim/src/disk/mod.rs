//! SimDisk: a file system in memory that forgets, at a power loss, exactly what a real one may forget.
//!
//! A store runs on [`SimDisk::vfs`] and can't tell it from a file system that never fails, until the power is lost: at
//! an I/O call chosen with [`SimDisk::arm`], or now with [`SimDisk::power_off`]. From then on every call of that
//! *incarnation* fails with `EIO` and changes nothing, so that the store can be dropped in peace. [`SimDisk::crash`]
//! then decides what survived and starts the next incarnation, on which the store is to recover.
//!
//! # The fault model
//!
//! Each change that a call makes is visible to every later call at once, and is a *pending effect* until a sync covers
//! it. All pending effects stand in one global sequence. A write has up to two: the file's new size, if it grows, and
//! then its bytes.
//!
//! **What may happen at a power loss**
//!
//! 1. Any subset of the pending effects survives; [`Keep`] says which. Survivors are applied to the durable state in
//!    their order, but a later effect may survive an earlier one: nothing but a sync orders two effects, unless an
//!    [`Order`] or a rule for [`Sizes`] does, as a [`Profile`] of a real file system sets them.
//! 2. A write may be torn: each of its granules, aligned to the file's offsets and of a size that [`Granule`] sets,
//!    survives or vanishes on its own. A granule that survives holds what the file showed there after that write: it
//!    carries what earlier pending writes put into it, and the zeros of what was cut off, even where these were not
//!    chosen to survive. In each granule of a file the survivors are thus the earliest of the writes to it.
//! 3. Size and bytes part: a file may have grown without its new bytes, which then read as zeros; bytes may have been
//!    written beyond a growth that is lost, and are then gone for good, even if the file grows later; a truncation may
//!    not have happened, and then the old bytes are back, but for granules that a write after it makes survive.
//! 4. A created, renamed or removed name may not have been, file by file; see [`DirectoryPersistence`] for the sync
//!    that prevents it. The file of a lost name is gone with all its bytes, synced or not; a file that was removed or
//!    replaced may be back.
//! 5. Bytes may be durable without any sync: a file that has gathered more than [`DiskOptions::dirty_bytes_max`] of
//!    pending bytes is written back.
//! 6. It may strike at any I/O call, before or after the call took effect, while the store recovers as well.
//! 7. The store's process may die alone ([`Keep::PageCache`]): the next incarnation reads everything that was written,
//!    none of which is any more durable than before. A file that was removed for good and only still open is gone. Of
//!    a write that was under way only the first granules may be there ([`Moment::During`]).
//! 8. The disk may be full: see [`SimDisk::limit_space`].
//! 9. A call may fail, or go wrong in other ways: see [`Fault`].
//!
//! **What may not happen**
//!
//! 1. What a successful sync covered is never lost, and never changes but by a later effect.
//! 2. No byte is invented: a granule holds what the file showed there at some moment since its last sync, whole,
//!    except that what lies beyond a size that survived is zeros, and that bytes which a failed sync has dropped give
//!    way to the durable ones: these then stand beside what was written and synced since.
//! 3. A rename is one effect: the new name leads to the old file or to the new one, and a replaced name never to none.
//!    A file never has two names.
//! 4. Nothing of a dead incarnation reaches the disk: not through a handle that is still open, not by dropping it.
//! 5. A sync covers one file or one directory. It makes nothing else durable, except as [`DirectoryPersistence`] says,
//!    and what an [`Order`] or a rule for [`Sizes`] demands before any of that.
//!
//! **What a correct store must survive** is all of the first list, in every combination and again during recovery: it
//! must come back with everything that it acknowledged after a sync, and nothing by halves.
//!
//! # Faults
//!
//! While the power is on a [`Fault`] may strike, of one of four [classes](proofmark_model::FaultClass). Each says
//! what may happen, what a correct store must survive, and what it may report as an error. Two rules hold for all: a
//! store never returns wrong data, and never crashes the process that it lives in.
//!
//! - **Transparent**: a read or a write does less than it was asked to, or nothing, and says so (short reads, short
//!   writes, `EINTR`). A store goes on and reports nothing.
//! - **Environment**: a call fails, with any error that the system has ([`Errno`](errno::Errno)), and has had no
//!   effect: no memory, no file handle, no room, no permission, or a device that failed. A write may have written a
//!   part. A store may report the error, to whoever asked for what it could not do; it must not acknowledge that.
//!   What it acknowledged before stays, what it refused never appears by halves, and once calls succeed again, or it
//!   was opened again, it works as before.
//! - **A sync that fails** is of that class too, and comes in six ways. The pending effects stay pending
//!   ([`IoError`](FaultKind::IoError)), so that a second sync would do; they are dropped as if they were clean, still
//!   shown and never durable ([`SyncLost`](FaultKind::SyncLost)), or no longer shown
//!   ([`SyncReverted`](FaultKind::SyncReverted)); they are durable after all ([`SyncLate`](FaultKind::SyncLate)); the
//!   failure is that of an earlier write-back which nobody has heard of
//!   ([`WriteBackLost`](FaultKind::WriteBackLost)); or nothing can be changed any more
//!   ([`SyncReadOnly`](FaultKind::SyncReadOnly)). A directory's entries are dropped likewise
//!   ([`DirectorySyncLost`](FaultKind::DirectorySyncLost)). A store can't tell these apart: after a failed sync it
//!   knows neither what is durable nor whether what it reads is. It must acknowledge nothing that a later sync of the
//!   same file seems to cover, and may refuse all changes until it was opened again; it must then not take what it
//!   reads for durable.
//! - **Damage**: the medium does not hold, or a read does not return, what was written (bit rot, lost, misdirected
//!   and swapped writes, stale and misdirected reads). What is damaged is damaged for every read, image and fork,
//!   over power losses, until it is written again. A store may report `Corruption`, whatever it is asked for, even
//!   that it can't be opened. Where nothing vouches for the end of its log, it may lose that end.
//! - **Lie**: a sync succeeds, and some or all of what it covers is still pending, in whatever order its profile would
//!   have made it durable. A store can do nothing about that.
//!   After the next power loss an earlier state may be back, or `Corruption` reported, since the order of syncs is
//!   what every store builds on; but no state that never was. Once all that was acknowledged is durable
//!   ([`SimDisk::has_lied`]) nothing is excused any more.
//!
//! Faults lie over pristine bytes: [`SimDisk::heal`] switches them off and brings back what was written, and from
//! then on only the rules of power losses hold. What a failed sync has dropped is not damage, and stays lost.
//!
//! # Structure
//!
//! The bytes are copy-on-write pages (`pages`), a file is its volatile and durable contents and its pending effects
//! (`inode`, `effect`), names live in `directory`, `state` is the way every call takes and the power loss, `operations`
//! what each call does, `vfs` the store's view. Deciding what survives (`crash`, `choice`) sees no bytes, `order` drops what
//! misses something that it needs, `granules` extends the choice by what it carries along, `pending` shows what there is
//! to decide, `faults` is the table of what goes wrong and when, which is asked at a handful of places, `damage` keeps the
//! pristine bytes under damaged ones, `held` knows when a write that was held back does damage, `lies` remembers what was acknowledged too early, `space` is a disk that is full, and
//! the trace (`trace`) only listens.
//!
//! **Never**: a clock, a thread's identity, a hash map's order, or a random number that doesn't come from a seed in
//! [`Keep`] or in a [`Fault`]. The same calls on the same disk give the same bytes, the same errors and the same
//! [`trace_hash`](SimDisk::trace_hash).

mod boundaries;
mod callers;
mod choice;
mod crash;
mod damage;
mod directory;
mod effect;
pub mod errno;
mod faults;
mod granules;
mod held;
mod inode;
mod lies;
mod operations;
mod options;
mod order;
mod pages;
mod pending;
mod space;
mod state;
#[cfg(test)]
mod tests;
mod trace;
mod vfs;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proofmark_vfs::Vfs;

pub use self::boundaries::Boundary;
pub(crate) use self::boundaries::Kept;
pub use self::callers::Caller;
pub use self::choice::{Choice, Survival};
pub use self::crash::{CrashPoint, CrashReport, Keep, Moment};
pub use self::faults::{Fault, FaultKind, Fired, Glob, IoKind, Occasion, Scope};
pub use self::options::{DirectoryPersistence, DiskOptions, DiskStats, Granule, ParseError};
pub use self::order::{Order, Profile, Sizes};
pub use self::pending::{EffectKind, PendingEffect};
pub use self::trace::{IoCall, IoOperation, IoOutcome, TraceEvent};

use self::state::State;

/// The fault-injecting disk. Clones are handles to the same disk; [`fork`](Self::fork) makes another one.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    /// An empty disk: a root directory and nothing in it.
    #[must_use]
    pub fn new(options: DiskOptions) -> Self {
        Self(Arc::new(Mutex::new(State::new(options))))
    }

    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> DiskOptions {
        self.lock().options
    }

    /// The file system of the current incarnation. Paths start in the root, with or without a leading `/`.
    #[must_use]
    pub fn vfs(&self) -> Arc<dyn Vfs> {
        let incarnation = self.lock().incarnation;
        Arc::new(vfs::SimVfs { disk: self.clone(), incarnation })
    }

    /// Creates a directory, and those above it, durable from the start. It is no I/O call: whoever prepares a disk for
    /// a store does what an administrator would have done long ago.
    ///
    /// # Errors
    /// `ENOTDIR` if a file is in the way, `EINVAL` if the path holds `..`.
    pub fn prepare_directory(&self, path: &Path) -> io::Result<()> {
        self.lock().prepare_directory(path)
    }

    /// Removes everything, durably, as an administrator does who starts anew. Whatever is open is dead from then on, and a
    /// new [`vfs`](Self::vfs) has to be taken. It is no I/O call.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Sets the power loss that is to come, instead of the one that was set before. A power loss clears it.
    ///
    /// # Panics
    /// If the call is 0: the next call is 1.
    pub fn arm(&self, point: CrashPoint) {
        self.lock().arm(point);
    }

    /// Calls off the power loss that was set.
    pub fn disarm(&self) {
        self.lock().disarm();
    }

    /// Lets no more than so many calls come, from now on, those that are refused after a power loss included: at the next one
    /// after these the store panics, and the power is gone. Whoever goes on all the same panics again after as many. Who
    /// bounds them anew starts counting anew.
    pub fn bound_calls(&self, count: u64) {
        self.lock().bound_calls(count);
    }

    /// Whether more calls were tried than [the bound](Self::bound_calls) allows.
    #[must_use]
    pub fn has_strayed(&self) -> bool {
        self.lock().has_strayed
    }

    /// Cuts the power now, between two calls.
    pub fn power_off(&self) {
        self.lock().power_off();
    }

    /// Whether the power has been lost and [`crash`](Self::crash) has not been called since.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.lock().power_lost
    }

    /// The call at which the last power loss struck; `None` if there was none, or if it struck between calls.
    #[must_use]
    pub fn crash_site(&self) -> Option<IoCall> {
        self.lock().crash_site.clone()
    }

    /// Materialises the power loss, cutting the power first if that has not happened: what was durable and what `keep`
    /// lets survive is all there is from now on. Starts the next incarnation; take a new [`vfs`](Self::vfs).
    pub fn crash(&self, keep: &Keep) -> CrashReport {
        self.lock().crash(keep)
    }

    /// Leaves room for so many bytes more, rounded down to pages of 4096 bytes; `None` takes the limit away. Beyond it
    /// writes are short, or fail with `ENOSPC`. A limit stays across power losses.
    pub fn limit_space(&self, room: Option<u64>) {
        self.lock().limit_space(room);
    }

    /// Plants a fault, for everybody to know; returns its index among all that were planted. It stays planted across
    /// power losses.
    ///
    /// # Panics
    /// If the fault's occasion is number 0, its rate not from 1 to 1000, or its count 0.
    pub fn plant(&self, fault: Fault) -> usize {
        self.lock().faults.plant(fault, true)
    }

    /// Plants a fault that nobody is told of and that [`heal`](Self::heal) leaves alone, to prove that it is noticed;
    /// returns its index among all that were planted.
    ///
    /// # Panics
    /// As [`plant`](Self::plant) does.
    pub fn sabotage(&self, fault: Fault) -> usize {
        self.lock().faults.plant(fault, false)
    }

    /// Switches off every fault that was planted with [`plant`](Self::plant), and ends all damage: each file holds what was
    /// written to it. What a failed sync lost stays lost, and a lie stays a lie.
    pub fn heal(&self) {
        self.lock().heal();
    }

    /// What was planted, in that order, and how often each has struck.
    #[must_use]
    pub fn firings(&self) -> Vec<(Fault, u64)> {
        self.lock().faults.firings()
    }

    /// What has struck, or was felt of an earlier strike, since the last time, in order: the latest 65,536.
    #[must_use]
    pub fn take_fired(&self) -> Vec<Fired> {
        self.lock().faults.take_fired()
    }

    /// Whether something that a sync acknowledged is still not durable. Ask before [`crash`](Self::crash): a power loss ends
    /// the lie, one way or the other. The death of the process doesn't.
    #[must_use]
    pub fn has_lied(&self) -> bool {
        self.lock().has_lied()
    }

    /// How many I/O calls have been made: each call of a method of the traits is one, whether it succeeds or not,
    /// except for those that a power loss refuses.
    #[must_use]
    pub fn io_calls(&self) -> u64 {
        self.lock().io_calls
    }

    /// What a power loss now would decide about, in the global order.
    #[must_use]
    pub fn pending(&self) -> Vec<PendingEffect> {
        self.lock().pending_list()
    }

    /// The disk as a power loss now would leave it, with these survivors, or as the death of the process alone would, for
    /// [`Keep::PageCache`]. This disk goes on as if nothing had happened, and shares its pages with the other.
    /// The image is not traced: it has no [`trace_hash`](Self::trace_hash).
    #[must_use]
    pub fn image(&self, keep: &Keep) -> Self {
        let image = self.fork();
        image.lock().trace.silence();
        image.crash(keep);
        image
    }

    /// How many effects are pending.
    #[must_use]
    pub fn pending_effects(&self) -> usize {
        self.lock().pending_count()
    }

    /// What has been done so far.
    #[must_use]
    pub fn stats(&self) -> DiskStats {
        self.lock().stats
    }

    /// Hash of every I/O call, its bytes and its outcome, and of every power loss, in order.
    ///
    /// # Panics
    /// If the disk is an [`image`](Self::image) or comes from one.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.lock().trace.hash()
    }

    /// Starts or stops keeping the events themselves: the latest million.
    ///
    /// # Panics
    /// If the disk is an [`image`](Self::image) or comes from one.
    pub fn record_trace(&self, recording: bool) {
        self.lock().trace.record(recording);
    }

    /// The events recorded since the last time.
    #[must_use]
    pub fn take_trace(&self) -> Vec<TraceEvent> {
        self.lock().trace.take()
    }

    /// The same, each with the [`trace_hash`](Self::trace_hash) after it.
    #[must_use]
    pub fn take_hashed_trace(&self) -> Vec<(u64, TraceEvent)> {
        self.lock().trace.take_hashed()
    }

    /// From now on counts the [boundaries](Boundary), and keeps some of them. Forks keep none.
    pub(crate) fn keep_boundaries(&self, wanted: Kept) {
        self.lock().keep_boundaries(wanted);
    }

    /// The boundaries that were kept since the last time, and the numbers of the calls at all that there were.
    pub(crate) fn take_boundaries(&self) -> (Vec<Boundary>, Vec<u64>) {
        self.lock().take_boundaries()
    }

    /// Another disk in the same state, sharing pages until one of the two changes them. Nobody has a file open or
    /// locked on it, no power loss is set, and its record is empty; what has [fired](Self::take_fired) is told on both.
    #[must_use]
    pub fn fork(&self) -> Self {
        let fork = self.lock().fork();
        Self(Arc::new(Mutex::new(fork)))
    }

    /// Hash of the durable names, sizes and bytes: of what a power loss now would leave if nothing pending survived.
    #[must_use]
    pub fn image_hash(&self) -> u64 {
        self.lock().image_hash()
    }

    /// Hash of all that a life on this disk depends on, which a power loss has just left: the [image](Self::image_hash), the
    /// bytes under damaged ones, the room, and the faults, those that may strike yet and those not heard of.
    pub(crate) fn state_hash(&self) -> u64 {
        self.lock().state_hash()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new(DiskOptions::default())
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SimDisk").finish_non_exhaustive()
    }
}
