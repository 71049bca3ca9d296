//! Anthropic's Messages API, version 2023-06-01.
//!
//! Everything is translated; nothing passes through. What the API has no word for is refused or named in
//! the warnings, never dropped in silence.

mod content;
mod conversation;
mod generation;
mod options;
mod request;
mod response;
mod stream;
mod wire;

use crate::dialect::{AuthScheme, Dialect, StreamReader, Target, WireError, WireRequest};
use crate::model::failure::UpstreamFailure;
use crate::model::head::RequestHead;
use crate::model::reply::Reply;

/// How reasoning made by this API is marked, so that only such reasoning is replayed to it.
pub(crate) const REASONING_FORMAT: &str = "anthropic-claude-v1";

/// The dialect `anthropic`.
#[derive(Debug, Clone, Copy)]
pub struct Anthropic;

impl Dialect for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn auth(&self) -> AuthScheme {
        AuthScheme::XApiKey
    }

    fn requires_max_tokens(&self) -> bool {
        true
    }

    fn render_request(&self, head: &RequestHead<'_>, target: &Target<'_>) -> Result<WireRequest, WireError> {
        request::render(head, target)
    }

    fn parse_response(&self, body: &[u8]) -> Result<Reply, WireError> {
        response::parse(body)
    }

    fn parse_error(&self, status: u16, body: &[u8]) -> UpstreamFailure {
        response::parse_error(status, body)
    }

    fn stream_reader(&self) -> Box<dyn StreamReader> {
        Box::new(stream::Reader::default())
    }
}
