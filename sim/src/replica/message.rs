//! What the two sides say to each other: single messages, which may be late, lost, or overtaken.

use std::any::Any;
use std::future::pending;
use std::net::SocketAddr;

use madsim::net::Endpoint;
use proofmark_model::{Commit, Key, TxnId, Value};

/// All messages have one tag: an endpoint is asked, or it asks.
const TAG: u64 = 0;

/// What was committed from here on?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) from: TxnId,
    /// The most commits that are wanted.
    pub(super) limit: usize,
}

/// What was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// These commits, in order.
    Commits { from: TxnId, commits: Vec<Commit> },
    /// It is not retained one by one any more. This is what there is after commit `at`.
    Everything { at: TxnId, pairs: Vec<(Key, Value)> },
}

/// Sends a message, which may get there.
pub(super) async fn send<T: Any + Send + Sync>(endpoint: &Endpoint, to: SocketAddr, message: T) {
    // Whether it failed or was lost: nobody hears of it.
    let _ = endpoint.send_to_raw(to, TAG, Box::new(message)).await;
}

/// Waits for the next message, and says who sent it.
pub(super) async fn receive<T: Any>(endpoint: &Endpoint) -> (T, SocketAddr) {
    match endpoint.recv_from_raw(TAG).await {
        Ok((message, sender)) => {
            (*message.downcast().expect("each side is sent one kind of message"), sender)
        }
        // The node is about to die.
        Err(_) => pending().await,
    }
}
