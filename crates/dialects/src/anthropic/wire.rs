//! The words of the Messages API: blocks, counts, stop reasons, error types.

use crate::dialect::WireError;
use crate::model::failure::{FailureClass, UpstreamFailure};
use crate::model::finish::FinishReason;
use crate::openai::wire::{bad_usage, count};
use kernel::Usage;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A content block of a request.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block {
    Text {
        text: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Box<RawValue>>,
    },
    Image {
        source: Source,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Box<RawValue>>,
    },
    Document {
        source: Source,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Box<RawValue>>,
    },
    ToolUse {
        id: String,
        name: String,
        input: Box<RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Box<RawValue>>,
    },
    ToolResult {
        tool_use_id: String,
        content: Vec<Block>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Box<RawValue>>,
    },
    Thinking {
        thinking: String,
        signature: String,
    },
    RedactedThinking {
        data: String,
    },
}

impl Block {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), cache_control: None }
    }

    /// Marks the block as the end of a cached prefix, unless it is already or cannot be.
    pub(super) fn cache(&mut self, mark: &RawValue) {
        match self {
            Self::Text { cache_control, .. }
            | Self::Image { cache_control, .. }
            | Self::Document { cache_control, .. }
            | Self::ToolUse { cache_control, .. }
            | Self::ToolResult { cache_control, .. } => {
                cache_control.get_or_insert_with(|| mark.to_owned());
            }
            // The API refuses cache marks on thinking.
            Self::Thinking { .. } | Self::RedactedThinking { .. } => {}
        }
    }
}

/// Where an image or document is.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Source {
    Base64 { media_type: String, data: String },
    Url { url: String },
    Text { media_type: &'static str, data: String },
}

/// One turn. The API wants user and assistant to take turns.
#[derive(Debug, Serialize)]
pub(super) struct Turn {
    pub(super) role: &'static str,
    pub(super) content: Vec<Block>,
}

/// The normalized finish for a stop reason. Unknown reasons are a normal stop; the word travels along.
pub(super) fn finish_reason(native: &str) -> FinishReason {
    match native {
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        _ => FinishReason::Stop,
    }
}

/// Reads a `usage` object over what is known so far: in a stream, `message_start` has the input and
/// `message_delta` the final, cumulative output (newer versions repeat the input there).
pub(super) fn usage(wire: &Value, before: &Counts) -> Result<Counts, WireError> {
    let read = |field: &str, old: u64| Ok::<u64, WireError>(count(wire, field)?.unwrap_or(old));
    let mut now = Counts {
        input: match count(wire, "input_tokens")? {
            Some(input) => Some(input),
            None => before.input,
        },
        output: match count(wire, "output_tokens")? {
            Some(output) => Some(output),
            None => before.output,
        },
        cache_read: read("cache_read_input_tokens", before.cache_read)?,
        written: read("cache_creation_input_tokens", before.written)?,
        written_1h: before.written_1h,
    };
    if let Some(split) = wire.get("cache_creation").filter(|split| split.is_object()) {
        let short = count(split, "ephemeral_5m_input_tokens")?.unwrap_or(0);
        now.written_1h = count(split, "ephemeral_1h_input_tokens")?.unwrap_or(0);
        now.written = now.written.max(short + now.written_1h);
    }
    if now.written_1h > now.written {
        return Err(bad_usage("ephemeral_1h_input_tokens", &Value::from(now.written_1h)));
    }
    Ok(now)
}

/// Counts as the API gives them: `input` excludes everything about caches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
    cache_read: u64,
    written: u64,
    written_1h: u64,
}

impl Counts {
    /// In our terms, where `prompt` includes the caches. The API does not report reasoning apart.
    pub(super) fn to_usage(self) -> Result<Usage, WireError> {
        let missing = |field: &str| bad_usage(field, &Value::Null);
        let input = self.input.ok_or_else(|| missing("input_tokens"))?;
        Ok(Usage {
            prompt: input + self.cache_read + self.written,
            completion: self.output.ok_or_else(|| missing("output_tokens"))?,
            cache_read: self.cache_read,
            cache_write: self.written - self.written_1h,
            cache_write_1h: self.written_1h,
            ..Usage::default()
        })
    }
}

/// A failure from an `error` object, of an answer or of a stream.
pub(super) fn failure(status: Option<u16>, error: &Value) -> UpstreamFailure {
    let field = |name: &str| error.get(name).and_then(Value::as_str);
    let message = field("message").unwrap_or_default();
    let kind = field("type");
    let class = match kind {
        Some("overloaded_error") => FailureClass::Overloaded,
        Some("rate_limit_error") => FailureClass::RateLimited,
        Some("authentication_error" | "permission_error") => FailureClass::Auth,
        Some("billing_error") => FailureClass::Billing,
        Some("not_found_error") => FailureClass::NotFound,
        Some("request_too_large") => FailureClass::TooLarge,
        Some("timeout_error") => FailureClass::Timeout,
        Some("api_error") => FailureClass::Server,
        Some("invalid_request_error") => invalid(message),
        _ => status.map_or(FailureClass::Server, FailureClass::from_status),
    };
    UpstreamFailure::new(class, status, kind, message)
}

/// One type covers many faults; the sentences are the API's own.
fn invalid(message: &str) -> FailureClass {
    let message = message.to_ascii_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
    if says(&["prompt is too long", "exceed context limit", "context window"]) {
        FailureClass::ContextLength
    } else if says(&["credit balance"]) {
        FailureClass::Billing
    } else if says(&["content filtering policy"]) {
        FailureClass::ContentPolicy
    } else {
        FailureClass::BadRequest
    }
}
