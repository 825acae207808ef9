//! The follower: a store of its own, which takes in the leader's commit stream and remembers its place in it.

use std::rc::Rc;
use std::sync::Arc;

use madsim::net::Endpoint;
use madsim::task::spawn_local;
use madsim::time::TimeHandle;
use proofmark_model::{Commit, Durability, Key, KeyRange, TxnId, Value};
use rand_chacha::ChaCha8Rng;

use super::host::{Down, Host, Shared, read_all};
use super::ledger::Pairs;
use super::message::{Answer, Question, receive, send};
use super::world::Side;
use super::{FOLLOWER_ADDRESS, LEADER_ADDRESS};
use crate::random::Draw;
use crate::schedule::tasks::sleep_until;
use crate::store::{Store, StoreError};

/// Where the follower's store keeps its place: the commit that it wants next, as eight bytes, the highest first.
pub const PLACE: &[u8] = b"\0place";

/// What a follower takes in at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Portion<'a> {
    /// These commits, in order, right after those that it has. There is at least one.
    Commits(&'a [Commit]),
    /// Everything that the leader holds after the commit `at`, in the place of what there is.
    Everything {
        /// The commit.
        at: TxnId,
        /// In key order.
        pairs: &'a [(Key, Value)],
    },
}

/// How a follower takes a portion in.
pub type Apply = fn(&mut dyn Store, &Portion<'_>, Durability) -> Result<(), StoreError>;

impl Portion<'_> {
    /// The commit that is wanted after this.
    pub fn next(&self) -> TxnId {
        match self {
            Portion::Commits(commits) => commits.last().expect("a portion is something").id.next(),
            Portion::Everything { at, .. } => at.next(),
        }
    }
}

/// Takes a portion in as it should be done: with the place after it, in one transaction.
///
/// # Errors
/// If the store does not take it.
pub fn apply(store: &mut dyn Store, portion: &Portion<'_>, durability: Durability) -> Result<(), StoreError> {
    let mut transaction = store.begin_write()?;
    match portion {
        Portion::Commits(commits) => {
            for mutation in commits.iter().flat_map(|commit| &commit.mutations) {
                match &mutation.value {
                    Some(value) => transaction.put(&mutation.key, value)?,
                    None => transaction.delete(&mutation.key)?,
                }
            }
        }
        Portion::Everything { pairs, .. } => {
            transaction.delete_range(&KeyRange::all())?;
            for (key, value) in *pairs {
                transaction.put(key, value)?;
            }
        }
    }
    transaction.put(PLACE, &portion.next().0.to_be_bytes())?;
    transaction.commit(durability)?;
    Ok(())
}

/// One life of the follower.
pub(super) async fn follow(shared: Arc<Shared>) -> Result<(), Down> {
    let (host, mut pairs) = Host::open(&shared, Side::Follower).await?;
    let mut place = take_place(&mut pairs);
    shared.ledger().follower_holds(place, &pairs);
    host.note(&format!("open, and wants commit {place}"));
    let host = Rc::new(host);
    let keeper = Rc::clone(&host);
    spawn_local(async move { keeper.keep().await });
    let endpoint = Endpoint::bind(FOLLOWER_ADDRESS).await.expect("nobody else has this address");
    let mut rng = host.stream("reader");
    let reader = &shared.world.reader;
    loop {
        let Some(answer) = ask(&host, &endpoint, place).await else {
            shared.ledger().stats.unanswered += 1;
            continue;
        };
        let portions: Vec<Portion<'_>> = match &answer {
            Answer::Commits { commits, .. } => commits.chunks(reader.batch).map(Portion::Commits).collect(),
            Answer::Everything { at, pairs } => vec![Portion::Everything { at: *at, pairs }],
        };
        if portions.is_empty() {
            sleep_until(host.pause(reader.pause)).await;
        }
        for portion in portions {
            place = take_in(&host, &portion, &mut rng).await?;
        }
    }
}

/// Asks for what comes next, and waits for the answer.
async fn ask(host: &Host, endpoint: &Endpoint, place: TxnId) -> Option<Answer> {
    let reader = &host.shared.world.reader;
    let question = Question { from: place, limit: reader.limit };
    let answer = async {
        send(endpoint, LEADER_ADDRESS, question).await;
        loop {
            let (answer, _) = receive::<Answer>(endpoint).await;
            let is_wanted = match &answer {
                Answer::Commits { from, .. } => *from == place,
                Answer::Everything { at, .. } => *at >= place,
            };
            if is_wanted {
                return answer;
            }
            // It is to an earlier question.
            host.shared.ledger().stats.late_answers += 1;
        }
    };
    TimeHandle::current().timeout(reader.patience, answer).await.ok()
}

/// Takes a portion in, and looks at what came of it; returns the place after it.
async fn take_in(host: &Host, portion: &Portion<'_>, rng: &mut ChaCha8Rng) -> Result<TxnId, Down> {
    let shared = &host.shared;
    let is_buffered = rng.chance(shared.world.reader.buffered_share);
    let durability = if is_buffered { Durability::Buffered } else { Durability::Sync };
    let mut pairs = host
        .ask("take in what the leader says", |store| {
            (shared.apply)(store, portion, durability)?;
            read_all(store)
        })
        .await?;
    let place = take_place(&mut pairs);
    let mut ledger = shared.ledger();
    match portion {
        Portion::Commits(commits) => ledger.stats.applied += commits.len() as u64,
        Portion::Everything { .. } => ledger.stats.fresh_starts += 1,
    }
    ledger.follower_holds(place, &pairs);
    drop(ledger);
    host.note(&format!("wants commit {place} now"));
    Ok(place)
}

/// Takes the follower's place out of what it holds.
fn take_place(pairs: &mut Pairs) -> TxnId {
    let Some(index) = pairs.iter().position(|(key, _)| key == PLACE) else { return TxnId(1) };
    let (_, value) = pairs.remove(index);
    TxnId(u64::from_be_bytes(value.try_into().expect("a place has eight bytes")))
}
