//! A streamed answer of an OpenAI-like provider: frames to events.
//!
//! [`Chunks`] is the state between frames; the pass-through shares it, so both ways agree.

use crate::dialect::{StreamReader, WireError};
use crate::model::event::{Delta, StreamEvent, ToolCallDelta};
use crate::openai::{response, wire};
use crate::sse::SseReader;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Bytes to events.
#[derive(Debug, Default)]
pub(super) struct Reader {
    sse: SseReader,
    chunks: Chunks,
}

impl StreamReader for Reader {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<StreamEvent>) -> Result<(), WireError> {
        let chunks = &mut self.chunks;
        self.sse.push(bytes, &mut |frame| chunks.frame(frame.data, out))
    }

    fn finish(&mut self, out: &mut Vec<StreamEvent>) -> Result<(), WireError> {
        let chunks = &mut self.chunks;
        self.sse.finish(&mut |frame| chunks.frame(frame.data, out))?;
        chunks.finish(out)
    }
}

#[derive(Deserialize)]
struct ChunkWire {
    id: Option<String>,
    model: Option<String>,
    choices: Option<Vec<ChoiceWire>>,
    usage: Option<Value>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct ChoiceWire {
    #[serde(default)]
    index: u32,
    delta: Option<Map<String, Value>>,
    finish_reason: Option<String>,
    native_finish_reason: Option<String>,
    logprobs: Option<Box<RawValue>>,
    usage: Option<Value>,
    error: Option<Value>,
}

/// What must be remembered between frames.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    started: bool,
    /// A finish reason was seen.
    finished: bool,
    failed: bool,
    done: bool,
    /// Tool calls by choice: for servers that number them not, or then say `stop`.
    called: BTreeMap<u32, u32>,
    /// Roles told before anything was said, by choice; each goes with the first real piece. So nothing
    /// reaches the client before the model speaks, and a failure until then can be tried elsewhere.
    roles: Vec<(u32, String)>,
}

impl Chunks {
    /// Whether a plain text delta can be sent without asking this state: the stream began, did not end, and
    /// no role waits for its first piece.
    pub(crate) fn flowing(&self) -> bool {
        self.started && !self.failed && !self.done && self.roles.is_empty()
    }

    /// Reads the data of one frame.
    pub(crate) fn frame(&mut self, data: &str, out: &mut Vec<StreamEvent>) -> Result<(), WireError> {
        if self.failed || self.done || data.is_empty() {
            return Ok(());
        }
        if data.trim() == "[DONE]" {
            self.done = true;
            if !self.finished {
                return Err(WireError::Truncated);
            }
            out.push(StreamEvent::Done);
            return Ok(());
        }
        let chunk: ChunkWire =
            serde_json::from_str(data).map_err(|error| WireError::malformed("stream event", &error))?;
        let mut choices = chunk.choices.unwrap_or_default();
        let error = chunk.error.or_else(|| choices.iter_mut().find_map(|choice| choice.error.take()));
        if !self.started && error.is_none() {
            self.started = true;
            out.push(StreamEvent::Start { upstream_id: chunk.id, model: chunk.model });
        }
        let mut counted = chunk.usage.filter(|usage| !usage.is_null());
        for choice in choices {
            counted = counted.or(choice.usage.clone());
            self.choice(choice, error.is_some(), out);
        }
        if let Some(usage) = counted {
            out.push(match wire::usage(&usage) {
                Ok(usage) => StreamEvent::Usage(usage),
                Err(fault) => StreamEvent::UsageFault(fault),
            });
        }
        if let Some(error) = error {
            self.failed = true;
            out.push(StreamEvent::Error(wire::failure(None, &error)));
        }
        Ok(())
    }

    /// `failing`: the frame carries an error, which stands for the finish.
    fn choice(&mut self, wire: ChoiceWire, failing: bool, out: &mut Vec<StreamEvent>) {
        let seen = self.called.entry(wire.index).or_default();
        let mut delta = delta(wire.index, wire.delta.unwrap_or_default(), wire.logprobs, seen);
        let called = *seen > 0;
        if says_something(&delta) {
            let waiting = self.roles.iter().position(|(choice, _)| *choice == wire.index);
            let told = waiting.map(|position| self.roles.swap_remove(position).1);
            delta.role = delta.role.or(told);
            out.push(StreamEvent::Delta(Box::new(delta)));
        } else if let Some(role) = delta.role {
            self.roles.retain(|(choice, _)| *choice != wire.index);
            self.roles.push((wire.index, role));
        }
        // An empty word is some servers' null.
        let Some(word) = wire.finish_reason.filter(|word| !word.is_empty() && !failing) else { return };
        self.finished = true;
        let reason = match wire::finish_reason(&word) {
            crate::FinishReason::Stop if called => crate::FinishReason::ToolCalls,
            reason => reason,
        };
        let native = wire.native_finish_reason.or(Some(word));
        out.push(StreamEvent::Finish { choice: wire.index, reason, native });
    }

    /// The upstream closed: an answer without `[DONE]` is complete if every choice said why it ended.
    pub(crate) fn finish(&mut self, out: &mut Vec<StreamEvent>) -> Result<(), WireError> {
        if self.done || self.failed {
            return Ok(());
        }
        if !self.finished {
            return Err(WireError::Truncated);
        }
        self.done = true;
        out.push(StreamEvent::Done);
        Ok(())
    }
}

/// More than a role and empty text.
fn says_something(delta: &Delta) -> bool {
    delta.content.as_ref().is_some_and(|text| !text.is_empty())
        || delta.reasoning.is_some()
        || !delta.reasoning_details.is_empty()
        || !delta.tool_calls.is_empty()
        || delta.refusal.as_ref().is_some_and(|text| !text.is_empty())
        || delta.logprobs.is_some()
        || !delta.extra.is_empty()
}

/// `seen`: tool calls of this choice so far.
fn delta(
    choice: u32,
    mut wire: Map<String, Value>,
    logprobs: Option<Box<RawValue>>,
    seen: &mut u32,
) -> Delta {
    let mut text = |key: &str| match wire.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let role = text("role");
    let refusal = text("refusal");
    let reasoning =
        [text("reasoning"), text("reasoning_content")].into_iter().flatten().find(|r| !r.is_empty());
    let (content, thinking) = wire.remove("content").map(|value| wire::content(&value)).unwrap_or_default();
    let reasoning = reasoning.or(thinking).filter(|text| !text.is_empty());
    let calls = wire.remove("tool_calls");
    let calls = calls.as_ref().and_then(Value::as_array).into_iter().flatten();
    let tool_calls = calls.map(|call| tool_call(seen, call)).collect();
    let reasoning_details = response::details(wire.remove("reasoning_details"), reasoning.as_deref());
    Delta {
        choice,
        role,
        content,
        reasoning,
        reasoning_details,
        tool_calls,
        refusal,
        logprobs: logprobs.filter(|raw| raw.get() != "null"),
        extra: response::raws(wire),
    }
}

/// Google's compatibility endpoint sends no `index` (open-webui/computer #224, 2026-08): there a new id is
/// a new call, and a piece without one belongs to the last.
fn tool_call(seen: &mut u32, value: &Value) -> ToolCallDelta {
    let nonempty = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let id = value.get("id").and_then(Value::as_str).and_then(nonempty);
    let given = value.get("index").and_then(Value::as_u64).and_then(|index| u32::try_from(index).ok());
    let index = given.unwrap_or(if id.is_some() { *seen } else { seen.saturating_sub(1) });
    *seen = (*seen).max(index.saturating_add(1));
    let whole = wire::tool_call(value);
    ToolCallDelta {
        index,
        id,
        name: whole.as_ref().and_then(|call| nonempty(&call.name)),
        extra_content: whole.as_ref().and_then(|call| call.extra_content.clone()),
        arguments: whole.map(|call| call.arguments).unwrap_or_default(),
    }
}
