//! What OpenAI-like answers have in common, streamed or not: counts, finish words, failures, content.
//!
//! Reading is lenient about shape and strict about counts.

use crate::dialect::WireError;
use crate::model::failure::{FailureClass, UpstreamFailure};
use crate::model::finish::FinishReason;
use crate::model::tool::ToolCall;
use kernel::Usage;
use serde_json::Value;

/// No answer has more tokens than this; a larger count is a fault of the provider.
pub(crate) const ABSURD_TOKENS: u64 = 1_000_000_000;

/// One count. Absent and null are `None`; anything that is not a believable whole number is a fault.
pub(crate) fn count(holder: &Value, field: &str) -> Result<Option<u64>, WireError> {
    match holder.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().filter(|count| *count <= ABSURD_TOKENS) {
            Some(count) => Ok(Some(count)),
            None => Err(bad_usage(field, value)),
        },
    }
}

pub(crate) fn bad_usage(field: &str, value: &Value) -> WireError {
    WireError::BadUsage { field: field.to_owned(), value: value.to_string().chars().take(40).collect() }
}

fn required(holder: &Value, field: &str) -> Result<u64, WireError> {
    count(holder, field)?.ok_or_else(|| bad_usage(field, &Value::Null))
}

/// Part of a count; a provider that does not report it has none of it.
fn part(holder: &Value, details: &str, field: &str) -> Result<u64, WireError> {
    Ok(holder.get(details).map(|details| count(details, field)).transpose()?.flatten().unwrap_or(0))
}

/// Reads a `usage` object.
pub(crate) fn usage(wire: &Value) -> Result<Usage, WireError> {
    let prompt = required(wire, "prompt_tokens")?;
    let mut completion = required(wire, "completion_tokens")?;
    let mut cache_read = part(wire, "prompt_tokens_details", "cached_tokens")?;
    if cache_read == 0 {
        // DeepSeek's own name for it (its guide "Context caching"); Moonshot says `cached_tokens` at the top
        // as well (bike4mind #1089, 2026-07).
        let own = count(wire, "prompt_cache_hit_tokens")?;
        cache_read = own.or(count(wire, "cached_tokens")?).unwrap_or(0);
    }
    let cache_write = part(wire, "prompt_tokens_details", "cache_write_tokens")?;
    let reasoning = part(wire, "completion_tokens_details", "reasoning_tokens")?;
    // xAI leaves reasoning out of `completion_tokens` but has it in the total ("counted separately from
    // completion_tokens", its page on consumption; vercel/ai #12425, 2026-02). Ours always includes it.
    if reasoning > 0 && count(wire, "total_tokens")? == Some(prompt + completion + reasoning) {
        completion += reasoning;
    }
    if cache_read + cache_write > prompt {
        return Err(bad_usage("cached_tokens", &Value::from(cache_read + cache_write)));
    }
    Ok(Usage {
        prompt,
        completion,
        cache_read,
        cache_write,
        cache_write_1h: 0,
        reasoning: reasoning.min(completion),
        audio_prompt: part(wire, "prompt_tokens_details", "audio_tokens")?.min(prompt),
        audio_completion: part(wire, "completion_tokens_details", "audio_tokens")?.min(completion),
    })
}

/// The normalized finish for a provider's word. Unknown words are a normal stop; the word travels along.
pub(crate) fn finish_reason(native: &str) -> FinishReason {
    match native {
        // `model_length`: Mistral. `max_output_tokens`: gateways in front of the responses API.
        "length" | "max_tokens" | "model_length" | "max_output_tokens" | "MAX_TOKENS" => FinishReason::Length,
        "tool_calls" | "function_call" | "tool_use" | "tool_call" => FinishReason::ToolCalls,
        "content_filter" | "safety" | "SAFETY" | "refusal" | "sensitive" => FinishReason::ContentFilter,
        // `insufficient_system_resource`: DeepSeek. `network_error`: Zhipu. `abort`: vLLM.
        "error" | "insufficient_system_resource" | "network_error" | "abort" => FinishReason::Error,
        _ => FinishReason::Stop,
    }
}

/// Text and reasoning of a `content` value. Mistral's reasoning models send an array of parts with
/// `thinking` parts in it (spring-ai #5019, 2025-12); everybody else a string.
pub(crate) fn content(value: &Value) -> (Option<String>, Option<String>) {
    match value {
        Value::String(text) => (Some(text.clone()), None),
        Value::Array(parts) => {
            let (mut text, mut thinking) = (None, None);
            for part in parts {
                if let Some(Value::String(said)) = part.get("text") {
                    text.get_or_insert_with(String::new).push_str(said);
                }
                if let Some(Value::Array(thoughts)) = part.get("thinking") {
                    let said =
                        thoughts.iter().filter_map(|thought| thought.get("text").and_then(Value::as_str));
                    thinking.get_or_insert_with(String::new).extend(said);
                }
            }
            (text, thinking)
        }
        _ => (None, None),
    }
}

/// A whole tool call. Some servers send arguments as an object; it becomes its JSON text.
pub(crate) fn tool_call(value: &Value) -> Option<ToolCall> {
    let function = value.get("function")?;
    let arguments = match function.get("arguments") {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    };
    Some(ToolCall {
        id: value.get("id").and_then(Value::as_str).unwrap_or_default().to_owned(),
        name: function.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        arguments,
        extra_content: value.get("extra_content").filter(|extra| !extra.is_null()).map(Value::to_string),
    })
}

/// A failure from the `error` member of an answer, a bare string included. `status` is `None` in a stream.
pub(crate) fn failure(status: Option<u16>, error: &Value) -> UpstreamFailure {
    let field = |name: &str| error.get(name).and_then(Value::as_str);
    let message = error.as_str().or_else(|| field("message")).or_else(|| field("detail")).unwrap_or_default();
    let number = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let digits = number.map(|code| code.to_string());
    let code = field("code").or(digits.as_deref()).or_else(|| field("type"));
    // Inside a stream the code, if it is an HTTP status, is the only status there is.
    let status_like = status.or(number.filter(|code| (400..600).contains(code)));
    UpstreamFailure::new(classify(status_like, code, field("type"), message), status, code, message)
}

/// Codes are trusted before words, words before the status.
fn classify(status: Option<u16>, code: Option<&str>, kind: Option<&str>, message: &str) -> FailureClass {
    for word in [code, kind].into_iter().flatten() {
        match word {
            "context_length_exceeded" | "string_above_max_length" => return FailureClass::ContextLength,
            "content_policy_violation" | "content_filter" | "moderation_blocked" | "invalid_prompt" => {
                return FailureClass::ContentPolicy;
            }
            "insufficient_quota" | "billing_hard_limit_reached" | "billing_not_active" => {
                return FailureClass::Billing;
            }
            "rate_limit_exceeded" | "rate_limit_error" | "too_many_requests" => {
                return FailureClass::RateLimited;
            }
            "model_not_found" => return FailureClass::NotFound,
            "invalid_api_key" | "authentication_error" | "permission_denied" => return FailureClass::Auth,
            "overloaded_error" | "engine_overloaded" | "server_overloaded" => {
                return FailureClass::Overloaded;
            }
            "server_error" | "internal_server_error" if status.is_none() => return FailureClass::Server,
            _ => {}
        }
    }
    let class = status.map_or(FailureClass::Server, FailureClass::from_status);
    if class == FailureClass::BadRequest && speaks_of_context(message) {
        return FailureClass::ContextLength;
    }
    class
}

/// vLLM, Together, Fireworks and others have no code for it, only sentences like these.
fn speaks_of_context(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["context length", "context window", "maximum context", "prompt is too long", "too many tokens"]
        .iter()
        .any(|phrase| message.contains(phrase))
}
