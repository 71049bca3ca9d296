//! Renders an answer as a chat completion, whole or in chunks.

use serde_json::{Map, Value, json};

use crate::providers::answer::{Finish, Tally, ToolCall};
use crate::providers::frame::{self, Frame, pieces};
use crate::providers::wire::Reply;

/// How many argument fragments a streamed tool call has.
const ARGUMENT_FRAGMENTS: usize = 4;

pub(super) fn whole(reply: &Reply<'_>) -> Value {
    let answer = reply.answer;
    let choice = |index: u64| {
        let mut message = Map::new();
        message.insert("role".to_owned(), json!("assistant"));
        message.insert("refusal".to_owned(), Value::Null);
        message.insert("annotations".to_owned(), json!([]));
        let content = if answer.tool.is_some() { Value::Null } else { json!(answer.text) };
        message.insert("content".to_owned(), content);
        if !answer.reasoning.is_empty() {
            message.insert("reasoning_content".to_owned(), json!(answer.reasoning));
        }
        if let Some(call) = &answer.tool {
            message.insert("tool_calls".to_owned(), json!([tool_call(reply, index, call)]));
        }
        json!({
            "index": index, "message": message, "logprobs": null,
            "finish_reason": finish_reason(&answer.finish),
        })
    };
    let mut body = object(reply, "chat.completion");
    body.insert("choices".to_owned(), (0..reply.ask.choices).map(choice).collect());
    if let Some(usage) = usage(reply) {
        body.insert("usage".to_owned(), usage);
    }
    Value::Object(body)
}

pub(super) fn frames(reply: &Reply<'_>) -> Vec<Frame> {
    let mut frames = Vec::new();
    for index in 0..reply.ask.choices {
        let opening = json!({"role": "assistant", "content": "", "refusal": null});
        frames.push(Frame::bare(chunk(reply, index, &opening, None)));
        frames.extend(content(reply, index));
        let finish = finish_reason(&reply.answer.finish);
        frames.push(Frame::bare(chunk(reply, index, &json!({}), Some(finish))));
    }
    if let Some(usage) = usage(reply).filter(|_| reply.ask.include_usage) {
        let mut body = object(reply, "chat.completion.chunk");
        body.insert("choices".to_owned(), json!([]));
        body.insert("usage".to_owned(), usage);
        let at = if reply.script.wire_usage_first { 1 } else { frames.len() };
        frames.insert(at, Frame::bare(frame::data(&Value::Object(body))));
    }
    if !reply.script.no_done {
        frames.push(Frame::bare("data: [DONE]\n\n"));
    }
    frames
}

/// The frames between the role and the finish reason: reasoning, then text or a tool call.
fn content(reply: &Reply<'_>, index: u64) -> Vec<Frame> {
    let mut frames = Vec::new();
    let count = reply.script.chunks;
    for piece in pieces(&reply.answer.reasoning, count) {
        frames.push(Frame::content(chunk(reply, index, &json!({"reasoning_content": piece}), None), ""));
    }
    for piece in pieces(&reply.answer.text, count) {
        frames.push(Frame::content(chunk(reply, index, &json!({"content": piece}), None), piece));
    }
    if let Some(call) = &reply.answer.tool {
        let mut opening =
            tool_call(reply, index, &ToolCall { name: call.name.clone(), arguments: String::new() });
        if let Some(fields) = opening.as_object_mut() {
            fields.insert("index".to_owned(), json!(0));
        }
        frames.push(Frame::content(chunk(reply, index, &json!({"tool_calls": [opening]}), None), ""));
        for piece in pieces(&call.arguments, Some(count.unwrap_or(ARGUMENT_FRAGMENTS))) {
            let delta = json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]});
            frames.push(Frame::content(chunk(reply, index, &delta, None), ""));
        }
    }
    frames
}

fn chunk(reply: &Reply<'_>, index: u64, delta: &Value, finish: Option<&str>) -> String {
    let mut body = object(reply, "chat.completion.chunk");
    let choice = json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": finish});
    body.insert("choices".to_owned(), json!([choice]));
    if reply.ask.include_usage {
        body.insert("usage".to_owned(), Value::Null);
    }
    frame::data(&Value::Object(body))
}

/// The fields that every object of one response repeats.
fn object(reply: &Reply<'_>, kind: &str) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("id".to_owned(), json!(format!("chatcmpl-{}", reply.unique)));
    body.insert("object".to_owned(), json!(kind));
    body.insert("created".to_owned(), json!(reply.created));
    body.insert("model".to_owned(), json!(reply.ask.model));
    body.insert("service_tier".to_owned(), json!("default"));
    body.insert("system_fingerprint".to_owned(), json!("fp_simulated"));
    body
}

fn tool_call(reply: &Reply<'_>, index: u64, call: &ToolCall) -> Value {
    json!({
        "id": format!("call_{}{index}", reply.unique),
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    })
}

fn finish_reason(finish: &Finish) -> &str {
    match finish {
        Finish::Stop | Finish::StopSequence(_) => "stop",
        Finish::Length => "length",
        Finish::Tool => "tool_calls",
        Finish::Custom(reason) => reason,
    }
}

/// The usage to report, unless the script leaves it out.
fn usage(reply: &Reply<'_>) -> Option<Value> {
    match &reply.script.usage {
        Some(Value::Null) => None,
        Some(forced) => Some(forced.clone()),
        None => Some(counted(&reply.answer.tally)),
    }
}

fn counted(tally: &Tally) -> Value {
    json!({
        "prompt_tokens": tally.prompt,
        "completion_tokens": tally.completion,
        "total_tokens": tally.prompt + tally.completion,
        "prompt_tokens_details": {"cached_tokens": tally.cache_read, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": tally.reasoning, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}
