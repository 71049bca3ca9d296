//! Renders an answer as a message, whole or as events.

use serde_json::{Map, Value, json};

use crate::providers::answer::{Finish, Tally};
use crate::providers::frame::{self, Frame, pieces};
use crate::providers::wire::Reply;

/// Stands for the opaque signature of a thinking block; base64 like the real ones.
const SIGNATURE: &str = "c2ltdWxhdGVkLXRoaW5raW5nLXNpZ25hdHVyZQ==";
/// How many argument fragments a streamed tool call has.
const ARGUMENT_FRAGMENTS: usize = 4;

pub(super) fn whole(reply: &Reply<'_>) -> Value {
    let answer = reply.answer;
    let mut content = Vec::new();
    if !answer.reasoning.is_empty() {
        content.push(json!({"type": "thinking", "thinking": answer.reasoning, "signature": SIGNATURE}));
    }
    if !answer.text.is_empty() {
        content.push(json!({"type": "text", "text": answer.text}));
    }
    if let Some(call) = &answer.tool {
        // Arguments cut by the token limit are no JSON any more; the real service then gives what it has.
        let input: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
        content.push(json!({"type": "tool_use", "id": tool_id(reply), "name": call.name, "input": input}));
    }
    let mut message = message(reply, content);
    message.insert("stop_reason".to_owned(), json!(stop_reason(&answer.finish)));
    message.insert("stop_sequence".to_owned(), json!(stop_sequence(&answer.finish)));
    if let Some(usage) = usage(reply, answer.tally.completion) {
        message.insert("usage".to_owned(), usage);
    }
    Value::Object(message)
}

pub(super) fn frames(reply: &Reply<'_>) -> Vec<Frame> {
    let answer = reply.answer;
    let mut frames = vec![start(reply), named("ping", json!({"type": "ping"}))];
    let mut index = 0_u64;
    let mut block = |opening: Value, deltas: Vec<(Value, String)>, frames: &mut Vec<Frame>| {
        let start = json!({"type": "content_block_start", "index": index, "content_block": opening});
        frames.push(named("content_block_start", start));
        for (delta, text) in deltas {
            let body = json!({"type": "content_block_delta", "index": index, "delta": delta});
            frames.push(Frame::content(frame::event("content_block_delta", &body), text));
        }
        frames.push(named("content_block_stop", json!({"type": "content_block_stop", "index": index})));
        index += 1;
    };
    if !answer.reasoning.is_empty() {
        let opening = json!({"type": "thinking", "thinking": "", "signature": ""});
        block(opening, thinking_deltas(reply), &mut frames);
    }
    if !answer.text.is_empty() {
        let deltas = pieces(&answer.text, reply.script.chunks)
            .into_iter()
            .map(|piece| (json!({"type": "text_delta", "text": piece}), piece))
            .collect();
        block(json!({"type": "text", "text": ""}), deltas, &mut frames);
    }
    if let Some(call) = &answer.tool {
        let opening = json!({"type": "tool_use", "id": tool_id(reply), "name": call.name, "input": {}});
        let count = reply.script.chunks.unwrap_or(ARGUMENT_FRAGMENTS);
        let deltas = std::iter::once(String::new())
            .chain(pieces(&call.arguments, Some(count)))
            .map(|piece| (json!({"type": "input_json_delta", "partial_json": piece}), String::new()))
            .collect();
        block(opening, deltas, &mut frames);
    }
    frames.push(end(reply));
    if !reply.script.no_done {
        frames.push(named("message_stop", json!({"type": "message_stop"})));
    }
    frames
}

fn named(name: &str, body: Value) -> Frame {
    Frame::bare(frame::event(name, &body))
}

fn thinking_deltas(reply: &Reply<'_>) -> Vec<(Value, String)> {
    pieces(&reply.answer.reasoning, reply.script.chunks)
        .into_iter()
        .map(|piece| json!({"type": "thinking_delta", "thinking": piece}))
        .chain(std::iter::once(json!({"type": "signature_delta", "signature": SIGNATURE})))
        .map(|delta| (delta, String::new()))
        .collect()
}

/// `message_start`, whose usage counts one output token as the real service's does, or all of them when
/// the script wants usage first.
fn start(reply: &Reply<'_>) -> Frame {
    let completion = reply.answer.tally.completion;
    let said = if reply.script.wire_usage_first { completion } else { completion.min(1) };
    let mut message = message(reply, Vec::new());
    message.insert("stop_reason".to_owned(), Value::Null);
    message.insert("stop_sequence".to_owned(), Value::Null);
    if let Some(usage) = usage(reply, said) {
        message.insert("usage".to_owned(), usage);
    }
    named("message_start", json!({"type": "message_start", "message": message}))
}

/// `message_delta`, whose usage is cumulative.
fn end(reply: &Reply<'_>) -> Frame {
    let finish = &reply.answer.finish;
    let mut body = Map::new();
    body.insert("type".to_owned(), json!("message_delta"));
    let delta = json!({"stop_reason": stop_reason(finish), "stop_sequence": stop_sequence(finish)});
    body.insert("delta".to_owned(), delta);
    if let Some(usage) = usage(reply, reply.answer.tally.completion) {
        body.insert("usage".to_owned(), usage);
    }
    named("message_delta", Value::Object(body))
}

fn message(reply: &Reply<'_>, content: Vec<Value>) -> Map<String, Value> {
    let mut message = Map::new();
    message.insert("id".to_owned(), json!(format!("msg_01{}", reply.unique)));
    message.insert("type".to_owned(), json!("message"));
    message.insert("role".to_owned(), json!("assistant"));
    message.insert("model".to_owned(), json!(reply.ask.model));
    message.insert("content".to_owned(), Value::Array(content));
    message
}

fn tool_id(reply: &Reply<'_>) -> String {
    format!("toolu_01{}", reply.unique)
}

fn stop_reason(finish: &Finish) -> &str {
    match finish {
        Finish::Stop => "end_turn",
        Finish::StopSequence(_) => "stop_sequence",
        Finish::Length => "max_tokens",
        Finish::Tool => "tool_use",
        Finish::Custom(reason) => reason,
    }
}

fn stop_sequence(finish: &Finish) -> Option<&str> {
    match finish {
        Finish::StopSequence(sequence) => Some(sequence),
        _ => None,
    }
}

/// The usage to report with `said` output tokens, unless the script leaves it out.
fn usage(reply: &Reply<'_>, said: u64) -> Option<Value> {
    match &reply.script.usage {
        Some(Value::Null) => None,
        Some(forced) => Some(forced.clone()),
        None => Some(counted(&reply.answer.tally, said)),
    }
}

/// `input_tokens` leaves out what was read from or written to the cache.
fn counted(tally: &Tally, said: u64) -> Value {
    let fresh = tally.prompt.saturating_sub(tally.cache_read).saturating_sub(tally.cache_write);
    json!({
        "input_tokens": fresh,
        "cache_creation_input_tokens": tally.cache_write,
        "cache_read_input_tokens": tally.cache_read,
        "cache_creation": {"ephemeral_5m_input_tokens": tally.cache_write, "ephemeral_1h_input_tokens": 0},
        "output_tokens": said,
        "service_tier": "standard",
    })
}
