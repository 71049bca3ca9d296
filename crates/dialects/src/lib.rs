//! Wire languages of model providers and of our clients, as pure functions: bytes and values in,
//! values and bytes out.
//!
//! No async, no HTTP client, no clock, no logging. Who sends the bytes, counts the money or picks the
//! provider is somebody else. [`registry::find`] is the only list of dialects.

pub mod anthropic;
pub mod dialect;
pub mod face;
mod json;
pub mod model;
pub mod openai;
pub mod quirks;
pub mod registry;
mod scan;
mod sound;
pub mod sse;
mod walk;

pub use dialect::{AuthScheme, Dialect, StreamReader, Target, WireError, WireRequest};
pub use model::event::{Delta, StreamEvent, ToolCallDelta};
pub use model::failure::{FailureClass, UpstreamFailure};
pub use model::finish::FinishReason;
pub use model::head::{RequestHead, parse_chat_request};
pub use model::reasoning::{Effort, Reasoning, ReasoningDetail};
pub use model::reply::{Reply, ReplyChoice, ReplyMessage};
pub use model::request::ChatRequest;
pub use model::request_error::{RequestError, RequestErrorKind};
pub use quirks::Quirks;
