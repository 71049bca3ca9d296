//! Attempts: the plan's candidates are called in order until one answers. Never again after the first byte
//! went to the client; never beyond the plan.

use crate::client::Answerer;
use crate::refusal::{Kind, Refusal};
use crate::stage::admit::Funded;
use crate::upstream::{Access, Answer, CallFailure, Upstream};
use billing::AttemptRecord;
use catalog::Provider;
use dialects::{Dialect, FailureClass, Quirks, RequestHead, Target, UpstreamFailure, WireError};
use kernel::Clock;
use kernel::SecretString;
use kernel::ids::ProviderKeyId;
use serde::Deserialize as _;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How providers are reached with our own credentials; built once from the configuration.
pub trait Accesses: Send + Sync {
    /// `None`: we have no credential, and no simulator stands in.
    fn own(&self, provider: &Provider) -> Option<Access>;

    /// Whether [`own`](Self::own) finds a way, asked for every endpoint of a plan.
    fn reaches(&self, provider: &Provider) -> bool {
        self.own(provider).is_some()
    }

    /// The address for a customer's own key (the simulator's, where one stands in).
    fn for_customer_key(&self, provider: &Provider) -> Access;
}

/// The customer's opened provider keys of one request.
pub type OpenKeys = HashMap<ProviderKeyId, SecretString>;

/// One call about to be made.
pub struct Attempt<'a> {
    pub funded: &'a Funded,
    pub dialect: &'static dyn Dialect,
    pub access: Access,
}

/// Why an attempt failed, as the log, the health board and the client need it.
#[derive(Debug)]
pub struct Failed {
    pub failure: UpstreamFailure,
    /// The stable word of the attempt's record.
    pub outcome: &'static str,
    pub retry_after: Option<Duration>,
    /// The provider's name, for the client.
    pub provider: String,
    /// The fault lies in the request as this dialect must say it, not in the provider.
    pub ours: bool,
    /// All the time of the request is gone.
    pub spent: bool,
}

/// What a failure leaves to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Any other endpoint.
    Others,
    /// Only other models of the client's own list.
    OtherModels,
    Nothing,
}

/// An answer's head, and which request fields the provider did not get to see.
#[derive(Debug)]
pub struct Opened {
    pub answer: Answer,
    pub ignored: Vec<String>,
}

/// Who calls.
#[derive(Clone)]
pub struct Caller {
    pub upstream: Upstream,
    pub accesses: Arc<dyn Accesses>,
    pub clock: Arc<dyn Clock>,
}

impl Caller {
    /// Finds address and credential of a candidate.
    pub fn prepare<'a>(&self, funded: &'a Funded, keys: &OpenKeys) -> Result<Attempt<'a>, Failed> {
        let candidate = &funded.candidate;
        let provider = &candidate.provider;
        let broken = |message: &str| Failed {
            failure: UpstreamFailure::new(FailureClass::Server, None, None, message),
            outcome: "unreachable",
            retry_after: None,
            provider: provider.name.clone(),
            ours: true,
            spent: false,
        };
        let dialect = dialects::registry::find(&provider.dialect).ok_or_else(|| broken("unknown dialect"))?;
        let access = match candidate.own_key {
            None => self.accesses.own(provider).ok_or_else(|| broken("no credential"))?,
            Some(id) => {
                let key = keys.get(&id).ok_or_else(|| broken("the provider key could not be opened"))?;
                Access { key: Some(key.clone()), ..self.accesses.for_customer_key(provider) }
            }
        };
        Ok(Attempt { funded, dialect, access })
    }

    /// Sends the request and waits for the head.
    pub async fn open(
        &self,
        attempt: &Attempt<'_>,
        head: &RequestHead<'_>,
        stream: bool,
    ) -> Result<Opened, Failed> {
        let candidate = &attempt.funded.candidate;
        let quirks = quirks_of(&candidate.provider);
        let given = head.max_tokens();
        let most = candidate.endpoint.max_completion_tokens;
        let required = attempt.dialect.requires_max_tokens() && given.is_none();
        let target = Target {
            provider_model: &candidate.endpoint.provider_model,
            max_tokens: attempt.funded.max_tokens.or(required.then_some(most)),
            quirks: &quirks,
            stream,
        };
        let wire = attempt.dialect.render_request(head, &target);
        let wire = wire.map_err(|error| attempt.failed(CallFailure::Wire(error)))?;
        let sent = self.upstream.send(&attempt.access, attempt.dialect, &wire, stream).await;
        // A whole answer that did not come in its long time was paid for already; it is not asked for twice.
        let spent = |failed: Failed| Failed { spent: !stream && failed.outcome == "timeout", ..failed };
        let answer = sent.map_err(|failure| spent(attempt.failed(failure)))?;
        Ok(Opened { answer, ignored: wire.warnings })
    }
}

/// Quirks are data of the catalog; unreadable ones are none, and staff see it in the log.
fn quirks_of(provider: &Provider) -> Quirks {
    if provider.quirks.is_null() {
        return Quirks::default();
    }
    Quirks::deserialize(&provider.quirks).unwrap_or_else(|error| {
        tracing::error!(provider = %provider.slug, %error, "unreadable quirks");
        Quirks::default()
    })
}

impl Attempt<'_> {
    /// Who answers, for the client's headers.
    #[must_use]
    pub fn answerer(&self, ignored: Vec<String>) -> Answerer {
        let provider = self.funded.candidate.provider.name.clone();
        Answerer { provider, simulated: self.access.simulated, ignored }
    }

    /// Classifies what went wrong.
    #[must_use]
    pub fn failed(&self, cause: CallFailure) -> Failed {
        let provider = self.funded.candidate.provider.name.clone();
        let make = |class, message: &str, outcome| Failed {
            failure: UpstreamFailure::new(class, None, None, message),
            outcome,
            retry_after: None,
            provider: provider.clone(),
            ours: false,
            spent: false,
        };
        match cause {
            CallFailure::Connect(detail) => {
                tracing::warn!(provider, detail, "a provider could not be reached");
                make(FailureClass::Server, "could not connect", "connect")
            }
            CallFailure::Broken(detail) => {
                tracing::warn!(provider, detail, "a provider's answer broke off");
                make(FailureClass::Server, "the connection broke", "broken")
            }
            CallFailure::Timeout => make(FailureClass::Timeout, "", "timeout"),
            CallFailure::TooLarge => make(FailureClass::Server, "the answer is too large", "too_large"),
            CallFailure::Refused { failure, retry_after } => {
                let outcome = failure.class.error_type();
                Failed { failure, outcome, retry_after, provider, ours: false, spent: false }
            }
            CallFailure::Wire(WireError::Upstream(failure)) => {
                let outcome = failure.class.error_type();
                Failed { failure, outcome, retry_after: None, provider, ours: false, spent: false }
            }
            CallFailure::Wire(error @ (WireError::Unsupported { .. } | WireError::Request(_))) => {
                Failed { ours: true, ..make(FailureClass::BadRequest, &error.to_string(), "unsupported") }
            }
            CallFailure::Wire(error) => make(FailureClass::Server, &error.to_string(), "malformed"),
        }
    }
}

impl Failed {
    /// What may do better.
    #[must_use]
    pub fn left(&self) -> Left {
        if self.spent {
            Left::Nothing
        } else if self.ours || self.failure.retryable_elsewhere() {
            Left::Others
        } else if self.failure.retryable_with_other_model() {
            Left::OtherModels
        } else {
            Left::Nothing
        }
    }

    /// No candidate was tried, because none was covered by what could be set aside.
    #[must_use]
    pub fn nothing_affordable() -> Self {
        Self {
            failure: UpstreamFailure::new(FailureClass::Server, None, None, "no candidate could be afforded"),
            outcome: "unaffordable",
            retry_after: None,
            provider: String::new(),
            ours: true,
            spent: false,
        }
    }

    /// What the client is told when no candidate is left.
    #[must_use]
    pub fn refusal(&self, attempts: &[AttemptRecord]) -> Refusal {
        let kind = match self.failure.class {
            FailureClass::RateLimited => Kind::RateLimited,
            FailureClass::Overloaded => Kind::ProviderOverloaded,
            FailureClass::Timeout => Kind::ProviderTimeout,
            FailureClass::ContextLength => Kind::ContextLength,
            FailureClass::ContentPolicy => Kind::ContentPolicy,
            FailureClass::BadRequest => Kind::ProviderRefused,
            FailureClass::TooLarge => Kind::PayloadTooLarge,
            FailureClass::Auth | FailureClass::Billing | FailureClass::NotFound | FailureClass::Server => {
                Kind::ProviderUnavailable
            }
        };
        let advice = match kind {
            Kind::RateLimited | Kind::ProviderOverloaded => " Retry shortly, or add fallback models.",
            Kind::ProviderUnavailable | Kind::ProviderTimeout => {
                " Retry, or add fallback models or providers."
            }
            _ if self.outcome == "unsupported" => ". Leave it out, or name a provider that takes it.",
            _ => "",
        };
        let previous: Vec<serde_json::Value> = attempts
            .iter()
            .map(|a| serde_json::json!({ "provider": a.provider, "code": a.outcome, "status": a.status }))
            .collect();
        let refusal = Refusal::new(kind, format!("{}{advice}", self.failure.public_message()))
            .with("provider_name", self.provider.clone())
            .with("provider_code", self.failure.provider_code.clone())
            .with("previous_errors", previous);
        let seconds = self.retry_after.map(|wait| u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1));
        match (kind, seconds) {
            (_, Some(seconds)) => refusal.retry_after(seconds),
            (Kind::RateLimited | Kind::ProviderOverloaded, None) => refusal.retry_after(5),
            // Worth another try; a credential or a model that is refused stays so.
            _ if matches!(self.failure.class, FailureClass::Server | FailureClass::Timeout) => {
                refusal.retry_after(2)
            }
            _ => refusal,
        }
    }
}

/// A row of the receipt. Times are `[started, ended, arrived]` on the monotonic clock.
#[must_use]
pub fn attempt_record(funded: &Funded, status: u16, outcome: &str, times: [Duration; 3]) -> AttemptRecord {
    let [started, ended, arrived] = times;
    AttemptRecord {
        provider: funded.candidate.provider.slug.clone(),
        status,
        outcome: outcome.to_owned(),
        started_ms: millis(started.saturating_sub(arrived)),
        duration_ms: millis(ended.saturating_sub(started)),
        own_key: funded.candidate.own_key.is_some(),
    }
}

/// Whole milliseconds, saturating.
#[must_use]
pub fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
