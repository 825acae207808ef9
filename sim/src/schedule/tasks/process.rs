//! The store's process: a node of madsim, on which every client is a task, and upkeep another.
//!
//! Whoever wants to take a step asks for a turn. Turns are granted by the one who holds the store, one after the other,
//! and each answer says when the party will want the next one. So a task knows nothing but its name, and what is lost when
//! it is killed is what a process loses: its place in time, and everything that it held open.
//!
//! ```text
//! start ──► Start ──► a task for each client, upkeep, the timer ──► exit, when all are done
//!   ▲                                     │ killed
//!   └──────────── restart ◄───────────────┘
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use madsim::runtime::Handle;
use madsim::task::{NodeId, spawn, spawn_local};
use proofmark_model::ClientId;
use tokio::sync::{mpsc, oneshot};

use super::clock::sleep_until;

/// Who takes turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Party {
    /// The process as a whole, which begins by opening the store.
    Start,
    /// A client.
    Client(ClientId),
    /// Whoever looks after the store: its checks, copies and reopenings, and the reader of its commit stream.
    Upkeep,
    /// Whoever asks for a checkpoint at intervals.
    Timer,
    /// What befalls the process from outside: the disk's faults and its size, and power losses. No part of the process.
    Fate,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Party::Start => f.write_str("the process"),
            Party::Client(client) => client.fmt(f),
            Party::Upkeep => f.write_str("upkeep"),
            Party::Timer => f.write_str("the timer"),
            Party::Fate => f.write_str("fate"),
        }
    }
}

/// Somebody wants to take a step.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) party: Party,
    reply: oneshot::Sender<Option<Duration>>,
}

impl Turn {
    /// Says when the party wants its next turn; never, if it has nothing left to do.
    pub(super) fn over(self, next: Option<Duration>) {
        // Nobody hears it if the process was killed meanwhile.
        let _ = self.reply.send(next);
    }
}

/// The process, and the desk at which its tasks and fate wait for their turns.
pub(super) struct Process {
    handle: Handle,
    node: NodeId,
    was_started: bool,
    waiting: mpsc::UnboundedReceiver<Turn>,
    /// Turns that come before those that wait.
    put_off: VecDeque<Turn>,
    polls: Arc<AtomicU64>,
}

impl Process {
    /// A process for these clients, and fate. It starts with [`Process::start`].
    pub(super) fn new(clients: Vec<ClientId>) -> Process {
        let (asked, waiting) = mpsc::unbounded_channel();
        let desk = Desk { asked, polls: Arc::default() };
        let polls = Arc::clone(&desk.polls);
        spawn(counted(Arc::clone(&polls), take_turns(Party::Fate, desk.clone())));
        let handle = Handle::current();
        let clients: Arc<[ClientId]> = clients.into();
        let live = move || live(desk.clone(), Arc::clone(&clients));
        let node = handle.create_node().name("store").init(live).build().id();
        Process { handle, node, was_started: false, waiting, put_off: VecDeque::new(), polls }
    }

    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    /// Starts, or starts again; returns its wish to open the store.
    pub(super) async fn start(&mut self) -> Turn {
        // A new node starts by itself.
        if std::mem::replace(&mut self.was_started, true) {
            self.handle.restart(self.node);
        }
        loop {
            let turn = self.next_waiting().await;
            if turn.party == Party::Start {
                return turn;
            }
            self.put_off.push_back(turn);
        }
    }

    /// Kills the process: its tasks are dropped, and its disk loses the power.
    pub(super) fn kill(&mut self) {
        self.handle.kill(self.node);
        // What the dead have asked for is of no interest any more.
        while let Ok(turn) = self.waiting.try_recv() {
            if turn.party == Party::Fate {
                self.put_off.push_back(turn);
            }
        }
    }

    /// Whose turn it is.
    pub(super) async fn next_turn(&mut self) -> Turn {
        match self.put_off.pop_front() {
            Some(turn) => turn,
            None => self.next_waiting().await,
        }
    }

    async fn next_waiting(&mut self) -> Turn {
        self.waiting.recv().await.expect("the node keeps the desk for its next life")
    }

    /// How often one of the tasks has been given the processor.
    pub(super) fn polls(&self) -> &Arc<AtomicU64> {
        &self.polls
    }
}

/// Where turns are asked for.
#[derive(Debug, Clone)]
struct Desk {
    asked: mpsc::UnboundedSender<Turn>,
    polls: Arc<AtomicU64>,
}

impl Desk {
    /// Waits for a turn and until it is over; returns when the next one is wanted.
    async fn turn(&self, party: Party) -> Option<Duration> {
        let (reply, answer) = oneshot::channel();
        self.asked.send(Turn { party, reply }).ok()?;
        answer.await.ok().flatten()
    }
}

/// One life of the process.
async fn live(desk: Desk, clients: Arc<[ClientId]>) {
    if desk.turn(Party::Start).await.is_none() {
        return;
    }
    let parties = clients.iter().map(|client| Party::Client(*client)).chain([Party::Upkeep, Party::Timer]);
    let start = |party| spawn_local(counted(Arc::clone(&desk.polls), take_turns(party, desk.clone())));
    let tasks: Vec<_> = parties.map(start).collect();
    for task in tasks {
        task.await.expect("a task ends with its process, or with the run");
    }
}

/// Takes turns until there is nothing left to do.
async fn take_turns(party: Party, desk: Desk) {
    while let Some(moment) = desk.turn(party).await {
        sleep_until(moment).await;
    }
}

/// Counts how often a future is given the processor.
pub(super) async fn counted<F: Future>(polls: Arc<AtomicU64>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        // Relaxed: one thread runs all tasks of a world.
        polls.fetch_add(1, Ordering::Relaxed);
        future.as_mut().poll(context)
    })
    .await
}
