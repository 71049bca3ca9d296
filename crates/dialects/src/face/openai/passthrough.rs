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
use std::borrow::Cow;

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
    last: Pattern,
}

/// What stood around the text of the last plain frame. The next one mostly differs in its text alone, so it
/// means the same without being parsed.
#[derive(Debug, Default)]
struct Pattern {
    before: String,
    /// Empty until there was a plain frame.
    after: String,
    index: u32,
    role: bool,
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
        Self {
            sse: SseReader::new(),
            lane: Lane { context, chunks: Chunks::default(), last: Pattern::default() },
        }
    }

    /// See [`Relay::push`](super::Relay::push).
    pub fn push(&mut self, bytes: &[u8], text: &mut String, passed: &mut Passed) -> Result<(), WireError> {
        let lane = &mut self.lane;
        // Ours name model and provider, so they are longer than most providers' frames.
        let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 2 + 512);
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
        if self.chunks.flowing()
            && let Some(said) = self.last.text_of(data).or_else(|| self.last.learn(data))
        {
            append_text_chunk(self.last.index, self.last.role, said.json, &self.context, out);
            text.push_str(&said.text);
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

/// The text of a plain frame, as JSON and decoded. Never empty.
#[derive(Debug, PartialEq, Eq)]
struct Said<'a> {
    json: &'a str,
    text: Cow<'a, str>,
}

impl Pattern {
    /// The text of a frame that is otherwise like the last; `None` when it is not, or the text is no sound
    /// JSON string.
    fn text_of<'a>(&self, data: &'a str) -> Option<Said<'a>> {
        if self.after.is_empty() {
            return None;
        }
        let json = data.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())?;
        let inner = json.strip_prefix('"')?.strip_suffix('"')?;
        if inner.is_empty() {
            return None;
        }
        let text = if inner.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\') {
            serde_json::from_str::<json::Text<'_>>(json).ok()?.0
        } else {
            Cow::Borrowed(inner)
        };
        Some(Said { json, text })
    }

    /// Parses a frame, and remembers it if it is plain.
    fn learn<'a>(&mut self, data: &'a str) -> Option<Said<'a>> {
        let frame = serde_json::from_str::<PlainFrame<'_>>(data).ok()?;
        if !frame.is_plain() {
            return None;
        }
        let [choice] = frame.choices;
        let delta = choice.delta;
        if delta.role.is_some_and(|raw| raw.get() != "\"assistant\"") || Kind::of(delta.content) != Kind::Text
        {
            return None;
        }
        let json = delta.content.get();
        let text = json::text(delta.content).filter(|text| !text.is_empty())?;
        // Where the text stands in the frame it was borrowed from.
        let start = json.as_ptr().addr().checked_sub(data.as_ptr().addr())?;
        let (before, after) = (data.get(..start)?, data.get(start + json.len()..)?);
        self.before.clear();
        self.before.push_str(before);
        self.after.clear();
        self.after.push_str(after);
        (self.index, self.role) = (choice.index, delta.role.is_some());
        Some(Said { json, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> String {
        format!(r#"{{"id":"a","choices":[{{"index":2,"delta":{{"content":{text}}},"finish_reason":null}}]}}"#)
    }

    #[test]
    fn a_frame_like_the_last_gives_what_parsing_it_gives() {
        let mut pattern = Pattern::default();
        assert_eq!(pattern.text_of(&frame(r#""x""#)), None);
        assert!(pattern.learn(&frame(r#""first""#)).is_some());
        let texts = [r#"" word""#, r#""\"quoted\"\n""#, r#""né€\ud83d\ude00""#, r#""\\""#, r#""},{""#];
        for text in texts {
            let data = frame(text);
            let quick = pattern.text_of(&data).unwrap();
            assert_eq!(Some(&quick), Pattern::default().learn(&data).as_ref(), "{text}");
            assert_eq!(quick.json, text);
        }
        assert_eq!((pattern.index, pattern.role), (2, false));
    }

    #[test]
    fn what_is_no_sound_text_or_says_more_is_not_taken_for_plain() {
        let mut pattern = Pattern::default();
        pattern.learn(&frame(r#""first""#)).unwrap();
        let wrong = [
            r#""""#,
            r#"""#,
            "null",
            "",
            r#""a","role":"b""#,
            r#""a"b""#,
            r#""a\""#,
            r#""\ud83d""#,
            r#""\x""#,
            "\"a\nb\"",
            r#" "a""#,
            r#""a" "#,
            r#""a","tool_calls":"x""#,
        ];
        for text in wrong {
            assert_eq!(pattern.text_of(&frame(text)), None, "{text}");
        }
        for data in [
            "",
            "[DONE]",
            &frame(r#""x""#).replace(":2,", ":3,"),
            &frame(r#""x""#).replace("null", "\"stop\""),
        ] {
            assert_eq!(pattern.text_of(data), None, "{data}");
        }
    }
}
