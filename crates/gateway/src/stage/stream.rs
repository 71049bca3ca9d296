//! Streaming: upstream bytes to client bytes, metered on the way. Goes on for as long as the provider bills,
//! whether the client is there or not, within bounds.

use crate::client::{Message, Sink};
use crate::face::{Passed, Relay};
use crate::stage::call::{Attempt, Failed, Opened};
use crate::upstream::{Answer, CallFailure};
use bytes::{Bytes, BytesMut};
use dialects::{FinishReason, UpstreamFailure, WireError};
use kernel::{Clock, Usage};
use std::time::Duration;

/// How long a stream whose client left is drained at a provider that goes on billing.
const DRAIN: Duration = Duration::from_secs(120);

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
            self.usage = passed.usage.take();
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
}

/// A stream with its first output in hand.
pub struct Stream {
    answer: Answer,
    /// Request fields that the provider does not get to see.
    ignored: Vec<String>,
    relay: Relay,
    pub progress: Progress,
    first: Bytes,
}

/// What reading one piece gave.
enum Read {
    Frames(Bytes),
    End,
    Failed(CallFailure),
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
    pub async fn begin(
        opened: Opened,
        relay: Relay,
        attempt: &Attempt<'_>,
        sink: &Sink,
        clock: &dyn Clock,
    ) -> Result<Self, Failed> {
        let Opened { answer, ignored } = opened;
        let mut stream = Self { answer, ignored, relay, progress: Progress::default(), first: Bytes::new() };
        let drains = attempt.funded.candidate.provider.bills_after_cancel;
        loop {
            let read = if drains {
                stream.read().await
            } else {
                tokio::select! {
                    biased;
                    () = sink.closed() => {
                        stream.progress.cancelled = true;
                        return Ok(stream);
                    }
                    read = stream.read() => read,
                }
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
                    stream.progress.first_output = Some(clock.monotonic());
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
    pub async fn carry(
        &mut self,
        attempt: &Attempt<'_>,
        sink: &Sink,
        clock: &dyn Clock,
        heartbeat: &dyn Heartbeat,
    ) {
        let provider = &attempt.funded.candidate.provider;
        let head = Message::Head(attempt.answerer(std::mem::take(&mut self.ignored)));
        let first = std::mem::take(&mut self.first);
        let mut here = !self.progress.cancelled && sink.send(head).await;
        here = here && (first.is_empty() || sink.send(Message::Frames(first)).await);
        let mut deadline = None;
        let mut beats = tokio::time::interval(heartbeat.every());
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        beats.tick().await;
        while !self.progress.ended() {
            if !here && deadline.is_none() {
                self.progress.cancelled = true;
                if !provider.bills_after_cancel {
                    return;
                }
                deadline = Some(clock.monotonic() + DRAIN);
            }
            if deadline.is_some_and(|at| clock.monotonic() >= at) {
                return;
            }
            tokio::select! {
                biased;
                () = sink.closed(), if here => here = false,
                _ = beats.tick() => heartbeat.beat(&self.progress).await,
                read = self.read() => match read {
                    Read::End => break,
                    Read::Failed(cause) => self.progress.error = Some(attempt.failed(cause).failure),
                    Read::Frames(frames) if here && !frames.is_empty() => here = sink.send(Message::Frames(frames)).await,
                    Read::Frames(_) => {}
                },
            }
        }
        if !self.progress.ended() && self.progress.finish.is_none() {
            self.progress.error = Some(attempt.failed(CallFailure::Wire(WireError::Truncated)).failure);
        }
        self.progress.cancelled |= !here;
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
