//! A whole answer or error of the Messages API.

use super::{REASONING_FORMAT, wire};
use crate::dialect::WireError;
use crate::model::failure::{FailureClass, UpstreamFailure};
use crate::model::finish::FinishReason;
use crate::model::reasoning::ReasoningDetail;
use crate::model::reply::{Reply, ReplyChoice, ReplyMessage};
use crate::model::tool::ToolCall;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct ReplyWire {
    #[serde(rename = "type")]
    kind: Option<String>,
    id: Option<String>,
    model: Option<String>,
    content: Option<Vec<BlockWire>>,
    stop_reason: Option<String>,
    usage: Option<Value>,
    error: Option<Value>,
}

/// A block of an answer: the members of all kinds we know, flat.
#[derive(Debug, Default, Deserialize)]
pub(super) struct BlockWire {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    pub(super) text: Option<String>,
    pub(super) thinking: Option<String>,
    pub(super) signature: Option<String>,
    pub(super) data: Option<String>,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) input: Option<Box<RawValue>>,
}

pub(super) fn parse(body: &[u8]) -> Result<Reply, WireError> {
    let wire: ReplyWire =
        serde_json::from_slice(body).map_err(|error| WireError::malformed("answer", &error))?;
    if let Some(error) = wire.error {
        return Err(WireError::Upstream(wire::failure(None, &error)));
    }
    if wire.kind.as_deref() != Some("message") {
        return Err(WireError::Malformed { what: "answer", detail: "not a message".to_owned() });
    }
    let counts = wire.usage.as_ref().map(|usage| wire::usage(usage, &wire::Counts::default())?.to_usage());
    let (usage, usage_fault) = match counts.transpose() {
        Ok(usage) => (usage, None),
        Err(fault) => (None, Some(fault)),
    };
    let choice = ReplyChoice {
        index: 0,
        message: message(wire.content.unwrap_or_default()),
        finish: wire.stop_reason.as_deref().map_or(FinishReason::Stop, wire::finish_reason),
        native_finish: wire.stop_reason,
        logprobs: None,
    };
    Ok(Reply {
        upstream_id: wire.id,
        model: wire.model,
        choices: vec![choice],
        usage,
        usage_fault,
        ..Reply::default()
    })
}

/// Blocks in their order: texts are joined, thinking keeps its order in the details.
fn message(blocks: Vec<BlockWire>) -> ReplyMessage {
    let mut out = ReplyMessage::default();
    let mut index = 0;
    for block in blocks {
        match block.kind.as_str() {
            "text" => out.content.get_or_insert_default().push_str(block.text.as_deref().unwrap_or_default()),
            "thinking" => {
                let text = block.thinking.unwrap_or_default();
                out.reasoning.get_or_insert_default().push_str(&text);
                let mut detail = ReasoningDetail::text(text, REASONING_FORMAT, index);
                detail.signature = block.signature;
                out.reasoning_details.push(detail);
                index += 1;
            }
            "redacted_thinking" => {
                let data = block.data.unwrap_or_default();
                out.reasoning_details.push(ReasoningDetail::encrypted(data, REASONING_FORMAT, index));
                index += 1;
            }
            "tool_use" => out.tool_calls.push(ToolCall {
                id: block.id.unwrap_or_default(),
                name: block.name.unwrap_or_default(),
                arguments: block.input.map_or_else(|| "{}".to_owned(), |input| input.get().to_owned()),
                extra_content: None,
            }),
            // Blocks of server tools, which we never ask for.
            _ => {}
        }
    }
    out
}

pub(super) fn parse_error(status: u16, body: &[u8]) -> UpstreamFailure {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) if value.get("error").is_some_and(Value::is_object) => {
            wire::failure(Some(status), value.get("error").unwrap_or(&Value::Null))
        }
        _ => UpstreamFailure::new(FailureClass::from_status(status), Some(status), None, ""),
    }
}
