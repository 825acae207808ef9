//! What both sides are made of: a node with a disk, a store on it, and a task that ends as soon as its store fails.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proofmark_model::KeyRange;
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;

use super::follower::Apply;
use super::ledger::{Ledger, Pairs};
use super::world::{Setup, Side, World};
use crate::disk::SimDisk;
use crate::random::Streams;
use crate::run::catch;
use crate::schedule::tasks::{Clock, sleep_until};
use crate::store::{Store, StoreError, StoreFactory};

/// What outlives every process of a world.
pub(super) struct Shared {
    pub(super) world: World,
    pub(super) factory: Arc<dyn StoreFactory>,
    pub(super) apply: Apply,
    /// By side.
    pub(super) disks: [SimDisk; 2],
    /// How often each side has been started.
    lives: [AtomicU64; 2],
    /// The number of the next value.
    number: AtomicU64,
    ledger: Mutex<Ledger>,
    /// Who has died, and in which life.
    news: mpsc::UnboundedSender<(Side, u64)>,
}

/// A side in one of its lives, with its store open.
pub(super) struct Host {
    pub(super) side: Side,
    pub(super) shared: Arc<Shared>,
    life: u64,
    store: RefCell<Box<dyn Store>>,
    clock: RefCell<Clock>,
}

/// The store can't be asked any more: its power has failed, or it has, which the ledger knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Down;

impl Shared {
    pub(super) fn new(
        world: World,
        factory: Arc<dyn StoreFactory>,
        apply: Apply,
        news: mpsc::UnboundedSender<(Side, u64)>,
    ) -> Shared {
        let disks = Side::BOTH.map(|side| SimDisk::new(world.setups[side as usize].disk));
        let lives = Default::default();
        let (number, ledger) = (AtomicU64::new(1), Mutex::new(Ledger::new()));
        Shared { world, factory, apply, disks, lives, number, ledger, news }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn disk(&self, side: Side) -> &SimDisk {
        &self.disks[side as usize]
    }

    pub(super) fn setup(&self, side: Side) -> &Setup {
        &self.world.setups[side as usize]
    }

    /// How often a side has been started.
    pub(super) fn life(&self, side: Side) -> u64 {
        self.lives[side as usize].load(Ordering::Relaxed)
    }

    /// A number that no value has yet.
    pub(super) fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    /// Sorts the outcome of a call of a side's store.
    fn sort<T>(
        &self,
        side: Side,
        life: u64,
        what: &str,
        outcome: Result<Result<T, StoreError>, String>,
    ) -> Result<T, Down> {
        let outcome = match outcome {
            // What it says was never heard.
            Ok(_) if self.disk(side).has_crashed() => None,
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => Some(panic),
        };
        if let Some(error) = outcome {
            self.ledger().fail("store-failed", format!("{side} failed to {what}: {error}"));
        }
        // Whoever runs the world listens until it is over.
        let _ = self.news.send((side, life));
        Err(Down)
    }
}

impl Host {
    /// Opens a side's store, and checks it; returns it with all that it holds.
    pub(super) async fn open(shared: &Arc<Shared>, side: Side) -> Result<(Host, Pairs), Down> {
        // Relaxed: one thread runs all tasks of a world.
        let life = shared.lives[side as usize].fetch_add(1, Ordering::Relaxed) + 1;
        let config = &shared.setup(side).config;
        let disk = shared.disk(side);
        let opened = catch(|| shared.factory.open(disk.vfs(), config));
        let store = RefCell::new(shared.sort(side, life, "open", opened)?);
        let clock = RefCell::new(Clock::new(stream(shared.world.seed, side, "clock", life)));
        let host = Host { side, shared: Arc::clone(shared), life, store, clock };
        let pairs = host.ask("read", read_all).await?;
        host.ask("verify itself", |store| store.verify()).await?;
        Ok((host, pairs))
    }

    /// Asks the store for something, and waits for as long as its I/O calls take.
    pub(super) async fn ask<T>(
        &self,
        what: &str,
        ask: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, Down> {
        let disk = self.shared.disk(self.side);
        let before = disk.stats();
        let caught = catch(|| ask(&mut **self.store.borrow_mut()));
        let answer = self.shared.sort(self.side, self.life, what, caught)?;
        let done = self.clock.borrow_mut().done(&before, &disk.stats());
        sleep_until(done).await;
        Ok(answer)
    }

    /// A stream of choices for one task of this life.
    pub(super) fn stream(&self, name: &str) -> ChaCha8Rng {
        stream(self.shared.world.seed, self.side, name, self.life)
    }

    /// When a pause is over that lasts so long on average.
    pub(super) fn pause(&self, mean: Duration) -> Duration {
        let mut clock = self.clock.borrow_mut();
        clock.now() + clock.pause(mean)
    }

    /// Writes down what happened.
    pub(super) fn note(&self, what: &str) {
        let now = self.clock.borrow().now();
        self.shared.ledger().note(now, &format!("{}: {what}", self.side));
    }

    /// Asks for checkpoints until the node dies.
    pub(super) async fn keep(&self) -> Result<(), Down> {
        loop {
            let now = self.clock.borrow().now();
            sleep_until(now + self.shared.setup(self.side).checkpoint_every).await;
            let shared = &self.shared;
            self.ask("checkpoint", |store| {
                let is_durable = store.checkpoint()?;
                let vouches =
                    is_durable && self.side == Side::Leader && !shared.disk(self.side).has_crashed();
                if let Some(latest) = store.latest().filter(|_| vouches) {
                    shared.ledger().shown(latest);
                }
                Ok(())
            })
            .await?;
        }
    }
}

fn stream(seed: u64, side: Side, name: &str, life: u64) -> ChaCha8Rng {
    Streams::new(seed).stream(&format!("replica: {name} of {side} in life {life}"))
}

/// Everything that a store holds.
pub(super) fn read_all(store: &mut dyn Store) -> Result<Pairs, StoreError> {
    let mut reader = store.begin_read()?;
    let pairs = reader.scan(&KeyRange::all(), usize::MAX, false)?;
    reader.abort()?;
    Ok(pairs)
}
