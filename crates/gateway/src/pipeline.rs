//! One request, from door to ledger, as a list of stages. Each stage takes what the one before gave, so
//! nothing is sent without a hold and nothing ends without closing it.
//!
//! Names no provider, no wire language and no route. The stages decide; this file only keeps their order.

use crate::client::{Message, Sink, Whole};
use crate::face::{FaceContext, Relay};
use crate::metrics::Metrics;
use crate::outcome::{Ending, Outcome};
use crate::refusal::{Kind, Refusal};
use crate::stage::admit::{Admitted, Cashier, Needs, Order};
use crate::stage::authenticate::{Caller, Doorkeeper};
use crate::stage::call::{self, Attempt, Failed, Left, OpenKeys};
use crate::stage::read::{self, Received};
use crate::stage::route::{Planned, Switchboard};
use crate::stage::settle;
use crate::stage::stream::{Line, Progress, Stream};
use crate::tail::{Finished, Tail};
use crate::trace::Tracing;
use crate::upstream::CallFailure;
use accounts::KeyKind;
use billing::AttemptRecord;
use dialects::RequestHead;
use kernel::{Clock, crash};
use routing::Candidate;
use std::sync::Arc;

/// The stages of one worker, ready to carry requests.
#[derive(Clone)]
pub struct Pipeline {
    pub doorkeeper: Doorkeeper,
    pub switchboard: Switchboard,
    pub cashier: Cashier,
    pub caller: call::Caller,
    pub metrics: Arc<Metrics>,
    pub tracing: Arc<Tracing>,
    pub clock: Arc<dyn Clock>,
}

/// A request on its way, with all that was learned of it.
pub(crate) struct Journey<'a> {
    pub(crate) received: &'a Received,
    pub(crate) head: &'a RequestHead<'a>,
    pub(crate) caller: &'a Caller,
    pub(crate) needs: Needs,
    pub(crate) planned: &'a Planned,
    pub(crate) attempts: Vec<AttemptRecord>,
    /// Models whose every endpoint would refuse this request for the same reason.
    pub(crate) dead: Vec<String>,
}

/// How a group of candidates ended.
enum Group {
    /// One of them answered, and the hold is closed.
    Answered(Ending),
    /// None did; the hold is closed without a charge.
    Exhausted { failed: Failed, left: Left },
}

impl Pipeline {
    /// Carries a request to its end, whatever becomes of the client, and tells the client.
    pub async fn run(&self, received: Received, sink: Sink) {
        let ending = match self.serve(&received, &sink).await {
            Ok(ending) => ending,
            Err(refusal) => {
                let ending = Ending::Refused { status: refusal.status(), error_type: refusal.error_type() };
                let _left = sink.send(Message::Refused(refusal)).await;
                ending
            }
        };
        let outcome = Outcome { ending, took: self.clock.monotonic().saturating_sub(received.arrived) };
        self.metrics.record(&outcome);
        let generation = received.generation;
        self.tracing.record(&outcome, generation, generation.created_at());
    }

    async fn serve(&self, received: &Received, sink: &Sink) -> Result<Ending, Refusal> {
        let head = read::chat_request(&received.body)?;
        let now = self.clock.now();
        // What can be refused without asking a store is refused first.
        let wish = self.switchboard.read(&head)?;
        let caller = self.doorkeeper.identify(&received.credential, KeyKind::Model, now).await?;
        let planned = self.switchboard.plan(&head, wish, &caller, now).await?;
        let needs = planned.needs;
        let mut journey = Journey {
            received,
            head: &head,
            caller: &caller,
            needs,
            planned: &planned,
            attempts: Vec::new(),
            dead: Vec::new(),
        };
        self.carry(&mut journey, sink).await
    }

    /// Own keys first, then our credentials: each way of paying is admitted by itself.
    async fn carry(&self, journey: &mut Journey<'_>, sink: &Sink) -> Result<Ending, Refusal> {
        let mut last: Option<Failed> = None;
        let planned = journey.planned;
        for (round, group) in planned.groups().enumerate() {
            let alive = |candidate: &&Candidate| !journey.dead.contains(&candidate.endpoint.model);
            let group: Vec<Candidate> = group.iter().filter(alive).cloned().collect();
            if group.is_empty() {
                continue;
            }
            let admitted = match self.admit(journey, &group, round).await {
                Ok(admitted) => admitted,
                Err(refusal) => return Err(after_own_key(refusal, last.as_ref())),
            };
            if journey.head.stream() {
                let _here = sink.send(Message::Underway).await;
            }
            let grant = admitted.grant.clone();
            // The hold lives for as long as anybody works on it, whatever the work waits for.
            let group = tokio::select! {
                biased;
                group = self.attempt(journey, admitted, sink) => group,
                never = self.cashier.keep_alive(&grant) => match never {},
            };
            match group {
                Group::Answered(ending) => return Ok(ending),
                Group::Exhausted { failed, left } => {
                    last = Some(failed);
                    if left == Left::Nothing || sink.is_closed() {
                        break;
                    }
                }
            }
        }
        let Some(failed) = last else {
            return Err(Refusal::new(Kind::NoEndpoints, "No endpoint is left for this request."));
        };
        Err(failed.refusal(&journey.attempts))
    }

    /// Sets money aside by a bound that costs nothing to compute; where that bound is refused, by a closer one.
    async fn admit(
        &self,
        journey: &mut Journey<'_>,
        group: &[Candidate],
        round: usize,
    ) -> Result<Admitted, Refusal> {
        let now = self.clock.now();
        let (generation, caller) = (journey.received.generation, journey.caller);
        let order = |needs| async move {
            let order = Order { generation, round, caller, group, needs: &needs, now };
            self.cashier.admit(&order).await
        };
        match order(journey.needs).await {
            Err(refusal) if matches!(refusal.kind, Kind::PaymentRequired | Kind::LimitExceeded) => {
                let closer = self.switchboard.closer_needs(journey.head, &journey.needs)?;
                if closer.prompt_tokens >= journey.needs.prompt_tokens {
                    return Err(refusal);
                }
                let admitted = order(closer).await;
                journey.needs = closer;
                admitted
            }
            answer => answer,
        }
    }

    async fn attempt(&self, journey: &mut Journey<'_>, admitted: Admitted, sink: &Sink) -> Group {
        let keys = &journey.planned.keys;
        let (mut last, mut left) = (None, Left::Others);
        for funded in &admitted.plan {
            if journey.dead.contains(&funded.candidate.endpoint.model) {
                continue;
            }
            let started = self.clock.monotonic();
            self.switchboard.begin(&funded.candidate, self.clock.now());
            let prepared = self.caller.prepare(funded, keys);
            let failed = match prepared {
                Err(failed) => failed,
                Ok(attempt) => match Box::pin(self.try_one(journey, &admitted, &attempt, sink)).await {
                    Ok(ending) => return Group::Answered(ending),
                    Err(failed) => failed,
                },
            };
            let ended = self.clock.monotonic();
            self.switchboard.note_failure(&funded.candidate, &failed, self.clock.now());
            self.metrics.attempt(&funded.candidate.provider.slug, failed.outcome);
            let times = [started, ended, journey.received.arrived];
            let status = failed.failure.status.unwrap_or(0);
            journey.attempts.push(call::attempt_record(funded, status, failed.outcome, times));
            left = failed.left();
            last = Some(failed);
            if left == Left::OtherModels {
                journey.dead.push(funded.candidate.endpoint.model.clone());
            }
            if left == Left::Nothing || sink.is_closed() {
                break;
            }
        }
        settle::release(&self.cashier, &admitted.grant).await;
        Group::Exhausted { failed: last.unwrap_or_else(Failed::nothing_affordable), left }
    }

    async fn try_one(
        &self,
        journey: &mut Journey<'_>,
        admitted: &Admitted,
        attempt: &Attempt<'_>,
        sink: &Sink,
    ) -> Result<Ending, Failed> {
        let started = self.clock.monotonic();
        let streamed = journey.head.stream();
        let context = self.context(journey, attempt);
        let (choices, drains) = (journey.needs.n, self.drains(journey, attempt));
        let line = Line { attempt, sink, clock: self.clock.as_ref(), drains };
        let tail = |status| Tail { pipeline: self, admitted, attempt, started, status, choices };
        let opened = tokio::select! {
            biased;
            () = line.cut() => return Ok(tail(0).close_stream(journey, Progress::left(), &context, sink).await),
            opened = self.caller.open(attempt, journey.head, streamed) => opened?,
        };
        crash::point("gateway.called");
        let tail = tail(opened.answer.status);
        if streamed {
            let mut stream = Stream::begin(opened, Relay::new(attempt.dialect, context), line).await?;
            stream.carry(line, &tail.heartbeat(journey)).await;
            crash::point("gateway.last_byte");
            let context = stream.relay().context().clone();
            let progress = stream.progress.handed_over();
            // First, so that a connection that is not kept is cut before the books are closed.
            return Ok(tokio::select! {
                biased;
                never = stream.part() => match never {},
                ending = tail.close_stream(journey, progress, &context, sink) => ending,
            });
        }
        let body = tokio::select! {
            biased;
            () = line.cut() => return Ok(tail.close_stream(journey, Progress::left(), &context, sink).await),
            body = opened.answer.whole() => body.map_err(|cause| attempt.failed(cause))?,
        };
        let reply = attempt.dialect.parse_response(&body);
        let reply = reply.map_err(|error| attempt.failed(CallFailure::Wire(error)))?;
        let progress = Progress::of_reply(&reply, self.clock.monotonic());
        let finished = Finished { reply: &reply, progress, ignored: opened.ignored };
        Ok(tail.close_whole(journey, finished, &context, sink).await)
    }

    /// Whether an answer is read to its end when its client leaves: the provider goes on billing, or it bills
    /// what only it can count.
    fn drains(&self, journey: &Journey<'_>, attempt: &Attempt<'_>) -> bool {
        let head = journey.head;
        let media = head.image_count() > 0 || journey.needs.open_media;
        let candidate = &attempt.funded.candidate;
        let unasked =
            || !head.refuses_reasoning() && self.switchboard.reasons_unasked(&candidate.endpoint.model);
        candidate.provider.bills_after_cancel || head.wants_reasoning() || media || unasked()
    }

    fn context(&self, journey: &Journey<'_>, attempt: &Attempt<'_>) -> FaceContext {
        let candidate = &attempt.funded.candidate;
        let id = journey.received.generation.to_string();
        let created = journey.received.generation.created_at().timestamp();
        FaceContext::new(&id, created, &candidate.endpoint.model, &candidate.provider.name)
            .strict(journey.received.strict)
            .exclude_reasoning(journey.head.excludes_reasoning())
    }
}

/// Tells a client whose own key failed before its credits were refused about both.
fn after_own_key(refusal: Refusal, failed: Option<&Failed>) -> Refusal {
    match failed {
        None => refusal,
        Some(failed) => {
            let why = failed.failure.public_message();
            let message = format!("Your own key at {} failed ({why}). {}", failed.provider, refusal.message);
            Refusal { message, ..refusal }.with("own_key_error", why)
        }
    }
}

/// What the client of a whole answer gets.
pub(crate) fn whole(attempt: &Attempt<'_>, ignored: &[String], body: Vec<u8>) -> Message {
    Message::Whole(Whole { answerer: attempt.answerer(ignored.to_vec()), body: body.into() })
}

/// The keys of a plan without own keys.
pub(crate) fn no_keys() -> OpenKeys {
    OpenKeys::new()
}
