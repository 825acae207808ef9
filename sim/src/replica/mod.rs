//! A small replicated world: a leader that is written to, and a follower that takes in its commit stream over a network.
//!
//! ```text
//!  writer ──► leader's store ──changes──► messages ──► follower's store
//!                  │                 late, lost, cut off        │
//!                its disk                                    its disk
//! ```
//!
//! Both are nodes of madsim's, with a disk each, and either may lose its power at any I/O call, or be killed between two. The
//! follower keeps its place in the stream in its own store, in the transaction that takes in what comes before that place. So
//! whatever happens to whom, what the follower holds is what the leader once held, as of one commit; and once all trouble is
//! over it is what the leader holds. A leader that comes back never lacks what a follower has seen.
//!
//! This is the commit stream before a consumer that depends on it. It shows what a stream must promise for that: it is durable
//! before it is seen, it has no gaps, and who has fallen behind is told so.
//!
//! - [`world`]: what a seed draws.
//! - [`leader`], [`follower`]: the two sides; [`host`]: what they have in common; [`message`]: what they say.
//! - [`ledger`]: the truth, and who broke it.

mod follower;
mod host;
mod leader;
mod ledger;
mod message;
mod world;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use madsim::net::NetSim;
use madsim::runtime::Handle;
use madsim::task::NodeId;
use madsim::time::TimeHandle;
use proofmark_model::Violation;
use tokio::sync::mpsc;

pub use self::follower::{Apply, PLACE, Portion, apply};
use self::host::Shared;
pub use self::world::Side;
use self::world::{Trouble, World};
use crate::disk::Keep;
use crate::random::Streams;
use crate::schedule::tasks::{Clock, Disks, in_a_world};
use crate::store::StoreFactory;

const LEADER_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 1);
const FOLLOWER_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 1);

/// So long a follower may take to catch up when all trouble is over.
const CATCHING_UP_MAX: Duration = Duration::from_secs(120);
/// So often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What came of a replicated world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaRun {
    /// Whether both sides held what they had to hold.
    pub verdict: Result<(), Violation>,
    /// Hash of everything that happened, with its moment.
    pub trace_hash: u64,
    /// What happened, in numbers.
    pub stats: ReplicaStats,
    /// What happened, a line each. A violation's step is the line after which it was found.
    pub lines: Vec<String>,
}

/// Sums over a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicaStats {
    /// What the leader committed.
    pub commits: u64,
    /// What the follower took in, commit by commit.
    pub applied: u64,
    /// How often it had fallen behind, and took in everything.
    pub fresh_starts: u64,
    /// Its questions that were not answered in time.
    pub unanswered: u64,
    /// Answers that came when nobody waited for them any more.
    pub late_answers: u64,
    /// Power losses of the leader, and deaths of its process.
    pub leader_deaths: u64,
    /// And of the follower.
    pub follower_deaths: u64,
    /// How often a side was cut off.
    pub cuts: u64,
    /// Messages that got through.
    pub messages: u64,
    /// How much virtual time has passed, in microseconds.
    pub virtual_us: u64,
}

impl AddAssign<&ReplicaStats> for ReplicaStats {
    fn add_assign(&mut self, other: &ReplicaStats) {
        let ReplicaStats {
            commits,
            applied,
            fresh_starts,
            unanswered,
            late_answers,
            leader_deaths,
            follower_deaths,
            cuts,
            messages,
            virtual_us,
        } = other;
        self.commits += commits;
        self.applied += applied;
        self.fresh_starts += fresh_starts;
        self.unanswered += unanswered;
        self.late_answers += late_answers;
        self.leader_deaths += leader_deaths;
        self.follower_deaths += follower_deaths;
        self.cuts += cuts;
        self.messages += messages;
        self.virtual_us += virtual_us;
    }
}

/// Lets the world of a seed happen, with two stores of this kind, and a follower that takes in its portions like this.
pub fn run(seed: u64, factory: &Arc<dyn StoreFactory>, apply: Apply) -> ReplicaRun {
    in_a_world(seed, async |disks| live(seed, Arc::clone(factory), apply, Some(disks)).await)
}

/// As [`run`], in the world of madsim's that is running, instead of one of its own: for madsim's check of determinism.
pub async fn run_here(seed: u64, factory: Arc<dyn StoreFactory>, apply: Apply) -> ReplicaRun {
    live(seed, factory, apply, None).await
}

async fn live(seed: u64, factory: Arc<dyn StoreFactory>, apply: Apply, disks: Option<&Disks>) -> ReplicaRun {
    let (news, heard) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared::new(World::draw(seed), factory, apply, news));
    let mut stage = Stage::new(&shared, disks);
    stage.play(heard).await;
    let virtual_us = u64::try_from(TimeHandle::current().elapsed().as_micros()).unwrap_or(u64::MAX);
    let mut ledger = stage.shared.ledger();
    let (verdict, trace_hash, lines) = ledger.finish();
    let stats = ReplicaStats { messages: stage.net.stat().msg_count, virtual_us, ..ledger.stats };
    ReplicaRun { verdict, trace_hash, stats, lines }
}

/// What is to happen.
#[derive(Debug)]
enum Cue {
    Trouble(Trouble),
    /// A side starts again.
    Restart(Side),
    /// All trouble is over.
    Calm,
    /// Whether the follower has caught up.
    Look,
}

/// Both nodes, and what happens to them.
struct Stage<'d> {
    shared: Arc<Shared>,
    disks: Option<&'d Disks>,
    handle: Handle,
    net: Arc<NetSim>,
    clock: Clock,
    /// By side.
    nodes: [NodeId; 2],
    is_up: [bool; 2],
    /// What survives the strike that is armed.
    keeps: [Option<Keep>; 2],
    /// By moment, and by the order in which they were put down.
    cues: BTreeMap<(Duration, usize), Cue>,
    cue_count: usize,
}

impl<'d> Stage<'d> {
    fn new(shared: &Arc<Shared>, disks: Option<&'d Disks>) -> Stage<'d> {
        let handle = Handle::current();
        let world = &shared.world;
        let clock = Clock::new(Streams::new(world.seed).stream("replica clock"));
        let nodes = Side::BOTH.map(|side| build_node(&handle, shared, side));
        for side in Side::BOTH {
            if let Some(disks) = disks {
                disks.mount(nodes[side as usize], shared.disk(side).clone());
            }
        }
        let mut stage = Stage {
            shared: Arc::clone(shared),
            disks,
            handle,
            net: NetSim::current(),
            clock,
            nodes,
            is_up: [true; 2],
            keeps: [None, None],
            cues: BTreeMap::new(),
            cue_count: 0,
        };
        for (moment, trouble) in &world.troubles {
            stage.put_down(*moment, Cue::Trouble(trouble.clone()));
        }
        stage.put_down(world.calm_from, Cue::Calm);
        stage
    }

    fn put_down(&mut self, moment: Duration, cue: Cue) {
        self.cue_count += 1;
        self.cues.insert((moment, self.cue_count), cue);
    }

    /// Plays all cues, and sees to the dead, until the follower has caught up.
    async fn play(&mut self, mut heard: mpsc::UnboundedReceiver<(Side, u64)>) {
        while let Some(((moment, _), _)) = self.cues.first_key_value()
            && !self.shared.ledger().has_failed()
        {
            let rest = moment.saturating_sub(self.clock.now());
            match TimeHandle::current().timeout(rest, heard.recv()).await {
                // Word of an earlier life comes too late.
                Ok(Some((side, life))) if life == self.shared.life(side) && self.is_up[side as usize] => {
                    let keep = self.keeps[side as usize].take().unwrap_or(Keep::None);
                    self.bury(side, &keep);
                }
                Ok(_) => {}
                Err(_) => {
                    let (_, cue) = self.cues.pop_first().expect("it was just there");
                    self.play_cue(cue);
                }
            }
        }
    }

    fn play_cue(&mut self, cue: Cue) {
        match cue {
            Cue::Trouble(trouble) => self.make(trouble),
            Cue::Restart(side) => {
                self.is_up[side as usize] = true;
                self.handle.restart(self.nodes[side as usize]);
            }
            Cue::Calm => {
                self.note("calm");
                for side in Side::BOTH {
                    self.shared.disk(side).disarm();
                    self.net.unclog_node(self.nodes[side as usize]);
                }
                self.net.update_config(|config| *config = madsim::net::Config::default());
                self.put_down(self.clock.now() + LOOK_EVERY, Cue::Look);
            }
            Cue::Look => {
                let mut ledger = self.shared.ledger();
                if self.is_up == [true; 2] && ledger.is_even() {
                    return;
                }
                let now = self.clock.now();
                if now > self.shared.world.calm_from + CATCHING_UP_MAX {
                    let message = format!("{CATCHING_UP_MAX:?} after all trouble {}", ledger.standing());
                    return ledger.fail("follower-does-not-catch-up", message);
                }
                drop(ledger);
                self.put_down(now + LOOK_EVERY, Cue::Look);
            }
        }
    }

    fn make(&mut self, trouble: Trouble) {
        self.note(&format!("{trouble:?}"));
        match trouble {
            Trouble::Strike(side, point, keep) => {
                self.shared.disk(side).arm(point);
                self.keeps[side as usize] = Some(keep);
            }
            Trouble::Kill(side, keep) if self.is_up[side as usize] => self.bury(side, &keep),
            // Who is dead already can't die.
            Trouble::Kill(..) => {}
            Trouble::Cut(side) => {
                self.net.clog_node(self.nodes[side as usize]);
                self.shared.ledger().stats.cuts += 1;
            }
            Trouble::Join => self.nodes.iter().for_each(|node| self.net.unclog_node(*node)),
            Trouble::Weather { lost_share, latency } => self.net.update_config(|config| {
                config.packet_loss_rate = lost_share as f64 / 1000.0;
                config.send_latency = latency;
            }),
        }
    }

    /// A side dies, or has died: its power is off, and this survives of what it had not synced.
    fn bury(&mut self, side: Side, keep: &Keep) {
        self.handle.kill(self.nodes[side as usize]);
        let disk = self.shared.disk(side);
        if self.disks.is_none() {
            disk.power_off();
        }
        assert!(disk.has_crashed(), "a node that is killed takes its disk's power along");
        let report = disk.crash(keep);
        self.note(&format!("{side} died: {report:?}"));
        let mut ledger = self.shared.ledger();
        match side {
            Side::Leader => ledger.stats.leader_deaths += 1,
            Side::Follower => ledger.stats.follower_deaths += 1,
        }
        drop(ledger);
        self.is_up[side as usize] = false;
        let moment = self.clock.restart();
        self.put_down(moment, Cue::Restart(side));
    }

    fn note(&self, what: &str) {
        self.shared.ledger().note(self.clock.now(), what);
    }
}

fn build_node(handle: &Handle, shared: &Arc<Shared>, side: Side) -> NodeId {
    let address = [LEADER_ADDRESS, FOLLOWER_ADDRESS][side as usize];
    let shared = Arc::clone(shared);
    let live = move || {
        let shared = Arc::clone(&shared);
        async move {
            // Whoever ends has said why, and waits to be buried.
            let _ = match side {
                Side::Leader => leader::lead(shared).await,
                Side::Follower => follower::follow(shared).await,
            };
        }
    };
    handle.create_node().ip(address.ip()).init(live).build().id()
}

#[cfg(test)]
mod tests;
