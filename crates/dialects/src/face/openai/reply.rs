//! A whole answer for a non-streamed call.

use super::chunk::{OPENAI_EXTRAS, finish_word};
use super::context::FaceContext;
use crate::json::ObjectWriter;
use crate::model::reply::{Reply, ReplyChoice, ReplyMessage};
use crate::model::tool::ToolCall;

/// `usage_json` is a JSON object, or `None` to leave the member out.
#[must_use]
pub fn render_reply(reply: &Reply, context: &FaceContext, usage_json: Option<&str>) -> Vec<u8> {
    let mut out = context.open("chat.completion", Vec::with_capacity(1024));
    out.with("choices", |mut bytes| {
        bytes.push(b'[');
        for (position, choice) in reply.choices.iter().enumerate() {
            if position > 0 {
                bytes.push(b',');
            }
            bytes = write_choice(bytes, choice, context);
        }
        bytes.push(b']');
        bytes
    });
    out.optional("service_tier", reply.service_tier.as_ref());
    // Null when the provider sent none: clients of this API require the member.
    out.value("system_fingerprint", &reply.system_fingerprint);
    if let Some(usage) = usage_json {
        out.raw("usage", usage);
    }
    out.close()
}

fn write_choice(bytes: Vec<u8>, choice: &ReplyChoice, context: &FaceContext) -> Vec<u8> {
    let mut out = ObjectWriter::open(bytes);
    out.value("index", &choice.index);
    out.with("message", |bytes| write_message(bytes, &choice.message, context));
    out.value("finish_reason", finish_word(choice.finish, context));
    if !context.is_strict() {
        out.value("native_finish_reason", &choice.native_finish);
    }
    out.raw("logprobs", choice.logprobs.as_ref().map_or("null", |raw| raw.get()));
    out.close()
}

/// `content` and `refusal` are always there, null when nothing was said: clients read them unasked.
fn write_message(bytes: Vec<u8>, message: &ReplyMessage, context: &FaceContext) -> Vec<u8> {
    let mut out = ObjectWriter::open(bytes);
    out.value("role", "assistant");
    out.value("content", &message.content);
    out.value("refusal", &message.refusal);
    if !context.hides_reasoning() {
        out.optional("reasoning", message.reasoning.as_ref());
        if !message.reasoning_details.is_empty() {
            out.value("reasoning_details", &message.reasoning_details);
        }
    }
    if !message.tool_calls.is_empty() {
        out.with("tool_calls", |bytes| write_calls(bytes, &message.tool_calls, context));
    }
    for (key, raw) in &message.extra {
        if !context.is_strict() || OPENAI_EXTRAS.contains(&key.as_str()) {
            out.raw(key, raw.get());
        }
    }
    out.close()
}

fn write_calls(mut bytes: Vec<u8>, calls: &[ToolCall], context: &FaceContext) -> Vec<u8> {
    bytes.push(b'[');
    for (position, call) in calls.iter().enumerate() {
        if position > 0 {
            bytes.push(b',');
        }
        let mut out = ObjectWriter::open(bytes);
        out.value("id", &call.id);
        out.value("type", "function");
        out.with("function", |bytes| {
            let mut function = ObjectWriter::open(bytes);
            function.value("name", &call.name);
            function.value("arguments", &call.arguments);
            function.close()
        });
        if let Some(extra) = call.extra_content.as_ref().filter(|_| !context.is_strict()) {
            out.raw("extra_content", extra);
        }
        bytes = out.close();
    }
    bytes.push(b']');
    bytes
}
