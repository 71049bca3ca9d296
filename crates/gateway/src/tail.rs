//! The end of an answer: metering becomes a bill, the bill closes the hold, the client learns the cost.
//!
//! Runs to its end whether the client is there or not.

use crate::client::{Message, Sink};
use crate::face::{self, ErrorBody, FaceContext};
use crate::meter::{self, RunningCount};
use crate::outcome::{Answered, Ending};
use crate::pipeline::{Journey, Pipeline, whole};
use crate::stage::admit::Admitted;
use crate::stage::call::{Attempt, attempt_record, millis};
use crate::stage::route::Measured;
use crate::stage::settle::{self, Bill, BillRules, Closed, is_final};
use crate::stage::stream::{Heartbeat, Progress, last_frames};
use crate::usage::Cost;
use billing::outcomes::{Basis, Case};
use billing::price::Extras;
use billing::{AttemptRecord, Closing, GenerationRecord};
use dialects::{FinishReason, Reply, RequestHead};
use kernel::{Metering, NanoUsd, Usage, crash};
use std::cell::{Cell, OnceCell, RefCell};
use std::time::Duration;

/// How long the client waits for a settlement that can still change its cost.
const SETTLE_PATIENCE: Duration = Duration::from_millis(250);

/// How much of a stream a crash may leave unbilled.
const METER: Duration = Duration::from_secs(2);

/// What closing an answer needs.
pub(crate) struct Tail<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) admitted: &'a Admitted,
    pub(crate) attempt: &'a Attempt<'a>,
    pub(crate) started: Duration,
    pub(crate) status: u16,
    /// Choices asked for.
    pub(crate) choices: u32,
}

/// A whole answer with what it came to.
pub(crate) struct Finished<'a> {
    pub(crate) reply: &'a Reply,
    pub(crate) progress: Progress,
    /// Request fields that the provider did not get to see.
    pub(crate) ignored: Vec<String>,
}

impl Progress {
    /// A whole answer seen as a stream that has ended.
    pub(crate) fn of_reply(reply: &Reply, now: Duration) -> Self {
        let mut text = String::new();
        if reply.usage.is_none() {
            reply.append_text(&mut text);
        }
        Self {
            text,
            usage: reply.usage.map(Usage::consistent),
            usage_fault: reply.usage_fault.clone(),
            // A choice without the provider's own word has not finished.
            finish: reply
                .choices
                .first()
                .filter(|choice| choice.native_finish.is_some())
                .map(|choice| (choice.finish, choice.native_finish.clone())),
            upstream_id: reply.upstream_id.clone(),
            done: true,
            first_output: Some(now),
            ..Self::default()
        }
    }

    /// The client left before there was anything to deliver.
    pub(crate) fn left() -> Self {
        Self { cancelled: true, ..Self::default() }
    }

    /// Ended by a fault that the client is not charged for.
    fn failed(&self) -> bool {
        (self.error.is_some() && !self.slow_client) || matches!(self.finish, Some((FinishReason::Error, _)))
    }
}

/// Keeps a hold alive and tells the engine what the stream has cost so far.
pub(crate) struct HoldHeartbeat<'a> {
    tail: &'a Tail<'a>,
    journey: &'a Journey<'a>,
    /// Made when it is first needed: short streams never need it.
    prompt: OnceCell<u64>,
    counted: RefCell<RunningCount>,
    /// When the engine was told last, by the monotonic clock.
    told: Cell<Duration>,
}

#[async_trait::async_trait(?Send)]
impl Heartbeat for HoldHeartbeat<'_> {
    fn every(&self) -> Duration {
        METER.min(self.tail.pipeline.cashier.hold_lifetime / 4)
    }

    async fn beat(&self, progress: &Progress) {
        let tail = self.tail;
        let usage = progress.usage.unwrap_or_else(|| self.counted(progress));
        let metering = Metering::Estimated(usage);
        let bill = Bill::of(&metering, &tail.rules(self.journey.extras()));
        let draft = tail.draft(self.journey, progress, &metering, &bill);
        // An estimate is never above its hold.
        let metered = bill.amount;
        let cashier = &tail.pipeline.cashier;
        // Written before the engine is told: what is metered there is never less here.
        cashier.settlements.metered(&Closing::of(&tail.admitted.grant, metered, bill.list_price, &draft));
        crash::point("gateway.metered");
        let (now, lifetime) = (tail.pipeline.clock.monotonic(), cashier.hold_lifetime);
        if now.saturating_sub(self.told.get()) < lifetime / 4 {
            return;
        }
        self.told.set(now);
        if let Err(error) =
            cashier.credits.extend(&tail.admitted.grant, NanoUsd::ZERO, metered, lifetime).await
        {
            tracing::warn!(%error, "a hold could not be renewed");
        }
        crash::point("gateway.extended");
    }
}

impl HoldHeartbeat<'_> {
    fn counted(&self, progress: &Progress) -> Usage {
        let prompt = *self.prompt.get_or_init(|| self.journey.prompt_estimate());
        let completion = self.counted.borrow_mut().of(&progress.text);
        Usage { prompt, completion, ..Usage::default() }
    }
}

impl Tail<'_> {
    fn rules(&self, extras: Extras) -> BillRules<'_> {
        BillRules {
            endpoint: &self.attempt.funded.candidate.endpoint,
            extras,
            funding: self.admitted.funding,
            byok: &self.pipeline.cashier.byok,
            held: self.admitted.grant.amount,
            choices: self.choices,
        }
    }

    pub(crate) fn heartbeat<'a>(&'a self, journey: &'a Journey<'a>) -> HoldHeartbeat<'a> {
        let told = Cell::new(self.pipeline.clock.monotonic());
        let (prompt, counted) = (OnceCell::new(), RefCell::default());
        HoldHeartbeat { tail: self, journey, prompt, counted, told }
    }

    /// Ends a streamed answer: settles, then the usage chunk and the last word.
    pub(crate) async fn close_stream(
        &self,
        journey: &mut Journey<'_>,
        progress: Progress,
        context: &FaceContext,
        sink: &Sink,
    ) -> Ending {
        let metering = metering(journey, &progress);
        let bill = Bill::of(&metering, &self.rules(journey.extras()));
        let record = self.record(journey, &progress, &metering, &bill);
        let usage = metering.usage().copied().unwrap_or_default();
        let charge = self.settle_and_tell(
            &bill,
            &record,
            |charge, provisional| {
                let cost = Cost {
                    usage: &usage,
                    bill: &bill,
                    charge,
                    own_key: record.provider_key.is_some(),
                    provisional,
                };
                let usage_chunk = face::render_usage_chunk(&cost.json(), context);
                let error = progress.error.as_ref().map(|failure| {
                    let body = ErrorBody::new(
                        failure.class.http_status(),
                        failure.class.error_type(),
                        failure.public_message(),
                    );
                    let named = self.attempt.funded.candidate.provider.name.clone();
                    face::render_error_chunk(&body.with("provider_name", named), context)
                });
                let error = error.unwrap_or_default();
                Message::Last(last_frames(&[&error, &usage_chunk, face::DONE]))
            },
            sink,
        );
        let charge = charge.await;
        self.ending(journey, &progress, &usage, charge)
    }

    /// Ends a whole answer: settles, then the body with its cost.
    pub(crate) async fn close_whole(
        &self,
        journey: &mut Journey<'_>,
        finished: Finished<'_>,
        context: &FaceContext,
        sink: &Sink,
    ) -> Ending {
        let Finished { reply, progress, ignored } = finished;
        let metering = metering(journey, &progress);
        let bill = Bill::of(&metering, &self.rules(journey.extras()));
        let record = self.record(journey, &progress, &metering, &bill);
        let usage = metering.usage().copied().unwrap_or_default();
        let told = |charge, provisional| {
            let cost = Cost {
                usage: &usage,
                bill: &bill,
                charge,
                own_key: record.provider_key.is_some(),
                provisional,
            };
            whole(self.attempt, &ignored, face::render_reply(reply, context, Some(&cost.json())))
        };
        let charge = self.settle_and_tell(&bill, &record, told, sink).await;
        self.ending(journey, &progress, &usage, charge)
    }

    /// Settles and tells the client its cost. Where settling cannot change the cost, both go at once, the
    /// settlement first; else the client waits a little for the engine's word.
    async fn settle_and_tell(
        &self,
        bill: &Bill,
        record: &GenerationRecord,
        message: impl Fn(NanoUsd, bool) -> Message,
        sink: &Sink,
    ) -> Option<NanoUsd> {
        let grant = &self.admitted.grant;
        let settling = settle::settle(&self.pipeline.cashier, grant, bill, record);
        if is_final(bill, grant, self.admitted.funding) {
            let telling = sink.send(message(bill.amount, false));
            let (closed, _here) = tokio::join!(biased; settling, telling);
            return charged(closed);
        }
        tokio::pin!(settling);
        match tokio::time::timeout(SETTLE_PATIENCE, &mut settling).await {
            Ok(Closed::Charged(charge)) => {
                let _here = sink.send(message(charge, false)).await;
                Some(charge)
            }
            Ok(Closed::Unknown) => {
                let _here = sink.send(message(bill.amount, true)).await;
                None
            }
            Err(_elapsed) => {
                let _here = sink.send(message(bill.amount, true)).await;
                charged(settling.await)
            }
        }
    }

    fn record(
        &self,
        journey: &mut Journey<'_>,
        progress: &Progress,
        metering: &Metering,
        bill: &Bill,
    ) -> GenerationRecord {
        let outcome = match &progress.error {
            Some(failure) => failure.class.error_type(),
            None if progress.cancelled => "cancelled",
            None => "ok",
        };
        // Nothing is tried after what ends here.
        let mut attempts = std::mem::take(&mut journey.attempts);
        attempts.push(self.last_attempt(journey, outcome));
        self.generation(journey, progress, (metering, bill), attempts)
    }

    /// The record of a generation whose process dies now: what was delivered is what it comes to.
    fn draft(
        &self,
        journey: &Journey<'_>,
        progress: &Progress,
        metering: &Metering,
        bill: &Bill,
    ) -> GenerationRecord {
        let mut attempts = journey.attempts.clone();
        attempts.push(self.last_attempt(journey, "crash"));
        let record = self.generation(journey, progress, (metering, bill), attempts);
        GenerationRecord { finish_reason: Some("crash".to_owned()), native_finish_reason: None, ..record }
    }

    fn last_attempt(&self, journey: &Journey<'_>, outcome: &str) -> AttemptRecord {
        let times = [self.started, self.pipeline.clock.monotonic(), journey.received.arrived];
        attempt_record(self.attempt.funded, self.status, outcome, times)
    }

    fn generation(
        &self,
        journey: &Journey<'_>,
        progress: &Progress,
        (metering, bill): (&Metering, &Bill),
        attempts: Vec<AttemptRecord>,
    ) -> GenerationRecord {
        let now = self.pipeline.clock.monotonic();
        let arrived = journey.received.arrived;
        let first = progress.first_output.unwrap_or(now);
        let candidate = &self.attempt.funded.candidate;
        let endpoint = &candidate.endpoint;
        let finish = progress.finish.as_ref();
        GenerationRecord {
            id: journey.received.generation,
            org: journey.caller.org,
            workspace: journey.caller.workspace,
            key: journey.caller.key.as_ref().map(|key| key.id),
            member: journey.caller.member,
            model: endpoint.model.clone(),
            provider: candidate.provider.slug.clone(),
            endpoint: endpoint.id,
            tariff: endpoint.tariff.id,
            tariff_version: endpoint.tariff.version,
            catalog_version: journey.planned.catalog_version,
            usage: metering.usage().copied().unwrap_or_default(),
            extras: journey.extras(),
            usage_source: bill.source.to_owned(),
            list_price: bill.list_price,
            amount: bill.amount,
            provider_cost: bill.provider_cost,
            provider_key: candidate.own_key,
            finish_reason: finish.map(|(reason, _)| reason.as_str().to_owned()),
            native_finish_reason: finish.and_then(|(_, native)| native.clone()),
            streamed: journey.head.stream(),
            cancelled: progress.cancelled,
            error: progress.error.as_ref().map(|failure| failure.class.error_type().to_owned()),
            latency_ms: millis(first.saturating_sub(arrived)),
            generation_ms: millis(now.saturating_sub(first)),
            attempts,
            upstream_id: progress.upstream_id.clone(),
            app_referer: journey.received.referer.clone(),
            app_title: journey.received.title.clone(),
            end_user: journey.head.text("user").map(|text| text.into_owned()),
            session: journey.session(),
            simulated: self.attempt.access.simulated,
        }
    }

    fn ending(
        &self,
        journey: &Journey<'_>,
        progress: &Progress,
        usage: &Usage,
        charge: Option<NanoUsd>,
    ) -> Ending {
        let candidate = &self.attempt.funded.candidate;
        let arrived = journey.received.arrived;
        let first = progress.first_output.map(|at| at.saturating_sub(self.started));
        if !progress.failed() {
            let took = self.pipeline.clock.monotonic().saturating_sub(self.started);
            let measured = Measured { first_output: first, took, completion_tokens: usage.completion };
            self.pipeline.switchboard.note_success(candidate, &measured, self.pipeline.clock.now());
        }
        Ending::Answered(Box::new(Answered {
            model: candidate.endpoint.model.clone(),
            provider: candidate.provider.slug.clone(),
            streamed: journey.head.stream(),
            cancelled: progress.cancelled,
            error: progress.error.as_ref().map(|failure| failure.class.error_type()),
            charge,
            prompt_tokens: usage.prompt,
            completion_tokens: usage.completion,
            first_output: progress.first_output.map(|at| at.saturating_sub(arrived)),
            overhead: self.started.saturating_sub(arrived),
        }))
    }
}

fn charged(closed: Closed) -> Option<NanoUsd> {
    match closed {
        Closed::Charged(charge) => Some(charge),
        Closed::Unknown => None,
    }
}

/// Which row of the outcome policy an answer is. Free: an error finish, and nothing said at all. A client that
/// left is no error: the provider's count where there is one, else our own of what was delivered.
fn case_of(progress: &Progress) -> Case {
    let complete = progress.done || progress.finish.is_some();
    let silent = complete && progress.finish.is_none() && progress.text.is_empty();
    match progress.usage {
        _ if progress.failed() => Case::FailedAnswer,
        Some(usage) if silent && usage.completion == 0 => Case::EmptyAnswer,
        None if silent => Case::EmptyAnswer,
        Some(_) if complete && progress.cancelled => Case::LeftAfterLastWord,
        Some(_) if complete => Case::Complete,
        None if complete => Case::UsageMissing,
        _ if progress.slow_client => Case::SlowClient,
        _ => Case::LeftWhereBillingStops,
    }
}

/// What an answer is billed by, as the policy says for its case.
fn metering(journey: &Journey<'_>, progress: &Progress) -> Metering {
    match (case_of(progress).basis(), progress.usage) {
        (Basis::Nothing, _) => Metering::Nothing,
        (Basis::Provider, Some(usage)) => Metering::Exact(usage),
        (Basis::Provider | Basis::Own, usage) => {
            // A running count of an unfinished stream knows the prompt better than we do.
            let known = usage.filter(|usage| usage.prompt > 0);
            let prompt = known.map_or_else(|| journey.prompt_estimate(), |usage| usage.prompt);
            let base = known.unwrap_or_default();
            let completion = meter::count(&progress.text).max(base.completion);
            Metering::Estimated(Usage { prompt, completion, ..base }.consistent())
        }
    }
}

impl Journey<'_> {
    pub(crate) fn extras(&self) -> Extras {
        Extras { images: u64::from(self.head.image_count()) }
    }

    pub(crate) fn session(&self) -> Option<String> {
        self.head.text("session_id").map(|text| text.into_owned()).or_else(|| self.received.session.clone())
    }

    /// The local count of the prompt.
    pub(crate) fn prompt_estimate(&self) -> u64 {
        prompt_estimate(self.head)
    }
}

fn prompt_estimate(head: &RequestHead<'_>) -> u64 {
    match crate::prompt::text(head) {
        Ok(text) => meter::prompt_estimate(&text, head.message_count()),
        Err(_unreadable) => meter::prompt_bound_by_bytes(head.text_bytes(), head.message_count()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialects::{FailureClass, UpstreamFailure};

    fn usage(completion: u64) -> Option<Usage> {
        Some(Usage { prompt: 10, completion, ..Usage::default() })
    }

    #[test]
    fn each_ending_is_charged_as_its_row_says() {
        let stop = || Some((FinishReason::Stop, Some("stop".to_owned())));
        let text = || "Hello".to_owned();
        let broken = || Some(UpstreamFailure::new(FailureClass::Server, None, None, "broke"));
        let whole =
            || Progress { text: text(), usage: usage(5), finish: stop(), done: true, ..Progress::default() };
        let rows = [
            (Case::Complete, Basis::Provider, whole()),
            (Case::Complete, Basis::Provider, Progress { text: String::new(), usage: usage(0), ..whole() }),
            (Case::UsageMissing, Basis::Own, Progress { usage: None, ..whole() }),
            (Case::FailedAnswer, Basis::Nothing, Progress { error: broken(), ..whole() }),
            (
                Case::FailedAnswer,
                Basis::Nothing,
                Progress { finish: Some((FinishReason::Error, None)), ..whole() },
            ),
            (
                Case::EmptyAnswer,
                Basis::Nothing,
                Progress { text: String::new(), usage: usage(0), finish: None, ..whole() },
            ),
            (
                Case::EmptyAnswer,
                Basis::Nothing,
                Progress { text: String::new(), usage: None, finish: None, ..whole() },
            ),
            (Case::LeftAfterLastWord, Basis::Provider, Progress { cancelled: true, ..whole() }),
            (Case::UsageMissing, Basis::Own, Progress { cancelled: true, usage: None, ..whole() }),
            (Case::LeftWhereBillingStops, Basis::Own, Progress::left()),
            (
                Case::LeftWhereBillingStops,
                Basis::Own,
                Progress { cancelled: true, done: false, finish: None, usage: usage(2), ..whole() },
            ),
            // A client that takes nothing for too long is one that left.
            (
                Case::LeftWhereBillingStops,
                Basis::Own,
                Progress { cancelled: true, done: false, finish: None, usage: None, ..whole() },
            ),
            (
                Case::SlowClient,
                Basis::Own,
                Progress { slow_client: true, error: broken(), done: false, finish: None, ..whole() },
            ),
        ];
        for (case, basis, progress) in rows {
            assert_eq!((case_of(&progress), case.basis()), (case, basis), "{progress:?}");
        }
    }
}
