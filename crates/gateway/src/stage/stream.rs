//! Streaming: upstream bytes to client bytes, metered on the way. Goes on for as long as the provider bills,
//! whether the client is there or not, within bounds.

use crate::client::{Message, Sink};
use crate::face::{Passed, Relay};
use crate::stage::call::{Attempt, Failed, Opened};
use crate::upstream::{Answer, CallFailure};
use bytes::{Bytes, BytesMut};
use dialects::{FinishReason, UpstreamFailure, WireError};
use kernel::{Clock, Usage, crash};
use std::time::Duration;
use tokio::time::Instant;

/// How long a stream whose client left is drained where the provider goes on billing.
const DRAIN: Duration = Duration::from_secs(120);
/// How long to wait for the provider's count when the client left after the answer's last word.
const LAST_WORD: Duration = Duration::from_millis(1500);
/// A client that takes nothing for so long has left.
const WRITE_PATIENCE: Duration = Duration::from_secs(45);
/// A provider that breaks off after we kept it waiting so long did so because of our client.
const STALL: Duration = Duration::from_secs(5);

/// What a stream has come to so far.
#[derive(Debug, Default)]
pub struct Progress {
    /// All that a tokenizer would count of the answer.
    pub text: String,
    pub usage: Option<Usage>,
    pub usage_fault: Option<WireError>,
    pub finish: Option<(FinishReason, Option<String>)>,
    pub upstream_id: Option<String>,
    /// The provider's error after the first byte, or how the stream broke.
    pub error: Option<UpstreamFailure>,
    pub done: bool,
    /// The client left before the end.
    pub cancelled: bool,
    /// The stream broke because the client was too slow: what was delivered is billed.
    pub slow_client: bool,
    /// Monotonic time of the first output.
    pub first_output: Option<Duration>,
}

impl Progress {
    fn note(&mut self, passed: &mut Passed) {
        if passed.upstream_id.is_some() {
            self.upstream_id = passed.upstream_id.take();
        }
        // The last count counts, and a last count that nobody can bill takes the ones before with it.
        if passed.usage.is_some() {
            self.usage = passed.usage.take().map(Usage::consistent);
            self.usage_fault = None;
        }
        if passed.usage_fault.is_some() {
            self.usage_fault = passed.usage_fault.take();
            self.usage = None;
        }
        if passed.finish.is_some() {
            self.finish = passed.finish.take();
        }
        if passed.error.is_some() {
            self.error = passed.error.take();
        }
        self.done |= passed.done;
    }

    /// Nothing more will come.
    fn ended(&self) -> bool {
        self.done || self.error.is_some()
    }

    /// All of it for the books; what stays only says how the stream ended.
    #[must_use]
    pub fn handed_over(&mut self) -> Self {
        let left = Self { done: self.done && self.error.is_none(), ..Self::default() };
        std::mem::replace(self, left)
    }
}

/// A stream with its first output in hand.
pub struct Stream {
    answer: Answer,
    /// Request fields that the provider does not get to see.
    ignored: Vec<String>,
    relay: Relay,
    pub progress: Progress,
    first: Bytes,
    /// The client once kept the provider waiting for long.
    stalled: bool,
}

/// What reading one piece gave.
enum Read {
    Frames(Bytes),
    End,
    Failed(CallFailure),
}

/// The two ends of a stream, and the rule when one is gone.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    pub attempt: &'a Attempt<'a>,
    pub sink: &'a Sink,
    pub clock: &'a dyn Clock,
    /// The provider is read to its end when the client leaves: it goes on billing, or bills what only it can
    /// count (hidden reasoning, media).
    pub drains: bool,
}

impl Line<'_> {
    /// Resolves when the client has left and the provider stops billing at once; else never.
    pub async fn cut(&self) {
        if self.drains {
            std::future::pending::<()>().await;
        }
        self.sink.closed().await;
    }
}

/// How long between two heartbeats, and what to do at each.
#[async_trait::async_trait(?Send)]
pub trait Heartbeat {
    fn every(&self) -> Duration;
    async fn beat(&self, progress: &Progress);
}

impl Stream {
    /// Reads until there is something to show. Until then another provider may be tried; a client that leaves
    /// meanwhile ends the reading where the provider stops billing.
    pub async fn begin(opened: Opened, relay: Relay, line: Line<'_>) -> Result<Self, Failed> {
        let attempt = line.attempt;
        let Opened { answer, ignored } = opened;
        let first = Bytes::new();
        let mut stream =
            Self { answer, ignored, relay, progress: Progress::default(), first, stalled: false };
        loop {
            let read = tokio::select! {
                biased;
                () = line.cut() => {
                    stream.progress.cancelled = true;
                    return Ok(stream);
                }
                read = stream.read() => read,
            };
            match read {
                Read::Failed(cause) => return Err(attempt.failed(cause)),
                Read::End => return stream.ended_early(attempt),
                Read::Frames(frames) if frames.is_empty() => {
                    if let Some(failure) = stream.progress.error.take() {
                        return Err(attempt.failed(CallFailure::Wire(WireError::Upstream(failure))));
                    }
                }
                Read::Frames(frames) => {
                    stream.progress.first_output = Some(line.clock.monotonic());
                    crash::point("gateway.first_output");
                    stream.first = frames;
                    return Ok(stream);
                }
            }
        }
    }

    fn ended_early(self, attempt: &Attempt<'_>) -> Result<Self, Failed> {
        if self.progress.done {
            Ok(self)
        } else {
            Err(attempt.failed(CallFailure::Wire(WireError::Truncated)))
        }
    }

    /// Carries the stream to its end: to the client while it is there, then to the provider's last count.
    pub async fn carry(&mut self, line: Line<'_>, heartbeat: &dyn Heartbeat) {
        let mut here = self.begin_telling(line).await;
        let mut cut_at = None;
        // An interval that begins now would first wait for the timer's next millisecond.
        let every = heartbeat.every();
        let mut beats = tokio::time::interval_at(Instant::now() + every, every);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.progress.ended() {
            if !here && cut_at.is_none() {
                self.progress.cancelled = true;
                let patience = match (line.drains, &self.progress.finish) {
                    (true, _) => DRAIN,
                    (false, Some(_)) => LAST_WORD,
                    (false, None) => return,
                };
                cut_at = Some(Instant::now() + patience);
            }
            tokio::select! {
                biased;
                () = line.sink.closed(), if here => here = false,
                () = reached(cut_at) => return,
                _ = beats.tick() => heartbeat.beat(&self.progress).await,
                read = self.read() => match read {
                    Read::End => break,
                    Read::Failed(cause) => {
                        self.progress.slow_client = self.stalled;
                        self.progress.error = Some(line.attempt.failed(cause).failure);
                    }
                    Read::Frames(frames) if here && !frames.is_empty() => {
                        crash::point("gateway.mid_stream");
                        here = self.tell(line.sink, Message::Frames(frames)).await;
                    }
                    Read::Frames(_) => {}
                },
            }
        }
        if !self.progress.ended() && self.progress.finish.is_none() {
            self.progress.slow_client = self.stalled;
            self.progress.error = Some(line.attempt.failed(CallFailure::Wire(WireError::Truncated)).failure);
        }
        self.progress.cancelled |= !here;
    }

    /// The head and the first output; whether the client is there.
    async fn begin_telling(&mut self, line: Line<'_>) -> bool {
        let head = Message::Head(line.attempt.answerer(std::mem::take(&mut self.ignored)));
        let first = std::mem::take(&mut self.first);
        !self.progress.cancelled
            && self.tell(line.sink, head).await
            && (first.is_empty() || self.tell(line.sink, Message::Frames(first)).await)
    }

    /// Sends to the client, who has some time to take it; whether it is still there.
    async fn tell(&mut self, sink: &Sink, message: Message) -> bool {
        let begun = Instant::now();
        let sent = tokio::time::timeout(WRITE_PATIENCE, sink.send(message)).await;
        self.stalled |= begun.elapsed() > STALL;
        self.answer.resume();
        matches!(sent, Ok(true))
    }

    /// Reads the next piece and turns it into frames.
    async fn read(&mut self) -> Read {
        let piece = match self.answer.piece().await {
            Err(cause) => return Read::Failed(cause),
            Ok(None) => return self.close(),
            Ok(Some(piece)) => piece,
        };
        let mut passed = Passed::default();
        let outcome = self.relay.push(&piece, &mut self.progress.text, &mut passed);
        self.progress.note(&mut passed);
        match outcome {
            Ok(()) => Read::Frames(passed.bytes),
            Err(error) if passed.bytes.is_empty() => Read::Failed(CallFailure::Wire(error)),
            Err(error) => {
                self.progress.error.get_or_insert_with(|| broken(&error));
                Read::Frames(passed.bytes)
            }
        }
    }

    fn close(&mut self) -> Read {
        let mut passed = Passed::default();
        let outcome = self.relay.finish(&mut self.progress.text, &mut passed);
        self.progress.note(&mut passed);
        match outcome {
            Err(error) if self.progress.finish.is_none() => Read::Failed(CallFailure::Wire(error)),
            // Some providers close without their last word; the answer itself was complete.
            _ if passed.bytes.is_empty() => Read::End,
            _ => Read::Frames(passed.bytes),
        }
    }

    /// The relay's identity, for the chunks that the gateway itself writes.
    #[must_use]
    pub fn relay(&self) -> &Relay {
        &self.relay
    }

    /// Gives the provider's connection back once the answer's body has ended, which comes right behind its last
    /// word; without a last word the connection is cut at once. Never resolves: it is awaited beside the
    /// closing of the books, for as long as that takes.
    pub async fn part(self) -> std::convert::Infallible {
        let Self { answer, progress, .. } = self;
        if progress.done {
            answer.part().await;
        } else {
            drop(answer);
        }
        std::future::pending().await
    }
}

async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn broken(error: &WireError) -> UpstreamFailure {
    UpstreamFailure::new(dialects::FailureClass::Server, None, None, &error.to_string())
}

/// Joins the frames that end a stream into one write.
#[must_use]
pub fn last_frames(parts: &[&[u8]]) -> Bytes {
    let mut bytes = BytesMut::new();
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes.freeze()
}
