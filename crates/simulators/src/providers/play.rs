//! Takes the steps of an answer to the network, one by one, and tells the journal how it went.
//! It decides nothing: pauses and faults were planned before.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use futures_util::Stream;

use super::journal::{Exchange, Finished};
use super::plan::Step;

/// Ends a body so that the server drops the connection.
#[derive(Debug)]
pub(crate) struct ConnectionCut;

impl fmt::Display for ConnectionCut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("connection cut by script")
    }
}

impl std::error::Error for ConnectionCut {}

/// The body that plays `steps`. When the client leaves, the server drops it, and with it `exchange`,
/// which then notes that the client closed.
pub(crate) fn body(
    steps: Vec<Step>,
    exchange: Exchange,
) -> impl Stream<Item = Result<Bytes, ConnectionCut>> + 'static {
    let player = (VecDeque::from(steps), exchange);
    futures_util::stream::unfold(player, |(mut steps, mut exchange)| async move {
        loop {
            match steps.pop_front() {
                Some(Step::Wait(pause)) => tokio::time::sleep(pause).await,
                Some(Step::Breathe) => tokio::task::yield_now().await,
                Some(Step::Stall) => std::future::pending().await,
                Some(Step::Send { bytes, content, text }) => {
                    exchange.sent(bytes.len(), content, &text);
                    return Some((Ok(bytes), (steps, exchange)));
                }
                Some(Step::Cut) => {
                    exchange.finish(Finished::Cut);
                    return Some((Err(ConnectionCut), (VecDeque::new(), exchange)));
                }
                None => {
                    exchange.finish(Finished::Completed);
                    return None;
                }
            }
        }
    })
}
