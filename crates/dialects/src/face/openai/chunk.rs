//! Events as chunks of a stream. Each is one `data:` line and its blank line.

use super::context::FaceContext;
use crate::json::{ObjectWriter, push_json};
use crate::model::event::{Delta, StreamEvent, ToolCallDelta};
use crate::model::finish::FinishReason;
use bytes::Bytes;

/// The last frame of every stream.
pub const DONE: &[u8] = b"data: [DONE]\n\n";

/// A comment for silent times.
pub const KEEP_ALIVE: &[u8] = b": FAREBOX PROCESSING\n\n";

/// The chunk for an event; `None` for events our clients do not see (start, usage, errors, done: the
/// gateway writes its own), and for deltas of which nothing is left.
#[must_use]
pub fn render_chunk(event: &StreamEvent, context: &FaceContext) -> Option<Bytes> {
    let mut out = Vec::new();
    append_chunk(event, context, &mut out).then(|| Bytes::from(out))
}

/// The same, appended to what is to be sent anyway. Whether anything was.
pub(super) fn append_chunk(event: &StreamEvent, context: &FaceContext, out: &mut Vec<u8>) -> bool {
    match event {
        StreamEvent::Delta(delta) => append_delta(delta, context, out),
        StreamEvent::Finish { choice, reason, native } => {
            append_finish(*choice, *reason, native.as_deref(), context, out);
            true
        }
        StreamEvent::Start { .. }
        | StreamEvent::Usage(_)
        | StreamEvent::UsageFault(_)
        | StreamEvent::Error(_)
        | StreamEvent::Done => false,
    }
}

fn append_delta(delta: &Delta, context: &FaceContext, out: &mut Vec<u8>) -> bool {
    let mark = out.len();
    let mut choice = open_choice(delta.choice, context, std::mem::take(out));
    let mut said = false;
    choice.with("delta", |bytes| {
        let mut writer = ObjectWriter::open(bytes);
        write_delta(&mut writer, delta, context);
        said = !writer.is_empty();
        writer.close()
    });
    let logprobs = delta.logprobs.as_ref().map_or("null", |raw| raw.get());
    *out = close_choice(choice, None, logprobs, context);
    if !said && delta.logprobs.is_none() {
        out.truncate(mark);
    }
    out.len() > mark
}

fn write_delta(out: &mut ObjectWriter, delta: &Delta, context: &FaceContext) {
    out.optional("role", delta.role.as_ref());
    out.optional("content", delta.content.as_ref());
    if !context.hides_reasoning() {
        out.optional("reasoning", delta.reasoning.as_ref());
        if !delta.reasoning_details.is_empty() {
            out.value("reasoning_details", &delta.reasoning_details);
        }
    }
    out.optional("refusal", delta.refusal.as_ref());
    if !delta.tool_calls.is_empty() {
        out.with("tool_calls", |bytes| write_calls(bytes, &delta.tool_calls, context));
    }
    for (key, raw) in &delta.extra {
        if !context.is_strict() || OPENAI_EXTRAS.contains(&key.as_str()) {
            out.raw(key, raw.get());
        }
    }
}

/// Members of OpenAI's own messages that the model has no word for.
pub(super) const OPENAI_EXTRAS: [&str; 3] = ["annotations", "audio", "function_call"];

fn write_calls(mut bytes: Vec<u8>, calls: &[ToolCallDelta], context: &FaceContext) -> Vec<u8> {
    bytes.push(b'[');
    for (position, call) in calls.iter().enumerate() {
        if position > 0 {
            bytes.push(b',');
        }
        let mut writer = ObjectWriter::open(bytes);
        writer.value("index", &call.index);
        if let Some(id) = &call.id {
            writer.value("id", id);
            writer.value("type", "function");
        }
        writer.with("function", |bytes| {
            let mut function = ObjectWriter::open(bytes);
            function.optional("name", call.name.as_ref());
            function.value("arguments", &call.arguments);
            function.close()
        });
        if let Some(extra) = call.extra_content.as_ref().filter(|_| !context.is_strict()) {
            writer.raw("extra_content", extra);
        }
        bytes = writer.close();
    }
    bytes.push(b']');
    bytes
}

fn append_finish(
    index: u32,
    reason: FinishReason,
    native: Option<&str>,
    context: &FaceContext,
    out: &mut Vec<u8>,
) {
    let mut choice = open_choice(index, context, std::mem::take(out));
    choice.raw("delta", if context.is_strict() { "{}" } else { r#"{"role":"assistant","content":""}"# });
    *out = close_choice(choice, Some((reason, native)), "null", context);
}

fn open_choice(index: u32, context: &FaceContext, mut out: Vec<u8>) -> ObjectWriter {
    out.extend_from_slice(context.head());
    out.push(b'[');
    let mut choice = ObjectWriter::open(out);
    choice.value("index", &index);
    choice
}

/// Writes the finish and ends choice, object and frame.
fn close_choice(
    mut choice: ObjectWriter,
    finish: Option<(FinishReason, Option<&str>)>,
    logprobs: &str,
    context: &FaceContext,
) -> Vec<u8> {
    choice.value("finish_reason", &finish.map(|(reason, _)| finish_word(reason, context)));
    if !context.is_strict() {
        choice.value("native_finish_reason", &finish.and_then(|(_, native)| native));
    }
    choice.raw("logprobs", logprobs);
    let mut out = choice.close();
    out.extend_from_slice(b"]}\n\n");
    out
}

pub(super) fn finish_word(reason: FinishReason, context: &FaceContext) -> &'static str {
    if context.is_strict() { reason.as_openai() } else { reason.as_str() }
}

/// A chunk with nothing but text, whose JSON form is already there: the fast path of the pass-through.
/// Gives the same bytes as [`append_chunk`] up to the escapes inside the string.
pub(super) fn append_text_chunk(
    index: u32,
    role: bool,
    content: &str,
    context: &FaceContext,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(context.head());
    out.extend_from_slice(b"[{\"index\":");
    push_json(out, &index);
    out.extend_from_slice(b",\"delta\":{");
    if role {
        out.extend_from_slice(b"\"role\":\"assistant\",");
    }
    out.extend_from_slice(b"\"content\":");
    out.extend_from_slice(content.as_bytes());
    out.extend_from_slice(b"},\"finish_reason\":null,");
    if !context.is_strict() {
        out.extend_from_slice(b"\"native_finish_reason\":null,");
    }
    out.extend_from_slice(b"\"logprobs\":null}]}\n\n");
}

/// The one chunk with the usage, without choices, between the finish chunk and [`DONE`].
/// `usage_json` is a JSON object.
#[must_use]
pub fn render_usage_chunk(usage_json: &str, context: &FaceContext) -> Bytes {
    let mut out = context.head().to_vec();
    out.extend_from_slice(b"[],\"usage\":");
    out.extend_from_slice(usage_json.as_bytes());
    out.extend_from_slice(b"}\n\n");
    Bytes::from(out)
}
