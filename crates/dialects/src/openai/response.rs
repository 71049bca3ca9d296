//! A whole answer or error of an OpenAI-like provider.

use crate::dialect::WireError;
use crate::model::failure::{FailureClass, UpstreamFailure};
use crate::model::finish::FinishReason;
use crate::model::reasoning::ReasoningDetail;
use crate::model::reply::{Reply, ReplyChoice, ReplyMessage};
use crate::openai::wire;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct ReplyWire {
    id: Option<String>,
    model: Option<String>,
    choices: Option<Vec<ChoiceWire>>,
    usage: Option<Value>,
    error: Option<Value>,
    system_fingerprint: Option<String>,
    service_tier: Option<String>,
}

#[derive(Deserialize)]
struct ChoiceWire {
    #[serde(default)]
    index: u32,
    message: Option<Map<String, Value>>,
    finish_reason: Option<String>,
    /// Present when the provider is itself a gateway of our kind.
    native_finish_reason: Option<String>,
    logprobs: Option<Box<RawValue>>,
    error: Option<Value>,
    /// Moonshot puts a stream's count into the choice (earendil-works/pi #2017, 2026-03).
    usage: Option<Value>,
}

pub(super) fn parse(body: &[u8]) -> Result<Reply, WireError> {
    let wire: ReplyWire =
        serde_json::from_slice(body).map_err(|error| WireError::malformed("answer", &error))?;
    let mut choices = wire.choices.unwrap_or_default();
    let failed = wire.error.or_else(|| choices.iter_mut().find_map(|choice| choice.error.take()));
    if let Some(error) = failed {
        return Err(WireError::Upstream(wire::failure(None, &error)));
    }
    if choices.is_empty() {
        return Err(WireError::Malformed { what: "answer", detail: "no choices".to_owned() });
    }
    let counted = wire.usage.or_else(|| choices.iter_mut().find_map(|choice| choice.usage.take()));
    let (usage, usage_fault) = match counted.as_ref().map(wire::usage).transpose() {
        Ok(usage) => (usage, None),
        Err(fault) => (None, Some(fault)),
    };
    Ok(Reply {
        upstream_id: wire.id,
        model: wire.model,
        choices: choices.into_iter().map(choice).collect(),
        usage,
        usage_fault,
        system_fingerprint: wire.system_fingerprint,
        service_tier: wire.service_tier,
    })
}

fn choice(wire: ChoiceWire) -> ReplyChoice {
    let message = message(wire.message.unwrap_or_default());
    let finish = match wire.finish_reason.as_deref() {
        Some(word) => wire::finish_reason(word),
        None => FinishReason::Stop,
    };
    // Some servers say `stop` after tool calls (litellm #35663, python-genai #2868, 2026-08); clients look at
    // the word.
    let finish = match finish {
        FinishReason::Stop if !message.tool_calls.is_empty() => FinishReason::ToolCalls,
        other => other,
    };
    ReplyChoice {
        index: wire.index,
        message,
        finish,
        native_finish: wire.native_finish_reason.or(wire.finish_reason),
        logprobs: wire.logprobs,
    }
}

fn message(mut wire: Map<String, Value>) -> ReplyMessage {
    let mut text = |key: &str| match wire.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let refusal = text("refusal");
    let reasoning =
        [text("reasoning"), text("reasoning_content")].into_iter().flatten().find(|r| !r.is_empty());
    let (content, thinking) = wire.remove("content").map(|value| wire::content(&value)).unwrap_or_default();
    let reasoning = reasoning.or(thinking);
    let calls = wire.remove("tool_calls");
    let tool_calls =
        calls.as_ref().and_then(Value::as_array).into_iter().flatten().filter_map(wire::tool_call);
    let reasoning_details = details(wire.remove("reasoning_details"), reasoning.as_deref());
    wire.remove("role");
    ReplyMessage {
        content,
        refusal,
        reasoning,
        reasoning_details,
        tool_calls: tool_calls.collect(),
        extra: raws(wire),
    }
}

/// The provider's details, or one made from its plain reasoning, so that every answer can be replayed.
pub(super) fn details(given: Option<Value>, reasoning: Option<&str>) -> Vec<ReasoningDetail> {
    let given = given.and_then(|value| serde_json::from_value::<Vec<ReasoningDetail>>(value).ok());
    match (given, reasoning) {
        (Some(details), _) if !details.is_empty() => details,
        (_, Some(text)) => vec![ReasoningDetail::text(text, "unknown", 0)],
        _ => Vec::new(),
    }
}

/// What is left of an object, member by member, nulls and empty lists dropped.
pub(super) fn raws(members: Map<String, Value>) -> Vec<(String, Box<RawValue>)> {
    let said = |value: &Value| !value.is_null() && value.as_array().is_none_or(|items| !items.is_empty());
    members
        .into_iter()
        .filter(|(_, value)| said(value))
        .filter_map(|(key, value)| Some((key, serde_json::value::to_raw_value(&value).ok()?)))
        .collect()
}

pub(super) fn parse_error(status: u16, body: &[u8]) -> UpstreamFailure {
    match serde_json::from_slice::<Value>(body) {
        // FastAPI servers (vLLM) put message and type at the top, or a `detail`; some wrap in an array.
        Ok(Value::Array(items)) => match items.first() {
            Some(first) => wire::failure(Some(status), first.get("error").unwrap_or(first)),
            None => UpstreamFailure::new(FailureClass::from_status(status), Some(status), None, ""),
        },
        Ok(value) => wire::failure(Some(status), value.get("error").unwrap_or(&value)),
        // A proxy's HTML page says nothing a customer should read.
        Err(_) => UpstreamFailure::new(FailureClass::from_status(status), Some(status), None, ""),
    }
}
