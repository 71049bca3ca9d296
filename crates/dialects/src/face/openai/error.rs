//! Errors of this face: the body of an HTTP error, and the chunk for a failure after the head.

use super::context::FaceContext;
use crate::json::ObjectWriter;
use crate::model::failure::UpstreamFailure;
use bytes::Bytes;
use serde_json::{Map, Value};

/// An error as our clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorBody {
    /// The HTTP status, also inside a stream.
    pub code: u16,
    pub message: String,
    /// A word of the stable `error_type` vocabulary.
    pub error_type: &'static str,
    /// Further members of `metadata`, such as `provider_name`.
    pub metadata: Map<String, Value>,
}

impl ErrorBody {
    #[must_use]
    pub fn new(code: u16, error_type: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), error_type, metadata: Map::new() }
    }

    /// Adds a member of `metadata`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }
}

impl From<&UpstreamFailure> for ErrorBody {
    /// With the message a customer may read. The provider's code is shown unless the failure is about our
    /// own account there.
    fn from(failure: &UpstreamFailure) -> Self {
        let body =
            Self::new(failure.class.http_status(), failure.class.error_type(), failure.public_message());
        match (&failure.provider_code, failure.class.http_status()) {
            (Some(code), 400..=499 | 503 | 504) => body.with("provider_code", code.clone()),
            _ => body,
        }
    }
}

/// `{"error":{…}}` for an answer with an error status.
#[must_use]
pub fn render_error_body(error: &ErrorBody, strict: bool) -> Vec<u8> {
    let mut body = ObjectWriter::open(Vec::new());
    write_error(&mut body, error, strict);
    body.close()
}

/// The chunk for a failure after the head was sent; [`DONE`](super::DONE) follows it. In strict mode it is
/// OpenAI's own form: the error alone.
#[must_use]
pub fn render_error_chunk(error: &ErrorBody, context: &FaceContext) -> Bytes {
    let mut out = if context.is_strict() {
        ObjectWriter::open(b"data: ".to_vec())
    } else {
        context.open("chat.completion.chunk", b"data: ".to_vec())
    };
    write_error(&mut out, error, context.is_strict());
    if !context.is_strict() {
        let choice = r#"[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"error","native_finish_reason":null,"logprobs":null}]"#;
        out.raw("choices", choice);
    }
    let mut bytes = out.close();
    bytes.extend_from_slice(b"\n\n");
    Bytes::from(bytes)
}

/// OpenAI's error has `type`, `param` and a text or null `code`; ours a number and `metadata`.
fn write_error(out: &mut ObjectWriter, error: &ErrorBody, strict: bool) {
    out.with("error", |bytes| {
        let mut inner = ObjectWriter::open(bytes);
        if strict {
            inner.value("message", &error.message);
            inner.value("type", openai_type(error.code));
            inner.raw("param", "null");
            inner.value("code", error.error_type);
            return inner.close();
        }
        inner.value("code", &error.code);
        inner.value("message", &error.message);
        inner.with("metadata", |bytes| {
            let mut metadata = ObjectWriter::open(bytes);
            metadata.value("error_type", error.error_type);
            for (key, value) in error.metadata.iter().filter(|(key, _)| *key != "error_type") {
                metadata.value(key, value);
            }
            metadata.close()
        });
        inner.close()
    });
}

fn openai_type(code: u16) -> &'static str {
    match code {
        401 => "authentication_error",
        402 => "insufficient_quota",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}
