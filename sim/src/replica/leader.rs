//! The leader: it is written to, and answers who asks for its commits.

use std::rc::Rc;
use std::sync::Arc;

use madsim::net::Endpoint;
use madsim::task::spawn_local;
use proofmark_model::{Durability, Mutation, unique_value};
use rand_chacha::ChaCha8Rng;

use super::LEADER_ADDRESS;
use super::host::{Down, Host, Shared, read_all};
use super::message::{Answer, Question, receive, send};
use super::world::Side;
use crate::random::Draw;
use crate::schedule::tasks::sleep_until;
use crate::store::{Store, StoreError};

/// One life of the leader.
pub(super) async fn lead(shared: Arc<Shared>) -> Result<(), Down> {
    let (host, pairs) = Host::open(&shared, Side::Leader).await?;
    let latest = host.ask("name its latest commit", |store| Ok(store.latest())).await?.unwrap_or_default();
    shared.ledger().leader_opened(latest, &pairs);
    host.note(&format!("open at commit {latest}, with {} keys", pairs.len()));
    let host = Rc::new(host);
    let (writer, keeper) = (Rc::clone(&host), Rc::clone(&host));
    spawn_local(async move { write(&writer).await });
    spawn_local(async move { keeper.keep().await });
    serve(&host).await
}

/// Commits one transaction after the other, until all is calm.
async fn write(host: &Host) -> Result<(), Down> {
    let writer = &host.shared.world.writer;
    let mut rng = host.stream("writer");
    loop {
        let moment = host.pause(writer.pause);
        if moment >= host.shared.world.calm_from {
            break;
        }
        sleep_until(moment).await;
        let mutations = draw_mutations(&mut rng, &host.shared);
        let is_durable = !rng.chance(writer.buffered_share);
        host.ask("commit", |store| commit(store, &host.shared, mutations, is_durable)).await?;
    }
    let pairs = host.ask("read", read_all).await?;
    host.shared.ledger().leader_holds(&pairs);
    Ok(())
}

fn commit(
    store: &mut dyn Store,
    shared: &Shared,
    mutations: Vec<Mutation>,
    is_durable: bool,
) -> Result<(), StoreError> {
    let mut transaction = store.begin_write()?;
    for Mutation { key, value } in &mutations {
        match value {
            Some(value) => transaction.put(key, value)?,
            None => transaction.delete(key)?,
        }
    }
    shared.ledger().submit(mutations);
    let durability = if is_durable { Durability::Sync } else { Durability::Buffered };
    let id = transaction.commit(durability)?;
    // What is said after that, nobody hears.
    if !shared.disk(Side::Leader).has_crashed() {
        shared.ledger().committed(id, is_durable);
    }
    Ok(())
}

fn draw_mutations(rng: &mut ChaCha8Rng, shared: &Shared) -> Vec<Mutation> {
    let writer = &shared.world.writer;
    let mut mutations = Vec::new();
    for _ in 0..rng.between(1..=writer.batch_max) {
        let key = format!("k{:02}", rng.below(writer.key_count)).into_bytes();
        let length = [12, 60, 5000][rng.weighted(&[10, 5, 1])];
        let is_delete = rng.chance(writer.delete_share);
        let value = (!is_delete).then(|| unique_value(shared.next_number(), length));
        mutations.push(Mutation { key, value });
    }
    mutations
}

/// Answers questions until the node dies.
async fn serve(host: &Rc<Host>) -> Result<(), Down> {
    let endpoint = Endpoint::bind(LEADER_ADDRESS).await.expect("nobody else has this address");
    loop {
        let (question, asker) = receive::<Question>(&endpoint).await;
        let answer = host.ask("show its commits", |store| answer(store, &host.shared, question)).await?;
        let endpoint = endpoint.clone();
        // It is sent beside the next one, so that messages overtake each other.
        spawn_local(async move { send(&endpoint, asker, answer).await });
    }
}

/// The commits from one on; or everything, for who has fallen behind. What others are shown has to be durable.
fn answer(store: &mut dyn Store, shared: &Shared, question: Question) -> Result<Answer, StoreError> {
    let Question { from, limit } = question;
    let (answer, last) = match store.changes(from, limit) {
        Err(StoreError::ChangesNotRetained) => {
            store.checkpoint()?;
            let at = store.latest().unwrap_or_default();
            (Answer::Everything { at, pairs: read_all(store)? }, Some(at))
        }
        commits => {
            let commits = commits?;
            let last = commits.last().map(|commit| commit.id);
            (Answer::Commits { from, commits }, last)
        }
    };
    if let Some(last) = last.filter(|_| !shared.disk(Side::Leader).has_crashed()) {
        shared.ledger().shown(last);
    }
    Ok(answer)
}
