//! Everything the gateway refuses, as values: one table from kind to status and wire word, one sentence
//! that says what to do next. Faces render it in their own shape; nothing else decides a status.

use kernel::{Moment, StoreError, StoreErrorKind};
use serde_json::{Map, Value, json};

/// What kind of refusal. The table is [`Kind::row`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    InvalidRequest,
    ContextLength,
    PayloadTooLarge,
    HeadersTooLarge,
    Encoded,
    MethodNotAllowed,
    Authentication,
    PermissionDenied,
    LimitExceeded,
    PaymentRequired,
    NotFound,
    NoEndpoints,
    RateLimited,
    ContentPolicy,
    ProviderRefused,
    ProviderUnavailable,
    ProviderOverloaded,
    ProviderTimeout,
    Unavailable,
    Draining,
    Internal,
}

impl Kind {
    /// HTTP status and the stable word of `error.metadata.error_type`.
    #[must_use]
    pub fn row(self) -> (u16, &'static str) {
        match self {
            Self::InvalidRequest | Self::ProviderRefused => (400, "invalid_request"),
            Self::ContextLength => (400, "context_length_exceeded"),
            Self::ContentPolicy => (400, "content_policy_violation"),
            Self::Authentication => (401, "authentication"),
            Self::PaymentRequired => (402, "payment_required"),
            Self::PermissionDenied | Self::LimitExceeded => (403, "permission_denied"),
            Self::NotFound | Self::NoEndpoints => (404, "not_found"),
            Self::MethodNotAllowed => (405, "invalid_request"),
            Self::PayloadTooLarge => (413, "payload_too_large"),
            Self::Encoded => (415, "invalid_request"),
            Self::HeadersTooLarge => (431, "invalid_request"),
            Self::RateLimited => (429, "rate_limit_exceeded"),
            Self::Internal => (500, "server"),
            Self::ProviderUnavailable => (502, "provider_unavailable"),
            Self::ProviderOverloaded => (503, "provider_overloaded"),
            Self::Unavailable | Self::Draining => (503, "server"),
            Self::ProviderTimeout => (504, "timeout"),
        }
    }
}

/// A refusal on its way to the client.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub kind: Kind,
    /// One public sentence: what is wrong and what to do next.
    pub message: String,
    /// Facts for programs, beside `error_type`.
    pub metadata: Map<String, Value>,
    /// Seconds.
    pub retry_after: Option<u32>,
}

impl Refusal {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), metadata: Map::new(), retry_after: None }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.metadata.insert(name.to_owned(), value.into());
        self
    }

    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidRequest, message)
    }

    pub fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("{what} was not found."))
    }

    /// The store is in trouble: 503, nothing is held or charged by it. A conflict or corrupt row is ours to
    /// mend and also answers 503, because trying again is right once it is mended.
    #[must_use]
    pub fn from_store(error: &StoreError) -> Self {
        match error.kind {
            StoreErrorKind::Unavailable | StoreErrorKind::Moving => {
                tracing::warn!(error = %chain(error), "a store is unavailable");
            }
            StoreErrorKind::Conflict | StoreErrorKind::Corrupt => {
                tracing::error!(error = %chain(error), "a store contradicts itself");
            }
        }
        Self::new(
            Kind::Unavailable,
            "Farebox cannot serve this request at the moment. Nothing was charged. Try again shortly.",
        )
        .retry_after(2)
    }

    #[must_use]
    pub fn status(&self) -> u16 {
        self.kind.row().0
    }

    #[must_use]
    pub fn error_type(&self) -> &'static str {
        self.kind.row().1
    }

    /// `{"code","message","metadata":{"error_type",…}}`.
    #[must_use]
    pub fn error_object(&self) -> Value {
        let mut metadata = self.metadata.clone();
        metadata.insert("error_type".to_owned(), self.error_type().into());
        json!({ "code": self.status(), "message": self.message, "metadata": metadata })
    }
}

/// Seconds from `now` until a moment, at least one.
#[must_use]
pub fn seconds_until(now: Moment, then: Moment) -> u32 {
    u32::try_from((then - now).num_seconds().max(1)).unwrap_or(u32::MAX)
}

fn chain(error: &StoreError) -> String {
    let mut text = error.context.clone();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
