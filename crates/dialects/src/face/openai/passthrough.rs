//! OpenAI upstream to OpenAI face without trees: plain text deltas, nearly all frames of a stream, are
//! read in place and their JSON string is copied as it is. Every other frame takes the slow way through
//! events, so both ways say the same.

use super::chunk::{append_chunk, append_text_chunk};
use super::context::FaceContext;
use super::relay::Passed;
use crate::dialect::WireError;
use crate::json::{self, Kind};
use crate::openai::stream::Chunks;
use crate::sse::SseReader;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// The state of one stream.
#[derive(Debug)]
pub struct PassThrough {
    sse: SseReader,
    lane: Lane,
}

#[derive(Debug)]
struct Lane {
    context: FaceContext,
    chunks: Chunks,
}

/// A frame of nothing but text. Members outside the delta that are not named here say nothing to a client
/// and are dropped on either way.
#[derive(Deserialize)]
struct PlainFrame<'a> {
    #[serde(borrow)]
    choices: [PlainChoice<'a>; 1],
    usage: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct PlainChoice<'a> {
    index: u32,
    #[serde(borrow)]
    delta: PlainDelta<'a>,
    finish_reason: Option<IgnoredAny>,
    logprobs: Option<IgnoredAny>,
    usage: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

/// Any further member sends the frame the slow way, unless it is one that providers like to send as null.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainDelta<'a> {
    #[serde(borrow)]
    content: &'a RawValue,
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    refusal: Option<IgnoredAny>,
    reasoning: Option<IgnoredAny>,
    reasoning_content: Option<IgnoredAny>,
    tool_calls: Option<IgnoredAny>,
    function_call: Option<IgnoredAny>,
}

impl PlainFrame<'_> {
    /// Whether everything but text and role is absent or null.
    fn is_plain(&self) -> bool {
        let [choice] = &self.choices;
        let delta = &choice.delta;
        [
            &self.usage,
            &self.error,
            &choice.finish_reason,
            &choice.logprobs,
            &choice.usage,
            &choice.error,
            &delta.refusal,
            &delta.reasoning,
            &delta.reasoning_content,
            &delta.tool_calls,
            &delta.function_call,
        ]
        .iter()
        .all(|member| member.is_none())
    }
}

impl PassThrough {
    #[must_use]
    pub fn new(context: FaceContext) -> Self {
        Self { sse: SseReader::new(), lane: Lane { context, chunks: Chunks::default() } }
    }

    /// See [`Relay::push`](super::Relay::push).
    pub fn push(&mut self, bytes: &[u8], text: &mut String, passed: &mut Passed) -> Result<(), WireError> {
        let lane = &mut self.lane;
        let mut out = Vec::with_capacity(bytes.len() + 256);
        let outcome = self.sse.push(bytes, &mut |frame| lane.frame(frame.data, &mut out, text, passed));
        passed.bytes = Bytes::from(out);
        outcome
    }

    /// See [`Relay::finish`](super::Relay::finish).
    pub fn finish(&mut self, text: &mut String, passed: &mut Passed) -> Result<(), WireError> {
        let lane = &mut self.lane;
        let mut out = Vec::new();
        let mut outcome = self.sse.finish(&mut |frame| lane.frame(frame.data, &mut out, text, passed));
        if outcome.is_ok() {
            let mut events = Vec::new();
            outcome = lane.chunks.finish(&mut events);
            events.into_iter().for_each(|event| passed.note(event, text));
        }
        passed.bytes = Bytes::from(out);
        outcome
    }
}

impl Lane {
    fn frame(
        &mut self,
        data: &str,
        out: &mut Vec<u8>,
        text: &mut String,
        passed: &mut Passed,
    ) -> Result<(), WireError> {
        if self.chunks.flowing() && plain(data, &self.context, out, text) {
            return Ok(());
        }
        let mut events = Vec::new();
        let outcome = self.chunks.frame(data, &mut events);
        for event in events {
            append_chunk(&event, &self.context, out);
            passed.note(event, text);
        }
        outcome
    }
}

/// The fast way. Whether it was taken; if not, nothing was written.
fn plain(data: &str, context: &FaceContext, out: &mut Vec<u8>, text: &mut String) -> bool {
    let Ok(frame) = serde_json::from_str::<PlainFrame<'_>>(data) else { return false };
    if !frame.is_plain() {
        return false;
    }
    let [choice] = frame.choices;
    let delta = choice.delta;
    let role = match delta.role {
        None => false,
        Some(raw) if raw.get() == "\"assistant\"" => true,
        Some(_) => return false,
    };
    if Kind::of(delta.content) != Kind::Text {
        return false;
    }
    let Some(said) = json::text(delta.content) else { return false };
    if said.is_empty() {
        return false;
    }
    append_text_chunk(choice.index, role, delta.content.get(), context, out);
    text.push_str(&said);
    true
}
