//! OpenAI's chat completions, and everyone who speaks like it.
//!
//! Requests pass through with only the top level rewritten. What providers do differently is data in
//! [`Quirks`](crate::Quirks), never a branch on a provider's name.

mod request;
mod response;
pub(crate) mod stream;
pub(crate) mod wire;

use crate::dialect::{AuthScheme, Dialect, StreamReader, Target, WireError, WireRequest};
use crate::model::failure::UpstreamFailure;
use crate::model::head::RequestHead;
use crate::model::reply::Reply;

/// The dialect `openai`.
#[derive(Debug, Clone, Copy)]
pub struct OpenAi;

impl Dialect for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn auth(&self) -> AuthScheme {
        AuthScheme::Bearer
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
