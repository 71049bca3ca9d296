//! The client's end of a session: a bounded channel. The session goes on when this end is dropped.

use crate::refusal::Refusal;
use bytes::Bytes;
use tokio::sync::mpsc;

/// How many messages may wait for a slow client before the upstream is read no further.
const CAPACITY: usize = 16;

/// What a session tells its client.
#[derive(Debug)]
pub enum Message {
    /// Nothing was sent before; the request is refused.
    Refused(Refusal),
    /// The request was admitted and asks for a stream; its head may be sent before there is an answer.
    Underway,
    /// The whole answer of a request that did not ask for a stream.
    Whole(Whole),
    /// The stream's first bytes follow; this provider answers.
    Head(Answerer),
    /// Complete server-sent events.
    Frames(Bytes),
    /// The same, and nothing follows: the stream ends with them, in the same write.
    Last(Bytes),
}

/// A whole answer.
#[derive(Debug)]
pub struct Whole {
    pub answerer: Answerer,
    pub body: Bytes,
}

/// Who answers, for the headers.
#[derive(Debug, Clone)]
pub struct Answerer {
    /// The provider's display name.
    pub provider: String,
    pub simulated: bool,
    /// Request fields that this provider does not get to see.
    pub ignored: Vec<String>,
}

/// The session's side.
#[derive(Debug)]
pub struct Sink {
    sender: mpsc::Sender<Message>,
}

impl Sink {
    /// `false` when the client has left.
    pub async fn send(&self, message: Message) -> bool {
        self.sender.send(message).await.is_ok()
    }

    /// Resolves when the client has left.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// A new pair of ends.
#[must_use]
pub fn channel() -> (Sink, mpsc::Receiver<Message>) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (Sink { sender }, receiver)
}
