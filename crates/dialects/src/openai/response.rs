//! A whole answer or error of an OpenAI-like provider.

use crate::dialect::WireError;
use crate::json::{self, Kind, Members, MembersVisitor};
use crate::model::failure::{FailureClass, UpstreamFailure};
use crate::model::finish::FinishReason;
use crate::model::reasoning::ReasoningDetail;
use crate::model::reply::{Reply, ReplyChoice, ReplyMessage};
use crate::openai::wire;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;

#[derive(Deserialize)]
struct ReplyWire<'a> {
    id: Option<String>,
    model: Option<String>,
    #[serde(borrow)]
    choices: Option<Vec<ChoiceWire<'a>>>,
    usage: Option<Value>,
    error: Option<Value>,
    system_fingerprint: Option<String>,
    service_tier: Option<String>,
}

#[derive(Deserialize)]
struct ChoiceWire<'a> {
    #[serde(default)]
    index: u32,
    #[serde(borrow)]
    message: Option<MessageWire<'a>>,
    finish_reason: Option<String>,
    /// Present when the provider is itself a gateway of our kind.
    native_finish_reason: Option<String>,
    logprobs: Option<Box<RawValue>>,
    error: Option<Value>,
    /// Moonshot puts a stream's count into the choice (earendil-works/pi #2017, 2026-03).
    usage: Option<Value>,
}

/// The members of a message, unparsed: text, which is most of an answer, is read once and becomes no tree.
struct MessageWire<'a>(Members<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for MessageWire<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor).map(MessageWire)
    }
}

pub(super) fn parse(body: &[u8]) -> Result<Reply, WireError> {
    let wire: ReplyWire<'_> =
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
    let choices: Result<Vec<ReplyChoice>, WireError> = choices.into_iter().map(choice).collect();
    Ok(Reply {
        upstream_id: wire.id,
        model: wire.model,
        choices: choices?,
        usage,
        usage_fault,
        system_fingerprint: wire.system_fingerprint,
        service_tier: wire.service_tier,
    })
}

fn choice(wire: ChoiceWire<'_>) -> Result<ReplyChoice, WireError> {
    let message = message(wire.message.map(|wire| wire.0).unwrap_or_default())?;
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
    Ok(ReplyChoice {
        index: wire.index,
        message,
        finish,
        native_finish: wire.native_finish_reason.or(wire.finish_reason),
        logprobs: wire.logprobs,
    })
}

/// Of a member that is written twice the last one counts.
fn message(wire: Members<'_>) -> Result<ReplyMessage, WireError> {
    let (mut content, mut refusal, mut thought, mut thought_content) = (None, None, None, None);
    let (mut calls, mut given) = (None, None);
    let mut others = Map::new();
    for (key, raw) in wire {
        match key.as_ref() {
            "role" => {}
            "content" => content = Some(raw),
            "refusal" => refusal = text(raw)?,
            "reasoning" => thought = text(raw)?,
            "reasoning_content" => thought_content = text(raw)?,
            "tool_calls" => calls = Some(tree(raw)?),
            "reasoning_details" => given = Some(tree(raw)?),
            _ if matches!(raw.get(), "null" | "[]") => {
                others.remove(key.as_ref());
            }
            _ => {
                others.insert(key.into_owned(), tree(raw)?);
            }
        }
    }
    let (content, thinking) = match content {
        Some(raw) if Kind::of(raw) == Kind::Text => (text(raw)?, None),
        Some(raw) => {
            let (said, thinking) = wire::content(&tree(raw)?);
            (said.map(Cow::Owned), thinking)
        }
        None => (None, None),
    };
    let reasoning = [thought, thought_content].into_iter().flatten().find(|said| !said.is_empty());
    let reasoning = reasoning.map(Cow::into_owned).or(thinking);
    let tool_calls =
        calls.as_ref().and_then(Value::as_array).into_iter().flatten().filter_map(wire::tool_call);
    let reasoning_details = details(given, reasoning.as_deref());
    Ok(ReplyMessage {
        content: content.map(Cow::into_owned),
        refusal: refusal.map(Cow::into_owned),
        reasoning,
        reasoning_details,
        tool_calls: tool_calls.collect(),
        extra: raws(others),
    })
}

/// The content of a string, `None` for anything else.
fn text(raw: &RawValue) -> Result<Option<Cow<'_, str>>, WireError> {
    if Kind::of(raw) != Kind::Text {
        return Ok(None);
    }
    let text = serde_json::from_str::<json::Text<'_>>(raw.get());
    text.map(|text| Some(text.0)).map_err(|error| WireError::malformed("answer", &error))
}

fn tree(raw: &RawValue) -> Result<Value, WireError> {
    serde_json::from_str(raw.get()).map_err(|error| WireError::malformed("answer", &error))
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
