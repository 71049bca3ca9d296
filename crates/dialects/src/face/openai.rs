//! The chat completions face: OpenAI's wire shape with OpenRouter's additions.
//!
//! [`Relay`] is what a streaming handler needs; the other functions are its parts and the non-streamed
//! answer. The usage object with its cost is the gateway's, and comes in as JSON text.

mod chunk;
mod context;
mod error;
mod passthrough;
mod relay;
mod reply;
mod usage;

pub use chunk::{DONE, KEEP_ALIVE, render_chunk, render_usage_chunk};
pub use context::FaceContext;
pub use error::{ErrorBody, render_error_body, render_error_chunk};
pub use passthrough::PassThrough;
pub use relay::{Passed, Relay};
pub use reply::render_reply;
pub use usage::render_usage;
