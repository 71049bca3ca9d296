//! What a dialect is: two traits and the values they exchange. Nothing here does I/O.
//!
//! The gateway sends a [`WireRequest`]; the dialect only describes it, and may be asked again for the
//! next attempt with the same head.

use crate::model::event::StreamEvent;
use crate::model::failure::UpstreamFailure;
use crate::model::head::RequestHead;
use crate::model::reply::Reply;
use crate::model::request_error::RequestError;
use crate::quirks::Quirks;
use bytes::Bytes;
use std::borrow::Cow;

/// A wire language of providers.
pub trait Dialect: Send + Sync {
    /// The name in the catalog.
    fn name(&self) -> &'static str;

    /// Where the credential goes.
    fn auth(&self) -> AuthScheme;

    /// The request for one provider. `Unsupported` names what cannot be said; merely ignored fields are
    /// in [`WireRequest::warnings`].
    fn render_request(&self, head: &RequestHead<'_>, target: &Target<'_>) -> Result<WireRequest, WireError>;

    /// A whole answer with a success status. A body that only holds an error is [`WireError::Upstream`].
    fn parse_response(&self, body: &[u8]) -> Result<Reply, WireError>;

    /// An answer with an error status; any body, also none.
    fn parse_error(&self, status: u16, body: &[u8]) -> UpstreamFailure;

    /// A reader for one streamed answer.
    fn stream_reader(&self) -> Box<dyn StreamReader>;

    /// Whether a request must carry an output limit: then the target's or the caller's is needed.
    fn requires_max_tokens(&self) -> bool {
        false
    }

    /// Header name and value for a credential.
    fn auth_header(&self, key: &str) -> (&'static str, String) {
        self.auth().header(key)
    }
}

/// Bytes in, events out. Any split of the same bytes gives the same events.
pub trait StreamReader: Send {
    /// Reads the next bytes. After an error the reader is spent; events before it are in `out`.
    fn push(&mut self, bytes: &[u8], out: &mut Vec<StreamEvent>) -> Result<(), WireError>;

    /// The upstream closed. [`WireError::Truncated`] when the answer was not complete.
    fn finish(&mut self, out: &mut Vec<StreamEvent>) -> Result<(), WireError>;
}

/// To whom a request is rendered.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The provider's name of the model.
    pub provider_model: &'a str,
    /// The output limit to send, if the gateway sets one; else the caller's.
    pub max_tokens: Option<u32>,
    pub quirks: &'a Quirks,
    pub stream: bool,
}

/// A request as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireRequest {
    /// To append to the provider's base URL; starts with `/`.
    pub path: String,
    /// Without the credential. `content-type` is included.
    pub headers: Vec<(Cow<'static, str>, String)>,
    pub body: Bytes,
    /// Request fields the provider does not get to see, each once.
    pub warnings: Vec<String>,
}

/// The two ways of presenting a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthScheme {
    Bearer,
    XApiKey,
}

impl AuthScheme {
    #[must_use]
    pub fn header(self, key: &str) -> (&'static str, String) {
        match self {
            Self::Bearer => ("authorization", format!("Bearer {key}")),
            Self::XApiKey => ("x-api-key", key.to_owned()),
        }
    }
}

/// Why something could not be translated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The request says something that this dialect (or our tariff) has no word for.
    #[error("this provider cannot serve {what}")]
    Unsupported { what: String },
    /// The request itself; only from rendering.
    #[error("{0}")]
    Request(#[from] RequestError),
    /// The provider sent something that is not its own language.
    #[error("the provider sent a malformed {what}: {detail}")]
    Malformed { what: &'static str, detail: String },
    /// A token count that nobody can bill.
    #[error("the provider sent an impossible count: {field} = {value}")]
    BadUsage { field: String, value: String },
    /// An event of a stream beyond the bound.
    #[error("an event of the stream is larger than {limit} bytes")]
    TooLong { limit: usize },
    /// The stream ended before the answer did.
    #[error("the provider closed the stream before the answer was complete")]
    Truncated,
    /// An error where an answer should be, under a success status.
    #[error("the provider reported an error")]
    Upstream(UpstreamFailure),
}

impl WireError {
    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into() }
    }

    /// Keeps the parser's reason and place, which quote none of the content.
    pub(crate) fn malformed(what: &'static str, error: &serde_json::Error) -> Self {
        Self::Malformed { what, detail: format!("{:?} at column {}", error.classify(), error.column()) }
    }
}
