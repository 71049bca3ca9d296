//! The face of chat completions: what clients of `POST /chat/completions` read. The pipeline names it only
//! through this door.

pub use dialects::face::openai::{
    DONE, ErrorBody, FaceContext, KEEP_ALIVE, Passed, Relay, render_error_chunk, render_reply,
    render_usage_chunk,
};
